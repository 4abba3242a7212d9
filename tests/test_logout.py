"""Signing out: what a browser keeps for it, unreadable, bounded and dated; and what the provider is sent."""

from __future__ import annotations

import base64
import secrets
from urllib.parse import parse_qsl, urlsplit

import pytest

from broker.logout import (
    LIFETIME,
    MAX_COOKIE_CHARACTERS,
    LogoutHint,
    build_end_session_url,
    decrypt_logout_hint,
    encrypt_logout_hint,
)
from broker.signing import CLOCK_LEEWAY
from tests.fakes.clock import START

OLD, NEW = "k1-6f1d0c2b9a8e7f6d5c4b3a2918070605", "k2-0506071829304b5a6c7d8e9f0a1b2c3d"
ADA = LogoutHint("okta", "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiIwMHUifQ.c2lnbmF0dXJl", "ada-hint")


def sign(hint: LogoutHint = ADA, *keys: str) -> str:
    return encrypt_logout_hint(hint, now=START, secret_keys=keys or (OLD,))


def opened(value: str, *keys: str, now: float = START) -> LogoutHint | None:
    return decrypt_logout_hint(value, now=now, secret_keys=keys or (OLD,))


def test_what_was_encrypted_is_decrypted() -> None:
    assert opened(sign()) == ADA


def test_nobody_else_can_read_it() -> None:
    value = sign()
    raw = base64.urlsafe_b64decode(value + "=" * (-len(value) % 4))
    for told in ("okta", "ada-hint", *ADA.id_token.split(".")):
        assert told not in value
        assert told.encode() not in raw
    assert sign() != value


def test_it_does_not_show_itself() -> None:
    assert repr(ADA) == "LogoutHint(provider='okta')"


@pytest.mark.requirement("S-51")
def test_a_changed_key_still_opens_it_until_it_is_gone() -> None:
    value = sign()
    assert opened(value, NEW, OLD) == ADA
    assert opened(value, NEW) is None
    assert opened(sign(ADA, NEW, OLD), NEW) == ADA


@pytest.mark.parametrize(
    ("seconds", "is_open"),
    [
        pytest.param(-CLOCK_LEEWAY - 1, False, id="signed by a clock too far ahead"),
        pytest.param(-CLOCK_LEEWAY, True, id="signed by a clock a minute ahead"),
        pytest.param(LIFETIME, True, id="at the end of the day"),
        pytest.param(LIFETIME + 1, False, id="after it"),
    ],
)
def test_it_has_an_end(seconds: float, is_open: bool) -> None:
    assert (opened(sign(), now=START + seconds) == ADA) is is_open


@pytest.mark.parametrize(
    "value",
    [
        pytest.param("", id="empty"),
        pytest.param("x", id="a letter"),
        pytest.param("." * 100, id="dots"),
        pytest.param("A" * 1400, id="zeroes"),
        pytest.param(sign()[:-10], id="cut"),
        pytest.param(f"B{sign()[1:]}", id="another version"),
        pytest.param(f"{sign()[:40]}{'A' if sign()[40] != 'A' else 'B'}{sign()[41:]}", id="a byte of another one"),
        pytest.param(sign(ADA, NEW), id="signed by another broker"),
    ],
)
def test_what_is_not_ours_is_nothing(value: str) -> None:
    assert opened(value) is None


@pytest.mark.parametrize(
    ("id_token", "hint", "kept"),
    [
        pytest.param(600, 20, ("id_token", "logout_hint"), id="a small ID token is kept"),
        pytest.param(1_500, 20, ("logout_hint",), id="a large ID token is left out"),
        pytest.param(200_000, 20, ("logout_hint",), id="a huge ID token is left out"),
        pytest.param(600, 5_000, (), id="so is a hint that is large itself"),
        pytest.param(0, 200_000, (), id="however large"),
    ],
)
def test_it_never_grows_beyond_its_room(id_token: int, hint: int, kept: tuple[str, ...]) -> None:
    logout_hint = LogoutHint("okta", secrets.token_urlsafe(id_token)[:id_token], secrets.token_urlsafe(hint)[:hint])
    value = sign(logout_hint)
    assert len(value) <= MAX_COOKIE_CHARACTERS
    found = opened(value)
    assert found is not None
    assert found.provider == "okta"
    assert found.id_token == (logout_hint.id_token if "id_token" in kept else "")
    assert found.logout_hint == (logout_hint.logout_hint if "logout_hint" in kept else "")


def test_it_fits_into_a_cookie_as_it_is() -> None:
    assert set(sign()) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")


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
