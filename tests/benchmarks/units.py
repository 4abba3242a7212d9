"""Measures two units of the broker behind nginx against one unit, and restarts them under load (`make bench-units`)."""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import yaml

from tests.benchmarks.contestants import Running
from tests.benchmarks.loading import Load, Run, loading
from tests.benchmarks.measuring import Bench
from tests.benchmarks.ours import BENCHMARK_PYTHON, settings_of
from tests.benchmarks.peers.launching import launched
from tests.benchmarks.process_tree import cpu_seconds
from tests.benchmarks.programs import build_programs
from tests.benchmarks.stub import Stub, running_stub
from tests.fakes.ports import free_port
from tests.fakes.processes import wait_until
from tests.proxies.running import nginx

PROGRAMS = Path(__file__).parents[2] / "build" / "benchmarks" / "programs"
SIGN_INS = 1500  # of a round
CONNECTIONS = 32
WARM_UP = 300
RESTART_RATE, RESTART_SECONDS, RESTART_PAUSE = 40.0, 30.0, 1.0
RESTART_DELAY = 100.0  # milliseconds the provider takes for a call meanwhile


@dataclass(frozen=True)
class Unit:
    """Where one process of the broker listens and what it reads."""

    file: Path
    port: int
    operations_port: int
    core: int

    @contextmanager
    def running(self) -> Iterator[int]:
        """Run the unit until the block ends, ready when it begins; yield the process id."""
        command = [str(BENCHMARK_PYTHON), "-m", "broker", "serve", "--config", str(self.file)]
        with launched(command, self.port, self.file.parent, self.core) as pid:
            wait_until(self._is_ready, "the unit is ready")
            yield pid

    def _is_ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.operations_port}/readyz", timeout=10) as response:
                return b"missing" not in response.read()
        except (urllib.error.URLError, OSError):
            return False


@dataclass(frozen=True)
class Arrangement:
    """Units behind nginx, and what keeps each of them running.

    Args:
        stacks: Closing a unit's stack stops the unit.
        pids: Of the units, as first started.
    """

    units: Sequence[Unit]
    stacks: Sequence[ExitStack]
    pids: Sequence[int]
    nginx: Running
    load: Load

    def restart(self, number: int) -> None:
        """Stop a unit and start it again, with another process id."""
        self.stacks[number].close()
        self.stacks[number].enter_context(self.units[number].running())

    def cpu(self) -> list[float]:
        """Return the processor seconds of each unit, and of nginx as the last."""
        return [cpu_seconds(pid) for pid in (*self.pids, self.nginx.pid)]


@dataclass(frozen=True)
class Round:
    """The result of one round of one arrangement; milliseconds of processor time are per sign-in.

    Args:
        busiest: The share of the unit that did most of the callbacks.
    """

    units: int
    login_ms: float
    callback_ms: float
    nginx_ms: float
    per_second: float
    busiest: float


@contextmanager
def arranged(bench: Bench, stub: Stub, count: int) -> Iterator[Arrangement]:
    """Run that many units behind nginx, each on a core of its own while there are enough."""
    cores = sorted(os.sched_getaffinity(0))
    public_port = free_port()
    units = [_configured(bench, stub, public_port, cores[number % len(cores)]) for number in range(count)]
    folder = bench.setting(stub, "nginx").folder
    command = nginx_before(folder, public_port, [unit.port for unit in units])
    with ExitStack() as stack:
        stacks = [stack.enter_context(ExitStack()) for _ in units]
        pids = [own.enter_context(unit.running()) for own, unit in zip(stacks, units, strict=True)]
        proxy = stack.enter_context(launched(command, public_port, folder, bench.load_core))
        running = Running(f"http://127.0.0.1:{public_port}/login", proxy)
        endpoint = bench.setting(stub, "endpoint").endpoint
        load = stack.enter_context(loading(bench.programs, stub, running, bench.load_core, location=endpoint))
        yield Arrangement(units, stacks, pids, running, load)


def _configured(bench: Bench, stub: Stub, public_port: int, core: int) -> Unit:
    setting = bench.setting(stub, "unit")
    port, operations_port = free_port(), free_port()
    settings = settings_of(setting, port, operations_port)
    settings |= {"public_url": f"http://127.0.0.1:{public_port}", "trusted_proxies": ["127.0.0.1/32"]}
    file = setting.folder / "broker.yaml"
    file.write_text(yaml.safe_dump(settings), encoding="utf-8")
    return Unit(file, port, operations_port, core)


def nginx_before(folder: Path, port: int, ports: Sequence[int]) -> list[str]:
    """Configure nginx before units at these ports, as docs/admin/high-availability.md does; return the command."""
    servers = "\n".join(f"server 127.0.0.1:{each} max_fails=0;" for each in ports)
    http = f"""
    upstream broker {{
        {servers}
        keepalive 64;
    }}
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        large_client_header_buffers 4 16k;
        location / {{
            proxy_pass http://broker;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header Host $http_host;
            proxy_set_header X-Forwarded-For $remote_addr;
            proxy_buffer_size 16k;
            proxy_buffers 8 16k;
        }}
    }}
"""
    return nginx(folder, http)


