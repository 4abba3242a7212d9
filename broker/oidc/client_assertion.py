"""Client authentication by a signed assertion: `private_key_jwt` (OpenID Connect Core, section 9; RFC 7523)."""

from __future__ import annotations

import hashlib
import re
import secrets
from dataclasses import dataclass, field
from typing import Literal

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, RSAKey

from broker.signing import CLOCK_LEEWAY, encode_base64url

ASSERTION_LIFETIME = 300  # seconds; an assertion is used at once
AssertionAlgorithm = Literal["RS256", "PS256", "ES256"]

_CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)
_PRIVATE_KEY = re.compile(r"-----BEGIN ((?:RSA |EC )?PRIVATE KEY)-----.+?-----END \1-----", re.DOTALL)


@dataclass(frozen=True, slots=True)
class AssertionKey:
    """The private key that signs assertions.

    Args:
        key: RSA of 2048 bits or more, or P-256.
        header: members by which the provider finds the public key: `kid`, `x5t#S256`.
    """

    key: RSAKey | ECKey = field(repr=False)
    algorithm: str
    header: dict[str, str]


def read_assertion_key(pem: str, *, algorithm: str | None, key_id: str | None) -> AssertionKey:
    """Return the key of a PEM text, with the thumbprint of the certificate if the text has a certificate.

    Args:
        pem: a private key without passphrase; Entra requires its certificate, too.
        algorithm: to sign with; None for RS256 or ES256, by the key's type.
        key_id: the `kid` of the public key at the provider; None sends no `kid`.

    Raises:
        ValueError: the text holds no such key, or the algorithm does not fit it.
    """
    found = _PRIVATE_KEY.search(pem)
    if found is None:
        raise ValueError("holds no private key in PEM form without a passphrase")
    key = _import(found[0])
    algorithm = algorithm or ("RS256" if isinstance(key, RSAKey) else "ES256")
    if (algorithm == "ES256") != isinstance(key, ECKey):
        raise ValueError(f"holds a key that cannot sign with {algorithm}")
    header = {"kid": key_id} if key_id else {}
    if certificate := _CERTIFICATE.search(pem):
        der = x509.load_pem_x509_certificate(certificate[0].encode()).public_bytes(Encoding.DER)
        header["x5t#S256"] = encode_base64url(hashlib.sha256(der).digest())
    return AssertionKey(key, algorithm, header)


def build_client_assertion(assertion_key: AssertionKey, *, client_id: str, audience: str, now: float) -> str:
    """Return a new assertion of the client id for a token endpoint.

    Args:
        now: seconds since the epoch.
    """
    issued = int(now)
    claims = {
        "iss": client_id,
        "sub": client_id,
        "aud": audience,
        "jti": secrets.token_urlsafe(16),
        "iat": issued,
        "nbf": issued - CLOCK_LEEWAY,
        "exp": issued + ASSERTION_LIFETIME,
    }
    header = {"alg": assertion_key.algorithm, "typ": "JWT", **assertion_key.header}
    return jwt.encode(header, claims, assertion_key.key, algorithms=[assertion_key.algorithm])


def _import(pem: str) -> RSAKey | ECKey:
    try:
        if "EC PRIVATE" in pem:
            return _p256(ECKey.import_key(pem))
        try:
            rsa = RSAKey.import_key(pem)
        except (JoseError, ValueError, TypeError):
            return _p256(ECKey.import_key(pem))
    except (JoseError, ValueError, TypeError) as error:
        raise ValueError("holds a private key that is neither RSA nor P-256") from error
    if rsa.private_key is None or rsa.private_key.key_size < 2048:
        raise ValueError("holds an RSA key of fewer than 2048 bits")
    return rsa


def _p256(key: ECKey) -> ECKey:
    if key.curve_name != "P-256":
        raise ValueError("not P-256")
    return key
