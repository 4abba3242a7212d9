"""Make foreign text safe to show and to log: visible, bounded, without secrets and e-mail addresses."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Any
from urllib.parse import quote, quote_plus

MAX_CHARACTERS = 300  # of one value, on a page, in a report or in a log line
REDACTED = "[left out]"
GUID = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"  # a pattern, as Microsoft spells ids: in lower case

MIN_SECRET_CHARACTERS = 4  # a shorter secret is found by chance
_TELLING = 64  # characters of a secret that are searched; the rest goes up to the next space
_WORDS = 20  # of one secret, the longest ones: the same in every encoding of the characters between them
_DEPTH = 5  # of lists and objects inside each other
_ENTRIES, _LEVELS, _BITS = 10, 3, 256  # of JSON on a page: entries of a list or object, nesting, size of a number
_PATH_PART_CHARACTERS, _PATH_CHARACTERS = 40, 120

_WORD = re.compile(r"[A-Za-z0-9_-]{6,}")
_OPAQUE = re.compile(r"[A-Za-z0-9_.~+/=-]{20,}")
# Names of protocol members and values: `token_endpoint_auth_method`, `application/x-www-form-urlencoded`.
_PLAIN_WORDS = re.compile(r"[./]*[a-z]{1,16}(?:[_./=-]{1,2}[a-z]{1,16}){1,12}[./=]*")
_GUID = re.compile(GUID, re.IGNORECASE)
# Percent-encoded, too. The lookbehind keeps the search linear: each word is searched once, from its start.
_EMAIL = re.compile(r"(?<![^\s@<>\"'()\[\],;:=])[^\s@<>\"'()\[\],;:=]+(@|%(?:25)*40)([^\s@<>\"'()\[\],;:]+)")

_AT = re.compile(r"@|%(?:25)*40")
_UNCHANGED = re.compile(r"[A-Za-z0-9_.~-]+")  # by every encoding

_BRAILLE_BLANK = 0x2800  # not ignorable by Unicode, and without a dot
# Default_Ignorable_Code_Point, which `unicodedata` does not have: Unicode 17.0, DerivedCoreProperties.txt.
_IGNORABLE_RANGES = (
    (0x00AD, 0x00AD),
    (0x034F, 0x034F),
    (0x061C, 0x061C),
    (0x115F, 0x1160),
    (0x17B4, 0x17B5),
    (0x180B, 0x180F),
    (0x200B, 0x200F),
    (0x202A, 0x202E),
    (0x2060, 0x206F),
    (_BRAILLE_BLANK, _BRAILLE_BLANK),
    (0x3164, 0x3164),
    (0xFE00, 0xFE0F),
    (0xFEFF, 0xFEFF),
    (0xFFA0, 0xFFA0),
    (0xFFF0, 0xFFF8),
    (0x1BCA0, 0x1BCA3),
    (0x1D173, 0x1D17A),
    (0xE0000, 0xE0FFF),
)


def is_invisible(character: str) -> bool:
    """Tell whether a character is displayed as nothing or as a blank; its Unicode category does not tell."""
    return any(first <= ord(character) <= last for first, last in _IGNORABLE_RANGES)


def is_plain(text: str, limit: int = MAX_CHARACTERS) -> bool:
    """Return whether a cheap test shows that `printable` and `mask_emails` leave the text as it is."""
    return len(text) <= limit and text.isascii() and text.isprintable() and "@" not in text and "%" not in text


def printable(value: object, limit: int = MAX_CHARACTERS, *, ascii_only: bool = False) -> str:
    """Return an unverified value as one short line of visible characters, on which no terminal or browser acts.

    White space becomes a blank; controls, direction marks, surrogates and invisible marks are shown by their number.
    Lists are joined; of an object only the type is shown.

    Args:
        value: redacted before: this function may change characters of a secret.
        limit: characters kept; a longer text ends with three dots.
        ascii_only: show every other character by its number, too: for addresses, where letters may look alike.
    """
    text = (value if isinstance(value, str) else _words_for(value))[: limit + 1]
    if not (text.isascii() and text.isprintable()):
        text = "".join(_visible(character, ascii_only) for character in text)
    return text if len(text) <= limit else f"{text[:limit]}..."


def printable_json(value: object) -> str:
    """Return a JSON value as one short line: text by `printable`, any other value as a bounded part of its JSON."""
    return printable(value if isinstance(value, str) else json.dumps(_abridged(value, _LEVELS), ensure_ascii=False))


def redact_path(path: str) -> str:
    """Remove long and opaque segments from a path, or from a part of a path: each may be a link, a code or a state."""
    segments = [
        redact_opaque(segment) if len(segment) <= _PATH_PART_CHARACTERS else REDACTED for segment in path.split("/")
    ]
    redacted = "/".join(segments)
    # Cut between two segments, because a redactor does not find half of a credential.
    return redacted if len(redacted) <= _PATH_CHARACTERS else f"{redacted[:_PATH_CHARACTERS].rpartition('/')[0]}/..."


def redact_emails(path: str) -> str:
    """Remove each segment of a path that may hold an e-mail address, percent-encoded or not."""
    return "/".join(REDACTED if _AT.search(segment) else segment for segment in path.split("/"))


def type_name(value: object) -> str:
    """Name the type of a value in the words of JSON, without the value itself."""
    if value is None or isinstance(value, bool):
        return {None: "nothing", True: "true", False: "false"}[value]
    if value == "":
        return "an empty string"
    kinds = ((str, "a text"), (int | float, "a number"), (list | tuple, "an array"), (Mapping, "an object"))
    return next((name for kind, name in kinds if isinstance(value, kind)), "something else")


def mask_emails(text: str) -> str:
    """Replace the local part of every e-mail address with asterisks; the domain stays."""
    return _EMAIL.sub(r"***\1\2", text)


def redact(value: Any, secrets: Iterable[str]) -> Any:
    """Return a JSON value without these secrets, at any depth.

    Found in any case: the secret itself, percent-encoded once and twice, form-encoded, escaped as JSON and as HTML, and
    each longer word of it, because a provider may have encoded or dropped the characters between the words.

    Args:
        value: text or parsed JSON; levels below the fifth are cut.
        secrets: codes, tokens and credentials; a secret of fewer than four characters is ignored.
    """
    return _redacted(value, _needles(secrets), 1)


def redact_opaque(text: str) -> str:
    """Remove long opaque words from the words of a provider or a browser: each may be a code or a credential.

    Lower-case words joined by underscores or hyphens stay, because they name members of the protocol. GUIDs stay,
    because Microsoft's support finds a request by them.
    """
    return _OPAQUE.sub(lambda word: word[0] if _is_harmless(word[0]) else REDACTED, text)


def _is_harmless(word: str) -> bool:
    return (_PLAIN_WORDS.fullmatch(word) or _GUID.fullmatch(word.rstrip("."))) is not None


def _visible(character: str, ascii_only: bool) -> str:
    if character.isspace():
        return " "
    if character.isprintable() and not is_invisible(character) and (character.isascii() or not ascii_only):
        return character
    return f"\\u{ord(character):04x}"


def _words_for(value: object) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(one if isinstance(one, str) else type_name(one) for one in value)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value) if not isinstance(value, int) or value.bit_length() <= _BITS else "a long number"
    return type_name(value)


def _abridged(value: object, levels: int) -> object:
    if isinstance(value, Mapping):
        entries = islice(value.items(), _ENTRIES if levels else 0)
        kept = {str(key)[:MAX_CHARACTERS]: _abridged(one, levels - 1) for key, one in entries}
        return "{...}" if levels == 0 else kept if len(value) <= _ENTRIES else {**kept, "...": "..."}
    if isinstance(value, list | tuple):
        members = [_abridged(one, levels - 1) for one in value[: _ENTRIES if levels else 0]]
        return "[...]" if levels == 0 else members if len(value) <= _ENTRIES else [*members, "..."]
    if isinstance(value, int) and value.bit_length() > _BITS:
        return "a long number"
    return value if value is None or isinstance(value, bool | int | float) else str(value)[: MAX_CHARACTERS + 1]


def _redacted(value: object, needles: list[tuple[str, str]], depth: int) -> object:
    if isinstance(value, str):
        found = _found(value, needles)
        if not found:
            return value
        left = re.sub("|".join(found), REDACTED, value, flags=re.IGNORECASE)
        # A pattern does not match a letter whose cases differ in length, such as a sharp s.
        return REDACTED if _found(left, needles) else left
    if not isinstance(value, Mapping | list | tuple):
        return value
    if depth == _DEPTH:
        return "..."
    if isinstance(value, Mapping):
        return {_redacted(name, needles, depth): _redacted(one, needles, depth + 1) for name, one in value.items()}
    return [_redacted(one, needles, depth + 1) for one in value]


def _found(text: str, needles: list[tuple[str, str]]) -> list[str]:
    folded = _folded(text)
    return [pattern for needle, pattern in needles if needle in folded]


def _folded(text: str) -> str:
    """Return the same text for every case of a text; `casefold` alone keeps the dotless i apart from its capital."""
    return text.upper().casefold()


def _needles(secrets: Iterable[str]) -> list[tuple[str, str]]:
    """Return the folded texts to search, each with its pattern; the longest first: a shorter may be a part of it."""
    needles: dict[str, str] = {}
    for secret in secrets:
        if len(secret) < MIN_SECRET_CHARACTERS:
            continue
        for part in (secret, *sorted(_WORD.findall(secret), key=len, reverse=True)[:_WORDS]):
            rest = r"\S*" if len(part) > _TELLING else ""
            needles |= {_folded(one): re.escape(one) + rest for one in _spellings(part[:_TELLING])}
    return sorted(needles.items(), key=lambda needle: len(needle[0]), reverse=True)


def _spellings(text: str) -> set[str]:
    if _UNCHANGED.fullmatch(text):
        return {text}
    encoded = quote(text, safe="", errors="replace")
    json_spellings = {json.dumps(text)[1:-1], json.dumps(text, ensure_ascii=False)[1:-1]}
    url_spellings = {encoded, quote(encoded), quote(text, errors="replace"), quote_plus(text, errors="replace")}
    return {text, html.escape(text)} | url_spellings | json_spellings
