"""Bounds the sign-ins at work with one provider, and measures how late the event loop is.

The reason for each figure: docs/development/decisions/0019-waiting-for-a-place.md.
"""

from __future__ import annotations

import asyncio
import math
from collections import OrderedDict, deque
from time import monotonic  # as asyncio's event loops
from types import TracebackType
from typing import Literal, NamedTuple

MAX_AT_WORK = 600  # sign-ins with one provider: with two calls of 300 ms, 1,000 a second, more than a core completes
MAX_WAITING = 4000  # sign-ins that wait for a place with one provider: a slow core completes them in WAIT_SECONDS
MAX_WAITING_IN_ALL = 5000  # sign-ins that wait in the process: each takes 24 KB
WAIT_SECONDS = 15.0  # the longest wait for a place
MAX_LOGINS = 12  # and other requests of people who are not at the callback, in a turn of the event loop: 3 ms
TICK_SECONDS = 0.05  # between measurements of an event loop that is on time: each wakes the process up
BUSY_TICK_SECONDS = 0.01  # between measurements of an event loop that was late
ON_TIME_SECONDS = 0.002  # of lateness
BUSY_SHARE = 0.5  # of the time: an event loop that was late for longer had too much work

Kind = Literal["callback", "login"]
_ORDER: tuple[Kind, ...] = ("callback", "login")  # a person at the callback has signed in at the provider already


class Lap(NamedTuple):
    """A moment from which the lateness of the event loop is counted.

    Args:
        began: by the clock of the event loop, in seconds.
        late: seconds by which the loop was late until then.
    """

    began: float
    late: float


class WaitingRoom:
    """Counts the sign-ins that wait in the process, for a place or for a turn of their address.

    Args:
        limit: sign-ins that may wait.
    """

    def __init__(self, limit: int = MAX_WAITING_IN_ALL) -> None:
        self._limit = limit
        self._inside = 0

    @property
    def is_full(self) -> bool:
        """Whether no further sign-in may wait."""
        return self._inside >= self._limit

    def __enter__(self) -> None:
        """Count a sign-in until it stops waiting. The caller must check `is_full` first."""
        self._inside += 1

    def __exit__(self, *_: object) -> None:
        """Stop counting the sign-in."""
        self._inside -= 1


class Places:
    """The places for sign-ins with one provider. Without a free place, a sign-in waits in the order of arrival.

    Args:
        limit: sign-ins at work at once.
        max_waiting: sign-ins that may wait.
        room: of the whole process.
    """

    def __init__(
        self, limit: int = MAX_AT_WORK, max_waiting: int = MAX_WAITING, room: WaitingRoom | None = None
    ) -> None:
        self.limit = limit
        self.at_work = 0
        self._room = room or WaitingRoom()
        self._max_waiting = max_waiting
        self._waiting: dict[Kind, OrderedDict[asyncio.Future[None], Lap]] = {kind: OrderedDict() for kind in _ORDER}

    @property
    def waiting(self) -> int:
        """The number of sign-ins that wait for a place."""
        return sum(map(len, self._waiting.values()))

    @property
    def is_full(self) -> bool:
        """Whether a further sign-in can neither begin its work nor wait."""
        return self.at_work >= self.limit and (self._room.is_full or self.waiting >= self._max_waiting)

    @property
    def longest_wait(self) -> Lap | None:
        """When the sign-in that waits longest began to wait; None if no sign-in waits."""
        firsts = [next(iter(waiting.values())) for waiting in self._waiting.values() if waiting]
        return min(firsts, key=lambda lap: lap.began, default=None)

    async def take(self, kind: Kind, arrived: Lap) -> None:
        """Take a place, or wait for a place. The caller must call `give_back`, unless the wait is cancelled."""
        if self.at_work < self.limit:  # then no sign-in waits: `give_back` hands a place over
            self.at_work += 1
            return
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waiting = self._waiting[kind]
        waiting[place] = arrived
        try:
            with self._room:
                await place
        except asyncio.CancelledError:
            if place.cancelled():
                del waiting[place]
            else:
                self.give_back()  # handed over while the wait ended
            raise

    def give_back(self) -> None:
        """Hand the place to the next waiting sign-in: callbacks before logins, each in the order of arrival."""
        for waiting in self._waiting.values():
            for place in waiting:
                if not place.done():  # a cancelled sign-in leaves the queue at its next step
                    del waiting[place]
                    place.set_result(None)
                    return
        self.at_work -= 1


