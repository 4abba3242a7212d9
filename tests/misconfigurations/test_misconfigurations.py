"""At least thirty misconfigurations: the cause is named first, and the remedy mends it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.misconfigurations import both
from tests.misconfigurations.both import Both
from tests.misconfigurations.both_rows import ROWS as PAIRS
from tests.misconfigurations.record import NOTHING_SAID, Row
from tests.misconfigurations.table import ROWS, go_through

LEAST_ROWS, LEAST_RIGHT = 30, 28


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.cause)
async def test_the_cause_is_named_first_and_the_remedy_mends_it(tmp_path: Path, row: Row) -> None:
    said, then = await go_through(row, tmp_path)
    if row.names:
        assert row.names in said.text
        assert row.remedy in said.remedy
    else:
        assert said == NOTHING_SAID
    assert then.text.startswith(row.leaves) if row.leaves else then == NOTHING_SAID


@pytest.mark.parametrize("row", PAIRS, ids=lambda row: row.cause)
async def test_the_check_and_the_sign_in_agree(tmp_path: Path, row: Both) -> None:
    checked, signed_in = await both.ask_both(row, tmp_path)
    if row.check:
        assert row.check in checked.text
    else:
        assert checked == NOTHING_SAID
    if row.sign_in:
        assert row.sign_in in f"{signed_in.text} {signed_in.remedy}"
    else:
        assert signed_in == NOTHING_SAID
    assert row.remedy in (checked.remedy or signed_in.remedy)
    assert row.journey or row.check or row.sign_in in ("", both.WITHOUT_SIGN_IN) or signed_in.remedy


def test_there_are_enough_rows_and_most_name_their_cause() -> None:
    assert len(ROWS) >= LEAST_ROWS
    assert sum(bool(row.names) for row in ROWS) >= LEAST_RIGHT
    assert len({row.cause for row in ROWS}) == len(ROWS)
