"""The token request proves who we are in the configured way; the answer is taken whole or not at all."""

from __future__ import annotations

import base64
import json
import time
from urllib.parse import parse_qs, unquote_plus

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.errors import (
    AnswerUnexpected,
    AnswerUnreadable,
    BrokerError,
    ClientRejected,
    CodeRejected,
    ProviderFailing,
    TokenRequestRefused,
    TokenResponseInvalid,
)
from broker.oidc.messages import RESPONSE_LIMIT, ProviderRequest
from broker.oidc.tokens import build_token_request, check_token_response
from tests.oidc.samples import METADATA, answer, registration

TOKENS = {"access_token": "at-1", "token_type": "Bearer", "expires_in": 3600, "id_token": "h.p.s"}
ANY_TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)


def build(*, code: str = "code-1", **changes: object) -> ProviderRequest:
    return build_token_request(METADATA, registration(**changes), code=code, code_verifier="v" * 43)


def form(request: ProviderRequest) -> dict[str, list[str]]:
    return parse_qs(request.body or "", keep_blank_values=True, strict_parsing=True)


CODE_FORM = {
    "grant_type": ["authorization_code"],
    "code": ["code-1"],
    "redirect_uri": ["https://sso.acme.example/callback/idp"],
    "code_verifier": ["v" * 43],
}


def test_client_secret_basic_sends_the_code_in_the_form_and_the_secret_in_the_header() -> None:
    request = build()
    assert (request.method, request.url, request.limit) == ("POST", METADATA.token_endpoint, RESPONSE_LIMIT)
    assert form(request) == CODE_FORM
    assert request.headers["Authorization"] == "Basic " + base64.b64encode(b"client-1:s3cret").decode()
    assert request.headers["Content-Type"] == "application/x-www-form-urlencoded"
    assert request.headers["Accept"] == "application/json"


def test_client_secret_post_sends_both_in_the_form_and_neither_in_the_header() -> None:
    request = build(client_authentication="client_secret_post")
    assert form(request) == {**CODE_FORM, "client_id": ["client-1"], "client_secret": ["s3cret"]}
    assert "Authorization" not in request.headers


def test_a_public_client_sends_its_id_alone() -> None:
    request = build(client_authentication="none", client_secret=None)
    assert form(request) == {**CODE_FORM, "client_id": ["client-1"]}
    assert "Authorization" not in request.headers


@pytest.mark.parametrize("method", ["client_secret_basic", "client_secret_post", "none"])
def test_nothing_of_the_request_shows_when_it_is_printed(method: str) -> None:
    request = build(client_authentication=method)
    for hidden in ("s3cret", "code-1", "vvv", "Basic"):
        assert hidden not in repr(request)


@pytest.mark.parametrize(
    ("client_id", "secret", "user_and_password"),
    [
        pytest.param("a:b", "c", "a%3Ab:c", id="a colon in the id"),
        pytest.param("a", "b:c", "a:b%3Ac", id="a colon in the secret"),
        pytest.param("a", "50%off", "a:50%25off", id="a percent sign"),
        pytest.param("a", "b+c d", "a:b%2Bc+d", id="a plus and a space"),
        pytest.param("a", "b&c=d", "a:b%26c%3Dd", id="an ampersand"),
        pytest.param("a", "/\"'\\", "a:%2F%22%27%5C", id="slashes and quotes"),
        pytest.param("a", "pä£", "a:p%C3%A4%C2%A3", id="no ASCII"),
    ],
)
def test_client_secret_basic_encodes_both_as_a_form_first(client_id: str, secret: str, user_and_password: str) -> None:
    """RFC 6749, section 2.3.1."""
    request = build(client_id=client_id, client_secret=lambda: secret)
    assert base64.b64decode(request.headers["Authorization"].removeprefix("Basic ")).decode() == user_and_password


