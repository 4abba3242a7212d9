"""What a browser's Cookie headers say about the sign-ins under way.

This file owns what must hold of any header; it reads the wire by splitting it, and in no other way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from broker.transaction import BrowserCookie
from broker.web.request import prefix, read_cookies
from broker.web.responses import delete_cookie, set_cookie

NAME = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-")
VALUE = NAME | frozenset(b".")


def judge(lines: Sequence[bytes], *, https: bool) -> dict[str, BrowserCookie]:
    """Return the cookies the broker takes, having checked that each stands there once, letter by letter."""
    found = read_cookies([(b"cookie", line) for line in lines], https=https)
    # What has no equals sign is a value without a name (RFC 6265bis, section 5.6), so it repeats no name.
    pairs = [pair for line in lines for pair in line.split(b";") if b"=" in pair]
    for name, cookie in found.items():
        assert cookie.name == name
        wire = (prefix(https=https) + name).encode()
        assert wire.startswith(b"__Host-signin_" if https else b"signin_")
        assert set(wire) <= NAME
        assert cookie.value
        assert set(cookie.value.encode()) <= VALUE
        same = [pair for pair in pairs if pair.removeprefix(b" ").partition(b"=")[0] == wire]
        assert same in ([wire + b"=" + cookie.value.encode()], [b" " + wire + b"=" + cookie.value.encode()])
        assert cookie.issued >= 0
        assert all(" " not in part.strip() and part.isascii() for part in set_cookie(cookie, https=https).split(";"))
        assert "\n" not in delete_cookie(name, https=https)
    return found


@contextmanager
def validation() -> Iterator[Callable[[bytes], None]]:
    """Give what the fuzzer calls: each line of the bytes is one Cookie header."""

    def one_input(data: bytes) -> None:
        lines = data.split(b"\n")
        judge(lines, https=True)
        judge(lines, https=False)
        once = judge([b";".join(lines)], https=True)
        # Several headers count as one, as HTTP/2 lets a proxy split them; only the space at the seam may differ.
        assert once == judge(lines, https=True)

    yield one_input
