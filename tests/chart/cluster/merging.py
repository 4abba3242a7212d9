"""Strategic merge patches and JSON merge patches: how a change reaches an object that is there.

https://github.com/kubernetes/community/blob/master/contributors/devel/sig-api-machinery/strategic-merge-patch.md
"""

from __future__ import annotations

import copy
from typing import Any

# By which member the entries of a list are told apart; lists that are not here are replaced as a whole.
_MERGE_KEYS = {
    "containers": "name", "initContainers": "name", "env": "name", "volumes": "name", "imagePullSecrets": "name",
    "volumeMounts": "mountPath", "hostAliases": "ip", "topologySpreadConstraints": "topologyKey", "conditions": "type",
}  # fmt: skip
_PORTS = ("containerPort", "port")


def merge_plainly(there: Any, patch: Any) -> Any:
    """Return what a JSON merge patch (RFC 7396) makes of a value."""
    if not isinstance(patch, dict):
        return copy.deepcopy(patch)
    merged = dict(there) if isinstance(there, dict) else {}
    for key, part in patch.items():
        if part is None:
            merged.pop(key, None)
        else:
            merged[key] = merge_plainly(merged.get(key), part)
    return merged


def merge_strategically(there: dict[str, Any], patch: dict[str, Any]) -> dict[str, Any]:
    """Return what a strategic merge patch makes of an object."""
    if patch.get("$patch") == "replace":
        return {key: copy.deepcopy(part) for key, part in patch.items() if key != "$patch"}
    merged = dict(there)
    if "$retainKeys" in patch:
        merged = {key: part for key, part in merged.items() if key in patch["$retainKeys"]}
    for key, part in patch.items():
        if key.startswith("$"):
            continue
        if part is None:
            merged.pop(key, None)
        elif isinstance(part, dict):
            found = merged.get(key)
            merged[key] = merge_strategically(found if isinstance(found, dict) else {}, part)
        elif isinstance(part, list) and (name := _merge_key(key, part)):
            merged[key] = _merge_lists(merged.get(key) or [], part, name)
        else:
            merged[key] = copy.deepcopy(part)
    for key, order in patch.items():
        if key.startswith("$setElementOrder/"):
            _put_in_order(merged, key.partition("/")[2], order)
    return merged


def _merge_key(key: str, entries: list[Any]) -> str | None:
    if key == "ports":
        return next((name for name in _PORTS if any(name in entry for entry in entries)), None)
    return _MERGE_KEYS.get(key)


def _merge_lists(there: list[Any], patch: list[Any], name: str) -> list[Any]:
    merged = list(there)
    for entry in patch:
        place = next((index for index, one in enumerate(merged) if one.get(name) == entry.get(name)), None)
        if entry.get("$patch") == "delete":
            merged = [one for one in merged if one.get(name) != entry[name]]
        elif place is None:
            merged.append(merge_strategically({}, entry))
        else:
            merged[place] = merge_strategically(merged[place], entry)
    return merged


def _put_in_order(merged: dict[str, Any], key: str, order: list[Any]) -> None:
    name = _merge_key(key, order) if order else None
    if name and key in merged:
        wanted = [one.get(name) for one in order]
        merged[key].sort(key=lambda one: wanted.index(one.get(name)) if one.get(name) in wanted else len(wanted))
