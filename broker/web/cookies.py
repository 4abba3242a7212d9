"""Our cookies on the wire: a strict reader of what browsers send, and exact writers.

A name with white space before it, or one that comes twice, is not accepted: some browsers and most frameworks would
take it for a `__Host-` cookie that it is not.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

from broker.remembrance import COOKIE_NAME
from broker.transaction import LIFETIME, NAME_PREFIX, BrowserCookie, is_cookie_name

LAST_PROVIDER_COOKIE = "last_provider"

_OURS = "|".join(map(re.escape, (NAME_PREFIX, COOKIE_NAME, LAST_PROVIDER_COOKIE)))  # beginnings of the names
_BEGINS = {https: re.compile(f"{'__Host-' if https else ''}(?:{_OURS})") for https in (True, False)}
_VALUE = re.compile(r"[A-Za-z0-9_.-]+")


def prefix(*, https: bool) -> str:
    """What stands before the name: `__Host-` ties a cookie to https, this host and no other (RFC 6265bis, 4.1.3.2).

    Args:
        https: whether browsers reach us by https; on a loopback http address the prefix is not possible.
    """
    return "__Host-" if https else ""


def read_cookies(headers: Iterable[tuple[bytes, bytes]], *, https: bool) -> dict[str, BrowserCookie]:
    """Return the transaction cookies by name, without the prefix.

    Args:
        headers: of the request, as they came.
        https: whether the prefix is demanded.
    """
    return _read(headers, is_cookie_name, https=https)


def read_cookie(headers: Iterable[tuple[bytes, bytes]], name: str, *, https: bool) -> str | None:
    """Return the value of one cookie of ours, if the browser has it, once.

    Args:
        headers: of the request, as they came.
        name: without the prefix.
        https: whether the prefix is demanded.
    """
    cookie = _read(headers, name.__eq__, https=https).get(name)
    return cookie.value if cookie else None


def our_cookies(headers: Iterable[tuple[bytes, bytes]], *, https: bool) -> Iterable[str]:
    """Return each cookie that has a name of ours, as it came; a neighbour's cookie cannot have one under https.

    Args:
        headers: of the request, as they came.
        https: whether the prefix is demanded.
    """
    return _pairs(headers, https=https)


def set_cookie(cookie: BrowserCookie, *, https: bool, max_age: int = LIFETIME) -> str:
    """Return the Set-Cookie value that leaves a cookie with the browser.

    Args:
        cookie: its name without the prefix.
        https: whether browsers reach us by https.
        max_age: seconds; the length of a sign-in by default.
    """
    return f"{prefix(https=https)}{cookie.name}={cookie.value}; Max-Age={max_age}; {_attributes(https=https)}"


def delete_cookie(name: str, *, https: bool) -> str:
    """Return the Set-Cookie value that takes a cookie away: the same attributes, no value, no age."""
    return f"{prefix(https=https)}{name}=; Max-Age=0; {_attributes(https=https)}"


def _read(
    headers: Iterable[tuple[bytes, bytes]], is_wanted: Callable[[str], bool], *, https: bool
) -> dict[str, BrowserCookie]:
    found: dict[str, BrowserCookie] = {}
    seen: set[str] = set()
    repeated: set[str] = set()
    start = prefix(https=https)
    for pair in _pairs(headers, https=https):
        name, equals, value = pair.partition("=")
        if not equals or not name.startswith(start) or not is_wanted(name.removeprefix(start)):
            continue
        name = name.removeprefix(start)
        (repeated if name in seen else seen).add(name)
        if _VALUE.fullmatch(value):
            found[name] = BrowserCookie(name, value)
    return {name: cookie for name, cookie in found.items() if name not in repeated}


def _pairs(headers: Iterable[tuple[bytes, bytes]], *, https: bool) -> Iterable[str]:
    """Yield the cookies with a name of ours, also behind white space; those of others are not even looked at.

    A neighbour may have thousands, and each request of a stranger.
    """
    for name, value in headers:
        if name == b"cookie":
            text = value.decode("latin-1")
            for ours in _BEGINS[https].finditer(text):
                start = text.rfind(";", 0, ours.start()) + 1
                before = text[start : ours.start()]
                if before == "" or before.isspace():
                    pair = text[start:].partition(";")[0]
                    # One space behind the semicolon: RFC 6265, section 4.2.1. Any more belongs to the name.
                    yield pair.removeprefix(" ")


def _attributes(*, https: bool) -> str:
    return f"Path=/; HttpOnly; SameSite=Lax{'; Secure' if https else ''}"
