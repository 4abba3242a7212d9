"""Reads a provider's words about a refusal, in each form that providers use, bounded and fit for a log.

RFC 6749, section 5.2 and RFC 6750, section 3 define two forms. Providers use others: problem documents (RFC 9457),
error objects, Okta's `errorCode`, bodies encoded as a form, pages of HTML.
"""

from __future__ import annotations

import html
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

from broker.errors import AnswerUnexpected, AnswerUnreadable, BrokerError, ProviderFailing
from broker.oidc.messages import (
    KIBIBYTE,
    ProviderResponse,
    is_failing,
    place,
    read_json_object,
    safe_error_text,
    whole_words,
)

MAX_PAGE_BYTES = 4 * KIBIBYTE  # of a page, looked at for its words
MAX_PAGE_CHARACTERS = 120  # of its words, shown
MAX_HEADER_CHARACTERS = 1000  # of WWW-Authenticate

_CODES = ("error", "errorCode", "error_code", "code")
_INNER_CODES = ("code", "error", "errorCode", "type", "status")
_DESCRIPTIONS = ("error_description", "errorSummary", "errorDescription", "error_message", "message", "detail", "title")

_PARAMETER = re.compile(r"\b([A-Za-z_]{1,40})\s{0,5}=\s{0,5}(?:\"([^\"]*)\"|([^\s,\"]+))")
_HIDDEN = {
    "<script": "</script",
    "<style": "</style",
    "<!--": "--",
}  # what begins a part that no page shows, and its end
_TITLE = re.compile(r"<title[^<>]*>([^<]+)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Said:
    """What a provider says about a refusal; unverified.

    Args:
        code: the error in its machine-readable form; empty if there is none.
        words: code and description, fit for a log; empty if it says nothing.
        in_json: the body is a JSON object.
    """

    code: str
    words: str
    in_json: bool = False


_NOTHING = Said("", "")


def read_refusal(answer: ProviderResponse) -> Said:
    """Return what the body says, and the WWW-Authenticate header where the body names no error.

    Args:
        answer: a refusal, of any status.
    """
    body = _read_body(answer)
    if body.code:
        return body
    header = _read_header(answer.www_authenticate)
    words = "; ".join(said.words for said in (header, body) if said.words)
    return Said(header.code, words, body.in_json)


def read_refusal_members(document: Mapping[str, Any]) -> Said:
    """Return the error a JSON object names; a null or empty `error` is none.

    Args:
        document: such as a token response.
    """
    # The members of an error object, as Google's and Microsoft's APIs send it, or of the first in a list of errors.
    errors = document.get("errors")
    for inner in (document.get("error"), errors[0] if isinstance(errors, list) and errors else None):
        if isinstance(inner, Mapping):
            code = next((text for member in _INNER_CODES if (text := _text(inner.get(member)))), "")
            return _said(code, {**document, **inner})
    return _said(next((text for member in _CODES if (text := _text(document.get(member)))), ""), document)


def read_refusal_form(text: str) -> Said:
    """Return the error that a body encoded as a form names, as GitHub's do.

    Args:
        text: the body.
    """
    if "error" not in text or "=" not in text or "<" in text:
        return _NOTHING
    try:
        return read_refusal_members(dict(parse_qsl(text, max_num_fields=50)))
    except ValueError:
        return _NOTHING


def describe_refusal(answer: ProviderResponse, said: Said | None = None) -> str:
    """Return status, the destination of a redirect, and the provider's words, for `got`; never empty.

    Args:
        answer: a refusal, of any status.
        said: what it says, if that is read already.
    """
    words = (said or read_refusal(answer)).words
    to = f" to {place(answer.location)}" if answer.location is not None and 300 <= answer.status < 400 else ""
    return f"{answer.status}{to}: {words}" if words else f"{answer.status}{to}"


def check_success(answer: ProviderResponse, refused: type[BrokerError] = AnswerUnexpected) -> None:
    """Accept a 200 alone; a redirect is not followed, for it could lead anywhere.

    Args:
        answer: to a GET.
        refused: raised for any other status that is no failure of the provider.

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
            text = text.rpartition(" ")[0]  # half of a credential would no longer be known by its value
        form = read_refusal_form(text)
        return form if form.code or answer.status < 400 else Said("", _words_of_page(text))
    return Said(said.code, said.words, in_json=True)


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
    description = next((text for member in _DESCRIPTIONS if (text := _text(document.get(member)))), "")
    return Said(code, safe_error_text(code, description))


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
    """Return a text or a whole number as text; anything else says nothing."""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value) if abs(value) < 10**9 else ""
    return value.strip() if isinstance(value, str) else ""


def names_any(text: str, names: Collection[str]) -> bool:
    """Tell whether a text has one of these codes as a whole word, in any case.

    Args:
        text: a provider's words.
        names: codes in lower case.
    """
    words = set(re.findall(r"[a-z0-9_]+", text.lower()))
    return not words.isdisjoint(names)
