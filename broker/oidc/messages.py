"""The messages to and from a provider as plain records: strict JSON, and the provider's own words of a refusal.

RFC 6749, section 5.2 and RFC 6750, section 3 define two forms of a refusal. Providers use others: problem documents
(RFC 9457), error objects, Okta's `errorCode`, bodies encoded as a form, pages of HTML.
"""

from __future__ import annotations

import html
import json
import math
import re
from codecs import BOM_UTF8
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, NoReturn
from urllib.parse import parse_qsl, urlsplit

from broker.errors import AnswerUnexpected, AnswerUnreadable, BrokerError, ProviderFailing
from broker.text import REDACTED, redact_opaque, redact_path, type_name

KIBIBYTE = 1024
DOCUMENT_LIMIT = 512 * KIBIBYTE  # bytes of a discovery document or JWK Set
RESPONSE_LIMIT = 256 * KIBIBYTE  # bytes of a token or userinfo response
MAX_NAME_CHARACTERS = 60  # of a member's name in a log
MAX_WORDS_CHARACTERS = 500  # of a provider's error, and of its description
MAX_PLACE_CHARACTERS = 4000
MIN_ECHO_CHARACTERS = 8  # of a code; a shorter code is found by chance
MAX_PAGE_BYTES = 4 * KIBIBYTE  # of a page that is searched for words
MAX_PAGE_CHARACTERS = 120  # of a page's words, in a log
MAX_HEADER_CHARACTERS = 1000  # of WWW-Authenticate

_CODES = ("error", "errorCode", "error_code", "code")
_INNER_CODES = ("code", "error", "errorCode", "type", "status")
_DESCRIPTIONS = ("error_description", "errorSummary", "errorDescription", "error_message", "message", "detail", "title")

_PARAMETER = re.compile(r"\b([A-Za-z_]{1,40})\s{0,5}=\s{0,5}(?:\"([^\"]*)\"|([^\s,\"]+))")
_HIDDEN = {"<script": "</script", "<style": "</style", "<!--": "--"}  # parts that no page shows: begin and end
_TITLE = re.compile(r"<title[^<>]*>([^<]+)", re.IGNORECASE)

JsonObject = dict[str, Any]
RequestKind = Literal["metadata", "keys", "token", "userinfo", "other"]


