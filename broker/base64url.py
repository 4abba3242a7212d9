"""base64url without padding (RFC 4648, section 5; RFC 7515, section 2), read strictly."""

from __future__ import annotations

import base64


def encode(data: bytes) -> str:
    """Return bytes as base64url.

    Args:
        data: any bytes.
    """
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def decode(text: str) -> bytes:
    """Return the bytes of base64url.

    Args:
        text: without padding.

    Raises:
        ValueError: a character that does not belong there, or a length that cannot be.
    """
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
