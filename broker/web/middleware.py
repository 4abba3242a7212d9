"""ASGI middleware: security headers of every response, bounds on a request, and the spelling of a path.

SecurityHeaders wraps the framework's own middleware, too: its response to an unexpected exception needs the headers.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from broker.web.request import Headers, broker_cookies


@dataclass(frozen=True, slots=True)
class Excess:
    """The bound that a request exceeds, with the status 413, 414 or 431."""

    status: int
    expected: str
    got: str


Refuse = Callable[[Scope, Receive, Send, Excess], Awaitable[None]]
"""Responds to a request that is out of bounds."""

MAX_TARGET_BYTES = 8 * 1024
"""Bytes of path and query together, as sent; a callback with a long state and code needs about 3,000."""
MAX_PARAMETERS = 100
"""Number of parameters in the query; Comm100, portals and providers send about twenty at most."""
MAX_HEADER_BYTES = 16 * 1024
"""Bytes of all header lines together, with `: ` and line end."""
MAX_COOKIE_BYTES = 8 * 1024
"""Bytes of the broker's cookies together, names included; cookies of the same domain's other hosts do not count."""
MAX_COOKIES = 60
"""Number of the broker's cookies; a browser has 7 at most."""

# Two years. Without includeSubDomains, because other hosts of the domain are not the broker's, and without preload,
# which takes months to undo. An admin can set both at the proxy.
_STRICT_TRANSPORT_SECURITY = "max-age=63072000"

_NOTHING_LOADS = b"default-src 'none'"
_MAY_BE_FRAMED = b"frame-ancestors https:"


def build_content_security_policy(
    *, style_sha256: str = "", script_sha256: str = "", may_be_framed: bool = False
) -> str:
    """Return the Content-Security-Policy of a response; without arguments the strictest.

    Args:
        style_sha256: base64 of the SHA-256 of the inline style; empty allows no style.
        script_sha256: base64 of the SHA-256 of the inline script; empty allows no script.
        may_be_framed: by https pages. All sites in the chain of frames are allowed, because any may embed Comm100.
    """
    style = f"style-src 'sha256-{style_sha256}'; img-src data:; " if style_sha256 else ""
    script = f"script-src 'sha256-{script_sha256}'; " if script_sha256 else ""
    ancestors = "https:" if may_be_framed else "'none'"
    return f"default-src 'none'; {style}{script}base-uri 'none'; frame-ancestors {ancestors}; form-action 'none'"


def build_security_headers(*, https: bool) -> tuple[tuple[bytes, bytes], ...]:
    """Return the headers of every response, with the strictest policy, encoded for ASGI.

    Args:
        https: whether browsers use https; otherwise there is no Strict-Transport-Security.
    """
    headers = {
        "content-security-policy": build_content_security_policy(),
        "x-content-type-options": "nosniff",
        "x-frame-options": "DENY",
        "referrer-policy": "no-referrer",
        "cache-control": "no-store",
        "cross-origin-opener-policy": "same-origin",
        "cross-origin-resource-policy": "same-origin",
        "permissions-policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
        "x-robots-tag": "noindex",
    }
    if https:
        headers["strict-transport-security"] = _STRICT_TRANSPORT_SECURITY
    return tuple((name.encode(), value.encode()) for name, value in headers.items())


