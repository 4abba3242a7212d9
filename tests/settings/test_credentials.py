"""How the broker proves who it is: one credential, the right one, and never shown."""

import time
from collections.abc import Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from broker.settings import ProviderSettings, Settings
from broker.settings.secrets import CREDENTIALS
from tests.settings.admin import Admin
from tests.settings.pem import certificate_of, ec_key, pem_of, platform_token, rsa_key

TENANT = "7a0c1b2d-3e4f-4a5b-8c6d-7e8f9a0b1c2d"
KEY_JWT = {"client_authentication": "private_key_jwt", "private_key_file": "key.pem"}
FEDERATED = {"client_authentication": "federated_credential", "federated_token_file": "token"}
OIDC = {"issuer": "https://id.acme.example"}
GIVEN = {
    "client_secret_file": "client-secret",
    "client_secret": "a secret",
    "client_secret_expires": "2027-03-31",
    "private_key_file": "key.pem",
    "private_key": "no key at all",
    "private_key_id": "broker-2026",
    "private_key_algorithm": "PS256",
    "federated_token_file": "token",
    "federated_token": "no token at all",
}
ENTRA = {"preset": "entra", "tenant": TENANT}


@pytest.fixture(autouse=True)
def _credentials(admin: Admin) -> None:
    admin.secret("key.pem", pem_of(rsa_key()) + certificate_of(rsa_key()))
    admin.secret("token", platform_token())


def _tree(admin: Admin, *sections: dict[str, Any]) -> dict[str, Any]:
    section: dict[str, Any] = {"client_id": "abc", "email_domains": ["acme.example"]}
    for part in sections:
        section |= part
    return admin.settings(identity_providers={"idp": section})


def _load(admin: Admin, *sections: dict[str, Any]) -> ProviderSettings:
    return admin.load(_tree(admin, *sections)).identity_providers["idp"]


def _refused(admin: Admin, *sections: dict[str, Any]) -> dict[str, str]:
    mistakes = admin.refused(_tree(admin, *sections))
    return {mistake.path.removeprefix("identity_providers.idp."): mistake.problem for mistake in mistakes}


@pytest.mark.parametrize("method", [method for method, credential in CREDENTIALS.items() if credential])
def test_the_credential_of_the_method_is_missed_by_name(admin: Admin, method: str) -> None:
    credential = CREDENTIALS[method]

    assert _refused(admin, OIDC, {"client_authentication": method}) == {
        f"{credential}_file": f"is required, as {credential}_file or as {credential}, "
        f"while client_authentication is {method}"
    }


@pytest.mark.parametrize(
    ("method", "key"),
    [
        pytest.param(method, key, id=f"{method}: {key}")
        for method, credential in CREDENTIALS.items()
        for key in GIVEN
        if credential is None or not key.startswith(credential)
    ],
)
def test_a_key_of_another_credential_is_refused(admin: Admin, method: str, key: str) -> None:
    credential = CREDENTIALS[method]
    own = {f"{credential}_file": GIVEN[f"{credential}_file"]} if credential else {}

    found = _refused(admin, OIDC, {"client_authentication": method}, own, {key: GIVEN[key]})

    assert list(found) == [key]
    assert f"must not be given while client_authentication is {method}: it belongs to" in found[key]


def test_a_private_key_alone_does_not_choose_the_method(admin: Admin) -> None:
    found = _refused(admin, OIDC, {"private_key_file": "key.pem"})

    assert "while client_authentication is client_secret_basic" in found["client_secret_file"]
    assert "it belongs to private_key_jwt" in found["private_key_file"]


@pytest.mark.parametrize(
    ("section", "key", "algorithm"),
    [
        pytest.param(OIDC, rsa_key, "RS256", id="RSA"),
        pytest.param(OIDC, ec_key, "ES256", id="P-256"),
        pytest.param(OIDC | {"private_key_algorithm": "PS256"}, rsa_key, "PS256", id="PS256 chosen"),
        pytest.param(ENTRA, rsa_key, "PS256", id="Entra"),
        pytest.param(ENTRA | {"private_key_algorithm": "RS256"}, rsa_key, "RS256", id="Entra, RS256 chosen"),
    ],
)
def test_a_private_key_is_ready_to_sign(
    admin: Admin, section: dict[str, Any], key: Callable[[], Any], algorithm: str
) -> None:
    admin.secret("key.pem", pem_of(key()) + certificate_of(key()))

    provider = _load(admin, KEY_JWT, section, {"private_key_id": "broker-2026"})

    assert provider.private_key is not None
    ready = provider.private_key.reveal()
    assert ready.algorithm == algorithm
    assert ready.key.public_key == key().public_key()
    assert ready.header["kid"] == "broker-2026"
    assert len(ready.header["x5t#S256"]) == 43
    assert (provider.client_secret, provider.federated_token) == (None, None)


