"""What a cluster says of an object before it takes it: strict schemas of each version, and Pod Security "restricted".

The schemas are those of the package kubernetes-validate, read here once for all objects. Objects of other projects
(Gateway API, Prometheus operator, External Secrets) are judged by crds.mjs with those projects' own schemas.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from functools import cache
from typing import Any

import jsonschema
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT7

from tests.chart.tools import ENVIRONMENT, HERE, Object, run

OTHERS = {"gateway.networking.k8s.io", "monitoring.coreos.com", "external-secrets.io"}
UNJUDGED = {"SecretProviderClass"}  # no schema of it is published as a package; a test looks at it by itself
VOLUMES_ALLOWED = {
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "persistentVolumeClaim",
    "projected",
    "secret",
}


def complaints(one: Object, version: str) -> list[str]:
    """Return what the strict schema of a version of Kubernetes says against an object."""
    if one["kind"] in UNJUDGED or _group(one) in OTHERS:
        return []
    return [f"{one['kind']} {error.json_path}: {error.message}" for error in _judge(version, one).iter_errors(one)]


def complaints_of_others(objects: Iterable[Object]) -> list[str]:
    """Return what the schemas of other projects say against their objects."""
    # Without what a server sets, so that one judgement does for every write of an object.
    return list(_judged_by_others(json.dumps([_as_written(one) for one in objects if _group(one) in OTHERS])))


@cache
def _judged_by_others(objects: str) -> tuple[str, ...]:
    return () if objects == "[]" else tuple(json.loads(run("node", HERE / "crds.mjs", text=objects, folder=HERE)))


def _as_written(one: Object) -> Object:
    metadata = {key: one["metadata"][key] for key in ("name", "labels", "annotations") if key in one["metadata"]}
    return {key: part for key, part in one.items() if key != "status"} | {"metadata": metadata}


def _group(one: Object) -> str:
    return str(one["apiVersion"]).rpartition("/")[0]


@cache
def _folder(version: str) -> Any:
    (folder,) = ENVIRONMENT.glob(
        f"lib/python3*/site-packages/kubernetes_validate/kubernetes-json-schema/v{version}.0-local-strict"
    )
    return folder


@cache
def _registry(version: str) -> Registry[Any]:
    definitions = json.loads((_folder(version) / "_definitions.json").read_text(encoding="utf-8"))
    resource = Resource.from_contents(definitions, default_specification=DRAFT7)
    registry: Registry[Any] = Registry().with_resource("_definitions.json", resource)
    return registry


@cache
def _validator(version: str, name: str) -> jsonschema.Draft7Validator:
    schema = json.loads((_folder(version) / f"{name}.json").read_text(encoding="utf-8"))
    return jsonschema.Draft7Validator(schema, registry=_registry(version))


def _judge(version: str, one: Object) -> jsonschema.Draft7Validator:
    group, _, api_version = one["apiVersion"].rpartition("/")
    short = f"{group.partition('.')[0]}-" if group else ""  # networking.k8s.io/v1 is networking-v1
    return _validator(version, f"{one['kind'].lower()}-{short}{api_version}")


def breaches(pod: Object) -> Iterator[str]:
    """Yield what Pod Security "restricted" has against a pod.

    https://kubernetes.io/docs/concepts/security/pod-security-standards/#restricted
    """
    for key in ("hostNetwork", "hostPID", "hostIPC"):
        if pod.get(key):
            yield key
    for volume in pod.get("volumes", []):
        if not (volume.keys() - {"name"}) <= VOLUMES_ALLOWED:
            yield f"volume {volume['name']}"
    context = pod.get("securityContext", {})
    for container in [*pod.get("initContainers", []), *pod["containers"], *pod.get("ephemeralContainers", [])]:
        yield from _breaches_of_container(container, context)


def _breaches_of_container(container: Object, of_pod: Object) -> Iterator[str]:
    own = container.get("securityContext", {})
    name = container["name"]
    if own.get("privileged") or own.get("allowPrivilegeEscalation") is not False:
        yield f"{name}: privileges"
    if own.get("capabilities", {}).get("drop") != ["ALL"] or own["capabilities"].get("add", []):
        yield f"{name}: capabilities"
    if own.get("runAsNonRoot", of_pod.get("runAsNonRoot")) is not True:
        yield f"{name}: runAsNonRoot"
    if own.get("runAsUser", of_pod.get("runAsUser", 1)) == 0:
        yield f"{name}: root"
    if own.get("seccompProfile", of_pod.get("seccompProfile", {})).get("type") not in {"RuntimeDefault", "Localhost"}:
        yield f"{name}: seccomp"
    if any("hostPort" in port for port in container.get("ports", [])):
        yield f"{name}: host port"