@settings(deadline=None, max_examples=100)
@given(ANY_TEXT, ANY_TEXT)
def test_any_id_and_secret_arrive_as_they_are_by_client_secret_basic(client_id: str, secret: str) -> None:
    header = build(client_id=client_id, client_secret=lambda: secret).headers["Authorization"]
    user, _, password = base64.b64decode(header.removeprefix("Basic ")).decode("ascii").partition(":")
    assert (unquote_plus(user), unquote_plus(password)) == (client_id, secret)


@settings(deadline=None, max_examples=100)
@given(ANY_TEXT, ANY_TEXT, ANY_TEXT)
def test_any_code_id_and_secret_arrive_as_they_are_by_client_secret_post(
    code: str, client_id: str, secret: str
) -> None:
    request = build(
        code=code, client_id=client_id, client_secret=lambda: secret, client_authentication="client_secret_post"
    )
    sent = form(request)
    assert (sent["code"], sent["client_id"], sent["client_secret"]) == ([code], [client_id], [secret])
    assert len(sent) == 6


def test_the_secret_of_the_moment_is_used() -> None:
    secrets = iter(["old", "new"])

    def sent() -> list[str]:
        ours = build(client_secret=lambda: next(secrets), client_authentication="client_secret_post")
        return form(ours)["client_secret"]

    assert [sent(), sent()] == [["old"], ["new"]]


def test_the_tokens_of_an_honest_answer_are_taken() -> None:
    tokens = check_token_response(answer({**TOKENS, "scope": "openid", "refresh_token": "r", "not_before_policy": 0}))
    assert (tokens.access_token, tokens.unverified_id_token) == ("at-1", "h.p.s")
    assert "at-1" not in repr(tokens)
    assert "h.p.s" not in repr(tokens)


@pytest.mark.parametrize("kind", ["Bearer", "bearer", "BEARER"])
def test_the_token_type_is_read_in_any_case(kind: str) -> None:
    """RFC 6749, section 5.1."""
    assert check_token_response(answer({**TOKENS, "token_type": kind})).access_token == "at-1"


_WRONG_TYPES = [
    pytest.param(..., id="missing"),
    pytest.param(None, id="null"),
    pytest.param("", id="empty"),
    pytest.param(7, id="a number"),
    pytest.param(True, id="true"),
    pytest.param(["h.p.s"], id="a list"),
    pytest.param({"a": "b"}, id="an object"),
]


@pytest.mark.requirement("S-11")
@pytest.mark.parametrize("member", ["id_token", "access_token", "token_type"])
@pytest.mark.parametrize("value", _WRONG_TYPES)
def test_an_answer_without_a_member_we_need_is_refused(member: str, value: object) -> None:
    document = {name: one for name, one in {**TOKENS, member: value}.items() if one is not ...}
    with pytest.raises(TokenResponseInvalid) as refusal:
        check_token_response(answer(document))
    assert str(refusal.value.got).startswith(member)


@pytest.mark.parametrize("kind", ["DPoP", "mac", "N_A", "Bearer ", "Bearer, DPoP"])
def test_another_token_type_is_refused(kind: str) -> None:
    with pytest.raises(TokenResponseInvalid):
        check_token_response(answer({**TOKENS, "token_type": kind}))


@pytest.mark.parametrize(
    "access_token",
    [
        pytest.param("a\r\nX-Evil: 1", id="a line break"),
        pytest.param("a b", id="a space"),
        pytest.param("a\x00", id="a NUL"),
        pytest.param("a\x7f", id="a control character"),
        pytest.param("ä", id="no ASCII"),
        pytest.param("\ud800", id="a lone surrogate"),
    ],
)
def test_an_access_token_that_fits_no_header_is_refused(access_token: str) -> None:
    """RFC 6749, appendix A.12."""
    with pytest.raises(TokenResponseInvalid):
        check_token_response(answer({**TOKENS, "access_token": access_token}))


