"""The provider's public keys: which of a JWK Set may verify an ID token (RFC 7517).

This file owns the choice of keys. It verifies no signature and fetches nothing; algorithms come from our settings,
never from a key or a token.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from joserfc.errors import JoseError
from joserfc.jwk import ECKey, Key, OKPKey, RSAKey

from broker import base64url
from broker.errors import KeysInvalid
from broker.oidc.messages import DOCUMENT_LIMIT, Answer, ProviderRequest, read_json_object, shape
from broker.oidc.metadata import check_document_status

MIN_RSA_BITS = 2048  # RFC 7518, section 3.3
MAX_RSA_BITS = 8192  # beyond, one verification is a denial of service
MAX_EXPONENT_BITS = 32  # likewise; in practice it is 65537
MAX_CANDIDATES = 4  # keys tried for one token: several under one kid are odd, many are an attack
MAX_KEYS = 100  # of one JWK Set; the rest is not looked at

DEFAULT_LIFETIME = 3600.0  # seconds, where the provider says nothing
MIN_LIFETIME, MAX_LIFETIME = 300.0, 86400.0  # seconds, whatever the provider says

# The public members of each key type; private and unknown ones are left behind (RFC 7518, section 6; RFC 8037).
_PUBLIC_MEMBERS: Mapping[str, tuple[str, ...]] = {"RSA": ("n", "e"), "EC": ("crv", "x", "y"), "OKP": ("crv", "x")}
_CURVES: Mapping[str, str] = {"ES256": "P-256", "ES384": "P-384", "ES512": "P-521", "EdDSA": "Ed25519"}


@dataclass(frozen=True, slots=True)
class VerificationKey:
    """One key that may verify signatures.

    Args:
        kid: the key's id, if it has one.
        algorithm: the only algorithm it is for, if it says so.
        curve: of an elliptic-curve key; None for RSA.
        issuer: the only issuer it is for, where the provider says so (Entra does).
        key: the key object, made once.
    """

    kid: str | None
    algorithm: str | None
    curve: str | None
    issuer: str | None
    key: Key

    def fits(self, algorithm: str) -> bool:
        """Whether the key can verify this algorithm: the type, the curve, and its own `alg`."""
        return self.curve == _CURVES.get(algorithm) and self.algorithm in (None, algorithm)


@dataclass(frozen=True, slots=True)
class KeySet:
    """The usable keys of one provider, in the order published, which means nothing."""

    keys: tuple[VerificationKey, ...]

    def candidates(self, *, kid: str | None, algorithm: str) -> tuple[VerificationKey, ...]:
        """Return the keys that may have signed a token with this header.

        A token without `kid` is for a set with one fitting key alone (OpenID Connect Core, section 10.1).

        Args:
            kid: the header's key id, if it has one.
            algorithm: the header's algorithm, already among the configured ones.
        """
        fitting = tuple(key for key in self.keys if key.fits(algorithm))
        if kid is None:
            return fitting if len(fitting) == 1 else ()
        return tuple(key for key in fitting if key.kid == kid)[:MAX_CANDIDATES]


def build_keys_request(jwks_uri: str) -> ProviderRequest:
    """Return the request for a provider's keys.

    Args:
        jwks_uri: from the metadata.
    """
    headers = {"Accept": "application/jwk-set+json, application/json"}
    return ProviderRequest("GET", jwks_uri, DOCUMENT_LIMIT, headers, asked="keys")


def check_keys(answer: Answer) -> tuple[KeySet, float]:
    """Return the usable keys, and for how many seconds they may be kept.

    A key we cannot use is passed over, so that one odd key takes no good one with it (RFC 7517, section 5).

    Args:
        answer: what `jwks_uri` said.

    Raises:
        ProviderFailing, AnswerUnexpected: the status is not 200.
        KeysInvalid: no usable key in it.
    """
    check_document_status(answer)
    published = read_json_object(answer.body).get("keys")
    if not isinstance(published, list):
        raise KeysInvalid(expected="keys: an array", got=f"keys: {shape(published)}")
    keys = tuple(key for jwk in published[:MAX_KEYS] if (key := _verification_key(jwk)) is not None)
    if not keys:
        raise KeysInvalid(expected="a public signing key", got=f"{len(published)} keys, none usable")
    lifetime = DEFAULT_LIFETIME if answer.max_age is None else float(answer.max_age)
    return KeySet(keys), min(max(lifetime, MIN_LIFETIME), MAX_LIFETIME)


def _verification_key(jwk: object) -> VerificationKey | None:
    if not isinstance(jwk, dict) or not _is_for_signatures(jwk):
        return None
    members = _PUBLIC_MEMBERS.get(str(jwk.get("kty")), ())
    public = {member: jwk.get(member) for member in members}
    if not members or not all(isinstance(value, str) for value in public.values()):
        return None
    key = _key_object(str(jwk["kty"]), {"kty": jwk["kty"], **public})
    if key is None:
        return None
    kid, algorithm, issuer = jwk.get("kid"), jwk.get("alg"), jwk.get("issuer")
    return VerificationKey(
        kid=kid if isinstance(kid, str) else None,
        algorithm=algorithm if isinstance(algorithm, str) else None,
        curve=str(jwk["crv"]) if "crv" in public else None,
        issuer=issuer if isinstance(issuer, str) else None,
        key=key,
    )


def _is_for_signatures(jwk: Mapping[str, Any]) -> bool:
    """By `use` and `key_ops` (RFC 7517, sections 4.2 and 4.3)."""
    operations = jwk.get("key_ops")
    return jwk.get("use") in (None, "sig") and (
        operations is None or (isinstance(operations, list) and "verify" in operations)
    )


def _key_object(key_type: str, public: dict[str, Any]) -> Key | None:
    try:
        if key_type == "RSA":  # measured first: the library only warns of a short one, and would build a long one
            fits = MIN_RSA_BITS <= _bits(public["n"]) <= MAX_RSA_BITS and _bits(public["e"]) <= MAX_EXPONENT_BITS
            return RSAKey.import_key(public) if fits else None
        if public["crv"] not in _CURVES.values():
            return None
        elliptic = ECKey.import_key(public) if key_type == "EC" else OKPKey.import_key(public)
        _ = elliptic.public_key  # a point off the curve shows here, not at the first sign-in
    except (JoseError, ValueError, TypeError, KeyError):
        return None
    return elliptic


def _bits(number: str) -> int:
    return int.from_bytes(base64url.decode(number.rstrip("="))).bit_length()
