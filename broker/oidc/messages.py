"""What goes to a provider and what comes back, as plain records, and the strict reading of JSON.

This file owns the bounds of a message's content. It opens no socket and judges no member.
"""

from __future__ import annotations

import json
import math
import re
from codecs import BOM_UTF8
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, NoReturn
from urllib.parse import urlsplit

from broker.errors import AnswerUnreadable, BrokerError

KIBIBYTE = 1024
DOCUMENT_LIMIT = 512 * KIBIBYTE  # bytes of a discovery document or JWK Set
RESPONSE_LIMIT = 256 * KIBIBYTE  # bytes of a token or userinfo response
MAX_NAME_CHARACTERS = 60  # of a member's name in a log
MAX_WORDS_CHARACTERS = 500  # of a provider's error, and of its description
MAX_PLACE_CHARACTERS = 4000
MIN_ECHO_CHARACTERS = 8  # of a code; a shorter one has no words in it, and is found by chance

JsonObject = dict[str, Any]
RequestKind = Literal["metadata", "keys", "token", "userinfo", "other"]


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
        kind: what for, by a name that never changes; it is not sent.
    """

    method: str
    url: str
    limit: int
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: str | None = field(default=None, repr=False)
    secrets: tuple[str, ...] = field(default=(), repr=False)
    kind: RequestKind = "other"


@dataclass(frozen=True, slots=True)
class Peer:
    """The other end of the connection by which an answer came.

    Args:
        address: the IP address; the proxy's, if requests take the outbound proxy.
        certificate_expires: seconds since the epoch; None without TLS.
    """

    address: str
    certificate_expires: float | None


@dataclass(frozen=True, slots=True)
class ProviderResponse:
    """What the provider answered, unjudged.

    Args:
        status: the HTTP status.
        media_type: of Content-Type, in lower case, without parameters.
        body: the bytes, within the request's limit.
        max_age: seconds the answer may be kept by its Cache-Control, if it says so.
        retry_after: seconds to wait by its Retry-After, if it says so.
        date: when it was made by the other side's clock, in seconds since the epoch, if it says so.
        location: where it sends a browser; nobody here follows it, and it may hold what is not for a log.
        www_authenticate: the WWW-Authenticate header, which may say why a credential is refused (RFC 6750, 3).
        peer: None if the HTTP client does not tell.
    """

    status: int
    media_type: str
    body: bytes = field(repr=False)
    max_age: int | None = None
    retry_after: int | None = None
    date: float | None = None
    location: str | None = field(default=None, repr=False)
    www_authenticate: str | None = field(default=None, repr=False)
    peer: Peer | None = None


def read_json_object(body: bytes | str) -> JsonObject:
    """Return the JSON object in `body`: UTF-8, no member twice, no NaN, nested no deeper than Python reads.

    A byte order mark before it is ignored, as RFC 8259, section 8.1 allows.

    Args:
        body: what the provider sent.

    Raises:
        AnswerUnreadable: for anything else (RFC 8259, sections 4 and 8.1; RFC 7519, section 4 on a member twice).
    """
    try:
        text = body if isinstance(body, str) else body.removeprefix(BOM_UTF8).decode("utf-8")
        document = json.loads(text, object_pairs_hook=_object, parse_constant=_no_constant, parse_float=_finite)
    except (ValueError, RecursionError) as error:
        raise AnswerUnreadable(expected="a JSON object", got=_why_unreadable(error, body)) from None
    if not isinstance(document, dict):
        raise AnswerUnreadable(
            expected="a JSON object", got=f"JSON, but {type_name(document) if document is not None else 'null'}"
        )
    return document


def is_failing(answer: ProviderResponse) -> bool:
    """Whether the provider cannot answer now: a 5xx, or a 429 (RFC 6585, section 4).

    Args:
        answer: to any request.
    """
    return answer.status == 429 or answer.status >= 500


def without_echo(answer: ProviderResponse, code: str) -> ProviderResponse:
    """Leave the code out of a refusal before it is judged.

    A stranger can write it, for example the provider's own words for a wrong client secret.

    Args:
        answer: to the request that redeems the code.
        code: from the callback.
    """
    if answer.status == 200 or len(code) < MIN_ECHO_CHARACTERS:
        return answer
    header = answer.www_authenticate
    return replace(
        answer,
        body=answer.body.replace(code.encode(), b"[left out]"),
        www_authenticate=header and header.replace(code, "[left out]"),
    )


def text_member(document: Mapping[str, Any], member: str, error: type[BrokerError]) -> str:
    """Return a member that must be a non-empty string.

    Args:
        document: the JSON object.
        member: the member's name.
        error: raised if it is missing or of another type.
    """
    value = document.get(member)
    if not isinstance(value, str) or not value:
        raise error(expected=f"{member}: a string", got=f"{member}: {type_name(value)}")
    return value


def type_name(value: object) -> str:
    """Name the type of a value in the words of JSON, without the value itself."""
    if value is None or isinstance(value, bool):
        return {None: "nothing", True: "true", False: "false"}[value]
    if value == "":
        return "an empty string"
    kinds = ((str, "a text"), (int | float, "a number"), (list | tuple, "an array"), (dict, "an object"))
    return next((name for kind, name in kinds if isinstance(value, kind)), "something else")


class _NotAllowed(ValueError):
    """JSON that Python would read and we do not; the message says why."""


def _why_unreadable(error: Exception, body: bytes | str) -> str:
    if isinstance(error, _NotAllowed):
        return str(error)
    if isinstance(error, RecursionError):
        return "JSON nested too deep"
    if isinstance(error, UnicodeDecodeError):
        return f"not UTF-8: byte 0x{error.object[error.start]:02x} at position {error.start}"
    if not body.strip():
        return "an empty body"
    if isinstance(error, json.JSONDecodeError):
        page = "a page of HTML or XML; " if error.doc.lstrip().startswith("<") else ""
        return f"{page}not JSON: {error.msg} at position {error.pos}"
    return "a number of too many digits"  # Python's limit is the only other ValueError


def _object(pairs: list[tuple[str, Any]]) -> JsonObject:
    result = dict(pairs)
    if len(result) != len(pairs):
        seen: set[str] = set()
        twice = next(name for name, _ in pairs if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        raise _NotAllowed(f"member `{short_text(twice)}` twice")
    return result


def _no_constant(constant: str) -> NoReturn:
    raise _NotAllowed(f"not JSON: the number {constant}")


def _finite(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise _NotAllowed("a number beyond bounds")
    return number


_OPAQUE = re.compile(r"[A-Za-z0-9_.~+/=-]{20,}")
_GUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
# Names of protocol members and values: `token_endpoint_auth_method`, `application/x-www-form-urlencoded`.
_PLAIN_WORDS = re.compile(r"[./]*[a-z]{1,16}(?:[_./=-]{1,2}[a-z]{1,16}){1,12}[./=]*")


def safe_error_text(error: object, description: object) -> str:
    """Return what a provider said in its own words, fit for our log.

    A provider may echo the code or our credentials: long opaque words are left out. Plain lower-case words joined by
    underscores or hyphens stay, for they name members of the protocol, and so do the GUIDs by which Microsoft's
    support finds a request. Credentials we know are left out by their value, whatever they look like.

    Args:
        error: the `error` member or parameter.
        description: `error_description`, of whatever type.
    """
    said = ": ".join(whole_words(part) for part in (error, description) if isinstance(part, str) and part)
    return _OPAQUE.sub(
        lambda word: (
            word[0] if _PLAIN_WORDS.fullmatch(word[0]) or _GUID.fullmatch(word[0].rstrip(".")) else "[left out]"
        ),
        said,
    )


def whole_words(text: str, limit: int = MAX_WORDS_CHARACTERS) -> str:
    """Cut a text between two words: half of a credential would no longer be known by its value.

    Args:
        text: a provider's words.
        limit: characters.
    """
    return text if len(text) <= limit else f"{text[: limit + 1].rpartition(' ')[0]} ..."


def short_text(value: object) -> str:
    """Return a name or a value of the protocol for the log: a short text itself, else its length or its type.

    Args:
        value: unverified.
    """
    if not isinstance(value, str) or not value:
        return type_name(value)
    if len(value) > MAX_NAME_CHARACTERS:
        return f"a text of {len(value)} characters"
    return safe_error_text(value, None)


def place(url: str) -> str:
    """Return an address as a log may hold it: the host, its port if one is named, and the path, never the query.

    Args:
        url: absolute, or a path alone; it may be unverified.
    """
    if len(url) > MAX_PLACE_CHARACTERS:
        return f"an address of {len(url)} characters"
    try:
        parts = urlsplit(url)
    except ValueError:
        return "no address"
    path = "/".join(safe_error_text(segment, None) for segment in parts.path.split("/"))
    return f"{parts.netloc.rpartition('@')[2]}{path}" or "no address"
