"""Rows about replicas that restart, die or stand still, about the proxy in front, and about clocks."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Sequence
from functools import partial

from broker.errors import IdTokenTime, ProviderTimedOut, TransactionExpired
from tests.benchmarks.process_tree import tree
from tests.chaos.people import coming, failed, sign_in_once
from tests.chaos.proxy import ProxyName
from tests.chaos.row import Bench, Check, Row, none_failed, some_failed
from tests.chaos.stage import Replica, staged, until

STOP_DELAY = 3  # seconds; longer than HAProxy needs to see /readyz fail
STILL_SECONDS = 12.0
THREE_MINUTES = 180.0
HOUR = 3600.0
CLOCK_SECONDS = 60.0  # until the service says that its clock is wrong


def measure_rolling_restart(
    bench: Bench, *, proxy: ProxyName, stop_delay: int = 0, delay: float = 0.0
) -> Sequence[Check]:
    """Restart each replica by SIGTERM, one after the other.

    Args:
        delay: seconds that the providers take for a call.
    """
    settings = {"stop_delay": stop_delay} if stop_delay else {}
    with staged(bench, count=bench.replicas, proxy=proxy, settings=settings) as stage:
        for provider in stage.providers.values():
            provider.fail(delay=delay)
        with coming(stage.address, bench.rates) as people:
            time.sleep(1)
            rounds, pause = int(bench.seconds(2, 1)), bench.seconds(2, 0.5)
            statuses = [_restart(replica, pause) for _ in range(rounds) for replica in stage.replicas]
        stopped = len(stage.lines("stopped"))
    return [
        none_failed("all", people.signed_in),
        Check(f"exit statuses {list(dict.fromkeys(statuses))}", holds=set(statuses) == {0}),
        Check(f"{stopped} of {len(statuses)} logged `stopped`", holds=stopped == len(statuses)),
    ]


def _restart(replica: Replica, pause: float) -> int | None:
    """Stop a replica, start it again, and give the proxy's health checks a moment."""
    status = replica.stop()
    replica.start()
    time.sleep(pause)
    return status


def measure_kills(bench: Bench) -> Sequence[Check]:
    """Kill replicas, one after the other; those who fail try once more."""
    times = int(bench.seconds(5, 2))
    with (
        staged(bench, count=bench.replicas, proxy="nginx") as stage,
        coming(stage.address, bench.rates, tries_again=True) as people,
    ):
        for number in range(times):
            time.sleep(bench.seconds(1.5, 0.8))
            replica = stage.replicas[number % len(stage.replicas)]
            replica.kill()
            time.sleep(1)
            replica.start()
        time.sleep(1)
    again = [one for one in failed(people.signed_in) if one.again == "signed in"]
    return [
        none_failed(f"{times} kills", people.signed_in),
        Check(f"{len(again)} of {len(failed(people.signed_in))} signed in with a second try"),
    ]


def measure_stand_still(bench: Bench) -> Sequence[Check]:
    """Let one process stand still, as when its machine is moved."""
    with staged(bench) as stage, coming(stage.address, bench.rates, tries_again=True) as people:
        time.sleep(2)
        stopped = time.monotonic()
        stage.replicas[0].send(signal.SIGSTOP)
        time.sleep(STILL_SECONDS if not bench.is_brief else 9.0)
        stage.replicas[0].send(signal.SIGCONT)
        time.sleep(3)
    under_way = [one for one in people.signed_in if one.began <= stopped < one.ended]
    meanwhile = people.since(stopped)
    return [
        some_failed("in flight", under_way, at_most=len(under_way), only=bench.codes(ProviderTimedOut.code)),
        Check(
            "each of them signs in with a second try", holds=all(one.again == "signed in" for one in failed(under_way))
        ),
        none_failed("begun meanwhile and later", meanwhile),
    ]


def measure_kill_proxy_worker(bench: Bench) -> Sequence[Check]:
    """Kill nginx's worker process five times: its master starts another."""
    with (
        staged(bench, count=bench.replicas, proxy="nginx") as stage,
        coming(stage.address, bench.rates, tries_again=True) as people,
    ):
        for _ in range(int(bench.seconds(5, 2))):
            time.sleep(1.5)
            master = int((stage.folder / "pid").read_text(encoding="utf-8"))
            for worker in [pid for pid in tree(master) if pid != master]:
                os.kill(worker, signal.SIGKILL)
        time.sleep(1)
    hurt = failed(people.signed_in)
    again = [one for one in hurt if one.again == "signed in"]
    kinds = {one.end for one in hurt}
    return [
        Check(f"{len(hurt)} of {len(people.signed_in)} failed", holds=kinds <= {"cut off", "refused"}),
        Check(f"{len(again)} of {len(hurt)} signed in with a second try", holds=len(again) == len(hurt)),
    ]


def measure_two_restart_at_once(bench: Bench) -> Sequence[Check]:
    """Restart two of three replicas at the same moment behind nginx."""
    with staged(bench, count=bench.replicas, proxy="nginx") as stage, coming(stage.address, bench.rates) as people:
        time.sleep(1)
        pair = stage.replicas[:2]
        for replica in pair:
            replica.send(signal.SIGTERM)
        statuses = [replica.stop() for replica in pair]
        for replica in pair:
            replica.start(waits=False)
        found = [until(partial(_is_alive, replica), 30) for replica in pair]
        time.sleep(2)
    return [
        none_failed("all", people.signed_in),
        Check(f"exit statuses {statuses}", holds=statuses == [0, 0] and None not in found),
    ]


