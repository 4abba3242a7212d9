"""Finds the browser's address behind trusted proxies."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

from starlette.types import Scope

MAX_HOPS = 100  # looked at, from the nearest on

_PORT = re.compile(r"\[(?P<v6>[^\]]*)\](?::\d+)?|(?P<v4>[^:]*):\d+")

Network = IPv4Network | IPv6Network
Address = IPv4Address | IPv6Address


def find_client_address(
    peer: str, forwarded: Iterable[str], trusted: Sequence[Network], *, unbroken: bool = False
) -> str:
    """Return the nearest address in the chain of hops that is not a trusted proxy's; empty if there is none.

    A hop that cannot be read ends the chain: the address that sent it is returned.

    Args:
        peer: of the connection.
        forwarded: the values of X-Forwarded-For, from `forwarded_for`.
        trusted: the networks of trusted proxies.
        unbroken: a hop that says nothing ends the chain, too: it is not known who wrote the hops in front of it. A log
            may show such an address; a bound must not, or a stranger could choose any.
    """
    address = read_hop(peer)
    hops = [hop for value in forwarded for hop in value.split(",")]
    unread = len(hops)
    while address is not None and unread and len(hops) - unread < MAX_HOPS and is_in(address, trusted):
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
    """Tell whether a hop is empty, unknown or obfuscated (RFC 7239, sections 6.2 and 6.3)."""
    hop = hop.strip().strip('"').lower()
    return hop in ("", "unknown") or hop.startswith("_")


def is_in(address: Address, networks: Sequence[Network]) -> bool:
    """Tell whether one of the networks has the address."""
    return any(address in network for network in networks)


def forwarded_for(scope: Scope) -> list[str]:
    """Return each value of X-Forwarded-For, in the order of the headers; unverified.

    Args:
        scope: of the request.
    """
    return [value.decode("latin-1") for name, value in scope["headers"] if name == b"x-forwarded-for"]
