"""Sends requests in HTTP/1.1 by asyncio and httptools, with bounds on time, memory and network.

The transport reads no environment, follows no redirect, keeps no cookie and decodes no content. It keeps connections
for later requests to the same place.
"""

from __future__ import annotations

import asyncio
import base64
import re
import ssl
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import NamedTuple, cast
from urllib.parse import SplitResult, unquote, urlsplit

import httpx

from broker.capacity import LoopLateness, LoopTurns, ProviderTimeout
from broker.oidc.answer import Answer, CallFailed
from broker.oidc.connection import READ_BYTES, Connection, SocketAddress, connect_to_any, public_addresses, resolve
from broker.oidc.network import MAX_QUOTED, why_failed
from broker.text import printable, redact

CONNECT_SECONDS = 3.0  # name, connection, proxy and TLS together
MAX_HANDSHAKES = 12  # of TLS, in a turn of the event loop
KEEP_ALIVE_SECONDS = 4.0  # of an unused connection; Node and Apache close after 5 s
REPEAT_SECONDS = 1.0  # after sending: a connection that was closed before shows it within a round trip
RESOLVED_SECONDS = 10.0  # that addresses of a name are used without asking again

_LATE = {
    "resolving": "no answer of the name server within {seconds:g} s",
    "connecting": "no connection within {seconds:g} s",
    "waiting": "no answer within {seconds:g} s",
    "reading": "an answer not complete within {seconds:g} s, {size} bytes so far",
}
_PORTS = {"http": 80, "https": 443}
_LINE_BREAKS = re.compile(rb"[\r\n\0]")


class TimedOut(CallFailed):
    """The server did not answer in time."""


class ProxyFailed(CallFailed):
    """The outbound proxy could not be reached, or refused the connection."""


class _Route(NamedTuple):
    """The place that a connection leads to, and what it trusts there; proxy is the URL with its credentials, or empty.

    A connection made with other authorities belongs to another route: no later request uses the connection.
    """

    scheme: str
    host: str
    port: int
    proxy: str
    context: ssl.SSLContext


@dataclass(slots=True)
class _Call:
    """A request under way: how far it got, and whether the proxy is at fault if it ends now."""

    request: httpx.Request
    route: _Route
    phase: str = "connecting"
    at_proxy: bool = False
    answer: Answer | None = None

    def late(self, seconds: float) -> CallFailed:
        """Return the failure that names what did not come in time."""
        phase = self.answer.phase if self.answer else self.phase
        words = _LATE[phase].format(seconds=seconds, size=len(self.answer.body) if self.answer else 0)
        return ProxyFailed(words, phase=phase) if self.at_proxy else TimedOut(words, phase=phase)


