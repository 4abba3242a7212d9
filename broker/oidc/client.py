"""Sends every request to an identity provider or to a site, within bounds of time, size and network.

The client follows no redirect, takes no proxy or CA from the environment, keeps no cookie, reads no compressed answer,
and reaches no private address unless allowed.
"""

from __future__ import annotations

import asyncio
import errno
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
import httpx
from httpx_aiohttp import AiohttpTransport

from broker.errors import (
    AnswerTooLarge,
    AnswerUnexpected,
    BrokerError,
    Overloaded,
    ProviderAddressRefused,
    ProviderCertificate,
    ProviderTimedOut,
    ProviderUnreachable,
)
from broker.oidc.messages import ProviderRequest, ProviderResponse
from broker.oidc.network import (
    MAX_QUOTED,
    fault_of,
    is_public_address,
    is_public_or_name,
    tls_context,
    why_failed,
    why_not_http,
)
from broker.oidc.transport import CONNECT_SECONDS, PROGRESS, Connector, Progress, ProxiedTransport, os_error, tracing

CALL_SECONDS = 5.0  # a whole call: connecting, waiting, reading
ACQUIRE_SECONDS = 5.0  # waiting for a free connection
MAX_CONNECTIONS = 1000  # at once, to one provider
RETRY_AFTER_SECONDS = 5  # told to a person when no connection became free
KEEP_ALIVE_SECONDS = 4.0  # of an unused connection; Node and Apache close after 5 s, and lose a request sent then
_NO_ENCODING = {"", "identity", "utf-8", "utf8"}  # some servers send the character set in Content-Encoding

HttpClient = httpx.AsyncClient
ClientFactory = Callable[["NetworkPolicy"], AbstractAsyncContextManager[HttpClient]]


@dataclass(frozen=True, slots=True)
class NetworkPolicy:
    """The network that requests may reach.

    Args:
        outbound_proxy: returns the URL of the proxy for all requests; it may hold a password and may change. Names
            are then resolved there, and only literals are checked here.
        private_networks: private addresses may be reached (`allow_private_network`, or development on loopback).
    """

    trusted_ca_file: Path | None = None
    outbound_proxy: Callable[[], str] | None = None
    private_networks: bool = False


class _AddressRefused(OSError):
    def __init__(self, address: str) -> None:
        super().__init__(errno.EPERM, "the address is not on the public network")
        self.address = address


@asynccontextmanager
async def open_client(network: NetworkPolicy) -> AsyncIterator[httpx.AsyncClient]:
    """Open one client for the life of the process: one TLS context, one pool of connections.

    httpx gives the interface, aiohttp the pool: httpx's own costs a scan of every idle connection per request.
    """
    context = tls_context(network.trusted_ca_file)
    guard = None if network.private_networks or network.outbound_proxy else _public_socket
    # No limit here: each provider has its own, and must not wait for the connections of another.
    connector = Connector(ssl=context, limit=0, keepalive_timeout=KEEP_ALIVE_SECONDS, socket_factory=guard)
    session = aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        trust_env=False,
        trace_configs=[tracing()],
    )
    # aiohttp repeats a GET when a pooled connection closes mid-request, and has no public option against it.
    session._retry_connection = False  # noqa: SLF001
    async with session:
        direct = AiohttpTransport(verify=context, trust_env=False, client=session)
        transport = ProxiedTransport(context, session, network.outbound_proxy) if network.outbound_proxy else direct
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
    """Sends a request to a provider and reads the answer within bounds."""

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

    async def send(self, request: ProviderRequest) -> ProviderResponse:
        """Return the provider's answer, unverified.

        A request is sent a second time only when the first was never sent: the connection could not be made.

        Raises:
            ProviderUnreachable, ProviderCertificate, ProviderTimedOut, ProviderAddressRefused: no answer came.
            OutboundProxyFailed, Overloaded: no answer came, because of the broker or its proxy.
            AnswerTooLarge: the answer exceeds the request's limit, or is compressed.
        """
        if not self._private_networks and not is_public_or_name(urlsplit(request.url).hostname or ""):
            raise ProviderAddressRefused(expected="a public address", got=urlsplit(request.url).hostname)
        try:
            async with asyncio.timeout(self._acquire_seconds):
                await self._places.acquire()
        except TimeoutError:
            raise Overloaded(
                expected=f"at most {self._max_connections} requests at once",
                got=f"all of them under way for {self._acquire_seconds:g} s",
                retry_after=RETRY_AFTER_SECONDS,
            ) from None
        progress = Progress()
        try:
            async with asyncio.timeout(self._call_seconds):
                try:
                    return await self._send_once(request, progress)
                except _NeverSent:
                    return await self._send_once(request, progress)
        except TimeoutError:
            raise ProviderTimedOut(
                expected=f"an answer of {_place(request)}",
                got=progress.late(self._call_seconds),
                phase=progress.phase,
            ) from None
        except _NeverSent as never:
            raise never.failure from never.__cause__
        finally:
            self._places.release()

    async def _send_once(self, request: ProviderRequest, progress: Progress) -> ProviderResponse:
        under_way = PROGRESS.set(progress)
        try:
            outgoing = self._client.build_request(
                request.method, request.url, headers=dict(request.headers), content=request.body
            )
            response = await self._client.send(outgoing, stream=True)
            try:
                progress.phase = "reading"
                return await _read(response, request.limit, progress)
            finally:
                await response.aclose()
        except (httpx.HTTPError, httpx.InvalidURL, aiohttp.ClientError, ValueError) as error:
            raise _translated(error, request, progress) from error
        finally:
            PROGRESS.reset(under_way)


