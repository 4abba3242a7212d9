"""The claims of an ID token: checked before they are believed (OpenID Connect Core, section 3.1.3.7).

Their signature is verified before, by `broker.oidc.signature`. Nothing in the token chooses the issuer.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Collection, Mapping
from dataclasses import InitVar, dataclass, field
from typing import Any, TypeGuard

from broker import base64url
from broker.errors import (
    IdTokenAccessTokenHash,
    IdTokenAudience,
    IdTokenAuthTime,
    IdTokenIssuer,
    IdTokenNonce,
    IdTokenSubject,
    IdTokenTime,
)
from broker.oidc.signature import SignedClaims
from broker.text import type_name

CLOCK_LEEWAY = 60  # seconds our clock and the provider's may differ
MAX_TOKEN_AGE = 600  # seconds since iat
MILLISECONDS_FROM = 1e11  # as seconds, that is the year 5138
MAX_SUBJECT_CHARACTERS = 255  # OpenID Connect Core, section 2

_CHECKED = object()
_HASHES: Mapping[str, Any] = {"256": hashlib.sha256, "384": hashlib.sha384, "512": hashlib.sha512}


@dataclass(frozen=True, slots=True)
class VerifiedIdToken:
    """Claims that were made by this issuer, for us, for this sign-in, now. Only `check_claims` makes them.

    Args:
        issuer: who made them.
        subject: whom they are about.
        claims: all of them.
    """

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
    trusted_audiences: Collection[str] = frozenset(),
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
        trusted_audiences: further audiences the admin believes in.

    Raises:
        IdTokenIssuer, IdTokenAudience, IdTokenTime, IdTokenNonce, IdTokenSubject, IdTokenAccessTokenHash,
        IdTokenAuthTime: the check of that name failed.
    """
    claims = signed.claims
    # An optional claim that is null is absent: section 5.3.2 says so of userinfo, and some providers write tokens so.
    # In the order of OpenID Connect Core, section 3.1.3.7. Item 1 is encryption, which is not supported; 6 to 8 are the
    # signature, verified before; 12 is acr, which is not asked for.
    check_issuer(claims, expected_issuer=expected_issuer)  # 2
    _check_audience(claims, expected_audience, trusted_audiences)  # 3 to 5
    _check_times(claims, now)  # 9, 10
    _check_nonce(claims, expected_nonce)  # 11
    _check_auth_time(claims, max_age, now)  # 13
    _check_access_token_hash(claims, signed.algorithm, access_token)  # section 3.1.3.8
    return VerifiedIdToken(expected_issuer, check_subject(claims), claims, _CHECKED)  # section 2


def check_issuer(claims: Mapping[str, Any], *, expected_issuer: str) -> None:
    """Check that this issuer made the claims, to the letter (OpenID Connect Core, section 3.1.3.7, 2).

    Args:
        claims: of the ID token.
        expected_issuer: the configured issuer, as the preset spells it for this token.

    Raises:
        IdTokenIssuer: another one did.
    """
    if claims.get("iss") != expected_issuer:
        issuer = claims.get("iss")
        raise IdTokenIssuer(
            expected=expected_issuer, got=issuer if isinstance(issuer, str) else f"iss: {type_name(issuer)}"
        )


def check_subject(claims: Mapping[str, Any]) -> str:
    """Return whom the claims are about (OpenID Connect Core, section 2).

    Args:
        claims: of the ID token.

    Raises:
        IdTokenSubject: they do not say, or in no usable form.
    """
    subject = claims.get("sub")
    if isinstance(subject, str) and 0 < len(subject) <= MAX_SUBJECT_CHARACTERS and subject.isascii():
        return subject
    got = type_name(subject)
    if isinstance(subject, str) and subject:
        got = f"{len(subject)} characters" if subject.isascii() else "other characters"
    raise IdTokenSubject(expected=f"sub: 1 to {MAX_SUBJECT_CHARACTERS} ASCII characters", got=f"sub: {got}")


def _check_audience(claims: Mapping[str, Any], client_id: str, trusted: Collection[str]) -> None:
    """3 to 5: `aud` has us, and beside us only trusted audiences; `azp` is us.

    3 lets a client refuse audiences it does not trust. Beside a trusted one `azp` must be there (4 and 5), for a token
    of that audience's own may list us, too; `azp` never replaces `aud`.
    """
    audience = claims.get("aud")
    audiences = [audience] if isinstance(audience, str) else audience
    if not isinstance(audiences, list):
        refusal = IdTokenAudience(expected=client_id, got=f"aud: {type_name(audience)}")
        refusal.remedy = "The provider has to send our client id in aud."
        raise refusal
    got = (
        audience
        if isinstance(audience, str)
        else [one if isinstance(one, str) else type_name(one) for one in audiences]
    )
    if client_id not in audiences:
        raise IdTokenAudience(expected=client_id, got=got)
    others = [one for one in audiences if one != client_id]
    if not all(isinstance(one, str) and one in trusted for one in others):
        refusal = IdTokenAudience(expected=client_id, got=got)
        refusal.remedy = (
            "The token is for further audiences, too. If the provider adds them by design (Zitadel, Oracle IDCS), name "
            "them in trusted_audiences; else let the client's tokens be for it alone."
        )
        raise refusal
    party = claims.get("azp")
    if party != client_id and (party is not None or others):
        refusal = IdTokenAudience(
            expected=f"azp {client_id}", got=party if isinstance(party, str) else f"azp: {type_name(party)}"
        )
        if not isinstance(party, str):
            refusal.remedy = "Beside further audiences the provider has to send our client id in azp."
        raise refusal


def _check_times(claims: Mapping[str, Any], now: float) -> None:
    """9 and 10: not expired, and issued a short while ago; `nbf` by RFC 7519, section 4.1.5."""
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
    refusal = IdTokenTime(expected=f"{claim}: seconds since the epoch", got=f"{claim}: {got}")
    refusal.remedy = f"The provider must send {claim} as a number of seconds (RFC 7519, section 2). Correct it there."
    return refusal


def _seconds(claims: Mapping[str, Any], claim: str) -> float:
    value = claims.get(claim)
    if not _is_time(value):
        raise _no_time(claim, _shape_of_time(value))
    return float(value)


def _shape_of_time(value: object) -> str:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return "a number beyond bounds" if is_number else type_name(value)


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
    said = claims.get("at_hash")
    if said is None:
        return
    digest = _HASHES.get(algorithm[-3:], hashlib.sha512)(access_token.encode()).digest()  # Ed25519: SHA-512
    expected = base64url.encode(digest[: len(digest) // 2])
    if said != expected:
        got = "another" if isinstance(said, str) else f"at_hash: {type_name(said)}"
        raise IdTokenAccessTokenHash(expected="the hash of the access token", got=got)


def _check_auth_time(claims: Mapping[str, Any], max_age: int | None, now: float) -> None:
    """13: the person gave credentials recently, where that was asked for."""
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
