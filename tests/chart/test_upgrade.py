"""No upgrade asks for what a cluster refuses: immutable fields stay, between releases and between values."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.chart.cluster.resources import BY_KIND
from tests.chart.cluster.store import NotTaken, Store
from tests.chart.helm import NAMESPACE, Helm3
from tests.chart.test_renders import EVERYTHING
from tests.chart.tools import CHART, EXAMPLES, HERE, Object, objects_in, run, the, values_of

RELEASED = sorted((HERE / "released").glob("*.yaml"))  # what each version made of the example `monitoring`


def kept(manifest: str) -> list[Object]:
    """Return the objects that stay from one release to the next: not the hooks, which are made anew."""
    return [one for one in objects_in(manifest) if "helm.sh/hook" not in one["metadata"].get("annotations", {})]


def upgrade(before: list[Object], after: list[Object]) -> Store:
    """Write one render over another, as Helm does, into a cluster that checks every write."""
    store = Store("1.33", kubelet=lambda _pod: (0, ""))
    for objects in (before, after):
        for one in objects:
            one["metadata"]["namespace"] = NAMESPACE
            resource = BY_KIND[one["kind"]]
            there = (one["kind"], NAMESPACE, one["metadata"]["name"]) in store.objects
            (store.replace if there else store.create)(resource, one)
    return store


@pytest.mark.parametrize("example", [pytest.param(one.stem, id=one.stem) for one in EXAMPLES])
def test_the_values_of_an_example_may_become_any_other_values(helm_3: Helm3, example: str) -> None:
    much = kept(helm_3.render({**values_of("minimal"), **EVERYTHING}))
    little = kept(helm_3.render(values_of(example)))
    upgrade(little, much)
    upgrade(much, little)


@pytest.mark.parametrize("before", [pytest.param(one, id=one.stem) for one in RELEASED])
def test_an_upgrade_from_each_release_changes_no_immutable_field(helm_3: Helm3, before: Path) -> None:
    old, new = kept(before.read_text(encoding="utf-8")), kept(helm_3.render(values_of("monitoring")))
    upgrade(old, new)
    assert names(old) <= names(new)  # what is renamed would be away for a while


def names(objects: list[Object]) -> set[tuple[str, str]]:
    """Return kind and name of each object."""
    return {(one["kind"], one["metadata"]["name"]) for one in objects}


def test_a_chart_of_a_later_version_replaces_no_pod(helm_3: Helm3, tmp_path: Path) -> None:
    later = tmp_path / "helm"
    shutil.copytree(CHART, later)
    chart = yaml.safe_load((later / "Chart.yaml").read_text(encoding="utf-8"))
    (later / "Chart.yaml").write_text(yaml.safe_dump({**chart, "version": "9.9.9"}), encoding="utf-8")
    example = CHART / "examples/monitoring.yaml"
    command = ("template", "sso", later, "--namespace", NAMESPACE, "--kube-version", "1.33.0", "--values", example)
    after = kept(run("helm", *command))
    before = kept(helm_3.render(values_of("monitoring")))
    upgrade(before, after)
    assert the("Deployment", before)["spec"] == the("Deployment", after)["spec"]
    assert the("Deployment", after)["metadata"]["labels"]["helm.sh/chart"] == "comm100-sso-broker-9.9.9"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        pytest.param({"spec": {"selector": {"matchLabels": {"name": "x"}}}}, "does not match", id="selector"),
        pytest.param({"spec": {"replicas": "two"}}, "replicas", id="a wrong kind"),
        pytest.param({"spec": {"repplicas": 2}}, "repplicas", id="an unknown field"),
        pytest.param({"metadata": {"labels": {"note": "no spaces here"}}}, "label note", id="a label"),
        pytest.param({"spec": {"template": {"spec": {"hostNetwork": True}}}}, "PodSecurity", id="a host's network"),
    ],
)  # fmt: skip
def test_the_cluster_refuses_what_a_cluster_refuses(helm_3: Helm3, change: dict[str, Any], words: str) -> None:
    before, after = (kept(helm_3.render(values_of("minimal"))) for _ in range(2))
    spoil(the("Deployment", after), change)
    with pytest.raises(NotTaken, match=words):
        upgrade(before, after)


def test_the_cluster_refuses_another_selector(helm_3: Helm3) -> None:
    before, after = kept(helm_3.render(values_of("minimal"))), kept(helm_3.render(values_of("minimal")))
    del the("Deployment", after)["spec"]["selector"]["matchLabels"]["app.kubernetes.io/component"]
    with pytest.raises(NotTaken, match=r"spec\.selector: field is immutable"):
        upgrade(before, after)


def spoil(one: Object, change: dict[str, Any]) -> None:
    """Put a change into an object."""
    for key, part in change.items():
        if isinstance(part, dict) and isinstance(one.get(key), dict) and key != "matchLabels":
            spoil(one[key], part)
        else:
            one[key] = part