@dataclass(frozen=True, slots=True)
class ProviderRequest:
    """A request to an identity provider, ready to send.

    Args:
        url: checked when the metadata was read.
        limit: bytes of body accepted in answer.
        body: the form, encoded; it holds credentials and is never shown.
        secrets: credentials of the request, which an answer may repeat and a log must not.
        kind: the purpose, for metrics; it is not sent.
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
    """A provider's response, unverified.

    Args:
        media_type: of Content-Type, in lower case, without parameters.
        max_age: seconds the answer may be kept, by its Cache-Control.
        retry_after: seconds to wait, by its Retry-After.
        date: seconds since the epoch, by the provider's clock.
        location: never followed; it may hold secrets.
        www_authenticate: the WWW-Authenticate header, which may say why a credential is refused (RFC 6750, 3).
        peer: None if unknown.
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

    Raises:
        AnswerUnreadable: for anything else (RFC 8259, sections 4 and 8.1; RFC 7519, section 4 on a member twice).
    """
    try:
        text = body if isinstance(body, str) else body.removeprefix(BOM_UTF8).decode("utf-8")
        document = _DECODER.decode(text)
    except (ValueError, RecursionError) as error:
        raise AnswerUnreadable(expected="a JSON object", got=_why_unreadable(error, body)) from None
    if not isinstance(document, dict):
        raise AnswerUnreadable(
            expected="a JSON object", got=f"JSON, but {type_name(document) if document is not None else 'null'}"
        )
    return document


def is_failing(answer: ProviderResponse) -> bool:
    """Tell whether the provider cannot answer now: a 5xx, or a 429 (RFC 6585, section 4)."""
    return answer.status == 429 or answer.status >= 500


def without_echo(answer: ProviderResponse, code: str) -> ProviderResponse:
    """Remove the code from a refusal before the refusal is judged.

    A stranger chooses the code, for example the provider's words for a wrong client secret.
    """
    if answer.status == 200 or len(code) < MIN_ECHO_CHARACTERS:
        return answer
    header = answer.www_authenticate
    return replace(
        answer,
        body=answer.body.replace(code.encode(), REDACTED.encode()),
        www_authenticate=header and header.replace(code, REDACTED),
    )


def text_member(document: Mapping[str, Any], member: str, error: type[BrokerError]) -> str:
    """Return a member that must be a non-empty string; raise `error` otherwise."""
    value = document.get(member)
    if not isinstance(value, str) or not value:
        raise error(expected=f"{member}: a string", got=f"{member}: {type_name(value)}")
    return value


class _NotAllowed(ValueError):
    """JSON that Python reads and the broker refuses; the message says why."""


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


_DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_constant=_no_constant, parse_float=_finite)


def safe_error_text(error: object, description: object) -> str:
    """Return the words of a provider without long opaque words: the provider may echo a code or a credential.

    Known credentials are redacted later, by their value.

    Args:
        error: the `error` member or parameter, unverified and of any type.
        description: `error_description`, the same.
    """
    return redact_opaque(
        ": ".join(whole_words(part) for part in (error, description) if isinstance(part, str) and part)
    )


def whole_words(text: str, limit: int = MAX_WORDS_CHARACTERS) -> str:
    """Cut a text between two words, because a redactor does not find half of a credential."""
    return text if len(text) <= limit else f"{text[: limit + 1].rpartition(' ')[0]} ..."


def short_text(value: object) -> str:
    """Return a name or a value of the protocol for the log: a short text itself, else its length or its type."""
    if not isinstance(value, str) or not value:
        return type_name(value)
    if len(value) > MAX_NAME_CHARACTERS:
        return f"a text of {len(value)} characters"
    return safe_error_text(value, None)


def character_at(found: re.Match[str]) -> str:
    """Return the number and the place of a character that is not allowed, without the text around it."""
    return f"U+{ord(found[0]):04X} as character {found.start() + 1}"


def place(url: str) -> str:
    """Return the part of an address that a log may hold: host, port and path, never the query.

    Args:
        url: absolute, or a path alone; it may be unverified.
    """
    if len(url) > MAX_PLACE_CHARACTERS:
        return f"an address of {len(url)} characters"
    try:
        parts = urlsplit(url)
    except ValueError:
        return "no address"
    return f"{parts.netloc.rpartition('@')[2]}{redact_path(parts.path)}" or "no address"


@dataclass(frozen=True, slots=True)
class Said:
    """A provider's words of a refusal, unverified.

    Args:
        code: the machine-readable error; empty if there is none.
        words: code and description, safe to log; empty if there are none.
    """

    code: str
    words: str
    in_json: bool = False


_NOTHING = Said("", "")


def read_refusal(answer: ProviderResponse) -> Said:
    """Return the refusal in the body, or in the WWW-Authenticate header if the body names no error."""
    body = _read_body(answer)
    if body.code:
        return body
    header = _read_header(answer.www_authenticate)
    words = "; ".join(said.words for said in (header, body) if said.words)
    return Said(header.code, words, body.in_json)


def read_refusal_members(document: Mapping[str, Any]) -> Said:
    """Return the error that a JSON object names; a null or empty `error` counts as absent."""
    # The members of an error object, as Google's and Microsoft's APIs send it, or of the first in a list of errors.
    errors = document.get("errors")
    for inner in (document.get("error"), errors[0] if isinstance(errors, list) and errors else None):
        if isinstance(inner, Mapping):
            return _said(_first_text(inner, _INNER_CODES), {**document, **inner})
    return _said(_first_text(document, _CODES), document)


def describe_refusal(answer: ProviderResponse, said: Said | None = None) -> str:
    """Return status, the destination of a redirect, and the provider's words, for `got`; never empty."""
    words = (said or read_refusal(answer)).words
    to = f" to {place(answer.location)}" if answer.location is not None and 300 <= answer.status < 400 else ""
    return f"{answer.status}{to}: {words}" if words else f"{answer.status}{to}"


