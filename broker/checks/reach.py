"""Check name, connection and certificate of a host by one request.

The client of the sign-ins sends the request, so proxy, trusted authorities and address guard are the same.
"""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Literal
from urllib.parse import urlsplit

from broker.checks.finding import Finding, Topic, sentence
from broker.errors import (
    BrokerError,
    OutboundProxyFailed,
    ProviderAddressRefused,
    ProviderCertificate,
    ProviderUnavailable,
)
from broker.oidc.discovery import Send
from broker.oidc.messages import DOCUMENT_LIMIT, Peer, ProviderRequest, ProviderResponse
from broker.text import printable

CERTIFICATE_WARNING_DAYS = 14


def page_request(url: str) -> ProviderRequest:
    """Return the request of a browser that opens a page."""
    return ProviderRequest("GET", url, DOCUMENT_LIMIT, {"Accept": "text/html"})


async def reach(
    send: Send, request: ProviderRequest, subject: str, *, proxied: bool
) -> tuple[ProviderResponse | BrokerError, list[Finding]]:
    """Send a request; return the answer, or the error, and the findings `dns` and `tls`.

    A failed name leaves out `tls`. An error after the handshake leaves both `ok`; the caller reports that error.

    Args:
        proxied: requests take the outbound proxy, which resolves the names.
    """
    dns, tls = Topic(subject, "dns"), Topic(subject, "tls")
    url = request.url
    try:
        answer = await send(request)
    except BrokerError as error:
        step = failed_step(error)
        if step == "dns":
            return error, [no_answer(dns, url, error)]
        certificate = no_answer(tls, url, error) if step == "tls" else check_certificate(tls, url, None)
        return error, [_check_name(dns, url, None, proxied=proxied), certificate]
    return answer, [_check_name(dns, url, answer.peer, proxied=proxied), check_certificate(tls, url, answer.peer)]


def note_certificates(send: Send, ends: dict[str, float]) -> Send:
    """Return a `send` that notes by host when the certificate of each answer expires, in seconds since the epoch."""

    async def send_noted(request: ProviderRequest) -> ProviderResponse:
        answer = await send(request)
        if answer.peer is not None and answer.peer.certificate_expires is not None:
            ends[urlsplit(request.url).hostname or ""] = answer.peer.certificate_expires
        return answer

    return send_noted


def with_other_hosts(findings: list[Finding], ends: Mapping[str, float], *, first_host: str) -> list[Finding]:
    """Add a warning for each further host whose certificate expires soon; the finding `tls` gets the first end.

    Args:
        findings: of one subject.
        ends: by host, in seconds since the epoch.
        first_host: the host that the finding `tls` is about.
    """
    if not ends:
        return findings
    known = [replace(one, certificate_expires=min(ends.values())) if one.check == "tls" else one for one in findings]
    topics = [Topic(one.subject, one.check) for one in findings if one.check == "tls"][:1]
    others = [_judge_end(topic, host, end) for topic in topics for host, end in ends.items() if host != first_host]
    return known + [one for one in others if one.status != "ok"]


def failed_step(error: BrokerError) -> Literal["dns", "tls", "answer"]:
    """Return the check that an error of a request belongs to: the name, the connection, or the answer."""
    phase = error.phase if isinstance(error, ProviderUnavailable) else ""
    if isinstance(error, ProviderAddressRefused) or phase == "resolving":
        return "dns"
    return "tls" if isinstance(error, OutboundProxyFailed) or phase == "connecting" else "answer"


def no_answer(topic: Topic, url: str, error: BrokerError) -> Finding:
    """Return the finding that an address gave no answer, or none that can be read."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    got = printable(error.got)
    remedy = error.remedy
    match error:
        case OutboundProxyFailed():
            message = f"{host} cannot be reached through outbound_proxy: {sentence(error.got)}"
        case ProviderAddressRefused():
            message = f"{host} is on a private network ({got.partition(': ')[0]})."
        case ProviderCertificate():
            message = f"Not trusted: {sentence(error.got)}"
        case ProviderUnavailable(phase="resolving"):
            message = f"The name {host} cannot be resolved ({got.removesuffix(f': {host}')})."
            remedy = f"Compare its spelling. If it is right, ask this machine's name server: nslookup {host} shows it."
        case ProviderUnavailable(phase="connecting"):
            port = parts.port or (443 if parts.scheme == "https" else 80)
            message = f"No connection to {host}, port {port}: {sentence(error.got)}"
            remedy = (
                "Compare host and port. Open the firewall for them, or set outbound_proxy if there is one. A firewall "
                "that opens TLS connections can be the cause, too."
            )
        case ProviderUnavailable():
            message = f"No answer: {sentence(error.got)}"
        case _:
            message = f"The answer cannot be read: {sentence(error.got)}"
    return topic.failed(message, remedy, setting=error.setting if isinstance(error, ProviderUnavailable) else "")


def _check_name(topic: Topic, url: str, peer: Peer | None, *, proxied: bool) -> Finding:
    host = urlsplit(url).hostname or ""
    if proxied:
        return topic.unknown(f"Not looked up: outbound_proxy resolves {host}.")
    if _is_address(host):
        return topic.ok(f"{host} is an address: no name to resolve.")
    return topic.ok(f"{host} is at {peer.address}." if peer and peer.address else f"{host} has an address.")


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def check_certificate(topic: Topic, url: str, peer: Peer | None) -> Finding:
    """Return the finding about the certificate of a host that answered."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    if parts.scheme == "http":
        return topic.ok(f"{host} uses plain http: on loopback there is no TLS to check.")
    if peer is None or peer.certificate_expires is None:
        return topic.ok(f"The certificate of {host} is trusted.")
    return _judge_end(topic, host, peer.certificate_expires)


def _judge_end(topic: Topic, host: str, end: float) -> Finding:
    days = int((end - time.time()) // 86400)
    if days < CERTIFICATE_WARNING_DAYS:
        finding = topic.warning(
            f"The certificate of {host} expires in {days} days.",
            "Have it renewed there: sign-ins stop when it expires. If it renews itself, no action is needed.",
        )
    else:
        finding = topic.ok(f"The certificate of {host} is trusted, for {days} more days.")
    return replace(finding, certificate_expires=end)
