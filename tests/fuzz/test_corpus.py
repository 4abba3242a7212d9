"""Every input ever kept is judged again: the seeds, and whatever a fuzzer once broke the broker with."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.fuzz.targets import CORPUS, TARGETS, load

INPUTS = [path for target in TARGETS for path in sorted((CORPUS / target).iterdir())]


@pytest.fixture(scope="module")
def judges() -> Iterator[dict[str, Callable[[bytes], None]]]:
    with ExitStack() as stack:
        yield {target: stack.enter_context(load(target)) for target in TARGETS}


@pytest.mark.parametrize("path", [pytest.param(path, id=f"{path.parent.name} - {path.name}") for path in INPUTS])
def test_an_input_once_kept_still_does_no_harm(judges: dict[str, Callable[[bytes], None]], path: Path) -> None:
    judges[path.parent.name](path.read_bytes())


def test_every_parser_has_seeds() -> None:
    assert {path.parent.name for path in INPUTS} == set(TARGETS)
