"""A release's whole life with both Helms, in a cluster that checks every write.

Install, upgrade, test, back, uninstall. The cluster is tests/chart/cluster; Helm is real, and so is what its pods run.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.chart.cluster.api import serving
from tests.chart.cluster.store import Store
from tests.chart.helm import NAMESPACE, RELEASE, Helm4, Refused
from tests.chart.test_renders import EVERYTHING
from tests.chart.test_settings import files_of
from tests.chart.tools import CHART, VERSIONS, Object, attempt, values_of

NAME = f"{RELEASE}-comm100-sso-broker"


class Kubelet:
    """Runs pods that run once: the broker's own command, with the pod's settings and made-up secrets.

    Args:
        folder: where a pod's files go.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ran: list[tuple[list[str], int]] = []
        self.asks_the_network = False

    def __call__(self, pod: Object) -> tuple[int, str]:
        """Run `broker check`; without a network unless a failure is wanted."""
        settings = pod["metadata"]["annotations"]["comm100-sso-broker/settings"]
        for path, file in files_of(pod["spec"], self.folder).items():
            settings = settings.replace(path, str(file))
        (self.folder / "broker.yaml").write_text(settings, encoding="utf-8")
        arguments = pod["spec"]["containers"][0]["args"]
        offline = [] if self.asks_the_network else ["--offline"]
        done = attempt(sys.executable, "-m", "broker", *arguments, *offline, "--config", self.folder / "broker.yaml")
        self.ran.append((arguments, done.returncode))
        return done.returncode, done.stdout + done.stderr


@dataclass
class Cluster:
    """A cluster, and one Helm that works on it."""

    store: Store
    kubelet: Kubelet
    address: str
    engine: Helm4 | None

    def helm(self, action: str, values: dict[str, Any] | None = None) -> str:
        """Do something with the release, wait for it, and return what is printed; raise Refused if it fails."""
        return self._helm_4(action, values) if self.engine else self._helm_3(action, values)

    def _helm_3(self, action: str, values: dict[str, Any] | None) -> str:
        more = {"test": ["--logs"], "status": []}.get(action, ["--wait"])
        if values is not None:
            more = [str(CHART), "--values", "-", *more]
        command = [action, RELEASE, *more, "--namespace", NAMESPACE, "--kube-apiserver", self.address]
        if action != "status":
            command += ["--timeout", "20s"]
        done = attempt("helm", *command, text=yaml.safe_dump(values or {}))
        if done.returncode:
            raise Refused(done.stderr)
        return done.stdout

    def _helm_4(self, action: str, values: dict[str, Any] | None) -> str:
        assert self.engine
        arguments = [RELEASE] if values is None else [str(CHART), RELEASE, values]
        options: dict[str, Any] = {"test": {"logs": True, "timeout": 20}, "status": {}}.get(
            action, {"wait": "watcher", "timeout": 20}
        )
        answer = self.engine.ask(
            action=action, cluster=self.address, namespace=NAMESPACE, arguments=arguments, options=options
        )
        return str(answer)

    def there(self) -> list[str]:
        """Return what the release has in the cluster, by kind; Helm's own records are left out."""
        kinds = [kind for kind, namespace, name in self.store.objects if namespace and "helm.release" not in name]
        return sorted(kind for kind in kinds if kind != "ReplicaSet")

    def deployment(self) -> Object:
        """Return the Deployment."""
        return self.store.get(("Deployment", NAMESPACE, NAME))


@pytest.fixture(params=["helm 3", "helm 4"])
def engine(request: pytest.FixtureRequest) -> Helm4 | None:
    """Return Helm 4's engine, or nothing for Helm 3's program."""
    return request.getfixturevalue("helm_4") if request.param == "helm 4" else None


@pytest.fixture
def version() -> str:
    """Return the version of Kubernetes; a test may have another."""
    return "1.33"


