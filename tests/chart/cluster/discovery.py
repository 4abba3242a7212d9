"""What the cluster in memory says of itself: its version, its kinds of objects, and that it checks fields itself."""

from __future__ import annotations

from tests.chart.cluster.resources import GROUPS, RESOURCES
from tests.chart.tools import Object

_VERBS = ["create", "delete", "get", "list", "patch", "update", "watch"]


def discovery(where: str, version: str) -> Object | None:
    """Return the answer of an address of discovery; None: it is no such address.

    Args:
        where: the path asked for.
        version: of Kubernetes.
    """
    if where.startswith("/openapi/v3/"):
        return _schemas(where.removeprefix("/openapi/v3/"))
    return _plain(version).get(where)


def _plain(version: str) -> dict[str, Object]:
    major, _, minor = version.partition(".")
    roots = {_root(api): api for api in ("v1", *GROUPS)}
    return {
        "/version": {"major": major, "minor": minor, "gitVersion": f"v{version}.0"},
        "/api": {"kind": "APIVersions", "versions": ["v1"]},
        "/apis": {"kind": "APIGroupList", "apiVersion": "v1", "groups": [_group(api) for api in GROUPS]},
        "/openapi/v3": {"paths": {root: {"serverRelativeURL": f"/openapi/v3/{root}"} for root in roots}},
        **{f"/{root}": _resources(api) for root, api in roots.items()},
    }


def _root(api: str) -> str:
    return f"apis/{api}" if "/" in api else f"api/{api}"


def _group(api: str) -> Object:
    group, _, number = api.partition("/")
    known = {"groupVersion": api, "version": number}
    return {"name": group, "versions": [known], "preferredVersion": known}


def _resources(api: str) -> Object:
    resources = [
        {"name": one.plural, "singularName": "", "namespaced": one.namespaced, "kind": one.kind, "verbs": _VERBS}
        for one in RESOURCES
        if one.api == api
    ]
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": api, "resources": resources}


def _schemas(root: str) -> Object:
    """Say of each kind that the server validates fields: then Helm 3 leaves it to the server."""
    paths = {}
    for one in RESOURCES:
        if _root(one.api) == root:
            group, _, number = one.api.rpartition("/")
            kind = {"group": group, "version": number, "kind": one.kind}
            patch = {
                "x-kubernetes-group-version-kind": kind,
                "parameters": [{"name": "fieldValidation", "in": "query"}],
            }
            paths[f"/{root}/namespaces/{{namespace}}/{one.plural}/{{name}}"] = {"patch": {**patch, "responses": {}}}
    return {"openapi": "3.0.0", "info": {"title": "Kubernetes", "version": "v1"}, "paths": paths}
