"""The only place that asks an identity provider anything; the doctor's bare handshakes aside, it opens every socket.

This file owns TLS, time, size and reach of outbound requests: no redirect is followed, no proxy or CA is taken from
the environment, no cookie is kept, no compressed answer is read, no private address is reached unasked. It judges no
answer.
"""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import re
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from http.cookiejar import CookieJar, DefaultCookiePolicy
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
import certifi
import httpx
from httpx_aiohttp import AiohttpTransport

from broker.errors import (
    AnswerTooLarge,
    AnswerUnexpected,
    Overloaded,
    ProviderAddressRefused,
    ProviderTimedOut,
    ProviderUnreachable,
)
from broker.oidc.messages import Answer, ProviderRequest

CONNECT_SECONDS = 3.0
CALL_SECONDS = 5.0  # one call in all: connecting, waiting, reading
ACQUIRE_SECONDS = 5.0  # waiting for a free connection
MAX_CONNECTIONS = 1000  # at once, to one provider
RETRY_AFTER_SECONDS = 5  # what a person is told when no connection became free
KEEP_ALIVE_SECONDS = 50.0

HttpClient = httpx.AsyncClient
Clients = Callable[["Reach"], AbstractAsyncContextManager[HttpClient]]


@dataclass(frozen=True, slots=True)
class Reach:
    """How far requests may go.

    Args:
        trusted_ca_file: further certificate authorities, PEM.
        outbound_proxy: the proxy all requests take; then names are resolved there, and only literals are checked here.
        private_networks: private addresses may be reached (`allow_private_network`, or development on loopback).
    """

    trusted_ca_file: Path | None = None
    outbound_proxy: str | None = None
    private_networks: bool = False


class _AddressRefused(OSError):
    def __init__(self) -> None:
        super().__init__(errno.EPERM, "the address is not on the public network")


@asynccontextmanager
async def open_client(reach: Reach) -> AsyncIterator[httpx.AsyncClient]:
    """Open one client for the life of the process: one TLS context, one pool of connections.

    httpx gives the interface, aiohttp the pool: httpx's own costs a scan of every idle connection per request.

    Args:
        reach: how far requests may go.
    """
    context = tls_context(reach.trusted_ca_file)
    guard = None if reach.private_networks or reach.outbound_proxy else _public_socket
    # No limit here: each provider has its own, and must not wait for the connections of another.
    connector = aiohttp.TCPConnector(ssl=context, limit=0, keepalive_timeout=KEEP_ALIVE_SECONDS, socket_factory=guard)
    session = aiohttp.ClientSession(
        connector=connector, cookie_jar=aiohttp.DummyCookieJar(), auto_decompress=False, trust_env=False
    )
    # aiohttp sends a GET anew when a kept connection drops behind it, and offers no public way to say no.
    session._retry_connection = False  # noqa: SLF001
    async with session:
        transport = AiohttpTransport(
            verify=context,
            trust_env=False,
            client=session,
            proxy=httpx.Proxy(reach.outbound_proxy) if reach.outbound_proxy else None,
        )
        async with httpx.AsyncClient(
            transport=transport,
            trust_env=False,
            follow_redirects=False,
            cookies=CookieJar(policy=DefaultCookiePolicy(allowed_domains=[])),
            timeout=httpx.Timeout(None, connect=CONNECT_SECONDS, pool=CONNECT_SECONDS),  # a call's time: ProviderClient
            headers={"Accept-Encoding": "identity", "User-Agent": "comm100-sso-broker"},
        ) as client:
            yield client


class ProviderClient:
    """Sends a request to a provider and reads the answer within bounds.

    Args:
        client: the process's one, or a test's.
        private_networks: this provider may be on a private address.
        max_connections: requests at once.
        acquire_seconds: how long one more of them waits for its turn.
        call_seconds: how long one of them takes in all: connecting, waiting, reading.
    """

    def __init__(
        self,
        client: httpx.AsyncClient,
        *,
        private_networks: bool,
        max_connections: int = MAX_CONNECTIONS,
        acquire_seconds: float = ACQUIRE_SECONDS,
        call_seconds: float = CALL_SECONDS,
    ) -> None:
        self._client = client
        self._private_networks = private_networks
        self._max_connections = max_connections
        self._acquire_seconds = acquire_seconds
        self._call_seconds = call_seconds
        self._places = asyncio.Semaphore(max_connections)

    async def send(self, request: ProviderRequest) -> Answer:
        """Return the provider's answer, whatever it says.

        A request is sent a second time only when the first was never sent: the connection could not be made.

        Args:
            request: from one of the `build_` functions.

        Raises:
            ProviderUnreachable, ProviderTimedOut, ProviderAddressRefused, Overloaded: no answer came.
            AnswerTooLarge: the answer exceeds the request's limit, or is compressed.
        """
        if not self._private_networks and not _is_public_or_name(urlsplit(request.url).hostname or ""):
            raise ProviderAddressRefused(expected="a public address", got=urlsplit(request.url).hostname)
        try:
            async with asyncio.timeout(self._acquire_seconds):
                await self._places.acquire()
        except TimeoutError:
            raise Overloaded(
                expected=f"at most {self._max_connections} requests at once",
                got="more",
                retry_after=RETRY_AFTER_SECONDS,
            ) from None
        try:
            async with asyncio.timeout(self._call_seconds):
                try:
                    return await self._send_once(request)
                except _NeverSent:
                    return await self._send_once(request)
        except TimeoutError:
            raise ProviderTimedOut(expected=f"an answer within {self._call_seconds:g} s", got=_place(request)) from None
        except _NeverSent as failure:
            raise ProviderUnreachable(expected=f"a connection to {_place(request)}", got=str(failure)) from failure
        finally:
            self._places.release()

    async def _send_once(self, request: ProviderRequest) -> Answer:
        try:
            outgoing = self._client.build_request(
                request.method, request.url, headers=dict(request.headers), content=request.body
            )
            response = await self._client.send(outgoing, stream=True)
            try:
                return await _read(response, request.limit)
            finally:
                await response.aclose()
        except httpx.TransportError as error:
            raise _translated(error, request) from error
        except (httpx.HTTPError, httpx.InvalidURL, aiohttp.ClientError, ValueError) as error:
            # aiohttp's own: an answer that is no HTTP, which the transport passes on as it is.
            raise AnswerUnexpected(expected="an HTTP answer", got=type(error).__name__) from error


