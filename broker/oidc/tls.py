"""The TLS context of outbound connections: trusted authorities, and flags that do not depend on the Python version."""

from __future__ import annotations

import ssl
from pathlib import Path

import certifi

# TRUSTED_FIRST: a cross-signed root that expired does not break the chain to the one at hand.
# PARTIAL_CHAIN: an intermediate in trusted_ca_file is enough; many organisations have no other certificate.
# Not STRICT (RFC 5280 to the letter): it refuses the authorities of many TLS-inspecting firewalls and of Windows
# domains, whose basicConstraints are not critical. Python sets it from 3.13 on, so the same file would be accepted by
# one image and refused by the next.
VERIFY_FLAGS = ssl.VerifyFlags.VERIFY_X509_TRUSTED_FIRST | ssl.VerifyFlags.VERIFY_X509_PARTIAL_CHAIN


def tls_context(trusted_ca_file: Path | None) -> ssl.SSLContext:
    """Return the TLS context of outbound connections: the authorities of the web, from certifi, and the admin's.

    `ssl.create_default_context` is not used: its flags change with the version, and it obeys SSLKEYLOGFILE. Make one
    context for a process: it reads a hundred certificates.

    Args:
        trusted_ca_file: further certificate authorities, PEM.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.verify_mode = ssl.CERT_REQUIRED
    context.check_hostname = True
    context.hostname_checks_common_name = True  # where there is no subjectAltName, as old authorities in firms have it
    context.verify_flags = VERIFY_FLAGS
    context.load_verify_locations(certifi.where())
    if trusted_ca_file is not None:
        context.load_verify_locations(trusted_ca_file)
    return context