@pytest.mark.parametrize(
    ("status", "document", "expected"),
    [
        pytest.param(400, {"error": "invalid_grant"}, CodeRejected, id="invalid_grant"),
        pytest.param(403, {"error": "invalid_grant"}, CodeRejected, id="invalid_grant with another status"),
        pytest.param(401, {"error": "invalid_client"}, ClientRejected, id="invalid_client"),
        pytest.param(400, {"error": "invalid_client"}, ClientRejected, id="invalid_client as a 400"),
        pytest.param(401, {"message": "who?"}, ClientRejected, id="401 without an error"),
        pytest.param(400, {"error": "invalid_request"}, TokenRequestRefused, id="invalid_request"),
        pytest.param(400, {"error": "unauthorized_client"}, TokenRequestRefused, id="unauthorized_client"),
        pytest.param(400, {"error": "unsupported_grant_type"}, TokenRequestRefused, id="unsupported_grant_type"),
        pytest.param(400, {"error": "invalid_scope"}, TokenRequestRefused, id="invalid_scope"),
        pytest.param(401, {"error": "invalid_request"}, ClientRejected, id="401 with another error"),
        pytest.param(401, {"error": "invalid_grant"}, CodeRejected, id="401 about the code"),
        pytest.param(400, {"error": ["invalid_grant"]}, TokenRequestRefused, id="an error that is no text"),
        pytest.param(400, {}, TokenRequestRefused, id="no error at all"),
        pytest.param(400, TOKENS, TokenRequestRefused, id="tokens with a 400"),
        pytest.param(400, {"error": "temporarily_unavailable"}, ProviderFailing, id="temporarily_unavailable"),
        pytest.param(400, {"error": "server_error"}, ProviderFailing, id="server_error"),
        pytest.param(429, {"error": "slow_down"}, ProviderFailing, id="too many requests"),
        pytest.param(500, TOKENS, ProviderFailing, id="tokens with a 500"),
        pytest.param(503, {}, ProviderFailing, id="unavailable"),
        pytest.param(201, TOKENS, AnswerUnexpected, id="tokens with a 201"),
        pytest.param(302, TOKENS, AnswerUnexpected, id="a redirect"),
        pytest.param(200, {"error": "invalid_grant"}, CodeRejected, id="an error with a 200"),
        pytest.param(200, {"error": "invalid_client", **TOKENS}, ClientRejected, id="an error beside tokens"),
    ],
)
def test_an_error_of_the_token_endpoint_says_whose_fault_it_is(
    status: int, document: object, expected: type[BrokerError]
) -> None:
    """RFC 6749, section 5.2."""
    with pytest.raises(expected) as refusal:
        check_token_response(answer(document, status))
    assert type(refusal.value) is expected
    assert "at-1" not in f"{refusal.value.expected} {refusal.value.got}"


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        pytest.param(400, b"<html>", AnswerUnexpected, id="a web page with a 400"),
        pytest.param(407, b"", AnswerUnexpected, id="a proxy that wants a password"),
        pytest.param(200, b"<html>", AnswerUnreadable, id="a web page with a 200"),
        pytest.param(200, json.dumps([TOKENS]).encode(), AnswerUnreadable, id="a list of tokens"),
        pytest.param(200, b"access_token=at-1&token_type=bearer", AnswerUnreadable, id="a form, as GitHub does"),
        pytest.param(200, b'{"id_token": "a.b.c", "id_token": "d.e.f"}', AnswerUnreadable, id="two ID tokens"),
        pytest.param(200, b"error=x<html>", AnswerUnreadable, id="a page that begins like a form"),
    ],
)
def test_what_is_no_answer_of_a_token_endpoint_is_refused(
    status: int, body: bytes, expected: type[BrokerError]
) -> None:
    with pytest.raises(expected):
        check_token_response(answer(body, status))