class SecurityHeaders:
    """Puts each security header on every response once, and removes Server and CORS headers.

    A response may bring its own Content-Security-Policy, if it begins with `default-src 'none'`; every other response
    gets the strictest policy.
    """

    def __init__(self, app: ASGIApp, *, https: bool) -> None:
        self._app = app
        self._headers = dict(build_security_headers(https=https))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the wrapped application with a `send` that completes the headers (ASGI)."""

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": self._complete(message.get("headers", ()))}
            await send(message)

        await self._app(scope, receive, send_with_headers)

    def _complete(self, headers: Headers) -> list[tuple[bytes, bytes]]:
        kept, security = [], self._headers.copy()
        for name, value in headers:
            lowered = name.lower()
            if lowered == b"content-security-policy" and value.startswith(_NOTHING_LOADS):
                security[lowered] = value
            elif lowered not in security and lowered != b"server" and not lowered.startswith(b"access-control-"):
                kept.append((name, value))
        if _MAY_BE_FRAMED in security[b"content-security-policy"]:
            del security[b"x-frame-options"]  # X-Frame-Options cannot name several sites
        return [*kept, *security.items()]


class RequestBounds:
    """Calls `refuse` for a request that is too large, before anything else reads the request."""

    def __init__(self, app: ASGIApp, *, refuse: Refuse, https: bool) -> None:
        self._app = app
        self._refuse = refuse
        self._https = https

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the wrapped application, or refuse (ASGI)."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        excess = check_bounds(scope, https=self._https)
        if excess is None and any(name == b"transfer-encoding" for name, _ in scope["headers"]):
            message = await _first_of_body(receive)
            if message["type"] == "http.disconnect":
                return
            if count := len(message.get("body", b"")):  # zero bytes count as no body
                more = " or more" if message.get("more_body") else ""
                got = f"Transfer-Encoding: chunked, {count} byte{'s' if count > 1 else ''}{more}"
                excess = Excess(413, "no body", got)
        if excess is None:
            await self._app(scope, receive, send)
        else:
            await self._refuse(scope, receive, send, excess)


def check_bounds(scope: Scope, *, https: bool) -> Excess | None:
    """Return the bound that the head of this request exceeds, or None.

    414 for the target (RFC 9110, section 15.5.15), 431 for headers and cookies (RFC 6585, section 5), 413 for a body,
    which no address accepts (RFC 9110, section 15.5.14).
    """
    headers: Headers = scope["headers"]
    cookies = list(broker_cookies(headers, https=https))
    header_bytes, announced = 0, b"0"
    for name, value in headers:
        header_bytes += len(name) + len(value) + 4
        if name == b"content-length" and value.strip(b"0"):  # only a plain zero is no body
            announced = value
    for status, what, size, bound in (
        (414, "address", _target_bytes(scope), MAX_TARGET_BYTES),
        (431, "headers", header_bytes, MAX_HEADER_BYTES),
        (431, "cookies", sum(map(len, cookies)), MAX_COOKIE_BYTES),
    ):
        if size > bound:
            return Excess(status, f"{what} of at most {bound} bytes", f"{what} {size} of {bound} bytes")
    parameters = scope["query_string"].count(b"&") + 1
    if parameters > MAX_PARAMETERS:
        return Excess(414, f"at most {MAX_PARAMETERS} parameters", f"{parameters} parameters of {MAX_PARAMETERS}")
    if len(cookies) > MAX_COOKIES:
        return Excess(431, f"at most {MAX_COOKIES} cookies", f"{len(cookies)} cookies of {MAX_COOKIES}")
    if announced != b"0":
        return Excess(413, "no body", f"Content-Length: {announced[:40].decode('latin-1')}")
    return None


async def _first_of_body(receive: Receive) -> Message:
    """Return the first message with a byte of the body, or the last message."""
    while True:
        message = await receive()
        if message.get("body") or not message.get("more_body"):
            return message


def _target_bytes(scope: Scope) -> int:
    query: bytes = scope["query_string"]
    path: bytes = scope.get("raw_path") or scope["path"].encode()
    return len(path) + (1 + len(query) if query else 0)


class PlainPaths:
    """Routes by the path as sent: a percent-encoded spelling of a route does not reach the route.

    A proxy's rule such as "deny /setup" sees the path as sent, too.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the wrapped application (ASGI)."""
        if scope["type"] == "http":
            path: str = (scope.get("raw_path") or scope["path"].encode()).decode("latin-1")
            scope["path"] = _without_extra_slashes(path)
        await self._app(scope, receive, send)


def _without_extra_slashes(path: str) -> str:
    """Drop a slash at the end and a second slash at the start, which badly joined addresses have.

    The broker itself makes the addresses below /setup: a proxy's rule that blocks them need not know `//setup`.
    """
    if path.startswith("//") and not path.startswith(("///", "//setup")):
        path = path[1:]
    if path != "/" and path.endswith("/") and not path.endswith("//"):
        path = path[:-1]
    return path
