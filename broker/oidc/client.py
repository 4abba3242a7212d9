"""Sends every request to an identity provider or to a site, within bounds of time, size and network.

The client refuses compressed answers, and private addresses unless the policy allows them. It takes no CA from the
environment. `transport` follows no redirect, keeps no cookie and takes no proxy from the environment.
"""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC
from email.utils import parsedate_to_datetime
from functools import lru_cache
from pathlib import Path
from typing import cast
from urllib.parse import urlsplit

import httpx

from broker.errors import (
    AnswerTooLarge,
    AnswerUnexpected,
    BrokerError,
    OutboundProxyFailed,
    ProviderAddressRefused,
    ProviderCertificate,
    ProviderTimedOut,
    ProviderUnreachable,
)
from broker.oidc.answer import BodyTooLarge, NotHttp
from broker.oidc.connection import AddressRefused
from broker.oidc.messages import ProviderRequest, ProviderResponse
from broker.oidc.network import MAX_QUOTED, fault_of, is_public_or_name, tls_context
from broker.oidc.transport import (
    CONNECT_SECONDS,
    ProxyFailed,
    TimedOut,
    Transport,
    proxy_place,
)

CALL_SECONDS = 5.0  # a whole call: connecting, waiting, reading
_NO_ENCODING = {"", "identity", "utf-8", "utf8"}  # some servers send the character set in Content-Encoding
_MAX_AGE = re.compile(r"(?i)(?:^|[,\s])max-age=(\d{1,9})(?!\d)")
_RETRY_AFTER = re.compile(r"\s*(\d{1,5})\s*")
_OURS = {"Accept-Encoding": "identity", "User-Agent": "comm100-sso-broker"}

HttpClient = httpx.AsyncBaseTransport
TlsContext = Callable[[], ssl.SSLContext]
ClientFactory = Callable[["NetworkPolicy"], AbstractAsyncContextManager[HttpClient]]


@dataclass(frozen=True, slots=True)
class NetworkPolicy:
    """The network that requests may reach.

    Args:
        outbound_proxy: returns the URL of the proxy for all requests; it may hold a password and may change. Names
            are then resolved there, and only literals are checked here.
        context: returns the TLS context for a new connection; None reads `trusted_ca_file` once.
        private_networks: private addresses may be reached (`allow_private_network`, or development on loopback).
    """

    trusted_ca_file: Path | None = None
    outbound_proxy: Callable[[], str] | None = None
    private_networks: bool = False
    context: TlsContext | None = field(default=None, compare=False, repr=False)


@asynccontextmanager
async def open_client(network: NetworkPolicy, *, connect_seconds: float = CONNECT_SECONDS) -> AsyncIterator[HttpClient]:
    """Open one transport with its pool of connections, until the block ends."""
    context = network.context or await _read_once(network.trusted_ca_file)
    public_only = not network.private_networks
    async with Transport(
        context, public_only=public_only, outbound_proxy=network.outbound_proxy, connect_seconds=connect_seconds
    ) as transport:
        yield transport


async def _read_once(trusted_ca_file: Path | None) -> TlsContext:
    """Read the authorities in a thread: a hundred certificates take 20 ms, and the service may be answering others."""
    context = await asyncio.to_thread(tls_context, trusted_ca_file)
    return lambda: context


class ProviderClient:
    """Sends a request to a provider and reads the answer within bounds.

    Args:
        network: of `http`: its addresses are checked here, and its proxy is named in errors.
        call_seconds: for each call.
    """

    def __init__(self, http: HttpClient, network: NetworkPolicy, *, call_seconds: float = CALL_SECONDS) -> None:
        self._http = http
        self._network = network
        self._call_seconds = call_seconds

    async def send(self, request: ProviderRequest) -> ProviderResponse:
        """Return the provider's answer, unverified.

        Raises:
            ProviderUnreachable, ProviderCertificate, ProviderTimedOut, ProviderAddressRefused: no answer came.
            OutboundProxyFailed: no answer came, because of the proxy.
            AnswerUnexpected: the answer is not HTTP, or the address cannot be asked.
            AnswerTooLarge: the answer exceeds the request's limit, or is compressed.
        """
        try:
            if not self._network.private_networks and not _is_public(request.url):
                raise ProviderAddressRefused(expected="a public address", got=urlsplit(request.url).hostname)
            extensions = {"seconds": self._call_seconds, "limit": request.limit}
            outgoing = httpx.Request(
                request.method,
                _url(request.url),
                headers={**_OURS, **request.headers},
                stream=httpx.ByteStream((request.body or "").encode()),
                extensions=extensions,
            )
            response = await self._http.handle_async_request(outgoing)
        except httpx.TransportError as error:
            raise self._translated(error, request) from error
        except (httpx.InvalidURL, ValueError) as error:
            raise AnswerUnexpected(expected="an address that can be asked", got=_place(request.url)) from error
        return _read(response)

    def _translated(self, error: httpx.TransportError, request: ProviderRequest) -> BrokerError:
        """Return the broker's error for an error of the transport."""
        place, words = _place(request.url), str(error)
        match error:
            case ProxyFailed() if self._network.outbound_proxy:
                proxy = proxy_place(urlsplit(self._network.outbound_proxy()))
                host = urlsplit(request.url).hostname
                return OutboundProxyFailed(expected=f"a connection to {host} by outbound_proxy {proxy}", got=words)
            case TimedOut():
                return ProviderTimedOut(expected=f"an answer of {place}", got=words, phase=error.phase)
            case NotHttp():
                return AnswerUnexpected(expected=f"an HTTP answer of {place}", got=words)
            case BodyTooLarge():
                return AnswerTooLarge(expected=f"at most {request.limit} bytes", got=words)
        return _unreached(error, place)


