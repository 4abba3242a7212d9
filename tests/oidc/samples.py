"""Honest messages to start from: each test alters one thing.

This file knows what a right message looks like, and has altered claims checked; what is right is said in the tests.
"""

from __future__ import annotations

import base64
import functools
import json
from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

from joserfc import jws

from broker.oidc.id_token import VerifiedIdToken, check_claims, verify_signature
from broker.oidc.keys import KeySet, check_keys
from broker.oidc.messages import ProviderResponse
from broker.oidc.metadata import ProviderMetadata
from broker.oidc.registration import Registration
from tests.fakes.clock import START
from tests.fakes.provider import SigningKey, new_key

ISSUER = "https://idp.example"
CLIENT_ID = "client-1"
SECRET = "s3cret"
NONCE = "nonce-of-this-sign-in"
ACCESS_TOKEN = "access-token-1"
HUGE = 10**400  # JSON can say it, a float cannot

METADATA = ProviderMetadata(
    issuer=ISSUER,
    authorization_endpoint=f"{ISSUER}/authorize",
    token_endpoint=f"{ISSUER}/token",
    jwks_uri=f"{ISSUER}/keys",
    userinfo_endpoint=f"{ISSUER}/userinfo",
    end_session_endpoint=None,
    authorization_response_iss_parameter_supported=False,
)

_REGISTRATION = Registration(
    issuer=ISSUER,
    metadata_issuer=ISSUER,
    client_id=CLIENT_ID,
    client_secret=lambda: SECRET,
    client_assertion=None,
    client_authentication="client_secret_basic",
    redirect_uri="https://sso.acme.example/callback/idp",
    scopes=("openid", "email", "profile"),
    signing_algorithms=frozenset({"RS256"}),
    authorization_parameters={},
    max_age=None,
    allow_loopback=False,
)


def registration(**changes: Any) -> Registration:
    return replace(_REGISTRATION, **changes)


def answer(content: object, status: int = 200, media_type: str = "application/json", **more: Any) -> ProviderResponse:
    """Return an answer with this JSON, or these bytes as they stand."""
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    return ProviderResponse(status, media_type, body, **more)


@functools.cache
def signing_key(algorithm: str = "RS256", kid: str | None = "key-1") -> SigningKey:
    """Return the same key for the same arguments: making one takes a while."""
    return new_key(algorithm, kid)


def published(key: SigningKey, **members: object) -> dict[str, Any]:
    """Return a key as a JWK Set holds it; None leaves a member out."""
    jwk = {**key.as_dict(private=False), **members}
    return {name: value for name, value in jwk.items() if value is not None}


def key_set(*jwks: object) -> KeySet:
    return check_keys(answer({"keys": list(jwks)}))[0]


def b64(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def claims(**changes: object) -> dict[str, object]:
    """Return honest claims; `...` leaves one out."""
    honest: dict[str, object] = {
        "iss": ISSUER,
        "sub": "00u-ada",
        "aud": CLIENT_ID,
        "iat": START,
        "exp": START + 300,
        "nonce": NONCE,
    }
    return {name: value for name, value in {**honest, **changes}.items() if value is not ...}


def check(
    *, algorithm: str = "RS256", max_age: int | None = None, trusted: Collection[str] = (), **changes: object
) -> VerifiedIdToken:
    """Have honest claims with these changes signed, verified and checked."""
    key = signing_key(algorithm)
    token = sign({"alg": algorithm}, claims(**changes), key)
    return check_claims(
        verify_signature(token, key_set(published(key)), algorithms=[algorithm]),
        expected_issuer=ISSUER,
        expected_audience=CLIENT_ID,
        expected_nonce=NONCE,
        access_token=ACCESS_TOKEN,
        max_age=max_age,
        now=START,
        trusted_audiences=frozenset(trusted),
    )


def sign(header: Mapping[str, object], payload: object, key: SigningKey) -> str:
    """Sign what `header` says with its `alg`, whatever else it says; bytes are the payload as they stand."""
    body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    signed = f"{b64(json.dumps(header).encode())}.{b64(body)}"
    signature = jws.JWSRegistry.algorithms[str(header["alg"])].sign(signed.encode(), key)
    return f"{signed}.{b64(signature)}"
