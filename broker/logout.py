"""Signing out at the provider (OpenID Connect RP-Initiated Logout 1.0), and what a browser keeps for it.

The provider needs an ID token or its own hint to know whom to sign out. Both name a person, so a cookie keeps them
encrypted, without the parts that are too large. The server stores nothing.
"""

from __future__ import annotations

import base64
import hmac
import json
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from urllib.parse import urlencode

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from broker.signing import CLOCK_LEEWAY

COOKIE_NAME = "signed_in"
MAX_COOKIE_CHARACTERS = 1400  # with the cookies of sign-ins under way, a request's cookies stay under 4 KB
LIFETIME = 43_200  # seconds: a working day; later, the person signs out at the provider directly


@dataclass(frozen=True, slots=True)
class LogoutHint:
    """Who is signed in at which provider.

    Args:
        id_token: for `id_token_hint`; empty if it is too large for the cookie.
        logout_hint: for `logout_hint`; empty if the provider sent none, or it is too large for the cookie.
    """

    provider: str
    id_token: str = field(repr=False)
    logout_hint: str = field(repr=False)


def encrypt_logout_hint(hint: LogoutHint, *, now: float, secret_keys: Sequence[str]) -> str:
    """Return the cookie's value, without the ID token if it is too large, then also without the provider's hint.

    Args:
        now: seconds since the epoch.
        secret_keys: newest first; the first encrypts.
    """
    value = _encrypt(hint, now, secret_keys)
    for too_large in ("id_token", "logout_hint"):
        if len(value) > MAX_COOKIE_CHARACTERS:
            hint = replace(hint, **{too_large: ""})
            value = _encrypt(hint, now, secret_keys)
    return value


def decrypt_logout_hint(cookie_value: str, *, now: float, secret_keys: Sequence[str]) -> LogoutHint | None:
    """Return the hint in an unverified cookie; None if the broker did not encrypt the cookie, or it is too old.

    Args:
        now: seconds since the epoch.
        secret_keys: any of them may have encrypted it.
    """
    try:
        # Fernet checks the age by the machine's clock, not by `now`: `signed_at` is checked below.
        packed = _fernet(tuple(secret_keys)).decrypt(cookie_value + "=" * (-len(cookie_value) % 4))
        signed_at, provider, id_token, logout_hint = json.loads(zlib.decompress(packed))
    except (InvalidToken, zlib.error, ValueError):
        return None
    if not -CLOCK_LEEWAY <= now - signed_at <= LIFETIME:
        return None
    return LogoutHint(provider, id_token, logout_hint)


def build_end_session_url(
    end_session_endpoint: str,
    *,
    client_id: str,
    post_logout_redirect_uri: str,
    state: str,
    id_token_hint: str,
    logout_hint: str,
) -> str:
    """Return the address where the browser signs out at the provider (section 2).

    Args:
        client_id: must be the audience of the ID token.
        id_token_hint: empty if there is none.
        logout_hint: empty if there is none.
    """
    parameters = {
        "client_id": client_id,
        "post_logout_redirect_uri": post_logout_redirect_uri,
        "state": state,
        "id_token_hint": id_token_hint,
        "logout_hint": logout_hint,
    }
    query = urlencode({name: value for name, value in parameters.items() if value})
    return f"{end_session_endpoint}{'&' if '?' in end_session_endpoint else '?'}{query}"


def _encrypt(hint: LogoutHint, now: float, secret_keys: Sequence[str]) -> str:
    content = json.dumps([int(now), hint.provider, hint.id_token, hint.logout_hint])
    return _fernet(tuple(secret_keys)).encrypt(zlib.compress(content.encode(), 9)).decode().rstrip("=")


@lru_cache(maxsize=4)
def _fernet(secret_keys: tuple[str, ...]) -> MultiFernet:
    """Return the cipher: the first key encrypts, all keys decrypt. A label separates it from other uses of the keys."""
    return MultiFernet(
        [Fernet(base64.urlsafe_b64encode(hmac.digest(key.encode(), b"remembrance", "sha256"))) for key in secret_keys]
    )