FORM = "application/x-www-form-urlencoded"
KEYCLOAK = "Invalid client or Invalid client credentials"
REJECTED_CREDENTIALS = [
    pytest.param(401, b"", {}, "401", id="401 alone"),
    pytest.param(401, b"", {"www_authenticate": "Basic"}, "401: WWW-Authenticate: Basic", id="401 with a scheme"),
    pytest.param(
        401,
        b"",
        {"www_authenticate": 'Basic realm="token endpoint"'},
        '401: WWW-Authenticate: Basic realm="token endpoint"',
        id="401 with a realm",
    ),
    pytest.param(
        401,
        b"",
        {"www_authenticate": 'Bearer error="invalid_client", error_description="No such client"'},
        "invalid_client: No such client",
        id="an error in WWW-Authenticate",
    ),
    pytest.param(
        401,
        b"<html><style>p{}</style><h1>401</h1>Wrong &amp; sent</html>",
        {"media_type": "text/html"},
        "401: 401 Wrong & sent",
        id="401 with a page",
    ),
    pytest.param(
        401,
        {"error": "unauthorized_client", "error_description": KEYCLOAK},
        {},
        f"unauthorized_client: {KEYCLOAK}",
        id="Keycloak",
    ),
    pytest.param(403, {"error": "unauthorized_client"}, {}, "unauthorized_client", id="Glewlwyd"),
    pytest.param(403, {"error": "invalid_client"}, {}, "invalid_client", id="invalid_client as a 403"),
    pytest.param(
        400,
        {"error": "unauthorized_client", "error_description": "Invalid client secret"},
        {},
        "unauthorized_client: Invalid client secret",
        id="unauthorized_client as a 400 that names the secret",
    ),
    pytest.param(
        400,
        {"error": "unauthorized_client", "error_description": "AADSTS700016: Application not found"},
        {},
        "unauthorized_client: AADSTS700016: Application not found",
        id="Entra, application deleted",
    ),
    pytest.param(
        401,
        {"error": "invalid_client", "error_description": "AADSTS7000222: expired"},
        {},
        "invalid_client: AADSTS7000222: expired",
        id="Entra, secret expired",
    ),
    pytest.param(
        400,
        {"error": "invalid_request", "error_description": "AADSTS7000218: client_secret missing"},
        {},
        "invalid_request: AADSTS7000218: client_secret missing",
        id="Entra, secret missing",
    ),
    pytest.param(200, {"error": "invalid_client"}, {}, "invalid_client", id="invalid_client as a 200"),
    pytest.param(400, {"error": "invalid_client_id"}, {}, "invalid_client_id", id="invalid_client_id"),
    pytest.param(400, {"error": "InvalidClient"}, {}, "InvalidClient", id="another spelling"),
    pytest.param(400, {"error": "bad_client_secret"}, {}, "bad_client_secret", id="a code of the provider's own"),
    pytest.param(
        400,
        {"error": "invalid_request", "error_description": "AADB2C90081: The client_secret does not match"},
        {},
        "invalid_request: AADB2C90081: The client_secret does not match",
        id="Entra External ID",
    ),
    pytest.param(
        400,
        {"error": {"code": "invalid_client", "message": "Who?"}},
        {},
        "invalid_client: Who?",
        id="an error object",
    ),
    pytest.param(
        400, {"errors": [{"code": "invalid_client", "detail": "Who?"}]}, {}, "invalid_client: Who?", id="a list"
    ),
    pytest.param(
        400,
        {"errorCode": "invalid_client", "errorSummary": "The client secret supplied is invalid."},
        {},
        "invalid_client: The client secret supplied is invalid.",
        id="Okta's members",
    ),
    pytest.param(
        400,
        b"error=invalid_client&error_description=wrong+secret",
        {"media_type": FORM},
        "invalid_client: wrong secret",
        id="a form",
    ),
    pytest.param(
        200, b"error=incorrect_client_credentials", {"media_type": FORM}, "incorrect_client_credentials", id="GitHub"
    ),
    pytest.param(
        401, b'\xef\xbb\xbf{"error": "invalid_client"}', {}, "invalid_client", id="a byte order mark before it"
    ),
]


@pytest.mark.parametrize(("status", "content", "more", "got"), REJECTED_CREDENTIALS)
def test_a_rejected_credential_is_recognised_in_every_form(
    status: int, content: object, more: dict[str, str], got: str
) -> None:
    with pytest.raises(ClientRejected) as refusal:
        check_token_response(answer(content, status, **more))
    assert refusal.value.got == got


