"""Verify a token as Comm100 presumably does, independently of the broker's code.

PyJWT verifies the signature alone; the claims are checked here, with the caller's clock.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import jwt

CLOCK_SKEW = 300
"""Seconds of leeway for `exp` and `nbf`: the default of the .NET libraries."""

_EXPECTED_HEADER: Mapping[str, object] = MappingProxyType({"alg": "HS256", "typ": "JWT"})
_MINIMUM_SECRET = 32


class TokenRefused(Exception):
    """The token, or its request, was refused: `reason` is a stable code, `sentence` is for the person."""

    def __init__(self, reason: str, sentence: str) -> None:
        super().__init__(f"{reason}: {sentence}")
        self.reason = reason
        self.sentence = sentence


@dataclass(frozen=True, slots=True)
class VerifiedToken:
    """A token with verified signature, header, times, e-mail address and id."""

    header: Mapping[str, object]
    claims: Mapping[str, object]
    email: str
    token_id: str
    expires: float


def check_secret(shared_secret: str) -> str:
    """Return the shared secret if it is long enough for HS256 (RFC 7518, section 3.2).

    Raises:
        ValueError: the secret has fewer than 32 bytes.
    """
    if len(shared_secret.encode()) < _MINIMUM_SECRET:
        raise ValueError(f"the shared secret needs {_MINIMUM_SECRET} bytes or more")
    return shared_secret


def verify_token(unverified_jwt: str, *, shared_secret: str, now: float) -> VerifiedToken:
    """Verify a token and return it.

    Args:
        unverified_jwt: in the compact form of RFC 7519.
        shared_secret: as displayed, not decoded.
        now: seconds since the epoch.

    Raises:
        TokenRefused: the token is not valid.
    """
    header = _check_header(unverified_jwt)
    try:
        payload = jwt.PyJWS().decode(unverified_jwt, shared_secret.encode(), algorithms=["HS256"])
    except jwt.InvalidTokenError as error:
        raise TokenRefused("signature", "The token was not signed with this site's shared secret.") from error
    claims = _read_claims(payload)
    expires = _check_times(claims, now)
    email = _required_text(claims, "email")
    token_id = _required_text(claims, "jti")
    return VerifiedToken(header=header, claims=claims, email=email, token_id=token_id, expires=expires)


def _check_header(unverified_jwt: str) -> Mapping[str, object]:
    try:
        header = jwt.get_unverified_header(unverified_jwt)
    except jwt.InvalidTokenError as error:
        raise TokenRefused("malformed", "What arrived is not a signed token.") from error
    if header.get("alg") != _EXPECTED_HEADER["alg"]:
        raise TokenRefused("algorithm", "The token is not signed with HS256.")
    if header != _EXPECTED_HEADER:
        raise TokenRefused("header", "The token's header is not exactly alg HS256 and typ JWT.")
    return _EXPECTED_HEADER


def _read_claims(payload: object) -> Mapping[str, object]:
    try:
        claims = json.loads(payload) if isinstance(payload, bytes) else None
    except ValueError as error:
        raise TokenRefused("malformed", "The token's content is not JSON.") from error
    if not isinstance(claims, dict):
        raise TokenRefused("malformed", "The token's content is not a JSON object.")
    return MappingProxyType(claims)


def _check_times(claims: Mapping[str, object], now: float) -> float:
    expires = _seconds(claims, "exp")
    if expires is None:
        raise TokenRefused("exp_missing", "The token does not say when it expires.")
    if now >= expires + CLOCK_SKEW:
        raise TokenRefused("expired", "The token has expired.")
    not_before = _seconds(claims, "nbf")
    if not_before is not None and now < not_before - CLOCK_SKEW:
        raise TokenRefused("not_yet_valid", "The token is not valid yet.")
    return expires


def _seconds(claims: Mapping[str, object], name: str) -> float | None:
    value = claims.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise TokenRefused("malformed", f"The token's {name} is not a time in seconds.")
    return value


def _required_text(claims: Mapping[str, object], name: str) -> str:
    value = claims.get(name)
    if not isinstance(value, str) or not value.strip():
        raise TokenRefused(f"{name}_missing", f"The token has no {name}.")
    return value
