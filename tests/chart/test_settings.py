"""The settings the chart writes are settings the broker takes, and the files it names are files the pods have."""

from __future__ import annotations

import base64
import copy
from pathlib import Path
from typing import Any

import pytest
import yaml

from broker.settings import Settings, load_settings
from tests.chart.helm import Helm3, Renders
from tests.chart.test_refusals import changed
from tests.chart.tools import EXAMPLES, Object, objects_in, pod_specs, the, values_of
from tests.settings.pem import certificate_of, pem_of, platform_token, rsa_key

EACH_EXAMPLE = pytest.mark.parametrize("example", [pytest.param(one.stem, id=one.stem) for one in EXAMPLES])
KEY = "Zk3rJ8vTq1nYb6Wm4Xc9Ld2Hs7Pf5Ga0Ue-%d"


def files_of(pod: Object, folder: Path) -> dict[str, Path]:
    """Write what a pod's volumes hold, secrets made up, and return each file by its path in the container."""
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    found: dict[str, Path] = {}
    for mount in pod["containers"][0]["volumeMounts"]:
        for name in _names_in(volumes[mount["name"]]):
            file = folder / f"{mount['name']}-{name}"
            file.write_text(_content(name, len(found)), encoding="utf-8")
            found[f"{mount['mountPath']}/{name}"] = file
    return found


def _names_in(volume: Object) -> list[str]:
    for kind in ("secret", "configMap", "downwardAPI"):
        if kind in volume:
            return [item["path"] for item in volume[kind].get("items", [])]
    if "projected" in volume:
        return [source["serviceAccountToken"]["path"] for source in volume["projected"]["sources"]]
    return ["secret_keys", "sites.main.shared_secret", "identity_providers.google.client_secret"]  # the CSI example


def _content(name: str, number: int) -> str:
    if name.endswith("outbound_proxy"):
        return f"http://me:p%40w{number}@proxy.acme.example:3128"
    if name.endswith("private_key"):
        return pem_of(rsa_key()) + certificate_of(rsa_key())
    if name == "ca.crt":
        return certificate_of(rsa_key())
    if name == "azure-identity-token":
        return platform_token()
    return KEY % number


def taken(settings: str, pod: Object, folder: Path) -> Settings:
    """Let the broker read settings, with the pod's files where the settings say."""
    files = files_of(pod, folder)
    for path, file in files.items():
        settings = settings.replace(path, str(file))
    assert "/run/secrets/" not in settings
    assert "/etc/broker" not in settings
    (folder / "broker.yaml").write_text(settings, encoding="utf-8")
    return load_settings(folder / "broker.yaml", {})


@EACH_EXAMPLE
def test_the_broker_takes_the_settings_of_an_example(helm: Renders, tmp_path: Path, example: str) -> None:
    objects = objects_in(helm.render(values_of(example)))
    written = the("ConfigMap", [one for one in objects if "broker.yaml" in one.get("data", {})])["data"]["broker.yaml"]
    settings = taken(written, the("Deployment", objects)["spec"]["template"]["spec"], tmp_path)

    asked = values_of(example)["config"]
    assert settings.public_url == asked["public_url"]
    assert sorted(settings.identity_providers) == sorted(asked["identity_providers"])
    assert str(settings.operations_listen) == "0.0.0.0:9000"
    if example == "several-sites":
        assert settings.identity_providers["partner"].max_age == 31_536_000  # no 3.1536e+07


def test_proxies_with_passwords_are_keys_of_the_secret(helm_3: Helm3, tmp_path: Path) -> None:
    values = values_of("minimal")
    config = values["config"] = copy.deepcopy(values["config"])
    ((id_, provider),) = config["identity_providers"].items()
    key = f"identity_providers.{id_}.outbound_proxy"
    config["outbound_proxy_file"] = "/run/secrets/broker/outbound_proxy"
    provider["outbound_proxy_file"] = f"/run/secrets/broker/{key}"
    objects = objects_in(helm_3.render(values))

    pod = the("Deployment", objects)["spec"]["template"]["spec"]
    (volume,) = (one for one in pod["volumes"] if one["name"] == "secrets")
    assert {"outbound_proxy", key} <= {item["key"] for item in volume["secret"]["items"]}
    written = the("ConfigMap", [one for one in objects if "broker.yaml" in one.get("data", {})])["data"]["broker.yaml"]
    settings = taken(written, pod, tmp_path)
    own, top = settings.identity_providers[id_].outbound_proxy, settings.outbound_proxy
    assert own
    assert top
    assert own.reveal() != top.reveal()
    assert own.reveal().startswith("http://me:p%40w")


