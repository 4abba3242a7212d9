"""Runs the public and the operations port in one process, and stops after the requests in flight are answered.

uvicorn is set up to log no query, to send no Server header and to trust no proxy.
"""

from __future__ import annotations

import asyncio
import errno
import gc
import logging
import signal
import socket
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

from starlette.types import ASGIApp
from uvicorn.config import Config
from uvicorn.server import Server

from broker.app import Service, create_app
from broker.connections import max_connections
from broker.http_protocol import BoundedProtocol
from broker.settings import Listen, Settings

IDLE_SECONDS = 75  # for a connection without a request; longer than the idle time of common proxies
STOP_SECONDS = 24  # for requests in flight; longer than the wait for a place and the deadline of a sign-in
BACKLOG = 2048  # connections that wait to be accepted
GC_THRESHOLD = 50_000  # new objects between two collections; Python's 700 would collect all the time in a burst

_log = logging.getLogger("broker")


def serve(settings: Settings, *, lost_log_lines: Callable[[], int]) -> None:
    """Run the service until SIGTERM or SIGINT, and return after the requests in flight are answered.

    Args:
        lost_log_lines: returns how many lines the log lost since the start.

    Raises:
        OSError: a port cannot be bound.
    """
    asyncio.run(_serve(settings, lost_log_lines))


async def _serve(settings: Settings, lost_log_lines: Callable[[], int]) -> None:
    asked_to_stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):  # first, so that a stop during the start is clean, too
        asyncio.get_running_loop().add_signal_handler(number, asked_to_stop.set)
    public_socket, operations_socket = _bind(settings.listen), _bind(settings.operations_listen)
    async with create_app(settings, lost_log_lines=lost_log_lines) as service:
        public, operations = _server(service.public), _server(service.operations)
        collect_rarely()
        stopping = asyncio.create_task(_stop_when(asked_to_stop, service, public))
        _log.info(
            "listening",
            extra={"facts": {"public": str(settings.listen), "operations": str(settings.operations_listen)}},
        )
        operations_task = asyncio.create_task(operations.serve(sockets=[operations_socket]))
        await public.serve(sockets=[public_socket])
        # Stops last: until the last sign-in is answered, health checks report that the service stops.
        operations.should_exit = True
        await operations_task
        stopping.cancel()
    _log.info("stopped")


def collect_rarely() -> None:
    """Exclude the objects of the start from garbage collection, and collect rarely: each collection is a stall.

    Modules, settings and pages live as long as the process, and a full collection would walk all of them.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(GC_THRESHOLD)


class _Server(Server):
    """uvicorn's server without its signal handlers, which would raise the signal again after a clean stop."""

    def capture_signals(self) -> Any:
        """Install no handlers: `_serve` handles signals for both ports."""
        return nullcontext()


def _server(application: ASGIApp) -> _Server:
    return _Server(
        Config(
            application,
            http=BoundedProtocol,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=IDLE_SECONDS,
            timeout_graceful_shutdown=STOP_SECONDS,
            # asyncio accepts this many connections before it reports the first: a burst must not exceed the limit.
            backlog=min(BACKLOG, max_connections() // 8),
        )
    )


async def _stop_when(asked_to_stop: asyncio.Event, service: Service, public: Server) -> None:
    await asked_to_stop.wait()
    service.stopping.set()
    public.should_exit = True


def _bind(listen: Listen) -> socket.socket:
    family = socket.AF_INET6 if ":" in listen.host else socket.AF_INET
    # With an explicit TCP, asyncio switches Nagle's algorithm off. Otherwise a page waits 40 ms for an ACK.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((listen.host, listen.port))
    except OSError as error:
        listener.close()
        problem = f"cannot listen on {listen}: {error.strerror}"
        if error.errno == errno.EADDRINUSE:
            problem = f"{problem}. Stop the other program, or change `listen` or `operations_listen`."
        raise OSError(error.errno, problem) from None
    return listener
