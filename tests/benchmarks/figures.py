"""What a run of the benchmark measured, and the arithmetic on it: ratios within a round, medians over rounds."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import Any

OURS = "ours"
FLOOR = "C floor"
PROVIDER = "provider"  # no contestant: the load generator calls it directly
AUTHLIB = "naive Authlib"
APACHE = "mod_auth_openidc"
OPENID_CLIENT = "openid-client"


@dataclass(frozen=True)
class Reading:
    """One contestant in one round: processor milliseconds of its process tree for one request.

    Args:
        rate: Callbacks a second, on one core, as fast as it can.
    """

    contestant: str
    tls: bool
    round: int
    login_ms: float
    callback_ms: float
    rate: float


@dataclass(frozen=True)
class Steady:
    """Latencies of the callback at a moderate rate, in milliseconds.

    `contestant` is PROVIDER for the provider's own two calls, made by the load generator.
    """

    contestant: str
    round: int
    per_second: float
    p50: float
    p99: float


@dataclass(frozen=True)
class Burst:
    """A burst of callbacks within two seconds, the provider taking 300 ms a call.

    Args:
        seconds: From the first request to the last response.
        peak_bytes: The most memory that the processes ever held.
        longest_stall: Of the event loop, in milliseconds; None where no probe ran.
    """

    contestant: str
    planned: int
    succeeded: int
    failed: Mapping[str, int]
    p99: float
    seconds: float
    peak_bytes: int
    longest_stall: float | None

    @property
    def goodput(self) -> float:
        """Return the successes a second."""
        return self.succeeded / self.seconds if self.seconds else 0.0


@dataclass(frozen=True)
class Start:
    """One start of the broker: seconds until the operations port answered."""

    cpu: float
    wall: float


@dataclass(frozen=True)
class Straight:
    """The load generator straight at the stub provider, both on one core: calls a second."""

    tls: bool
    calls_per_second: float


@dataclass(frozen=True)
class Results:
    """Everything one run measured.

    Args:
        other_load: The processor cores that other programs kept busy meanwhile.
    """

    command: str
    date: str
    machine: str
    other_load: float = 0.0
    readings: list[Reading] = field(default_factory=list)
    steady: list[Steady] = field(default_factory=list)
    bursts: list[Burst] = field(default_factory=list)
    starts: list[Start] = field(default_factory=list)
    straight: list[Straight] = field(default_factory=list)
    versions: dict[str, str] = field(default_factory=dict)
    memory: dict[str, int] = field(default_factory=dict)
    steady_stalls: list[float] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """Return the results as JSON values."""
        return asdict(self)


def read_results(document: Mapping[str, Any]) -> Results:
    """Return the results of `Results.as_json`."""
    kinds = {"readings": Reading, "steady": Steady, "bursts": Burst, "starts": Start, "straight": Straight}
    lists = {name: [kind(**row) for row in document[name]] for name, kind in kinds.items()}
    return Results(**{**document, **lists})


def middle(values: Iterable[float]) -> float | None:
    """Return the median; None of nothing."""
    found = list(values)
    return median(found) if found else None


def ratio(readings: Sequence[Reading], above: str, below: str, *, tls: bool) -> float | None:
    """Return the median over rounds of the ratio, within a round, of two contestants' CPU for a callback."""
    return middle(_ratios(readings, above, below, lambda reading: reading.callback_ms, tls=tls))


def login_ratio(readings: Sequence[Reading], above: str, below: str, *, tls: bool) -> float | None:
    """Return the same of `/login`."""
    return middle(_ratios(readings, above, below, lambda reading: reading.login_ms, tls=tls))


def _ratios(
    readings: Sequence[Reading], above: str, below: str, cost: Callable[[Reading], float], *, tls: bool
) -> list[float]:
    upper = {reading.round: cost(reading) for reading in readings if reading.contestant == above and reading.tls == tls}
    lower = {reading.round: cost(reading) for reading in readings if reading.contestant == below and reading.tls == tls}
    return [upper[number] / lower[number] for number in sorted(upper.keys() & lower.keys()) if lower[number] > 0]


def of(readings: Sequence[Reading], contestant: str, *, tls: bool) -> list[Reading]:
    """Return one contestant's readings."""
    return [reading for reading in readings if reading.contestant == contestant and reading.tls == tls]


def added_p50(steady: Sequence[Steady], contestant: str) -> float | None:
    """Return the median over rounds of a contestant's p50 less the provider's own in that round, in milliseconds."""
    own = {row.round: row.p50 for row in steady if row.contestant == PROVIDER}
    return middle(row.p50 - own[row.round] for row in steady if row.contestant == contestant and row.round in own)
