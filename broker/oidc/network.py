"""The network below a request: public addresses, trusted certificates, and why a connection failed."""

from __future__ import annotations

import ipaddress
import os
import re
import socket
import ssl
from dataclasses import dataclass
from pathlib import Path

import certifi

from broker.text import printable

MAX_QUOTED = 60  # characters of a text from the server
MAX_GREETING = 24  # characters of an answer that is not HTTP
_GREETING = re.compile(r"SSH-|[0-9]{3}[ -]|<|\+OK|\* OK")

_CLOCK = "Check the clock of this machine first."
_FIREWALL = "A firewall or proxy that opens TLS connections shows certificates of its own authority."
_AUTHORITY = (
    "Put the certificate of the authority into trusted_ca_file: your own, or that of a firewall or proxy that opens "
    "TLS connections. If the authority is a public one, the server leaves out its intermediate certificate."
)


@dataclass(frozen=True, slots=True)
class CertificateFault:
    """The fault of a certificate, and its remedy.

    Args:
        setting: whose absence may be the cause; empty if there is none.
    """

    cause: str
    remedy: str
    setting: str = ""


_EXPIRED = CertificateFault(
    "expired",
    f"{_CLOCK} If the clock is right, ask the provider to renew the certificate or its authority. {_FIREWALL}",
)
_NOT_YET_VALID = CertificateFault("not yet valid", f"{_CLOCK} If it is right, ask the provider to correct theirs.")
_SELF_SIGNED = CertificateFault("self-signed", _AUTHORITY, "trusted_ca_file")
_UNKNOWN_AUTHORITY = CertificateFault("unknown authority", _AUTHORITY, "trusted_ca_file")
_WRONG_HOST = CertificateFault(
    "wrong host",
    "Compare the host's spelling. If it is right, the server shows the certificate of another host: have it corrected "
    f"there. {_FIREWALL}",
)
_TOO_WEAK = CertificateFault(
    "too weak",
    "OpenSSL does not accept this certificate: have it issued again with a longer key and SHA-256. If your own "
    "authority or a firewall that opens TLS connections issued it, renew that authority and update trusted_ca_file.",
    "trusted_ca_file",
)
_INVALID_AUTHORITY = CertificateFault(
    "invalid authority",
    "An intermediate certificate may not sign others: have it issued again with CA:TRUE and keyCertSign. If it is your "
    f"own, put the new one into trusted_ca_file. {_FIREWALL}",
    "trusted_ca_file",
)
_REFUSED = CertificateFault("refused", f"Have the certificate corrected at the provider. {_FIREWALL}")

# By OpenSSL's result for a certificate: X509_V_ERR_... in its x509_vfy.h.
_FAULTS = {
    9: _NOT_YET_VALID,
    10: _EXPIRED,
    18: _SELF_SIGNED,
    **dict.fromkeys((2, 19, 20, 21, 27, 28), _UNKNOWN_AUTHORITY),
    **dict.fromkeys((62, 63, 64), _WRONG_HOST),
    **dict.fromkeys((66, 67, 68), _TOO_WEAK),
    **dict.fromkeys((24, 25, 32, 79, *range(80, 95)), _INVALID_AUTHORITY),
}

_TLS_HINTS = {
    "WRONG_VERSION_NUMBER": "the port does not speak TLS",
    "PACKET_LENGTH_TOO_LONG": "the port does not speak TLS",
    "RECORD_LAYER_FAILURE": "the port does not speak TLS",
    "HTTP_REQUEST": "the port does not speak TLS",
    "UNEXPECTED_EOF_WHILE_READING": "connection closed",
    "TLSV13_ALERT_CERTIFICATE_REQUIRED": "the server wants a client certificate",
    "UNSUPPORTED_PROTOCOL": "the server offers nothing above TLS 1.1",
    "TLSV1_ALERT_PROTOCOL_VERSION": "the server does not accept TLS 1.2 and 1.3",
}


def fault_of(error: ssl.SSLCertVerificationError) -> CertificateFault:
    """Return what is wrong with a certificate that OpenSSL refused."""
    return _FAULTS.get(error.verify_code, _REFUSED)


def why_refused(error: ssl.SSLCertVerificationError, host: str) -> str:
    """Say what is wrong with a host's certificate, in the broker's words and in OpenSSL's."""
    message = error.verify_message.rstrip(".")
    return f"certificate of {host}: {fault_of(error).cause}: {message[: 2 * MAX_QUOTED]}"


def why_failed(error: BaseException, host: str) -> str:
    """Say why a connection to a host failed, or broke."""
    match error:
        case ssl.SSLCertVerificationError():
            return why_refused(error, host)
        case ssl.SSLError():
            return f"TLS with {host}: {_words_of_openssl(error)}"
        case socket.gaierror():
            return f"{error.strerror or 'no address'}: {host}"
        case TimeoutError() if not error.errno:
            return "no answer"
        case OSError():
            return _words_of_the_system(error)
    return "connection closed"