@pytest.mark.parametrize(
    ("status", "content", "expected", "got"),
    [
        pytest.param(
            400,
            {"error": "unauthorized_client", "error_description": "Client not allowed for this grant type"},
            TokenRequestRefused,
            "unauthorized_client: Client not allowed for this grant type",
            id="a grant type that is not allowed",
        ),
        pytest.param(
            403, {"error": "access_denied"}, TokenRequestRefused, "access_denied", id="403 with another error"
        ),
        pytest.param(403, b"<title>Blocked</title>", AnswerUnexpected, "403: Blocked", id="a firewall"),
        pytest.param(400, {"error": "invalid_code"}, CodeRejected, "invalid_code", id="about the code"),
        pytest.param(400, {}, TokenRequestRefused, "400", id="nothing is said"),
        pytest.param(500, {"error": "invalid_client"}, ProviderFailing, "500: invalid_client", id="a 500"),
        pytest.param(400, b'{"error": ' * 900 + b"{}" + b"}" * 900, TokenRequestRefused, "400", id="errors in errors"),
    ],
)
def test_what_is_no_rejected_credential_does_not_become_one(
    status: int, content: object, expected: type[BrokerError], got: object
) -> None:
    with pytest.raises(expected) as refusal:
        check_token_response(answer(content, status))
    assert type(refusal.value) is expected
    assert refusal.value.got == got


def test_a_redirect_of_the_token_endpoint_is_refused_with_its_destination() -> None:
    with pytest.raises(AnswerUnexpected) as refusal:
        check_token_response(answer(b"", 302, location="https://login.example:8443/sign-in?code=secret"))
    assert refusal.value.got == "302 to login.example:8443/sign-in"


@pytest.mark.parametrize("member", ["expires_in", "scope", "refresh_token", "error", "error_description"])
def test_an_optional_member_that_is_null_is_absent(member: str) -> None:
    assert check_token_response(answer({**TOKENS, member: None})).access_token == "at-1"


def test_tokens_behind_a_byte_order_mark_are_taken() -> None:
    tokens = check_token_response(answer(b"\xef\xbb\xbf" + json.dumps(TOKENS).encode()))
    assert tokens.access_token == "at-1"


def test_another_token_type_is_named() -> None:
    with pytest.raises(TokenResponseInvalid) as refusal:
        check_token_response(answer({**TOKENS, "token_type": "DPoP"}))
    assert refusal.value.got == "token_type: DPoP"


def test_a_secret_echoed_by_the_provider_does_not_reach_our_log() -> None:
    echo = "the code AbCdEfGhIjKlMnOpQrStUvWxYz0123 is unknown"
    with pytest.raises(CodeRejected) as refusal:
        check_token_response(answer({"error": "invalid_grant", "error_description": echo}, 400))
    assert refusal.value.got == "invalid_grant: the code [left out] is unknown"


@pytest.mark.parametrize(
    "page",
    [
        pytest.param(b"<script" * 30_000, id="tags that never end"),
        pytest.param(b"<!--" * 60_000, id="comments that never end"),
        pytest.param(b"<" * 200_000, id="brackets"),
        pytest.param(b"error=" + b"a&" * 100_000, id="a form of many members"),
        pytest.param(b"{" * 200_000, id="braces"),
    ],
)
def test_a_page_is_read_for_its_words_in_no_time(page: bytes) -> None:
    started = time.process_time()
    with pytest.raises(BrokerError):
        check_token_response(answer(page, 401))
    assert time.process_time() - started < 1  # milliseconds


@pytest.mark.requirement("S-54")
def test_a_long_header_or_page_shows_no_half_of_a_word() -> None:
    with pytest.raises(ClientRejected) as refusal:
        check_token_response(answer(b"", 401, www_authenticate=f'Bearer realm="{"a:" * 600}"'))
    assert refusal.value.got == "401: WWW-Authenticate: 1215 characters"
    with pytest.raises(ClientRejected) as refusal:
        check_token_response(answer(b"<p>" * 1360 + b"wrong pa:ss:word:word:word", 401))
    assert refusal.value.got == "401: wrong"
