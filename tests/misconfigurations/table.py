"""Write a table of every misconfiguration: the mistake, what is said first, and whether that names the cause.

`make tables` injects every row, as the tests do, and writes `build/misconfigurations.md`.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Iterable
from pathlib import Path

from tests.misconfigurations import both, both_rows, check_rows, sign_in_rows
from tests.misconfigurations.bench import Bench, Said, SignIn, bench, sign_in, without_particulars
from tests.misconfigurations.record import NOTHING_SAID, Row

ROWS = [*check_rows.ROWS, *sign_in_rows.ROWS]
DOCUMENT = Path(__file__).parents[2] / "build" / "misconfigurations.md"

_OPENING = """\
# What is said first

One mistake at a time, made in a set-up that works: what an admin is told first, by the settings, by `broker check`
or by a test sign-in on the setup page, and whether that names the cause. Every row is a test, which also does what the
remedy says and checks that nothing is left to say. Right is what names this very mistake, in what is said or in what is
to do; nothing can name what only Comm100 knows.
"""
_BOTH = """\

## The check beside the sign-in

What people report of services like this one: what `broker check` says first, unknown included, and what a test sign-in
says of the same fault. "Not asked": the fault is on the way to the provider. Each row is a test, too.

| | fault | broker check | test sign-in | to do |
|---|---|---|---|---|
"""
_COLUMNS = "| | mistake | told by | said first | to do | right |\n|---|---|---|---|---|---|\n"


async def go_through(row: Row, folder: Path) -> tuple[Said, Said]:
    """Inject, ask, do what the remedy says, and ask again; return what was said both times."""
    if row.at == "sign-in":
        return await _ask_twice(row, sign_in(row.kind, folder), folder)
    async with bench(row.kind, folder, tls=row.tls) as on_sockets:
        return await _ask_twice(row, on_sockets, folder)


async def _ask_twice(row: Row, set_up: Bench | SignIn, folder: Path) -> tuple[Said, Said]:
    row.inject(set_up, NOTHING_SAID)
    said = await set_up.ask() or NOTHING_SAID
    row.mend(set_up, said)
    then = await set_up.ask() or NOTHING_SAID
    return without_particulars(said, folder, set_up.names), without_particulars(then, folder, set_up.names)


def line(row: Row, said: Said) -> str:
    """Return a row of the table, without its number."""
    told, remedy = (text.replace("|", "\\|") for text in (said.text or "nothing", said.remedy))
    return f"{row.cause} | {said.where} | {told} | {remedy} | {'yes' if row.names else '**no**'} |"


def render(lines: Iterable[str], pairs: Iterable[str]) -> str:
    """Return the whole document."""
    numbered = [f"| {number} | {one}\n" for number, one in enumerate(lines, 1)]
    right = sum(one.endswith("| yes |\n") for one in numbered)
    sentence = f"{right} of {len(numbered)} are named right at once.\n"
    beside = "".join(f"| {number} | {one}\n" for number, one in enumerate(pairs, len(numbered) + 1))
    return f"{_OPENING}\n{sentence}\n{_COLUMNS}{''.join(numbered)}{_BOTH}{beside}"


async def _every_line() -> list[str]:
    lines = []
    for row in ROWS:
        with tempfile.TemporaryDirectory() as folder:
            said, _ = await go_through(row, Path(folder))
            lines.append(line(row, said))
    return lines


async def _every_pair() -> list[str]:
    lines = []
    for row in both_rows.ROWS:
        with tempfile.TemporaryDirectory() as folder:
            lines.append(both.line(row, *await both.ask_both(row, Path(folder))))
    return lines


if __name__ == "__main__":
    DOCUMENT.parent.mkdir(exist_ok=True)
    DOCUMENT.write_text(render(asyncio.run(_every_line()), asyncio.run(_every_pair())), encoding="utf-8")
