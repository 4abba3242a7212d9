"""The cookie of one sign-in: what the browser keeps of it, and how many of them there may be.

It holds fresh randomness, the time it was made, and overflow: a text, or the end of one, that would make the address of
the provider too long, or is none of the provider's business. This file owns its form and its bounds. What the
randomness proves and what the overflow has to be is not known here: the browser could have written anything.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from broker import base64url

LIFETIME = 600  # seconds from /login to /callback
OVERFLOW_LIFETIME = 3600  # seconds a cookie with overflow stays in the browser
MAX_COOKIES = 5  # sign-ins under way in one browser
MAX_COOKIE_CHARACTERS = 2500  # of all of them together, names included; with the other cookies under 4 KB
MAX_LUGGAGE_BYTES = 4096  # unpacked

NAME_PREFIX: Final = "signin_"


@dataclass(frozen=True, slots=True)
class BrowserCookie:
    """The cookie of one sign-in.

    Args:
        name: without the prefix that the web floor puts before it.
        value: the time it was made, randomness, and overflow if there is any.
    """

    name: str
    value: str = field(repr=False)

    @property
    def lifetime(self) -> int:
        """Seconds the browser keeps it; overflow outlives its sign-in, which can then be started again."""
        return OVERFLOW_LIFETIME if self.has_overflow else LIFETIME

    @property
    def has_overflow(self) -> bool:
        """Whether a text travels in it."""
        return self.value.count(".") == 2

    @property
    def size(self) -> int:
        """Characters that count against `MAX_COOKIE_CHARACTERS`."""
        return len(self.name) + len(self.value)

    @property
    def issued(self) -> int:
        """Seconds since the epoch; for choosing the oldest alone, the browser could write anything here."""
        digits = self.value.partition(".")[0]
        return int(digits, 16) if re.fullmatch(r"[0-9a-f]{1,12}", digits) else 0


def make_cookie(transaction_id: str, randomness: bytes, *, issued: int, overflow: str | None) -> BrowserCookie:
    """Return the cookie of a sign-in that begins.

    Args:
        transaction_id: the hash of the randomness, which the state carries.
        randomness: 256 bits.
        issued: seconds since the epoch.
        overflow: a text that travels here; None if none does.
    """
    value = f"{issued:x}.{base64url.encode(randomness)}"
    if overflow is not None:
        value += f".{base64url.encode(zlib.compress(overflow.encode(), 9))}"
    return BrowserCookie(cookie_name(transaction_id), value)


def unpack(value: str) -> tuple[bytes, str | None]:
    """Return randomness and overflow; what cannot be unpacked is empty and will not match.

    Args:
        value: of a cookie, from the browser.
    """
    _, _, rest = value.partition(".")
    randomness, _, packed = rest.partition(".")
    if not packed:
        return _bytes(randomness), None
    unpacker = zlib.decompressobj()
    try:
        return _bytes(randomness), unpacker.decompress(_bytes(packed), MAX_LUGGAGE_BYTES).decode()
    except (zlib.error, ValueError):
        return _bytes(randomness), None


def cookie_name(transaction_id: str) -> str:
    """Return the name of a sign-in's cookie, without the web floor's prefix.

    Args:
        transaction_id: the hash of the browser's randomness.
    """
    return f"{NAME_PREFIX}{transaction_id[:10]}"


def is_cookie_name(name: str) -> bool:
    """Whether a cookie of this name, without the web floor's prefix, may be a sign-in's."""
    return re.fullmatch(rf"{NAME_PREFIX}[A-Za-z0-9_-]{{10}}", name) is not None


def surplus(cookies: Sequence[BrowserCookie], newcomer: BrowserCookie) -> list[BrowserCookie]:
    """Return the cookies that have to go so that a new one fits: by number and by size, the oldest first.

    By size, cookies with overflow alone go: the others need so little room that one long redirect_url, which any link
    can bring, ends no sign-in but those with long ones.

    Args:
        cookies: of the sign-ins under way in this browser, in the order it sent them.
        newcomer: about to be set.
    """
    # Of those made in the same second, a browser sends the older ones first (RFC 6265, section 5.4).
    newest_first = sorted(cookies, key=lambda one: one.issued)[::-1]
    leaving = newest_first[MAX_COOKIES - 1 :]
    room = MAX_COOKIE_CHARACTERS - newcomer.size
    for cookie in sorted(newest_first[: MAX_COOKIES - 1], key=lambda one: one.has_overflow):
        if cookie.size <= room:
            room -= cookie.size
        else:
            leaving.append(cookie)
    return leaving


def _bytes(text: str) -> bytes:
    try:
        return base64url.decode(text)
    except ValueError:
        return b""
