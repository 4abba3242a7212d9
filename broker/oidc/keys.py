"""Chooses the keys of a JWK Set that may verify an ID token (RFC 7517).

Algorithms come from the settings, never from a key or a token.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from joserfc.errors import JoseError
from joserfc.jwk import ECKey, Key, OKPKey, RSAKey

from broker.errors import KeysInvalid
from broker.oidc.messages import (
    DOCUMENT_LIMIT,
    JsonObject,
    ProviderRequest,
    ProviderResponse,
    check_success,
    read_json_object,
    short_text,
)
from broker.oidc.registration import SIGNATURE_ALGORITHMS
from broker.signing import decode_base64url
from broker.text import type_name

MIN_RSA_BITS = 2048  # RFC 7518, section 3.3
MAX_RSA_BITS = 8192  # beyond, one verification is a denial of service
MAX_EXPONENT_BITS = 32  # beyond, the same; the usual exponent is 65537
MAX_CANDIDATES = 4  # keys tried for one token: several under one kid are odd, many are an attack
MAX_KEYS = 100  # of one JWK Set; of the rest only the ids are read
MAX_IDS = 1000  # of keys that are not used, kept to say why
MAX_NAMED = 5  # of keys, in one line of the log
MAX_ID_CHARACTERS = 100  # of an id, in the log

DEFAULT_LIFETIME = 3600.0  # seconds, if the provider sends no max-age
MIN_LIFETIME, MAX_LIFETIME = 300.0, 86400.0  # seconds, bounds for the provider's max-age

# The public members of each key type; private and unknown members are dropped (RFC 7518, section 6; RFC 8037).
_PUBLIC_MEMBERS: Mapping[str, tuple[str, ...]] = {"RSA": ("n", "e"), "EC": ("crv", "x", "y"), "OKP": ("crv", "x")}
_CURVES: Mapping[str, str] = {"ES256": "P-256", "ES384": "P-384", "ES512": "P-521", "EdDSA": "Ed25519"}


@dataclass(frozen=True, slots=True)
class VerificationKey:
    """One key that may verify signatures.

    Args:
        algorithm: the key's `alg`; None if any fitting algorithm may use the key.
        curve: of an elliptic-curve key; None for RSA.
        issuer: the only issuer that signs with the key; None if the provider names none. Entra names it.
    """

    kid: str | None
    algorithm: str | None
    curve: str | None
    issuer: str | None
    key: Key

    @property
    def purpose(self) -> str:
        """Return what the key verifies, for an admin: its own `alg`, its curve, or its type."""
        return self.algorithm or self.curve or "RSA"

    def fits(self, algorithm: str) -> bool:
        """Tell whether the key can verify this algorithm, by type, curve and its own `alg`."""
        return self.curve == _CURVES.get(algorithm) and self.algorithm in (None, algorithm)

    def as_jwk(self) -> JsonObject:
        """Return the JWK with its public members alone."""
        public = self.key.as_dict(private=False)
        members = {name: public[name] for name in ("kty", *_PUBLIC_MEMBERS[str(public["kty"])])}
        own = {"kid": self.kid, "alg": self.algorithm, "issuer": self.issuer}
        return members | {name: value for name, value in own.items() if value is not None}


@dataclass(frozen=True, slots=True)
class KeySet:
    """The usable keys of a provider, as published.

    Args:
        passed_over: why a key is not used, by the key's id.
    """

    keys: tuple[VerificationKey, ...]
    passed_over: Mapping[str, str] = field(default_factory=dict)

    def as_document(self) -> JsonObject:
        """Return the JWK Set with the public members of the usable keys alone."""
        return {"keys": [key.as_jwk() for key in self.keys]}

    def candidates(self, *, kid: str | None, algorithm: str) -> tuple[VerificationKey, ...]:
        """Return the keys that may have signed a token with this header; none if there are too many to try.

        A key's id is optional (RFC 7517, section 4.5), and so is the header's (RFC 7515, section 4.1.4). OpenID
        Connect Core, section 10.1 requires it only if a set has several keys. Without an id a few keys are tried.

        Args:
            algorithm: of the header, already among the configured algorithms.
        """
        named = tuple(key for key in self.keys if key.kid == kid and kid is not None)
        if named:
            return tuple(key for key in named if key.fits(algorithm))[:MAX_CANDIDATES]
        unnamed = self._without_id(kid, algorithm)
        return unnamed if len(unnamed) <= MAX_CANDIDATES else ()

    def explain_none(self, *, kid: str | None, algorithm: str) -> tuple[str, str | None]:
        """Return why there is no candidate, and the remedy; None if only newer keys can help."""
        too_many = len(self._without_id(kid, algorithm))
        whose = "a token without kid" if kid is None else f"kid {_shown_id(kid)}"
        if kid is not None and (named := [key for key in self.keys if key.kid == kid]):
            return (
                f"{whose}: a key for {named[0].purpose}",
                "The provider publishes this key for another algorithm: have its alg corrected there.",
            )
        if kid is not None and kid in self.passed_over:
            remedy = "The key the token names cannot be used. The provider has to publish a usable one."
            return f"{whose}: {self.passed_over[kid]}", remedy
        if too_many:
            which = "keys" if kid is None else "keys without kid"
            remedy = f"Have the provider add kid to its keys and tokens, or publish at most {MAX_CANDIDATES} keys."
            return f"{whose}: {too_many} {which} fit {algorithm}, and {MAX_CANDIDATES} are tried at most", remedy
        if kid is None:
            purposes = ", ".join(sorted({key.purpose for key in self.keys})[:MAX_NAMED])
            return (
                f"{whose}; published: keys for {purposes}",
                "The provider has to publish a key for the token's algorithm.",
            )
        ids = [_shown_id(key.kid) for key in self.keys if key.kid is not None]
        return f"{whose}; published: {', '.join(ids[:MAX_NAMED]) or 'no kid'}", None

    def _without_id(self, kid: str | None, algorithm: str) -> tuple[VerificationKey, ...]:
        """Return the keys that fit without a matching id: those without id, or all if the token has no id."""
        return tuple(key for key in self.keys if key.fits(algorithm) and (kid is None or key.kid is None))


def build_keys_request(jwks_uri: str) -> ProviderRequest:
    """Return the request for a provider's keys."""
    headers = {"Accept": "application/jwk-set+json, application/json"}
    return ProviderRequest("GET", jwks_uri, DOCUMENT_LIMIT, headers, kind="keys")


