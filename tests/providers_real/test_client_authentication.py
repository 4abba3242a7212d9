"""Proving who we are to the certified provider without a secret: with a key of ours, or with a platform's token."""

from __future__ import annotations

import base64
import hashlib
import json
import time
from functools import partial
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from joserfc.jwk import ECKey, RSAKey

from broker.errors import ClientRejected
from tests.providers_real import person, programs, vendors
from tests.providers_real.scene import CLIENT_ID, Scene, assert_refused, claims_for_comm100, started
from tests.settings.pem import certificate_of, ec_key, pem_of, rsa_key

ACCOUNTS = {"ada": {"email": "ada@acme.example", "email_verified": True, "name": "Ada Lovelace"}}
LOOK_SECONDS = 1.1  # a file is looked at once a second at most

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey


def registered(key: PrivateKey, algorithm: str, **members: str) -> dict[str, Any]:
    """The registration of a client that is known by this key."""
    kind: type[RSAKey] | type[ECKey] = RSAKey if isinstance(key, rsa.RSAPrivateKey) else ECKey
    public = kind.import_key(pem_of(key)).as_dict(private=False)
    return {
        "token_endpoint_auth_method": "private_key_jwt",
        "token_endpoint_auth_signing_alg": algorithm,
        "jwks": {"keys": [{**public, "use": "sig", **members}]},
    }


def thumbprint(certificate: str) -> str:
    """The x5t#S256 of a certificate (RFC 7515, section 4.1.8)."""
    der = x509.load_pem_x509_certificate(certificate.encode()).public_bytes(Encoding.DER)
    return base64.urlsafe_b64encode(hashlib.sha256(der).digest()).rstrip(b"=").decode()


def okta_with(origin: str, folder: Path, **settings: Any) -> vendors.Vendor:
    return vendors.okta(origin).saying(assertions_file=str(folder / "assertions")).configured(**settings)


def assertions(scene: Scene) -> list[dict[str, Any]]:
    """Header and claims of each assertion the provider accepted."""
    return [json.loads(line) for line in (scene.folder / "assertions").read_text().splitlines()]


def sign_in(scene: Scene) -> None:
    """A person whom the provider has never seen before comes to Comm100."""
    with person.browser() as browser:
        assert claims_for_comm100(scene.come_back(browser, "ada"), scene)["email"] == "ada@acme.example"


@pytest.mark.parametrize(
    ("key", "algorithm"),
    [
        pytest.param(rsa_key(), "RS256", id="RS256"),
        pytest.param(rsa_key(), "PS256", id="PS256"),
        pytest.param(ec_key(), "ES256", id="ES256"),
    ],
)
def test_a_key_of_ours_proves_who_we_are(key: PrivateKey, algorithm: str, tmp_path: Path) -> None:
    settings = {
        "client_authentication": "private_key_jwt",
        "private_key_file": programs.secret_file(tmp_path / "key", pem_of(key) + certificate_of(key)),
        "private_key_algorithm": algorithm,
        "private_key_id": "broker-2026",
    }
    vendor = partial(okta_with, folder=tmp_path, **settings)
    client = registered(key, algorithm, kid="broker-2026")
    with started(tmp_path, vendor, accounts=ACCOUNTS, client=client) as scene:
        sign_in(scene)
        sign_in(scene)
        first, second = assertions(scene)
    assert first["header"] == {
        "alg": algorithm,
        "typ": "JWT",
        "kid": "broker-2026",
        "x5t#S256": thumbprint(certificate_of(key)),
    }
    payload = first["payload"]
    assert (payload["iss"], payload["sub"], payload["aud"]) == (CLIENT_ID, CLIENT_ID, f"{scene.origin}/oauth2/v1/token")
    assert 0 < payload["exp"] - payload["iat"] <= 600
    assert payload["jti"] != second["payload"]["jti"]


def test_a_provider_may_want_its_issuer_as_the_audience(tmp_path: Path) -> None:
    key = rsa_key()
    settings = {
        "client_authentication": "private_key_jwt",
        "private_key_file": programs.secret_file(tmp_path / "key", pem_of(key)),
        "client_assertion_audience": "issuer",
    }
    vendor = partial(okta_with, folder=tmp_path, **settings)
    with started(tmp_path, vendor, accounts=ACCOUNTS, client=registered(key, "RS256")) as scene:
        sign_in(scene)
        [sent] = assertions(scene)
    assert sent["payload"]["aud"] == scene.origin