@pytest.fixture
def cluster(engine: Helm4 | None, version: str, tmp_path: Path) -> Iterator[Cluster]:
    """Run a cluster that has the namespace and nothing else."""
    kubelet = Kubelet(tmp_path)
    store = Store(version, kubelet)
    store.objects["Namespace", "", NAMESPACE] = {
        "apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE, "uid": NAMESPACE},
    }  # fmt: skip
    with serving(store) as address:
        yield Cluster(store, kubelet, address, engine)
    assert store.refused == []


@pytest.mark.parametrize("version", [VERSIONS[0], VERSIONS[-1]])
def test_a_release_lives_from_install_to_uninstall(cluster: Cluster) -> None:
    values = values_of("monitoring")
    printed = cluster.helm("install", values)
    assert "https://sso.acme.example/callback/okta" in printed or cluster.engine
    installed = cluster.there()
    assert installed == [
        "ConfigMap", "ConfigMap", "Deployment", "Ingress", "PodDisruptionBudget", "PrometheusRule",
        "Service", "Service", "ServiceAccount", "ServiceMonitor",
    ]  # fmt: skip
    assert cluster.kubelet.ran == [(["check"], 0)]  # the Job after the install, which is gone

    before = cluster.deployment()["spec"]
    changed = {**values, "replicaCount": 3, "image": {"tag": "0.2.0"}, "networkPolicy": {"enabled": True}}
    changed["config"] = {**values["config"], "log_email": "none"}
    cluster.helm("upgrade", changed)
    after = cluster.deployment()["spec"]
    assert (after["replicas"], after["template"]["spec"]["containers"][0]["image"]) == (3, "comm100-sso-broker:0.2.0")
    assert after["template"]["metadata"]["annotations"] != before["template"]["metadata"]["annotations"]
    assert "NetworkPolicy" in cluster.there()

    tested = cluster.helm("test")
    assert cluster.kubelet.ran == 3 * [(["check"], 0)]
    assert "okta" in tested

    cluster.helm("rollback")
    assert cluster.deployment()["spec"] == before
    assert [kind for kind in cluster.there() if kind != "Pod"] == installed
    cluster.helm("uninstall")
    assert [kind for kind in cluster.there() if kind != "Pod"] == []


def test_everything_switched_on_is_installed_and_switched_off_again(cluster: Cluster) -> None:
    cluster.helm("install", {**values_of("minimal"), **EVERYTHING})
    assert {"HTTPRoute", "HorizontalPodAutoscaler", "NetworkPolicy", "ServiceMonitor"} <= set(cluster.there())
    assert cluster.deployment()["spec"]["replicas"] == 1  # the server's default: the chart leaves it to the autoscaler
    cluster.helm("upgrade", values_of("minimal"))
    assert cluster.there() == [
        "ConfigMap", "Deployment", "Ingress", "PodDisruptionBudget", "Service", "ServiceAccount"
    ]  # fmt: skip
    assert cluster.deployment()["spec"]["replicas"] == 2


def test_a_check_that_fails_fails_the_test(cluster: Cluster) -> None:
    cluster.helm("install", values_of("minimal"))
    cluster.kubelet.asks_the_network = True  # which has no such provider
    with pytest.raises(Refused):
        cluster.helm("test")
    assert cluster.kubelet.ran == [(["check"], 1)]
    (log,) = cluster.store.logs.values()
    assert "id.acme.example" in log


@pytest.mark.parametrize(
    ("values", "words"),
    [
        pytest.param({}, "public_url", id="the schema refuses"),
        pytest.param(values_of("minimal") | {"existingSecret": ""}, "1 mistake", id="a template refuses"),
    ],
)
def test_values_that_cannot_work_leave_nothing_behind(cluster: Cluster, values: dict[str, Any], words: str) -> None:
    with pytest.raises(Refused, match=words):
        cluster.helm("install", values)
    assert cluster.there() == []
