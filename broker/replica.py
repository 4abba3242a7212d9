"""What one running broker holds: the configured sites and providers, and a bounded memory of its sign-ins.

Nothing here has to be shared with other replicas: what must hold across them is in the signed state, in the browser's
cookie, and in the provider's one-time code.
"""

from __future__ import annotations

import asyncio
from collections import Counter, OrderedDict
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext

from broker.comm100 import Site
from broker.errors import Overloaded, ProviderTimedOut, TransactionSpent
from broker.oidc.discovery import Clock
from broker.providers import Provider
from broker.rejected_codes import RejectedCodes
from broker.signing import CLOCK_LEEWAY
from broker.transaction import LIFETIME

DEADLINE_SECONDS = 8.0  # of /login and of /callback, however many calls to the provider they need
MAX_IN_FLIGHT = 2000  # sign-ins being begun or completed at once, with one provider
MAX_REFUSED = 20_000  # refused sign-ins remembered
RETRY_AFTER_SECONDS = 5  # what a person is told when all places are taken


class Broker:
    """What all sign-ins of this process share.

    Args:
        sites: by id; the first is the default.
        providers: by id.
        secret_keys: gives the keys of the moment, newest first.
        clock: seconds since the epoch.
        max_in_flight: sign-ins being begun or completed at once, with one provider.
        max_refused: refused sign-ins remembered; those that got tokens are remembered by age alone.
        deadline: seconds one of them may take.

    Attributes:
        rejected_codes: counts them by browser address.
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
        self._max_in_flight = max_in_flight
        self._max_refused = max_refused
        self._deadline = deadline
        self._in_flight: Counter[str] = Counter()
        self._consumed: OrderedDict[str, float] = OrderedDict()
        self._refused: OrderedDict[str, float] = OrderedDict()
        self.rejected_codes = RejectedCodes(clock)

    @asynccontextmanager
    async def place(
        self, provider_id: str, turn: AbstractAsyncContextManager[None] | None = None
    ) -> AsyncIterator[None]:
        """Hold one of a provider's places for sign-ins in flight, for no longer than the deadline.

        Args:
            provider_id: whose; a slow provider takes no places from the others.
            turn: entered before a place is taken, and within the deadline.

        Raises:
            Overloaded: all of them are taken.
            ProviderTimedOut: the deadline passed.
        """
        try:
            async with asyncio.timeout(self._deadline), turn or nullcontext():
                if self._in_flight[provider_id] >= self._max_in_flight:
                    raise Overloaded(
                        expected=f"at most {self._max_in_flight} sign-ins in flight with this provider",
                        got=f"{self._in_flight[provider_id]} in flight",
                        retry_after=RETRY_AFTER_SECONDS,
                    )
                self._in_flight[provider_id] += 1
                try:
                    yield
                finally:
                    self._in_flight[provider_id] -= 1
        except TimeoutError:
            raise ProviderTimedOut(expected=f"all answers within {self._deadline:g} s", got="not all") from None

    def consume(self, transaction_id: str, now: float) -> None:
        """Mark a sign-in as over, whatever comes of it, for as long as its state is believed.

        This replica remembers it here; across replicas, the provider's one-time code and the deleted cookie do.

        Args:
            transaction_id: of the sign-in.
            now: seconds since the epoch.

        Raises:
            TransactionSpent: it was over already.
        """
        if transaction_id in self._consumed or transaction_id in self._refused:
            raise TransactionSpent(expected="a sign-in under way", got="one that is over")
        for remembered in (self._consumed, self._refused):
            while remembered and next(iter(remembered.values())) < now - LIFETIME - CLOCK_LEEWAY:
                remembered.popitem(last=False)
        self._consumed[transaction_id] = now

    def remember_as_refused(self, transaction_id: str) -> None:
        """Remember a sign-in without tokens apart: strangers can cause many, so of too many the oldest is forgotten.

        Args:
            transaction_id: of the sign-in, spent before.
        """
        spent_at = self._consumed.pop(transaction_id, None)
        if spent_at is None:
            return  # its time ran out while it was under way: a clock was set forward
        self._refused[transaction_id] = spent_at
        if len(self._refused) > self._max_refused:
            self._refused.popitem(last=False)
