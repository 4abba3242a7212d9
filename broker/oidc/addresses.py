"""Which addresses are on the public network."""

from __future__ import annotations

import ipaddress

# IPv4-compatible (RFC 4291, section 2.5.5.1) and local NAT64 (RFC 8215): only the local network knows where they lead.
_NEVER_PUBLIC = (ipaddress.ip_network("::/96"), ipaddress.ip_network("64:ff9b:1::/48"))


def is_public_or_name(host: str) -> bool:
    """Whether a host is a name, or an address on the public network."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return True
    return is_public_address(host)


def is_public_address(text: str) -> bool:
    """Whether an IP address is on the public network, looking into the IPv6 forms that carry an IPv4 address.

    Args:
        text: the address, with or without a zone.
    """
    address = ipaddress.ip_address(text.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address):
        if any(address in network for network in _NEVER_PUBLIC):
            return False
        inner = address.ipv4_mapped or address.sixtofour or (address.teredo and address.teredo[1])
        if inner is None and address in ipaddress.ip_network("64:ff9b::/96"):
            inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if inner:
            return is_public_address(str(inner))
    return address.is_global and not address.is_multicast
