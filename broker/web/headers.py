"""What every answer is sent with, and how large a request may be; both decided before anything else runs.

Refuses to know routes, pages and errors. Wrap the whole application in these two, outside the framework's own
middleware, or its answer to an unexpected exception goes out without the headers.
"""

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from broker.web.cookies import our_cookies


@dataclass(frozen=True, slots=True)
class Excess:
    """The bound that a request exceeds.

    Args:
        status: 413, 414 or 431.
        expected: the bound.
        got: what came, with its figure.
    """

    status: int
    expected: str
    got: str


Headers = Iterable[tuple[bytes, bytes]]
Refuse = Callable[[Scope, Receive, Send, Excess], Awaitable[None]]
"""Answers a request that is out of bounds."""

MAX_TARGET_BYTES = 8 * 1024
"""Bytes of path and query together, as sent; a callback with a long state and code needs about 3,000."""
MAX_PARAMETERS = 100
"""Number of parameters in the query; what Comm100, portals and providers send are at most about twenty."""
MAX_HEADER_BYTES = 16 * 1024
"""Bytes of all header lines together, with `: ` and line end."""
MAX_COOKIE_BYTES = 8 * 1024
"""Bytes of our own cookies together, names included; neighbours on the same domain may fill the headers' bound."""
MAX_COOKIES = 60
"""Number of our own cookies; a browser has 7 at most."""

# Two years. Neither includeSubDomains nor preload: the neighbours of public_url's host are not ours to promise for, and
# preload cannot be taken back in time. An admin who can promise it sets them at the proxy, for the whole domain.
_STRICT_TRANSPORT_SECURITY = "max-age=63072000"


