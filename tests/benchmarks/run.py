"""Measures the broker side by side with other products and writes docs/performance.md (`make bench`)."""

from __future__ import annotations

import argparse
import datetime as dt
import json
import os
import platform
import shlex
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from tests.benchmarks.bounds import bounds
from tests.benchmarks.chart import chart
from tests.benchmarks.contestants import Peer
from tests.benchmarks.figures import AUTHLIB, FLOOR, Results, read_results
from tests.benchmarks.floor import floor_peer
from tests.benchmarks.measuring import (
    Bench,
    measure_burst,
    measure_our_burst,
    measure_rounds,
    measure_start,
    measure_steady_stalls,
    measure_straight,
)
from tests.benchmarks.ours import OURS
from tests.benchmarks.peers import NOTES, PEERS
from tests.benchmarks.process_tree import cpu_seconds, machine_seconds
from tests.benchmarks.programs import build_programs
from tests.benchmarks.report import figure, page
from tests.benchmarks.stub import Stub, running_stub

ROOT = Path(__file__).parents[2]
BUILD = ROOT / "build" / "benchmarks"
DOCS = ROOT / "docs"
PARTS = ("rounds", "steady", "bursts", "stalls", "start")
STEADY_ROUNDS, BURST_REPEATS, STALL_SECONDS, STALL_REPEATS, STARTS = 3, 3, 10, 3, 7
MOST_OTHER_LOAD = 0.1  # cores
FLOOR_NOTE = "The least work a sign-in can be, in C with OpenSSL, one thread, no checks beyond the protocol's core."


def main(arguments: Sequence[str]) -> int:
    """Measure, write the page, and print what must hold. The status is 1 if a whole run misses a figure."""
    options = _options(arguments)
    _forget_environment()
    if options.results is not None:
        results = read_results(json.loads(options.results.read_text(encoding="utf-8")))
    else:
        results = _measure(options, _command(arguments))
    whole = options.only is None and set(options.parts) == set(PARTS)
    folder = DOCS if whole or options.results is not None else BUILD
    BUILD.mkdir(parents=True, exist_ok=True)
    (BUILD / "results.json").write_text(json.dumps(results.as_json(), indent=1), encoding="utf-8")
    (folder / "performance.md").write_text(page(results, {FLOOR: FLOOR_NOTE, **NOTES}), encoding="utf-8")
    if results.readings:
        (folder / "performance.svg").write_text(chart(results), encoding="utf-8")
    missed = _print_bounds(results)
    print(f"Written: {folder / 'performance.md'}, {BUILD / 'results.json'}")
    if results.other_load > MOST_OTHER_LOAD:
        print(f"Other programs kept {results.other_load:.2f} cores busy: latencies and bursts mean little.")
    return 1 if missed and whole else 0


def _command(arguments: Sequence[str]) -> str:
    return f'make bench ARGS="{shlex.join(arguments)}"' if arguments else "make bench"


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench ARGS=...", description=__doc__)
    parser.add_argument("--only", type=lambda text: text.split(","), help="contestants, by name, divided by commas")
    parser.add_argument("--parts", type=lambda text: text.split(","), default=PARTS, help=f"of {','.join(PARTS)}")
    parser.add_argument("--rounds", type=int, default=11, help="paired rounds over each of TLS and plain http")
    parser.add_argument("--seconds", type=float, default=1.0, help="processor time of a contestant in a round")
    parser.add_argument("--results", type=Path, help="write the page from this results.json, without measuring")
    return parser.parse_args(arguments)


def _forget_environment() -> None:
    """Drop what would change the broker: its settings, and coverage, which makes it several times as slow."""
    for name in [name for name in os.environ if name.startswith(("BROKER_", "COVERAGE_"))]:
        del os.environ[name]


