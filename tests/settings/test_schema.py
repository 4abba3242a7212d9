"""The JSON Schema, the model and the document agree on every key."""

import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from broker.settings import ProviderSettings, Settings, SiteSettings
from broker.settings.schema import settings_schema
from broker.settings.secrets import Section
from tests.settings.admin import RIGHT, Admin
from tests.settings.pem import certificate_of, pem_of, platform_token, rsa_key
from tests.settings.test_kinds import TENANT, WHOLE

DOCUMENT = (Path(__file__).parents[2] / "docs" / "admin" / "settings.md").read_text(encoding="utf-8")


def _findings(tree: Any) -> list[str]:
    validator = jsonschema.Draft202012Validator(settings_schema())
    return [error.json_path for error in validator.iter_errors(tree)]


def test_the_schema_is_one() -> None:
    jsonschema.Draft202012Validator.check_schema(settings_schema())


def test_schema_and_broker_take_a_whole_file(admin: Admin) -> None:
    assert _findings(yaml.safe_load(WHOLE)) == []
    assert list(admin.load(WHOLE).identity_providers) == ["okta", "entra", "google"]


def test_schema_and_broker_take_the_documents_smallest_file(admin: Admin) -> None:
    text = re.findall(r"```yaml\n(.*?)```", DOCUMENT, re.DOTALL)[0]
    in_folder = text.replace("/run/secrets/", "")
    for name in ("broker-keys", "comm100-main", "acme"):
        admin.secret(name)

    assert _findings(yaml.safe_load(text)) == []
    assert list(admin.load(in_folder).sites) == ["main"]


@pytest.mark.parametrize(
    ("changes", "where"),
    [
        pytest.param({"lisen": "x"}, "$", id="unknown key"),
        pytest.param({"sites__main__endpont": "x"}, "$.sites.main", id="unknown key of a site"),
        pytest.param({"secret_keys": "x"}, "$", id="secret given both ways"),
        pytest.param({"sites__main__shared_secret_file": None}, "$.sites.main.shared_secret_file", id="no secret"),
        pytest.param({"sites__Main": {}}, "$.sites", id="id in upper case"),
        pytest.param({"sites": {}}, "$.sites", id="no site"),
        pytest.param({"identity_providers__okta__preset": "saml"}, "$.identity_providers.okta.preset", id="preset"),
        pytest.param({"identity_providers__okta__preset": "entra"}, "$.identity_providers.okta", id="no tenant"),
        pytest.param({"identity_providers__okta__tenant": TENANT}, "$.identity_providers.okta", id="tenant of another"),
        pytest.param(
            {
                "identity_providers__okta__preset": "entra",
                "identity_providers__okta__tenant": TENANT,
                "identity_providers__okta__tenants": [TENANT],
            },
            "$.identity_providers.okta",
            id="tenant given both ways",
        ),
        pytest.param(
            {"identity_providers__okta__private_key_file": "key.pem"},
            "$.identity_providers.okta",
            id="two credentials",
        ),
        pytest.param(
            {"identity_providers__okta__private_key_id": "a"}, "$.identity_providers.okta", id="id of no private key"
        ),
        pytest.param(
            {"identity_providers__okta__client_authentication": "private_key_jwt"},
            "$.identity_providers.okta",
            id="credential of another method",
        ),
        pytest.param(
            {"identity_providers__okta__client_authentication": "none"},
            "$.identity_providers.okta",
            id="secret of a public client",
        ),
        pytest.param({"outbound_proxy": "http://a:1", "outbound_proxy_file": "keys"}, "$", id="proxy given both ways"),
        pytest.param(
            {
                "identity_providers__okta__outbound_proxy": "none",
                "identity_providers__okta__outbound_proxy_file": "keys",
            },
            "$.identity_providers.okta",
            id="provider's proxy given both ways",
        ),
        pytest.param({"sites__main__token_lifetime": 301}, "$.sites.main.token_lifetime", id="token lifetime"),
    ],
)
def test_the_schema_refuses_what_the_broker_refuses(admin: Admin, changes: dict[str, Any], where: str) -> None:
    tree = admin.settings(**changes)

    assert where in _findings(tree)
    assert admin.refused(tree)


@pytest.mark.parametrize(
    "keys",
    [
        pytest.param({"preset": "okta", "issuer": "https://acme.okta.com", "client_secret_file": "keys"}, id="okta"),
        pytest.param({"preset": "entra", "tenant": TENANT, "client_secret_file": "keys"}, id="entra"),
        pytest.param({"preset": "entra", "tenants": [TENANT], "client_secret": "abc"}, id="several tenants"),
        pytest.param(
            {
                "preset": "entra",
                "tenant": TENANT,
                "client_authentication": "private_key_jwt",
                "private_key_file": "key.pem",
                "private_key_id": "a",
                "private_key_algorithm": "RS256",
            },
            id="certificate",
        ),
        pytest.param(
            {
                "preset": "entra",
                "tenant": TENANT,
                "client_authentication": "federated_credential",
                "federated_token_file": "token",
            },
            id="workload identity",
        ),
        pytest.param({"preset": "google", "client_secret_file": "keys"}, id="google"),
        pytest.param({"issuer": "https://a.example", "client_authentication": "none"}, id="public client"),
        pytest.param(
            {
                "issuer": "https://a.example",
                "client_secret_file": "keys",
                "outbound_proxy": "none",
            },
            id="no proxy",
        ),
    ],
)
def test_the_schema_takes_what_the_broker_takes(admin: Admin, keys: dict[str, Any]) -> None:
    admin.secret("key.pem", pem_of(rsa_key()) + certificate_of(rsa_key()))
    admin.secret("token", platform_token())
    tree = admin.settings(identity_providers={"idp": {"client_id": "abc", "email_domains": ["acme.example"]} | keys})

    assert _findings(tree) == []
    assert list(admin.load(tree).identity_providers) == ["idp"]


def test_every_key_of_the_schema_is_described() -> None:
    schema = settings_schema()

    for section in (schema, *schema["$defs"].values()):
        assert all(value["description"] for value in section["properties"].values())


@pytest.mark.parametrize(
    ("heading", "section"),
    [
        pytest.param("Keys at the top", Settings, id="top"),
        pytest.param("Keys of a site", SiteSettings, id="site"),
        pytest.param("Keys of an identity provider", ProviderSettings, id="identity provider"),
    ],
)
def test_the_document_has_a_row_for_every_key_and_no_other(heading: str, section: type[Section]) -> None:
    part = DOCUMENT.partition(f"## {heading}")[2].partition("\n## ")[0]
    schema = settings_schema()
    properties = schema["$defs"].get(section.__name__, schema)["properties"]

    rows = re.findall(r"^\| `(\w+)` \|", part, re.MULTILINE)

    assert sorted(rows) == sorted(section.known_keys()) == sorted(properties)


def test_the_right_settings_of_these_tests_are_right() -> None:
    assert _findings(dict(RIGHT)) == []
