"""How the broker proves who it is at a provider: the ways there are, and the one credential each of them needs.

It owns which key belongs to which way, and what a private key and a platform's token must be like. It signs nothing
and sends nothing.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import partial
from typing import Annotated, Any

from cryptography import x509
from joserfc.errors import JoseError
from joserfc.jws import extract_compact
from pydantic import BeforeValidator, ValidationInfo

from broker.oidc.client_assertion import AssertionKey, read_assertion_key
from broker.providers import KINDS
from broker.settings import secret_rules
from broker.settings.invalid_value import InvalidValue
from broker.settings.secret import PrivateKey, Secret
from broker.settings.section import HIDDEN, TEXT, SecretInput, secret_reader, secret_text

_JWS = re.compile(r"(?:[A-Za-z0-9_-]+\.){2}[A-Za-z0-9_-]+")  # RFC 7515, section 3.1, with a signature

CREDENTIALS: Mapping[str, str | None] = {
    "client_secret_basic": "client_secret",
    "client_secret_post": "client_secret",
    "private_key_jwt": "private_key",
    "federated_credential": "federated_token",
    "none": None,
}
"""The credential of each way, by the value of `client_authentication`."""

CREDENTIAL_DETAILS: Mapping[str, str] = {
    "client_secret_expires": "client_secret",
    "private_key_id": "private_key",
    "private_key_algorithm": "private_key",
}
"""Keys that say more about a credential, and mean nothing without it."""


def check_credential(given: SecretInput, method: str) -> None:
    """Check that a credential is there when it is needed, and only then.

    Args:
        given: one of the credentials, given or not.
        method: how the broker proves who it is.

    Raises:
        InvalidValue: it is missing, or belongs to another way.
    """
    there = given.text is not None or given.file is not None
    if given.key == CREDENTIALS[method] and not there:
        problem = f"is required, as {given.key}_file or as {given.key}, while client_authentication is {method}"
        raise InvalidValue(problem, key=f"{given.key}_file")
    if there:
        check_belongs(given.key, method, key=given.key if given.file is None else f"{given.key}_file")


def check_belongs(credential: str, method: str, *, key: str | None = None) -> None:
    """Check that what was given about a credential belongs to the way the broker proves who it is.

    Args:
        credential: the credential's key.
        method: how the broker proves who it is.
        key: the key to name.

    Raises:
        InvalidValue: it belongs to another way.
    """
    if credential != CREDENTIALS[method]:
        others = " or ".join(other for other, needed in CREDENTIALS.items() if needed == credential)
        raise InvalidValue(
            f"must not be given while client_authentication is {method}: it belongs to {others}", key=key
        )


def read_private_key(pem: str, *, algorithm: str | None, key_id: str | None, wants_certificate: bool) -> AssertionKey:
    """Take a private key, and the certificate beside it.

    Args:
        pem: RSA of 2048 bits or more, or P-256, without a passphrase.
        algorithm: to sign with; None: by the key's type.
        key_id: the `kid` the provider knows the public key by.
        wants_certificate: the certificate must be there.

    Raises:
        InvalidValue: there is no such key, or its certificate is missing, unreadable or of another key.
    """
    certificates = _certificates(pem)
    try:
        key = read_assertion_key(pem, algorithm=algorithm, key_id=key_id)
    except ValueError as error:
        raise InvalidValue(str(error)) from None
    if certificates and certificates[0].public_key() != key.key.public_key:
        raise InvalidValue("holds a certificate that is not the private key's: its own certificate comes first")
    if wants_certificate and not certificates:
        raise InvalidValue(
            "holds no certificate: this provider finds the key by the certificate, so put both in one file"
        )
    return key


def federated_token(text: str) -> str:
    """Take a token of the platform: a signed JWT, which nobody but the provider can verify.

    Raises:
        InvalidValue: it does not look like one.
    """
    if not _JWS.fullmatch(text):
        raise InvalidValue("does not hold a signed token (JWT) alone")
    try:
        token = extract_compact(text.encode())
        claims = json.loads(token.payload)
    except (JoseError, ValueError, RecursionError):
        raise InvalidValue("does not hold a signed token (JWT) alone") from None
    if not isinstance(claims, dict) or str(token.headers().get("alg", "none")).lower() == "none":
        raise InvalidValue("does not hold a signed token (JWT) alone")
    return text


def _certificates(pem: str) -> list[x509.Certificate]:
    if not re.search("-----BEGIN CERTIFICATE-----", pem):
        return []
    try:
        return x509.load_pem_x509_certificates(pem.encode())
    except ValueError:
        raise InvalidValue("holds a certificate that cannot be read") from None


def _key(given: Any, info: ValidationInfo) -> PrivateKey | None:
    kind = KINDS[info.data.get("preset", "oidc")]
    read = partial(
        read_private_key,
        algorithm=info.data.get("private_key_algorithm") or kind.private_key_algorithm,
        key_id=info.data.get("private_key_id"),
        wants_certificate=kind.wants_certificate,
    )
    value = secret_reader(read, required=False)(given, info)
    return None if value is None else PrivateKey(value)


ClientSecret = Annotated[Secret | None, secret_text(secret_rules.client_secret, required=False), HIDDEN, TEXT]
FederatedToken = Annotated[Secret | None, secret_text(federated_token, required=False), HIDDEN, TEXT]
ClientPrivateKey = Annotated[PrivateKey | None, BeforeValidator(_key), HIDDEN, TEXT]
