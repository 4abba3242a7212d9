"""Verifies an ID token: its signature (RFC 7515, RFC 8725), then its claims (OpenID Connect Core, section 3.1.3.7).

Nothing in the token chooses the algorithm, the address of a key, or the issuer.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Collection, Mapping
from dataclasses import InitVar, dataclass, field
from typing import Any, TypeGuard

from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import Key

from broker.errors import (
    MAX_LISTED,
    AnswerUnreadable,
    AuthenticationTooWeak,
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
from broker.oidc.messages import JsonObject, character_at, read_json_object, short_text
from broker.oidc.registration import SIGNATURE_ALGORITHMS, RequiredAuthentication
from broker.signing import CLOCK_LEEWAY, decode_base64url, encode_base64url
from broker.text import type_name

MAX_HEADER_BYTES = 16 * 1024
MAX_TOKEN_AGE = 600  # seconds since iat
MILLISECONDS_FROM = 1e11  # in seconds, the year 5138
MAX_SUBJECT_CHARACTERS = 255  # OpenID Connect Core, section 2

_VERIFIED = object()
_CHECKED = object()
_NOT_ASCII = re.compile(r"[^\x00-\x7f]")
_HASHES: Mapping[str, Any] = {"256": hashlib.sha256, "384": hashlib.sha384, "512": hashlib.sha512}

# ----------------------------------------------------------------------------------------------------------- signature


@dataclass(frozen=True, slots=True)
class SignedClaims:
    """Claims with a verified signature; the claims themselves are not checked yet. Only `verify_signature` makes them.

    Args:
        key_issuer: the issuer the key is bound to, if the provider binds its keys.
    """

    algorithm: str
    key_issuer: str | None
    claims: Mapping[str, Any] = field(repr=False)
    made_by: InitVar[object]

    def __post_init__(self, made_by: object) -> None:
        if made_by is not _VERIFIED:
            raise TypeError("only verify_signature makes SignedClaims")


def verify_signature(unverified_token: str, keys: KeySet, *, algorithms: Collection[str]) -> SignedClaims:
    """Return the claims if one of the provider's keys signed them.

    Args:
        unverified_token: the compact JWS.
        algorithms: accepted by the settings (RFC 8725, section 3.1).

    Raises:
        IdTokenMalformed: no compact JWS, or a header that the broker does not support.
        IdTokenAlgorithm: `alg` is not accepted.
        IdTokenKeyUnknown: no key fits; newer keys may.
        IdTokenSignature: no fitting key made the signature; newer keys may have.
    """
    header = _check_header(unverified_token)
    algorithm = _check_algorithm(header.get("alg"), algorithms)
    kid = header.get("kid")
    candidates = keys.candidates(kid=kid, algorithm=algorithm)
    if not candidates:
        raise _key_unknown(keys, kid, algorithm)
    signing_input, _, encoded_signature = unverified_token.rpartition(".")
    signature = _decode(encoded_signature, "signature")
    for candidate in candidates:
        if _verifies(algorithm, candidate.key, signing_input.encode(), signature):
            payload = _decode(signing_input.partition(".")[2], "claims")
            return SignedClaims(algorithm, candidate.issuer, _read_object(payload, "claims"), _VERIFIED)
    whose = f"kid {kid}" if kid is not None else f"one of {len(candidates)} keys"
    raise IdTokenSignature(expected=f"a signature by {whose}", got=f"{algorithm}: it does not verify")


def _check_header(unverified_token: str) -> JsonObject:
    """Read the header before any cryptography: three parts, a JWT, nothing critical, nothing unencoded.

    Other members are ignored (RFC 7515, section 4). A null counts as absent: providers write `"kid": null`.
    """
    parts = unverified_token.split(".")
    if len(parts) != 3:
        raise IdTokenMalformed(expected="three parts of base64url", got=f"{len(parts)} parts")
    if odd := _NOT_ASCII.search(unverified_token):
        raise IdTokenMalformed(expected="three parts of base64url", got=character_at(odd))
    if len(parts[0]) > MAX_HEADER_BYTES:
        raise IdTokenMalformed(expected=f"a header of {MAX_HEADER_BYTES} bytes", got=f"{len(parts[0])} bytes")
    header = _read_object(_decode(parts[0], "header"), "header")
    # Some providers send no `typ`, so it is not required; if present, it excludes other kinds of JWT
    # (RFC 8725, section 3.12).
    kind = header.get("typ")
    if kind is not None and (not isinstance(kind, str) or kind.upper() not in ("JWT", "APPLICATION/JWT")):
        raise IdTokenMalformed(expected="typ: JWT, or no typ", got=f"typ: {short_text(kind)}")
    for member in ("crit", "b64"):  # no extension is understood (RFC 7515, section 4.1.11; RFC 7797)
        if header.get(member) is not None:
            raise IdTokenMalformed(expected=f"no {member} in the header", got=f"{member}: {type_name(header[member])}")
    if not isinstance(header.get("kid"), str | None):
        raise IdTokenMalformed(expected="kid: a text", got=f"kid: {type_name(header['kid'])}")
    return header


def _check_algorithm(algorithm: object, accepted: Collection[str]) -> str:
    """Return the algorithm if the settings accept it and it is not symmetric (RFC 8725, section 3.1)."""
    if isinstance(algorithm, str) and algorithm in accepted and algorithm in SIGNATURE_ALGORITHMS:
        return algorithm
    remedy = ""
    if algorithm in ("HS256", "HS384", "HS512"):
        wanted = "RS256" if "RS256" in accepted else " or ".join(sorted(accepted))
        remedy = (
            f"Change the client's ID token algorithm at the provider to {wanted}. {algorithm} is never accepted: it is "
            "signed with the client secret."
        )
    elif isinstance(algorithm, str) and algorithm in SIGNATURE_ALGORITHMS:
        remedy = f"Set signing_algorithms: [{algorithm}], if the provider is known to sign with it."
    raise IdTokenAlgorithm(expected=sorted(accepted), got=short_text(algorithm), remedy=remedy)


def _key_unknown(keys: KeySet, kid: str | None, algorithm: str) -> IdTokenKeyUnknown:
    got, remedy = keys.explain_none(kid=kid, algorithm=algorithm)
    return IdTokenKeyUnknown(expected=f"a key for {algorithm}", got=got, remedy=remedy or "")


def _verifies(algorithm: str, key: Key, signing_input: bytes, signature: bytes) -> bool:
    """Verify with the library's algorithm alone: its JWS reader would check header members that are ignored here."""
    verifier = jws.JWSRegistry.algorithms[algorithm]
    try:
        verifier.check_key(key)
        return verifier.verify(signing_input, signature, key)
    except (JoseError, ValueError):
        return False


