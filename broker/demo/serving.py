"""Run the demo's parts: the provider and the stand-in in threads, the broker as a child process.

Each context manager ends its thread or process with the block.
"""

import http.client
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import uvicorn

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication
    from starlette.applications import Starlette

_HOST = "127.0.0.1"
_START_UP = 30.0
_STOP = 25.0  # longer than the broker gives requests in flight
TICK = 0.1


@dataclass(frozen=True, slots=True)
class Ports:
    """A listening socket for each port, kept until its server uses it, so that no other program takes the port."""

    broker: socket.socket
    operations: socket.socket
    provider: socket.socket
    comm100: socket.socket

    def release_broker(self) -> None:
        """Release the broker's two ports: its process binds them itself."""
        self.broker.close()
        self.operations.close()

    def close(self) -> None:
        """Release all four ports."""
        for bound in (self.broker, self.operations, self.provider, self.comm100):
            bound.close()


def bind_ports(first: int) -> Ports:
    """Bind four consecutive ports on loopback; a port that cannot be bound is replaced by a free port.

    Args:
        first: 0 for four free ports.
    """
    return Ports(*(_bind(first + offset if first else 0) for offset in range(4)))


def address_of(bound: socket.socket) -> str:
    """Return the http address of a bound socket, without a slash at the end."""
    return f"http://{_HOST}:{bound.getsockname()[1]}"


def _bind(wanted: int) -> socket.socket:
    try:
        return socket.create_server((_HOST, wanted))  # listens: two programs can bind a port, but only one can listen
    except (OSError, OverflowError):  # in use, not permitted, or not a port number
        return socket.create_server((_HOST, 0))


@contextmanager
def serving_provider(provider: "WSGIApplication", bound: socket.socket) -> Iterator[None]:
    """Serve the provider while the block runs."""
    from broker.demo.provider import build_server

    server = build_server(provider, descriptor=bound.fileno())
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": TICK}, daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join(_STOP)
        server.server_close()


@contextmanager
def serving_comm100(comm100: "Starlette", bound: socket.socket) -> Iterator[None]:
    """Serve the stand-in while the block runs."""
    server = uvicorn.Server(
        uvicorn.Config(
            comm100, loop="asyncio", lifespan="off", log_config=None, access_log=False, timeout_graceful_shutdown=1
        )
    )
    thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]}, daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.should_exit = True
        thread.join(_STOP)


@contextmanager
def running_broker(settings_file: Path, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run `broker serve` while the block runs, with its output in the log file."""
    # Settings in the environment would override the file.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("BROKER_")}
    command = [sys.executable, "-m", "broker", "serve", "--config", str(settings_file)]
    with log.open("wb") as output:
        broker = subprocess.Popen(  # noqa: S603 - this interpreter and this package
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C reaches only this process, which then ends the broker
            env={**environment, "PYTHONUNBUFFERED": "1"},
        )
    try:
        yield broker
    finally:
        broker.terminate()
        try:
            broker.wait(_STOP)
        except subprocess.TimeoutExpired:
            broker.kill()
            broker.wait()


def wait_until_ready(operations: str, broker: subprocess.Popen[bytes], must_stop: Callable[[], bool]) -> bool:
    """Wait for the broker and return whether it is ready: False if it ended, took too long, or a stop was requested.

    Args:
        operations: host:port of the broker's operations port.
    """
    deadline = time.monotonic() + _START_UP
    while broker.poll() is None and not must_stop() and time.monotonic() < deadline:
        connection = http.client.HTTPConnection(operations, timeout=1)
        try:
            connection.request("GET", "/readyz")
            if connection.getresponse().status == 200:
                return True
        except (OSError, http.client.HTTPException):
            pass  # not listening yet
        finally:
            connection.close()
        time.sleep(TICK)
    return False
