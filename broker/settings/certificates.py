"""What a file of certificate authorities must be like: certificates in PEM form that OpenSSL can read, and no key."""

from __future__ import annotations

import re
import ssl
from pathlib import Path

from broker.settings.invalid_value import InvalidValue

_BLOCK = re.compile(rb"-----BEGIN (?:TRUSTED |X509 )?CERTIFICATE-----.*?(?=-----BEGIN |\Z)", re.DOTALL)
_LARGEST = 4 * 1024 * 1024  # bytes; the web's own authorities take a twentieth of it


def check_authorities(file: Path) -> None:
    """Check a file of certificate authorities as OpenSSL will read it.

    Raises:
        InvalidValue: there is no certificate in it, or one that cannot be read; the message says which.
        OSError, ValueError: the file cannot be read.
    """
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cafile=file)
    except ssl.SSLError:
        raise InvalidValue(f"names a file {_fault_of(file)}") from None


def _fault_of(file: Path) -> str:
    with file.open("rb") as opened:
        raw = opened.read(_LARGEST)
    blocks = _BLOCK.findall(raw)
    for number, block in enumerate(blocks, 1):
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=block.decode("ascii", "replace"))
        except (ssl.SSLError, ValueError):
            return f"whose certificate number {number} of {len(blocks)} cannot be read: it is cut short or altered"
    if b"PRIVATE KEY-----" in raw:
        return "with a private key in it: only certificates belong there"
    if raw.startswith(b"\x30\x82"):
        return "without certificates in PEM form: this one is binary (DER), so convert it with openssl x509 -inform der"
    return "without certificates in PEM form"
