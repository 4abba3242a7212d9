"""Tells the origins of a callback, for which rejected codes are counted.

An origin is a browser's network, or all people behind a proxy that is not trusted.
"""

from __future__ import annotations

import logging
from ipaddress import IPv4Address, IPv6Address, ip_network

from starlette.types import Scope

from broker.rejected_codes import Origin
from broker.web.client_address import Address, Network, find_client_address, forwarded_for, is_in, read_hop

_FORWARDING = (b"x-forwarded-for", b"forwarded", b"x-real-ip")
_REMEDY = (
    "If this peer is your proxy, add its address to trusted_proxies. If not, a stranger sent the header: you do not "
    "have to do anything."
)

_log = logging.getLogger("broker")


class Origins:
    """Tells the origin of a callback, and warns once of a proxy that is not trusted.

    Args:
        trusted_proxies: the networks of proxies that may name the browser's address.
    """

    def __init__(self, trusted_proxies: tuple[Network, ...]) -> None:
        self._trusted_proxies = trusted_proxies
        self._has_warned = False

    def of(self, scope: Scope, client: str) -> tuple[Origin, ...]:
        """Return the origins of a request, the widest first.

        An address from a trusted proxy is a browser's. So is the address of a public peer without a forwarding header.
        Any other peer may stand for many people. An address that it claims adds a bound: the peer's own bound stays.

        Args:
            scope: of the request.
            client: the browser's address as far as it is known, from `Web.client_address`.
        """
        peer = read_hop((scope.get("client") or ("",))[0])
        browser = read_hop(client)
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
        return is_in(address, self._trusted_proxies)

    def _is_vouched_for(self, scope: Scope) -> bool:
        """Tell whether trusted proxies named every hop up to the browser; else a stranger may have written it."""
        peer = (scope.get("client") or ("",))[0]
        last = read_hop(find_client_address(peer, forwarded_for(scope), self._trusted_proxies, unbroken=True))
        return last is not None and not self._is_trusted(last)

    def _warn_once(self, peer: str) -> None:
        if not self._has_warned:
            self._has_warned = True
            _log.warning("a proxy is not trusted", extra={"facts": {"peer": peer, "remedy": _REMEDY}})


def _origins_of(browser: Address) -> tuple[Origin, ...]:
    """Return the browser's network, and for IPv6 the /48 around it: one customer may have a whole /48."""
    one = Origin(_network(browser), shared=False)
    if isinstance(browser, IPv4Address):
        return (one,)
    return Origin(str(ip_network((browser.packed, 48), strict=False)), shared=True), one


def _claimed(scope: Scope) -> Address | None:
    """Return the last address in X-Forwarded-For, which a proxy appends."""
    values = forwarded_for(scope)
    return read_hop(values[-1].rpartition(",")[2]) if values else None


def _network(address: Address | None) -> str:
    """Return the smallest network of one customer: an IPv4 address, or an IPv6 /64."""
    if isinstance(address, IPv6Address):
        return str(ip_network((address.packed, 64), strict=False))
    return str(address or "")
