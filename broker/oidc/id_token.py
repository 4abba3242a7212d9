"""The ID token: from a string nobody vouches for to claims that may be believed.

Two steps in this order: `verify_signature` (RFC 7515, with RFC 8725's cautions), then `check_claims`
(OpenID Connect Core, section 3.1.3.7). Nothing in the token chooses the algorithm, the key's address or the issuer.
"""

from __future__ import annotations

import hashlib
import hmac
import warnings
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeGuard

from joserfc import jws
from joserfc.errors import JoseError, SecurityWarning

from broker import base64url
from broker.errors import (
    AnswerUnreadable,
    IdTokenAccessTokenHash,
    IdTokenAlgorithm,
    IdTokenAudience,
    IdTokenAuthTime,
    IdTokenIssuer,
    IdTokenKeyUnknown,
    IdTokenMalformed,
    IdTokenNonce,
    IdTokenSignature,
    IdTokenSubject,
    IdTokenTime,
)
from broker.oidc.keys import KeySet
from broker.oidc.messages import KIBIBYTE, RESPONSE_LIMIT, JsonObject, read_json_object, shape

CLOCK_LEEWAY = 60  # seconds our clock and the provider's may differ
MAX_TOKEN_AGE = 600  # seconds since iat
MAX_HEADER_BYTES = 16 * 1024
MAX_SUBJECT_CHARACTERS = 255  # OpenID Connect Core, section 2

_HASHES: Mapping[str, Any] = {"256": hashlib.sha256, "384": hashlib.sha384, "512": hashlib.sha512}


@dataclass(frozen=True, slots=True)
class SignedClaims:
    """Claims whose signature was verified, and nothing else.

    Args:
        algorithm: of the signature.
        key_issuer: the issuer the key is bound to, if the provider binds its keys.
        claims: all of them.
    """

    algorithm: str
    key_issuer: str | None
    claims: JsonObject = field(repr=False)


@dataclass(frozen=True, slots=True)
class VerifiedIdToken:
    """Claims that were made by this issuer, for us, for this sign-in, now.

    Args:
        issuer: who made them.
        subject: whom they are about.
        claims: all of them.
    """

    issuer: str
    subject: str
    claims: JsonObject = field(repr=False)


def verify_signature(unverified_token: str, keys: KeySet, *, algorithms: Collection[str]) -> SignedClaims:
    """Return the claims if one of the provider's keys signed them.

    Args:
        unverified_token: the compact JWS.
        keys: the provider's keys.
        algorithms: those accepted, from our settings (RFC 8725, section 3.1).

    Raises:
        IdTokenMalformed: no compact JWS, or a header that asks for something special.
        IdTokenAlgorithm: `alg` is not accepted.
        IdTokenKeyUnknown: no key fits; newer keys may.
        IdTokenSignature: no fitting key made the signature; newer keys may have.
    """
    header = _check_header(unverified_token)
    algorithm = header.get("alg")
    if not isinstance(algorithm, str) or algorithm not in algorithms:
        raise IdTokenAlgorithm(expected=sorted(algorithms), got=algorithm if isinstance(algorithm, str) else "none")
    kid = header.get("kid")
    candidates = keys.candidates(kid=kid, algorithm=algorithm)
    if not candidates:
        raise IdTokenKeyUnknown(expected=f"a key for {algorithm}", got=kid)
    registry = jws.JWSRegistry(algorithms=[algorithm], strict_check_header=False)
    # The library's own bounds are below a long list of groups and below an 8192-bit signature.
    registry.max_header_length, registry.max_payload_length = MAX_HEADER_BYTES, RESPONSE_LIMIT
    registry.max_signature_length = 2 * KIBIBYTE
    for candidate in candidates:
        try:
            with warnings.catch_warnings():
                # EdDSA is Ed25519 by its older name (RFC 9864), and the one that providers announce.
                warnings.simplefilter("ignore", SecurityWarning)
                signed = jws.deserialize_compact(unverified_token, candidate.key, registry=registry)
        except (JoseError, ValueError):
            continue
        return SignedClaims(algorithm, candidate.issuer, _check_payload(signed.payload))
    raise IdTokenSignature(expected=f"a signature by {kid or 'the only key'}", got="another")