def _measure(options: argparse.Namespace, command: str) -> Results:
    began, busy, own = time.monotonic(), machine_seconds(), cpu_seconds(os.getpid())
    programs = build_programs(BUILD / "programs")
    cores = sorted(os.sched_getaffinity(0))
    machine = f"{_processor()}, {len(cores)} cores, Linux {platform.release().partition('-')[0]}"
    with tempfile.TemporaryDirectory(prefix="benchmark-") as name:
        folder = Path(name)
        folder.chmod(0o755)  # Apache's processes run as another user
        bench = Bench(programs, folder, cores[0], cores[-1])
        results = Results(command, dt.datetime.now(dt.UTC).date().isoformat(), machine)
        for tls in (True, False):
            with running_stub(programs, folder / f"stub-{tls}", bench.load_core, tls=tls) as stub:
                _measure_over(bench, stub, options, results)
    return replace(
        results, other_load=(machine_seconds() - busy - cpu_seconds(os.getpid()) + own) / (time.monotonic() - began)
    )


def _measure_over(bench: Bench, stub: Stub, options: argparse.Namespace, results: Results) -> None:
    """Add what one provider gives to the results: the rounds, and over TLS all the rest."""
    tls, parts = stub.ca_file is not None, options.parts
    over = "TLS" if tls else "plain http"
    peers = _peers(options, floor_peer(bench.programs, stub))
    results.versions.update((peer.name, peer.versions()) for peer in peers)
    results.straight.append(measure_straight(bench, stub))
    if "rounds" in parts or (tls and "steady" in parts):
        _say(f"{options.rounds} rounds over {over}: {', '.join(peer.name for peer in peers)}")
        steady_rounds = STEADY_ROUNDS if tls and "steady" in parts else 0
        found = measure_rounds(
            bench, stub, peers, rounds=options.rounds, seconds=options.seconds, steady_rounds=steady_rounds
        )
        results.readings.extend(found.readings)
        results.steady.extend(found.steady)
        if tls:
            results.memory.update(found.memory)
    if not tls:
        return
    if "bursts" in parts:
        _measure_bursts(bench, stub, peers, results)
    if "stalls" in parts:
        _say("loop stalls")
        results.steady_stalls.extend(measure_steady_stalls(bench, stub, seconds=STALL_SECONDS, repeats=STALL_REPEATS))
    if "start" in parts:
        _say("starts")
        results.starts.extend(measure_start(bench, stub) for _ in range(STARTS))


def _measure_bursts(bench: Bench, stub: Stub, peers: Sequence[Peer], results: Results) -> None:
    for count in (2000, 4000):
        _say(f"bursts of {count:,}")
        results.bursts.extend(measure_our_burst(bench, stub, count) for _ in range(BURST_REPEATS))
    for peer in peers:
        if peer.name not in {OURS.name, AUTHLIB}:  # Authlib would need minutes
            _say(f"burst of 2,000: {peer.name}")
            results.bursts.append(measure_burst(bench, stub, peer, 2000))


def _peers(options: argparse.Namespace, floor: Peer) -> list[Peer]:
    peers = [OURS, floor, *PEERS]
    if options.only is None:
        return peers
    unknown = set(options.only) - {peer.name for peer in peers}
    if unknown:
        raise SystemExit(f"--only: no {', '.join(sorted(unknown))}; there are {', '.join(peer.name for peer in peers)}")
    return [peer for peer in peers if peer.name in options.only]


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _print_bounds(results: Results) -> list[str]:
    """Print each figure and return those that do not hold."""
    for bound in bounds(results):
        mark = {True: "holds", False: "MISSED", None: ""}[bound.holds]
        must = "" if bound.must is None else f"{bound.sense} {bound.must:g}, "
        wanted = f"{must}goal {bound.stretch:g} {bound.unit}"
        print(f"{bound.figure:<58} {wanted:<28} {figure(bound.measured, bound.unit):>12}  {mark}")
    return [bound.figure for bound in bounds(results) if bound.holds is False]


def _say(what: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {what}", flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