def _unreached(error: httpx.TransportError, place: str) -> BrokerError:
    phase, cause = getattr(error, "phase", "connecting"), error.__cause__
    if isinstance(cause, AddressRefused):
        return ProviderAddressRefused(expected="a public address", got=f"{cause.address}: {place}", phase=phase)
    if isinstance(cause, ssl.SSLCertVerificationError):
        fault = fault_of(cause)
        expected = f"a trusted certificate at {place}"
        distrust = ProviderCertificate(expected=expected, got=str(error), remedy=fault.remedy, phase=phase)
        distrust.setting = fault.setting
        return distrust
    wanted = "an answer of" if phase in ("waiting", "reading") else "a connection to"
    return ProviderUnreachable(expected=f"{wanted} {place}", got=str(error), phase=phase)


def _read(response: httpx.Response) -> ProviderResponse:
    headers: dict[str, str] = {}
    for name, value in response.headers.raw:  # a look-up in httpx.Headers walks through all of them
        key, text = name.decode("latin-1").lower(), value.decode("latin-1")
        headers[key] = f"{headers[key]}, {text}" if key in headers else text
    encoding = headers.get("content-encoding", "")
    if encoding and not {coding.strip().lower() for coding in encoding.split(",")} <= _NO_ENCODING:
        raise AnswerTooLarge(
            expected="an answer without content encoding", got=f"Content-Encoding: {encoding[:MAX_QUOTED]}"
        )
    return ProviderResponse(
        status=response.status_code,
        media_type=headers.get("content-type", "").partition(";")[0].strip().lower(),
        body=b"".join(cast("httpx.ByteStream", response.stream)),
        max_age=_seconds(_MAX_AGE.search(headers.get("cache-control", ""))),
        retry_after=_seconds(_RETRY_AFTER.fullmatch(headers.get("retry-after", ""))),
        date=_moment(headers.get("date", ""), age=headers.get("age", "")),
        location=headers.get("location"),
        www_authenticate=headers.get("www-authenticate"),
        peer=response.extensions.get("peer"),
    )


def _seconds(found: re.Match[str] | None) -> int | None:
    return int(found[1]) if found else None


@lru_cache(maxsize=16)
def _moment(date: str, *, age: str) -> float | None:
    """Return the time of Date, plus Age if a cache sent the answer (RFC 9110, 6.6.1; RFC 9111, 5.1)."""
    try:
        made = parsedate_to_datetime(date).replace(tzinfo=UTC).timestamp()  # always GMT: the zone is ignored
    except (ValueError, OverflowError):
        return None
    return made + (_seconds(re.fullmatch(r"\s*(\d{1,9})\s*", age)) or 0)


@lru_cache(maxsize=256)
def _url(text: str) -> httpx.URL:
    """Parse an address once: a provider has few."""
    return httpx.URL(text)


@lru_cache(maxsize=256)
def _is_public(url: str) -> bool:
    """Check the host as written and as sent: the transport's URL turns an ideographic full stop into a dot."""
    return is_public_or_name(urlsplit(url).hostname or "") and is_public_or_name(_url(url).raw_host.decode("ascii"))


def _place(url: str) -> str:
    """Return host, port and path for the log, never the query."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "an address that cannot be read"
    return f"{parts.netloc.rpartition('@')[2]}{parts.path}"