def measure_round(arrangement: Arrangement, count: int) -> Round:
    """Sign people in as fast as the units can; nothing may fail."""
    what = f"{len(arrangement.units)} units"
    load, units = arrangement.load, len(arrangement.units)
    load.plan(count)
    first = arrangement.cpu()
    load.run("l", "closed", CONNECTIONS).expect_all(what)
    second = arrangement.cpu()
    load.run("a", "closed", CONNECTIONS).expect_all(what)
    third = arrangement.cpu()
    run = load.run("c", "closed", CONNECTIONS).expect_all(what)
    login = _per_sign_in(first, second, count)
    callback = _per_sign_in(third, arrangement.cpu(), count)
    of_units = callback[:units]
    nginx_ms = login[-1] + callback[-1]
    busiest = max(of_units) / sum(of_units)
    return Round(units, sum(login[:units]), sum(of_units), nginx_ms, run.per_second, busiest)


def _per_sign_in(before: Sequence[float], after: Sequence[float], count: int) -> list[float]:
    return [1000 * (end - begin) / count for begin, end in zip(before, after, strict=True)]


def restart_under_load(arrangement: Arrangement, stub: Stub) -> tuple[int, Run]:
    """Restart one unit after the other while people sign in; return how many restarts there were, and the sign-ins."""
    stub.set_delay(RESTART_DELAY)
    arrangement.load.plan(int(RESTART_RATE * RESTART_SECONDS))
    runs: list[Run] = []
    people = threading.Thread(target=lambda: runs.append(arrangement.load.run("lac", "rate", RESTART_RATE)))
    people.start()
    restarts = 0
    while people.is_alive():
        time.sleep(RESTART_PAUSE)
        arrangement.restart(restarts % len(arrangement.units))
        restarts += 1
    people.join()
    stub.set_delay(0)
    return restarts, runs[0]


def main(arguments: Sequence[str]) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="make bench-units ARGS=...", description=__doc__)
    parser.add_argument("--rounds", type=int, default=9, help="paired rounds")
    options = parser.parse_args(arguments)
    cores = sorted(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory(prefix="benchmark-") as name:
        folder = Path(name)
        bench = Bench(build_programs(PROGRAMS), folder, cores[0], cores[-1])
        with running_stub(bench.programs, folder / "stub", bench.load_core, tls=True) as stub:
            _measure(bench, stub, options.rounds)
    return 0


def _measure(bench: Bench, stub: Stub, rounds: int) -> None:
    with ExitStack() as stack:
        arrangements = [stack.enter_context(arranged(bench, stub, count)) for count in (1, 2)]
        for arrangement in arrangements:
            measure_round(arrangement, WARM_UP)
        found = [_measure_pair(arrangements, number) for number in range(rounds)]
        _print(found)
        restarts, run = restart_under_load(arrangements[1], stub)
    print(f"{restarts} restarts during {run.planned} sign-ins: {run.planned - run.succeeded} failed {dict(run.failed)}")


def _measure_pair(arrangements: Sequence[Arrangement], number: int) -> list[Round]:
    """Measure each arrangement once, in an order that changes with the round; return them in their own order."""
    order = arrangements if number % 2 == 0 else arrangements[::-1]
    return sorted((measure_round(arrangement, SIGN_INS) for arrangement in order), key=lambda row: row.units)


def _print(found: Sequence[Sequence[Round]]) -> None:
    print("units | /login ms | /callback ms | sign-ins/s/core | nginx ms | callbacks/s | busiest unit")
    for rounds in zip(*found, strict=True):
        login, callback = (
            statistics.median(getattr(row, name) for row in rounds) for name in ("login_ms", "callback_ms")
        )
        nginx, rate, busiest = (
            statistics.median(getattr(row, name) for row in rounds) for name in ("nginx_ms", "per_second", "busiest")
        )
        per_core = 1000 / (login + callback)
        print(
            f"{rounds[0].units:5} | {login:9.2f} | {callback:12.2f} | {per_core:15.0f} | {nginx:8.2f} | {rate:11.0f}"
            f" | {busiest:.0%}"
        )
    print(f"CPU of a callback, two units to one: {ratio(found, 'callback_ms'):.2f} (paired)")
    print(f"Callbacks a second, two units to one: {ratio(found, 'per_second'):.2f} (paired)")


def ratio(found: Sequence[Sequence[Round]], name: str) -> float:
    """Return two units' figure to one unit's: the median of the rounds' ratios."""
    return statistics.median(float(getattr(two, name)) / float(getattr(one, name)) for one, two in found)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
