"""Real sockets and real processes: the broker as the program it is, and a fake provider it can reach.

Everything binds loopback, on free ports.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import uvicorn
import yaml
from starlette.types import ASGIApp, Receive, Scope, Send

from broker.log_writer import PAUSE_SECONDS
from tests.fakes.ports import free_port
from tests.fakes.provider import FakeProvider

SECONDS_TO_START = 30.0
SECONDS_TO_STOP = 30.0


def wait_until(come_true: Callable[[], bool], what: str, *, seconds: float = SECONDS_TO_START) -> None:
    deadline = time.monotonic() + seconds
    while not come_true():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


@contextmanager
def served(application: ASGIApp, port: int | None = None, **options: Any) -> Iterator[int]:
    """Serve an application from a thread while the block runs; yield its port. Options go to uvicorn."""
    config = uvicorn.Config(
        application,
        port=port or 0,
        lifespan="off",
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=1,
        **options,
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    wait_until(lambda: server.started, "the server starts")
    try:
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        thread.join(SECONDS_TO_STOP)


@dataclass
class Gate:
    """Holds the requests for one path back until it is opened."""

    path: str
    reached: threading.Event = field(default_factory=threading.Event)
    opened: threading.Event = field(default_factory=threading.Event)


def provider_site(provider: FakeProvider, gate: Gate | None = None) -> ASGIApp:
    """Return the fake provider as an application to serve."""

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        assert scope["type"] == "http"
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message.get("body", b""), message.get("more_body", False)
        if gate is not None and scope["path"] == gate.path:
            gate.reached.set()
            await asyncio.to_thread(gate.opened.wait, SECONDS_TO_STOP)
        url = f"{provider.issuer}{scope['path']}?{scope['query_string'].decode()}".rstrip("?")
        answer = await provider.handle(httpx.Request(scope["method"], url, headers=scope["headers"], content=body))
        headers = [(name.lower(), value) for name, value in answer.headers.raw]
        await send({"type": "http.response.start", "status": answer.status_code, "headers": headers})
        await send({"type": "http.response.body", "body": answer.content})

    return application


@dataclass(frozen=True)
class BrokerProcess:
    """A broker under way: its process, its two ports, and what it wrote."""

    process: subprocess.Popen[bytes]
    public: str
    operations: str
    output: Path
    errors: Path

    def is_up(self) -> bool:
        assert self.process.poll() is None, self.errors.read_text(encoding="utf-8")
        return self.status("/healthz") == 200

    def status(self, path: str) -> int:
        """Return the status of an address of the operations port; 0 if nobody answers."""
        try:
            return httpx.get(self.operations + path, trust_env=False).status_code
        except httpx.TransportError:
            return 0

    def lines(self) -> list[dict[str, Any]]:
        """Return the log so far; a line that is not a JSON object is a failure."""
        if self.process.poll() is None:
            time.sleep(3 * PAUSE_SECONDS)  # lines wait for so long at most before they are written
        lines = [json.loads(line) for line in self.output.read_text(encoding="utf-8").splitlines()]
        assert all(isinstance(line, dict) for line in lines)
        return lines

    def stop(self, by: signal.Signals = signal.SIGTERM) -> int:
        """Send the signal and return the exit status."""
        self.process.send_signal(by)
        return self.process.wait(SECONDS_TO_STOP)


@contextmanager
def running_broker(
    folder: Path,
    settings: Mapping[str, Any],
    public_port: int,
    *,
    open_files: int | None = None,
    host: str = "127.0.0.1",
    stdout: int | None = None,
) -> Iterator[BrokerProcess]:
    """Run `python -m broker serve` with these settings while the block runs, listening on loopback or on `host`.

    With `open_files` the system lets it open no more than so many files and sockets. With `stdout` its log goes to this
    descriptor, and not to the file.
    """
    limited = [] if open_files is None else ["sh", "-c", 'ulimit -n "$0" && exec "$@"', str(open_files)]
    operations_port = free_port()
    addresses = {"listen": f"{host}:{public_port}", "operations_listen": f"127.0.0.1:{operations_port}"}
    file = folder / "broker.yaml"
    file.write_text(yaml.safe_dump({**settings, **addresses}, sort_keys=False), encoding="utf-8")
    output, errors = folder / "stdout.txt", folder / "stderr.txt"
    with ExitStack() as stack:
        process = subprocess.Popen(
            [*limited, sys.executable, "-m", "broker", "serve", "--config", str(file)],
            stdout=stack.enter_context(output.open("wb")) if stdout is None else stdout,
            stderr=stack.enter_context(errors.open("wb")),
            env=without_broker_settings(),
        )
        broker = BrokerProcess(
            process, f"http://127.0.0.1:{public_port}", f"http://127.0.0.1:{operations_port}", output, errors
        )
        try:
            wait_until(broker.is_up, "the broker starts")
            yield broker
        finally:
            if process.poll() is None:
                broker.stop()


def without_broker_settings(**more: str) -> dict[str, str]:
    """Return the environment without the settings of whoever runs the tests, and with these."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("BROKER_")}
    return {**kept, "PYTHONUNBUFFERED": "1", **more}
