"""What a row of docs/reliability.md is: a fault, what must hold, and the checks with their figures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from broker.errors import Overloaded
from tests.benchmarks.programs import Programs
from tests.chaos.people import SignIn, ends, failed, quantile

Verdict = Literal["held", "not held", "not measured"]
MILLISECONDS_OF_SLACK = 50.0  # of a 99th percentile beside a fault, besides twice the usual


class NotMeasured(Exception):
    """A row cannot be measured on this machine; the text says what is missing."""


@dataclass(frozen=True)
class Check:
    """One figure of a row, and whether it is as it must be."""

    figure: str
    holds: bool = True


@dataclass(frozen=True)
class Bench:
    """Where rows run.

    Args:
        folder: of this row alone.
        programs: of the benchmark, for bursts; None without a C compiler.
        shim: moves clocks and decides about names; None without a C compiler.
        is_brief: a short run beside other work: fewer people, and times are not judged.
    """

    folder: Path
    programs: Programs | None = None
    shim: Path | None = None
    is_brief: bool = False

    @property
    def rates(self) -> dict[str, float]:
        """Return how many people come to each provider in a second."""
        each = 5.0 if self.is_brief else 20.0
        return {"a": each, "b": each}

    @property
    def replicas(self) -> int:
        """Return how many replicas stand behind the proxy."""
        return 2 if self.is_brief else 3

    def codes(self, *codes: str) -> list[str]:
        """Return error codes, and in a brief run the code of a replica that has too little processor time."""
        return [*codes, *([Overloaded.code] if self.is_brief else [])]

    def seconds(self, whole: float, brief: float) -> float:
        """Return how long something lasts in this run."""
        return brief if self.is_brief else whole

    def timed(self, figure: str, *, holds: bool) -> Check:
        """Return a check of a time, which a busy machine may fail."""
        return Check(figure, self.is_brief or holds)

    def needs_programs(self) -> Programs:
        """Return the benchmark's programs.

        Raises:
            NotMeasured: there is no C compiler.
        """
        if self.programs is None:
            raise NotMeasured("no C compiler or no headers of OpenSSL")
        return self.programs

    def needs_shim(self) -> Path:
        """Return the shim.

        Raises:
            NotMeasured: there is no C compiler.
        """
        if self.shim is None:
            raise NotMeasured("no C compiler")
        return self.shim


@dataclass(frozen=True)
class Row:
    """A fault and how it is measured.

    Args:
        number: as in the table, several rows may share it.
        must: what must hold, for the table.
        is_short: part of the short selection in `make test`.
    """

    number: str
    name: str
    must: str
    measure: Callable[[Bench], Sequence[Check]]
    is_short: bool = False

    @property
    def id(self) -> str:
        """Return number and name."""
        return f"{self.number} {self.name}"


@dataclass(frozen=True)
class Result:
    """What came of a row."""

    row: Row
    verdict: Verdict
    figures: str
    seconds: float


def none_failed(who: str, sign_ins: Sequence[SignIn]) -> Check:
    """Check that people came and each of them was let in."""
    bad = failed(sign_ins)
    return Check(_failures(who, sign_ins), holds=bool(sign_ins) and not bad)


def some_failed(who: str, sign_ins: Sequence[SignIn], *, at_most: int, only: Sequence[str] = ()) -> Check:
    """Check that at most so many people failed, and only in these ways (any way if empty)."""
    bad = failed(sign_ins)
    as_expected = not only or all(one.end in only for one in bad)
    return Check(_failures(who, sign_ins), holds=bool(sign_ins) and len(bad) <= at_most and as_expected)


def all_failed_as(who: str, sign_ins: Sequence[SignIn], *codes: str) -> Check:
    """Check that people came and each of them read a page with one of these codes."""
    return Check(_failures(who, sign_ins), holds=bool(sign_ins) and all(one.end in codes for one in sign_ins))


def _failures(who: str, sign_ins: Sequence[SignIn]) -> str:
    reasons = ends(sign_ins)
    return f"{who}: {len(failed(sign_ins)):,} of {len(sign_ins):,} failed{f' ({reasons})' if reasons else ''}"


def not_slower(bench: Bench, who: str, beside: Sequence[SignIn], usual: Sequence[SignIn]) -> Check:
    """Check that the 99th percentile beside a fault is at most twice the usual one and a little."""
    p99, before = quantile(beside, 0.99), quantile(usual, 0.99)
    figure = f"{who}: p50 {quantile(beside, 0.5):.0f} ms, p99 {p99:.0f} ms (before {before:.0f} ms)"
    return bench.timed(figure, holds=p99 < 2 * before + MILLISECONDS_OF_SLACK)
