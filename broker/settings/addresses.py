"""Host names, origins, URLs and sockets: what may be written for them.

It owns their grammar. It opens no connection and resolves no name. No message repeats the value: an address can hold
a password.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from urllib.parse import SplitResult, unquote, urlsplit

from broker.errors import EmailMalformed
from broker.identity import LABEL, check_email
from broker.oidc.network import is_loopback
from broker.settings.invalid_value import InvalidValue

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_HOST_NAME = re.compile(rf"{LABEL}(?:\.{LABEL})*")
# Browsers read a last label like these as the end of an IPv4 address (WHATWG URL, "ends in a number").
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
_URL_CHARACTERS = re.compile(r"[!#-;=?-\[\]_a-z~]+", re.IGNORECASE)  # printable ASCII without " < > \ ^ ` { | }
_ENCODED = re.compile(r"(?:[A-Za-z0-9._~!$&'()*+,;=-]|%[0-9A-Fa-f]{2})+")  # RFC 3986, section 3.2.1, without a colon


@dataclass(frozen=True, slots=True)
class Listen:
    """Where a server listens: `host` without brackets, `port` from 1 to 65535."""

    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


def is_host_name(text: str) -> bool:
    """Say whether this is a lower-case DNS name in ASCII that no browser takes for a number."""
    return (
        len(text) <= 253
        and _HOST_NAME.fullmatch(text) is not None
        and _NUMBER.fullmatch(text.rpartition(".")[2]) is None
    )


def listen(text: str) -> Listen:
    """Read `host:port`, an IPv6 address in brackets.

    Raises:
        InvalidValue: it is no such pair.
    """
    host, colon, port = text.rpartition(":")
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    right_host = is_host_name(host) or (_ip(bare) is not None and (":" in bare) == (bare != host))
    if not (colon and right_host and re.fullmatch(r"[0-9]{1,5}", port) and 1 <= int(port) <= 65535):
        raise InvalidValue("must be host:port with a port from 1 to 65535, an IPv6 address in brackets")
    return Listen(bare, int(port))


def network(text: str) -> Network:
    """Read an address range such as `10.0.0.0/8`.

    Raises:
        InvalidValue: it is none, or bits are set behind its prefix.
    """
    try:
        return ipaddress.ip_network(text)
    except ValueError:
        raise InvalidValue("must be an address range (CIDR) without bits behind the prefix") from None


def email_domain(text: str) -> str:
    """Take the part behind the @ of addresses: lower-case ASCII with a dot, as in `acme.example`.

    Raises:
        InvalidValue: it is none.
    """
    if not is_host_name(text) or "." not in text:
        raise InvalidValue(
            "must be a mail domain in lower-case ASCII, without @ and wildcard (subdomains are not implied)"
        )
    return text


def redirect_host(text: str) -> str:
    """Take a plain host name.

    Raises:
        InvalidValue: it is none.
    """
    if "*" in text:
        raise InvalidValue("must be one host name: a wildcard would also cover hosts that carry other customers' pages")
    if not is_host_name(text):
        raise InvalidValue("must be a host name in lower case, without scheme, port and path")
    return text


def mailbox(text: str) -> str:
    """Take an e-mail address.

    Raises:
        InvalidValue: it does not look like one.
    """
    try:
        host = check_email(text).rpartition("@")[2]
    except EmailMalformed:
        host = ""
    if not is_host_name(host):
        raise InvalidValue("must be one plain e-mail address")
    return text


def origin(text: str) -> str:
    """Take scheme, host and port of a URL; one slash at the end is dropped.

    Raises:
        InvalidValue: there is more to it, or it is not https and not on loopback.
    """
    parts = _complete(text.removesuffix("/"))
    problems = _problems_of_form(parts, text, plain_host=True, query=True)
    if parts.path or "?" in text or "#" in text:
        problems.append("must be scheme and host alone, without path, query and fragment")
    if parts.scheme != "https" and not is_loopback(parts.hostname or ""):
        problems.append("must begin with https://: http is accepted on loopback only")
    _refuse(problems)
    return text.removesuffix("/")


def url(text: str, *, plain_host: bool = False, query: bool = False, loopback: bool = True) -> SplitResult:
    """Split an http or https URL in which every parser sees the same host.

    Args:
        text: the URL.
        plain_host: the host must be in lower case, and a default port left out, as browsers write it.
        query: query and fragment are allowed.
        loopback: http and loopback addresses are allowed, as they are while the broker itself is on loopback.

    Raises:
        InvalidValue: it is none, or holds what is not allowed; everything that is wrong with it is said at once.
    """
    parts = _complete(text)
    problems = _problems_of_form(parts, text, plain_host=plain_host, query=query)
    if not loopback and parts.scheme != "https":
        problems.append("must begin with https://: http is accepted only while public_url is on loopback")
    if not loopback and _reaches_loopback(parts.hostname or ""):
        problems.append("must not be on loopback, unless public_url is")
    _refuse(problems)
    return parts


def proxy(text: str) -> str:
    """Take the URL of a proxy: scheme, host and port, and perhaps a user name and a password, percent-encoded.

    Raises:
        InvalidValue: it is no such URL, or has a path.
    """
    scheme, _, rest = text.partition("://")
    before, at, place = rest.rpartition("@")
    parts = url(f"{scheme}://{place}" if at else text)
    if parts.path not in {"", "/"} or parts.port is None:
        raise InvalidValue("must be scheme, host and port, after the user name and password if there are any")
    user, _, password = before.partition(":")
    if at and not (_ENCODED.fullmatch(user) and _ENCODED.fullmatch(f"{password}x") and _is_sendable(user, password)):
        raise InvalidValue(
            "must have a user name, without a colon, and a password in which signs other than letters, digits and "
            "- . _ ~ are percent-encoded: %40 for @"
        )
    return text


def _is_sendable(user: str, password: str) -> bool:
    """Say whether Basic authentication can carry them (RFC 7617, section 2)."""
    name, secret = unquote(user, errors="replace"), unquote(password, errors="replace")
    return ":" not in name and (name + secret).isprintable() and "\ufffd" not in name + secret


def _complete(text: str) -> SplitResult:
    parts = _split(text)
    if parts is None or parts.scheme not in {"http", "https"} or not parts.hostname or not _is_host(parts.hostname):
        raise InvalidValue("must be a complete URL such as the example, in plain ASCII")
    return parts


def _problems_of_form(parts: SplitResult, text: str, *, plain_host: bool, query: bool) -> list[str]:
    problems = []
    if "@" in parts.netloc:
        problems.append("must not hold a user name or password")
    if not query and ("?" in text or "#" in text):
        problems.append("must have neither query nor fragment")
    if plain_host and (parts.netloc != parts.netloc.lower() or not text.startswith(parts.scheme)):
        problems.append("must have scheme and host in lower case")
    if plain_host and (parts.netloc.endswith(":") or parts.port == {"http": 80, "https": 443}[parts.scheme]):
        problems.append("must leave the default port out")
    return problems


def _refuse(problems: list[str]) -> None:
    if problems:
        raise InvalidValue("; ".join(problems))


def _reaches_loopback(host: str) -> bool:
    # Wider than is_loopback, which grants: 0.0.0.0, ::ffff:127.0.0.1 and x.localhost end on loopback, too.
    address = _ip(host)
    if address is None:
        return host == "localhost" or host.endswith(".localhost")
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return any(each.is_loopback or each.is_unspecified for each in (address, mapped) if each)


def _split(text: str) -> SplitResult | None:
    if not _URL_CHARACTERS.fullmatch(text):
        return None
    try:
        parts = urlsplit(text)
        return None if parts.port == 0 else parts
    except ValueError:
        return None


def _is_host(host: str) -> bool:
    return is_host_name(host) or (_ip(host) is not None and "%" not in host)


def _ip(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None
