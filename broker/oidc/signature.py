"""Verifies the ID token's signature: from an unverified text to claims that one of the provider's keys signed.

RFC 7515, with RFC 8725's cautions. Nothing in the token chooses the algorithm or the address of a key.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import InitVar, dataclass, field
from typing import Any

from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import Key

from broker import base64url
from broker.errors import AnswerUnreadable, IdTokenAlgorithm, IdTokenKeyUnknown, IdTokenMalformed, IdTokenSignature
from broker.oidc.keys import KeySet
from broker.oidc.messages import JsonObject, read_json_object, short_text
from broker.oidc.registration import SIGNATURE_ALGORITHMS
from broker.text import type_name

MAX_HEADER_BYTES = 16 * 1024

_VERIFIED = object()


@dataclass(frozen=True, slots=True)
class SignedClaims:
    """Claims with a verified signature; the claims themselves are not checked yet. Only `verify_signature` makes them.

    Args:
        algorithm: of the signature.
        key_issuer: the issuer the key is bound to, if the provider binds its keys.
        claims: all of them.
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
        keys: the provider's keys.
        algorithms: those accepted, from our settings (RFC 8725, section 3.1).

    Raises:
        IdTokenMalformed: no compact JWS, or a header that asks for something special.
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
    raise IdTokenSignature(expected=f"a signature by {whose}", got="another")


def _check_header(unverified_token: str) -> JsonObject:
    """Read the header before any cryptography: three parts, a JWT, nothing critical, nothing unencoded.

    Other members are ignored (RFC 7515, section 4). A null counts as absent: providers write `"kid": null`.
    """
    parts = unverified_token.split(".")
    if len(parts) != 3:
        raise IdTokenMalformed(expected="three parts of base64url", got=f"{len(parts)} parts")
    if not unverified_token.isascii():
        raise IdTokenMalformed(expected="three parts of base64url", got="other characters than ASCII")
    if len(parts[0]) > MAX_HEADER_BYTES:
        raise IdTokenMalformed(expected=f"a header of {MAX_HEADER_BYTES} bytes", got=f"{len(parts[0])} bytes")
    header = _read_object(_decode(parts[0], "header"), "header")
    # Providers leave `typ` out, so it cannot be demanded; one that is there keeps the provider's other kinds of JWT out
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
    """Accept an algorithm from our settings alone, and never a symmetric one (RFC 8725, section 3.1)."""
    if isinstance(algorithm, str) and algorithm in accepted and algorithm in SIGNATURE_ALGORITHMS:
        return algorithm
    refusal = IdTokenAlgorithm(expected=sorted(accepted), got=short_text(algorithm))
    if not isinstance(algorithm, str):
        raise refusal
    if algorithm in ("HS256", "HS384", "HS512"):
        wanted = "RS256" if "RS256" in accepted else " or ".join(sorted(accepted))
        refusal.remedy = (
            f"Change the client's ID token algorithm at the provider to {wanted}. {algorithm} is never accepted: it is "
            "signed with the client secret."
        )
    elif algorithm in SIGNATURE_ALGORITHMS:
        refusal.remedy = f"Set signing_algorithms: [{algorithm}], if the provider is known to sign with it."
    raise refusal


def _key_unknown(keys: KeySet, kid: str | None, algorithm: str) -> IdTokenKeyUnknown:
    got, remedy = keys.explain_none(kid=kid, algorithm=algorithm)
    unknown = IdTokenKeyUnknown(expected=f"a key for {algorithm}", got=got)
    unknown.remedy = remedy or unknown.remedy
    return unknown


def _verifies(algorithm: str, key: Key, signing_input: bytes, signature: bytes) -> bool:
    """Verify with the library's algorithm alone: the library would also judge header members that we ignore."""
    verifier = jws.JWSRegistry.algorithms[algorithm]
    try:
        verifier.check_key(key)
        return verifier.verify(signing_input, signature, key)
    except (JoseError, ValueError):
        return False


def _decode(part: str, name: str) -> bytes:
    try:
        return base64url.decode(part)
    except ValueError:
        raise IdTokenMalformed(expected=f"{name}: base64url", got=f"{name}: other text") from None


def _read_object(content: bytes, name: str) -> JsonObject:
    try:
        return read_json_object(content)
    except AnswerUnreadable as error:
        raise IdTokenMalformed(expected=f"{name}: a JSON object", got=f"{name}: {error.got}") from None
