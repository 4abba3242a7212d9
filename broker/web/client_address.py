"""The browser's address behind trusted proxies, and the origins for which rejected codes are counted.

An origin is a browser's network, or all people behind a proxy that is not trusted.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from starlette.types import Scope

from broker.rejected_codes import Origin

MAX_HOPS = 100  # read, from the nearest on

_PORT = re.compile(r"\[(?P<v6>[^\]]*)\](?::\d+)?|(?P<v4>[^:]*):\d+")
_FORWARDING = (b"x-forwarded-for", b"forwarded", b"x-real-ip")
_REMEDY = (
    "If this peer is your proxy, add its address to trusted_proxies. If not, a stranger sent the header: you do not "
    "have to do anything."
)

Network = IPv4Network | IPv6Network
Address = IPv4Address | IPv6Address

_log = logging.getLogger("broker")


class ClientAddresses:
    """Tells browsers apart by their address, and warns once of a proxy that is not trusted."""

    def __init__(self, trusted_proxies: tuple[Network, ...]) -> None:
        self._trusted_proxies = trusted_proxies
        self._has_warned = False

    def address_of(self, scope: Scope) -> str:
        """Return the browser's address for the log; empty if there is none."""
        return find_client_address(_peer(scope), _forwarded_for(scope), self._trusted_proxies)

    def origins_of(self, scope: Scope, client: str) -> tuple[Origin, ...]:
        """Return the origins of a request, the widest first.

        An address from a trusted proxy is a browser's. So is the address of a public peer without a forwarding header.
        Any other peer may stand for many people. An address that such a peer claims adds a bound; the peer's own bound
        stays.

        Args:
            client: from `address_of`.
        """
        peer, browser = read_hop(_peer(scope)), read_hop(client)
        if browser is not None and browser != peer and not self._is_trusted(browser) and self._is_vouched_for(scope):
            return _origins_of(browser)
        is_forwarded = any(name in _FORWARDING for name, _ in scope["headers"])
        if peer is not None and peer.is_global and not is_forwarded and not self._is_trusted(peer):
            return _origins_of(peer)
        wide = Origin(_network(peer), shared=True)
        if not is_forwarded or (peer is not None and self._is_trusted(peer)):
            return (wide,)
        self._warn_once(wide.network)
        claimed = _claimed(scope)
        return (wide,) if claimed is None else (wide, Origin(_network(claimed), shared=False, claimed_by=wide.network))

    def _is_trusted(self, address: Address) -> bool:
        return _is_in(address, self._trusted_proxies)

    def _is_vouched_for(self, scope: Scope) -> bool:
        """Return whether trusted proxies named every hop up to the browser; else a stranger may have written it."""
        last = read_hop(find_client_address(_peer(scope), _forwarded_for(scope), self._trusted_proxies, unbroken=True))
        return last is not None and not self._is_trusted(last)

    def _warn_once(self, peer: str) -> None:
        if not self._has_warned:
            self._has_warned = True
            _log.warning("a proxy is not trusted", extra={"facts": {"peer": peer, "remedy": _REMEDY}})


def find_client_address(
    peer: str, forwarded: Iterable[str], trusted: Sequence[Network], *, unbroken: bool = False
) -> str:
    """Return the nearest address in the chain of hops that is not a trusted proxy's; empty if there is none.

    A hop that cannot be read ends the chain: the address that sent it is returned.

    Args:
        peer: of the connection.
        forwarded: the values of X-Forwarded-For, unverified.
        trusted: the networks of trusted proxies.
        unbroken: an empty or unknown hop ends the chain, too, because anybody may have written the hops before it. The
            log may show such an address; a bound must not use it, or a stranger could choose any.
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


def read_hop(unverified_hop: str) -> Address | None:
    """Return the address of a hop, with or without port, brackets, quotes or `for=` (RFC 7239, section 6).

    An IPv4 address written as IPv6 is returned as IPv4.
    """
    text = unverified_hop.strip().strip('"').strip()
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
    """Return whether a hop is empty, unknown or obfuscated (RFC 7239, sections 6.2 and 6.3)."""
    hop = hop.strip().strip('"').lower()
    return hop in ("", "unknown") or hop.startswith("_")


def _is_in(address: Address, networks: Sequence[Network]) -> bool:
    return any(address in network for network in networks)


def _peer(scope: Scope) -> str:
    peer: str = (scope.get("client") or ("",))[0]
    return peer


def _forwarded_for(scope: Scope) -> list[str]:
    return [value.decode("latin-1") for name, value in scope["headers"] if name == b"x-forwarded-for"]


def _origins_of(browser: Address) -> tuple[Origin, ...]:
    """Return the browser's network, and for IPv6 the /48 around it: one customer may have a whole /48."""
    own = Origin(_network(browser), shared=False)
    if isinstance(browser, IPv4Address):
        return (own,)
    return Origin(str(ip_network((browser.packed, 48), strict=False)), shared=True), own


def _claimed(scope: Scope) -> Address | None:
    """Return the last address in X-Forwarded-For, which a proxy appends."""
    values = _forwarded_for(scope)
    return read_hop(values[-1].rpartition(",")[2]) if values else None


def _network(address: Address | None) -> str:
    """Return the smallest network of one customer: an IPv4 address, or an IPv6 /64."""
    if isinstance(address, IPv6Address):
        return str(ip_network((address.packed, 64), strict=False))
    return str(address or "")
