"""Strict reader and writer of the broker's cookies.

A name after white space, or a name that comes twice, is not accepted: some browsers and most frameworks would mistake
it for a `__Host-` cookie.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

from broker.logout import COOKIE_NAME
from broker.transaction import LIFETIME, NAME_PREFIX, BrowserCookie, is_cookie_name

LAST_PROVIDER_COOKIE = "last_provider"

_OURS = "|".join(map(re.escape, (NAME_PREFIX, COOKIE_NAME, LAST_PROVIDER_COOKIE)))  # beginnings of the names
_BEGINS = {https: re.compile(f"{'__Host-' if https else ''}(?:{_OURS})") for https in (True, False)}
_VALUE = re.compile(r"[A-Za-z0-9_.-]+")


def prefix(*, https: bool) -> str:
    """Return the prefix of cookie names: `__Host-` ties a cookie to https and to this host (RFC 6265bis, 4.1.3.2).

    The prefix is not possible on a loopback http address.
    """
    return "__Host-" if https else ""


def read_cookies(headers: Iterable[tuple[bytes, bytes]], *, https: bool) -> dict[str, BrowserCookie]:
    """Return the transaction cookies by name, without the prefix."""
    return _read(headers, is_cookie_name, https=https)


def read_cookie(headers: Iterable[tuple[bytes, bytes]], name: str, *, https: bool) -> str | None:
    """Return the value of one cookie of the broker; None if it is absent or repeated.

    Args:
        name: without the prefix.
    """
    cookie = _read(headers, name.__eq__, https=https).get(name)
    return cookie.value if cookie else None


def our_cookies(headers: Iterable[tuple[bytes, bytes]], *, https: bool) -> Iterable[str]:
    """Return each cookie whose name begins like one of the broker's, unverified."""
    return _pairs(headers, https=https)


def set_cookie(cookie: BrowserCookie, *, https: bool, max_age: int = LIFETIME) -> str:
    """Return the Set-Cookie value that sets a cookie.

    Args:
        max_age: seconds; by default the length of a sign-in.
    """
    return f"{prefix(https=https)}{cookie.name}={cookie.value}; Max-Age={max_age}; {_attributes(https=https)}"


def delete_cookie(name: str, *, https: bool) -> str:
    """Return the Set-Cookie value that deletes a cookie."""
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
    """Yield the cookies with a name of the broker's, also after white space; other cookies are not parsed.

    Another host of the domain may have set thousands, and any stranger may send them.
    """
    for name, value in headers:
        if name == b"cookie":
            text = value.decode("latin-1")
            for ours in _BEGINS[https].finditer(text):
                start = text.rfind(";", 0, ours.start()) + 1
                before = text[start : ours.start()]
                if before == "" or before.isspace():
                    pair = text[start:].partition(";")[0]
                    # One space follows the semicolon (RFC 6265, section 4.2.1). Any further space is part of the name.
                    yield pair.removeprefix(" ")


def _attributes(*, https: bool) -> str:
    return f"Path=/; HttpOnly; SameSite=Lax{'; Secure' if https else ''}"
