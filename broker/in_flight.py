"""What all sign-ins of one process share: sites, providers, the places for sign-ins in flight, the replay cache.

Nothing here is shared between replicas: the state, the browser's cookie and the provider's one-time code hold across
them.
"""

from __future__ import annotations

import asyncio
from collections import Counter, OrderedDict
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext

from broker.comm100 import Site
from broker.errors import Overloaded, ProviderTimedOut, TransactionSpent
from broker.oidc.cached import Clock
from broker.providers import Provider
from broker.rejected_codes import RejectedCodes
from broker.transaction import CLOCK_LEEWAY, LIFETIME

DEADLINE_SECONDS = 8.0  # of /login and of /callback, however many calls to the provider they need
MAX_IN_FLIGHT = 2000  # sign-ins being begun or completed at once, with one provider
MAX_REFUSED = 20_000  # refused sign-ins remembered
RETRY_AFTER_SECONDS = 5  # what a person is told when all places are taken


class Broker:
    """What all sign-ins of this process share.

    Args:
        sites: by id; the first is the default.
        providers: by id; those that are enabled.
        secret_keys: returns the current keys, newest first.
        clock: seconds since the epoch.
        max_in_flight: sign-ins being begun or completed at once, with one provider.
        max_refused: refused sign-ins remembered.
        deadline: seconds for one of them.
    """

    def __init__(
        self,
        *,
        sites: Mapping[str, Site],
        providers: Mapping[str, Provider],
        secret_keys: Callable[[], Sequence[str]],
        clock: Clock,
        max_in_flight: int = MAX_IN_FLIGHT,
        max_refused: int = MAX_REFUSED,
        deadline: float = DEADLINE_SECONDS,
    ) -> None:
        self.sites = sites
        self.providers = providers
        self.secret_keys = secret_keys
        self.clock = clock
        self.replays = ReplayCache(max_refused)
        self.rejected_codes = RejectedCodes(clock)
        self._max_in_flight = max_in_flight
        self._deadline = deadline
        self._in_flight: Counter[str] = Counter()

    @asynccontextmanager
    async def in_flight(
        self, provider_id: str, turn: AbstractAsyncContextManager[None] | None = None
    ) -> AsyncIterator[None]:
        """Hold one of a provider's places for sign-ins in flight, at most until the deadline.

        Args:
            provider_id: a slow provider takes no places from the others.
            turn: entered before a place is taken, and within the deadline.

        Raises:
            Overloaded: all places are taken.
            ProviderTimedOut: the deadline passed.
        """
        try:
            async with asyncio.timeout(self._deadline), turn or nullcontext():
                if self._in_flight[provider_id] >= self._max_in_flight:
                    raise Overloaded(
                        expected=f"at most {self._max_in_flight} sign-ins in flight with this provider",
                        got="more",
                        retry_after=RETRY_AFTER_SECONDS,
                    )
                self._in_flight[provider_id] += 1
                try:
                    yield
                finally:
                    self._in_flight[provider_id] -= 1
        except TimeoutError:
            raise ProviderTimedOut(expected=f"all answers within {self._deadline:g} s", got="not all") from None


class ReplayCache:
    """The sign-ins that are over: each state is consumed once, for as long as it is valid.

    Args:
        max_refused: refused sign-ins remembered. Those that got tokens are forgotten by age only.
    """

    def __init__(self, max_refused: int = MAX_REFUSED) -> None:
        self._max_refused = max_refused
        self._consumed: OrderedDict[str, float] = OrderedDict()
        self._refused: OrderedDict[str, float] = OrderedDict()

    def consume(self, transaction_id: str, now: float) -> None:
        """Mark a sign-in as over, however it ends.

        Args:
            now: seconds since the epoch.

        Raises:
            TransactionSpent: it was over already.
        """
        if transaction_id in self._consumed or transaction_id in self._refused:
            raise TransactionSpent(expected="a sign-in under way", got="a sign-in that is over")
        for remembered in (self._consumed, self._refused):
            while remembered and next(iter(remembered.values())) < now - LIFETIME - CLOCK_LEEWAY:
                remembered.popitem(last=False)
        self._consumed[transaction_id] = now

    def mark_refused(self, transaction_id: str) -> None:
        """Move a consumed sign-in without tokens to the refused ones, of which the oldest is forgotten.

        Strangers can cause many refused sign-ins. They must not push out the ones that got tokens.
        """
        consumed_at = self._consumed.pop(transaction_id, None)
        if consumed_at is None:
            return  # forgotten while it was under way: a clock was set forward
        self._refused[transaction_id] = consumed_at
        if len(self._refused) > self._max_refused:
            self._refused.popitem(last=False)
