"""Whatever is wrong, and wherever a secret was put by mistake, no piece of it comes out."""

import base64
import hashlib
import traceback
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.errors import SettingsError
from broker.settings import describe, load_settings
from tests.settings.admin import RIGHT

PATHS = [
    "public_url", "secret_keys", "secret_keys_file", "listen", "operations_listen", "trusted_proxies",
    "trusted_ca_file", "outbound_proxy", "outbound_proxy_file", "log_email", "support_email", "site_name", "logo_file",
    "sites", "sites.main", "sites.main.endpoint",
    "sites.main.shared_secret", "sites.main.delivery", "sites.main.redirect_hosts", "sites.main.token_lifetime",
    "sites.main.claims", "sites.main.identity_providers", "sites.main.start_url", "identity_providers",
    "identity_providers.okta", "identity_providers.okta.preset", "identity_providers.okta.issuer",
    "identity_providers.okta.client_secret", "identity_providers.okta.client_authentication",
    "identity_providers.okta.client_secret_expires", "identity_providers.okta.email_domains",
    "identity_providers.okta.scopes", "identity_providers.okta.signing_algorithms", "identity_providers.okta.userinfo",
    "identity_providers.okta.authorization_parameters", "identity_providers.okta.max_age", "unknown.key",
    "identity_providers.okta.tenant", "identity_providers.okta.tenants", "identity_providers.okta.private_key",
    "identity_providers.okta.private_key_file", "identity_providers.okta.private_key_id",
    "identity_providers.okta.outbound_proxy", "identity_providers.okta.outbound_proxy_file",
    "identity_providers.okta.private_key_algorithm", "identity_providers.okta.client_assertion_audience",
    "identity_providers.okta.federated_token",
]  # fmt: skip
LINES = ["shared_secret: {}", "shared_secret:{}", "{}", "- {}", "a: &{} b", "a: !{} b"]
SHAPES = [
    pytest.param(lambda secret: secret, id="text"),
    pytest.param(lambda secret: [secret], id="list"),
    pytest.param(lambda secret: {"a": secret}, id="value"),
    pytest.param(lambda secret: {"a": {"b": [secret]}}, id="deep"),
    pytest.param(lambda secret: "https://" + secret, id="URL"),
    pytest.param(lambda secret: "https://me:" + secret + "@acme.example/", id="password"),
]


def _secret(seed: int, mark: str, length: int) -> str:
    text = base64.b64encode(hashlib.sha256(seed.to_bytes(8)).digest()).decode()
    return mark + text[: length // 2] + mark + text[length // 2 : length]


# Random, so that no six characters of one stand in a report by chance, with marks that mean something to YAML or a URL.
SECRETS = st.builds(
    _secret,
    seed=st.integers(0, 2**64 - 1),
    mark=st.text(" :#*&!%@{}[]'\"\\<>|,-_=/.?$`", max_size=3),
    length=st.integers(6, 44),
)


def _outcome(file: Path, environ: dict[str, str]) -> str:
    try:
        return repr(load_settings(file, environ).secret_keys)
    except SettingsError as error:
        return "".join([describe(error), repr(error), *traceback.format_exception(error)])


def _with(path: str, value: Any) -> dict[str, Any]:
    tree: dict[str, Any] = yaml.safe_load(yaml.safe_dump(dict(RIGHT)))
    *steps, key = path.split(".")
    section = tree
    for step in steps:
        section = section.setdefault(step, {})
    section[key] = value
    return tree


def _assert_hidden(secret: str, shown: str) -> None:
    assert not [secret[start : start + 6] for start in range(len(secret) - 5) if secret[start : start + 6] in shown]


@pytest.mark.parametrize("shape", SHAPES)
@given(secret=SECRETS, path=st.sampled_from(PATHS))
@settings(max_examples=60, deadline=None)
def test_a_secret_in_the_wrong_place_is_not_repeated(
    tmp_path_factory: pytest.TempPathFactory, shape: Any, secret: str, path: str
) -> None:
    file = tmp_path_factory.getbasetemp() / "wrong-place.yaml"
    file.write_text(yaml.safe_dump(_with(path, shape(secret))), encoding="utf-8")

    _assert_hidden(secret, _outcome(file, {}))


@given(
    secret=SECRETS,
    line=st.sampled_from(LINES),
)
@settings(max_examples=200, deadline=None)
def test_a_secret_in_broken_yaml_is_not_repeated(
    tmp_path_factory: pytest.TempPathFactory, secret: str, line: str
) -> None:
    file = tmp_path_factory.getbasetemp() / "broken.yaml"
    file.write_text(yaml.safe_dump(dict(RIGHT)) + line.replace("{}", secret) + "\n", encoding="utf-8")

    _assert_hidden(secret, _outcome(file, {}))


@given(secret=SECRETS, path=st.sampled_from(PATHS))
@settings(max_examples=200, deadline=None)
def test_a_secret_in_the_environment_is_not_repeated(
    tmp_path_factory: pytest.TempPathFactory, secret: str, path: str
) -> None:
    file = tmp_path_factory.getbasetemp() / "right.yaml"
    file.write_text(yaml.safe_dump(dict(RIGHT)), encoding="utf-8")

    _assert_hidden(secret, _outcome(file, {"BROKER_" + path.upper().replace(".", "__"): secret}))
