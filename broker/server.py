"""Runs the public and the operations port in one process, reloads the settings, and stops when signals say so.

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
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field
from typing import Any

from starlette.types import ASGIApp
from uvicorn.config import Config
from uvicorn.server import Server

from broker.app import Service, create_app
from broker.connections import max_connections
from broker.http_protocol import BoundedProtocol
from broker.reload import follow_settings
from broker.settings import Fingerprint, Listen, Settings, SettingsSource

IDLE_SECONDS = 75  # for a connection without a request; longer than the idle time of common proxies
STOP_SECONDS = 24  # for requests in flight; longer than the wait for a place and the deadline of a sign-in
BACKLOG = 2048  # connections that wait to be accepted
BIND_SECONDS = 30.0  # for which a port that is taken, or an address that does not exist yet, is tried again
BIND_PAUSE_SECONDS = 0.5  # between two attempts
IGNORED = (  # would end the process; the real-time signals are ignored, too
    *("SIGUSR1", "SIGUSR2", "SIGALRM", "SIGVTALRM", "SIGPROF", "SIGPIPE", "SIGIO"),
    *("SIGPWR", "SIGSTKFLT", "SIGXCPU", "SIGXFSZ"),
)
STOPPING = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)
GC_THRESHOLD = 50_000  # new objects between two collections; Python's 700 would collect all the time in a burst

_REMEDIES = {
    errno.EADDRINUSE: "Stop the other program, or change `listen` or `operations_listen`.",
    errno.EADDRNOTAVAIL: "No network interface has this address: correct `listen` or `operations_listen`.",
    errno.EACCES: "Ports below 1024 are privileged: choose another port, or give the process CAP_NET_BIND_SERVICE.",
}

_log = logging.getLogger("broker")


@dataclass(frozen=True, slots=True)
class _Signals:
    """What signals asked for.

    Args:
        stop: SIGTERM, SIGINT or SIGQUIT came.
        stop_now: a second of them came, which ends `stop_delay`.
        reload: SIGHUP came.
    """

    stop: asyncio.Event = field(default_factory=asyncio.Event)
    stop_now: asyncio.Event = field(default_factory=asyncio.Event)
    reload: asyncio.Event = field(default_factory=asyncio.Event)

    def ask_to_stop(self) -> None:
        """Take a signal to stop."""
        (self.stop_now if self.stop.is_set() else self.stop).set()


def serve(
    settings: Settings, source: SettingsSource, seen: Fingerprint | None, *, lost_log_lines: Callable[[], int]
) -> None:
    """Run the service until SIGTERM, SIGINT or SIGQUIT, and return after the requests in flight are answered.

    Args:
        source: of the settings, which SIGHUP reads again.
        seen: of the settings file before the settings were read.
        lost_log_lines: returns how many lines the log lost since the start.

    Raises:
        OSError: a port cannot be bound.
    """
    asyncio.run(_serve(settings, source, seen, lost_log_lines))


async def _serve(
    settings: Settings, source: SettingsSource, seen: Fingerprint | None, lost_log_lines: Callable[[], int]
) -> None:
    signals = _take_signals()  # first, so that a stop during the start is clean, too
    sockets = await listen((settings.listen, settings.operations_listen), signals.stop)
    if sockets is not None:
        await _serve_on(sockets, settings, source, seen, signals, lost_log_lines)
    _log.info("stopped")
    _ignore_from_now_on()


async def _serve_on(
    sockets: tuple[socket.socket, socket.socket],
    settings: Settings,
    source: SettingsSource,
    seen: Fingerprint | None,
    signals: _Signals,
    lost_log_lines: Callable[[], int],
) -> None:
    public_socket, operations_socket = sockets
    async with create_app(settings, lost_log_lines=lost_log_lines) as service:
        public, operations = _server(service.public), _server(service.operations)
        collect_rarely()
        stopping = asyncio.create_task(_stop_when(signals, service, public))
        following = asyncio.create_task(follow_settings(service, source, signals.reload, seen))
        _log.info(
            "listening",
            extra={"facts": {"public": str(settings.listen), "operations": str(settings.operations_listen)}},
        )
        operations_task = asyncio.create_task(operations.serve(sockets=[operations_socket]))
        await public.serve(sockets=[public_socket])
        # Stops last: until the last sign-in is answered, health checks report that the service stops.
        operations.should_exit = True
        await operations_task
        for task in (stopping, following):
            task.cancel()
        await asyncio.gather(stopping, following, return_exceptions=True)


def _take_signals() -> _Signals:
    """Handle signals from now on; those that would end the process for no reason are ignored."""
    signals, loop = _Signals(), asyncio.get_running_loop()
    for number in STOPPING:
        loop.add_signal_handler(number, signals.ask_to_stop)
    loop.add_signal_handler(signal.SIGHUP, signals.reload.set)
    ignore_signals()
    return signals


def ignore_signals() -> None:
    """Ignore the signals that end a process by default and mean nothing to the service."""
    named = [getattr(signal, name) for name in IGNORED if hasattr(signal, name)]  # macOS does not have all
    for number in (*named, *_real_time_signals()):
        signal.signal(number, signal.SIG_IGN)


def _real_time_signals() -> range:
    first = getattr(signal, "SIGRTMIN", None)
    return range(0) if first is None else range(first, signal.SIGRTMAX + 1)


def _ignore_from_now_on() -> None:
    """Ignore what the service handled: its loop would restore the default, which ends the flush of the log.

    The signals are blocked meanwhile: those that come are ignored, too.
    """
    handled = {*STOPPING, signal.SIGHUP}
    loop = asyncio.get_running_loop()
    signal.pthread_sigmask(signal.SIG_BLOCK, handled)
    for number in handled:
        loop.remove_signal_handler(number)
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, handled)


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
            backlog=_backlog(),
        )
    )


def _backlog() -> int:
    return min(BACKLOG, max_connections() // 8)


async def _stop_when(signals: _Signals, service: Service, public: Server) -> None:
    """Fail readiness at once, and stop the public port after `stop_delay` or at the second signal."""
    await signals.stop.wait()
    service.stopping.set()
    with suppress(TimeoutError):
        async with asyncio.timeout(service.settings().stop_delay):
            await signals.stop_now.wait()
    public.should_exit = True


async def listen(
    addresses: tuple[Listen, Listen], stop: asyncio.Event, *, seconds: float = BIND_SECONDS
) -> tuple[socket.socket, socket.socket] | None:
    """Return a socket that listens on each address; None if the service was asked to stop before.

    A port may be taken for a moment, and at boot an address may not exist yet: both are tried again.

    Args:
        seconds: for further attempts.

    Raises:
        OSError: an address cannot be used; the words say which, and what to do.
    """
    loop = asyncio.get_running_loop()
    until, has_warned = loop.time() + seconds, False
    while not stop.is_set():
        try:
            return _bind_both(*addresses)
        except OSError as error:
            if error.errno not in (errno.EADDRINUSE, errno.EADDRNOTAVAIL) or loop.time() >= until:
                raise
            if not has_warned:
                remedy = f"The service tries again for {seconds:g} seconds. Then it ends with status 1."
                facts = {"got": error.strerror, "remedy": remedy}
                _log.warning("port is not available", extra={"facts": facts})
                has_warned = True
        with suppress(TimeoutError):
            async with asyncio.timeout(BIND_PAUSE_SECONDS):
                await stop.wait()
    return None


def _bind_both(public: Listen, operations: Listen) -> tuple[socket.socket, socket.socket]:
    """Listen on both addresses or on none: no client waits at a port that nobody serves."""
    first = _bind(public)
    try:
        second = _bind(operations)
    except OSError:
        first.close()
        raise
    for listener, listen in ((first, public), (second, operations)):
        try:
            listener.listen(_backlog())
        except OSError as error:  # another program bound the same port, and listens since
            first.close()
            second.close()
            raise _why_not(error, listen) from None
    return first, second


def _bind(listen: Listen) -> socket.socket:
    family = socket.AF_INET6 if ":" in listen.host else socket.AF_INET
    # With an explicit TCP, asyncio switches Nagle's algorithm off. Otherwise a page waits 40 ms for an ACK.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((listen.host, listen.port))
    except OSError as error:
        listener.close()
        raise _why_not(error, listen) from None
    return listener


def _why_not(error: OSError, listen: Listen) -> OSError:
    """Return the error with the address and the remedy."""
    problem = f"cannot listen on {listen}: {error.strerror}"
    remedy = _REMEDIES.get(error.errno or 0, "")
    return OSError(error.errno, f"{problem}. {remedy}" if remedy else problem)
