"""private_key_jwt: which keys are taken, and what an assertion says."""

from __future__ import annotations

import base64
import hashlib
import json
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from joserfc import jws
from joserfc.jwk import ECKey, RSAKey

from broker.oidc.client_assertion import ASSERTION_LIFETIME, build_client_assertion, read_assertion_key
from tests.fakes.clock import START
from tests.settings.pem import certificate_of, ec_key, pem_of, rsa_key

AUDIENCE = "https://login.microsoftonline.com/tenant/oauth2/v2.0/token"

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey


def traditional(key: PrivateKey) -> str:
    return key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()).decode()


def public_of(key: PrivateKey) -> str:
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def assertion(pem: str, *, algorithm: str | None = None, key_id: str | None = None, now: float = START) -> str:
    key = read_assertion_key(pem, algorithm=algorithm, key_id=key_id)
    return build_client_assertion(key, client_id="client-1", audience=AUDIENCE, now=now)


def part(token: str, number: int) -> dict[str, Any]:
    text = token.split(".")[number]
    read: dict[str, Any] = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    return read


@pytest.mark.parametrize(
    ("pem", "wanted", "algorithm"),
    [
        pytest.param(pem_of(rsa_key()), None, "RS256", id="RSA, by its type"),
        pytest.param(pem_of(rsa_key()), "RS256", "RS256", id="RSA, RS256"),
        pytest.param(pem_of(rsa_key()), "PS256", "PS256", id="RSA, PS256, as Entra wants it"),
        pytest.param(traditional(rsa_key()), "PS256", "PS256", id="RSA, the older form of PEM"),
        pytest.param(pem_of(ec_key()), None, "ES256", id="P-256, by its type"),
        pytest.param(traditional(ec_key()), "ES256", "ES256", id="P-256, the older form of PEM"),
    ],
)
def test_the_providers_copy_of_the_public_key_verifies_the_assertion(
    pem: str, wanted: str | None, algorithm: str
) -> None:
    token = assertion(pem, algorithm=wanted)
    public = RSAKey.import_key(public_of(rsa_key())) if algorithm != "ES256" else ECKey.import_key(public_of(ec_key()))
    verified = jws.deserialize_compact(token, public, algorithms=[algorithm])
    assert verified.headers()["alg"] == algorithm
    assert part(token, 0) == {"alg": algorithm, "typ": "JWT"}


def test_it_says_who_we_are_to_whom_once_and_for_five_minutes() -> None:
    first, second = (part(assertion(pem_of(rsa_key()), now=START + 0.7), 1) for _ in range(2))
    assert len(first["jti"]) >= 20
    assert first.pop("jti") != second.pop("jti")
    assert first == second
    assert first == {
        "iss": "client-1",
        "sub": "client-1",
        "aud": AUDIENCE,
        "iat": int(START),
        "nbf": int(START) - 60,
        "exp": int(START) + ASSERTION_LIFETIME,
    }
    assert ASSERTION_LIFETIME <= 600  # Entra takes ten minutes at most


@pytest.mark.parametrize("certificate_first", [False, True], ids=["behind the key", "before the key"])
def test_the_certificate_beside_the_key_is_named_by_its_thumbprint(certificate_first: bool) -> None:
    pem, certificate = pem_of(rsa_key()), certificate_of(rsa_key())
    der = x509.load_pem_x509_certificate(certificate.encode()).public_bytes(Encoding.DER)
    thumbprint = base64.urlsafe_b64encode(hashlib.sha256(der).digest()).rstrip(b"=").decode()
    text = certificate + pem if certificate_first else pem + certificate
    header = part(assertion(text, algorithm="PS256", key_id="broker-2026"), 0)
    assert header == {"alg": "PS256", "typ": "JWT", "kid": "broker-2026", "x5t#S256": thumbprint}


@pytest.mark.parametrize(
    ("pem", "algorithm", "words"),
    [
        pytest.param("", None, "no private key", id="nothing"),
        pytest.param("not a key", None, "no private key", id="another text"),
        pytest.param(public_of(rsa_key()), None, "no private key", id="a public key"),
        pytest.param(certificate_of(rsa_key()), None, "no private key", id="a certificate alone"),
        pytest.param(pem_of(rsa_key(), passphrase="secret"), None, "without a passphrase", id="a passphrase"),
        pytest.param(
            pem_of(rsa_key(bits=1024)),
            None,
            "fewer than 2048 bits",
            marks=pytest.mark.filterwarnings("ignore:Key size should be"),  # the library warns, we refuse
            id="RSA of 1024 bits",
        ),
        pytest.param(pem_of(ec_key(ec.SECP384R1)), None, "neither RSA nor P-256", id="P-384"),
        pytest.param(pem_of(rsa_key()), "ES256", "cannot sign with ES256", id="RSA with ES256"),
        pytest.param(pem_of(ec_key()), "PS256", "cannot sign with PS256", id="P-256 with PS256"),
        pytest.param(
            "-----BEGIN PRIVATE KEY-----\nAA\n-----END PRIVATE KEY-----\n", None, "neither RSA nor P-256", id="no key"
        ),
    ],
)
def test_a_key_that_does_not_fit_is_refused(pem: str, algorithm: str | None, words: str) -> None:
    with pytest.raises(ValueError, match=words) as refusal:
        read_assertion_key(pem, algorithm=algorithm, key_id=None)
    assert "BEGIN" not in str(refusal.value)


def test_the_key_does_not_show_itself() -> None:
    shown = repr(read_assertion_key(pem_of(rsa_key()), algorithm="PS256", key_id="broker-2026"))
    assert shown == "AssertionKey(algorithm='PS256', header={'kid': 'broker-2026'})"
