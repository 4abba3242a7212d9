"""What the client adds to its HTTP library: how far a request got, and the outbound proxy of the settings."""

from __future__ import annotations

import asyncio
import base64
import http
import ssl
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit

import aiohttp
import httpx
from httpx_aiohttp import AiohttpTransport

from broker.errors import OutboundProxyFailed
from broker.oidc.messages import Peer
from broker.oidc.network import MAX_QUOTED, why_failed, why_not_http
from broker.text import printable

CONNECT_SECONDS = 3.0

_LATE = {
    "resolving": "no answer of the name server within {seconds:g} s",
    "connecting": "no connection within {seconds:g} s",
    "waiting": "no answer within {seconds:g} s",
    "reading": "an answer not complete within {seconds:g} s, {size} bytes so far",
}
_BROKEN = {
    "resolving": "{words} while connecting",
    "connecting": "{words} while connecting",
    "waiting": "{words} before an answer came",
    "reading": "answer broken off after {size} bytes: {words}",
}


@dataclass(slots=True)
class Progress:
    """How far a request got: `resolving`, `connecting`, `waiting` for the answer, `reading` it; and to which peer."""

    phase: str = "connecting"
    size: int = 0
    peer: Peer | None = None

    def late(self, seconds: float) -> str:
        """Say what did not come in time."""
        return _LATE[self.phase].format(seconds=seconds, size=self.size)

    def broken(self, cause: BaseException | None) -> str:
        """Say what broke, and when."""
        words = ""
        if isinstance(cause, aiohttp.ClientPayloadError):
            cause = cause.__cause__
            words = getattr(cause, "message", "").rstrip(".")  # counts bytes, quotes none
        words = words or (why_failed(os_error(cause), "the server") if cause else "connection closed")
        return _BROKEN[self.phase].format(words=words, size=self.size)


PROGRESS: ContextVar[Progress | None] = ContextVar("progress", default=None)


def tracing() -> aiohttp.TraceConfig:
    """Return the trace that notes the phase of the request under way."""

    def entering(phase: str) -> Callable[..., Any]:
        async def note(*_: object) -> None:
            if progress := PROGRESS.get():
                progress.phase = phase

        return note

    trace = aiohttp.TraceConfig()
    trace.on_connection_create_start.append(entering("connecting"))
    trace.on_dns_resolvehost_start.append(entering("resolving"))
    trace.on_dns_resolvehost_end.append(entering("connecting"))
    trace.on_connection_create_end.append(entering("waiting"))
    trace.on_connection_reuseconn.append(entering("waiting"))
    return trace


class Connector(aiohttp.TCPConnector):
    """Notes the peer of each request's connection, new or kept, in the request's progress."""

    async def connect(self, req: Any, traces: Any, timeout: Any) -> aiohttp.connector.Connection:  # noqa: ASYNC109
        """Return a connection."""
        connection = await super().connect(req, traces, timeout)
        progress = PROGRESS.get()
        if progress is not None and connection.transport is not None:
            progress.peer = _peer(connection.transport)
        return connection


def _peer(transport: asyncio.Transport) -> Peer:
    name = transport.get_extra_info("peername")
    certificate = transport.get_extra_info("peercert")
    expires = ssl.cert_time_to_seconds(certificate["notAfter"]) if certificate else None
    return Peer(str(name[0]) if isinstance(name, tuple) else "", expires)


def os_error(error: BaseException) -> BaseException:
    """Return the error of the operating system or of OpenSSL that the library wrapped, or the error itself."""
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return error.certificate_error
    if isinstance(error, aiohttp.ClientConnectorError):
        return error.os_error
    if isinstance(error, aiohttp.ClientOSError) and error.__cause__ is not None:
        return error.__cause__
    return error


class ProxiedTransport(AiohttpTransport):
    """Sends every request through the outbound proxy, and tells the proxy's failures from the provider's.

    Args:
        outbound_proxy: returns the proxy's URL, which may change between requests.
    """

    def __init__(
        self, context: ssl.SSLContext, session: aiohttp.ClientSession, outbound_proxy: Callable[[], str]
    ) -> None:
        super().__init__(verify=context, trust_env=False, client=session)
        self._outbound_proxy = outbound_proxy

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request through the proxy.

        Raises:
            OutboundProxyFailed: the proxy cannot be reached, or refuses the connection.
        """
        proxy = urlsplit(self._outbound_proxy())
        credentials = proxy_authorization(proxy)
        self.proxy = httpx.Proxy(f"{proxy.scheme}://{proxy_place(proxy)}", headers=credentials)  # of CONNECT
        if request.url.scheme == "http":
            request.headers.update(credentials)
        try:
            response = await super().handle_async_request(request)
        except (httpx.TransportError, aiohttp.ClientError) as error:
            cause = error if isinstance(error, aiohttp.ClientError) else error.__cause__
            if (words := _fault_of_the_proxy(cause, proxy, request)) is not None:
                raise _failed(proxy, request, words) from error
            raise
        if request.url.scheme == "http" and response.status_code == http.HTTPStatus.PROXY_AUTHENTICATION_REQUIRED:
            await response.aclose()
            raise _failed(proxy, request, status_line(response.status_code, response.reason_phrase))
        return response


def proxy_place(proxy: SplitResult) -> str:
    """Return host and port of a proxy, without the credentials."""
    return proxy.netloc.rpartition("@")[2]


def proxy_authorization(proxy: SplitResult) -> dict[str, str]:
    """Return the header that carries the user name and the password in a proxy's URL, if there are any."""
    if proxy.username is None:
        return {}
    pair = f"{unquote(proxy.username)}:{unquote(proxy.password or '')}".encode()  # UTF-8: RFC 7617, section 2.1
    return {"Proxy-Authorization": f"Basic {base64.b64encode(pair).decode()}"}


def _fault_of_the_proxy(cause: BaseException | None, proxy: SplitResult, request: httpx.Request) -> str | None:
    """Say why the proxy failed; None if the failure is the provider's."""
    progress = PROGRESS.get() or Progress()
    connecting = progress.phase in ("resolving", "connecting") and request.url.scheme == "https"
    match cause:
        case aiohttp.ClientHttpProxyError():
            return status_line(cause.status, cause.message)
        case aiohttp.ClientConnectorError():
            at_the_proxy = (cause.host, cause.port) == (proxy.hostname, proxy.port)
            return why_failed(os_error(cause), cause.host) if at_the_proxy else None  # the handshake in the tunnel
        case _ if not connecting:
            return None
        case aiohttp.ServerTimeoutError():
            return progress.late(CONNECT_SECONDS)
        case aiohttp.ClientResponseError():
            return why_not_http(cause.message)
    return progress.broken(cause)


def _failed(proxy: SplitResult, request: httpx.Request, words: str) -> OutboundProxyFailed:
    return OutboundProxyFailed(
        expected=f"a connection to {request.url.host} by outbound_proxy {proxy_place(proxy)}", got=words
    )


def status_line(status: int, phrase: str) -> str:
    """Return a proxy's status and the beginning of its reason phrase."""
    return f"{status} {printable(phrase.strip(), MAX_QUOTED)}".strip()
