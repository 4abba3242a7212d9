"""Measures how the broker stays up, row by row, and writes docs/reliability.md (`make chaos`)."""

from __future__ import annotations

import argparse
import re
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.benchmarks.programs import build_programs, can_build
from tests.chaos.report import page
from tests.chaos.row import Bench, NotMeasured, Result, Row, Verdict
from tests.chaos.rows import ROWS

ROOT = Path(__file__).parents[2]
BUILD = ROOT / "build" / "chaos"
SHIM_SOURCE = Path(__file__).parent / "c" / "shim.c"
MAX_FAILURE = 200  # characters of what broke a row


def main(arguments: Sequence[str]) -> int:
    """Measure, and write the page. The status is 1 if a row did not hold."""
    options = _options(arguments)
    rows = [row for row in ROWS if re.search(options.rows, row.id)]
    if options.list:
        print(*(row.id for row in rows), sep="\n")
        return 0
    command = f'make chaos ARGS="{shlex.join(arguments)}"' if arguments else "make chaos"
    results = list(_measure(rows, time.monotonic() + 60 * options.minutes, options.folder, is_brief=options.brief))
    is_whole = len(results) == len(ROWS) and not options.brief
    file = (ROOT / "docs" if is_whole else BUILD) / "reliability.md"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(page(results, command), encoding="utf-8")
    not_held = [result for result in results if result.verdict == "not held"]
    print(f"{len(results) - len(not_held)} of {len(results)} rows held. Written: {file}")
    return 1 if not_held else 0


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make chaos ARGS=...", description=__doc__)
    parser.add_argument("--rows", default="", help="a regular expression of number and name; default: all rows")
    parser.add_argument("--minutes", type=float, default=90.0, help="no row begins after so many minutes")
    parser.add_argument("--brief", action="store_true", help="as in `make test`: fewer people, times are not judged")
    parser.add_argument("--list", action="store_true", help="list the rows")
    parser.add_argument("--folder", type=Path, help="keep logs and settings of each row in this folder")
    return parser.parse_args(arguments)


def _measure(rows: Sequence[Row], deadline: float, kept: Path | None, *, is_brief: bool) -> Iterator[Result]:
    programs = build_programs(BUILD / "programs") if can_build() else None
    shim = build_shim(BUILD / "programs") if can_build() else None
    if kept is not None:
        kept.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="chaos-") as name:
        for number, row in enumerate(rows):
            if time.monotonic() > deadline:
                print("The time is up.")
                return
            folder = Path(tempfile.mkdtemp(prefix=f"{number}-", dir=kept or name))
            result = measure(row, Bench(folder / "stage", programs, shim, is_brief=is_brief))
            print(f"{row.id}: {result.verdict}: {result.figures} ({result.seconds:.0f} s)", flush=True)
            yield result


def measure(row: Row, bench: Bench) -> Result:
    """Measure a row; what breaks off did not hold."""
    began = time.monotonic()
    try:
        checks = row.measure(bench)
    except NotMeasured as lack:
        return Result(row, "not measured", str(lack), time.monotonic() - began)
    except Exception as failure:  # noqa: BLE001 - the other rows go on
        text = " ".join(str(failure).split())[-MAX_FAILURE:]
        return Result(row, "not held", f"**broke off: {text}**", time.monotonic() - began)
    figures = "; ".join(check.figure if check.holds else f"**{check.figure}**" for check in checks)
    verdict: Verdict = "held" if all(check.holds for check in checks) else "not held"
    return Result(row, verdict, figures, time.monotonic() - began)


def build_shim(folder: Path) -> Path:
    """Compile the library that is preloaded into replicas."""
    folder.mkdir(parents=True, exist_ok=True)
    library = folder / "shim.so"
    flags = ("-std=c11", "-O2", "-Wall", "-Wextra", "-shared", "-fPIC")
    subprocess.run(["gcc", *flags, "-o", str(library), str(SHIM_SOURCE), "-ldl"], check=True)
    return library


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
