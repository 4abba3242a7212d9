"""The logout request: who is to be signed out, and where the browser goes then."""

from __future__ import annotations

from urllib.parse import parse_qsl, urlsplit

import pytest

from broker.oidc.logout import build_end_session_url

END = "https://idp.example/logout"
BACK = "https://sso.acme.example/logout"


def build(endpoint: str = END, *, id_token: str = "a.b.c", hint: str = "ada") -> str:
    return build_end_session_url(
        endpoint,
        client_id="client 1",
        post_logout_redirect_uri=BACK,
        state="state-1",
        id_token_hint=id_token,
        logout_hint=hint,
    )


@pytest.mark.parametrize(
    ("url", "names"),
    [
        pytest.param(
            build(), ["client_id", "post_logout_redirect_uri", "state", "id_token_hint", "logout_hint"], id="all"
        ),
        pytest.param(
            build(hint=""), ["client_id", "post_logout_redirect_uri", "state", "id_token_hint"], id="as Okta wants it"
        ),
        pytest.param(
            build(id_token=""),
            ["client_id", "post_logout_redirect_uri", "state", "logout_hint"],
            id="as Entra wants it",
        ),
        pytest.param(
            build(id_token="", hint=""), ["client_id", "post_logout_redirect_uri", "state"], id="nothing is known"
        ),
    ],
)
def test_what_is_known_is_sent_once_and_nothing_else(url: str, names: list[str]) -> None:
    sent = parse_qsl(urlsplit(url).query, keep_blank_values=True)
    assert [name for name, _ in sent] == names
    known = {
        "client_id": "client 1",
        "post_logout_redirect_uri": BACK,
        "state": "state-1",
        "id_token_hint": "a.b.c",
        "logout_hint": "ada",
    }
    assert dict(sent) == {name: known[name] for name in names}


@pytest.mark.parametrize(
    ("endpoint", "start"),
    [
        pytest.param(END, f"{END}?client_id=", id="a bare endpoint"),
        pytest.param(f"{END}?tenant=acme", f"{END}?tenant=acme&client_id=", id="its own query stays"),
    ],
)
def test_the_parameters_join_the_endpoint(endpoint: str, start: str) -> None:
    assert build(endpoint).startswith(start)


def test_what_a_provider_says_cannot_add_a_parameter() -> None:
    sent = parse_qsl(urlsplit(build(hint="ada&post_logout_redirect_uri=https://evil.example#x")).query)
    assert [value for name, value in sent if name == "post_logout_redirect_uri"] == [BACK]
