"""What cannot work is named before anything is installed: every mistake, each with an example, and never a value."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.chart.helm import Helm3, Refused, Renders
from tests.chart.tools import values_of

UNSET = object()  # takes a key away


def changed(path: str, value: Any) -> dict[str, Any]:
    """Return the smallest values with one of them changed; `/` stands between keys."""
    values = values_of("minimal")
    *sections, key = path.split("/")
    section = values
    for name in sections:
        section = section.setdefault(name, {})
    if value is UNSET:
        del section[key]
    else:
        section[key] = value
    return values


def refusal(helm: Renders, values: dict[str, Any]) -> str:
    """Return why these values cannot be installed."""
    with pytest.raises(Refused) as refused:
        helm.render(values)
    return str(refused.value)


PROVIDER = "config/identity_providers/acme"
MISTAKES = [
    pytest.param("config/listen", "0.0.0.0:80", "config.listen must not be given", id="listen"),
    pytest.param("config/operations_listen", "0.0.0.0:90", "config.operations_listen must not", id="operations_listen"),
    pytest.param("config/secret_keys", "k" * 40, "config.secret_keys is a secret", id="own keys inline"),
    pytest.param("config/sites/main/shared_secret", "s" * 40, "main.shared_secret is a secret", id="shared inline"),
    pytest.param(f"{PROVIDER}/client_secret", "s" * 40, "acme.client_secret is a secret", id="client secret inline"),
    pytest.param(f"{PROVIDER}/private_key", "k" * 40, "acme.private_key is a secret", id="private key inline"),
    pytest.param(f"{PROVIDER}/federated_token", "t" * 40, "acme.federated_token is a secret", id="token inline"),
    pytest.param(
        "extraEnv",
        [{"name": "BROKER_SITES__MAIN__SHARED_SECRET", "value": "s" * 40}],
        "is a secret",
        id="in a variable",
    ),
    pytest.param("config/outbound_proxy", "http://me:mine@proxy:3128", "without a user name", id="proxy's password"),
    pytest.param("outboundProxy", "http://me:mine@proxy:3128", "without a user name", id="outboundProxy's password"),
    pytest.param(
        f"{PROVIDER}/outbound_proxy",
        "http://me:mine@proxy:3128",
        "outbound_proxy_file: /run/secrets/broker/identity_providers.acme.outbound_proxy",
        id="password of a provider's proxy",
    ),
    pytest.param(f"{PROVIDER}/outbound_proxy", "proxy", "acme.outbound_proxy must be scheme, host", id="its proxy"),
    pytest.param(
        "extraEnv",
        [{"name": "BROKER_OUTBOUND_PROXY", "value": "http://me:mine@proxy:3128"}],
        "BROKER_OUTBOUND_PROXY, is a secret",
        id="proxy's password in a variable",
    ),
    pytest.param(
        "extraEnv",
        [{"name": "BROKER_IDENTITY_PROVIDERS__ACME__OUTBOUND_PROXY", "value": "http://me:mine@proxy:3128"}],
        "ACME__OUTBOUND_PROXY, is a secret",
        id="password of a provider's proxy in a variable",
    ),
    pytest.param(
        "existingSecret", UNSET, "existingSecret is missing: a Secret with the keys secret_keys,", id="no secrets"
    ),
    pytest.param("secrets", {"secret_keys": "k" * 40}, "existingSecret, secrets are given together", id="two sources"),
    pytest.param("secrets", {"secret_keys": "k" * 40}, "has no key sites.main.shared_secret", id="a secret missing"),
    pytest.param("secrets", {"secretkeys": "k" * 40}, "has the key secretkeys, which", id="a secret too many"),
    pytest.param("externalSecret", {"enabled": True}, "externalSecret.secretStoreRef is missing", id="no store"),
    pytest.param("secretProviderClass", {"enabled": True}, "secretProviderClass needs a name", id="no parameters"),
    pytest.param("ingress/host", "login.acme.example", "ingress.host is not the host of", id="another host"),
    pytest.param("autoscaling", {"enabled": True, "minReplicas": 9}, "minReplicas is more than", id="min over max"),
    pytest.param("podDisruptionBudget", {"minAvailable": 2}, "minAvailable leaves no pod to drain", id="no drain"),
    pytest.param("podDisruptionBudget", {"minAvailable": "51%"}, "leaves no pod to drain", id="no drain, in percent"),
    pytest.param("podDisruptionBudget", {"maxUnavailable": 0}, "maxUnavailable is 0", id="none may go"),
    pytest.param(
        "podDisruptionBudget", {"minAvailable": 1, "maxUnavailable": 1}, "beside maxUnavailable", id="both budgets"
    ),
    pytest.param("terminationGracePeriodSeconds", 10, "cuts off requests in flight", id="short grace"),
    pytest.param("config/stop_delay", 60, "at least 90, with preStopSleepSeconds", id="grace below stop_delay"),
    pytest.param("outboundProxy", "proxy.acme.example", "outboundProxy must be scheme, host and port", id="proxy"),
    pytest.param("trustedCa", {"secret": "a", "configMap": "b"}, "trustedCa has several sources", id="two authorities"),
    pytest.param("trustedCa", {"pem": "MIIB"}, "trustedCa.pem has no certificate", id="no PEM"),
    pytest.param(
        "trustedCa", {"pem": "-----BEGIN CERTIFICATE-----\n-----BEGIN PRIVATE KEY-----"}, "a private key", id="a key"
    ),
    pytest.param(
        "config/snapshot_file",
        "/data/snapshot.json",
        "config.snapshot_file is given beside snapshot",
        id="two snapshots",
    ),
    pytest.param("fullnameOverride", "1sso", "fullnameOverride must begin with a letter", id="name with a digit first"),
    pytest.param("fullnameOverride", "my.sso", "fullnameOverride must begin with a letter", id="name with a dot"),
    pytest.param("commonLabels", {"helm.sh/chart": "x"}, "commonLabels.helm.sh/chart is a label", id="chart's label"),
    pytest.param("podLabels", {"app.kubernetes.io/name": "x"}, "podLabels.app.kubernetes.io/name is", id="selected by"),
    pytest.param("networkPolicy", {"enabled": True, "publicFrom": []}, "publicFrom is empty", id="open policy"),
]

# What the schema of the settings refuses, in Helm's words.
WRONG_SETTINGS = [
    pytest.param("config/public_url", UNSET, "public_url", id="no public_url"),
    pytest.param("config/public_url", "http://sso.acme.example", "public_url", id="http"),
    pytest.param("config/public_url", "http://127.0.0.1:8000", "public_url", id="loopback"),
    pytest.param("config/public_url", "https://sso.acme.example/sso", "public_url", id="a path"),
    pytest.param("config/sites", UNSET, "sites", id="no sites"),
    pytest.param("config/sites", {}, "sites", id="an empty map of sites"),
    pytest.param("config/sites/main/endpoint", UNSET, "endpoint", id="no endpoint"),
    pytest.param("config/sites/main/endpoint", "http://acme.comm100.com/x", "endpoint", id="http site"),
    pytest.param("config/sites/the-main", {"endpoint": "https://a.comm100.com/x"}, "the-main", id="id"),
    pytest.param("config/sites/a.b", {"endpoint": "https://a.comm100.com/x"}, "a.b", id="dotted id"),
    pytest.param("config/identity_providers", UNSET, "identity_providers", id="no providers"),
    pytest.param(f"{PROVIDER}/issuer", UNSET, "issuer", id="no issuer"),
    pytest.param(f"{PROVIDER}/preset", "entra", "tenant", id="no tenant"),
    pytest.param(f"{PROVIDER}/client_id", UNSET, "client_id", id="no client_id"),
    pytest.param(f"{PROVIDER}/email_domains", UNSET, "email_domains", id="no domains"),
    pytest.param(f"{PROVIDER}/email_domains", [], "email_domains", id="an empty list of domains"),
]
PLACEHOLDERS = [
    pytest.param("config/public_url", "https://sso.example.com", "config.public_url", id="public_url"),
    pytest.param("config/public_url", "https://your-host.acme.org", "config.public_url", id="your host"),
    pytest.param(
        "config/sites/main/endpoint", "https://your-site.comm100.com", "config.sites.main.endpoint", id="endpoint"
    ),
    pytest.param(f"{PROVIDER}/issuer", "https://your-tenant.okta.com", "acme.issuer", id="issuer"),
    pytest.param(f"{PROVIDER}/client_id", "<client id>", "acme.client_id", id="client_id"),
    pytest.param(f"{PROVIDER}/client_id", "YOUR_CLIENT_ID", "acme.client_id", id="client_id in capitals"),
    pytest.param(f"{PROVIDER}/email_domains", ["example.com"], "acme.email_domains.0", id="email_domains"),
    pytest.param("secrets", {"secret_keys": "<key>"}, "secrets.secret_keys", id="secret"),
]


@pytest.mark.parametrize(("path", "value", "words"), MISTAKES)
def test_a_mistake_is_named_with_an_example(helm_3: Helm3, path: str, value: Any, words: str) -> None:
    said = refusal(helm_3, changed(path, value))
    lines = [line for line in said.splitlines() if line.startswith("  - ")]
    assert any(words in line for line in lines), said
    assert all("; for example: " in line for line in lines)


@pytest.mark.parametrize(
    ("setting", "value", "others", "words"),
    [
        pytest.param(
            "trusted_ca_file", "/ca.pem", {"trustedCa": {"secret": "ca"}}, "beside trustedCa", id="authorities"
        ),
        pytest.param(
            "outbound_proxy", "http://a:1", {"outboundProxy": "http://b:1"}, "beside outboundProxy", id="proxies"
        ),
        pytest.param(
            "log_email",
            "none",
            {"serviceMonitor": {"enabled": True}, "podMonitor": {"enabled": True}},
            "beside serviceMonitor",
            id="monitors",
        ),
    ],
)
def test_two_of_a_kind_are_refused(helm_3: Helm3, setting: str, value: str, others: dict[str, Any], words: str) -> None:
    assert words in refusal(helm_3, {**changed(f"config/{setting}", value), **others})


@pytest.mark.parametrize(("path", "value", "words"), WRONG_SETTINGS)
def test_a_setting_that_is_missing_or_of_a_wrong_form_is_refused(
    helm: Renders, path: str, value: Any, words: str
) -> None:
    assert words in refusal(helm, changed(path, value))


@pytest.mark.parametrize(("path", "value", "place"), PLACEHOLDERS)
def test_a_placeholder_is_refused_in_plain_words(helm: Renders, path: str, value: Any, place: str) -> None:
    said = refusal(helm, changed(path, value))
    (line,) = (line for line in said.splitlines() if "your own value, not a placeholder" in line)
    assert place in line.replace("/", ".")


def test_all_mistakes_are_named_at_once(helm: Renders) -> None:
    values = changed("podDisruptionBudget", {"minAvailable": 2})
    values |= {"existingSecret": "", "ingress": {"host": "login.acme.example"}}
    said = refusal(helm, values)
    assert "3 mistakes" in said
    for place in ("existingSecret", "podDisruptionBudget.minAvailable", "ingress.host"):
        assert re.search(rf"^  - {place}", said, flags=re.MULTILINE), place


def test_values_alone_as_they_come_are_refused(helm: Renders) -> None:
    said = refusal(helm, {})
    assert all(key in said for key in ("public_url", "sites", "identity_providers"))


def test_a_refusal_repeats_no_secret(helm: Renders) -> None:
    secret = "Zk3-a-secret-that-nobody-may-read"
    values = changed("config/sites/main/shared_secret", secret)
    values["config"]["identity_providers"]["acme"]["client_secret"] = secret
    values["secrets"] = {"secret_keys": secret, "sites.main.shared_secret": secret}
    assert secret not in refusal(helm, values)


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        pytest.param("config", None, "config", id="nothing below config"),
        pytest.param("replicacount", 3, "replicacount", id="a key that does not exist"),
        pytest.param("config/sites/main/endpont", "x", "endpont", id="a misspelt setting of a site"),
        pytest.param(f"{PROVIDER}/isuer", "x", "isuer", id="a misspelt setting of a provider"),
        pytest.param("config/public_ulr", "x", "public_ulr", id="a misspelt setting at the top"),
        pytest.param(f"{PROVIDER}/client_id", 1234567890, "client_id", id="a number for a text"),
        pytest.param(f"{PROVIDER}/preset", "octa", "preset", id="an unknown preset"),
        pytest.param("replicaCount", "two", "replicaCount", id="a text for a number"),
        pytest.param("replicaCount", 0, "replicaCount", id="no replica"),
        pytest.param("image", {"digest": "sha256:abc"}, "image", id="half a digest"),
        pytest.param("image", {"tag": "1.0@sha256:abc"}, "image", id="a digest in the tag"),
        pytest.param("trustedCa", {"key": "../ca.crt"}, "trustedCa", id="a path for a key"),
        pytest.param("nameOverride", "no spaces here", "nameOverride", id="no label"),
        pytest.param("service", {"port": 70000}, "service", id="no port"),
        pytest.param("ingress/host", "https://sso.acme.example", "ingress", id="an address for a host"),
    ],
)
def test_the_schema_names_a_wrong_key_or_kind(helm: Renders, path: str, value: Any, words: str) -> None:
    assert words in refusal(helm, changed(path, value))


@pytest.mark.parametrize(
    "values",
    [
        pytest.param({"global": {"anything": {"at": ["all"]}}}, id="global"),
        pytest.param({"resources": {"claims": [{"name": "gpu"}]}}, id="resources"),
        pytest.param({"affinity": {"podAntiAffinity": {"new_in_kubernetes": True}}}, id="affinity"),
        pytest.param({"extraEnv": [{"name": "X", "valueFrom": {"some": "thing"}}]}, id="extraEnv"),
        pytest.param({"sidecars": [{"name": "x", "image": "x", "new": {}}]}, id="sidecars"),
    ],
)
def test_what_kubernetes_judges_is_open(helm_3: Helm3, values: dict[str, Any]) -> None:
    assert helm_3.render({**values_of("minimal"), **values})
