"""What a secret must be like before anything is signed with it.

It owns lengths and placeholders. It never returns or raises any part of a secret it refuses.
"""

from __future__ import annotations

import re

from broker.settings.invalid_value import InvalidValue
from broker.settings.placeholder import is_placeholder_secret

SHORTEST = 32  # bytes: HS256 asks for a key as long as its hash (RFC 7518, section 3.2)

# No word of less than seven characters: a short one, such as todo, turns up in one of 10,000 random secrets.
_PLACEHOLDER = re.compile(
    r"<.*>|todo\b.*|\$?\{.*\}|.*(change[-_ ]?me|change[-_ ]?it|change[-_ ]?this|replace[-_ ]?me|replace[-_ ]?this"
    r"|placeholder|example|goes[-_ ]?here|paste[-_ ]"
    r"|your[-_ ]?(own[-_ ]?)?(shared[-_ ]?|client[-_ ]?)?(secret|key)|x{8}).*",
    re.IGNORECASE | re.DOTALL,
)
_NAMED = re.compile(r"(export\s+)?\w*secret\w*\s*[=:]\s*[^=\s].*", re.IGNORECASE | re.DOTALL)
_ALONE = "the secret alone, in one line, as it was copied"
_LONGEST_UNIT = 8  # characters: "secretsecretsecret" is a placeholder, a unit longer than this is someone's choice


def shared_secret(text: str) -> str:
    """Take a secret to sign with: 32 bytes of UTF-8 or more, and no placeholder.

    Raises:
        InvalidValue: it is none.
    """
    _one_line(text)
    if len(text.encode()) < SHORTEST:
        raise InvalidValue(f"is shorter than {SHORTEST} bytes")
    _no_placeholder(text)
    return text


def client_secret(text: str) -> str:
    """Take a secret someone else chose: any text, but no placeholder in angle brackets and no `changeme`.

    Raises:
        InvalidValue: it is none.
    """
    _one_line(text)
    if is_placeholder_secret(text):
        raise InvalidValue("is a placeholder, not a secret")
    return text


def secret_keys(text: str) -> tuple[str, ...]:
    """Take one key per line, newest first; blank lines do not count.

    Raises:
        InvalidValue: there is none, one is too short or a placeholder, or one is repeated.
    """
    keys = tuple(line.strip() for line in text.splitlines() if line.strip())
    if not keys:
        raise InvalidValue("holds no key")
    for number, key in enumerate(keys, start=1):
        try:
            shared_secret(key)
        except InvalidValue as unusable:
            raise InvalidValue(f"holds a key that {unusable.problem} (key {number} of {len(keys)})") from None
    if len(set(keys)) < len(keys):
        raise InvalidValue("holds the same key twice")
    return keys


def _one_line(text: str) -> None:
    if not text:
        raise InvalidValue("is empty", example=_ALONE)
    if text != text.strip() or not text.isprintable():
        raise InvalidValue(
            "has white space or a line break at its start or end, or a control character in it", example=_ALONE
        )
    if _NAMED.fullmatch(text):
        raise InvalidValue(
            "begins with a name, such as CLIENT_SECRET=: only what stands behind it is the secret", example=_ALONE
        )
    if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'":
        raise InvalidValue("stands in quotes: they are no part of the secret", example=_ALONE)


def _no_placeholder(text: str) -> None:
    unit = (text + text).find(text[: len(text) // 2], 1)
    if 0 < unit <= _LONGEST_UNIT and text == (text[:unit] * len(text))[: len(text)]:
        raise InvalidValue("is a short text repeated, not a secret")
    if _PLACEHOLDER.fullmatch(text) or is_placeholder_secret(text):
        raise InvalidValue("is a placeholder, not a secret")
