"""Userinfo speaks of the person of the ID token, or it is not heard (S-19)."""

from __future__ import annotations

import pytest

from broker.errors import BrokerError, ProviderFailing, UserinfoInvalid, UserinfoSubject
from broker.oidc.messages import RESPONSE_LIMIT
from broker.oidc.userinfo import build_userinfo_request, check_userinfo
from tests.oidc.samples import METADATA, answer

CLAIMS = {"sub": "00u-ada", "email": "ada@acme.example"}


@pytest.mark.requirement("S-19")
def test_the_access_token_goes_into_the_header_alone() -> None:
    request = build_userinfo_request(f"{METADATA.issuer}/userinfo?v=1", "at-1")
    assert (request.method, request.url, request.body) == ("GET", f"{METADATA.issuer}/userinfo?v=1", None)
    assert request.headers == {"Accept": "application/json", "Authorization": "Bearer at-1"}
    assert request.limit == RESPONSE_LIMIT
    assert "at-1" not in repr(request)


def test_claims_about_the_same_person_are_taken() -> None:
    assert check_userinfo(answer(CLAIMS), expected_subject="00u-ada") == CLAIMS


@pytest.mark.requirement("S-19")
@pytest.mark.parametrize(
    "subject",
    [
        pytest.param("00u-eve", id="another person"),
        pytest.param("00U-ADA", id="another case"),
        pytest.param("00u-ada ", id="white space"),
        pytest.param(None, id="null"),
        pytest.param("", id="empty"),
        pytest.param(["00u-ada"], id="a list"),
        pytest.param(7, id="a number"),
    ],
)
def test_another_person_is_refused(subject: object) -> None:
    """OpenID Connect Core, section 5.3.2."""
    with pytest.raises(UserinfoSubject):
        check_userinfo(answer({**CLAIMS, "sub": subject}), expected_subject="00u-ada")


@pytest.mark.requirement("S-19")
def test_nobody_is_refused() -> None:
    with pytest.raises(UserinfoSubject):
        check_userinfo(answer({"email": "ada@acme.example"}), expected_subject="00u-ada")


@pytest.mark.requirement("S-19")
@pytest.mark.parametrize(
    ("status", "expected"),
    [
        pytest.param(201, UserinfoInvalid, id="another success"),
        pytest.param(204, UserinfoInvalid, id="no content"),
        pytest.param(302, UserinfoInvalid, id="a redirect"),
        pytest.param(400, UserinfoInvalid, id="bad request"),
        pytest.param(401, UserinfoInvalid, id="token refused"),
        pytest.param(403, UserinfoInvalid, id="insufficient scope"),
        pytest.param(404, UserinfoInvalid, id="not found"),
        pytest.param(429, ProviderFailing, id="too many requests"),
        pytest.param(500, ProviderFailing, id="a server error"),
        pytest.param(503, ProviderFailing, id="unavailable"),
    ],
)
def test_an_error_ends_the_sign_in_even_if_it_carries_claims(status: int, expected: type[BrokerError]) -> None:
    with pytest.raises(expected):
        check_userinfo(answer(CLAIMS, status), expected_subject="00u-ada")


@pytest.mark.requirement("S-19")
@pytest.mark.parametrize(
    "media_type",
    ["application/jwt", "text/html", "text/plain", "text/javascript", "application/json-seq", ""],
)
def test_another_media_type_is_refused(media_type: str) -> None:
    """A JWT, signed or not, was not asked for (OpenID Connect Core, section 5.3.2)."""
    with pytest.raises(UserinfoInvalid):
        check_userinfo(answer(CLAIMS, media_type=media_type), expected_subject="00u-ada")


@pytest.mark.requirement("S-19")
@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"[]", id="an array"),
        pytest.param(b"null", id="null"),
        pytest.param(b"eyJhbGciOiJub25lIn0.eyJzdWIiOiIwMHUtYWRhIn0.", id="an unsigned JWT"),
        pytest.param(b'{"sub": "00u-eve", "sub": "00u-ada"}', id="two people"),
        pytest.param(b'{"sub": "00u-ada", "age": NaN}', id="NaN"),
        pytest.param(b'{"sub": "00u-ada", "x": ' + b"[" * 100_000, id="too deep"),
    ],
)
def test_what_is_no_json_object_is_refused(body: bytes) -> None:
    with pytest.raises(UserinfoInvalid):
        check_userinfo(answer(body), expected_subject="00u-ada")


@pytest.mark.parametrize(
    ("status", "body", "more", "got"),
    [
        pytest.param(
            401,
            b"",
            {"www_authenticate": 'Bearer error="invalid_token", error_description="The token expired"'},
            "401: invalid_token: The token expired",
            id="the words of WWW-Authenticate",
        ),
        pytest.param(
            403, b'{"error": "insufficient_scope"}', {}, "403: insufficient_scope", id="the words of the body"
        ),
        pytest.param(401, b"", {"www_authenticate": "Bearer"}, "401: WWW-Authenticate: Bearer", id="a scheme alone"),
        pytest.param(404, b"<h1>Not here</h1>", {}, "404: Not here", id="a page"),
        pytest.param(302, b"", {"location": "https://login.example/?x"}, "302 to login.example/", id="a redirect"),
        pytest.param(200, b"e30.e30.", {"media_type": "application/jwt"}, "application/jwt", id="a JWT"),
        pytest.param(200, b"{}", {"media_type": ""}, "no media type", id="no media type"),
        pytest.param(200, b'{"sub": "a", "sub": "b"}', {}, "member `sub` twice", id="a member twice"),
    ],
)
def test_a_refusal_has_the_providers_words(status: int, body: bytes, more: dict[str, str], got: str) -> None:
    with pytest.raises(UserinfoInvalid) as refusal:
        check_userinfo(answer(body, status, **more), expected_subject="00u-ada")
    assert refusal.value.got == got


@pytest.mark.parametrize(
    ("subject", "got"),
    [
        pytest.param(7, "sub: a number", id="a number"),
        pytest.param(None, "sub: nothing", id="null"),
        pytest.param("", "sub: an empty string", id="empty"),
        pytest.param("00u-eve", "sub: another text", id="another person"),
    ],
)
def test_a_subject_of_another_type_is_not_called_another_person(subject: object, got: str) -> None:
    with pytest.raises(UserinfoSubject) as refusal:
        check_userinfo(answer({**CLAIMS, "sub": subject}), expected_subject="00u-ada")
    assert refusal.value.got == got
    assert ("another person" in refusal.value.remedy) is (subject == "00u-eve")


def test_claims_behind_a_byte_order_mark_are_taken() -> None:
    body = b'\xef\xbb\xbf{"sub": "00u-ada"}'
    assert check_userinfo(answer(body), expected_subject="00u-ada") == {"sub": "00u-ada"}
