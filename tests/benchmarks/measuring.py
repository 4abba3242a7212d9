"""Measures the contestants: processor time in paired rounds, latencies at a moderate rate, bursts, start and memory."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.benchmarks.contestants import Peer, Running, Setting
from tests.benchmarks.figures import PROVIDER, Burst, Reading, Start, Steady, Straight
from tests.benchmarks.loading import Load, loading, probing
from tests.benchmarks.ours import OURS, Ours, running_ours
from tests.benchmarks.peers import callback_location, verify
from tests.benchmarks.process_tree import cpu_seconds, memory_bytes, peak_bytes
from tests.benchmarks.programs import Programs
from tests.benchmarks.stub import CLIENT_ID, CLIENT_SECRET, Stub
from tests.fakes.world import SHARED_SECRET

ENDPOINT = "http://127.0.0.1:9/AdminWebService/SSO/SSOJWTConsumer.aspx"  # sign-ins end with a redirect to it
CONNECTIONS = 16  # of a closed loop
PRELIMINARY = 12  # sign-ins that tell roughly what one costs
MOST, LEAST = 2000, 12  # sign-ins of a round
STEADY_DELAY = 20.0  # milliseconds the provider takes for a call
STEADY_RATE = 60.0  # sign-ins a second
MODEST_SHARE = 0.5  # of the core: a contestant that needs more at this rate is not asked for its latency
BURST_DELAY, BURST_SECONDS = 300.0, 2.0
BURST_WARM_UP = 300
BURST_LIMIT = 60.0
PROBE_STEADY, PROBE_BURST = 2, 5  # milliseconds between two questions


@dataclass(frozen=True)
class Bench:
    """Where everything runs.

    Args:
        core: The contestants' processor core.
        load_core: The stub provider's and the load generator's.
    """

    programs: Programs
    folder: Path
    core: int
    load_core: int

    def setting(self, stub: Stub, name: str) -> Setting:
        """Return a setting with a new folder."""
        number = sum(1 for _ in self.folder.glob("*"))
        folder = self.folder / f"{number}-{name.replace(' ', '-')}"
        folder.mkdir()
        return Setting(stub.issuer, stub.ca_file, CLIENT_ID, CLIENT_SECRET, SHARED_SECRET, ENDPOINT, folder, self.core)


@dataclass(frozen=True)
class Contestant:
    """A running product and the load generator for it."""

    name: str
    running: Running
    load: Load

    def sign_in(self, count: int, *, connections: int = CONNECTIONS) -> tuple[float, float, float]:
        """Sign people in as fast as the product can; nothing may fail.

        Returns:
            Processor seconds for all logins, for all callbacks, and callbacks a second.
        """
        self.load.plan(count)
        before_login = cpu_seconds(self.running.pid)
        self.load.run("l", "closed", connections).expect_all(f"{self.name}, /login")
        after_login = cpu_seconds(self.running.pid)
        self.load.run("a", "closed", connections).expect_all(f"{self.name}, the provider's authorization")
        before_callback = cpu_seconds(self.running.pid)
        run = self.load.run("c", "closed", connections).expect_all(f"{self.name}, /callback")
        return after_login - before_login, cpu_seconds(self.running.pid) - before_callback, run.per_second

    def prepare(self, count: int) -> None:
        """Bring sign-ins to the moment before their callback."""
        self.load.plan(count)
        self.load.run("la", "closed", CONNECTIONS).expect_all(f"{self.name}, before the callback")


@contextmanager
def contesting(bench: Bench, stub: Stub, peer: Peer) -> Iterator[Contestant]:
    """Run a contestant, verified by one whole sign-in, with its load generator."""
    setting = bench.setting(stub, peer.name)
    with peer.start(setting) as running:
        verify(peer, setting, running)
        location = callback_location(peer, setting, running)
        makes_token = location == setting.endpoint
        with loading(bench.programs, stub, running, bench.load_core, location=location, jwt=makes_token) as load:
            yield Contestant(peer.name, running, load)


# ------------------------------------------------------------------------------------------------------ paired rounds


@dataclass(frozen=True)
class Rounds:
    """The results of the rounds over one provider.

    Args:
        memory: Bytes after the load, by contestant.
    """

    readings: list[Reading]
    steady: list[Steady]
    memory: dict[str, int]


def measure_rounds(
    bench: Bench, stub: Stub, peers: Sequence[Peer], *, rounds: int, seconds: float, steady_rounds: int
) -> Rounds:
    """Measure all contestants in turn, round by round; all run all the time, one works.

    Args:
        seconds: Of processor time that a contestant's callbacks take in a round, roughly.
        steady_rounds: Of latencies at a moderate rate, after the others.
    """
    tls = stub.ca_file is not None
    with ExitStack() as stack:
        contestants = [stack.enter_context(contesting(bench, stub, peer)) for peer in peers]
        counts = {one.name: _warm_up(one, seconds) for one in contestants}
        readings = [
            _read(contestant, counts[contestant.name], number, tls=tls)
            for number in range(rounds)
            for contestant in _in_turn(contestants, number)
        ]
        memory = {one.name: memory_bytes(one.running.pid) for one in contestants}
        modest = [
            one
            for one in contestants
            if STEADY_RATE * min(row.callback_ms for row in readings if row.contestant == one.name) / 1000
            < MODEST_SHARE
        ]
        steady = [row for number in range(steady_rounds) for row in _read_steady(stub, modest, number)]
    return Rounds(readings, steady, memory)


def _in_turn(contestants: Sequence[Contestant], number: int) -> list[Contestant]:
    """Let another contestant begin each round: the machine may slow down or recover within a round."""
    first = number % len(contestants)
    return [*contestants[first:], *contestants[:first]]


def _warm_up(contestant: Contestant, seconds: float) -> int:
    """Sign in for four times a round's processor time; return how many sign-ins make a round.

    Node compiles what runs often, so its first rounds would be slower.
    """
    _, callbacks, _ = contestant.sign_in(PRELIMINARY)
    count = _bounded(seconds * PRELIMINARY / callbacks)
    spent = 0.0
    while spent < 4 * seconds:
        logins, callbacks, _ = contestant.sign_in(count)
        spent += logins + max(callbacks, seconds / 4)
    return _bounded(seconds * count / callbacks)


def _bounded(count: float) -> int:
    return max(LEAST, min(MOST, int(count)))


def _read(contestant: Contestant, count: int, number: int, *, tls: bool) -> Reading:
    logins, callbacks, rate = contestant.sign_in(count)
    return Reading(contestant.name, tls, number, logins / count * 1000, callbacks / count * 1000, rate)


def _read_steady(stub: Stub, contestants: Sequence[Contestant], number: int, *, count: int = 360) -> Iterator[Steady]:
    """Yield the provider's own latency for two calls, then each contestant's callback."""
    if not contestants:
        return
    load = contestants[0].load
    load.plan(count)
    load.run("o", "closed", CONNECTIONS).expect_all("authorization without a product")
    with _delayed(stub, STEADY_DELAY):
        run = load.run("tu", "rate", STEADY_RATE).expect_all("the provider's two calls")
    yield Steady(PROVIDER, number, STEADY_RATE, run.p50, run.p99)
    for contestant in _in_turn(contestants, number):
        contestant.prepare(count)
        with _delayed(stub, STEADY_DELAY):
            run = contestant.load.run("c", "rate", STEADY_RATE).expect_all(f"{contestant.name}, steady")
        yield Steady(contestant.name, number, STEADY_RATE, run.p50, run.p99)


@contextmanager
def _delayed(stub: Stub, milliseconds: float) -> Iterator[None]:
    stub.set_delay(milliseconds)
    try:
        yield
    finally:
        stub.set_delay(0)


# --------------------------------------------------------------------------------------------- bursts, stalls, start


def measure_burst(bench: Bench, stub: Stub, peer: Peer, count: int) -> Burst:
    """Start a contestant anew and let so many callbacks come within two seconds."""
    with contesting(bench, stub, peer) as contestant:
        contestant.sign_in(BURST_WARM_UP)
        contestant.prepare(count)
        with _delayed(stub, BURST_DELAY):
            run = contestant.load.run("c", "rate", count / BURST_SECONDS, limit=BURST_LIMIT)
        peak = peak_bytes(contestant.running.pid)
    return Burst(peer.name, run.planned, run.succeeded, run.failed, run.p99, run.seconds, peak, None)


def measure_our_burst(bench: Bench, stub: Stub, count: int) -> Burst:
    """Do the same with the broker, and ask its operations port meanwhile how long it stalls."""
    with _ours_under_load(bench, stub) as (ours, contestant):
        contestant.sign_in(BURST_WARM_UP)
        contestant.prepare(count)
        with (
            _delayed(stub, BURST_DELAY),
            probing(bench.programs, ours.operations_port, "/healthz", PROBE_BURST, bench.load_core) as probe,
        ):
            run = contestant.load.run("c", "rate", count / BURST_SECONDS, limit=BURST_LIMIT)
            stalls = probe.stop()
        peak = peak_bytes(ours.running.pid)
    return Burst(OURS.name, run.planned, run.succeeded, run.failed, run.p99, run.seconds, peak, stalls.longest)


def measure_steady_stalls(bench: Bench, stub: Stub, *, seconds: int, repeats: int) -> list[float]:
    """Return the broker's longest stall, in milliseconds, while people sign in at the moderate rate."""
    found = []
    with _ours_under_load(bench, stub) as (ours, contestant):
        contestant.sign_in(BURST_WARM_UP)
        for _ in range(repeats):
            contestant.load.plan(int(STEADY_RATE * seconds))
            with (
                _delayed(stub, STEADY_DELAY),
                probing(bench.programs, ours.operations_port, "/healthz", PROBE_STEADY, bench.load_core) as probe,
            ):
                contestant.load.run("lac", "rate", STEADY_RATE).expect_all("ours, whole sign-ins")
                found.append(probe.stop().longest)
    return found


