"""Values that leave us signed and come back: how itsdangerous is used, in one place.

SHA-256, a key derived by HMAC, and a salt per purpose, so that what was sealed for one purpose opens for no other.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache

from itsdangerous import URLSafeSerializer


@lru_cache(maxsize=16)
def sealer(key: str, *, purpose: bytes) -> URLSafeSerializer:
    """Return what seals with a key (`dumps`) and opens what it sealed (`loads`, which raises `BadData`).

    Args:
        key: one of the broker's own.
        purpose: no two kinds of sealed values share one.
    """
    return URLSafeSerializer(
        key, salt=purpose, signer_kwargs={"key_derivation": "hmac", "digest_method": hashlib.sha256}
    )
