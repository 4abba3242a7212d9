"""Runs the two ports in one process, and stops without cutting off a sign-in.

This file owns sockets, signals and what uvicorn must not do: print queries, name itself, believe proxies, or read a
request head without end.
"""

from __future__ import annotations

import asyncio
import logging
import resource
import signal
import socket
from asyncio import TimerHandle, Transport, sslproto
from contextlib import nullcontext
from functools import cache
from typing import Any

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from broker.app import Service, create_app
from broker.settings import Listen, Settings
from broker.web.headers import build_security_headers

MAX_HEAD_BYTES = 96 * 1024  # of request line and headers; what `web` refuses with a page is smaller
HEAD_SECONDS = 10.0  # for a request to arrive in full: a head, for no address takes a body
MAX_PIPELINED = 32  # requests waiting on one connection behind the one being answered; browsers send none
TLS_BUFFER_BYTES = 16 * 1024  # of each connection to a provider; of asyncio's own size, 1,000 took 350 MB
IDLE_SECONDS = 75  # a connection is kept without a request; longer than common proxies keep theirs
STOP_SECONDS = 20  # for requests in flight to finish; longer than a sign-in's deadline
MAX_OPEN_FILES = 65_536  # asked of the system, where it gives less without being asked
BACKLOG = 2048  # connections waiting to be taken

_log = logging.getLogger("broker")


_BAD_REQUEST = b"".join(
    [
        b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n",
        # As for https, always: the parser does not know public_url, and browsers ignore it on http (RFC 6797, 8.1).
        *(b"%b: %b\r\n" % header for header in build_security_headers(style_sha256="", https=True)),
        b"\r\n",
    ]
)


class BoundedProtocol(HttpToolsProtocol):
    """uvicorn's protocol, with a bound on the size of a request's head and on the time a request takes to arrive."""

    seconds = HEAD_SECONDS
    _head_bytes = 0
    _in_head = True
    _is_deaf = False
    _timer: TimerHandle | None = None

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]
        """Start the clock of the first request, if there is room for one more connection."""
        super().connection_made(transport)
        if len(self.server_state.connections) > _max_connections():
            transport.close()
            return
        self._start_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the clock."""
        self._stop_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Count what arrives before the head is complete; drop what arrives after the last request."""
        if self._is_deaf:
            return
        if self._in_head:
            self._head_bytes += len(data)
            if self._timer is None:
                self._start_timer()
        super().data_received(data)
        if self._in_head and self._head_bytes > MAX_HEAD_BYTES and not self.transport.is_closing():
            self.send_400_response("")

    def on_message_begin(self) -> None:
        """Start the clock of a request that came together with the one before it."""
        if self._timer is None:
            self._start_timer()
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Stop counting, but not the clock: a body that is refused and sent on slowly would hold the connection."""
        self._in_head = False
        if len(self.pipeline) >= MAX_PIPELINED:  # uvicorn's queue has no bound, and reads on after every answer
            raise ValueError("too many requests at once")  # to the parser, which ends with send_400_response
        super().on_headers_complete()
        if self.parser.should_upgrade():
            # The parser ends such a message behind its head, whatever its framing says: a body would be read as the
            # next request. We ignore Upgrade (RFC 9110, section 7.8), answer, and read nothing more.
            self._is_deaf, self.cycle.keep_alive = True, False
            self._stop_timer()

    def on_message_complete(self) -> None:
        """Stop the clock, and be ready for the next request on this connection."""
        self._in_head, self._head_bytes = True, 0
        self._stop_timer()
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - what the parser says is nobody's business
        """Answer what is no request we can read, with the headers every answer has, and hang up."""
        self.transport.write(_BAD_REQUEST)
        self.transport.close()

    def _start_timer(self) -> None:
        self._timer = self.loop.call_later(self.seconds, self.transport.close)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def serve(settings: Settings) -> None:
    """Run the service until SIGTERM or SIGINT, and return after the requests in flight are answered.

    Args:
        settings: checked.

    Raises:
        OSError: a port cannot be bound.
    """
    # No interface sets it: docs/decisions/0015-memory-of-connections.md
    sslproto.SSLProtocol.max_size = TLS_BUFFER_BYTES
    asyncio.run(_serve(settings))


async def _serve(settings: Settings) -> None:
    asked_to_stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):  # first of all: a stop while we start is a clean stop, too
        asyncio.get_running_loop().add_signal_handler(number, asked_to_stop.set)
    public_socket, operations_socket = _bind(settings.listen), _bind(settings.operations_listen)
    async with create_app(settings) as service:
        public, operations = _server(service.public), _server(service.operations)
        stopping = asyncio.create_task(_stop_when(asked_to_stop, service, public))
        _log.info(
            "listening",
            extra={"facts": {"public": str(settings.listen), "operations": str(settings.operations_listen)}},
        )
        aside = asyncio.create_task(operations.serve(sockets=[operations_socket]))
        await public.serve(sockets=[public_socket])
        # Last: health can be asked, and says that we are stopping, until the last sign-in is answered.
        operations.should_exit = True
        await aside
        stopping.cancel()
    _log.info("stopped")


class _Server(uvicorn.Server):
    """uvicorn's server without its signal handlers: it would raise the signal again after a clean stop."""

    def capture_signals(self) -> Any:
        """Leave signals alone; they are handled for both ports at once."""
        return nullcontext()


@cache
def _max_connections() -> int:
    """Half of what the system lets us open: the rest is for providers, for the other port, and for files."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MAX_OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, MAX_OPEN_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        soft = wanted
    return (wanted if soft == resource.RLIM_INFINITY else min(soft, MAX_OPEN_FILES)) // 2


def _server(application: ASGIApp) -> _Server:
    return _Server(
        uvicorn.Config(
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
            # asyncio takes so many at a time before it tells us of the first: of a burst, what there is room for.
            backlog=min(BACKLOG, _max_connections() // 8),
        )
    )


async def _stop_when(asked_to_stop: asyncio.Event, service: Service, public: uvicorn.Server) -> None:
    await asked_to_stop.wait()
    service.stopping.begun = True
    public.should_exit = True


def _bind(listen: Listen) -> socket.socket:
    family = socket.AF_INET6 if ":" in listen.host else socket.AF_INET
    # TCP by name, or asyncio does not switch Nagle's algorithm off: then a page waits 40 ms for the reader's ACK.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((listen.host, listen.port))
    except OSError as error:
        listener.close()
        raise OSError(error.errno, f"cannot listen on {listen}: {error.strerror}") from None
    return listener
