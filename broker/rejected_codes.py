"""Limit the rejected codes that one address may send to a provider's token endpoint; accepted codes never count.

A stranger can send invented codes. Each code costs a token request with the broker's credential, and providers limit
those requests for a whole organisation. The reason for each limit: docs/development/decisions/0017-rejected-codes.md.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Literal

from broker.capacity import WaitingRoom
from broker.errors import Overloaded, TooManyRejectedCodes

MAX_ADDRESSES = 20_000
FORGET_SECONDS = 3600.0  # without a call, after which an address counts as new
WINDOW_SECONDS = 60.0  # in which a full count of rejected codes runs out
MAX_WAITING = 4000  # callbacks of one address that wait for a verdict; the room of the process is larger

Verdict = Literal["accepted", "rejected", "unanswered", "not asked"]


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of one origin.

    Args:
        rejected: codes rejected within `WINDOW_SECONDS`.
        unjudged: further calls in flight of an address that is new; each accepted code adds one.
    """

    rejected: int
    unjudged: int
    most_unjudged: int = 2000


OF_ONE_ADDRESS = Limits(rejected=20, unjudged=100)
OF_MANY_PEOPLE = Limits(rejected=600, unjudged=2000)


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a callback came from.

    Args:
        network: an IPv4 address or an IPv6 /64; empty if unknown.
        shared: many people use this network, such as a proxy that is not trusted.
        claimed_by: the network of an untrusted peer that claims to forward for this network.
    """

    network: str
    shared: bool
    claimed_by: str = ""

    @property
    def limits(self) -> Limits:
        """The limits of this origin."""
        return OF_MANY_PEOPLE if self.shared else OF_ONE_ADDRESS


@dataclass(slots=True)
class _Record:
    """The count of one origin.

    Args:
        trust: calls allowed in flight beyond the budget of rejected codes.
        at: when `rejected` was last updated, in seconds.
        rejected: codes; the count falls with time.
        in_flight: calls without a verdict yet.
        waiting: callbacks that wait for such a verdict; the result tells whether they may call.
    """

    trust: int
    at: float
    rejected: float = 0.0
    in_flight: int = 0
    waiting: list[asyncio.Future[bool]] = field(default_factory=list)  # an empty deque takes ten times as much


class RejectedCodes:
    """Counts the codes that the providers rejected, by origin.

    Args:
        clock: seconds since the epoch.
        max_addresses: origins remembered; beyond, the origin with the oldest call is forgotten.
        room: of the whole process, for callbacks that wait.
    """

    def __init__(
        self,
        clock: Callable[[], float] = time.time,
        *,
        max_addresses: int = MAX_ADDRESSES,
        room: WaitingRoom | None = None,
    ) -> None:
        self._clock = clock
        self._max_addresses = max_addresses
        self._room = room or WaitingRoom()
        self._records: OrderedDict[Origin, _Record] = OrderedDict()

    @asynccontextmanager
    async def turns(self, origins: Sequence[Origin], verdict: Callable[[], Verdict]) -> AsyncIterator[None]:
        """Hold one call for each origin of a callback; the caller bounds the wait.

        Args:
            origins: the widest first, so that a peer at its limit can create no records by claiming addresses.
            verdict: called at the end: the provider's verdict on the code.

        Raises:
            TooManyRejectedCodes: too many codes of an origin were rejected.
            Overloaded: too many callbacks of an origin wait.
        """
        held: list[tuple[_Record, Limits]] = []
        try:
            for origin in origins:
                held.append((await self._take(origin), origin.limits))  # noqa: PERF401 - held if the next one fails
            yield
        finally:
            for record, limits in reversed(held):
                self._age(record, limits)
                _judge(record, limits, verdict())
                self._leave(record, limits)

    async def _take(self, origin: Origin) -> _Record:
        record, limits = self._record(origin), origin.limits
        if _is_spent(record, limits):
            raise _refusal(record, limits)
        if _is_free(record, limits):
            record.in_flight += 1
        else:
            await self._wait(record, limits)
        return record

    def _record(self, origin: Origin) -> _Record:
        now = self._clock()
        record = self._records.get(origin)
        if record is None:
            record = self._records[origin] = _Record(origin.limits.unjudged, now)
        else:
            self._records.move_to_end(origin)
        self._age(record, origin.limits)
        self._forget(now)
        return record

    def _forget(self, now: float) -> None:
        """Forget origins without a recent call, and the oldest above the limit. Origins with calls in flight stay."""
        for _ in range(2):  # one more than a call adds
            origin, record = next(iter(self._records.items()))
            if record.in_flight or record.waiting:
                self._records.move_to_end(origin)
            elif record.at < now - FORGET_SECONDS or len(self._records) > self._max_addresses:
                del self._records[origin]

    def _age(self, record: _Record, limits: Limits) -> None:
        """Let rejected codes run out. A clock that was set back changes nothing."""
        now = self._clock()
        passed = max(0.0, now - record.at)
        record.rejected = max(0.0, record.rejected - passed * limits.rejected / WINDOW_SECONDS)
        record.at = now

    async def _wait(self, record: _Record, limits: Limits) -> None:
        """Wait for the verdict on other calls of the origin; `_leave` hands over the place."""
        if self._room.is_full or len(record.waiting) >= MAX_WAITING:
            raise Overloaded(
                expected=f"room to wait for the verdict on other codes; {MAX_WAITING} of one address may wait",
                got=f"{len(record.waiting)} waiting, {record.in_flight} not judged yet",
            )
        place: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        record.waiting.append(place)
        try:
            with self._room:
                may_call = await asyncio.shield(place)
        except asyncio.CancelledError:
            if not place.done():
                record.waiting.remove(place)
            elif place.result():
                self._leave(record, limits)  # handed over while the wait ended
            raise
        if not may_call:
            raise _refusal(record, limits)

    def _leave(self, record: _Record, limits: Limits) -> None:
        """Hand free places to waiting callbacks in their order; refuse all of them if no place will become free."""
        record.in_flight -= 1
        while record.waiting and (_is_spent(record, limits) or _is_free(record, limits)):
            may_call = not _is_spent(record, limits)
            record.in_flight += may_call
            record.waiting.pop(0).set_result(may_call)


def _judge(record: _Record, limits: Limits, verdict: Verdict) -> None:
    if verdict == "accepted":
        record.trust = min(record.trust + 1, limits.most_unjudged)
        record.rejected = max(0.0, record.rejected - 1)
    elif verdict == "rejected" or (verdict == "unanswered" and record.trust == 0):
        record.trust //= 2
        record.rejected = min(record.rejected + 1, limits.rejected)
    elif verdict == "unanswered":
        record.trust -= 1


def _refusal(record: _Record, limits: Limits) -> TooManyRejectedCodes:
    seconds = (record.rejected - limits.rejected + 1) * WINDOW_SECONDS / limits.rejected
    return TooManyRejectedCodes(
        expected=f"at most {limits.rejected} rejected codes from one address within {WINDOW_SECONDS:g} s",
        got=f"{math.ceil(record.rejected)} rejected, {record.in_flight} not judged yet",
        retry_after=max(1, math.ceil(seconds)),
    )


def _is_spent(record: _Record, limits: Limits) -> bool:
    return record.rejected > limits.rejected - 1


def _is_free(record: _Record, limits: Limits) -> bool:
    return not _is_spent(record, limits) and record.in_flight + 1 <= record.trust + limits.rejected - record.rejected
