"""A provider's metadata and keys, cached between sign-ins: concurrent sign-ins share one fetch.

`Cached` decides when to fetch again, for any document. `Discovery` fetches the two documents.
"""

from __future__ import annotations

import asyncio
import json
import logging
import random
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

from broker.errors import BrokerError, ProviderUnreachable
from broker.oidc.health import ProviderHealth
from broker.oidc.keys import KeySet, build_keys_request, check_keys
from broker.oidc.messages import JsonObject, ProviderRequest, ProviderResponse
from broker.oidc.metadata import ProviderMetadata, build_discovery_request, check_discovery
from broker.oidc.registration import PROTOCOL_PARAMETERS, Registration

METADATA_LIFETIME = 3600.0  # seconds
LIFETIME_SPREAD = 0.2  # the part of a lifetime that differs, so that not all providers are fetched at the same instant
RETRY_MISSING_SECONDS = 1.0  # between attempts while there is no document
RETRY_STALE_SECONDS = 60.0  # between attempts while there is an old document
STALE_WAIT_SECONDS = 1.0  # waiting for a newer document while there is an old document
FIRST_WAIT_SECONDS = 1.0  # after a refetch that did not help; then twice as long each time
LONGEST_WAIT_SECONDS = 60.0
QUIET_SECONDS = 2 * LONGEST_WAIT_SECONDS  # without a refetch, after which the waits begin anew
MAX_RESETS = 5  # of the waits by refetches that helped; another reset comes each LONGEST_WAIT_SECONDS

Send = Callable[[ProviderRequest], Awaitable[ProviderResponse]]
Clock = Callable[[], float]  # seconds since the epoch
Sleep = Callable[[float], Awaitable[None]]
Document = TypeVar("Document")

_log = logging.getLogger("broker")


