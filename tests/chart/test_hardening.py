"""What somebody in the cluster, or an odd value, would find: rights, readable secrets, open networks, wrong kinds."""

from __future__ import annotations

import copy
import re

from tests.chart.helm import Helm3
from tests.chart.kubernetes import complaints
from tests.chart.test_objects import pod_of, rendered
from tests.chart.test_renders import EVERYTHING
from tests.chart.tools import objects_in, pod_specs, the, values_of


def test_the_network_policy_lets_through_what_is_needed_and_no_metadata_service(helm_3: Helm3) -> None:
    objects = rendered(helm_3, "google")
    policy = the("NetworkPolicy", objects)["spec"]
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    public, metrics = policy["ingress"]
    assert (public["ports"][0]["port"], metrics["ports"][0]["port"]) == (8000, 9000)
    assert "ingress-nginx" in str(public["from"])
    assert "monitoring" in str(metrics["from"])
    names, calls = policy["egress"]
    assert {(one["port"], one["protocol"]) for one in names["ports"]} == {(53, "UDP"), (53, "TCP")}
    assert "kube-system" in str(names["to"])
    assert [one["port"] for one in calls["ports"]] == [443, 3128]  # the proxy's, of outboundProxy
    assert {one["ipBlock"]["cidr"]: one["ipBlock"]["except"] for one in calls["to"]} == {
        "0.0.0.0/0": ["169.254.0.0/16"],
        "::/0": ["fe80::/10", "fd00:ec2::254/128"],
    }
    for kind in ("Deployment", "Pod"):
        one = the(kind, objects)
        labels = (one if kind == "Pod" else one["spec"]["template"])["metadata"]["labels"]
        assert policy["podSelector"]["matchLabels"].items() <= labels.items()


def test_who_is_not_named_in_the_network_policy_is_not_reached(helm_3: Helm3) -> None:
    """An empty list of peers would mean everybody."""
    closed = rendered(helm_3, networkPolicy={"enabled": True, "metricsFrom": [], "dnsTo": []})
    rules = the("NetworkPolicy", closed)["spec"]
    assert [port["port"] for rule in rules["ingress"] for port in rule["ports"]] == [8000]
    assert [port["port"] for rule in rules["egress"] for port in rule["ports"]] == [443]
    assert all(rule.get("from") or rule.get("to") for rule in rules["ingress"] + rules["egress"])


def test_the_port_of_a_proxy_in_the_settings_is_open_too_and_none_twice(helm_3: Helm3) -> None:
    for proxy, ports in (("http://proxy:3128", [443, 3128]), ("http://proxy:443/", [443])):
        config = {**values_of("minimal")["config"], "outbound_proxy": proxy}
        policy = the("NetworkPolicy", rendered(helm_3, config=config, networkPolicy={"enabled": True}))["spec"]
        assert [one["port"] for one in policy["egress"][1]["ports"]] == ports


def test_the_port_of_a_providers_own_proxy_is_open_too(helm_3: Helm3) -> None:
    config = copy.deepcopy(values_of("minimal")["config"]) | {"outbound_proxy": "http://proxy:3128"}
    (provider,) = config["identity_providers"].values()
    for proxy, ports in (("http://other:8080", [443, 3128, 8080]), ("none", [443, 3128])):
        provider["outbound_proxy"] = proxy
        policy = the("NetworkPolicy", rendered(helm_3, config=config, networkPolicy={"enabled": True}))["spec"]
        assert [one["port"] for one in policy["egress"][1]["ports"]] == ports


def test_files_are_read_only_and_secrets_are_the_groups_alone(helm_3: Helm3) -> None:
    for example in ("several-sites", "entra-workload-identity", "google"):
        for name, pod in pod_specs(rendered(helm_3, example)):
            for container in pod["containers"]:
                assert all(mount["readOnly"] for mount in container["volumeMounts"] if mount["name"] != "snapshot"), (
                    name
                )
                assert not any("subPath" in mount for mount in container["volumeMounts"]), "it would never be renewed"
            modes = {
                one["name"]: part["defaultMode"]
                for one in pod["volumes"]
                for part in one.values()
                if "defaultMode" in part
            }
            secret = {modes[one] for one in modes.keys() & {"secrets", "federated-token"}}
            assert secret == {0o440}, name
            assert pod["securityContext"]["fsGroup"] == pod["securityContext"]["runAsGroup"]


def test_pods_are_of_an_account_that_gives_no_token(helm_3: Helm3) -> None:
    objects = rendered(helm_3, "okta")
    account = the("ServiceAccount", objects)
    assert account["automountServiceAccountToken"] is False
    assert {pod["serviceAccountName"] for _, pod in pod_specs(objects)} == {account["metadata"]["name"]}
    others = rendered(helm_3, "okta", serviceAccount={"create": False, "name": "ours"})
    assert "ServiceAccount" not in [one["kind"] for one in others]
    assert {pod["serviceAccountName"] for _, pod in pod_specs(others)} == {"ours"}


def test_no_object_gives_rights(helm_3: Helm3) -> None:
    objects = objects_in(helm_3.render({**values_of("minimal"), **EVERYTHING}))
    assert [one["kind"] for one in objects if "rbac" in one["apiVersion"]] == []


def test_texts_that_look_like_something_else_stay_texts(helm_3: Helm3) -> None:
    objects = rendered(
        helm_3,
        "entra-workload-identity",
        existingSecret="1234",
        priorityClassName="1000",
        nameOverride="0123",
        fullnameOverride="on",
        trustedCa={"configMap": "2026", "key": "0x1f"},
        federatedToken={"audience": "a: b # c"},
        ingress={"host": "sso.acme.example", "className": "true", "tls": {"enabled": True, "secretName": "null"}},
        image={"pullSecrets": ["42"]},
    )
    assert [words for one in objects for words in complaints(one, "1.33")] == []
    assert pod_of(objects)["volumes"][1]["secret"]["secretName"] == "1234"


def test_no_name_or_label_is_too_long_or_cut_at_a_hyphen(helm_3: Helm3) -> None:
    values = {**values_of("minimal"), **EVERYTHING, "fullnameOverride": "a" + 79 * "b", "nameOverride": 70 * "c"}
    values["image"] = {"tag": 62 * "1" + "-rc1"}
    for one in objects_in(helm_3.render(values)):
        for text in (one["metadata"]["name"], *one["metadata"].get("labels", {}).values()):
            assert re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?", text)
