"""Rows about crowds, a long run and hostile connections, and about the limits of the bench itself."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from broker.errors import IdTokenKeyUnknown, Overloaded, OverloadedByProvider, ProviderTimedOut
from tests.benchmarks.bounds import MEGABYTE
from tests.benchmarks.contestants import Setting
from tests.benchmarks.loading import Load, Run, loading
from tests.benchmarks.ours import BENCHMARK_PYTHON, Ours, running_ours
from tests.benchmarks.process_tree import cpu_seconds, memory_bytes, peak_bytes
from tests.benchmarks.stub import CLIENT_ID, CLIENT_SECRET, Stub, running_stub
from tests.chaos.people import Address, Browser, coming, failed, quantile
from tests.chaos.proxy import bare_responder
from tests.chaos.row import Bench, Check, Row, all_failed_as, none_failed, not_slower
from tests.chaos.stage import ENDPOINT, ROOT, Replica, Stage, descriptors, staged
from tests.fakes.hostile_server import KEYS
from tests.fakes.ports import free_port
from tests.fakes.world import SHARED_SECRET
from tests.proxies.running import running

PYTHON = BENCHMARK_PYTHON if BENCHMARK_PYTHON.exists() else Path(sys.executable)
CONNECTIONS = 16  # of a closed loop
BURST_SECONDS, BURST_DELAY, BURST_LIMIT = 2.0, 300.0, 60.0  # seconds; milliseconds of each call; seconds
BURST_P99, BURST_DONE = 3.0, 5.0  # seconds
CHART_MEGABYTES = 256.0  # memory limit of the chart
SMALL_MEGABYTES = 128.0
CROWD = 1000
CROWD_RATE = 200.0  # a second
SOAK_SIGN_INS, SOAK_ABANDONED, SOAK_ROUNDS = 20_000, 100_000, 6
SOAK_GROWTH = 10.0  # megabytes between the second and the last round: the memory of refused sign-ins is bounded
SLOW_HEADS = 3000
ODD_EACH = 16
ODD_GROWTH = 60.0  # megabytes
USUAL_SECONDS = 4.0
ASKERS = 32  # browsers that ask the bare responder as fast as they can
NEEDED = 120.0  # requests a second: 40 sign-ins of three requests


@dataclass(frozen=True)
class Crowded:
    """One replica on a core of its own, and the stub provider and load generator on another core."""

    stub: Stub
    ours: Ours
    load: Load

    @property
    def pid(self) -> int:
        """The replica's process id."""
        return self.ours.running.pid

    def warm_up(self) -> None:
        """Sign some people in."""
        self.load.plan(300)
        self.load.run("lac", "closed", CONNECTIONS).expect_all("warm-up")

    def prepare(self, count: int) -> None:
        """Bring people to the moment before their callback."""
        self.load.plan(count)
        self.load.run("la", "closed", CONNECTIONS).expect_all("before the callback")


@contextmanager
def crowded(bench: Bench) -> Iterator[Crowded]:
    """Run a replica for the load generator while the block runs."""
    programs, cores = bench.needs_programs(), sorted(os.sched_getaffinity(0))
    folder = bench.folder / "replica"
    folder.mkdir(parents=True)
    with running_stub(programs, bench.folder / "stub", cores[-1], tls=True) as stub:
        setting = Setting(
            stub.issuer, stub.ca_file, CLIENT_ID, CLIENT_SECRET, SHARED_SECRET, ENDPOINT, folder, cores[0]
        )
        with (
            running_ours(setting, python=PYTHON) as ours,
            loading(programs, stub, ours.running, cores[-1], location=ENDPOINT) as load,
        ):
            yield Crowded(stub, ours, load)


@contextmanager
def half_a_core() -> Iterator[None]:
    """Keep the core of the replica busy with another process while the block runs."""
    core = str(min(os.sched_getaffinity(0)))
    with subprocess.Popen(["taskset", "--cpu-list", core, sys.executable, "-c", "while True: pass"]) as process:
        try:
            yield
        finally:
            process.kill()


# --------------------------------------------------------------------------------------------------------------- bursts


