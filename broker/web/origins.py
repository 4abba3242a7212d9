"""By whom rejected codes are counted: one browser's network, or everybody behind a proxy that is not believed."""

from __future__ import annotations

import logging
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network

from starlette.types import Scope

from broker.rejected_codes import Origin
from broker.web.client_address import find_client_address, read_hop

_FORWARDING = (b"x-forwarded-for", b"forwarded", b"x-real-ip")
_REMEDY = (
    "If this peer is the proxy in front, name it in trusted_proxies. Otherwise a stranger sent the header: nothing."
)

_log = logging.getLogger("broker")


class Origins:
    """Tells the origin of a callback, and warns once of a proxy that is not trusted.

    Args:
        trusted_proxies: whose word about the browser's address is believed.
    """

    def __init__(self, trusted_proxies: tuple[IPv4Network | IPv6Network, ...]) -> None:
        self._trusted_proxies = trusted_proxies
        self._has_warned = False

    def of(self, scope: Scope, client: str) -> tuple[Origin, ...]:
        """Return the origins of a request, the widest first.

        An address that a trusted proxy names is a browser's. The peer's own address is one if it is public and says
        nothing of other addresses. Every other peer may stand for many people; the address that it claims can only
        narrow what a request may have, for the peer's own bound applies as well.

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

    def _is_trusted(self, address: IPv4Address | IPv6Address) -> bool:
        return any(address in network for network in self._trusted_proxies)

    def _is_vouched_for(self, scope: Scope) -> bool:
        """Tell whether trusted proxies named every hop up to the browser; else a stranger may have written it."""
        peer = (scope.get("client") or ("",))[0]
        last = read_hop(find_client_address(peer, _forwarded(scope), self._trusted_proxies, unbroken=True))
        return last is not None and not self._is_trusted(last)

    def _warn_once(self, peer: str) -> None:
        if not self._has_warned:
            self._has_warned = True
            _log.warning("a proxy is not trusted", extra={"facts": {"peer": peer, "remedy": _REMEDY}})


def _origins_of(browser: IPv4Address | IPv6Address) -> tuple[Origin, ...]:
    """Return the network of one browser; for IPv6 the /48 around it, too, for one customer may have all of its /64."""
    one = Origin(_network(browser), shared=False)
    if isinstance(browser, IPv4Address):
        return (one,)
    return Origin(str(ip_network((browser.packed, 48), strict=False)), shared=True), one


def _claimed(scope: Scope) -> IPv4Address | IPv6Address | None:
    """Return the last address in X-Forwarded-For, which a proxy appends."""
    values = _forwarded(scope)
    return read_hop(values[-1].rpartition(",")[2]) if values else None


def _forwarded(scope: Scope) -> list[str]:
    return [value.decode("latin-1") for name, value in scope["headers"] if name == b"x-forwarded-for"]


def _network(address: IPv4Address | IPv6Address | None) -> str:
    """Return what one customer of a network gets at least: an IPv4 address, an IPv6 /64."""
    if isinstance(address, IPv6Address):
        return str(ip_network((address.packed, 64), strict=False))
    return str(address or "")