def check_claims(
    signed: SignedClaims,
    *,
    expected_issuer: str,
    expected_audience: str,
    expected_nonce: str,
    access_token: str,
    max_age: int | None,
    now: float,
) -> VerifiedIdToken:
    """Return the ID token if it was made by this issuer, for us, for this sign-in, now.

    Args:
        signed: claims of a verified signature.
        expected_issuer: the configured issuer.
        expected_audience: our client id.
        expected_nonce: this sign-in's.
        access_token: the one that came with it.
        max_age: seconds since the person last gave credentials, if demanded.
        now: seconds since the epoch.

    Raises:
        IdTokenIssuer, IdTokenAudience, IdTokenTime, IdTokenNonce, IdTokenSubject, IdTokenAccessTokenHash,
        IdTokenAuthTime: the check of that name failed.
    """
    claims = signed.claims
    # In the order of OpenID Connect Core, section 3.1.3.7. Item 1 is encryption, which is not supported; 6 to 8 are the
    # signature, verified before; 12 is acr, which is not asked for.
    check_issuer(claims, expected_issuer=expected_issuer)  # 2
    _check_audience(claims, expected_audience)  # 3 to 5
    _check_times(claims, now)  # 9, 10
    _check_nonce(claims, expected_nonce)  # 11
    _check_auth_time(claims, max_age, now)  # 13
    _check_access_token_hash(claims, signed.algorithm, access_token)  # section 3.1.3.8
    return VerifiedIdToken(expected_issuer, check_subject(claims), claims)  # section 2


def check_issuer(claims: Mapping[str, Any], *, expected_issuer: str) -> None:
    """Check that this issuer made the claims, to the letter (OpenID Connect Core, section 3.1.3.7, 2).

    Args:
        claims: of the ID token.
        expected_issuer: the configured issuer, as the preset spells it for this token.

    Raises:
        IdTokenIssuer: another one did.
    """
    if claims.get("iss") != expected_issuer:
        raise IdTokenIssuer(expected=expected_issuer, got=claims.get("iss"))


def check_subject(claims: Mapping[str, Any]) -> str:
    """Return whom the claims are about (OpenID Connect Core, section 2).

    Args:
        claims: of the ID token.

    Raises:
        IdTokenSubject: they do not say, or in no usable form.
    """
    subject = claims.get("sub")
    if not isinstance(subject, str) or not 0 < len(subject) <= MAX_SUBJECT_CHARACTERS or not subject.isascii():
        raise IdTokenSubject(expected=f"1 to {MAX_SUBJECT_CHARACTERS} ASCII characters", got=shape(subject))
    return subject


def _check_header(unverified_token: str) -> JsonObject:
    """Read the header before any cryptography: three parts, a JWT, nothing critical, nothing unencoded."""
    parts = unverified_token.split(".")
    if len(parts) != 3 or not unverified_token.isascii() or len(parts[0]) > MAX_HEADER_BYTES:
        raise IdTokenMalformed(expected="three parts of base64url", got=f"{len(parts)} parts")
    try:
        header = read_json_object(base64url.decode(parts[0]))
    except (ValueError, AnswerUnreadable):
        raise IdTokenMalformed(expected="a JSON header", got="something else") from None
    # Providers leave `typ` out, so it cannot be demanded; one that is there keeps the provider's other kinds of JWT out
    # (RFC 8725, section 3.12).
    kind = header.get("typ")
    if kind is not None and (not isinstance(kind, str) or kind.upper() not in ("JWT", "APPLICATION/JWT")):
        raise IdTokenMalformed(expected="typ JWT or none", got=kind)
    if "crit" in header or "b64" in header:  # no extension is understood (RFC 7515, section 4.1.11; RFC 7797)
        raise IdTokenMalformed(expected="no critical header member", got="crit or b64")
    if not isinstance(header.get("kid"), str | None):
        raise IdTokenMalformed(expected="kid: a string", got=shape(header.get("kid")))
    return header