@EACH_EXAMPLE
def test_what_checks_reads_the_same_settings_without_a_configmap(helm_3: Helm3, example: str) -> None:
    objects = objects_in(helm_3.render({**values_of(example), "check": {"afterInstall": True}}))
    written = the("ConfigMap", [one for one in objects if "broker.yaml" in one.get("data", {})])["data"]["broker.yaml"]
    for kind in ("Pod", "Job"):
        one = the(kind, objects)
        template = one if kind == "Pod" else one["spec"]["template"]
        assert yaml.safe_load(template["metadata"]["annotations"]["comm100-sso-broker/settings"]) == yaml.safe_load(
            written
        )
        assert template["spec"]["containers"][0]["args"] == ["check"]
        assert not [
            volume for volume in template["spec"]["volumes"] if volume["name"] == "settings" and "configMap" in volume
        ]


def test_a_path_of_ones_own_stays(helm_3: Helm3) -> None:
    values = changed("config/identity_providers/acme/client_secret_file", "/var/vault/acme")
    objects = objects_in(helm_3.render(values))
    assert "client_secret_file: /var/vault/acme" in the("ConfigMap", objects)["data"]["broker.yaml"]
    assert "identity_providers.acme" not in str(the("Deployment", objects)["spec"]["template"]["spec"]["volumes"])


def test_a_public_client_needs_no_secret(helm_3: Helm3) -> None:
    objects = objects_in(helm_3.render(changed("config/identity_providers/acme/client_authentication", "none")))
    assert "client_secret" not in the("ConfigMap", objects)["data"]["broker.yaml"]


def test_secrets_given_for_a_trial_become_a_secret(helm: Renders) -> None:
    values = values_of("minimal")
    del values["existingSecret"]
    keys = ["secret_keys", "sites.main.shared_secret", "identity_providers.acme.client_secret"]
    values["secrets"] = {key: KEY % number for number, key in enumerate(keys)}
    objects = objects_in(helm.render(values))
    secret = the("Secret", objects)
    assert secret["stringData"] == values["secrets"]
    volume = the("Deployment", objects)["spec"]["template"]["spec"]["volumes"][1]["secret"]
    assert volume["secretName"] == secret["metadata"]["name"]
    rest = "".join(yaml.safe_dump(one) for one in objects if one is not secret)
    for text in values["secrets"].values():
        assert text not in rest
        assert base64.b64encode(text.encode()).decode() not in rest


def test_workload_identity_gives_a_token_to_the_pods_and_to_nobody_else(helm_3: Helm3) -> None:
    objects = objects_in(helm_3.render(values_of("entra-workload-identity")))
    for name, pod in pod_specs(objects):
        (source,) = (volume["projected"]["sources"] for volume in pod["volumes"] if "projected" in volume)
        assert source[0]["serviceAccountToken"]["audience"] == "api://AzureADTokenExchange", name
        assert pod["automountServiceAccountToken"] is False
    assert not [
        one
        for _, pod in pod_specs(objects_in(helm_3.render(values_of("entra"))))
        for one in pod["volumes"]
        if "projected" in one
    ]


@pytest.mark.parametrize(
    ("change", "restarts"),
    [
        pytest.param({"config": {"log_email": "none"}}, True, id="a setting"),
        pytest.param({"outboundProxy": "http://proxy.acme.example:3128"}, True, id="the proxy"),
        pytest.param({"trustedCa": {"pem": "-----BEGIN CERTIFICATE-----\nMIIC"}}, True, id="an authority"),
        pytest.param({"commonLabels": {"team": "identity"}}, False, id="a label of objects"),
        pytest.param({"ingress": {"className": "nginx"}}, False, id="the ingress"),
        pytest.param({"replicaCount": 5}, False, id="replicas"),
        pytest.param({"prometheusRule": {"enabled": True}}, False, id="alerts"),
    ],
)
def test_pods_are_replaced_when_what_they_read_at_the_start_changes(
    helm_3: Helm3, change: dict[str, Any], restarts: bool
) -> None:
    values = {**values_of("minimal"), "trustedCa": {"pem": "-----BEGIN CERTIFICATE-----\nMIIB"}}
    before = the("Deployment", objects_in(helm_3.render(values)))["spec"]["template"]
    for key, part in change.items():
        values[key] = {**values.get(key, {}), **part} if isinstance(part, dict) else part
    after = the("Deployment", objects_in(helm_3.render(values)))["spec"]["template"]
    assert (before != after) is restarts