def measure_burst(bench: Bench, *, count: int, whole: bool = False, is_busy: bool = False) -> Sequence[Check]:
    """Let so many people come within two seconds, while each call to the provider takes 300 ms.

    Args:
        whole: they begin at /login; otherwise all are at the callback.
        is_busy: the replica has half a core.
    """
    with crowded(bench) as stage:
        stage.warm_up()
        if whole:
            stage.load.plan(count)
        else:
            stage.prepare(count)
        stage.stub.set_delay(BURST_DELAY)
        steps = "lac" if whole else "c"
        if is_busy:
            with half_a_core():
                run = stage.load.run(steps, "rate", count / BURST_SECONDS, limit=BURST_LIMIT)
        else:
            run = stage.load.run(steps, "rate", count / BURST_SECONDS, limit=BURST_LIMIT)
        peak = peak_bytes(stage.pid) / MEGABYTE
    checks = [_nobody_failed(run), Check(f"peak {peak:.0f} MB", holds=peak < CHART_MEGABYTES)]
    times = f"p99 {run.p99 / 1000:.1f} s, done in {run.seconds:.1f} s"
    is_in_time = run.p99 / 1000 < BURST_P99 and run.seconds < BURST_DONE
    return [*checks, Check(times, holds=is_in_time or is_busy or count > 2000)]


def _nobody_failed(run: Run) -> Check:
    lost = run.planned - run.succeeded
    reasons = f" ({dict(run.failed)})" if lost else ""
    return Check(f"{lost:,} of {run.planned:,} failed{reasons}", holds=lost == 0)


def measure_small_memory(bench: Bench) -> Sequence[Check]:
    """Measure the memory of one replica at 80 sign-ins a second, and after a burst of 500."""
    with crowded(bench) as stage:
        stage.warm_up()
        stage.load.plan(800)
        steady = stage.load.run("lac", "rate", 80.0)
        resident = memory_bytes(stage.pid) / MEGABYTE
        stage.prepare(500)
        stage.stub.set_delay(BURST_DELAY)
        burst = stage.load.run("c", "rate", 250.0, limit=BURST_LIMIT)
        peak = peak_bytes(stage.pid) / MEGABYTE
    return [
        _nobody_failed(steady),
        Check(f"{resident:.0f} MB", holds=resident < SMALL_MEGABYTES),
        _nobody_failed(burst),
        Check(f"{peak:.0f} MB at the peak", holds=peak < SMALL_MEGABYTES),
    ]


def measure_callbacks_first(bench: Bench) -> Sequence[Check]:
    """Let people come back at the callback while others begin as fast as they can."""
    count = 1500
    with crowded(bench) as stage:
        stage.warm_up()
        stage.prepare(count)
        stage.stub.set_delay(BURST_DELAY)
        core = max(os.sched_getaffinity(0))
        programs = bench.needs_programs()
        with loading(programs, stage.stub, stage.ours.running, core, location=ENDPOINT) as others:
            others.plan(20_000)
            logins: list[Run] = []
            flood = threading.Thread(target=lambda: logins.append(others.run("l", "closed", 64, limit=8.0)))
            flood.start()
            time.sleep(0.5)
            run = stage.load.run("c", "rate", count / 5.0, limit=BURST_LIMIT)
            flood.join()
    begun = logins[0]
    return [
        _nobody_failed(run),
        Check(f"callbacks p99 {run.p99 / 1000:.1f} s", holds=run.p99 / 1000 < BURST_P99),
        Check(f"{begun.succeeded:,} logins meanwhile, p99 {begun.p99:.0f} ms"),
    ]


# ------------------------------------------------------------------------------------------- crowds at a dead provider


def measure_dead_crowd(bench: Bench, *, providers: Sequence[str]) -> Sequence[Check]:
    """Let a crowd meet providers that never answer, while others sign in at provider b.

    A thousand people come to each provider. More than 200 whole sign-ins a second would keep two cores busy with the
    people and providers themselves.
    """
    seconds = len(providers) * CROWD / CROWD_RATE
    each = CROWD / seconds
    with staged(bench, has_c=True) as stage:
        stage.a.fail(silent=True)
        with coming(stage.address, {"b": 20.0}) as others:
            time.sleep(USUAL_SECONDS)
            came = time.monotonic()
            with coming(stage.address, dict.fromkeys(providers, each)) as crowd:
                time.sleep(seconds)
            gone = time.monotonic()
        peak = peak_bytes(stage.replicas[0].pid) / MEGABYTE
    slowest = max(one.waited for one in crowd.signed_in)
    codes = (ProviderTimedOut.code, Overloaded.code, OverloadedByProvider.code)
    beside = others.since(came, gone)
    return [
        all_failed_as("crowd", crowd.signed_in, *codes),
        Check(f"slowest page {slowest:.1f} s", holds=slowest < 25),
        none_failed("b", others.signed_in),
        Check(f"b: p50 {quantile(beside, 0.5):.0f} ms, p99 {quantile(beside, 0.99):.0f} ms"),
        Check(f"peak {peak:.0f} MB", holds=peak < CHART_MEGABYTES),
    ]


