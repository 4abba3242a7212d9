"""Chooses the connection to close when there are too many, or when unfinished messages hold too much memory.

The oldest connection that waits for its client is closed first, then the connection that is idle for longest. A
connection stays open while its request is being answered. While others are idle, a new connection stays open for a
moment: otherwise new connections would close each other before their requests arrive. The cost of a step does not
depend on the number of connections.
"""

from __future__ import annotations

import resource
import time
from collections import OrderedDict
from collections.abc import Callable
from functools import cache
from typing import NamedTuple, Protocol

MAX_CONNECTIONS = 8_192  # of one port; an idle connection takes about 5 KB
MAX_OPEN_FILES = 65_536  # requested from a system that grants fewer by default
MAX_HELD_BYTES = 32 * 1024 * 1024  # of all unfinished requests together
GRACE_SECONDS = 0.2  # between a connection and its request: one round trip


class Connection(Protocol):
    """A connection that can be closed at once."""

    def drop(self) -> None:
        """Close the connection, and discard unsent and unread bytes."""


class _Unfinished(NamedTuple):
    """A request that has not arrived in full: the bytes it holds, and the time at which the wait began."""

    held: int
    since: float


class Connections:
    """The connections of a port that wait for their client.

    Args:
        max_held: bytes that all unfinished requests may hold together.
        clock: seconds, monotonic.
    """

    def __init__(self, *, max_held: int = MAX_HELD_BYTES, clock: Callable[[], float] = time.monotonic) -> None:
        self._max_held = max_held
        self._clock = clock
        self._held = 0
        self._unfinished: OrderedDict[Connection, _Unfinished] = OrderedDict()  # oldest first
        self._idle: OrderedDict[Connection, None] = OrderedDict()  # longest idle first

    def wait(self, connection: Connection, held: int = 0) -> None:
        """Register that a connection waits for a request or for the rest of one; its place in the order stays.

        Args:
            connection: not being answered.
            held: bytes of the unfinished request.
        """
        self._idle.pop(connection, None)
        before = self._unfinished.get(connection) or _Unfinished(0, self._clock())
        self._held += held - before.held
        self._unfinished[connection] = before._replace(held=held)
        while self._held > self._max_held:
            self._drop_unfinished()

    def idle(self, connection: Connection) -> None:
        """Register that a connection is kept alive without a request."""
        self.forget(connection)
        self._idle[connection] = None

    def forget(self, connection: Connection) -> None:
        """Register that a connection is being answered, or closed."""
        unfinished = self._unfinished.pop(connection, None)
        self._held -= unfinished.held if unfinished else 0
        self._idle.pop(connection, None)

    def make_room(self, newcomer: Connection) -> bool:
        """Close the least useful connection; return False if only the newcomer could be closed."""
        oldest = next(iter(self._unfinished), newcomer)
        if oldest is not newcomer and (not self._idle or self._waits_too_long(oldest)):
            self._drop_unfinished()
        elif self._idle:
            connection, _ = self._idle.popitem(last=False)
            connection.drop()
        else:
            return False
        return True

    def _waits_too_long(self, connection: Connection) -> bool:
        return self._clock() - self._unfinished[connection].since >= GRACE_SECONDS

    def _drop_unfinished(self) -> None:
        connection, unfinished = self._unfinished.popitem(last=False)
        self._held -= unfinished.held
        connection.drop()


@cache
def max_connections() -> int:
    """Return the limit, at most half of the allowed open files: providers, the other port and files need the rest."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MAX_OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, MAX_OPEN_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        soft = wanted
    return min(wanted if soft == resource.RLIM_INFINITY else soft, 2 * MAX_CONNECTIONS) // 2
