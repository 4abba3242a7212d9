"""Signed values that travel through the browser, base64url, and the signed link that opens the setup page.

itsdangerous signs with SHA-256, a key derived by HMAC, and a salt per purpose: a value signed for one purpose is
invalid for every other. Signed values are not encrypted.
"""

from __future__ import annotations

import hmac
import json
import zlib
from binascii import a2b_base64, b2a_base64
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from itsdangerous import BadSignature, Signer
from itsdangerous.signer import SigningAlgorithm

from broker.errors import SetupLinkRefused

CLOCK_LEEWAY = 60  # seconds that the clocks of two machines may differ: of two replicas, or provider and broker
MAX_HOURS = 168  # a week; of a setup link

_SETUP_LINK = b"broker setup link 1"
_TO_URL = bytes.maketrans(b"+/", b"-_")
_FROM_URL = bytes.maketrans(b"-_+/", b"+/!!")  # `!` is in no alphabet
_encode_json = json.JSONEncoder(separators=(",", ":")).encode


def encode_base64url(data: bytes) -> str:
    """Return base64url without padding (RFC 4648, section 5; RFC 7515, section 2)."""
    return b2a_base64(data, newline=False).rstrip(b"=").translate(_TO_URL).decode()


def decode_base64url(text: str) -> bytes:
    """Return the bytes of base64url without padding.

    Raises:
        ValueError: a character outside the alphabet, or an impossible length.
    """
    standard = text.encode("ascii").translate(_FROM_URL)
    return a2b_base64(standard + b"=" * (-len(standard) % 4), strict_mode=True)


def sign_value(value: Any, *, purpose: bytes, key: str, compresses: bool = False) -> str:
    """Return a signed value, as text that needs no escaping in an address; anybody can read it.

    Args:
        value: must be serializable as JSON.
        purpose: each kind of signed values has its own.
        compresses: for a shorter text; it takes longer than the signature.
    """
    content = _encode_json(value).encode()
    payload = f".{encode_base64url(zlib.compress(content))}" if compresses else encode_base64url(content)
    return _signer(key, purpose).sign(payload).decode()


def unsign_value(unverified_text: str, *, purpose: bytes, secret_keys: Sequence[str]) -> tuple[Any, str] | None:
    """Return a signed value and the key that signed it; None if the broker did not sign the text, byte for byte.

    Args:
        secret_keys: any of them may have signed it.
    """
    signature = unverified_text.rpartition(".")[2]
    for key in secret_keys:
        try:
            payload = _signer(key, purpose).unsign(unverified_text).decode()
            # base64 has several spellings of the same bytes; only the canonical spelling is accepted.
            if encode_base64url(decode_base64url(signature)) != signature:
                return None
            content = decode_base64url(payload.removeprefix("."))
            return json.loads(zlib.decompress(content) if payload.startswith(".") else content), key
        except (BadSignature, ValueError, RecursionError, zlib.error):
            continue
    return None


class _HmacSha256(SigningAlgorithm):
    """HMAC-SHA-256 in one call of OpenSSL; the library's own makes an object first."""

    def get_signature(self, key: bytes, value: bytes) -> bytes:
        """Return the signature of a value."""
        return hmac.digest(key, value, "sha256")


@lru_cache(maxsize=64)
def _signer(key: str, purpose: bytes) -> Signer:
    derived = hmac.digest(key.encode(), purpose, "sha256")  # the library would derive it for each signature
    return Signer(derived, key_derivation="none", algorithm=_HmacSha256())


@dataclass(frozen=True, slots=True)
class SetupLink:
    """A valid link to the setup page: it opens the page for anybody.

    Args:
        token: the value of the parameter `link`.
        expires: seconds since the epoch.
    """

    token: str = field(repr=False)
    expires: int


def make_link(*, public_url: str, hours: int, now: float, secret_keys: Sequence[str]) -> SetupLink:
    """Return a new setup link.

    Args:
        public_url: the link is valid only there, so that another broker with the same keys refuses it.
        hours: from 1 to `MAX_HOURS`.
        now: seconds since the epoch.
        secret_keys: newest first; the first signs.
    """
    expires = int(now) + 3600 * hours
    return SetupLink(sign_value([expires, public_url], purpose=_SETUP_LINK, key=secret_keys[0]), expires)


def build_setup_url(public_url: str, token: str) -> str:
    """Return the address that an admin opens."""
    return f"{public_url}/setup?link={token}"


def check_link(unverified_token: str, *, public_url: str, now: float, secret_keys: Sequence[str]) -> SetupLink:
    """Return the setup link, if the broker signed it for this `public_url` and it has not expired.

    Args:
        now: seconds since the epoch.
        secret_keys: any of them may have signed it.

    Raises:
        SetupLinkRefused: not signed here byte for byte, for another broker, expired, or valid beyond `MAX_HOURS`.
    """
    signed = unsign_value(unverified_token, purpose=_SETUP_LINK, secret_keys=secret_keys)
    if signed is None:
        got = f"{len(unverified_token)} characters that none of them signed"
        raise SetupLinkRefused(expected="a link signed by one of secret_keys", got=got)
    (expires, made_for), _ = signed
    if not hmac.compare_digest(made_for.encode(), public_url.encode()):
        raise SetupLinkRefused(expected=f"a link for {public_url}", got=f"a link for {made_for}")
    if now >= expires:
        raise SetupLinkRefused(expected="a link that has not expired", got=f"expired {now - expires:.0f} s ago")
    if expires - now > 3600 * MAX_HOURS + CLOCK_LEEWAY:
        got = f"a link for {(expires - now) / 3600:.0f} hours"
        raise SetupLinkRefused(expected=f"a link for {MAX_HOURS} hours at most", got=got)
    return SetupLink(unverified_token, expires)
