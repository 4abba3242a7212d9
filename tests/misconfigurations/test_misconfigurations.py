"""At least thirty misconfigurations: the cause is named first, the remedy mends it, and the table says so."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.misconfigurations import both
from tests.misconfigurations.both import Both
from tests.misconfigurations.both_rows import ROWS as PAIRS
from tests.misconfigurations.record import NOTHING_SAID, Row
from tests.misconfigurations.table import DOCUMENT, ROWS, go_through, line

LEAST_ROWS, LEAST_RIGHT = 30, 28


def table() -> list[str]:
    lines = DOCUMENT.read_text(encoding="utf-8").splitlines()
    return [one.split(" | ", 1)[1] for one in lines if one.startswith("| ") and one.split(" ")[1].isdigit()]


@pytest.mark.parametrize(("number", "row"), [pytest.param(n, row, id=row.cause) for n, row in enumerate(ROWS)])
async def test_the_cause_is_named_first_and_the_remedy_mends_it(tmp_path: Path, number: int, row: Row) -> None:
    said, then = await go_through(row, tmp_path)
    if row.names:
        assert row.names in said.text
        assert row.remedy in said.remedy
    else:
        assert said == NOTHING_SAID
    assert then.text.startswith(row.leaves) if row.leaves else then == NOTHING_SAID
    assert table()[number] == line(row, said)


@pytest.mark.parametrize(("number", "row"), [pytest.param(n, row, id=row.cause) for n, row in enumerate(PAIRS)])
async def test_the_check_and_the_sign_in_agree(tmp_path: Path, number: int, row: Both) -> None:
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
    assert table()[len(ROWS) + number] == both.line(row, checked, signed_in)


def test_the_table_is_long_enough_and_mostly_right() -> None:
    assert len(table()) == len(ROWS) + len(PAIRS)
    assert len(ROWS) >= LEAST_ROWS
    assert sum(bool(row.names) for row in ROWS) >= LEAST_RIGHT
    assert len({row.cause for row in ROWS}) == len(ROWS)
