"""What goes to a provider and what comes back, as plain records, and the strict reading of JSON.

This file owns the bounds of a message's content. It opens no socket and judges no member.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NoReturn

from broker.errors import AnswerUnreadable, BrokerError, ProviderFailing

KIBIBYTE = 1024
DOCUMENT_LIMIT = 512 * KIBIBYTE  # bytes of a discovery document or JWK Set
RESPONSE_LIMIT = 256 * KIBIBYTE  # bytes of a token or userinfo response

JsonObject = dict[str, Any]
Asked = Literal["metadata", "keys", "token", "userinfo", "other"]


@dataclass(frozen=True, slots=True)
class ProviderRequest:
    """A request to an identity provider, ready to send.

    Args:
        method: GET or POST.
        url: where to; checked when the metadata was read.
        limit: bytes of body accepted in answer.
        headers: name to value.
        body: the form, encoded; it holds credentials and is never shown.
        secrets: credentials in it, which an answer may echo and a log must not.
        asked: what for, by a name that never changes; it is not sent.
    """

    method: str
    url: str
    limit: int
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: str | None = field(default=None, repr=False)
    secrets: tuple[str, ...] = field(default=(), repr=False)
    asked: Asked = "other"


@dataclass(frozen=True, slots=True)
class Answer:
    """What the provider answered, unjudged.

    Args:
        status: the HTTP status.
        media_type: of Content-Type, in lower case, without parameters.
        body: the bytes, within the request's limit.
        max_age: seconds the answer may be kept by its Cache-Control, if it says so.
        retry_after: seconds to wait by its Retry-After, if it says so.
        date: when it was made by the other side's clock, in seconds since the epoch, if it says so.
        location: where it sends a browser; nobody here follows it, and it may hold what is not for a log.
    """

    status: int
    media_type: str
    body: bytes = field(repr=False)
    max_age: int | None = None
    retry_after: int | None = None
    date: float | None = None
    location: str | None = field(default=None, repr=False)


def read_json_object(body: bytes | str) -> JsonObject:
    """Return the JSON object in `body`: UTF-8, no member twice, no NaN, nested no deeper than Python reads.

    Args:
        body: what the provider sent.

    Raises:
        AnswerUnreadable: for anything else (RFC 8259, sections 4 and 8.1; RFC 7519, section 4 on a member twice).
    """
    try:
        text = body if isinstance(body, str) else body.decode("utf-8")
        document = json.loads(text, object_pairs_hook=_object, parse_constant=_no_constant, parse_float=_finite)
    except (ValueError, RecursionError) as error:
        raise AnswerUnreadable(expected="a JSON object", got=type(error).__name__) from None
    if not isinstance(document, dict):
        raise AnswerUnreadable(expected="a JSON object", got=f"JSON of type {type(document).__name__}")
    return document


def check_available(answer: Answer) -> None:
    """Tell a provider that cannot answer now from one that did.

    Args:
        answer: to any request.

    Raises:
        ProviderFailing: a 5xx, or a 429 (RFC 6585, section 4).
    """
    if answer.status == 429 or answer.status >= 500:
        raise ProviderFailing(expected=200, got=answer.status, retry_after=answer.retry_after)


def text_member(document: Mapping[str, Any], member: str, error: type[BrokerError]) -> str:
    """Return a member that must be a non-empty string.

    Args:
        document: the JSON object.
        member: the member's name.
        error: raised if it is missing or of another type.
    """
    value = document.get(member)
    if not isinstance(value, str) or not value:
        raise error(expected=f"{member}: a string", got=f"{member}: {shape(value)}")
    return value


def shape(value: object) -> str:
    """Say what a value is without saying the value."""
    return "nothing" if value is None else "an empty string" if value == "" else type(value).__name__


def _object(pairs: list[tuple[str, Any]]) -> JsonObject:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("a member twice")
    return result


def _no_constant(_: str) -> NoReturn:
    raise ValueError("not a JSON number")


def _finite(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise ValueError("a number beyond bounds")
    return number


_OPAQUE = re.compile(r"[A-Za-z0-9_.~+/=-]{20,}")
_GUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_ERROR_CODE = re.compile(r"[a-z]{1,16}(_[a-z]{1,16}){1,4}")


def provider_text(error: object, description: object) -> str:
    """Return what a provider said in its own words, fit for our log.

    A provider may echo the code or our credentials: long opaque words are left out, but for an error code of plain
    words (`temporarily_unavailable`), and for the GUIDs by which Microsoft's support finds a request.

    Args:
        error: the `error` member or parameter.
        description: `error_description`, of whatever type.
    """
    said = ": ".join(part for part in (error, description) if isinstance(part, str) and part)
    code = error if isinstance(error, str) and _ERROR_CODE.fullmatch(error) else None
    return _OPAQUE.sub(lambda word: word[0] if word[0] == code or _GUID.fullmatch(word[0]) else "[left out]", said)