def _decode(part: str, name: str) -> bytes:
    try:
        return decode_base64url(part)
    except ValueError:
        raise IdTokenMalformed(expected=f"{name}: base64url", got=f"{name}: other text") from None


def _read_object(content: bytes, name: str) -> JsonObject:
    try:
        return read_json_object(content)
    except AnswerUnreadable as error:
        raise IdTokenMalformed(expected=f"{name}: a JSON object", got=f"{name}: {error.got}") from None


# -------------------------------------------------------------------------------------------------------------- claims


@dataclass(frozen=True, slots=True)
class VerifiedIdToken:
    """Claims that this issuer made recently, for this client and this sign-in. Only `check_claims` makes them."""

    issuer: str
    subject: str
    claims: Mapping[str, Any] = field(repr=False)
    made_by: InitVar[object]

    def __post_init__(self, made_by: object) -> None:
        if made_by is not _CHECKED:
            raise TypeError("only check_claims makes a VerifiedIdToken")


def check_claims(
    signed: SignedClaims,
    *,
    expected_issuer: str,
    expected_audience: str,
    expected_nonce: str,
    access_token: str,
    max_age: int | None,
    now: float,
    required_authentication: RequiredAuthentication = RequiredAuthentication(),  # noqa: B008 - frozen
    trusted_audiences: Collection[str] = frozenset(),
) -> VerifiedIdToken:
    """Return the ID token if this issuer made it recently, for this client and this sign-in.

    Args:
        max_age: seconds since the person last gave credentials; None for no limit.
        now: seconds since the epoch.

    Raises:
        IdTokenIssuer, IdTokenAudience, IdTokenTime, IdTokenNonce, IdTokenSubject, IdTokenAccessTokenHash,
        IdTokenAuthTime: the check of that name failed.
        AuthenticationTooWeak: the person did not sign in as `required_authentication` demands.
    """
    claims = signed.claims
    # An optional claim that is null counts as absent: section 5.3.2 says so of userinfo, and some ID tokens have nulls.
    # The order is that of OpenID Connect Core, section 3.1.3.7. Item 1 is encryption, which is not supported; 6 to 8
    # are the signature, verified before. Item 12 comes last: its refusal concerns a person who is known.
    check_issuer(claims, expected_issuer=expected_issuer)  # 2
    _check_audience(claims, expected_audience, trusted_audiences)  # 3 to 5
    _check_times(claims, now)  # 9, 10
    _check_nonce(claims, expected_nonce)  # 11
    _check_auth_time(claims, max_age, now)  # 13
    _check_access_token_hash(claims, signed.algorithm, access_token)  # section 3.1.3.8
    subject = check_subject(claims)  # section 2
    try:
        check_authentication(claims, required_authentication)  # 12
    except AuthenticationTooWeak as error:
        error.subject = subject
        raise
    return VerifiedIdToken(expected_issuer, subject, claims, _CHECKED)


