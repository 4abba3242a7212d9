"""What an admin gives to be explained: an id, and claims in one of the forms they are found in.

This file owns these forms and the complaints about them. It judges no claim.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from broker.errors import AnswerUnreadable
from broker.oidc.messages import RESPONSE_LIMIT, JsonObject, read_json_object

INPUT_LIMIT = 4 * RESPONSE_LIMIT  # bytes: an ID token and userinfo at a sign-in's own bounds, however they are encoded

_TOKEN = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*")
_ENCRYPTED = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]*){4}")


class UnusableInput(Exception):
    """What was given cannot be judged; the text says why, for the admin."""


@dataclass(frozen=True, slots=True)
class UnverifiedClaims:
    """What an admin says a provider says of a person.

    Args:
        id_token: the claims of the ID token, all or some.
        userinfo: those of userinfo; None if there are none.
        from_token: they were read out of a whole token.
    """

    id_token: JsonObject = field(repr=False)
    userinfo: JsonObject | None = field(repr=False)
    from_token: bool


def pick(kind: str, wanted: str | None, among: Sequence[str]) -> str:
    """Return an id if there is such a thing.

    Args:
        kind: what it is the id of, for people.
        wanted: the id; None for the first there is.
        among: the ids there are.

    Raises:
        UnusableInput: there is no such thing.
    """
    if not among:
        raise UnusableInput(f"There is no {kind}.")
    if wanted is not None and wanted not in among:
        raise UnusableInput(f"{wanted!r} is no {kind}. Known: {', '.join(among)}.")
    return wanted or among[0]


def read_claims(given: bytes) -> UnverifiedClaims:
    """Read what an admin has at hand: claims, claims of ID token and userinfo, a token response, or a whole token.

    Args:
        given: the content of the file; in whatever encoding JSON may have had, with or without a byte order mark.

    Raises:
        UnusableInput: none of these.
    """
    if len(given) > INPUT_LIMIT:
        raise UnusableInput(f"The claims are larger than {INPUT_LIMIT // 1024} KiB.")
    try:
        text = given.decode(json.detect_encoding(given)).strip()
    except UnicodeDecodeError:
        raise UnusableInput("The claims are no text.") from None
    token = "".join(text.split()).strip('"')
    if _TOKEN.fullmatch(token) or _ENCRYPTED.fullmatch(token):
        return UnverifiedClaims(_payload(token), None, from_token=True)
    document = _object(text, "The claims are no JSON object and no token")
    if not {"id_token", "userinfo"} & set(document):
        return UnverifiedClaims(document, None, from_token=False)
    id_token, userinfo = document.get("id_token"), document.get("userinfo")
    if not isinstance(id_token, dict | str):
        raise UnusableInput("id_token must be a JSON object, or the token itself.")
    if not isinstance(userinfo, dict | None):
        raise UnusableInput("userinfo must be a JSON object.")
    claims = _payload(id_token) if isinstance(id_token, str) else id_token
    return UnverifiedClaims(claims, userinfo, from_token=isinstance(id_token, str))


def _payload(token: str) -> JsonObject:
    if not _TOKEN.fullmatch(token):
        encrypted = _ENCRYPTED.fullmatch(token)
        raise UnusableInput("The token is encrypted: its claims cannot be read." if encrypted else "This is no token.")
    payload = token.split(".")[1]
    try:
        return _object(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)), "The token holds no JSON object")
    except ValueError:
        raise UnusableInput("The token is cut: its claims cannot be decoded.") from None


def _object(text: bytes | str, complaint: str) -> JsonObject:
    try:
        return read_json_object(text)
    except AnswerUnreadable as error:
        raise UnusableInput(f"{complaint}{_where(error)}.") from None


def _where(error: AnswerUnreadable) -> str:
    """Say where the JSON is broken, if that is what is wrong with it."""
    if isinstance(broken := error.__context__, json.JSONDecodeError):
        return f": broken in line {broken.lineno}, column {broken.colno}"
    return ", or a member comes twice, or they are nested too deep"