class Transport(httpx.AsyncBaseTransport):
    """Sends requests by kept or new connections.

    A request needs two extensions: `seconds` for the whole call, and `limit`, the bytes accepted as body. The bodies of
    requests and answers are `httpx.ByteStream`. The transport writes Host and Content-Length.

    Args:
        context: returns the TLS context for new connections, which may change.
        public_only: connections lead to public addresses only. A proxy's own address is not checked.
        outbound_proxy: returns the URL of the proxy for all requests, which may hold a password and may change.
    """

    def __init__(
        self,
        context: Callable[[], ssl.SSLContext],
        *,
        public_only: bool,
        outbound_proxy: Callable[[], str] | None = None,
        connect_seconds: float = CONNECT_SECONDS,
    ) -> None:
        self._context = context
        self._public_only = public_only
        self._outbound_proxy = outbound_proxy
        self._connect_seconds = connect_seconds
        self._buffer = memoryview(bytearray(READ_BYTES))  # one for all: its bytes are taken before the next read
        self._kept: dict[_Route, list[Connection]] = {}
        self._handshakes = LoopTurns(MAX_HANDSHAKES)
        self._lateness = LoopLateness()
        self._sweep: asyncio.TimerHandle | None = None
        self._resolved: dict[tuple[str, int], tuple[float, asyncio.Future[list[SocketAddress]]]] = {}

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Return the answer, its body read; `extensions["peer"]` names the other end.

        A request is sent again once if the connection could not be made, and once if a kept connection ended before
        the first byte of an answer and within `REPEAT_SECONDS`: the server had closed the connection before the request
        came. A server that took longer may have redeemed the code.

        Raises:
            CallFailed: no usable answer came.
            ValueError: the address cannot be asked, or a header holds a line break.
        """
        call, seconds = _Call(request, self._route_of(request.url)), request.extensions["seconds"]
        try:
            async with ProviderTimeout(seconds, self._lateness):
                return await self._send(call)
        except TimeoutError:
            raise call.late(seconds) from None

    async def aclose(self) -> None:
        """Close the connections that are kept."""
        self._close_idle(everything=True)
        await asyncio.sleep(0)  # asyncio closes a socket in its next turn

    async def _send(self, call: _Call) -> httpx.Response:
        message = _message(call.request, call.route)
        if (kept := self._take(call.route)) is not None:
            sent = kept.loop.time()
            try:
                return await self._ask(kept, message, call)
            except CallFailed as failure:
                if not failure.is_repeatable or kept.loop.time() - sent > REPEAT_SECONDS:
                    raise
        call.answer = None
        try:
            connection = await self._connect(call)
        except CallFailed as failure:
            if not failure.is_repeatable:
                raise
            connection = await self._connect(call)
        return await self._ask(connection, message, call)

    async def _ask(self, connection: Connection, message: bytes, call: _Call) -> httpx.Response:
        call.answer = answer = Answer(call.request.extensions["limit"])
        try:
            await connection.ask(message, answer)
        finally:
            if connection.is_reusable:
                self._keep(call.route, connection)
            else:
                connection.abort()
        if answer.status == 407 and call.route.proxy and call.route.scheme == "http":
            raise ProxyFailed(status_line(answer.status, answer.reason, urlsplit(call.route.proxy)))
        stream, extensions = httpx.ByteStream(bytes(answer.body)), {"peer": connection.peer}
        return httpx.Response(answer.status, headers=answer.headers, stream=stream, extensions=extensions)

    # --------------------------------------------------------------------------------------------- kept connections

    def _take(self, route: _Route) -> Connection | None:
        kept = self._kept.get(route)
        while kept:
            connection = kept.pop()
            if connection.is_reusable and connection.idle_until > connection.loop.time():
                return connection
            connection.close()
        return None

    def _keep(self, route: _Route, connection: Connection) -> None:
        connection.idle_until = connection.loop.time() + KEEP_ALIVE_SECONDS
        self._kept.setdefault(route, []).append(connection)
        if self._sweep is None:
            self._sweep = connection.loop.call_later(KEEP_ALIVE_SECONDS, self._close_idle)

    def _close_idle(self, *, everything: bool = False) -> None:
        """Close the connections whose time is over, and look again later while there are others."""
        loop = asyncio.get_running_loop()
        over = [
            (route, connection)
            for route, connections in self._kept.items()
            for connection in connections
            if everything or not connection.is_reusable or connection.idle_until <= loop.time()
        ]
        for route, connection in over:
            self._kept[route].remove(connection)
            connection.close()
        self._kept = {route: connections for route, connections in self._kept.items() if connections}
        if self._sweep is not None:
            self._sweep.cancel()
        self._sweep = loop.call_later(KEEP_ALIVE_SECONDS, self._close_idle) if self._kept else None

    # ---------------------------------------------------------------------------------------------- new connections

    def _route_of(self, url: httpx.URL) -> _Route:
        proxy = self._outbound_proxy() if self._outbound_proxy else ""
        port = url.port or _PORTS.get(url.scheme, 0)
        if not url.raw_host or not 0 < port < 65536:
            raise ValueError("no address of http or https")
        return _Route(url.scheme, url.raw_host.decode("ascii"), port, proxy, self._context())

    async def _connect(self, call: _Call) -> Connection:
        """Return a new connection.

        Raises:
            ProxyFailed: up to the proxy's consent, a failure is the proxy's.
            CallFailed: later, a failure is the server's.
        """
        route = call.route
        proxy = urlsplit(route.proxy)
        call.at_proxy = route.proxy != ""
        host, port = _place_of(proxy) if call.at_proxy else (route.host, route.port)
        try:
            async with ProviderTimeout(self._connect_seconds, self._lateness):
                connection = await self._open(host, port, call)
                try:
                    if proxy.scheme == "https":
                        await self._secure(connection, host, route.context)
                    if call.at_proxy and route.scheme == "https":
                        await _ask_for_tunnel(connection, route, proxy)
                    call.at_proxy = False
                    if route.scheme == "https":
                        await self._secure(connection, route.host, route.context)
                except BaseException:
                    connection.abort()
                    raise
                return connection
        except TimeoutError:
            raise call.late(self._connect_seconds) from None
        except CallFailed as failure:
            if not call.at_proxy:
                raise
            raise ProxyFailed(str(failure), phase=failure.phase) from failure.__cause__

    async def _open(self, host: str, port: int, call: _Call) -> Connection:
        call.phase = "resolving"
        try:
            addresses = await self._addresses_of(host, port)
            call.phase = "connecting"
            if self._public_only and not call.at_proxy:
                addresses = public_addresses(addresses)
            opened = await connect_to_any(addresses)
        except OSError as error:
            raise CallFailed(why_failed(error, host), phase=call.phase, is_repeatable=True) from error
        connection = Connection(asyncio.get_running_loop(), call.route.host, self._buffer)
        await connection.loop.create_connection(lambda: connection, sock=opened)
        return connection

    async def _secure(self, connection: Connection, host: str, context: ssl.SSLContext) -> None:
        try:
            await connection.start_tls(context, host.rstrip("."), self._handshakes)
        except OSError as error:
            words = why_failed(error, host)
            words = words if isinstance(error, ssl.SSLError) else f"{words} while connecting"
            raise CallFailed(words, is_repeatable=True) from error

    async def _addresses_of(self, host: str, port: int) -> list[SocketAddress]:
        """Return the addresses of a name; requests at the same time share one look-up.

        A look-up takes one of a few threads, so a name server that hangs is not asked again for the same name.
        """
        loop = asyncio.get_running_loop()
        until, found = self._resolved.get((host, port), (0.0, None))
        if found is None or not _is_of_use(until, found, loop.time()):
            now = loop.time()
            self._resolved = {key: entry for key, entry in self._resolved.items() if _is_of_use(*entry, now)}
            found = asyncio.ensure_future(resolve(loop, host, port))
            found.add_done_callback(lambda done: done.cancelled() or done.exception())  # every caller may have gone
            self._resolved[host, port] = loop.time() + RESOLVED_SECONDS, found
        return await asyncio.shield(found)


def _is_of_use(until: float, look_up: asyncio.Future[list[SocketAddress]], now: float) -> bool:
    """Tell whether a look-up is under way, or found addresses that may still be used."""
    return not look_up.done() or (until > now and not look_up.cancelled() and look_up.exception() is None)


async def _ask_for_tunnel(connection: Connection, route: _Route, proxy: SplitResult) -> None:
    """Have the proxy connect to the server (RFC 9110, section 9.3.6)."""
    place = (f"[{route.host}]:{route.port}" if ":" in route.host else f"{route.host}:{route.port}").encode("ascii")
    answer = Answer(0, phase="connecting", ends_with_head=True)
    await connection.ask(_head(b"CONNECT", place, [(b"Host", place), *proxy_authorization(proxy)]), answer)
    if answer.status != 200:
        raise CallFailed(status_line(answer.status, answer.reason, proxy))


def _place_of(proxy: SplitResult) -> tuple[str, int]:
    return proxy.hostname or "", proxy.port or _PORTS[proxy.scheme]


def _message(request: httpx.Request, route: _Route) -> bytes:
    """Return a request; one in plain http takes the proxy as it is (RFC 9112, section 3.2.2)."""
    method, target, headers = request.method.encode("ascii"), request.url.raw_path, request.headers.raw
    body = b"".join(cast("httpx.ByteStream", request.stream))
    headers = [(b"Host", request.url.netloc), *headers]
    if body or method != b"GET":
        headers.append((b"Content-Length", b"%d" % len(body)))
    if route.proxy and route.scheme == "http":
        target = str(request.url.copy_with(fragment=None)).encode("ascii")
        headers = [*headers, *proxy_authorization(urlsplit(route.proxy))]
    return _head(method, target, headers) + body


def _head(method: bytes, target: bytes, headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    lines = [b"%b %b HTTP/1.1" % (method, target), *(b"%b: %b" % header for header in headers)]
    if any(_LINE_BREAKS.search(line) for line in lines):
        raise ValueError("a line break in a header")
    return b"\r\n".join((*lines, b"", b""))


def proxy_place(proxy: SplitResult) -> str:
    """Return host and port of a proxy, without the credentials."""
    return proxy.netloc.rpartition("@")[2]


def proxy_authorization(proxy: SplitResult) -> list[tuple[bytes, bytes]]:
    """Return the header that carries the user name and the password in a proxy's URL, if there are any."""
    if proxy.username is None:
        return []
    pair = f"{unquote(proxy.username)}:{unquote(proxy.password or '')}".encode()  # UTF-8: RFC 7617, section 2.1
    return [(b"Proxy-Authorization", b"Basic " + base64.b64encode(pair))]


def status_line(status: int, reason: bytes, proxy: SplitResult) -> str:
    """Return a proxy's status and the beginning of its reason phrase, without the credentials it may repeat."""
    secrets = [
        unquote(proxy.password or ""),
        *(value.decode().partition(" ")[2] for _, value in proxy_authorization(proxy)),
    ]
    words = redact(reason.decode("latin-1").strip(), secrets)
    return f"{status} {printable(words, MAX_QUOTED)}".strip()
