"""Which addresses are on the public network."""

from __future__ import annotations

import ipaddress
import re

# IPv4-compatible (RFC 4291, section 2.5.5.1) and local NAT64 (RFC 8215): only the local network knows where they lead.
_NEVER_PUBLIC = (ipaddress.ip_network("::/96"), ipaddress.ip_network("64:ff9b:1::/48"))


# What a resolver takes for an IPv4 address in another spelling, such as 127.1 or 0x7f000001: no name ends in a number
# (RFC 1123, section 2.1; https://url.spec.whatwg.org/#ends-in-a-number-checker).
_ENDS_IN_A_NUMBER = re.compile(r"(?:.*\.)?(?:[0-9]+|0x[0-9a-f]*)\.?", re.IGNORECASE | re.DOTALL)


def is_loopback(host: str) -> bool:
    """Tell whether a URL's host is this machine by its very name: localhost (RFC 6761, section 6.3), 127.0.0.0/8, ::1.

    An IPv4 address inside an IPv6 address does not count, whatever the Python version says.
    """
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host == "localhost"
    return address.is_loopback and getattr(address, "ipv4_mapped", None) is None


def is_public_or_name(host: str) -> bool:
    """Whether a host is a name, or an address on the public network in its one usual spelling."""
    try:
        return is_public_address(host)
    except ValueError:
        return _ENDS_IN_A_NUMBER.fullmatch(host) is None


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
