"""Decides which connection is closed when there are too many, or when unfinished requests hold too much memory.

The oldest connection that waits for a request goes first, then the one that was kept alive unused for longest. A
connection that is being answered stays. Each step costs the same whatever the number of connections.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Protocol

MAX_HELD_BYTES = 32 * 1024 * 1024  # of all unfinished requests together


class Connection(Protocol):
    """A connection that can be closed at once."""

    def drop(self) -> None:
        """Close it, and forget what is not sent or read yet."""


class Connections:
    """The connections of one port that wait for their client.

    Args:
        max_held: bytes that all unfinished requests may hold together.
    """

    def __init__(self, *, max_held: int = MAX_HELD_BYTES) -> None:
        self._max_held = max_held
        self._held = 0
        self._unfinished: OrderedDict[Connection, int] = OrderedDict()  # oldest first; the bytes each holds
        self._idle: OrderedDict[Connection, None] = OrderedDict()  # longest idle first

    def wait(self, connection: Connection, held: int = 0) -> None:
        """Note that a connection waits for the rest of a request, or for its first one; its place stays the same.

        Args:
            connection: not being answered.
            held: bytes of the unfinished request.
        """
        self._idle.pop(connection, None)
        self._held += held - self._unfinished.get(connection, 0)
        self._unfinished[connection] = held
        while self._held > self._max_held:
            self._drop_unfinished()

    def idle(self, connection: Connection) -> None:
        """Note that a connection is kept alive without a request."""
        self.forget(connection)
        self._idle[connection] = None

    def forget(self, connection: Connection) -> None:
        """Note that a connection is being answered, or gone."""
        self._held -= self._unfinished.pop(connection, 0)
        self._idle.pop(connection, None)

    def make_room(self, newcomer: Connection) -> bool:
        """Drop the connection that is missed least; return False if only the newcomer is left to drop.

        Args:
            newcomer: waits for its first request.
        """
        if next(iter(self._unfinished), newcomer) is not newcomer:
            self._drop_unfinished()
        elif self._idle:
            connection, _ = self._idle.popitem(last=False)
            connection.drop()
        else:
            return False
        return True

    def _drop_unfinished(self) -> None:
        connection, held = self._unfinished.popitem(last=False)
        self._held -= held
        connection.drop()
