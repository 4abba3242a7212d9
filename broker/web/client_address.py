"""The browser's address, by the word of trusted proxies."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

MAX_HOPS = 100  # looked at, from the nearest on

_PORT = re.compile(r"\[(?P<v6>[^\]]*)\](?::\d+)?|(?P<v4>[^:]*):\d+")

Network = IPv4Network | IPv6Network
Address = IPv4Address | IPv6Address


def find_client_address(
    peer: str, forwarded: Iterable[str], trusted: Sequence[Network], *, unbroken: bool = False
) -> str:
    """Return the last address in the chain of hops that no trusted proxy has; empty if there is none.

    A hop that cannot be read ends the chain: the address that named it is the last one to believe.

    Args:
        peer: of the connection.
        forwarded: each value of X-Forwarded-For, in the order of the headers; unverified.
        trusted: whose word is believed.
        unbroken: a hop that says nothing ends the chain, too: who wrote what stands before it is not known. Good
            enough for a log, that is a way for a stranger to have any address.
    """
    address = read_hop(peer)
    hops = [hop for value in forwarded for hop in value.split(",")]
    unread = len(hops)
    while address is not None and unread and len(hops) - unread < MAX_HOPS and _is_in(address, trusted):
        unread -= 1
        hop = read_hop(hops[unread])
        if hop is None and (unbroken or not _says_nothing(hops[unread])):
            break
        address = hop or address
    return "" if address is None else str(address)


def read_hop(text: str) -> Address | None:
    """Return the address of a hop, with or without port, brackets, quotes or `for=` (RFC 7239, section 6).

    An IPv4 address that is written as IPv6 is returned as IPv4.

    Args:
        text: unverified.
    """
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
