"""Makes docs/requirements.md: each security requirement, the functions that see to it, and the tests that check it.

The requirements are in requirements.toml. A test names those it checks by `@pytest.mark.requirement("S-01")`, a row
by `marks=`. Tests are read, never run: `python -m tests.requirements_table` writes the document anew.
"""

from __future__ import annotations

import ast
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
DOCUMENT = ROOT / "docs" / "requirements.md"

_OPENING = """\
# Security requirements

What must hold, the functions that see to it, and the tests that check it; `pytest -m requirement` runs these tests.
Made by `python -m tests.requirements_table` from `tests/requirements.toml` and from the `requirement` markers in the
tests: do not edit. Numbers are never reused, so there are gaps.
"""


@dataclass(frozen=True, slots=True)
class Requirement:
    """One thing that must hold.

    Args:
        number: never reused, never renumbered.
        chapter: the heading it stands under.
        holds: what must hold, as seen from outside.
        where: the functions that see to it, each as `file: function`.
        missing: what of it this version does not have.
    """

    number: str
    chapter: str
    holds: str
    where: tuple[str, ...]
    missing: str


@dataclass(frozen=True, slots=True)
class Marked:
    """A test that carries a requirement's number.

    Args:
        number: as it is written there.
        place: `file: function`, or the file alone for a row that stands outside of one.
    """

    number: str
    place: str


def read_requirements() -> Mapping[str, Requirement]:
    with (Path(__file__).parent / "requirements.toml").open("rb") as file:
        tables = tomllib.load(file)
    return {
        number: Requirement(number, table["chapter"], table["holds"], tuple(table["where"]), table.get("missing", ""))
        for number, table in tables.items()
    }


def read_markers() -> tuple[Marked, ...]:
    """Find every marker in tests/, in the order of files and lines."""
    files = sorted(path for path in (ROOT / "tests").rglob("test_*.py") if "node_modules" not in path.parts)
    return tuple(marked for path in files for marked in _markers_in(path))


def render(requirements: Mapping[str, Requirement], markers: tuple[Marked, ...]) -> str:
    lines = [_OPENING]
    chapter = ""
    for one in requirements.values():
        if one.chapter != chapter:
            chapter = one.chapter
            lines.append(f"## {chapter}\n")
        lines.append(f"### {one.number}\n\n{one.holds}\n")
        if one.missing:
            lines.append(f"- **Not built yet:** {one.missing}.")
        lines.append(f"- Seen to by{_listed(one.where)}")
        places = dict.fromkeys(marked.place for marked in markers if marked.number == one.number)
        lines.append(f"- Checked by{_listed(tuple(places))}\n" if places else "- Checked by no test.\n")
    return "\n".join(lines).rstrip() + "\n"


def functions_in(path: Path) -> frozenset[str]:
    """Name the functions and methods of a file."""
    tree = ast.parse(path.read_text())
    return frozenset(node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def _markers_in(path: Path) -> Iterator[Marked]:
    file = path.relative_to(ROOT).as_posix()
    for statement in ast.parse(path.read_text()).body:
        place = f"{file}: {statement.name}" if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef) else file
        for node in ast.walk(statement):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "pytest.mark.requirement":
                yield from (Marked(ast.literal_eval(argument), place) for argument in node.args)


def _listed(places: tuple[str, ...]) -> str:
    """Write one place behind the word before it, several below one another."""
    shown = [": ".join(f"`{part}`" for part in place.split(": ")) for place in places]
    return f" {shown[0]}" if len(shown) == 1 else "".join(f"\n  - {place}" for place in shown)


if __name__ == "__main__":
    DOCUMENT.write_text(render(read_requirements(), read_markers()))
