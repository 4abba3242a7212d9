"""Rows about one process: signals, settings, ports, its log, its limits, and what it checks by itself."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import httpx

from tests.chaos.people import coming, failed, sign_in_once
from tests.chaos.row import Bench, Check, Row, none_failed
from tests.chaos.stage import Replica, Stage, client_secret, descriptors, has_documents, staged, until

PIPE_BYTES = 4096  # the least that a pipe can be made to hold
PAUSE_SECONDS = 12.0
PORT_SECONDS = 5.0  # that a port is taken
GIVE_UP_SECONDS = 60.0  # until a replica ends whose port stays taken
STOP_SECONDS = 10.0  # until a replica ends that nothing keeps busy
FEW_BYTES = 20_000  # on standard error
OPEN_FILES = 64
IDLE_CONNECTIONS = 200
DAWN_SECONDS = 30.0  # that a dawn check may take
FIRST_RUN, NEXT_RUN = 600.0, 30_000.0  # seconds, at most, until the first dawn check, and between two
DAWN_CHECK = "comm100_sso_dawn_check_failed"
RELOADED = "comm100_sso_settings_reloaded_timestamp_seconds"
REJECTED = "comm100_sso_settings_file_rejected"
DROPPED = "comm100_sso_log_lines_dropped_total"


# -------------------------------------------------------------------------------------------------------------- signals


def measure_harmless_signal(number: signal.Signals, bench: Bench) -> Sequence[Check]:
    """Send a signal that has nothing to do, while people sign in."""
    with staged(bench) as stage, coming(stage.address, bench.rates) as people:
        time.sleep(1.5)
        stage.replicas[0].send(number)
        time.sleep(bench.seconds(4, 2))
        healthy = stage.replicas[0].status("/healthz")
    return [none_failed("all", people.signed_in), Check(f"/healthz {healthy}", holds=healthy == 200)]


def measure_stop(number: signal.Signals, times: int, bench: Bench) -> Sequence[Check]:
    """Send a signal while 20 callbacks are in flight and five connections are idle."""
    with staged(bench) as stage, idle_connections(stage, 5):
        replica = stage.replicas[0]
        stage.a.fail(delay=1.2)
        with coming(stage.address, {"a": 20.0}, thinking=0.0) as people:
            time.sleep(1)
            people.close()
            time.sleep(0.3)
            for _ in range(times):
                replica.send(number)
                time.sleep(0.2)
            during = replica.status("/healthz"), replica.status("/readyz")
            began = time.monotonic()
            status = replica.stop(number)
        seconds = time.monotonic() - began
    return [
        none_failed("in flight", people.signed_in),
        Check(f"/healthz and /readyz {during} meanwhile", holds=during == (200, 503)),
        Check(f"exit status {status}", holds=status == 0),
        bench.timed(f"after {seconds:.1f} s", holds=seconds < STOP_SECONDS),
    ]


@contextmanager
def idle_connections(stage: Stage, count: int) -> Iterator[None]:
    """Keep connections to the public port open without a request."""
    idle = [socket.create_connection(("127.0.0.1", stage.address.public)) for _ in range(count)]
    try:
        yield
    finally:
        for connection in idle:
            connection.close()


# -------------------------------------------------------------------------------------------------- settings and ports


def measure_reload(bench: Bench) -> Sequence[Check]:
    """Change the settings file and send SIGHUP, while people sign in."""
    with staged(bench) as stage, coming(stage.address, bench.rates) as people:
        replica = stage.replicas[0]
        before = replica.metric(RELOADED)
        time.sleep(1)
        replica.change_settings(lambda settings: settings["identity_providers"]["b"].update(label="Renamed here"))
        replica.send(signal.SIGHUP)
        logged = until(lambda: bool(replica.lines("settings reloaded")), 20)
        time.sleep(bench.seconds(3, 1))
        after = replica.metric(RELOADED)
        chooser = httpx.get(f"http://127.0.0.1:{replica.port}/login", trust_env=False).text
    return [
        none_failed("all", people.signed_in),
        Check(f"logged within {logged or 0:.1f} s" if logged is not None else "not logged", holds=logged is not None),
        Check(f"metric {before} before, {after} after", holds=after is not None and after > (before or 0)),
        Check("the new label is on the page", holds="Renamed here" in chooser),
    ]


def _make_mistakes(settings: dict[str, Any]) -> None:
    settings["log_email"] = "sometimes"
    settings["sites"]["main"]["token_lifetime"] = 9000


def _mend_mistakes(settings: dict[str, Any]) -> None:
    del settings["log_email"], settings["sites"]["main"]["token_lifetime"]


def measure_bad_settings(bench: Bench) -> Sequence[Check]:
    """Make two mistakes in the settings file, send SIGHUP, and mend them."""
    with staged(bench) as stage, coming(stage.address, bench.rates) as people:
        replica = stage.replicas[0]
        time.sleep(1)
        replica.change_settings(_make_mistakes)
        replica.send(signal.SIGHUP)
        logged = until(lambda: bool(replica.lines("settings file rejected")), 20)
        rung = until(lambda: replica.metric(REJECTED) == 1, 20)
        text = str(replica.lines("settings file rejected"))
        replica.change_settings(_mend_mistakes)
        replica.send(signal.SIGHUP)
        quiet = until(lambda: replica.metric(REJECTED) == 0, 20)
        time.sleep(bench.seconds(2, 1))
    named = [key for key in ("log_email", "token_lifetime") if key in text]
    return [
        none_failed("all", people.signed_in),
        Check(f"the log names {' and '.join(named) or 'nothing'}", holds=logged is not None and len(named) == 2),
        Check("the metric rings, and stops after the mend", holds=rung is not None and quiet is not None),
    ]


def measure_bad_settings_at_start(bench: Bench) -> Sequence[Check]:
    """Start with two mistakes in the settings file."""
    with staged(bench, starts=False) as stage:
        replica = stage.replicas[0]
        replica.change_settings(_make_mistakes)
        replica.start(waits=False)
        assert replica.process is not None
        status = replica.process.wait(30)
        named = [key for key in ("log_email", "token_lifetime") if key in replica.errors]
    return [
        Check(f"exit status {status}", holds=status == 2),
        Check(f"names {' and '.join(named)}", holds=len(named) == 2),
    ]


def measure_port_taken(bench: Bench, *, operations: bool) -> Sequence[Check]:
    """Start while a port is taken for some seconds."""
    with staged(bench, starts=False) as stage:
        replica = stage.replicas[0]
        with taken(replica.operations_port if operations else replica.port):
            replica.start(waits=False)
            time.sleep(bench.seconds(PORT_SECONDS, 2))
        assert replica.process is not None
        up = until(lambda: replica.status("/healthz") == 200, 30)
        status = replica.process.poll()
        ready = up is not None and until(partial(has_documents, replica, ["a", "b"]), 30) is not None
        first = sign_in_once(stage.address, "a") if ready else None
    return [
        Check(f"exit status {status}" if status is not None else "did not end", holds=status is None),
        Check(
            f"listens {up:.1f} s after the port is free" if up is not None else "never listens", holds=up is not None
        ),
        none_failed("signed in", [] if first is None else [first]),
    ]


def measure_port_stays_taken(bench: Bench) -> Sequence[Check]:
    """Start while the public port is taken for ever."""
    with staged(bench, starts=False) as stage:
        replica = stage.replicas[0]
        with taken(replica.port):
            replica.start(waits=False)
            assert replica.process is not None
            process = replica.process
            ended = until(lambda: process.poll() is not None, GIVE_UP_SECONDS)
            status = process.poll()
    when = "never" if ended is None else f"after {ended:.1f} s"
    return [Check(f"ends {when} with status {status}", holds=status == 1)]


@contextmanager
def taken(port: int) -> Iterator[None]:
    """Listen on a port while the block runs."""
    with socket.create_server(("127.0.0.1", port)):
        yield


# ------------------------------------------------------------------------------------------------------------- the log


@contextmanager
def narrow_pipe() -> Iterator[tuple[int, int]]:
    """Open a pipe that holds little; yield both ends."""
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
    try:
        yield reader, writer
    finally:
        os.close(reader)


def measure_unread_log(bench: Bench) -> Sequence[Check]:
    """Let nobody read the log."""
    with narrow_pipe() as (_, writer), staged(bench, stdout=writer) as stage:
        os.close(writer)
        replica = stage.replicas[0]
        with coming(stage.address, bench.rates) as people:
            time.sleep(bench.seconds(12, 3))
            healthy = replica.status("/healthz")
            dropped = replica.metric(DROPPED) if healthy else None
        began = time.monotonic()
        status = replica.stop(seconds=20)
        seconds = time.monotonic() - began
    return [
        none_failed("all", people.signed_in),
        Check(f"/healthz {healthy}, {dropped} lines dropped", holds=healthy == 200 and dropped is not None),
        Check(f"exit status {status} {seconds:.1f} s after SIGTERM", holds=status == 0),
    ]


def measure_log_pause(bench: Bench) -> Sequence[Check]:
    """Let the reader of the log pause for a while."""
    chunks: list[bytes] = []
    with narrow_pipe() as (reader, writer), staged(bench, stdout=writer) as stage:
        os.close(writer)
        pausing = threading.Thread(target=_read_with_a_pause, args=(reader, chunks), daemon=True)
        pausing.start()
        with coming(stage.address, bench.rates) as people:
            time.sleep(PAUSE_SECONDS + bench.seconds(4, 1))
        dropped = stage.replicas[0].metric(DROPPED)
        status = stage.replicas[0].stop()
        pausing.join(5)
    logged = b"".join(chunks).count(b'"signed_in"')
    slowest = max(one.waited for one in people.signed_in)
    return [
        none_failed("all", people.signed_in),
        bench.timed(f"slowest {slowest:.1f} s", holds=slowest < 2),
        Check(
            f"{logged} of {len(people.signed_in)} sign-ins logged, {dropped} lines dropped",
            holds=logged == len(people.signed_in),
        ),
        Check(f"exit status {status}", holds=status == 0),
    ]


def _read_with_a_pause(reader: int, chunks: list[bytes]) -> None:
    time.sleep(PAUSE_SECONDS)
    while chunk := os.read(reader, 65536):
        chunks.append(chunk)


def measure_lost_log(kind: str, bench: Bench) -> Sequence[Check]:
    """Let each line of the log be lost: the disk is full, the reader is gone, or standard output is closed."""
    with _lossy(kind) as (stdout, prefix), staged(bench, stdout=stdout, prefix=prefix) as stage:
        replica = stage.replicas[0]
        with coming(stage.address, bench.rates) as people:
            time.sleep(bench.seconds(6, 3))
        dropped = replica.metric(DROPPED) or 0
        status = replica.stop()
        written = len(replica.errors)
    return [
        none_failed("all", people.signed_in),
        Check(f"{written} bytes on standard error", holds=written < FEW_BYTES),
        Check(f"{dropped:.0f} lines dropped", holds=dropped > 0),
        Check(f"exit status {status}", holds=status == 0),
    ]


@contextmanager
def _lossy(kind: str) -> Iterator[tuple[int | None, Sequence[str]]]:
    if kind == "full disk":
        with Path("/dev/full").open("wb") as full:
            yield full.fileno(), ()
    elif kind == "closed":
        yield None, ("sh", "-c", 'exec "$@" >&-', "sh")
    else:
        reader, writer = os.pipe()
        os.close(reader)
        try:
            yield writer, ()
        finally:
            os.close(writer)


# ---------------------------------------------------------------------------------------------------- limits and checks


def measure_few_files(bench: Bench) -> Sequence[Check]:
    """Allow a replica few open files, and open many idle connections."""
    prefix = ("sh", "-c", f'ulimit -n {OPEN_FILES} && exec "$@"', "sh")
    with staged(bench, prefix=prefix) as stage:
        replica = stage.replicas[0]
        with idle_connections(stage, IDLE_CONNECTIONS), coming(stage.address, {"a": 2.0, "b": 2.0}) as meanwhile:
            time.sleep(bench.seconds(6, 3))
            healthy = replica.status("/healthz")
        time.sleep(1)
        with coming(stage.address, {"a": 2.0, "b": 2.0}) as after:
            time.sleep(bench.seconds(4, 2))
        time.sleep(1)
        still_open = descriptors(replica.pid)
    return [
        Check(f"{len(failed(meanwhile.signed_in))} of {len(meanwhile.signed_in)} failed meanwhile"),
        Check(f"/healthz {healthy} meanwhile", holds=healthy == 200),
        none_failed("after it", after.signed_in),
        Check(f"{still_open} descriptors", holds=still_open < OPEN_FILES // 2),
    ]


def measure_dawn_check(bench: Bench) -> Sequence[Check]:
    """Delete the client secret of provider a at the provider, while nobody signs in; skip the hours between runs."""
    with staged(bench, shimmed=True) as stage:
        replica = stage.replicas[0]
        good = _dawn_check_says(replica, 0, seconds_skipped=FIRST_RUN)
        stage.a.order("accept_secrets", secrets=[])
        rung = _dawn_check_says(replica, 1, seconds_skipped=FIRST_RUN + NEXT_RUN)
        other = replica.metric(DAWN_CHECK, subject="b", check="client_authentication")
        stage.a.order("accept_secrets", secrets=[client_secret("a")])
        quiet = _dawn_check_says(replica, 0, seconds_skipped=FIRST_RUN + 2 * NEXT_RUN)
        replica.stop()  # before, the log's writer sleeps for the hours that were skipped
        logged = [line for line in replica.lines("check failed") if line["subject"] == "a"]
    return [
        Check("the metric is 0 before" if good else "no metric before", holds=good),
        Check("it rings in the next run" if rung else "it does not ring", holds=rung),
        Check(f"{len(logged)} lines", holds=bool(logged)),
        Check(f"b: {other}", holds=other == 0),
        Check("quiet after the secret is back" if quiet else "it does not stop", holds=quiet),
    ]


def _dawn_check_says(replica: Replica, value: float, *, seconds_skipped: float) -> bool:
    """Tell whether the metric gets this value after the time is skipped."""
    labels = {"subject": "a", "check": "client_authentication"}
    replica.set_orders(seconds_skipped=seconds_skipped)
    return until(lambda: replica.metric(DAWN_CHECK, **labels) == value, DAWN_SECONDS, step=0.5) is not None


def measure_lost_snapshot_folder(bench: Bench) -> Sequence[Check]:
    """Remove the folder of snapshot_file while the service runs."""
    folder = bench.folder / "snapshots"
    folder.mkdir(parents=True)
    with staged(bench, settings={"snapshot_file": str(folder / "snapshot.json")}) as stage:
        replica = stage.replicas[0]
        written = until((folder / "snapshot.json").exists, 75)
        shutil.rmtree(folder)
        stage.a.order("rotate")
        with coming(stage.address, bench.rates) as people:
            time.sleep(bench.seconds(10, 4))
        defects = replica.lines("defect")
        status = replica.stop()
    return [
        Check("a snapshot was written before", holds=written is not None),
        none_failed("all", people.signed_in),
        Check(f"{len(defects)} defects in the log, exit status {status}", holds=not defects and status == 0),
    ]


ROWS: list[Row] = [
    *(
        Row(
            "11",
            f"{number.name} while people sign in",
            "0 failed, goes on",
            partial(measure_harmless_signal, number),
        )
        for number in (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
    ),
    *(
        Row(
            "11",
            f"{number.name}{' twice' if times == 2 else ''}, 20 callbacks in flight",
            "all answered, exit status 0 within 10 s, not ready but alive meanwhile",
            partial(measure_stop, number, times),
        )
        for number in (signal.SIGTERM, signal.SIGINT)
        for times in (1, 2)
    ),
    Row(
        "11",
        "settings file changes, SIGHUP",
        "0 failed, new settings in use, log and metric",
        measure_reload,
        is_short=True,
    ),
    Row(
        "11",
        "settings file gets two mistakes, SIGHUP",
        "0 failed, both mistakes in the log, a metric rings",
        measure_bad_settings,
        is_short=True,
    ),
    Row(
        "11",
        "settings file has two mistakes at the start",
        "exit status 2, both are named",
        measure_bad_settings_at_start,
    ),
    Row(
        "11",
        "public port taken for 5 s at the start",
        "starts by itself",
        partial(measure_port_taken, operations=False),
        is_short=True,
    ),
    Row(
        "11",
        "operations port taken for 5 s at the start",
        "starts by itself",
        partial(measure_port_taken, operations=True),
    ),
    Row("11", "public port stays taken", "exit status 1 within 60 s", measure_port_stays_taken),
    Row("11", "log: nobody reads it", "0 failed, /healthz 200, clean stop", measure_unread_log, is_short=True),
    Row("11", "log: its reader pauses for 12 s", "0 failed, nobody waits, each line arrives", measure_log_pause),
    *(
        Row(
            "11",
            f"log: {kind}",
            "0 failed, lost lines counted, no flood on standard error",
            partial(measure_lost_log, kind),
        )
        for kind in ("full disk", "reader is gone", "closed")
    ),
    Row("11", "64 open files, 200 idle connections", "alive, all as before after it", measure_few_files),
    Row(
        "new",
        "dawn check after the client secret was deleted",
        "a metric rings without a sign-in, b is quiet",
        measure_dawn_check,
    ),
    Row("own", "folder of snapshot_file is removed", "0 failed, no defect", measure_lost_snapshot_folder),
]