def test_entra_is_told_the_certificate_and_ps256_by_default(tmp_path: Path) -> None:
    key = rsa_key()
    accounts = {"ada": {"tid": vendors.TENANT, "email": "ada@acme.example", "xms_edov": True, "name": "Ada Lovelace"}}

    def vendor(origin: str) -> vendors.Vendor:
        pem = programs.secret_file(tmp_path / "key", pem_of(key) + certificate_of(key))
        entra = vendors.entra(origin).saying(assertions_file=str(tmp_path / "assertions"))
        return entra.configured(client_authentication="private_key_jwt", private_key_file=pem)

    with started(tmp_path, vendor, accounts=accounts, client=registered(key, "PS256")) as scene:
        sign_in(scene)
        [sent] = assertions(scene)
    assert sent["header"] == {"alg": "PS256", "typ": "JWT", "x5t#S256": thumbprint(certificate_of(key))}
    assert sent["payload"]["aud"] == f"{scene.origin}/{vendors.TENANT}/oauth2/v2.0/token"


def test_a_new_key_is_used_as_soon_as_it_is_in_the_file(tmp_path: Path) -> None:
    older, newer = rsa_key(1), rsa_key(2)
    file = tmp_path / "key"
    settings = {
        "client_authentication": "private_key_jwt",
        "private_key_file": programs.secret_file(file, pem_of(older) + certificate_of(older)),
    }
    client = registered(older, "RS256")
    client["jwks"]["keys"] += registered(newer, "RS256")["jwks"]["keys"]
    vendor = partial(okta_with, folder=tmp_path, **settings)
    with started(tmp_path, vendor, accounts=ACCOUNTS, client=client) as scene:
        sign_in(scene)
        programs.secret_file(file, pem_of(newer) + certificate_of(newer))
        time.sleep(LOOK_SECONDS)
        sign_in(scene)
        thumbprints = [sent["header"]["x5t#S256"] for sent in assertions(scene)]
    assert thumbprints == [thumbprint(certificate_of(older)), thumbprint(certificate_of(newer))]


def test_a_key_the_provider_does_not_know_is_refused(tmp_path: Path) -> None:
    settings = {
        "client_authentication": "private_key_jwt",
        "private_key_file": programs.secret_file(tmp_path / "key", pem_of(rsa_key(2))),
    }
    vendor = partial(okta_with, folder=tmp_path, **settings)
    client = registered(rsa_key(1), "RS256")
    with started(tmp_path, vendor, accounts=ACCOUNTS, client=client) as scene, person.browser() as browser:
        assert_refused(scene.come_back(browser, "ada"), scene, ClientRejected, got="invalid_client")


def test_a_platforms_token_is_sent_as_it_is_and_read_again_when_it_is_renewed(tmp_path: Path) -> None:
    """The provider takes a token once, which shows when a renewed one is used."""
    file, platform = tmp_path / "token", rsa_key(3)
    now = int(time.time())

    def token(audience: str, number: int) -> str:
        claims = {"iss": CLIENT_ID, "sub": CLIENT_ID, "aud": audience, "jti": f"token {number}", "exp": now + 600}
        return jwt.encode(claims, platform, "RS256", headers={"kid": "platform"})

    def vendor(origin: str) -> vendors.Vendor:
        programs.secret_file(file, token(f"{origin}/oauth2/v1/token", 1))
        return okta_with(origin, tmp_path, client_authentication="federated_credential", federated_token_file=str(file))

    client = registered(platform, "RS256", kid="platform")
    with started(tmp_path, vendor, accounts=ACCOUNTS, client=client) as scene:
        sign_in(scene)
        with person.browser() as browser:
            assert_refused(scene.come_back(browser, "ada"), scene, ClientRejected, got="invalid_client")
        programs.secret_file(file, token(f"{scene.origin}/oauth2/v1/token", 2))
        time.sleep(LOOK_SECONDS)
        sign_in(scene)
        sent = [one["payload"]["jti"] for one in assertions(scene)]
        log = (tmp_path / "broker.log").read_text()
    assert sent[0] == "token 1"
    assert sent[-1] == "token 2"
    assert token(f"{scene.origin}/oauth2/v1/token", 2)[:60] not in log
