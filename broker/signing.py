"""Values that leave us signed and come back: how itsdangerous is used, in one place.

SHA-256, a key derived by HMAC, and a salt per purpose, so that what was signed for one purpose opens for no other.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from itsdangerous import BadData, URLSafeSerializer

from broker import base64url

CLOCK_LEEWAY = 60  # seconds that the clocks of two machines may differ: two replicas, or the provider and the broker


def sign_value(value: Any, *, purpose: bytes, key: str) -> str:
    """Return a value signed, as text that needs no escaping in an address; anyone can read it.

    Args:
        value: JSON can hold it.
        purpose: no two kinds of signed values share one.
        key: one of the broker's own.
    """
    return str(_serializer(key, purpose).dumps(value))


def unsign_value(text: str, *, purpose: bytes, secret_keys: Sequence[str]) -> tuple[Any, str] | None:
    """Return a value of ours and the key that signed it; None if the text is not byte for byte what we signed.

    Args:
        text: whatever came back.
        purpose: what it was signed for.
        secret_keys: any of them may have signed it.
    """
    signature = text.rpartition(".")[2]
    for key in secret_keys:
        try:
            value = _serializer(key, purpose).loads(text)
            # base64 has several spellings of the same bytes; only ours is accepted.
            return (value, key) if base64url.encode(base64url.decode(signature)) == signature else None
        except (BadData, ValueError, RecursionError):
            continue
    return None


@lru_cache(maxsize=64)
def _serializer(key: str, purpose: bytes) -> URLSafeSerializer:
    return URLSafeSerializer(
        key, salt=purpose, signer_kwargs={"key_derivation": "hmac", "digest_method": hashlib.sha256}
    )