@contextmanager
def _ours_under_load(bench: Bench, stub: Stub) -> Iterator[tuple[Ours, Contestant]]:
    setting = bench.setting(stub, OURS.name)
    with (
        running_ours(setting) as ours,
        loading(bench.programs, stub, ours.running, bench.load_core, location=setting.endpoint) as load,
    ):
        yield ours, Contestant(OURS.name, ours.running, load)


def measure_start(bench: Bench, stub: Stub) -> Start:
    """Start the broker and read its processor time when the operations port answered."""
    began = time.monotonic()
    with running_ours(bench.setting(stub, OURS.name)) as ours:
        return Start(cpu_seconds(ours.running.pid), time.monotonic() - began)


def measure_straight(bench: Bench, stub: Stub, *, count: int = 4000) -> Straight:
    """Ask the stub provider for token and userinfo without a product between."""
    nobody = Running("http://127.0.0.1:9/login", 0)
    with loading(bench.programs, stub, nobody, bench.load_core, location=ENDPOINT) as load:
        load.plan(count)
        load.run("o", "closed", CONNECTIONS).expect_all("authorization without a product")
        run = load.run("tu", "closed", CONNECTIONS).expect_all("the provider's two calls")
    return Straight(stub.ca_file is not None, 2 * run.per_second)