def check_issuer(claims: Mapping[str, Any], *, expected_issuer: str) -> None:
    """Check that this issuer made the claims, to the letter (OpenID Connect Core, section 3.1.3.7, 2).

    Raises:
        IdTokenIssuer: `iss` differs.
    """
    if claims.get("iss") != expected_issuer:
        issuer = claims.get("iss")
        raise IdTokenIssuer(
            expected=expected_issuer, got=issuer if isinstance(issuer, str) else f"iss: {type_name(issuer)}"
        )


def check_subject(claims: Mapping[str, Any]) -> str:
    """Return the subject of the claims (OpenID Connect Core, section 2).

    Raises:
        IdTokenSubject: `sub` is missing or unusable.
    """
    subject = claims.get("sub")
    if isinstance(subject, str) and 0 < len(subject) <= MAX_SUBJECT_CHARACTERS and subject.isascii():
        return subject
    got = type_name(subject)
    if isinstance(subject, str) and subject:
        odd = _NOT_ASCII.search(subject)
        got = character_at(odd) if odd else f"{len(subject)} characters"
    raise IdTokenSubject(expected=f"sub: 1 to {MAX_SUBJECT_CHARACTERS} ASCII characters", got=f"sub: {got}")


def check_authentication(claims: Mapping[str, Any], required: RequiredAuthentication) -> None:
    """Check that the person signed in at the provider as strongly as required (section 3.1.3.7, 12).

    Sending acr_values protects nothing: the browser can remove it.

    Raises:
        AuthenticationTooWeak: a claim is missing, of another type, or names nothing that is required.
    """
    contexts = claims.get(required.acr_claim)
    if required.acr:
        _check_names_one(required.acr_claim, [contexts] if required.acr_claim == "acr" else contexts, required.acr)
    if required.amr:
        _check_names_one("amr", claims.get("amr"), required.amr)


def _check_names_one(claim: str, named: object, required: Collection[str]) -> None:
    texts = [entry for entry in named if isinstance(entry, str)] if isinstance(named, list) else []
    if isinstance(named, list) and len(texts) == len(named) and any(text in required for text in texts):
        return
    got = (
        type_name(named)
        if not isinstance(named, list)
        else ", ".join(entry if isinstance(entry, str) else type_name(entry) for entry in named[:MAX_LISTED])
    )
    raise AuthenticationTooWeak(expected=f"{claim}: one of {', '.join(required)}", got=f"{claim}: {got or 'empty'}")


def _check_audience(claims: Mapping[str, Any], client_id: str, trusted: Collection[str]) -> None:
    """Check items 3 to 5: `aud` has the client id and otherwise only trusted audiences; `azp` is the client id.

    Item 3 lets a client refuse untrusted audiences. With a trusted audience `azp` is required (4 and 5): a token for
    that audience may list the client id, too. `azp` never replaces `aud`.
    """
    audience = claims.get("aud")
    audiences = [audience] if isinstance(audience, str) else audience
    if not isinstance(audiences, list):
        remedy = "The provider has to send our client id in aud."
        raise IdTokenAudience(expected=client_id, got=f"aud: {type_name(audience)}", remedy=remedy)
    named = [entry if isinstance(entry, str) else type_name(entry) for entry in audiences]
    got = audience if isinstance(audience, str) else named
    if client_id not in audiences:
        raise IdTokenAudience(expected=client_id, got=got)
    others = [entry for entry in audiences if entry != client_id]
    if not all(isinstance(entry, str) and entry in trusted for entry in others):
        remedy = (
            "The token is for further audiences, too. If the provider adds them by design (Zitadel, Oracle IDCS), name "
            "them in trusted_audiences; else let the client's tokens be for it alone."
        )
        raise IdTokenAudience(expected=client_id, got=got, remedy=remedy)
    party = claims.get("azp")
    if party != client_id and (party is not None or others):
        if isinstance(party, str):
            raise IdTokenAudience(expected=f"azp {client_id}", got=party)
        remedy = "Beside further audiences the provider has to send our client id in azp."
        raise IdTokenAudience(expected=f"azp {client_id}", got=f"azp: {type_name(party)}", remedy=remedy)


