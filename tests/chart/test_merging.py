"""The cluster in memory takes patches as a cluster does."""

from __future__ import annotations

from typing import Any

import pytest

from tests.chart.cluster.merging import merge_plainly, merge_strategically

TWO = {"containers": [{"name": "broker", "image": "a", "args": ["serve"]}, {"name": "beside", "image": "b"}]}


@pytest.mark.parametrize(
    ("there", "patch", "merged"),
    [
        pytest.param({"a": 1, "b": 2}, {"a": 3, "b": None}, {"a": 3}, id="a null takes a key away"),
        pytest.param(
            TWO,
            {"containers": [{"name": "broker", "image": "c"}]},
            {"containers": [{"name": "broker", "image": "c", "args": ["serve"]}, {"name": "beside", "image": "b"}]},
            id="containers are told apart by name",
        ),
        pytest.param(
            TWO,
            {"containers": [{"name": "broker", "$patch": "delete"}]},
            {"containers": [{"name": "beside", "image": "b"}]},
            id="one is deleted",
        ),
        pytest.param(
            TWO,
            {"$setElementOrder/containers": [{"name": "first"}, {"name": "broker"}, {"name": "beside"}],
             "containers": [{"name": "first"}]},
            {"containers": [{"name": "first"}, *TWO["containers"]]},
            id="one is added in front",
        ),
        pytest.param(
            {"volumes": [{"name": "ca", "configMap": {"name": "x"}}]},
            {"volumes": [{"name": "ca", "$retainKeys": ["name", "secret"], "secret": {"secretName": "y"}}]},
            {"volumes": [{"name": "ca", "secret": {"secretName": "y"}}]},
            id="a volume of another kind",
        ),
        pytest.param({"args": ["a", "b"]}, {"args": ["c"]}, {"args": ["c"]}, id="other lists are replaced"),
        pytest.param({"a": {"b": 1}}, {"a": {"$patch": "replace", "c": 2}}, {"a": {"c": 2}}, id="replaced as a whole"),
    ],
)  # fmt: skip
def test_a_strategic_merge_patch(there: dict[str, Any], patch: dict[str, Any], merged: dict[str, Any]) -> None:
    assert merge_strategically(there, patch) == merged


def test_a_json_merge_patch_replaces_lists() -> None:
    there = {"a": {"b": 1, "c": [1, 2]}, "d": 4}
    assert merge_plainly(there, {"a": {"b": None, "c": [3]}}) == {"a": {"c": [3]}, "d": 4}
