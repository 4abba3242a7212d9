"""Connections that never ask for anything, or never finish: memory within bounds, and nobody locked out."""

from __future__ import annotations

import resource
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from broker.connections import MAX_CONNECTIONS
from tests.fakes import processes
from tests.fakes.ports import free_port
from tests.fakes.processes import BrokerProcess, provider_site, served
from tests.fakes.provider import FakeProvider
from tests.fakes.world import settings_for
from tests.hostile.running import COMM100, MEGABYTE, RunningBroker

HEAD = b"GET / HTTP/1.1\r\nHost: sso.acme.example\r\n"
SECONDS = 8.0  # for one step of a connection: the broker gives an unfinished head 10
PATIENCE = 60.0  # where no clock of the broker runs: a busy machine takes connections late


@pytest.fixture(autouse=True)
def many_files() -> Iterator[None]:
    """Let this process open as many sockets as the system allows it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@contextmanager
def a_broker(folder: Path, *, open_files: int | None = None) -> Iterator[RunningBroker]:
    provider = FakeProvider(f"http://127.0.0.1:{free_port()}", time.time)
    port = free_port()
    settings = settings_for(provider)
    settings["public_url"] = f"http://127.0.0.1:{port}"
    settings["sites"]["main"]["endpoint"] = COMM100
    with (
        served(provider_site(provider), urlsplit(provider.issuer).port),
        processes.running_broker(folder, settings, port, open_files=open_files) as program,
    ):
        sign_in(program)
        yield RunningBroker(program, port)


def sign_in(broker: BrokerProcess) -> None:
    with httpx.Client(trust_env=False, timeout=20) as person:
        at_provider = person.get(f"{broker.public}/login").headers["location"]
        callback = person.get(at_provider).headers["location"]
        assert person.get(callback).headers["location"].startswith(f"{COMM100}?")


def crowd(
    stack: ExitStack, port: int, count: int, sent: bytes, *, receives: int | None = None, seconds: float = SECONDS
) -> list[socket.socket]:
    """Open connections, send each the same, and do not wait for an answer; take no more than `receives` bytes of it."""
    lines = []
    for _ in range(count):
        line = stack.enter_context(socket.socket())
        line.settimeout(seconds)
        if receives is not None:
            line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receives)
        line.connect(("127.0.0.1", port))
        with suppress(ConnectionError, TimeoutError):
            line.sendall(sent)
        lines.append(line)
    return lines


@pytest.mark.requirement("S-60")
@pytest.mark.parametrize(
    ("count", "sent", "megabytes"),
    [
        pytest.param(100, HEAD + b"a:\r\n" * 20_000, 20, id="100 of 20,000 header lines"),
        pytest.param(300, HEAD + b"a:\r\n" * 120, 20, id="300 of 120 header lines, unfinished"),
        pytest.param(1_000, HEAD + b"X: " + b"x" * 30_000, 60, id="1,000 unfinished heads of 30 KB"),
        pytest.param(3_000, HEAD + b"X: " + b"x" * 30_000, 110, id="3,000 unfinished heads of 30 KB"),
        pytest.param(300, (HEAD + b"\r\n") + HEAD + b"X: " + b"x" * 250_000, 60, id="300 behind a good request"),
    ],
)
def test_what_is_never_a_whole_request_takes_little_memory_and_keeps_nobody_out(
    tmp_path: Path, count: int, sent: bytes, megabytes: int
) -> None:
    with a_broker(tmp_path) as broker, ExitStack() as stack:
        before = broker.memory()
        broker.forget_peak()
        crowd(stack, broker.port, count, sent)
        sign_in(broker.program)
        grown = (broker.peak_memory() - before) / MEGABYTE
    print(f"{count} connections: {before / MEGABYTE:.0f} MB before, {grown:.1f} MB more")
    assert grown < megabytes


@pytest.mark.requirement("S-60")
def test_answers_that_nobody_takes_hold_little_memory_and_keep_nobody_out(tmp_path: Path) -> None:
    with a_broker(tmp_path) as broker, ExitStack() as stack:
        before = broker.memory()
        broker.forget_peak()
        crowd(stack, broker.port, 500, (HEAD + b"\r\n") * 32, receives=2_048)  # more would be load, not memory
        sign_in(broker.program)
        grown = (broker.peak_memory() - before) / MEGABYTE
    print(f"500 connections: {before / MEGABYTE:.0f} MB before, {grown:.1f} MB more")
    assert grown < 20


@pytest.mark.requirement("S-60")
def test_9000_idle_connections_take_little_memory_and_those_idle_longest_go_first(tmp_path: Path) -> None:
    with a_broker(tmp_path) as broker, ExitStack() as stack:
        before = broker.memory()
        lines: list[socket.socket] = []
        for _ in range(36):
            some = crowd(stack, broker.port, 250, HEAD + b"\r\n", seconds=PATIENCE)
            for line in some:
                line.recv(1, socket.MSG_PEEK)  # answered, so idle: a request that is not yet read gives way first
            lines += some
        sign_in(broker.program)
        grown = (broker.memory() - before) / MEGABYTE
        kept = [number for number, line in enumerate(lines) if is_open(line)]
    print(f"9,000 idle connections: {before / MEGABYTE:.0f} MB before, {grown:.1f} MB more, {len(kept)} kept")
    assert grown < 110  # the chart gives 256 MiB, and the service takes 76 without them
    assert MAX_CONNECTIONS - 20 < len(kept) <= MAX_CONNECTIONS
    surplus = 9_000 - MAX_CONNECTIONS
    assert sum(number < surplus for number in kept) < 20
    assert kept[-1] == 8_999


def is_open(line: socket.socket) -> bool:
    """Read what came; tell whether the other side has not hung up."""
    line.setblocking(False)
    try:
        while line.recv(65536):
            pass
    except BlockingIOError:
        return True
    except ConnectionError:
        return False
    return False


@pytest.mark.requirement("S-60")
def test_3000_slow_heads_lock_nobody_out_where_4096_files_are_allowed(tmp_path: Path) -> None:
    with a_broker(tmp_path, open_files=4_096) as broker, ExitStack() as stack:
        lines = crowd(stack, broker.port, 3_000, HEAD)
        for _ in range(5):
            for line in lines:
                with suppress(OSError):
                    line.send(b"X: y\r\n")
            sign_in(broker.program)
            assert broker.program.status("/healthz") == 200
    assert broker.program.errors.read_text(encoding="utf-8") == ""
