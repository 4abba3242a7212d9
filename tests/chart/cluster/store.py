"""The objects of the cluster in memory: every write is checked as a cluster checks it, or refused.

It owns what may be written. It knows nothing of HTTP. There are no nodes: a Deployment's pods are ready as soon as it
is written, and what a pod that runs once does is asked of `kubelet`.
"""

from __future__ import annotations

import copy
import re
import threading
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.chart.cluster.resources import BY_KIND, Resource
from tests.chart.kubernetes import breaches, complaints, complaints_of_others
from tests.chart.tools import Object, pod_specs

Key = tuple[str, str, str]  # kind, namespace, name
Kubelet = Callable[[Object], tuple[int, str]]  # runs a pod's template, returns exit status and log

_NAME = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?")
_LABEL = re.compile(r"([A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?)?")
_SERVER_SET = ("uid", "creationTimestamp", "generation", "resourceVersion", "namespace")


class NotTaken(Exception):
    """A write that is refused.

    Args:
        status: of HTTP.
        reason: as Kubernetes calls it.
        words: what is wrong.
    """

    def __init__(self, status: int, reason: str, words: str) -> None:
        super().__init__(words)
        self.status, self.reason, self.words = status, reason, words


@dataclass
class Store:
    """All objects, and every change since the beginning.

    Args:
        version: of Kubernetes, by whose schemas objects are judged.
        kubelet: runs what runs once.
    """

    version: str
    kubelet: Kubelet
    objects: dict[Key, Object] = field(default_factory=dict)
    changes: list[tuple[int, str, Object]] = field(default_factory=list)
    logs: dict[Key, str] = field(default_factory=dict)
    refused: list[str] = field(default_factory=list)
    changed: threading.Condition = field(default_factory=threading.Condition)

    def create(self, resource: Resource, one: Object) -> Object:
        """Take a new object."""
        key = _key(resource, one)
        if key in self.objects:
            raise NotTaken(409, "AlreadyExists", f'{resource.plural} "{key[2]}" already exists')
        one = copy.deepcopy(one)
        one["metadata"] |= {"uid": str(uuid.uuid4()), "creationTimestamp": "2026-11-22T12:00:00Z", "generation": 1}
        self._judge(resource, one)
        if resource.kind == "Service":
            one["spec"].setdefault("clusterIP", f"10.96.0.{len(self.objects) % 250 + 1}")
        return self._write("ADDED", key, one)

    def replace(self, resource: Resource, one: Object) -> Object:
        """Take an object in place of the one that is there."""
        key = _key(resource, one)
        old = self.get(key)
        one = copy.deepcopy(one)
        one["metadata"] |= {name: old["metadata"][name] for name in _SERVER_SET if name in old["metadata"]}
        if resource.kind == "Service":
            one["spec"].setdefault("clusterIP", old["spec"]["clusterIP"])
        if one.get("spec") != old.get("spec"):
            one["metadata"]["generation"] = old["metadata"]["generation"] + 1
        self._judge(resource, one)
        for path in resource.immutable:
            if _at(one, path) != _at(old, path):
                self._refuse(422, "Invalid", f"{resource.kind} {key[2]}: {path}: field is immutable")
        return self._write("MODIFIED", key, one)

    def delete(self, key: Key) -> Object:
        """Let an object go, and what it owns."""
        gone = self.get(key)
        with self.changed:
            del self.objects[key]
            self._tell("DELETED", gone)
        for other, one in list(self.objects.items()):
            if any(owner["uid"] == gone["metadata"]["uid"] for owner in one["metadata"].get("ownerReferences", [])):
                self.delete(other)
        return gone

    def get(self, key: Key) -> Object:
        """Return an object."""
        if key not in self.objects:
            raise NotTaken(404, "NotFound", f'{BY_KIND[key[0]].plural} "{key[2]}" not found')
        return self.objects[key]

    def list(self, kind: str, namespace: str, matches: Callable[[Object], bool]) -> list[Object]:
        """Return the objects of a kind, in a namespace or in all."""
        found = [one for (of, where, _), one in self.objects.items() if of == kind and namespace in ("", where)]
        return [one for one in found if matches(one)]

    def _judge(self, resource: Resource, one: Object) -> None:
        metadata = one["metadata"]
        wrong = [*complaints(one, self.version), *complaints_of_others([one])]
        if not _NAME.fullmatch(metadata["name"]):
            wrong.append(f"name {metadata['name']}")
        labels = metadata.get("labels", {}).items()
        wrong += [f"label {name}: {text}" for name, text in labels if not _LABEL.fullmatch(text)]
        if resource.kind == "Deployment" and not _selects(one["spec"]):
            wrong.append("selector does not match the template's labels")
        if wrong:
            self._refuse(422, "Invalid", "; ".join(wrong))
        for name, pod in pod_specs([one]):
            if found := list(breaches(pod)):
                self._refuse(403, "Forbidden", f'{name} violates PodSecurity "restricted": {", ".join(found)}')

    def _refuse(self, status: int, reason: str, words: str) -> None:
        self.refused.append(words)
        raise NotTaken(status, reason, words)

    def _write(self, change: str, key: Key, one: Object) -> Object:
        self._bring_about(key, one)
        with self.changed:
            self.objects[key] = one
            self._tell(change, one)
        if key[0] == "Deployment":
            self._make_replica_set(one)
        return one

    def _tell(self, change: str, one: Object) -> None:
        number = len(self.changes) + 1
        one["metadata"]["resourceVersion"] = str(number)
        self.changes.append((number, change, copy.deepcopy(one)))
        self.changed.notify_all()

    def _bring_about(self, key: Key, one: Object) -> None:
        """Write the status that controllers and kubelets would bring about."""
        if key[0] == "Deployment":
            count = one["spec"].setdefault("replicas", 1)
            counts = dict.fromkeys(("replicas", "readyReplicas", "updatedReplicas", "availableReplicas"), count)
            available = {"type": "Available", "status": "True"}
            one["status"] = {**counts, "observedGeneration": one["metadata"]["generation"], "conditions": [available]}
        elif key[0] in {"Pod", "Job"} and "status" not in one:
            pod = one if key[0] == "Pod" else one["spec"]["template"]
            status, self.logs[key] = self.kubelet(pod)
            one["status"] = _ended(status) if key[0] == "Pod" else _job_ended(status)
        elif key[0] == "PodDisruptionBudget":
            healthy = {"currentHealthy": 2, "desiredHealthy": 1, "expectedPods": 2, "disruptionsAllowed": 1}
            one["status"] = {**healthy, "observedGeneration": one["metadata"]["generation"]}

    def _make_replica_set(self, deployment: Object) -> None:
        """Make the ReplicaSet of a Deployment's template, by which Helm tells that its pods are ready."""
        namespace, name = deployment["metadata"]["namespace"], deployment["metadata"]["name"]
        owner = {"apiVersion": "apps/v1", "kind": "Deployment", "name": name, "uid": deployment["metadata"]["uid"]}
        template = copy.deepcopy(deployment["spec"]["template"])
        count = deployment["spec"]["replicas"]
        known = f"{name}-{uuid.uuid5(uuid.NAMESPACE_OID, str(template)).hex[:9]}"
        one = {
            "apiVersion": "apps/v1", "kind": "ReplicaSet",
            "metadata": {"name": known, "namespace": namespace, "labels": template["metadata"]["labels"],
                         "ownerReferences": [{**owner, "controller": True}], "uid": known, "generation": 1},
            "spec": {"replicas": count, "selector": deployment["spec"]["selector"], "template": template},
            "status": {"replicas": count, "readyReplicas": count, "availableReplicas": count, "observedGeneration": 1},
        }  # fmt: skip
        with self.changed:
            self.objects["ReplicaSet", namespace, known] = one
            self._tell("ADDED", one)


def _key(resource: Resource, one: Object) -> Key:
    return resource.kind, one["metadata"].get("namespace", "") if resource.namespaced else "", one["metadata"]["name"]


def _at(one: Mapping[str, Any], path: str) -> Any:
    found: Any = one
    for name in path.split("."):
        found = found.get(name) if isinstance(found, Mapping) else None
    return found


def _selects(spec: Object) -> bool:
    labels = spec["template"]["metadata"]["labels"]
    return bool(spec["selector"]["matchLabels"].items() <= labels.items())


def _ended(status: int) -> Object:
    phase = "Failed" if status else "Succeeded"
    ready = {"type": "Ready", "status": "False", "reason": "PodCompleted"}
    return {"phase": phase, "conditions": [ready]}


def _job_ended(status: int) -> Object:
    condition = {"type": "Failed" if status else "Complete", "status": "True", "reason": "BackoffLimitExceeded"}
    return {"conditions": [condition], "succeeded": int(not status), "failed": int(bool(status))}