class _NeverSent(Exception):
    """The connection could not be made, so the provider saw nothing."""


def _translated(error: httpx.TransportError, request: ProviderRequest) -> Exception:
    cause = error.__cause__
    if isinstance(cause, aiohttp.ClientConnectorError):
        reason = getattr(cause, "os_error", cause)  # a certificate error has none
        if isinstance(reason, _AddressRefused):
            return ProviderAddressRefused(expected="a public address", got=_place(request))
        return _NeverSent(type(reason).__name__)
    if isinstance(cause, aiohttp.ServerTimeoutError):
        return ProviderTimedOut(expected="an answer in time", got=_place(request))
    return ProviderUnreachable(expected=f"an answer of {_place(request)}", got=type(cause or error).__name__)


async def _read(response: httpx.Response, limit: int) -> Answer:
    if response.headers.get("content-encoding", "identity").strip().lower() not in ("", "identity"):
        raise AnswerTooLarge(expected="an answer without content encoding", got="a compressed one")
    body = bytearray()
    async for chunk in response.aiter_raw():
        body += chunk
        if len(body) > limit:
            raise AnswerTooLarge(expected=f"at most {limit} bytes", got="more")
    cache_control = response.headers.get("cache-control", "")
    return Answer(
        status=response.status_code,
        media_type=response.headers.get("content-type", "").partition(";")[0].strip().lower(),
        body=bytes(body),
        max_age=_seconds(re.search(r"(?i)(?:^|[,\s])max-age=(\d{1,9})(?!\d)", cache_control)),
        retry_after=_seconds(re.fullmatch(r"\s*(\d{1,5})\s*", response.headers.get("retry-after", ""))),
        date=_moment(response.headers.get("date", ""), age=response.headers.get("age", "")),
        location=response.headers.get("location"),
        www_authenticate=response.headers.get("www-authenticate"),
    )


def _seconds(found: re.Match[str] | None) -> int | None:
    return int(found[1]) if found else None


def _moment(date: str, *, age: str) -> float | None:
    """Read Date, and Age where a cache on the way kept the answer (RFC 9110, 6.6.1; RFC 9111, 5.1)."""
    try:
        made = parsedate_to_datetime(date).replace(tzinfo=UTC).timestamp()  # in GMT, whatever is written there
    except (ValueError, OverflowError):
        return None
    return made + (_seconds(re.fullmatch(r"\s*(\d{1,9})\s*", age)) or 0)


def _place(request: ProviderRequest) -> str:
    """The host, its port if one is named, and the path, for the log: never the query."""
    parts = urlsplit(request.url)
    return f"{parts.netloc.rpartition('@')[2]}{parts.path}"


def tls_context(trusted_ca_file: Path | None) -> ssl.SSLContext:
    """Return whom we trust: the authorities of the web, from a file of ours, and the admin's.

    OpenSSL's default obeys the environment. Made once for a process: it reads a hundred certificates.

    Args:
        trusted_ca_file: further certificate authorities, PEM.
    """
    context = ssl.create_default_context(cafile=certifi.where())
    if trusted_ca_file is not None:
        context.load_verify_locations(trusted_ca_file)
    return context


def _public_socket(address: tuple[object, ...]) -> socket.socket:
    """Make the socket for an address about to be connected to, unless it is private.

    Here and not at the resolver: a literal is never resolved, and a name may resolve to something else the next time.
    """
    family, kind, protocol, _, sockaddr = address
    if not isinstance(sockaddr, tuple) or not is_public_address(str(sockaddr[0])):
        raise _AddressRefused
    return socket.socket(family=family, type=kind, proto=protocol)  # type: ignore[arg-type]


def _is_public_or_name(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return True
    return is_public_address(host)


# IPv4-compatible (RFC 4291, section 2.5.5.1) and local NAT64 (RFC 8215): only the local network knows where they lead.
_NEVER_PUBLIC = (ipaddress.ip_network("::/96"), ipaddress.ip_network("64:ff9b:1::/48"))


def is_public_address(text: str) -> bool:
    """Whether an IP address is on the public network, looking into the IPv6 forms that carry an IPv4 address.

    Args:
        text: the address, with or without a zone.
    """
    address = ipaddress.ip_address(text.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address):
        if any(address in network for network in _NEVER_PUBLIC):
            return False
        inner = address.ipv4_mapped or address.sixtofour or (address.teredo and address.teredo[1])
        if inner is None and address in ipaddress.ip_network("64:ff9b::/96"):
            inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if inner:
            return is_public_address(str(inner))
    return address.is_global and not address.is_multicast
