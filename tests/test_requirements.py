"""Requirements, code, tests and docs/requirements.md agree."""

from __future__ import annotations

import re

import pytest

from tests.requirements_table import (
    DOCUMENT,
    ROOT,
    Marked,
    Requirement,
    functions_in,
    read_markers,
    read_requirements,
    render,
)

REQUIREMENTS = read_requirements()
MARKERS = read_markers()
EACH = pytest.mark.parametrize("requirement", [pytest.param(one, id=one.number) for one in REQUIREMENTS.values()])


@EACH
def test_a_requirement_is_checked_by_a_test(requirement: Requirement) -> None:
    assert requirement.number in {marked.number for marked in MARKERS}


@EACH
def test_the_functions_that_see_to_a_requirement_exist(requirement: Requirement) -> None:
    assert requirement.where
    for place in requirement.where:
        file, _, function = place.partition(": ")
        assert function in functions_in(ROOT / file), place


@EACH
def test_a_requirement_is_a_number_and_whole_sentences(requirement: Requirement) -> None:
    assert re.fullmatch(r"S-\d\d", requirement.number)
    assert requirement.holds.endswith(".")
    assert requirement.chapter
    assert not requirement.missing.endswith(".")


def test_a_marker_names_a_requirement_that_exists() -> None:
    unknown: list[Marked] = [marked for marked in MARKERS if marked.number not in REQUIREMENTS]
    assert not unknown


def test_the_document_is_what_requirements_and_markers_make_of_it() -> None:
    """If not: run `python -m tests.requirements_table`."""
    assert DOCUMENT.read_text() == render(REQUIREMENTS, MARKERS)
