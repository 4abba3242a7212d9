"""The short benchmark: a callback's CPU as ratios within a round, so that a slow or busy machine does not fail it."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from tests.benchmarks.figures import AUTHLIB, FLOOR, OURS, ratio
from tests.benchmarks.floor import floor_peer
from tests.benchmarks.measuring import Bench, measure_rounds
from tests.benchmarks.ours import ours_peer
from tests.benchmarks.peers import PEERS
from tests.benchmarks.programs import build_programs, can_build
from tests.benchmarks.stub import running_stub

# Far from today's figures: this catches a gross regression. `make bench` judges the real ones.
MOST_TIMES_THE_FLOOR = 30  # `make bench` measured 12.4 to 12.7
LEAST_AGAINST_AUTHLIB = 20  # `make bench` measured 47 to 55
ROUNDS, SECONDS = 3, 0.2


@pytest.mark.skipif(not can_build(), reason="no gcc or no headers of OpenSSL (Debian: gcc libc6-dev libssl-dev)")
def test_a_callback_costs_a_small_multiple_of_the_floor_and_a_fraction_of_authlib(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in os.environ if name.startswith("COVERAGE_")]:
        monkeypatch.delenv(name)  # coverage would make the broker several times as slow
    cores = sorted(os.sched_getaffinity(0))
    programs = build_programs(tmp_path / "programs")
    (tmp_path / "run").mkdir()
    bench = Bench(programs, tmp_path / "run", cores[0], cores[-1])
    with running_stub(programs, tmp_path / "stub", bench.load_core, tls=False) as stub:
        authlib = [peer for peer in PEERS if peer.name == AUTHLIB]
        peers = [ours_peer(Path(sys.executable)), floor_peer(programs, stub), *authlib]
        found = measure_rounds(bench, stub, peers, rounds=ROUNDS, seconds=SECONDS, steady_rounds=0)
    times_the_floor = ratio(found.readings, OURS, FLOOR, tls=False)
    against_authlib = ratio(found.readings, AUTHLIB, OURS, tls=False)
    print(f"{times_the_floor} times the floor, {against_authlib} times as cheap as Authlib")
    assert times_the_floor is not None
    assert times_the_floor <= MOST_TIMES_THE_FLOOR
    assert against_authlib is not None
    assert against_authlib >= LEAST_AGAINST_AUTHLIB
