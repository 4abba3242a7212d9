"""What all sign-ins of a process share: settings, places at the providers, rejected codes and consumed states."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from copy import copy
from functools import partial

from broker.capacity import (
    BUSY_SHARE,
    MAX_AT_WORK,
    MAX_LOGINS,
    MAX_WAITING,
    MAX_WAITING_IN_ALL,
    WAIT_SECONDS,
    Kind,
    Lap,
    LoopLateness,
    LoopTurns,
    Places,
    ProviderTimeout,
    WaitingRoom,
)
from broker.comm100 import Site
from broker.errors import BrokerError, Overloaded, OverloadedByProvider, ProviderTimedOut, TransactionSpent
from broker.oidc.discovery import Clock
from broker.providers import Provider
from broker.rejected_codes import RejectedCodes
from broker.signing import CLOCK_LEEWAY
from broker.transaction import LIFETIME

DEADLINE_SECONDS = 8.0  # of /login and of /callback, however many calls to the provider they need
MAX_REFUSED = 20_000  # refused sign-ins remembered
PERIOD_SECONDS = 60  # sign-ins that got tokens are forgotten together, at most so much later than needed
RETRY_AFTER_SECONDS = 5  # told to a person who got no place


class Broker:
    """Holds what all sign-ins of this process share.

    Args:
        sites: by id; the first is the default.
        providers: by id; those that are enabled.
        secret_keys: returns the current keys, newest first.
        clock: seconds since the epoch.
        max_at_work: sign-ins with one provider.
        max_waiting: sign-ins that wait for a place with one provider.
        max_waiting_in_all: sign-ins that wait for a turn or a place.
        wait: seconds for a turn and a place.
        deadline: seconds for `begin` or `complete`, after the wait.
    """

    def __init__(
        self,
        *,
        sites: Mapping[str, Site],
        providers: Mapping[str, Provider],
        secret_keys: Callable[[], Sequence[str]],
        clock: Clock,
        max_at_work: int = MAX_AT_WORK,
        max_waiting: int = MAX_WAITING,
        max_waiting_in_all: int = MAX_WAITING_IN_ALL,
        max_refused: int = MAX_REFUSED,
        wait: float = WAIT_SECONDS,
        deadline: float = DEADLINE_SECONDS,
    ) -> None:
        self.sites = sites
        self.providers = providers
        self.secret_keys = secret_keys
        self.clock = clock
        self.replays = ReplayCache(max_refused)
        room = WaitingRoom(max_waiting_in_all)
        self.rejected_codes = RejectedCodes(clock, room=room)
        self._new_places = partial(Places, max_at_work, max_waiting, room)
        self._places: dict[str, Places] = {}
        self._wait = wait
        self._deadline = deadline
        self._lateness = LoopLateness()
        self._logins = LoopTurns(MAX_LOGINS)

    def with_settings(
        self, *, sites: Mapping[str, Site], providers: Mapping[str, Provider], secret_keys: Callable[[], Sequence[str]]
    ) -> Broker:
        """Return a broker with new settings that shares the memory of this broker.

        Consumed states, rejected codes and places are shared, so a reload gives no state a second use.
        """
        successor = copy(self)
        successor.sites, successor.providers, successor.secret_keys = sites, providers, secret_keys
        return successor

    def places_of(self, provider_id: str) -> Places:
        """Return the places for sign-ins with a provider, enabled or not: no provider takes places from another."""
        return self._places.setdefault(provider_id, self._new_places())

    async def wait_behind_callbacks(self) -> None:
        """Wait for a turn of a request that is no callback: a person at the callback has signed in already.

        Raises:
            Overloaded: no turn came in time.
        """
        if self._logins.has_room:
            return await self._logins.take()
        try:
            async with asyncio.timeout(self._wait):
                await self._logins.take()
        except TimeoutError:
            raise Overloaded(
                expected=f"a turn of the event loop within {self._wait:g} s",
                got=f"none: {MAX_LOGINS} requests besides callbacks get one at a time",
                retry_after=RETRY_AFTER_SECONDS,
            ) from None

    @asynccontextmanager
    async def in_flight(
        self, provider_id: str, kind: Kind, turn: AbstractAsyncContextManager[None] | None = None
    ) -> AsyncIterator[None]:
        """Wait for a place among a provider's sign-ins, and hold the place at most until the deadline.

        The deadline begins with the place, and counts the provider's time. A timeout is the provider's, unless the
        event loop was late for at least `BUSY_SHARE` of that time: then the process had too much work to read the
        answers in time. The same rule says why there was no place.

        Args:
            turn: entered before the wait for a place; both waits together end after `wait` seconds.

        Raises:
            Overloaded: no place became free, or the process had too much work.
            ProviderTimedOut: the deadline passed, and the provider took the time.
        """
        places, at_work = self.places_of(provider_id), False
        with self._lateness:
            lap = self._lateness.lap()
            try:
                async with asyncio.timeout(self._wait) as limit, turn or nullcontext():
                    if places.is_full:
                        raise self._no_place(places, lap)
                    await places.take(kind, lap)
                    try:
                        at_work, lap = True, self._lateness.lap()
                        limit.reschedule(None)
                        async with ProviderTimeout(self._deadline, self._lateness, most_late=self._deadline):
                            yield
                    finally:
                        places.give_back()
            except TimeoutError:
                raise (self._too_late(lap) if at_work else self._no_place(places, lap)) from None
            except ProviderTimedOut as error:
                if self._lateness.is_busy_since(lap):
                    raise self._too_late(lap) from error
                raise

    def _no_place(self, places: Places, lap: Lap) -> Overloaded:
        """Return the refusal of a sign-in without a place: its own wait, or the longest wait, tells the cause."""
        is_queue_full = places.is_full
        since = (places.longest_wait or lap) if is_queue_full else lap
        waited = self._lateness.lap().began - lap.began
        cause = Overloaded if self._lateness.is_busy_since(since) else OverloadedByProvider
        return cause(
            expected=f"a place within {self._wait:g} s; there are {places.limit} with this provider",
            got=f"{places.at_work} at work, {places.waiting} waiting; waited {waited:.1f} s",
            retry_after=RETRY_AFTER_SECONDS,
        )

    def _too_late(self, lap: Lap) -> BrokerError:
        if self._lateness.is_busy_since(lap):
            now = self._lateness.lap()
            return Overloaded(
                expected=f"an event loop that is late for less than {BUSY_SHARE:.0%} of the time",
                got=f"late for {now.late - lap.late:.1f} of {now.began - lap.began:.1f} s",
                retry_after=RETRY_AFTER_SECONDS,
            )
        return ProviderTimedOut(expected=f"all answers within {self._deadline:g} s", got="not all")


class ReplayCache:
    """Remembers the sign-ins that are over: each state is consumed once, for as long as it is valid.

    Args:
        max_refused: refused sign-ins remembered. Those that got tokens are forgotten by age only.
    """

    def __init__(self, max_refused: int = MAX_REFUSED) -> None:
        self._max_refused = max_refused
        self._consumed: dict[int, set[str]] = {}  # by period, which takes half the memory of a time for each
        self._refused: OrderedDict[str, float] = OrderedDict()

    def consume(self, transaction_id: str, now: float) -> None:
        """Mark a sign-in as over, however it ends.

        Args:
            now: seconds since the epoch.

        Raises:
            TransactionSpent: the sign-in was over already.
        """
        if transaction_id in self._refused or any(transaction_id in consumed for consumed in self._consumed.values()):
            raise TransactionSpent(expected="a sign-in under way", got="a sign-in that is over")
        expired = now - LIFETIME - CLOCK_LEEWAY
        period = int(now // PERIOD_SECONDS)
        if period not in self._consumed:
            kept = {each: ids for each, ids in self._consumed.items() if (each + 1) * PERIOD_SECONDS > expired}
            self._consumed = {**kept, period: set()}
        self._consumed[period].add(transaction_id)
        while self._refused and next(iter(self._refused.values())) < expired:
            self._refused.popitem(last=False)

    def mark_refused(self, transaction_id: str, now: float) -> None:
        """Move a consumed sign-in that got no tokens to the refused sign-ins; forget the oldest beyond the limit.

        Strangers can cause many refused sign-ins. They must not push out sign-ins that got tokens.

        Args:
            now: seconds since the epoch.
        """
        for consumed in self._consumed.values():
            consumed.discard(transaction_id)
        self._refused[transaction_id] = now
        if len(self._refused) > self._max_refused:
            self._refused.popitem(last=False)
