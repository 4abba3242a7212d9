"""The short selection of `make chaos`: counts and states are judged, times are not."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.benchmarks.programs import can_build
from tests.chaos.row import Bench, Row
from tests.chaos.rows import ROWS
from tests.chaos.run import build_shim, measure


@pytest.fixture(scope="module")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Path | None:
    return build_shim(tmp_path_factory.mktemp("shim")) if can_build() else None


@pytest.mark.parametrize("row", [row for row in ROWS if row.is_short], ids=lambda row: row.id)
def test_the_service_stays_up(row: Row, tmp_path: Path, shim: Path | None) -> None:
    result = measure(row, Bench(tmp_path / "stage", shim=shim, is_brief=True))
    if result.verdict == "not measured":
        pytest.skip(result.figures)
    assert result.verdict == "held", f"{row.must}: {result.figures}"
