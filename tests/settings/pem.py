"""Private keys, certificates and tokens of a platform, made for one test run.

Knows their forms. Knows nothing of settings.
"""

from datetime import UTC, datetime, timedelta
from functools import cache

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import NameOID
from joserfc import jwt
from joserfc.jwk import OctKey


@cache
def rsa_key(number: int = 1, bits: int = 2048) -> rsa.RSAPrivateKey:
    """Return an RSA key, another one for another number."""
    assert number
    return rsa.generate_private_key(65537, bits)


@cache
def ec_key(curve: type[ec.EllipticCurve] = ec.SECP256R1) -> ec.EllipticCurvePrivateKey:
    """Return an elliptic-curve key."""
    return ec.generate_private_key(curve())


def pem_of(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey, *, passphrase: str = "") -> str:
    """Write a private key down, PKCS #8."""
    encryption = BestAvailableEncryption(passphrase.encode()) if passphrase else NoEncryption()
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption).decode()


@cache
def certificate_of(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> str:
    """Return a certificate the key signed for itself."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "comm100-sso")])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(1).not_valid_before(now).not_valid_after(now + timedelta(days=1))
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM).decode()


def platform_token(subject: str = "system:serviceaccount:sso:broker") -> str:
    """Return a token of a platform; who signed it is the provider's to judge."""
    return jwt.encode({"alg": "HS256"}, {"sub": subject}, OctKey.generate_key(256))