def check_keys(answer: ProviderResponse) -> tuple[KeySet, float]:
    """Return the usable keys, and for how many seconds they may be kept.

    An unusable key is passed over, so that the others stay usable (RFC 7517, section 5).

    Raises:
        ProviderFailing, AnswerUnexpected: the status is not 200.
        KeysInvalid: the answer has no usable key.
    """
    check_success(answer)
    published = read_json_object(answer.body).get("keys")
    if not isinstance(published, list):
        raise KeysInvalid(expected="keys: an array", got=f"keys: {type_name(published)}")
    keys: list[VerificationKey] = []
    passed_over: dict[str, str] = {}
    for number, jwk in enumerate(published[:MAX_IDS], start=1):
        late = number > MAX_KEYS
        key = f"key number {number}; {MAX_KEYS} are looked at" if late else _verification_key(jwk)
        if isinstance(key, VerificationKey):
            keys.append(key)
        else:
            passed_over.setdefault(_id_of(jwk) or f"number {number}", key)
    if not keys:
        raise KeysInvalid(expected="a public signing key", got=_why_none(len(published), passed_over))
    lifetime = DEFAULT_LIFETIME if answer.max_age is None else float(answer.max_age)
    return KeySet(tuple(keys), passed_over), min(max(lifetime, MIN_LIFETIME), MAX_LIFETIME)


def _why_none(published: int, passed_over: Mapping[str, str]) -> str:
    if not published:
        return "0 keys"
    reasons = [f"{_shown_id(name)}: {reason}" for name, reason in passed_over.items()][:MAX_NAMED]
    more = "; ..." if len(passed_over) > MAX_NAMED else ""
    return f"{published} keys, none usable: {'; '.join(reasons)}{more}"


def _id_of(jwk: object) -> str | None:
    kid = jwk.get("kid") if isinstance(jwk, dict) else None
    return kid if isinstance(kid, str) and kid else None


def _verification_key(jwk: object) -> VerificationKey | str:
    """Return the key, or why it cannot be used."""
    if not isinstance(jwk, dict):
        return type_name(jwk)
    if (other := _other_purpose(jwk)) is not None:
        return other
    key_type, algorithm, issuer = jwk.get("kty"), jwk.get("alg"), jwk.get("issuer")
    members = _PUBLIC_MEMBERS.get(key_type, ()) if isinstance(key_type, str) else ()
    if not members:
        return f"kty: {short_text(key_type)}"
    public = {member: jwk.get(member) for member in members}
    if odd := [name for name, value in public.items() if not isinstance(value, str)]:
        return f"{odd[0]}: {type_name(public[odd[0]])}"
    key = _key_object(str(key_type), {"kty": key_type, **public})
    if isinstance(key, str):
        return key
    return VerificationKey(
        kid=_id_of(jwk),
        algorithm=algorithm if isinstance(algorithm, str) else None,
        curve=str(jwk["crv"]) if "crv" in public else None,
        issuer=issuer if isinstance(issuer, str) else None,
        key=key,
    )


def _other_purpose(jwk: Mapping[str, Any]) -> str | None:
    """Return another purpose than signatures, by `use`, `key_ops` and `alg` (RFC 7517, sections 4.2 to 4.4)."""
    use, operations, algorithm = jwk.get("use"), jwk.get("key_ops"), jwk.get("alg")
    if use not in (None, "sig"):
        return f"use: {short_text(use)}"
    if operations is not None and not (isinstance(operations, list) and "verify" in operations):
        return "key_ops without verify"
    if isinstance(algorithm, str) and algorithm not in SIGNATURE_ALGORITHMS:
        return f"alg: {short_text(algorithm)}"
    return None


def _shown_id(kid: str) -> str:
    """Show an id in full, or only its length: an admin searches the provider's document for it."""
    return kid if len(kid) <= MAX_ID_CHARACTERS else f"of {len(kid)} characters"


def _key_object(key_type: str, public: dict[str, Any]) -> Key | str:
    """Return the key, or why it cannot be used."""
    try:
        if key_type == "RSA":  # measured first: the library only warns of a short key, and would build a long key
            bits, exponent = _bits(public["n"]), _bits(public["e"])
            if not MIN_RSA_BITS <= bits <= MAX_RSA_BITS:
                return f"RSA {bits} bits"
            return RSAKey.import_key(public) if exponent <= MAX_EXPONENT_BITS else f"an exponent of {exponent} bits"
        if public["crv"] not in _CURVES.values():
            return f"crv: {short_text(public['crv'])}"
        elliptic = ECKey.import_key(public) if key_type == "EC" else OKPKey.import_key(public)
        _ = elliptic.public_key  # a point off the curve shows here, not at the first sign-in
    except (JoseError, ValueError, TypeError, KeyError):
        return f"no valid {key_type} key"
    return elliptic


def _bits(number: str) -> int:
    return int.from_bytes(decode_base64url(number.rstrip("="))).bit_length()