def build_security_headers(
    *, style_sha256: str, https: bool, script_sha256: str | None = None
) -> tuple[tuple[bytes, bytes], ...]:
    """Return the headers of every answer, encoded as ASGI wants them.

    Args:
        style_sha256: base64 of the SHA-256 of the one inline style allowed.
        https: whether browsers reach the broker by https; without it there is no Strict-Transport-Security.
        script_sha256: base64 of the SHA-256 of the one inline script allowed; None allows none.
    """
    script = f"script-src 'sha256-{script_sha256}'; " if script_sha256 else ""
    headers = {
        "content-security-policy": (
            f"default-src 'none'; style-src 'sha256-{style_sha256}'; {script}img-src data:; base-uri 'none'; "
            "frame-ancestors 'none'; form-action 'none'"
        ),
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


MAY_BE_FRAMED = "broker.may_be_framed"
"""In a request's scope: this one answer is made for a frame. It holds one link, which opens a new tab."""


IS_SETUP_PAGE = "broker.is_setup_page"
"""In a request's scope: this one answer is a page for an admin, with a style of its own."""


HAS_SCRIPT = "broker.has_script"
"""In a request's scope: it has the one script, too. A page that shows what a provider says has none."""


class SecurityHeaders:
    """Puts the security headers on every answer, once each, and takes Server and CORS headers off.

    Args:
        app: the application inside.
        style_sha256: base64 of the SHA-256 of the one inline style allowed.
        https: whether browsers reach the broker by https.
        setup_style_sha256: base64 of the SHA-256 of the setup pages' one inline style; empty where there are none.
        setup_script_sha256: that of their one inline script.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        style_sha256: str,
        https: bool,
        setup_style_sha256: str = "",
        setup_script_sha256: str = "",
    ) -> None:
        self._app = app
        self._headers = build_security_headers(style_sha256=style_sha256, https=https)
        framed = dict(self._headers)
        # Whoever embeds Comm100's pages embeds this one: every site of the chain has to be allowed.
        framed[b"content-security-policy"] = framed[b"content-security-policy"].replace(
            b"frame-ancestors 'none'", b"frame-ancestors https:"
        )
        del framed[b"x-frame-options"]
        self._framed = tuple(framed.items())
        self._setup = build_security_headers(style_sha256=setup_style_sha256, https=https)
        self._scripted = build_security_headers(
            style_sha256=setup_style_sha256, https=https, script_sha256=setup_script_sha256
        )
        self._replaced = frozenset(name for name, _ in self._headers) | {b"server"}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the application inside, with a `send` that completes the headers (ASGI)."""

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": self._completed(message.get("headers", ()), scope)}
            await send(message)

        await self._app(scope, receive, send_with_headers)

    def _completed(self, headers: Headers, scope: Scope) -> list[tuple[bytes, bytes]]:
        kept = [(name, value) for name, value in headers if not self._is_replaced(name.lower())]
        return [*kept, *self._headers_of(scope)]

    def _headers_of(self, scope: Scope) -> tuple[tuple[bytes, bytes], ...]:
        if scope.get(MAY_BE_FRAMED):
            return self._framed
        if scope.get(IS_SETUP_PAGE):
            return self._scripted if scope.get(HAS_SCRIPT) else self._setup
        return self._headers

    def _is_replaced(self, name: bytes) -> bool:
        return name in self._replaced or name.startswith(b"access-control-")


class RequestBounds:
    """Hands a request that is too large to `refuse` at once, before anything else looks at it.

    Args:
        app: the application inside.
        refuse: answers instead of it.
        https: whether browsers reach the broker by https, which decides about our cookies' names.
    """

    def __init__(self, app: ASGIApp, *, refuse: Refuse, https: bool) -> None:
        self._app = app
        self._refuse = refuse
        self._https = https

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the application inside, or refuse (ASGI)."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        excess = check_bounds(scope, https=self._https)
        if excess is None and any(name == b"transfer-encoding" for name, _ in scope["headers"]):
            message = await _first_of_body(receive)
            if message["type"] == "http.disconnect":
                return
            excess = _check_chunks(message)
        if excess is None:
            await self._app(scope, receive, send)
        else:
            await self._refuse(scope, receive, send, excess)


def check_bounds(scope: Scope, *, https: bool) -> Excess | None:
    """Return the bound that this HTTP request exceeds by its head, or None.

    414 for the target (RFC 9110, section 15.5.15), 431 for headers and cookies (RFC 6585, section 5), 413 for a body,
    which no address here takes (RFC 9110, section 15.5.14).

    Args:
        scope: of the request.
        https: whether browsers reach the broker by https.
    """
    headers: Headers = scope["headers"]
    cookies = list(our_cookies(headers, https=https))
    for status, what, size, bound in (
        (414, "address", _target_bytes(scope), MAX_TARGET_BYTES),
        (431, "headers", sum(len(name) + len(value) + 4 for name, value in headers), MAX_HEADER_BYTES),
        (431, "cookies", sum(map(len, cookies)), MAX_COOKIE_BYTES),
    ):
        if size > bound:
            return Excess(status, f"{what} of at most {bound} bytes", f"{what} {size} of {bound} bytes")
    parameters = scope["query_string"].count(b"&") + 1
    if parameters > MAX_PARAMETERS:
        return Excess(414, f"at most {MAX_PARAMETERS} parameters", f"{parameters} parameters of {MAX_PARAMETERS}")
    if len(cookies) > MAX_COOKIES:
        return Excess(431, f"at most {MAX_COOKIES} cookies", f"{len(cookies)} cookies of {MAX_COOKIES}")
    for name, value in headers:
        # Any value but a plain zero counts.
        if name == b"content-length" and value.strip(b"0") != b"":
            return Excess(413, "no body", f"Content-Length: {value[:40].decode('latin-1')}")
    return None


async def _first_of_body(receive: Receive) -> Message:
    """Return the first message that has a byte of the body, or the last one."""
    while True:
        message = await receive()
        if message.get("body") or not message.get("more_body"):
            return message


def _check_chunks(message: Message) -> Excess | None:
    """Refuse a body sent in chunks; without a byte in it, it is none."""
    count = len(message.get("body", b""))
    if not count:
        return None
    more = " or more" if message.get("more_body") else ""
    return Excess(413, "no body", f"Transfer-Encoding: chunked, {count} byte{'s' if count > 1 else ''}{more}")


def _target_bytes(scope: Scope) -> int:
    query: bytes = scope["query_string"]
    path: bytes = scope.get("raw_path") or scope["path"].encode()
    return len(path) + (1 + len(query) if query else 0)