class LoopTurns:
    """Lets a few callers compute in each turn of the event loop; the others wait in the order of arrival.

    A crowd that computes in one turn would keep the loop from everybody else.

    Args:
        most: callers in a turn.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._taken = 0
        self._waiting: deque[asyncio.Future[None]] = deque()

    @property
    def has_room(self) -> bool:
        """Whether the turn of this moment has room: `take` then does not wait."""
        return self._taken < self._most

    async def take(self) -> None:
        """Wait for a turn with room. What the caller does before its next wait belongs to this turn."""
        loop = asyncio.get_running_loop()
        if self.has_room:
            if self._taken == 0:
                loop.call_soon(self._next_turn, loop)
            self._taken += 1
            return
        turn: asyncio.Future[None] = loop.create_future()
        self._waiting.append(turn)
        await turn

    def _next_turn(self, loop: asyncio.AbstractEventLoop) -> None:
        self._taken = 0
        while self._waiting and self._taken < self._most:
            turn = self._waiting.popleft()
            if not turn.done():  # the caller may have given up
                turn.set_result(None)
                self._taken += 1
        if self._taken:
            loop.call_soon(self._next_turn, loop)


class LoopLateness:
    """Measures by how many seconds the event loop is late, while `with` blocks are open.

    A timer is due every `TICK_SECONDS`, and more often while it is called late. A loop with other work to do calls the
    timer late, and reads answers of providers late as well.
    """

    def __init__(self) -> None:
        self._blocks = 0
        self._late = 0.0
        self._due = 0.0
        self._is_measuring = False

    def __enter__(self) -> None:
        """Measure until the block ends; blocks may overlap."""
        self._blocks += 1
        if not self._is_measuring:
            self._is_measuring = True
            self._schedule(asyncio.get_running_loop(), TICK_SECONDS)

    def __exit__(self, *_: object) -> None:
        """End the block. The timer stops at its next call without a block, so that most blocks find it running."""
        self._blocks -= 1

    def lap(self) -> Lap:
        """Return this moment. A block must be open."""
        now = monotonic()
        return Lap(now, self._late + max(0.0, now - self._due))

    def is_busy_since(self, lap: Lap) -> bool:
        """Tell whether the loop was late for at least `BUSY_SHARE` of the time since a moment. A block must be open."""
        now = self.lap()
        return now.late > lap.late and now.late - lap.late >= BUSY_SHARE * (now.began - lap.began)

    def _schedule(self, loop: asyncio.AbstractEventLoop, seconds: float) -> None:
        self._due = monotonic() + seconds
        loop.call_at(self._due, self._tick, loop)

    def _tick(self, loop: asyncio.AbstractEventLoop) -> None:
        late = max(0.0, monotonic() - self._due)
        self._late += late
        if self._blocks:
            self._schedule(loop, TICK_SECONDS if late < ON_TIME_SECONDS else BUSY_TICK_SECONDS)
        else:
            self._is_measuring = False


class ProviderTimeout:
    """Ends an `async with` block by TimeoutError when a provider took too long.

    Time by which the event loop was late does not count: a process with too much work reads answers late.

    Args:
        seconds: that the provider may take.
        most_late: seconds by which lateness makes the block longer at most.
    """

    def __init__(self, seconds: float, lateness: LoopLateness, *, most_late: float = math.inf) -> None:
        self._seconds = seconds
        self._most_late = most_late
        self._lateness = lateness
        self._timeout = asyncio.timeout(None)

    async def __aenter__(self) -> None:
        """Begin to count."""
        self._lateness.__enter__()
        self._began = self._lateness.lap()
        self._loop = asyncio.get_running_loop()
        self._timer = self._loop.call_later(self._seconds, self._look)
        await self._timeout.__aenter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop counting; turn the end of the time into TimeoutError."""
        self._timer.cancel()
        self._lateness.__exit__()
        await self._timeout.__aexit__(kind, error, trace)

    def _look(self) -> None:
        now = self._lateness.lap()
        late = min(now.late - self._began.late, self._most_late)
        taken = now.began - self._began.began - late
        if taken < self._seconds - ON_TIME_SECONDS:
            self._timer = self._loop.call_later(self._seconds - taken, self._look)
        else:
            self._timeout.reschedule(self._loop.time())