class _Refetches:
    """Says when a document may be fetched again before its time: at once, then after 1, 2, 4 ... 60 seconds.

    A provider whose answers alternate would make each refetch help: after a few of them there is a wait again.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._last: float | None = None
        self._wait = 0.0
        self._resets = float(MAX_RESETS)
        self._last_reset: float | None = None
        self.count = 0

    def seconds_to_wait(self) -> float:
        """Return how long it is until the next refetch."""
        if self._last is None:
            return 0.0
        passed = self._clock() - self._last
        if not 0 <= passed < QUIET_SECONDS:  # or the clock was set back
            self._wait = 0.0
            return 0.0
        return max(self._wait - passed, 0.0)

    def begin(self) -> None:
        """Note that a refetch begins."""
        self.count += 1
        self._last = self._clock()
        self._wait = min(2 * self._wait or FIRST_WAIT_SECONDS, LONGEST_WAIT_SECONDS)

    def helped(self) -> None:
        """Allow the next refetch at once, unless too many have helped lately."""
        if self._wait == 0:
            return
        now = self._clock()
        since = 0.0 if self._last_reset is None else max(now - self._last_reset, 0.0)
        self._resets, self._last_reset = min(self._resets + since / LONGEST_WAIT_SECONDS, MAX_RESETS), now
        self._wait = 0.0 if self._resets >= 1 else FIRST_WAIT_SECONDS
        self._resets -= 1 if self._wait == 0 else 0


@dataclass(frozen=True, slots=True)
class _Kept(Generic[Document]):
    """A good document.

    Args:
        fetched: seconds since the epoch.
        lifetime: seconds for which the document is fresh.
        trusted_until: seconds since the epoch, for a restored document; None for a document fetched by this process.
    """

    document: Document
    fetched: float
    lifetime: float
    trusted_until: float | None = None


class Cached(Generic[Document]):
    """The last good document, and the fetch under way that all callers share.

    Args:
        fetch: returns the document and its lifetime in seconds.
    """

    def __init__(
        self,
        fetch: Callable[[], Awaitable[tuple[Document, float]]],
        clock: Clock,
        *,
        retry_missing: float = RETRY_MISSING_SECONDS,
        retry_stale: float = RETRY_STALE_SECONDS,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self._fetch = fetch
        self._clock = clock
        self._retry_missing = retry_missing
        self._retry_stale = retry_stale
        self._sleep = sleep
        self._kept: _Kept[Document] | None = None
        self._refetches = _Refetches(clock)
        self._last_attempt: float | None = None
        self._failure: BrokerError | None = None
        self._flight: asyncio.Task[None] | None = None

    @property
    def failure(self) -> BrokerError | None:
        """Return the error of the last attempt; None if it succeeded."""
        return self._failure

    @property
    def fetched(self) -> float:
        """Return when the last good document came, in seconds since the epoch; 0 without a document."""
        return self._kept.fetched if self._kept else 0.0

    @property
    def fresh_until(self) -> float:
        """Return when the last good document will be refetched, in seconds since the epoch; 0 without a document."""
        return self._kept.fetched + self._kept.lifetime if self._kept else 0.0

    @property
    def is_restored(self) -> bool:
        """Whether the document is a restored one, because no fetch has succeeded yet."""
        return self.peek() is not None and self._kept is not None and self._kept.trusted_until is not None

    def peek(self) -> Document | None:
        """Return the last good document without fetching anything; a restored one until its time is over."""
        kept = self._kept
        if kept is None:
            return None
        if kept.trusted_until is not None and self._clock() >= kept.trusted_until:
            self._kept = None
            return None
        return kept.document

    def fresh(self) -> Document | None:
        """Return the kept document while it is fresh, without fetching anything."""
        kept = self._kept
        return kept.document if kept is not None and _within(self._clock(), kept.fetched, kept.lifetime) else None

    def restore(self, document: Document, *, fetched: float, trusted_until: float) -> None:
        """Keep the document of an earlier process, which counts as stale, until a fetch succeeds.

        Args:
            fetched: seconds since the epoch, as is `trusted_until`.
        """
        if self._kept is None:
            self._kept = _Kept(document, fetched, lifetime=0.0, trusted_until=trusted_until)

    def adopt(self, other: Cached[Document]) -> None:
        """Take the document of another cache of the same address, with its age."""
        self._kept = other._kept

    async def get(self, *, stale_wait: float | None = STALE_WAIT_SECONDS) -> Document:
        """Return the kept document while it is fresh, then a new document; if the fetch fails, the kept document.

        Args:
            stale_wait: seconds of waiting for a newer document; None waits until the fetch ends. The wait is short: a
                provider whose documents hang must not cost sign-ins that the old document allows.

        Raises:
            BrokerError: there is no document, and the last attempt failed.
        """
        if (fresh := self.fresh()) is not None:
            return fresh
        if self.peek() is None:
            await self._attempt(self._retry_missing)
        elif not self.is_restored:
            await self._attempt(self._retry_stale, stale_wait=stale_wait)
        elif stale_wait is None:  # sign-ins leave it to keep_warm: none of them waits for a provider that is down
            await self._attempt(self._retry_missing)
        if self._kept is None:
            raise self._why_missing()
        return self._kept.document

    async def refetch(self, outdated: Document) -> Document | None:
        """Return the document after an attempt to fetch a newer version; None if it is too early for an attempt.

        The first attempt is made at once. After attempts that did not help, the next follows after 1, 2, 4 ... 60
        seconds; a caller at most one second early waits.

        Args:
            outdated: the document that did not help; nothing is fetched if the kept document is newer.

        Raises:
            BrokerError: there is no document.
        """
        kept = self.peek()
        if kept is None:
            return await self.get()
        if kept is not outdated:
            return kept
        if self._flight is None and (wait := self._refetches.seconds_to_wait()) > 0:
            if wait > STALE_WAIT_SECONDS:
                return None
            before = self._refetches.count
            await self._sleep(wait)
            if self._refetches.count != before and self._flight is None:
                return self.peek()  # another caller fetched during the wait
        if self._flight is None:
            self._refetches.begin()
        await self._attempt(0)
        return self.peek()

    async def renew(self) -> None:
        """Fetch the document now, whatever its age, but at most once a second."""
        await self._attempt(self._retry_missing)

    def refetch_helped(self) -> None:
        """Allow the next refetch at once, because the last one helped."""
        self._refetches.helped()

    async def _attempt(self, interval: float, *, stale_wait: float | None = None) -> None:
        if self._flight is None:
            if _within(self._clock(), self._last_attempt, interval):
                return
            self._last_attempt = self._clock()
            self._flight = asyncio.create_task(self._fetch_once())
        # Waited for, not awaited: a cancelled caller must not cancel the fetch for the others.
        done, _ = await asyncio.wait({self._flight}, timeout=stale_wait)
        for flight in done:
            flight.result()  # a defect in a fetch shows here

    async def _fetch_once(self) -> None:
        try:
            document, lifetime = await self._fetch()
        except BrokerError as failure:
            self._failure = failure
        else:
            self._kept, self._failure = _Kept(document, self._clock(), lifetime), None
        finally:
            self._flight = None

    def _why_missing(self) -> BrokerError:
        failure = self._failure
        if failure is None:
            return ProviderUnreachable(expected="a document", got="a fetch broken off")
        return type(failure)(
            expected=failure.expected, got=failure.got, remedy=failure.remedy, retry_after=failure.retry_after
        )


def _within(now: float, then: float | None, interval: float) -> bool:
    return then is not None and 0 <= now - then < interval


@dataclass(frozen=True, slots=True)
class Stored:
    """A document of an earlier process, unverified, and when it was fetched, in seconds since the epoch."""

    document: JsonObject
    fetched: float


class Discovery:
    """One provider's metadata and keys, shared by all sign-ins.

    Args:
        chance: returns a number from 0 to 1: how much of `LIFETIME_SPREAD` a document's lifetime is shorter.
        health: notes what became of each fetch.
    """

    def __init__(
        self,
        registration: Registration,
        send: Send,
        clock: Clock,
        sleep: Sleep = asyncio.sleep,
        *,
        chance: Callable[[], float] = random.random,
        health: ProviderHealth | None = None,
    ) -> None:
        self._registration = registration
        self._send = send
        self._clock = clock
        self._chance = chance
        self.health = health or ProviderHealth(clock)
        self._ignored: tuple[str, ...] = ()
        self.metadata: Cached[ProviderMetadata] = Cached(self._fetch_metadata, clock, sleep=sleep)
        self.keys: Cached[KeySet] = Cached(self._fetch_keys, clock, sleep=sleep)

    def adopt(self, other: Discovery) -> None:
        """Take the documents of a discovery with the same registration, with their age, and the health of its calls."""
        self.metadata.adopt(other.metadata)
        self.keys.adopt(other.keys)
        self.health.adopt(other.health)

    async def keep_warm(self) -> None:
        """Fetch missing and old documents, so that no sign-in waits for them; return when the fetches have ended.

        Raises:
            BrokerError: a document is missing, and the fetch failed.
        """
        await self.metadata.get(stale_wait=None)
        await self.keys.get(stale_wait=None)

    async def probe(self) -> None:
        """Fetch the keys now, whatever their age: so an outage is noticed while no person signs in."""
        await self.keys.renew()

    async def retry_failing(self) -> None:
        """Fetch each document now whose last fetch failed."""
        if self.health.is_failing("metadata"):
            await self.metadata.renew()
        if self.health.is_failing("keys"):
            await self.keys.renew()

    @property
    def snapshot_age(self) -> float | None:
        """Return the age in seconds of the oldest restored document in use; None if there is none."""
        fetched = [one.fetched for one in (self.metadata, self.keys) if one.is_restored]
        return max(self._clock() - min(fetched), 0.0) if fetched else None

    def restore(self, metadata: Stored, keys: Stored, *, max_age: float) -> None:
        """Use the documents of an earlier process until the provider answers, after the checks of an answer.

        Args:
            max_age: seconds since a document was fetched, after which it is no longer used.

        Raises:
            BrokerError: a document fails a check; then none is used.
        """
        checked_metadata = self._check_metadata(_as_answer(metadata.document))
        checked_keys, _ = check_keys(_as_answer(keys.document))
        self.metadata.restore(checked_metadata, fetched=metadata.fetched, trusted_until=metadata.fetched + max_age)
        self.keys.restore(checked_keys, fetched=keys.fetched, trusted_until=keys.fetched + max_age)

    def _spread(self, lifetime: float) -> float:
        return lifetime * (1 - LIFETIME_SPREAD * self._chance())

    async def _fetch_metadata(self) -> tuple[ProviderMetadata, float]:
        request = build_discovery_request(self._registration.issuer, self._registration.metadata_url)
        with self._noted("metadata"):
            metadata = self._check_metadata(await self._send(request))
        if metadata.ignored != self._ignored:
            self._ignored = metadata.ignored
            facts = {"issuer": metadata.issuer, "ignored": metadata.ignored}
            _log.warning("members of the discovery document are ignored", extra={"facts": facts})
        return metadata, self._spread(METADATA_LIFETIME)

    def _check_metadata(self, answer: ProviderResponse) -> ProviderMetadata:
        return check_discovery(
            answer,
            expected_issuer=self._registration.metadata_issuer,
            allow_loopback=self._registration.allow_loopback,
            own_parameters=PROTOCOL_PARAMETERS | self._registration.authorization_parameters.keys(),
        )

    async def _fetch_keys(self) -> tuple[KeySet, float]:
        metadata = await self.metadata.get()
        with self._noted("keys"):
            keys, lifetime = check_keys(await self._send(build_keys_request(metadata.jwks_uri)))
        return keys, self._spread(lifetime)

    @contextmanager
    def _noted(self, call: Literal["metadata", "keys"]) -> Iterator[None]:
        try:
            yield
        except BrokerError as error:
            self.health.note(call, error)
            raise
        self.health.note(call, None)


def _as_answer(document: JsonObject) -> ProviderResponse:
    """Return a stored document as the provider's answer, so that it passes the same checks."""
    return ProviderResponse(200, "application/json", json.dumps(document).encode())