@pytest.mark.parametrize(
    ("section", "pem", "words"),
    [
        pytest.param(OIDC, lambda: "", "no private key", id="empty"),
        pytest.param(OIDC, lambda: certificate_of(rsa_key()), "no private key", id="certificate alone"),
        pytest.param(OIDC, lambda: pem_of(rsa_key(), passphrase="abc"), "without a passphrase", id="passphrase"),
        pytest.param(
            OIDC,
            lambda: pem_of(rsa_key(3, bits=1024)),
            "fewer than 2048 bits",
            id="short",
            # The library warns of it, too, before it is refused.
            marks=pytest.mark.filterwarnings("ignore:Key size:joserfc.errors.SecurityWarning"),
        ),
        pytest.param(OIDC, lambda: pem_of(ec_key(ec.SECP384R1)), "neither RSA nor P-256", id="P-384"),
        pytest.param(OIDC, lambda: pem_of(rsa_key()).replace("M", "!"), "neither RSA nor P-256", id="broken"),
        pytest.param(
            OIDC | {"private_key_algorithm": "ES256"}, lambda: pem_of(rsa_key()), "cannot sign with ES256", id="ES256"
        ),
        pytest.param(ENTRA, lambda: pem_of(ec_key()), "cannot sign with PS256", id="P-256 for Entra"),
        pytest.param(ENTRA, lambda: pem_of(rsa_key()), "holds no certificate", id="no certificate for Entra"),
        pytest.param(
            OIDC,
            lambda: pem_of(rsa_key()) + certificate_of(rsa_key(2)),
            "of another private key",
            id="another key's certificate",
        ),
        pytest.param(
            OIDC,
            lambda: pem_of(rsa_key()) + certificate_of(rsa_key()).replace("MII", "AII"),
            "certificate that cannot be read",
            id="broken certificate",
        ),
        pytest.param(
            OIDC,
            lambda: pem_of(rsa_key()) + "-----BEGIN CERTIFICATE-----\nMIIC",
            "certificate that cannot be read",
            id="half a certificate",
        ),
    ],
)
def test_a_private_key_that_cannot_be_used_is_refused(
    admin: Admin, section: dict[str, Any], pem: Callable[[], str], words: str
) -> None:
    admin.secret("key.pem", pem())

    found = _refused(admin, KEY_JWT, section)

    assert list(found) == ["private_key_file"]
    assert words in found["private_key_file"]


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="empty"),
        pytest.param("a-secret", id="a secret"),
        pytest.param("a.b.c", id="three parts"),
        pytest.param("eyJhbGciOiJub25lIn0.e30.", id="unsigned"),
        pytest.param("eyJhbGciOiJSUzI1NiJ9.W10.AA", id="no claims"),
        pytest.param("eyJhbGciOiJSUzI1NiJ9.e30.", id="no signature"),
        pytest.param("W10.e30.AA", id="no header"),
        pytest.param("eyJhbGciOiJSUzI1NiJ9.e30.AA\nsecond line", id="two lines"),
        pytest.param("Bearer eyJhbGciOiJSUzI1NiJ9.e30.AA", id="with a scheme"),
    ],
)
def test_what_does_not_look_like_a_token_is_no_federated_token(admin: Admin, text: str) -> None:
    admin.secret("token", text)

    assert _refused(admin, FEDERATED, ENTRA) == {
        "federated_token_file": "names a file that does not hold a signed token (JWT) alone"
    }


def test_workload_identity_needs_no_secret(admin: Admin) -> None:
    provider = _load(admin, FEDERATED, ENTRA)

    assert provider.federated_token is not None
    assert provider.federated_token.reveal() == (admin.folder / "token").read_text().strip()
    assert (provider.client_secret, provider.private_key) == (None, None)


def test_credentials_that_are_files_are_renewed(admin: Admin) -> None:
    with_token, with_key = _load(admin, FEDERATED, ENTRA), _load(admin, KEY_JWT, ENTRA)
    assert with_token.federated_token is not None
    assert with_key.private_key is not None

    token = admin.secret("token", platform_token("another"))
    admin.secret("key.pem", pem_of(rsa_key(2)) + certificate_of(rsa_key(2)))

    deadline = time.monotonic() + 10
    renewed = rsa_key(2).public_key()
    while with_token.federated_token.reveal() != token or with_key.private_key.reveal().key.public_key != renewed:
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.mark.parametrize(
    ("key", "text"),
    [
        pytest.param("private_key", lambda: pem_of(rsa_key()), id="private_key"),
        pytest.param("federated_token", platform_token, id="federated_token"),
    ],
)
def test_credentials_may_come_from_the_environment(admin: Admin, key: str, text: Callable[[], str]) -> None:
    method = {"private_key": "private_key_jwt", "federated_token": "federated_credential"}[key]
    tree = _tree(admin, OIDC, {"client_authentication": method})

    provider = admin.load(tree, **{f"BROKER_IDENTITY_PROVIDERS__IDP__{key.upper()}": text()}).identity_providers["idp"]

    assert getattr(provider, key).reveal()


@pytest.mark.parametrize(
    "show",
    [
        pytest.param(repr, id="repr"),
        pytest.param(str, id="str"),
        pytest.param(lambda settings: str(settings.model_dump()), id="dump"),
        pytest.param(lambda settings: settings.model_dump_json(), id="JSON"),
    ],
)
@pytest.mark.parametrize("section", [KEY_JWT | OIDC, FEDERATED | OIDC], ids=["private key", "federated token"])
def test_showing_settings_shows_no_credential(
    admin: Admin, section: dict[str, Any], show: Callable[[Settings], str]
) -> None:
    shown = show(admin.load(_tree(admin, section)))

    assert "hidden" in shown
    for file in ("key.pem", "token"):
        for line in (admin.folder / file).read_text().split():
            assert line[:16] not in shown