def measure_keys_of_another(bench: Bench) -> Sequence[Check]:
    """Let provider a sign with a key that it never publishes."""
    with staged(bench) as stage, coming(stage.address, bench.rates) as people:
        began = time.monotonic()
        time.sleep(USUAL_SECONDS)
        fetched = stage.a.count(KEYS)
        stage.a.order("rotate", lag=1e9)
        wrong = time.monotonic()
        time.sleep(20)
        fetched = stage.a.count(KEYS) - fetched
    hurt = [one for one in people.since(began, provider="a") if one.ended > wrong + 0.2]
    return [
        all_failed_as("a", hurt, IdTokenKeyUnknown.code),
        none_failed("b", people.since(began, provider="b")),
        not_slower(bench, "b", people.since(wrong, provider="b"), people.since(began, wrong, "b")),
        Check(f"{fetched} fetches of the keys in 20 s", holds=fetched <= 8),
    ]


# ------------------------------------------------------------------------------------------------------------- the soak


def measure_soak(bench: Bench) -> Sequence[Check]:
    """Sign 20,000 people in, and let 100,000 begin and never come back."""
    memory: list[float] = []
    files: list[int] = []
    lost = 0
    with crowded(bench) as stage:
        stage.warm_up()
        files.append(descriptors(stage.pid))
        for _ in range(SOAK_ROUNDS):
            stage.load.plan(SOAK_SIGN_INS // SOAK_ROUNDS)
            run = stage.load.run("lac", "closed", CONNECTIONS, limit=300.0)
            lost += run.planned - run.succeeded
            stage.load.plan(SOAK_ABANDONED // SOAK_ROUNDS)
            run = stage.load.run("l", "closed", CONNECTIONS, limit=300.0)
            lost += run.planned - run.succeeded
            memory.append(memory_bytes(stage.pid) / MEGABYTE)
            files.append(descriptors(stage.pid))
    return [
        Check(f"{lost} failed", holds=lost == 0),
        Check(f"memory {' / '.join(f'{each:.1f}' for each in memory)} MB", holds=memory[-1] - memory[1] < SOAK_GROWTH),
        Check(f"descriptors {files[0]} to {max(files)}", holds=max(files) < files[0] + 2 * CONNECTIONS),
    ]


# ------------------------------------------------------------------------------------------------- hostile connections


def measure_hostile(bench: Bench, *, kind: str, count: int) -> Sequence[Check]:
    """Attack the public port for 25 s while people sign in.

    Args:
        kind: of `odd.ATTACKS`.
    """
    with staged(bench) as stage, coming(stage.address, bench.rates) as people:
        replica = stage.replicas[0]
        time.sleep(USUAL_SECONDS)
        began, before = time.monotonic(), memory_bytes(replica.pid) / MEGABYTE
        attack = (kind, str(count), str(replica.port), str(bench.seconds(25, 4)))
        subprocess.run([sys.executable, "-m", "tests.chaos.odd", *attack], cwd=ROOT, check=True)
        after = peak_bytes(replica.pid) / MEGABYTE
        attacked = time.monotonic()
        time.sleep(2)
    return [
        none_failed("all", people.signed_in),
        not_slower(bench, "all", people.since(began, attacked), people.since(0, began)),
        Check(f"{before:.0f} MB before, {after:.0f} MB at the peak", holds=after - before < ODD_GROWTH),
        _no_defect(replica),
    ]


def _no_defect(replica: Replica) -> Check:
    defects = len(replica.lines("defect")) + sum(line.get("code") == "unexpected" for line in replica.lines())
    return Check(f"{defects} defects in the log", holds=defects == 0)


# ---------------------------------------------------------------------------------------------------- the bench itself


def measure_driver(bench: Bench) -> Sequence[Check]:
    """Let the people's browsers ask a bare responder through nginx, and compare processor times."""
    rate, cost = _rate_of_browsers(bench)
    with staged(bench, count=3, proxy="nginx") as stage:
        before = _cpu(stage)
        with coming(stage.address, {"a": 20.0, "b": 20.0}) as people:
            time.sleep(10)
        spent = [after - begin for after, begin in zip(_cpu(stage), before, strict=True)]
    signed_in = len(people.signed_in)
    figures = ", ".join(
        f"{name} {1000 * seconds / signed_in:.1f} ms"
        for name, seconds in zip(("driver", "replicas", "providers"), spent, strict=True)
    )
    return [
        Check(f"browsers reach {rate:.0f} requests a second, {cost:.2f} ms of CPU each", holds=rate > 3 * NEEDED),
        Check(f"CPU of a sign-in at 40 a second: {figures}"),
        Check(f"driver busy {spent[0] / 10:.0%} of a core", holds=spent[0] / 10 < 0.5),
        Check(f"{len(failed(people.signed_in))} of {signed_in} failed", holds=not failed(people.signed_in)),
    ]


def _cpu(stage: Stage) -> list[float]:
    providers = sum(cpu_seconds(each.process.pid) for each in stage.providers.values())
    return [time.process_time(), sum(cpu_seconds(each.pid) for each in stage.replicas), providers]


def _rate_of_browsers(bench: Bench) -> tuple[float, float]:
    """Return requests a second and milliseconds of processor time each, without a broker behind the proxy."""
    port, behind = free_port(), free_port()
    folders = [bench.folder / "front", bench.folder / "responder"]
    for folder in folders:
        folder.mkdir(parents=True)
    proxy, responder = bare_responder(behind)
    with running(responder, folders[1], behind, 0), running(proxy, folders[0], port, 0):
        began, cpu = time.monotonic(), time.process_time()
        answered = asyncio.run(_ask_for(port, 5.0))
        seconds, cpu = time.monotonic() - began, time.process_time() - cpu
    return answered / seconds, 1000 * cpu / answered


async def _ask_for(port: int, seconds: float) -> int:
    end = time.monotonic() + seconds

    async def ask() -> int:
        browser, answered = Browser(Address(port, {}, ENDPOINT, [])), 0
        while time.monotonic() < end:
            answered += (await browser.get(f"http://127.0.0.1:{port}/login")).status == 200
        return answered

    return sum(await asyncio.gather(*(ask() for _ in range(ASKERS))))


BURST_MUST = "0 failed, p99 < 3 s, done within 5 s, less than 256 MB"
ROWS = [
    Row("8", "2,000 callbacks in 2 s, one replica", BURST_MUST, partial(measure_burst, count=2000)),
    Row("8", "4,000 callbacks in 2 s", "0 failed, less than 256 MB", partial(measure_burst, count=4000)),
    Row(
        "8",
        "2,000 callbacks in 2 s, half a core",
        "0 failed, less than 256 MB",
        partial(measure_burst, count=2000, is_busy=True),
    ),
    Row(
        "8b",
        "4,000 callbacks in 2 s, half a core",
        "0 failed, less than 256 MB",
        partial(measure_burst, count=4000, is_busy=True),
    ),
    Row(
        "8c",
        "1,000 people in 5 s at a provider that never answers",
        "each reads a page within 25 s; b: 0 failed; less than 256 MB",
        partial(measure_dead_crowd, providers=["a"]),
    ),
    Row(
        "8d",
        "1,000 people each in 10 s at two providers that never answer",
        "each reads a page within 25 s; b: 0 failed; less than 256 MB",
        partial(measure_dead_crowd, providers=["a", "c"]),
    ),
    Row("8e", "2,000 whole sign-ins in 2 s", BURST_MUST, partial(measure_burst, count=2000, whole=True)),
    Row(
        "9",
        "20,000 sign-ins and 100,000 abandoned ones",
        "0 failed, memory and descriptors stay",
        measure_soak,
    ),
    Row(
        "10",
        "3,000 slow headers for 25 s",
        "0 failed, p99 < 2x before + 50 ms",
        partial(measure_hostile, kind="slow", count=SLOW_HEADS),
    ),
    Row("11", "memory of 128 MB: 80 a second, then 500 in 2 s", "0 failed, less than 128 MB", measure_small_memory),
    Row(
        "12",
        "odd connections of 12 kinds for 25 s",
        "0 failed, p99 < 2x before + 50 ms, no defect",
        partial(measure_hostile, kind="odd", count=ODD_EACH),
    ),
    Row(
        "new",
        "callbacks beside a flood of logins, one replica",
        "callbacks: 0 failed, p99 < 3 s",
        measure_callbacks_first,
    ),
    Row(
        "own",
        "provider signs with a key that it never publishes",
        "its people alone fail, few fetches",
        measure_keys_of_another,
    ),
    Row(
        "bench",
        "the driver is not the limit",
        "reaches 3x the requests it makes, less than half a core",
        measure_driver,
    ),
]
