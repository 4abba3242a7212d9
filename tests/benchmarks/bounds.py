"""Compares what was measured with what must hold: one row a figure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from tests.benchmarks.figures import (
    APACHE,
    AUTHLIB,
    FLOOR,
    OPENID_CLIENT,
    OURS,
    Burst,
    Results,
    added_p50,
    login_ratio,
    middle,
    of,
    ratio,
)

MEGABYTE = 1_000_000

Sense = Literal["at least", "at most"]


@dataclass(frozen=True)
class Bound:
    """One figure.

    Args:
        must: What holds at least.
        stretch: Where the goal lies.
        measured: None if this run did not measure it.
        otherwise: Suffices where this one does not hold.
    """

    figure: str
    sense: Sense
    must: float | None
    stretch: float
    measured: float | None
    unit: str
    otherwise: Bound | None = None

    def meets(self, bound: float | None) -> bool | None:
        """Tell whether the figure meets a bound, as it is shown; None if it was not measured."""
        if self.measured is None or bound is None:
            return None
        shown = round(self.measured, digits(self.measured))
        return shown >= bound if self.sense == "at least" else shown <= bound

    @property
    def holds(self) -> bool | None:
        """Tell whether the figure is good enough."""
        if self.meets(self.must) is not True and self.otherwise is not None:
            return self.otherwise.holds
        return self.meets(self.must)


def digits(value: float) -> int:
    """Return how many decimals a figure is shown with."""
    return 0 if value >= 20 else 1 if value >= 2 else 2 if value >= 0.2 else 3


def bounds(results: Results) -> list[Bound]:
    """Return every figure that must hold."""
    return [*_ratios(results), *_bursts(results), *_latencies(results), *_process(results)]


def _ratios(results: Results) -> Iterator[Bound]:
    readings = results.readings
    rows = (
        ("CPU of a callback against naive Authlib, TLS", AUTHLIB, True, 60, 75),
        ("against mod_auth_openidc, TLS, one CA", APACHE, True, 3, 5),
        ("against mod_auth_openidc, plain http", APACHE, False, 0.7, 1),
        ("against openid-client, TLS, warm", OPENID_CLIENT, True, 1.3, 2),
    )
    for figure, peer, tls, must, stretch in rows:
        yield Bound(figure, "at least", must, stretch, ratio(readings, peer, OURS, tls=tls), "x")
    times_the_floor = ratio(readings, OURS, FLOOR, tls=False)
    yield Bound("multiple of the C floor, plain http", "at most", 9, 5, times_the_floor, "x")


def _bursts(results: Results) -> Iterator[Bound]:
    small, large = bursts_of(results, OURS, 2000), bursts_of(results, OURS, 4000)

    def worst(bursts: Sequence[Burst], value: Callable[[Burst], float]) -> float | None:
        return max(map(value, bursts), default=None)

    name = "burst 2,000 in 2 s"
    yield Bound(f"{name}: failed", "at most", 0, 0, worst(small, _failed), "")
    yield Bound(f"{name}: p99", "at most", 2, 1.2, middle(one.p99 / 1000 for one in small), "s")
    yield Bound(f"{name}: done", "at most", 3.2, 2.8, middle(one.seconds for one in small), "s")
    yield Bound(f"{name}: peak memory", "at most", 170, 130, middle(one.peak_bytes / MEGABYTE for one in small), "MB")
    name = "burst 4,000 in 2 s"
    yield Bound(f"{name}: failed", "at most", 0, 0, worst(large, _failed), "")
    goodput = _quotient(middle(one.goodput for one in large), middle(one.goodput for one in small))
    yield Bound(f"{name}: goodput as a multiple of that of 2,000", "at least", 1, 1, goodput, "x")
    yield Bound(f"{name}: done", "at most", None, 6, middle(one.seconds for one in large), "s")
    stalls = middle(one.longest_stall for one in small if one.longest_stall is not None)
    yield Bound("longest loop stall, burst of 2,000", "at most", 70, 30, stalls, "ms")


def bursts_of(results: Results, contestant: str, planned: int) -> list[Burst]:
    """Return a contestant's bursts of one size."""
    return [one for one in results.bursts if one.contestant == contestant and one.planned == planned]


def _failed(burst: Burst) -> int:
    return burst.planned - burst.succeeded


def _latencies(results: Results) -> Iterator[Bound]:
    yield Bound("longest loop stall, steady", "at most", 10, 5, middle(results.steady_stalls), "ms")
    yield Bound("p50 added at 60 a second", "at most", 2, 1, added_p50(results.steady, OURS), "ms")
    login = middle(reading.login_ms for reading in of(results.readings, OURS, tls=True))
    against = login_ratio(results.readings, OURS, OPENID_CLIENT, tls=True)
    absolute = Bound("`/login`, warm", "at most", 0.25, 0.25, login, "ms")
    yield Bound("`/login`, warm, as a multiple of openid-client's", "at most", 2, 1, against, "x", absolute)


def _process(results: Results) -> Iterator[Bound]:
    memory = results.memory.get(OURS)
    resident = None if memory is None else memory / MEGABYTE
    yield Bound("RSS after load", "at most", 62, 50, resident, "MB")
    start = middle(one.cpu * 1000 for one in results.starts)
    yield Bound("CPU to the first answer", "at most", 500, 400, start, "ms")


def _quotient(above: float | None, below: float | None) -> float | None:
    return above / below if above is not None and below else None
