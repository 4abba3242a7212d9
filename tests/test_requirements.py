"""Each security requirement has a test that carries its number, and each number is that of a requirement."""

from __future__ import annotations

import ast
import tomllib
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
REQUIREMENTS = tomllib.loads((TESTS / "requirements.toml").read_text(encoding="utf-8"))


def marked_numbers() -> set[str]:
    """Read the numbers in every `pytest.mark.requirement` below tests/."""
    files = [path for path in TESTS.rglob("test_*.py") if "node_modules" not in path.parts]
    return {
        ast.literal_eval(argument)
        for path in files
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "pytest.mark.requirement"
        for argument in node.args
    }


MARKED = marked_numbers()


@pytest.mark.parametrize("number", REQUIREMENTS)
def test_a_requirement_is_checked_by_a_test(number: str) -> None:
    assert number in MARKED


def test_a_marker_names_a_requirement() -> None:
    assert set(REQUIREMENTS) >= MARKED