def _check_payload(payload: bytes) -> JsonObject:
    try:
        return read_json_object(payload)
    except AnswerUnreadable:
        raise IdTokenMalformed(expected="claims as a JSON object", got="something else") from None


def _check_audience(claims: Mapping[str, Any], client_id: str) -> None:
    """3 to 5: the token is for us, for nobody else, and `azp`, if there is one, is us."""
    audience = claims.get("aud")
    audiences = [audience] if isinstance(audience, str) else audience
    # 3 lets us refuse audiences we do not trust. We trust none, so the list may hold us alone.
    if not isinstance(audiences, list) or not audiences or any(one != client_id for one in audiences):
        raise IdTokenAudience(expected=client_id, got=audience)
    if "azp" in claims and claims["azp"] != client_id:
        raise IdTokenAudience(expected=f"azp {client_id}", got=claims["azp"])


def _check_times(claims: Mapping[str, Any], now: float) -> None:
    """9 and 10: not expired, and issued a short while ago; `nbf` by RFC 7519, section 4.1.5."""
    expires, issued = _seconds(claims, "exp"), _seconds(claims, "iat")
    if now >= expires + CLOCK_LEEWAY:
        raise IdTokenTime(expected="exp in the future", got=f"{now - expires:.0f} s ago")
    if not now - MAX_TOKEN_AGE <= issued <= now + CLOCK_LEEWAY:
        raise IdTokenTime(expected=f"iat within the last {MAX_TOKEN_AGE} s", got=f"{now - issued:.0f} s ago")
    if "nbf" in claims and _seconds(claims, "nbf") > now + CLOCK_LEEWAY:
        raise IdTokenTime(expected="nbf in the past", got=f"in {_seconds(claims, 'nbf') - now:.0f} s")


def _seconds(claims: Mapping[str, Any], claim: str) -> float:
    value = claims.get(claim)
    if not _is_time(value):
        raise IdTokenTime(expected=f"{claim}: seconds since the epoch", got=f"{claim}: {shape(value)}")
    return float(value)


def _is_time(value: object) -> TypeGuard[int | float]:
    # bool is an int to Python; numbers beyond a float's exactness are no time of this world.
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 2**53


def _check_nonce(claims: Mapping[str, Any], expected_nonce: str) -> None:
    """11: the nonce must be there and must be the one sent."""
    nonce = claims.get("nonce")
    if not isinstance(nonce, str) or not hmac.compare_digest(nonce.encode(errors="replace"), expected_nonce.encode()):
        raise IdTokenNonce(expected="this sign-in's nonce", got="another" if nonce else "none")


def _check_access_token_hash(claims: Mapping[str, Any], algorithm: str, access_token: str) -> None:
    """Section 3.1.3.8: the left half of the hash that the signature's algorithm names, if it is there."""
    if "at_hash" not in claims:
        return
    digest = _HASHES.get(algorithm[-3:], hashlib.sha512)(access_token.encode()).digest()  # Ed25519: SHA-512
    expected = base64url.encode(digest[: len(digest) // 2])
    if claims["at_hash"] != expected:
        raise IdTokenAccessTokenHash(expected="the hash of the access token", got="another")


def _check_auth_time(claims: Mapping[str, Any], max_age: int | None, now: float) -> None:
    """13: the person gave credentials recently, where that was asked for."""
    if max_age is None:
        return
    auth_time = claims.get("auth_time")
    if not _is_time(auth_time):
        raise IdTokenAuthTime(expected="auth_time: seconds since the epoch", got=shape(auth_time))
    if not now - max_age - CLOCK_LEEWAY <= auth_time <= now + CLOCK_LEEWAY:
        raise IdTokenAuthTime(expected=f"within {max_age} s", got=f"{now - auth_time:.0f} s ago")
