"""What a browser remembers of a completed sign-in, so that the person can be signed out at the provider too.

Nothing is stored on the server, and providers want to be told whom to sign out: an ID token as a hint (OpenID Connect
RP-Initiated Logout, section 2). It names a person, so it travels encrypted, in one cookie, and only if it is small.
"""

from __future__ import annotations

import base64
import hmac
import json
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from broker.signing import CLOCK_LEEWAY

COOKIE_NAME = "signed_in"
MAX_COOKIE_CHARACTERS = 1400  # with the cookies of sign-ins under way, a request's cookies stay under 4 KB
LIFETIME = 43_200  # seconds: a working day; later, the person signs out at the provider by hand


@dataclass(frozen=True, slots=True)
class Remembrance:
    """Whom to sign out, and where.

    Args:
        provider: id of the identity provider.
        id_token: for `id_token_hint`; empty if it is too large to carry.
        logout_hint: for `logout_hint`; empty if the provider gave none, or it is too large to carry.
    """

    provider: str
    id_token: str = field(repr=False)
    logout_hint: str = field(repr=False)


def encrypt_remembrance(remembrance: Remembrance, *, now: float, secret_keys: Sequence[str]) -> str:
    """Return the cookie's value; without the ID token, then without the hint, if that would make it too large.

    Args:
        remembrance: of the sign-in just completed.
        now: seconds since the epoch.
        secret_keys: newest first; the first encrypts.
    """
    value = _encrypt(remembrance, now, secret_keys)
    for too_large in ("id_token", "logout_hint"):
        if len(value) > MAX_COOKIE_CHARACTERS:
            remembrance = replace(remembrance, **{too_large: ""})
            value = _encrypt(remembrance, now, secret_keys)
    return value


def decrypt_remembrance(cookie_value: str, *, now: float, secret_keys: Sequence[str]) -> Remembrance | None:
    """Return what a cookie of ours remembers; None if it is not ours, or too old.

    Args:
        cookie_value: from the browser.
        now: seconds since the epoch.
        secret_keys: any of them may have encrypted it.
    """
    try:
        # Not Fernet's own check of the age: it takes its time from the machine, not from our clock.
        packed = _box(tuple(secret_keys)).decrypt(cookie_value + "=" * (-len(cookie_value) % 4))
        signed_at, provider, id_token, logout_hint = json.loads(zlib.decompress(packed))
    except (InvalidToken, zlib.error, ValueError):
        return None
    if not -CLOCK_LEEWAY <= now - signed_at <= LIFETIME:
        return None
    return Remembrance(provider, id_token, logout_hint)


def _encrypt(remembrance: Remembrance, now: float, secret_keys: Sequence[str]) -> str:
    plain = json.dumps([int(now), remembrance.provider, remembrance.id_token, remembrance.logout_hint])
    return _box(tuple(secret_keys)).encrypt(zlib.compress(plain.encode(), 9)).decode().rstrip("=")


@lru_cache(maxsize=4)
def _box(secret_keys: tuple[str, ...]) -> MultiFernet:
    """The first key encrypts, all decrypt; each is derived with a label of its own."""
    return MultiFernet(
        [Fernet(base64.urlsafe_b64encode(hmac.digest(key.encode(), b"remembrance", "sha256"))) for key in secret_keys]
    )
