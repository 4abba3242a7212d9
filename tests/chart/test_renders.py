"""Every example, on every version of Kubernetes, with both Helms: what a cluster would say of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.chart.helm import Helm3, Helm4, Renders
from tests.chart.kubernetes import breaches, complaints, complaints_of_others
from tests.chart.tools import EXAMPLES, VERSIONS, objects_in, pod_specs, the, values_of

EACH_EXAMPLE = pytest.mark.parametrize("example", [pytest.param(one.stem, id=one.stem) for one in EXAMPLES])
EVERYTHING: dict[str, Any] = {
    "image": {"registry": "registry.acme.example", "digest": "sha256:" + 64 * "a", "pullSecrets": ["registry"]},
    "trustedCa": {"pem": "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"},
    "outboundProxy": "http://proxy.acme.example:3128",
    "networkPolicy": {"enabled": True},
    "autoscaling": {"enabled": True},
    "serviceMonitor": {"enabled": True, "labels": {"release": "prometheus"}},
    "prometheusRule": {"enabled": True},
    "dashboard": {"enabled": True},
    "check": {"afterInstall": True},
    "httpRoute": {"parentRefs": [{"name": "public"}]},
    "extraEnv": [{"name": "TZ", "value": "UTC"}],
    "extraVolumes": [{"name": "logo", "configMap": {"name": "logo"}}],
    "extraVolumeMounts": [{"name": "logo", "mountPath": "/etc/broker-logo"}],
    "extraObjects": [
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "logo"}},
        "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {{ .Release.Name }}-note\n",
    ],
    "commonLabels": {"team": "identity"},
    "podLabels": {"team": "identity"},
    "podAnnotations": {"acme.example/note": "here"},
    "tolerations": [{"key": "spot", "operator": "Exists"}],
    "nodeSelector": {"kubernetes.io/os": "linux"},
    "priorityClassName": "important",
}


@EACH_EXAMPLE
@pytest.mark.parametrize("version", VERSIONS)
def test_an_example_is_taken_by_each_kubernetes_with_helm_3(helm_3: Helm3, example: str, version: str) -> None:
    once = helm_3.render(values_of(example), kubernetes=version)
    assert helm_3.render(values_of(example), kubernetes=version) == once
    _is_taken(once, version)


@EACH_EXAMPLE
def test_an_example_is_taken_by_each_kubernetes_with_helm_4(helm_4: Helm4, example: str) -> None:
    once = helm_4.render(values_of(example))
    assert helm_4.render(values_of(example)) == once
    for version in VERSIONS:
        _is_taken(once, version)


@EACH_EXAMPLE
def test_objects_of_other_projects_fit_their_schemas(helm: Renders, example: str) -> None:
    assert complaints_of_others(objects_in(helm.render(values_of(example)))) == []


@pytest.mark.parametrize("version", [VERSIONS[0], VERSIONS[-1]])
def test_everything_switched_on_is_taken(helm: Renders, version: str) -> None:
    manifest = helm.render({**values_of("minimal"), **EVERYTHING}, kubernetes=version)
    _is_taken(manifest, version)
    assert complaints_of_others(objects_in(manifest)) == []


@EACH_EXAMPLE
def test_both_helms_render_the_same(helm_3: Helm3, helm_4: Helm4, example: str) -> None:
    def ordered(manifest: str) -> list[str]:
        return sorted(yaml.safe_dump(one) for one in objects_in(manifest))

    assert ordered(helm_3.render(values_of(example))) == ordered(helm_4.render(values_of(example)))


def test_a_render_depends_on_the_version_of_kubernetes_in_nothing(helm_3: Helm3) -> None:
    renders = {helm_3.render(values_of("monitoring"), kubernetes=version) for version in VERSIONS}
    assert len(renders) == 1


def test_no_version_before_1_27_is_taken() -> None:
    with pytest.raises(Exception, match="requires kubeVersion"):
        Helm3().render(values_of("minimal"), kubernetes="1.26")


def test_the_smallest_values_make_a_service_of_two_replicas(helm: Renders) -> None:
    objects = objects_in(helm.render(values_of("minimal")))
    assert sorted(one["kind"] for one in objects) == [
        "ConfigMap", "Deployment", "Ingress", "Pod", "PodDisruptionBudget", "Service", "ServiceAccount",
    ]  # fmt: skip
    assert the("Deployment", objects)["spec"]["replicas"] == 2
    assert the("PodDisruptionBudget", objects)["spec"]["maxUnavailable"] == 1


def test_every_example_is_named_in_the_readme() -> None:
    readme = (Path(EXAMPLES[0]).parents[1] / "README.md").read_text(encoding="utf-8")
    assert [one.name for one in EXAMPLES if f"(examples/{one.name})" not in readme] == []


def _is_taken(manifest: str, version: str) -> None:
    objects = objects_in(manifest)
    assert [words for one in objects for words in complaints(one, version)] == []
    pods = pod_specs(objects)
    assert len(pods) >= 2  # those that serve, and that of helm test
    for name, pod in pods:
        assert list(breaches(pod)) == [], name
        assert pod["automountServiceAccountToken"] is False, name
        assert pod["enableServiceLinks"] is False, name
        for container in pod["containers"]:
            assert container["securityContext"]["readOnlyRootFilesystem"] is True, name
            assert container["resources"]["requests"].keys() == {"cpu", "memory"}, name
            assert "memory" in container["resources"]["limits"], name
