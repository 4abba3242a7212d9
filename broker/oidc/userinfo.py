"""The userinfo request and its response: further claims about the same person (OpenID Connect Core, section 5.3)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from broker.errors import AnswerUnreadable, UserinfoInvalid, UserinfoSubject
from broker.oidc.messages import (
    RESPONSE_LIMIT,
    JsonObject,
    ProviderRequest,
    ProviderResponse,
    check_success,
    read_json_object,
)
from broker.text import type_name


def build_userinfo_request(userinfo_endpoint: str, access_token: str) -> ProviderRequest:
    """Return the request for further claims; the token goes into the header alone (RFC 6750, section 2.1)."""
    headers = {"Accept": "application/json", "Authorization": f"Bearer {access_token}"}
    return ProviderRequest("GET", userinfo_endpoint, RESPONSE_LIMIT, headers, kind="userinfo")


def check_userinfo(answer: ProviderResponse, *, expected_subject: str) -> JsonObject:
    """Return the claims if they are about the person of the ID token.

    Args:
        expected_subject: `sub` of the verified ID token (section 5.3.2: they MUST be the same).

    Raises:
        ProviderFailing: for a 5xx or 429.
        UserinfoInvalid: refused, or no JSON object; a JWT is not accepted.
        UserinfoSubject: `sub` differs or is missing.
    """
    check_success(answer, UserinfoInvalid)
    if answer.media_type != "application/json":  # section 5.3.2; a JWT has its own media type
        raise UserinfoInvalid(expected="application/json", got=answer.media_type or "no media type")
    try:
        claims = read_json_object(answer.body)
    except AnswerUnreadable as error:
        raise UserinfoInvalid(expected=error.expected, got=error.got) from None
    check_same_subject(claims, expected_subject=expected_subject)
    return claims


def check_same_subject(claims: Mapping[str, Any], *, expected_subject: str) -> None:
    """Check that userinfo is about the person of the ID token (OpenID Connect Core, section 5.3.2).

    Raises:
        UserinfoSubject: `sub` differs or is missing.
    """
    subject = claims.get("sub")
    if subject == expected_subject:
        return
    if isinstance(subject, str) and subject:
        raise UserinfoSubject(expected="the sub of the ID token", got="sub: another text")
    raise UserinfoSubject(
        expected="the sub of the ID token",
        got=f"sub: {type_name(subject)}",
        remedy="Userinfo must have sub as a text, the same as the ID token. Correct the provider's claim mapping.",
    )