def _is_alive(replica: Replica) -> bool:
    return replica.status("/healthz") == 200


# -------------------------------------------------------------------------------------------------------------- clocks


def measure_clocks_apart(bench: Bench) -> Sequence[Check]:
    """Let the replicas' clocks be 30 s behind, right, and 30 s ahead."""
    with staged(bench, count=bench.replicas, proxy="nginx", shimmed=True) as stage:
        for replica, ahead in zip(stage.replicas, (-30.0, 0.0, 30.0), strict=True):
            replica.set_orders(seconds_ahead=ahead)
        with coming(stage.address, bench.rates) as people:
            time.sleep(bench.seconds(12, 4))
    return [none_failed("all", people.signed_in)]


def measure_clock_off(bench: Bench, *, seconds_ahead: float) -> Sequence[Check]:
    """Let the clock of the service be wrong, and look whether the service says so."""
    with staged(bench, shimmed=True) as stage:
        replica = stage.replicas[0]
        replica.set_orders(seconds_ahead=seconds_ahead)
        with coming(stage.address, bench.rates):
            metric = until(lambda: _clock_metric_is_near(replica, seconds_ahead), CLOCK_SECONDS, step=0.5)
            line = until(lambda: bool(replica.lines("clock differs from provider")), CLOCK_SECONDS, step=0.5)
            shown = replica.metric("comm100_sso_clock_ahead_seconds", provider="b")
        replica.set_orders()
        time.sleep(0.5)
        after = sign_in_once(stage.address, "a")
    return [
        Check(f"metric {shown} {_when(metric)}", holds=metric is not None),
        Check(f"warning {_when(line)}", holds=line is not None),
        none_failed("right again", [after]),
    ]


def _clock_metric_is_near(replica: Replica, seconds_ahead: float) -> bool:
    found = replica.metric("comm100_sso_clock_ahead_seconds", provider="b")
    return found is not None and abs(found - seconds_ahead) < 3


def _when(found: float | None) -> str:
    return "never" if found is None else f"within {found:.1f} s"


def measure_time_jumps(bench: Bench) -> Sequence[Check]:
    """Let the clock of the service jump an hour ahead, back, an hour behind, and back."""
    wrong: list[tuple[float, float]] = []
    with staged(bench, shimmed=True) as stage, coming(stage.address, bench.rates) as people:
        for jump in (HOUR, -HOUR):
            time.sleep(bench.seconds(3, 2))
            stage.replicas[0].set_orders(seconds_ahead=jump)
            began = time.monotonic()
            time.sleep(bench.seconds(4, 2))
            stage.replicas[0].set_orders()
            wrong.append((began, time.monotonic()))
        time.sleep(bench.seconds(4, 3))
    meanwhile = [
        one for one in people.signed_in if any(began <= one.ended and one.began <= end for began, end in wrong)
    ]
    right = [one for one in people.signed_in if one not in meanwhile]
    codes = (IdTokenTime.code, TransactionExpired.code)
    return [
        some_failed("while the clock is wrong", meanwhile, at_most=len(meanwhile), only=codes),
        none_failed("before and after", right),
    ]


ROWS = [
    Row(
        "5",
        "rolling restart behind nginx",
        "0 failed, exit status 0",
        partial(measure_rolling_restart, proxy="nginx"),
        is_short=True,
    ),
    Row(
        "5",
        "rolling restart behind HAProxy",
        "0 failed, exit status 0",
        partial(measure_rolling_restart, proxy="haproxy"),
    ),
    Row(
        "5",
        "rolling restart behind a balancer that never retries, stop_delay 3",
        "0 failed, exit status 0",
        partial(measure_rolling_restart, proxy="haproxy without retries", stop_delay=STOP_DELAY),
    ),
    Row(
        "5",
        "rolling restart behind nginx, provider takes 2 s a call",
        "0 failed, exit status 0",
        partial(measure_rolling_restart, proxy="nginx", delay=2.0),
    ),
    Row("5", "two of three replicas restart at once", "0 failed, exit status 0", measure_two_restart_at_once),
    Row("6", "kill -9 of a replica, five times", "0 failed", measure_kills, is_short=True),
    Row("7", "clocks of the replicas -30, 0 and +30 s", "0 failed, Comm100 has no leeway", measure_clocks_apart),
    Row(
        "7b",
        "clock three minutes ahead",
        "a metric and a warning within 60 s",
        partial(measure_clock_off, seconds_ahead=THREE_MINUTES),
    ),
    Row(
        "7b",
        "clock three minutes behind",
        "a metric and a warning within 60 s",
        partial(measure_clock_off, seconds_ahead=-THREE_MINUTES),
    ),
    Row(
        "11",
        "clock jumps +1 h and -1 h",
        "fails only while it is wrong, with a code that names the clock",
        measure_time_jumps,
    ),
    Row(
        "new",
        "process stands still for 12 s (SIGSTOP)",
        "only sign-ins in flight may fail, each succeeds with a second try",
        measure_stand_still,
    ),
    Row(
        "own",
        "kill -9 of nginx's worker, five times",
        "only connections are cut, each person succeeds with a second try",
        measure_kill_proxy_worker,
    ),
]
