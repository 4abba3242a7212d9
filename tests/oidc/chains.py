"""Certificates with one thing wrong, or only unusual, and a handshake in memory that judges them."""

from __future__ import annotations

import datetime as dt
import ssl
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
HOST = "login.acme.example"


@dataclass(frozen=True)
class Recipe:
    """How a certificate is made; the defaults are right for a server.

    Args:
        ca: basicConstraints; None: the extension is left out.
        critical: basicConstraints is critical, as RFC 5280, section 4.2.1.9, demands.
        key_usage: keyUsage is there; for an authority.
        signs: it has keyCertSign.
        key_ids: subjectKeyIdentifier and authorityKeyIdentifier are there.
        days: it is valid for, from two days ago.
        begins: days from now.
        bits: of an RSA key; 0: P-256.
        sha1: its issuer, which has an RSA key, signs with SHA-1.
        purpose: extendedKeyUsage.
    """

    name: str = HOST
    ca: bool | None = None
    critical: bool = True
    key_usage: bool = False
    signs: bool = True
    key_ids: bool = True
    days: int = 30
    begins: int = -60
    bits: int = 0
    sha1: bool = False
    host: str | None = HOST
    purpose: Literal["SERVER_AUTH", "CLIENT_AUTH"] | None = None


SERVER = Recipe()
AUTHORITY = Recipe(name="Acme authority", ca=True, key_usage=True, host=None)
INTERMEDIATE = replace(AUTHORITY, name="Acme intermediate")


@dataclass(frozen=True)
class Made:
    """A certificate and its key."""

    certificate: x509.Certificate
    key: Key

    @property
    def pem(self) -> bytes:
        """Return the certificate as PEM."""
        return self.certificate.public_bytes(Encoding.PEM)


def make(recipe: Recipe, issuer: Made | None = None) -> Made:
    """Make a certificate; without an issuer it signs itself."""
    key: Key = rsa.generate_private_key(65537, recipe.bits) if recipe.bits else ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, recipe.name)])
    signer = issuer.key if issuer else key
    now = dt.datetime.now(dt.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(issuer.certificate.subject if issuer else name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + dt.timedelta(days=recipe.begins))
        .not_valid_after(now + dt.timedelta(days=recipe.days))
    )
    if recipe.ca is not None:
        constraints = x509.BasicConstraints(ca=recipe.ca, path_length=None)
        builder = builder.add_extension(constraints, critical=recipe.critical)
    if recipe.key_usage:
        usage = x509.KeyUsage(True, False, False, False, False, recipe.signs, False, False, False)
        builder = builder.add_extension(usage, critical=True)
    if recipe.key_ids:
        ours = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
        theirs = x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key())
        builder = builder.add_extension(ours, critical=False).add_extension(theirs, critical=False)
    if recipe.host:
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(recipe.host)]), critical=False)
    if recipe.purpose:
        purpose = x509.ExtendedKeyUsage([getattr(ExtendedKeyUsageOID, recipe.purpose)])
        builder = builder.add_extension(purpose, critical=False)
    made = Made(builder.sign(signer, hashes.SHA256()), key)
    return Made(_signed_with_sha1(made.certificate, signer), key) if recipe.sha1 else made


def _signed_with_sha1(certificate: x509.Certificate, signer: Key) -> x509.Certificate:
    """Sign anew: the library makes no such certificate any more."""
    assert isinstance(signer, rsa.RSAPrivateKey)
    sha256, sha1 = bytes.fromhex("2a864886f70d01010b"), bytes.fromhex("2a864886f70d010105")  # RFC 8017, appendix C
    to_sign = certificate.tbs_certificate_bytes.replace(sha256, sha1)
    signature = signer.sign(to_sign, padding.PKCS1v15(), hashes.SHA1())  # noqa: S303
    whole = certificate.public_bytes(Encoding.DER).replace(sha256, sha1)
    return x509.load_der_x509_certificate(whole[: -len(signature)] + signature)


def serving_context(folder: Path, *chain: Made) -> ssl.SSLContext:
    """Return the context of a server that shows this chain, its own certificate first."""
    file = folder / "chain.pem"
    own = chain[0].key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    file.write_bytes(own + b"".join(one.pem for one in chain))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_ciphers("ALL:@SECLEVEL=0")  # it is the client that judges
    context.load_cert_chain(file)
    return context


def refusal(client: ssl.SSLContext, server: ssl.SSLContext, host: str = HOST) -> ssl.SSLCertVerificationError | None:
    """Shake hands in memory; return why the client refuses the server, None if it does not."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [
        client.wrap_bio(to_client, to_server, server_hostname=host),
        server.wrap_bio(to_server, to_client, server_side=True),
    ]
    for _ in range(4):
        for end in ends:
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
            except ssl.SSLCertVerificationError as error:
                return error
    return None
