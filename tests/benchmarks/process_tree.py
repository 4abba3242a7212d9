"""Reads what a process and its descendants used, from /proc."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

PROC = Path("/proc")
TICKS = os.sysconf("SC_CLK_TCK")


def cpu_seconds(root: int) -> float:
    """Return the processor time of a process tree: user and system, with the children that ended."""
    return sum(_cpu_seconds(pid) for pid in tree(root))


def machine_seconds() -> float:
    """Return the time that all cores worked or were taken by the hypervisor, since the machine started."""
    fields = (PROC / "stat").read_text().splitlines()[0].split()[1:]
    idle, waiting, guests = 3, 4, (8, 9)  # proc(5); the guests' time is in the user's, too
    return sum(int(ticks) for number, ticks in enumerate(fields) if number not in {idle, waiting, *guests}) / TICKS


def memory_bytes(root: int) -> int:
    """Return the resident memory of a process; of several processes, with shared pages counted once."""
    pids = list(tree(root))
    if len(pids) == 1:
        return _kilobytes(PROC / str(root) / "status", "VmRSS")
    return sum(_kilobytes(PROC / str(pid) / "smaps_rollup", "Pss") for pid in pids)


def peak_bytes(root: int) -> int:
    """Return the most memory that each process of a tree ever held, added up."""
    return sum(_kilobytes(PROC / str(pid) / "status", "VmHWM") for pid in tree(root))


def tree(root: int) -> Iterator[int]:
    """Yield the process and all its descendants."""
    parents: dict[int, int] = {}
    for folder in PROC.glob("[0-9]*"):
        with suppress(OSError):
            parents[int(folder.name)] = int(_stat(folder)[1])
    found = [root]
    for parent in found:  # grows meanwhile
        found += [pid for pid, its_parent in parents.items() if its_parent == parent]
    yield from found


def _cpu_seconds(pid: int) -> float:
    folder = PROC / str(pid)
    seconds = 0.0
    with suppress(OSError):
        fields = _stat(folder)
        seconds += sum(map(int, fields[13:15])) / TICKS  # of children that ended
        own = sum(map(int, fields[11:13])) / TICKS
        seconds += _scheduled_seconds(folder) or own
    return seconds


def _scheduled_seconds(folder: Path) -> float:
    """Return the time of all threads to the nanosecond, where the kernel counts it (0 elsewhere)."""
    nanoseconds = 0
    for thread in (folder / "task").iterdir():
        with suppress(OSError):
            nanoseconds += int((thread / "schedstat").read_text().split()[0])
    return nanoseconds / 1e9


def _stat(folder: Path) -> list[str]:
    """Return the fields of proc(5)'s stat from the state on; the name before may contain anything."""
    return (folder / "stat").read_text().rpartition(")")[2].split()


def _kilobytes(file: Path, line: str) -> int:
    found = re.search(rf"^{line}:\s+(\d+) kB$", file.read_text(), re.MULTILINE)
    assert found is not None, f"{file}: no {line}"
    return int(found[1]) * 1024
