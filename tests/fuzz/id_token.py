"""What an ID token can make the broker believe.

This file owns what must hold of any token against keys whose private halves it has.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from broker.errors import BrokerError, InvalidProviderResponse
from broker.oidc.id_token import SignedClaims, check_claims, verify_signature
from broker.oidc.keys import KeySet, check_keys
from broker.oidc.messages import ProviderResponse
from broker.oidc.registration import SIGNATURE_ALGORITHMS
from tests.fakes.clock import START

ISSUER = "https://idp.example"
CLIENT_ID = "client-1"
NONCE = "nonce-of-this-sign-in"
ACCESS_TOKEN = "access-token-1"
MAX_AGE = 3600


def encode(data: bytes) -> str:
    """Write bytes as JOSE does (RFC 7515, section 2)."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def key_set(*jwks: dict[str, Any]) -> KeySet:
    """Read keys as the broker does."""
    return check_keys(ProviderResponse(200, "application/json", json.dumps({"keys": jwks}).encode()))[0]


def judge_signature(
    token: str, keys: KeySet, genuine: Collection[str], *, algorithms: Collection[str] = SIGNATURE_ALGORITHMS
) -> SignedClaims | None:
    """Return the claims if the signature holds, having checked that these very bytes were signed."""
    try:
        signed = verify_signature(token, keys, algorithms=algorithms)
    except BrokerError as error:
        _known(error)
        return None
    # A signature may be spelt otherwise: base64 has spare bits, an elliptic curve two answers. What it signs may not.
    assert token.rpartition(".")[0] in {one.rpartition(".")[0] for one in genuine}, "nobody signed this"
    return signed


def judge_claims(signed: SignedClaims) -> bool:
    """Say whether the claims are believed, having checked those that nobody may leave out."""
    try:
        verified = check_claims(
            signed,
            expected_issuer=ISSUER,
            expected_audience=CLIENT_ID,
            expected_nonce=NONCE,
            access_token=ACCESS_TOKEN,
            max_age=MAX_AGE,
            now=START,
        )
    except BrokerError as error:
        _known(error)
        return False
    claims = signed.claims
    assert claims["iss"] == verified.issuer == ISSUER
    assert claims["sub"] == verified.subject != ""
    assert claims["aud"] == CLIENT_ID or set(claims["aud"]) == {CLIENT_ID}
    assert claims.get("azp", CLIENT_ID) == CLIENT_ID
    assert claims["nonce"] == NONCE
    assert claims["exp"] > START - 61
    assert START - 601 < claims["iat"] < START + 61
    assert claims.get("nbf", 0) < START + 61
    assert claims["auth_time"] > START - MAX_AGE - 61
    assert {type(claims[name]) for name in ("exp", "iat", "auth_time")} <= {int, float}
    return True


@contextmanager
def validation() -> Iterator[Callable[[bytes], None]]:
    """Give what the fuzzer calls: a token as it stands, or, behind a line feed, header and claims to be signed.

    Ed25519 signs the same bytes to the same signature, so a seed stays a seed.
    """
    private_key = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
    keys = key_set(
        {"kty": "OKP", "crv": "Ed25519", "kid": "key-1", "x": encode(private_key.public_key().public_bytes_raw())}
    )

    def sign(header: bytes, claims: bytes) -> str:
        signed = f"{encode(header)}.{encode(claims)}"
        return f"{signed}.{encode(private_key.sign(signed.encode()))}"

    honest = sign(b'{"alg":"EdDSA","kid":"key-1"}', b'{"sub":"ada"}')

    def one_input(data: bytes) -> None:
        if not data.startswith(b"\n"):
            judge_signature(data.decode("utf-8", "surrogateescape"), keys, {honest})
            return
        header, _, claims = data[1:].partition(b"\n")
        token = sign(header, claims)
        signed = judge_signature(token, keys, {token})
        if signed is not None:
            judge_claims(signed)

    yield one_input


def _known(error: BrokerError) -> None:
    """Check that a fault is laid at the provider's door, by the name of what is wrong with the token."""
    assert isinstance(error, InvalidProviderResponse)
    assert error.code.startswith("id_token_")