def why_not_http(reason: str, begin: bytes) -> str:
    """Say why an answer is not HTTP.

    Args:
        reason: the parser's.
        begin: the first bytes of the answer. They may be a part of a token, so only the greetings of other protocols
            and status lines are quoted.
    """
    quoted = begin.decode("latin-1")
    first_line = printable(re.split(r"[\r\n]", quoted)[0][:MAX_GREETING])
    if quoted.startswith(("\x15\x03", "\x16\x03")):
        return "TLS at an address with http"
    if quoted.startswith("HTTP/"):
        return f"invalid HTTP: {reason}: {first_line}"
    if _GREETING.match(quoted):
        return f"not HTTP: begins with {first_line}"
    return "not HTTP: " + ("begins with JSON" if quoted[:1] in ("{", "[") else "begins with other text")


def _words_of_openssl(error: ssl.SSLError) -> str:
    reason = getattr(error, "reason", None) or ""  # only OpenSSL's own errors have a reason
    words = reason.replace("_", " ").lower() or "broken off in the handshake"
    return f"{words} ({hint})" if (hint := _TLS_HINTS.get(reason)) else words


def _words_of_the_system(error: OSError) -> str:
    if error.errno and error.errno > 0:
        words = os.strerror(error.errno)
    elif isinstance(error, ConnectionError):
        words = "connection closed"
    else:
        words = error.strerror or "connection failed"
    # asyncio writes the address as Python does: Connect call failed ('192.0.2.1', 443)
    tried = re.findall(r"\('([0-9A-Fa-f.:%\w]+)', (\d+)", error.strerror or str(error))
    return f"{words} ({', '.join(f'{address} port {port}' for address, port in tried[:4])})" if tried else words


# Every public IPv6 address begins so (RFC 4291, section 2.4). Only the local network knows where others lead:
# IPv4-compatible and IPv4-translated ones, local NAT64, site-local ones.
_GLOBAL_UNICAST = ipaddress.ip_network("2000::/3")
_DOCUMENTATION = ipaddress.ip_network("3fff::/20")  # RFC 9637; older versions of Python take it for public

# A resolver reads such names as IPv4 addresses (127.1, 0x7f000001): no host name ends in a number
# (RFC 1123, section 2.1; https://url.spec.whatwg.org/#ends-in-a-number-checker).
_ENDS_IN_A_NUMBER = re.compile(r"(?:.*\.)?(?:[0-9]+|0x[0-9a-f]*)\.*", re.IGNORECASE | re.DOTALL)


def is_loopback(host: str) -> bool:
    """Tell whether a URL's host names this machine: localhost (RFC 6761, section 6.3), 127.0.0.0/8, ::1.

    An IPv4 address inside an IPv6 address does not count, in every Python version.
    """
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host == "localhost"
    return address.is_loopback and getattr(address, "ipv4_mapped", None) is None


def is_public_or_name(host: str) -> bool:
    """Tell whether a host is a name, or a public address in its usual spelling; neither is percent-encoded."""
    if "%" in host:
        return False
    try:
        return is_public_address(host)
    except ValueError:
        return _ENDS_IN_A_NUMBER.fullmatch(host) is None


def is_public_address(text: str) -> bool:
    """Tell whether an IP address, with or without a zone, is public, also inside the IPv6 forms that carry IPv4."""
    address = ipaddress.ip_address(text.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour or (address.teredo and address.teredo[1])
        if inner is None and address in ipaddress.ip_network("64:ff9b::/96"):
            inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if inner:
            return is_public_address(str(inner))
        if address not in _GLOBAL_UNICAST or address in _DOCUMENTATION:
            return False
    return address.is_global and not address.is_multicast


# TRUSTED_FIRST: a cross-signed root that expired does not break the chain to a trusted root.
# PARTIAL_CHAIN: an intermediate in trusted_ca_file is enough; many organisations have no other certificate.
# Not STRICT (RFC 5280 to the letter): it refuses the authorities of many TLS-inspecting firewalls and of Windows
# domains, whose basicConstraints are not critical. Python sets it from 3.13 on, so the same file would be accepted by
# one image and refused by the next.
VERIFY_FLAGS = ssl.VerifyFlags.VERIFY_X509_TRUSTED_FIRST | ssl.VerifyFlags.VERIFY_X509_PARTIAL_CHAIN


def tls_context(trusted_ca_file: Path | None) -> ssl.SSLContext:
    """Return the TLS context of outbound connections: the public authorities of certifi, and those of the admin.

    `ssl.create_default_context` is not used: its flags change with the version, and it obeys SSLKEYLOGFILE. Make one
    context for a process, because it reads a hundred certificates.

    Args:
        trusted_ca_file: further certificate authorities, PEM.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.verify_mode = ssl.CERT_REQUIRED
    context.check_hostname = True
    context.hostname_checks_common_name = True  # old private authorities issue certificates without subjectAltName
    context.verify_flags = VERIFY_FLAGS
    context.load_verify_locations(certifi.where())
    if trusted_ca_file is not None:
        context.load_verify_locations(trusted_ca_file)
    return context
