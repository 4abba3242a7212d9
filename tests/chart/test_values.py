"""Every value has an effect, and what is for all pods reaches those of checks, too."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import yaml

from tests.chart.helm import Helm3, Refused
from tests.chart.test_renders import EVERYTHING
from tests.chart.tools import CHART, objects_in, pod_specs, values_of

OPEN = {"config", "secrets"}  # tested in test_settings.py
BASE = {key: part for key, part in EVERYTHING.items() if key not in {"image", "trustedCa"}}
# Where no other value of the same kind would do.
OTHERWISE: dict[str, Any] = {
    "externalSecret.refreshInterval": "77s",
    "extraObjects": [{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "given"}}],
    "global": {"imageRegistry": "given"},
    "image.digest": "sha256:" + 64 * "b",
    "image.pullPolicy": "Always",
    "ingress.pathType": "ImplementationSpecific",
    "listenHost": "[::]",
    "networkPolicy.egressPorts": [8443],
    "outboundProxy": "http://given:3128",
    "podDisruptionBudget.maxUnavailable": 2,
    "podMonitor.interval": "77s",
    "service.ipFamilyPolicy": "RequireDualStack",
    "service.type": "NodePort",
    "serviceMonitor.interval": "77s",
    "trustedCa.pem": "-----BEGIN CERTIFICATE-----",
}
# What has to be on, or off, for a value or a section to matter.
NEEDS: dict[str, dict[str, Any]] = {
    "externalSecret": {"existingSecret": "", "externalSecret": {"enabled": True, "secretStoreRef": {"name": "vault"}}},
    "podMonitor": {"serviceMonitor": {"enabled": False}, "podMonitor": {"enabled": True}},
    "replicaCount": {"autoscaling": {"enabled": False}},
    "secretProviderClass": {
        "existingSecret": "",
        "secretProviderClass": {"enabled": True, "provider": "vault", "parameters": {"role": "broker"}},
    },
    "trustedCa.key": {"trustedCa": {"configMap": "acme-ca"}},
}


def leaves(values: Mapping[str, Any], above: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield the path of every value, and what it is by itself."""
    for key, part in values.items():
        if isinstance(part, dict) and part:
            yield from leaves(part, (*above, key))
        elif key not in OPEN:
            yield (*above, key), part


def other(value: Any) -> Any:
    """Return another value of the same kind."""
    match value:
        case bool():
            return not value
        case list():
            return [*value, {"given": "given"}]
        case dict():
            return {"given": "given"}
        case str():
            return "given"
        case _:
            return (value or 0) + 1


LEAVES = list(leaves(yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))))


@pytest.mark.parametrize(("path", "value"), [pytest.param(*leaf, id=".".join(leaf[0])) for leaf in LEAVES])
def test_a_value_is_used(helm_3: Helm3, path: tuple[str, ...], value: Any) -> None:
    name = ".".join(path)
    needs = NEEDS.get(name, NEEDS.get(path[0], {}))
    values = {**values_of("entra-workload-identity"), **BASE, **needs}
    before = helm_3.render(values)
    try:
        after = helm_3.render(with_value(values, path, OTHERWISE.get(name, other(at(values, path, value)))))
    except Refused as refused:
        after = str(refused)
        assert "These values cannot be installed" in after
    assert after != before


def at(values: Mapping[str, Any], path: tuple[str, ...], default: Any) -> Any:
    """Return the value that is given, or the default."""
    key, *rest = path
    return at(values.get(key) or {}, tuple(rest), default) if rest else values.get(key, default)


def with_value(values: Mapping[str, Any], path: tuple[str, ...], value: Any) -> dict[str, Any]:
    """Return the values with one of them changed."""
    key, *rest = path
    return {**values, key: with_value(values.get(key) or {}, tuple(rest), value) if rest else value}


def test_what_is_for_all_pods_reaches_those_of_checks(helm_3: Helm3) -> None:
    values = {**values_of("entra-workload-identity"), **EVERYTHING, "extraEnvFrom": [{"secretRef": {"name": "more"}}]}
    (_, serving), *checking = sorted(pod_specs(objects_in(helm_3.render(values))))
    assert len(checking) == 2
    of_one_kind = {
        "restartPolicy",
        "containers",
        "volumes",
        "terminationGracePeriodSeconds",
        "topologySpreadConstraints",
    }
    of_one_container = {
        "name",
        "args",
        "resources",
        "ports",
        "lifecycle",
        "startupProbe",
        "livenessProbe",
        "readinessProbe",
    }
    for _, pod in checking:
        assert pod["restartPolicy"] == "Never"
        assert without(pod, of_one_kind) == without(serving, of_one_kind)
        assert pod["volumes"][1:] == shared(serving["volumes"])[1:]
        assert without(pod["containers"][0], {*of_one_container, "volumeMounts"}) == without(
            serving["containers"][0], {*of_one_container, "volumeMounts"}
        )
        assert pod["containers"][0]["volumeMounts"] == shared(serving["containers"][0]["volumeMounts"])


def shared(parts: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the volumes, or mounts, of all pods: a check needs no snapshot."""
    return [one for one in parts if one["name"] != "snapshot"]


def without(part: Mapping[str, Any], keys: set[str]) -> dict[str, Any]:
    """Return what is left."""
    return {key: value for key, value in part.items() if key not in keys}
