"""The way to a host, step by step: its name, its addresses, the handshake.

A sign-in meets the first trouble; here each step is a check. It owns bare connections, made with the
same trust and the same reach as that client's, and judges certificates. It sends nothing but a proxy's CONNECT.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
import ssl
import threading
import time
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

from broker.checks.finding import CheckFailed, Verdict, failed, ok, unknown, warning
from broker.errors import OutboundProxyFailed
from broker.oidc.client import NetworkPolicy
from broker.oidc.network import fault_of, is_public_address, tls_context, why_failed
from broker.oidc.transport import proxy_authorization, status_line

CERTIFICATE_WARNING_DAYS = 14
_ADDRESS_SECONDS = 2.0  # for one of several addresses


@dataclass(frozen=True, slots=True)
class Way:
    """Where to connect for a host: addresses allowed to be reached; none where the proxy knows the way."""

    parts: SplitResult
    addresses: tuple[str, ...]

    @property
    def host(self) -> str:
        """The host's name."""
        return self.parts.hostname or ""

    @property
    def port(self) -> int:
        """The port, by the scheme where none is written."""
        return self.parts.port or (443 if self.parts.scheme == "https" else 80)


async def look_up(url: str, network: NetworkPolicy) -> tuple[Way, Verdict]:
    """Find the addresses of a URL's host.

    Args:
        url: checked before.
        network: how far requests may go.

    Raises:
        CheckFailed: there are none, or none that may be reached.
    """
    parts = urlsplit(url)
    host = parts.hostname or ""
    if network.outbound_proxy is not None:
        return Way(parts, ()), unknown(f"Not looked up: outbound_proxy resolves {host}.")
    found = await _addresses(host)
    allowed = tuple(one for one in found if network.private_networks or is_public_address(one))
    if not allowed:
        raise CheckFailed(
            failed(
                f"{host} is on a private network ({found[0]}), where the broker does not go unasked.",
                "Set allow_private_network: true for this provider, if it is meant to be there.",
            )
        )
    return Way(parts, allowed), ok(f"{host} is at {', '.join(allowed[:4])}.")


async def shake_hands(way: Way, network: NetworkPolicy) -> tuple[None, Verdict]:
    """Connect, and judge the certificate with our trust.

    Args:
        way: from `look_up`.
        network: how far requests may go.

    Raises:
        CheckFailed: there is no connection, or the certificate is not to be trusted.
    """
    try:
        writer = await _connect(way, network)
    except OSError as error:
        raise CheckFailed(_why_unconnected(error, way)) from None
    try:
        certificate = writer.get_extra_info("peercert")
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
    return None, _judge_days_left(certificate, way.host)


async def explain(url: str, network: NetworkPolicy) -> Verdict | None:
    """Return why no answer comes from a URL, if its name or the handshake tells.

    Args:
        url: that was asked in vain.
        network: how far requests may go.
    """
    try:
        way, _ = await look_up(url, network)
        await shake_hands(way, network)
    except CheckFailed as trouble:
        return trouble.verdict
    return None


async def _addresses(host: str) -> tuple[str, ...]:
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[list[str]] = loop.create_future()

    def settle(addresses: list[str], error: OSError | None) -> None:
        if answer.done():  # nobody waits any more
            return
        if error is None:
            answer.set_result(addresses)
        else:
            answer.set_exception(error)

    def resolve() -> None:
        try:
            found, error = [str(one[4][0]) for one in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)], None
        except (OSError, UnicodeError) as failure:
            found, error = [], failure if isinstance(failure, OSError) else OSError(str(failure))
        with contextlib.suppress(RuntimeError):  # the loop is closed: the command has ended
            loop.call_soon_threadsafe(settle, found, error)

    # A thread of its own: the loop's executor is waited for at the end, however long a name server keeps silent.
    threading.Thread(target=resolve, daemon=True).start()
    try:
        return tuple(dict.fromkeys(await answer))
    except OSError as error:
        raise CheckFailed(
            failed(
                f"The name {host} cannot be resolved ({why_failed(error, host)}).",
                f"Compare its spelling. If it is right, ask this machine's name server: nslookup {host} shows it.",
            )
        ) from None


