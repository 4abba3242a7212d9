"""Runs the three sides of the demo: the provider and the stand-in in threads, the broker as the program it is.

Owns ports, threads and the child process: each is a context manager that leaves nothing behind. Refuses to know what
the three say to each other, signals and the terminal.
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
    """One bound socket for each of the four ports: kept until its server takes it, so that nobody else does."""

    broker: socket.socket
    operations: socket.socket
    provider: socket.socket
    comm100: socket.socket

    def release_broker(self) -> None:
        """Give up the broker's two ports: it is a process of its own and binds them itself."""
        self.broker.close()
        self.operations.close()

    def close(self) -> None:
        """Give up all four ports."""
        for bound in (self.broker, self.operations, self.provider, self.comm100):
            bound.close()


def bind_ports(first: int) -> Ports:
    """Bind four ports on loopback, from the first on; one that cannot be had is replaced by a free one, 0 means any."""
    return Ports(*(_bind(first + offset if first else 0) for offset in range(4)))


def address_of(bound: socket.socket) -> str:
    """Return the http address of a bound socket, without a slash at the end."""
    return f"http://{_HOST}:{bound.getsockname()[1]}"


def _bind(wanted: int) -> socket.socket:
    bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    # As the servers themselves do: a port that was in use a moment ago is free.
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((_HOST, wanted))
    except (OSError, OverflowError):  # taken, not ours to take, or no port number at all
        bound.bind((_HOST, 0))
    return bound


@contextmanager
def serving_provider(provider: "WSGIApplication", bound: socket.socket) -> Iterator[None]:
    """Serve the provider on the socket while the block runs."""
    from broker.demo.provider import build_server

    bound.listen()
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
    """Serve the stand-in on the socket while the block runs."""
    bound.listen()  # from now on browsers queue, even if the thread is not there yet
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
    """Run `broker serve` as in production while the block runs, its output in the log file."""
    # Settings of the environment would override those of the file.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("BROKER_")}
    command = [sys.executable, "-m", "broker", "serve", "--config", str(settings_file)]
    with log.open("wb") as output:
        broker = subprocess.Popen(  # noqa: S603 our own interpreter and our own module
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C reaches us only, and we end the broker in order
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
    """Return True once the broker says it is ready, False if it ended, takes too long, or we are asked to stop."""
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