def _check_times(claims: Mapping[str, Any], now: float) -> None:
    """Check items 9 and 10, not expired and issued a short while ago, and `nbf` (RFC 7519, section 4.1.5)."""
    expires, issued = _seconds(claims, "exp"), _seconds(claims, "iat")
    if now >= expires + CLOCK_LEEWAY:
        raise IdTokenTime(expected="exp in the future", got=f"{now - expires:.0f} s ago")
    if not now - MAX_TOKEN_AGE <= issued <= now + CLOCK_LEEWAY:
        raise _out_of_time("iat", issued, f"within the last {MAX_TOKEN_AGE} s", now)
    if claims.get("nbf") is not None and (begins := _seconds(claims, "nbf")) > now + CLOCK_LEEWAY:
        raise _out_of_time("nbf", begins, "in the past", now)


def _out_of_time(claim: str, value: float, expected: str, now: float) -> IdTokenTime:
    if value >= MILLISECONDS_FROM:
        return _no_time(claim, f"{value:.0f} looks like milliseconds")
    got = f"{now - value:.0f} s ago" if value <= now else f"in {value - now:.0f} s"
    return IdTokenTime(expected=f"{claim} {expected}", got=got)


def _no_time(claim: str, got: str) -> IdTokenTime:
    remedy = f"The provider must send {claim} as a number of seconds (RFC 7519, section 2). Correct it there."
    return IdTokenTime(expected=f"{claim}: seconds since the epoch", got=f"{claim}: {got}", remedy=remedy)


def _seconds(claims: Mapping[str, Any], claim: str) -> float:
    value = claims.get(claim)
    if not _is_time(value):
        raise _no_time(claim, _shape_of_time(value))
    return float(value)


def _shape_of_time(value: object) -> str:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return "a number beyond bounds" if is_number else type_name(value)


def _is_time(value: object) -> TypeGuard[int | float]:
    # bool is a subclass of int; a float cannot hold larger numbers exactly.
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 2**53


def _check_nonce(claims: Mapping[str, Any], expected_nonce: str) -> None:
    """Check item 11: the nonce is the nonce of this sign-in."""
    nonce = claims.get("nonce")
    if not isinstance(nonce, str) or not hmac.compare_digest(nonce.encode(errors="replace"), expected_nonce.encode()):
        raise IdTokenNonce(expected="this sign-in's nonce", got="another" if nonce else "none")


def _check_access_token_hash(claims: Mapping[str, Any], algorithm: str, access_token: str) -> None:
    """Check `at_hash`, if present: the left half of the hash of the signature's algorithm (section 3.1.3.8)."""
    at_hash = claims.get("at_hash")
    if at_hash is None:
        return
    digest = _HASHES.get(algorithm[-3:], hashlib.sha512)(access_token.encode()).digest()  # Ed25519: SHA-512
    expected = encode_base64url(digest[: len(digest) // 2])
    if at_hash != expected:
        got = "another" if isinstance(at_hash, str) else f"at_hash: {type_name(at_hash)}"
        raise IdTokenAccessTokenHash(expected="the hash of the access token", got=got)


def _check_auth_time(claims: Mapping[str, Any], max_age: int | None, now: float) -> None:
    """Check item 13: the person gave credentials recently, if `max_age` requires it."""
    if max_age is None:
        return
    auth_time = claims.get("auth_time")
    if not _is_time(auth_time):
        raise IdTokenAuthTime(
            expected="auth_time: seconds since the epoch", got=f"auth_time: {_shape_of_time(auth_time)}"
        )
    if not now - max_age - CLOCK_LEEWAY <= auth_time <= now + CLOCK_LEEWAY:
        late = _out_of_time("auth_time", auth_time, f"within {max_age} s", now)
        raise IdTokenAuthTime(expected=late.expected, got=late.got)