class _NeverSent(Exception):
    """The connection could not be made, so the provider saw nothing."""

    def __init__(self, failure: BrokerError) -> None:
        super().__init__()
        self.failure = failure


def _translated(error: Exception, request: ProviderRequest, progress: Progress) -> Exception:
    """Return the broker's error for an error of httpx or aiohttp, which may wrap another."""
    cause = error if isinstance(error, aiohttp.ClientError) else error.__cause__ or error
    place = _place(request)
    match cause:
        case aiohttp.InvalidURL() | aiohttp.NonHttpUrlClientError():
            return ProviderUnreachable(expected="an address that can be asked", got=place)
        case aiohttp.ClientConnectorError():
            return _unconnected(cause, place, progress)
        case aiohttp.ServerTimeoutError():
            late = progress.late(CONNECT_SECONDS)
            return ProviderTimedOut(expected=f"an answer of {place}", got=late, phase=progress.phase)
        case aiohttp.ClientResponseError():
            return AnswerUnexpected(expected=f"an HTTP answer of {place}", got=why_not_http(cause.message))
        case _ if isinstance(error, httpx.TransportError):
            broken = progress.broken(cause)
            return ProviderUnreachable(expected=f"an answer of {place}", got=broken, phase=progress.phase)
    return AnswerUnexpected(expected="an address that can be asked", got=place)


def _unconnected(cause: aiohttp.ClientConnectorError, place: str, progress: Progress) -> Exception:
    host, reason = cause.host, os_error(cause)
    if isinstance(reason, _AddressRefused):
        return ProviderAddressRefused(
            expected="a public address", got=f"{reason.address}: {place}", phase=progress.phase
        )
    if isinstance(reason, ssl.SSLCertVerificationError):
        fault = fault_of(reason)
        distrust = ProviderCertificate(
            expected=f"a trusted certificate at {place}",
            got=why_failed(reason, host),
            remedy=fault.remedy,
            phase=progress.phase,
        )
        distrust.setting = fault.setting
        return _NeverSent(distrust)
    # Requests that wait for the look-up of another request do not note the phase.
    phase = "resolving" if isinstance(cause, aiohttp.ClientConnectorDNSError) else progress.phase
    words = why_failed(reason, host)
    return _NeverSent(ProviderUnreachable(expected=f"a connection to {place}", got=words, phase=phase))


async def _read(response: httpx.Response, limit: int, progress: Progress) -> ProviderResponse:
    encoding = response.headers.get("content-encoding", "")
    if not {coding.strip().lower() for coding in encoding.split(",")} <= _NO_ENCODING:
        raise AnswerTooLarge(
            expected="an answer without content encoding", got=f"Content-Encoding: {encoding[:MAX_QUOTED]}"
        )
    body = bytearray()
    async for chunk in response.aiter_raw():
        body += chunk
        progress.size = len(body)
        if len(body) > limit:
            raise AnswerTooLarge(expected=f"at most {limit} bytes", got=f"{len(body)} bytes so far")
    cache_control = response.headers.get("cache-control", "")
    return ProviderResponse(
        status=response.status_code,
        media_type=response.headers.get("content-type", "").partition(";")[0].strip().lower(),
        body=bytes(body),
        max_age=_seconds(re.search(r"(?i)(?:^|[,\s])max-age=(\d{1,9})(?!\d)", cache_control)),
        retry_after=_seconds(re.fullmatch(r"\s*(\d{1,5})\s*", response.headers.get("retry-after", ""))),
        date=_moment(response.headers.get("date", ""), age=response.headers.get("age", "")),
        location=response.headers.get("location"),
        www_authenticate=response.headers.get("www-authenticate"),
        peer=progress.peer,
    )


def _seconds(found: re.Match[str] | None) -> int | None:
    return int(found[1]) if found else None


def _moment(date: str, *, age: str) -> float | None:
    """Return the time of Date, plus Age if a cache sent the answer (RFC 9110, 6.6.1; RFC 9111, 5.1)."""
    try:
        made = parsedate_to_datetime(date).replace(tzinfo=UTC).timestamp()  # always GMT: the zone is ignored
    except (ValueError, OverflowError):
        return None
    return made + (_seconds(re.fullmatch(r"\s*(\d{1,9})\s*", age)) or 0)


def _place(request: ProviderRequest) -> str:
    """Return host, port and path for the log, never the query."""
    try:
        parts = urlsplit(request.url)
    except ValueError:
        return "an address that cannot be read"
    return f"{parts.netloc.rpartition('@')[2]}{parts.path}"


def _public_socket(address: tuple[object, ...]) -> socket.socket:
    """Return the socket for an address to connect to, unless the address is private.

    The resolver is too early for this check: a literal is never resolved, and a name may resolve to another address
    later.
    """
    family, kind, protocol, _, sockaddr = address
    if not isinstance(sockaddr, tuple) or not is_public_address(str(sockaddr[0])):
        raise _AddressRefused(str(sockaddr[0]) if isinstance(sockaddr, tuple) else str(family))
    return socket.socket(family=family, type=kind, proto=protocol)  # type: ignore[arg-type]
