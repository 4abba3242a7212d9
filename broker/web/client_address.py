"""The browser's address, by the word of trusted proxies."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

MAX_HOPS = 100  # looked at, from the nearest on

_PORT = re.compile(r"\[(?P<v6>[^\]]*)\](?::\d+)?|(?P<v4>[^:]*):\d+")

Network = IPv4Network | IPv6Network
Address = IPv4Address | IPv6Address

# RFC 1918, RFC 6598 (pods of some clouds), loopback, link-local, RFC 4193. Not `is_private`: that has more.
_NEAR: tuple[Network, ...] = tuple(
    ip_network(network)
    for network in (
        *("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16"),
        *("::1/128", "fe80::/10", "fc00::/7"),
    )
)


@dataclass(frozen=True, slots=True)
class ClientAddress:
    """Where a request comes from.

    Args:
        text: an IP address, IPv4 wherever it can be written so; empty if there is none.
        may_be_a_proxy: many people may share it: it is a trusted proxy's own, or one of a private network or this
            machine that sent `X-Forwarded-For` without being trusted. Bounds per address do not fit it.
    """

    text: str
    may_be_a_proxy: bool


def find_client_address(peer: str, forwarded: Iterable[str], trusted: Sequence[Network]) -> ClientAddress:
    """Return the last address in the chain of hops that no trusted proxy has.

    A hop that cannot be read ends the chain: the address that named it is the last one to believe.

    Args:
        peer: of the connection.
        forwarded: each value of X-Forwarded-For, in the order of the headers; unverified.
        trusted: whose word is believed.
    """
    address = _read_hop(peer)
    hops = [hop for value in forwarded for hop in value.split(",")]
    unread = len(hops)
    while address is not None and unread and len(hops) - unread < MAX_HOPS and _is_in(address, trusted):
        unread -= 1
        hop = _read_hop(hops[unread])
        if hop is None and not _says_nothing(hops[unread]):
            break
        address = hop or address
    if address is None:
        return ClientAddress("", may_be_a_proxy=True)
    return ClientAddress(str(address), _is_in(address, trusted) or (unread > 0 and _is_in(address, _NEAR)))


def _read_hop(text: str) -> Address | None:
    """Read an address with or without a port, brackets, quotes or `for=` (RFC 7239, section 6)."""
    text = text.strip().strip('"').strip()
    if text[:4].lower() == "for=":
        text = text[4:].strip().strip('"')
    with_port = _PORT.fullmatch(text)
    if with_port:
        text = with_port["v6"] if with_port["v6"] is not None else with_port["v4"]
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def _says_nothing(hop: str) -> bool:
    """Tell whether a proxy says that it does not know, or does not tell (RFC 7239, sections 6.2 and 6.3)."""
    hop = hop.strip().strip('"').lower()
    return hop in ("", "unknown") or hop.startswith("_")


def _is_in(address: Address, networks: Sequence[Network]) -> bool:
    return any(address in network for network in networks)