def check_success(answer: ProviderResponse, refused: type[BrokerError] = AnswerUnexpected) -> None:
    """Accept only a 200; a redirect is not followed, because it could lead anywhere.

    Args:
        refused: raised for any other status.

    Raises:
        ProviderFailing: a 5xx or 429.
    """
    if is_failing(answer):
        raise ProviderFailing(expected=200, got=describe_refusal(answer), retry_after=answer.retry_after)
    if answer.status != 200:
        raise refused(expected=200, got=describe_refusal(answer))


def _read_body(answer: ProviderResponse) -> Said:
    try:
        said = read_refusal_members(read_json_object(answer.body))
    except AnswerUnreadable:
        text = answer.body[:MAX_PAGE_BYTES].decode("utf-8", "replace").lstrip("\ufeff").strip()
        if len(answer.body) > MAX_PAGE_BYTES:
            text = text.rpartition(" ")[0]  # the redactor does not find half of a credential
        form = _read_form(text)
        return form if form.code or answer.status < 400 else Said("", _words_of_page(text))
    return Said(said.code, said.words, in_json=True)


def _read_form(text: str) -> Said:
    """Return the error that a body encoded as a form names; GitHub sends such bodies."""
    if "error" not in text or "=" not in text or "<" in text:
        return _NOTHING
    try:
        return read_refusal_members(dict(parse_qsl(text, max_num_fields=50)))
    except ValueError:
        return _NOTHING


def _read_header(value: str | None) -> Said:
    """Read RFC 6750, section 3: `Bearer error="invalid_token", error_description="..."`; a bare scheme has no words."""
    if not value:
        return _NOTHING
    if len(value) > MAX_HEADER_CHARACTERS:
        return Said("", f"WWW-Authenticate: {len(value)} characters")
    members = {name.lower(): quoted or token for name, quoted, token in _PARAMETER.findall(value)}
    said = read_refusal_members({name: members.get(name) for name in ("error", "error_description")})
    if said.words:
        return said
    return Said("", f"WWW-Authenticate: {safe_error_text(whole_words(value, MAX_PAGE_CHARACTERS), None)}")


def _said(code: str, document: Mapping[str, Any]) -> Said:
    return Said(code, safe_error_text(code, _first_text(document, _DESCRIPTIONS)))


def _first_text(document: Mapping[str, Any], members: Collection[str]) -> str:
    return next((text for member in members if (text := _text(document.get(member)))), "")


def _words_of_page(text: str) -> str:
    title = _TITLE.search(text)
    words = html.unescape(title[1] if title else _shown_text(text))
    return safe_error_text(whole_words(" ".join(words.split()), MAX_PAGE_CHARACTERS), None)


def _shown_text(page: str) -> str:
    """Return a page without its markup, in linear time: a part that does not end hides the rest."""
    pieces, small, at = [], page.lower(), 0
    while (start := page.find("<", at)) != -1:
        pieces.append(page[at:start])
        end_mark = next((end for begin, end in _HIDDEN.items() if small.startswith(begin, start)), "")
        hidden_end = small.find(end_mark, start + 4) if end_mark else start
        end = page.find(">", hidden_end) if hidden_end != -1 else -1
        if end == -1:
            return " ".join(pieces)
        at = end + 1
    return " ".join([*pieces, page[at:]])


def _text(value: object) -> str:
    """Return a text or a whole number as text; empty for anything else."""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value) if abs(value) < 10**9 else ""
    return value.strip() if isinstance(value, str) else ""
