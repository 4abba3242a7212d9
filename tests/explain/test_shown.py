"""What an error expected or got, as an admin reads it: on a terminal, in JSON and on the setup pages."""

from __future__ import annotations

import pytest

from broker.explain import MAX_SHOWN, shown


@pytest.mark.parametrize(
    ("value", "line"),
    [
        pytest.param("acme.example", "acme.example", id="text"),
        pytest.param(7, "7", id="number"),
        pytest.param(True, "true", id="boolean"),
        pytest.param(None, "nothing", id="nothing"),
        pytest.param(["a", "b"], "a, b", id="list"),
        pytest.param({"sub": "1"}, "an object", id="object"),
        pytest.param(["a", {"sub": "1"}], "a, an object", id="object_in_a_list"),
        pytest.param(["x"] * 500, ("x, " * 100) + "...", id="long_list"),
        pytest.param("x" * 500, "x" * MAX_SHOWN + "...", id="long_text"),
        pytest.param("a\x1b[2Jb\u202e", "a\\u001b[2Jb\\u202e", id="invisible"),
    ],
)
def test_any_value_becomes_one_short_line_of_visible_characters(value: object, line: str) -> None:
    assert shown(value) == line