async def _connect(way: Way, network: NetworkPolicy) -> asyncio.StreamWriter:
    context = tls_context(network.trusted_ca_file) if way.parts.scheme == "https" else None
    if network.outbound_proxy is not None:
        return await _connect_through(network.outbound_proxy(), way, context, network)
    last: OSError = OSError("no address")
    for address in way.addresses[:4]:
        try:
            async with asyncio.timeout(_ADDRESS_SECONDS):
                _, writer = await asyncio.open_connection(
                    address, way.port, ssl=context, server_hostname=way.host if context else None
                )
        except ssl.SSLError:
            raise
        except OSError as error:  # TimeoutError is one, too
            last = error
        else:
            return writer
    raise last


async def _connect_through(
    proxy: str, way: Way, context: ssl.SSLContext | None, network: NetworkPolicy
) -> asyncio.StreamWriter:
    parts = urlsplit(proxy)
    outer = tls_context(network.trusted_ca_file) if parts.scheme == "https" else None
    try:
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port, ssl=outer)
    except OSError as error:
        raise CheckFailed(
            _fault_of_the_proxy(way, why_failed(error, parts.hostname or "").partition(" (")[0])
        ) from None
    if context is None:
        return writer  # plain http: the proxy is asked for the document, not for a connection
    try:
        await _ask_for_a_tunnel(reader, writer, parts, way)
        await writer.start_tls(context, server_hostname=way.host)
    except BaseException:
        writer.close()
        raise
    return writer


async def _ask_for_a_tunnel(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, proxy: SplitResult, way: Way
) -> None:
    host = f"[{way.host}]" if ":" in way.host else way.host
    head = [f"CONNECT {host}:{way.port} HTTP/1.1", f"Host: {host}:{way.port}"]
    head += [f"{name}: {value}" for name, value in proxy_authorization(proxy).items()]
    try:
        writer.write("\r\n".join([*head, "", ""]).encode())
        said = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
        raise CheckFailed(_fault_of_the_proxy(way, "connection closed before an answer came")) from None
    answered = re.match(r"HTTP/1\.[01] (?P<status>[0-9]{3})(?P<phrase>[^\r\n]*)", said)
    if answered is None:
        raise CheckFailed(_fault_of_the_proxy(way, f"not HTTP: begins with {said[:20]!r}"))
    if answered["status"] != "200":
        raise CheckFailed(_fault_of_the_proxy(way, status_line(int(answered["status"]), answered["phrase"])))


def _fault_of_the_proxy(way: Way, words: str) -> Verdict:
    message = f"{way.host} cannot be reached through outbound_proxy ({words})."
    return failed(message, OutboundProxyFailed.remedy)


def _why_unconnected(error: OSError, way: Way) -> Verdict:
    words = why_failed(error, way.host)
    if isinstance(error, ssl.SSLCertVerificationError):
        return failed(f"Not trusted: {words}.", fault_of(error).remedy)
    if isinstance(error, ssl.SSLError):
        return failed(
            f"No TLS on port {way.port} of {way.host} ({words}).",
            "Compare host and port. A firewall that opens TLS connections can be the cause, too.",
        )
    return failed(
        f"No connection to {way.host}, port {way.port} ({words.partition(' (')[0]}).",
        "Open the firewall for this host and port, or set outbound_proxy if there is one. Compare the port.",
    )


def _judge_days_left(certificate: object, host: str) -> Verdict:
    if not isinstance(certificate, dict) or "notAfter" not in certificate:
        return ok(f"{host} answers in plain http: on loopback there is no TLS to check.")
    days = int((ssl.cert_time_to_seconds(str(certificate["notAfter"])) - time.time()) // 86400)
    if days < CERTIFICATE_WARNING_DAYS:
        return warning(
            f"The certificate of {host} expires in {days} days.",
            "Have it renewed there; sign-ins end when it expires. If it renews itself, this passes.",
        )
    return ok(f"The certificate of {host} is trusted, for {days} more days.")
