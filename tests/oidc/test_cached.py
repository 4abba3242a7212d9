"""One fetch for everyone, no storm, and the last good document kept (S-43, S-44)."""

from __future__ import annotations

import asyncio
import time

import pytest

from broker.errors import BrokerError, KeysInvalid, ProviderFailing, ProviderUnreachable
from broker.oidc.discovery import FIRST_WAIT_SECONDS, MAX_RESETS, QUIET_SECONDS, STALE_WAIT_SECONDS, Cached
from tests.fakes.clock import START, Clock

LIFETIME = 100.0


class Source:
    """Gives a document numbered by the fetch, or fails, or makes everyone wait.

    Args:
        failure: raised instead of an answer, while set.
        gate: waited for before each answer.
    """

    def __init__(self) -> None:
        self.fetches = 0
        self.failure: Exception | None = None
        self.gate = asyncio.Event()
        self.gate.set()

    async def __call__(self) -> tuple[str, float]:
        self.fetches += 1
        number = self.fetches
        await self.gate.wait()
        if self.failure is not None:
            raise self.failure
        return f"document {number}", LIFETIME


@pytest.fixture
def source() -> Source:
    return Source()


@pytest.fixture
def cached(source: Source, clock: Clock) -> Cached[str]:
    return Cached(source, clock, retry_missing=1, retry_stale=60, sleep=clock.sleep)


def latest(cached: Cached[str]) -> str:
    """Return the very document kept now: one is told from another by identity."""
    return cached.peek() or "nothing"


async def settle() -> None:
    """Let everything that can go on go on."""
    for _ in range(5):
        await asyncio.sleep(0)


async def test_a_fresh_document_is_fetched_once(cached: Cached[str], source: Source, clock: Clock) -> None:
    assert await cached.get() == "document 1"
    clock.advance(LIFETIME - 1)
    assert await cached.get() == "document 1"
    assert source.fetches == 1


@pytest.mark.requirement("S-44")
async def test_an_old_document_is_fetched_again(cached: Cached[str], clock: Clock) -> None:
    await cached.get()
    clock.advance(LIFETIME)
    assert await cached.get() == "document 2"


async def test_peeking_fetches_nothing(cached: Cached[str], source: Source) -> None:
    assert cached.peek() is None
    assert source.fetches == 0
    await cached.get()
    assert cached.peek() == "document 1"


async def test_everyone_who_waits_shares_one_fetch(cached: Cached[str], source: Source) -> None:
    source.gate.clear()
    waiting = [asyncio.create_task(cached.get()) for _ in range(50)]
    await settle()
    source.gate.set()
    assert set(await asyncio.gather(*waiting)) == {"document 1"}
    assert source.fetches == 1


async def test_everyone_who_waits_shares_one_failure(cached: Cached[str], source: Source) -> None:
    source.gate.clear()
    source.failure = ProviderFailing(expected=200, got=503, retry_after=9)
    source.failure.remedy = "Do this."  # of this cause
    waiting = [asyncio.create_task(cached.get()) for _ in range(50)]
    await settle()
    source.gate.set()
    failures = await asyncio.gather(*waiting, return_exceptions=True)
    assert source.fetches == 1
    for failure in failures:
        assert isinstance(failure, ProviderFailing)
        assert (failure.expected, failure.got, failure.retry_after) == (200, 503, 9)
        assert failure.remedy == "Do this."
    assert len({id(failure) for failure in failures}) == 50  # each person's error has a traceback of its own


async def test_one_who_gives_up_takes_the_document_from_nobody(cached: Cached[str], source: Source) -> None:
    source.gate.clear()
    first, second = asyncio.create_task(cached.get()), asyncio.create_task(cached.get())
    await settle()
    first.cancel()
    await settle()
    assert first.cancelled()
    source.gate.set()
    assert await second == "document 1"
    assert source.fetches == 1


async def test_the_fetch_goes_on_when_everyone_gave_up(cached: Cached[str], source: Source) -> None:
    source.gate.clear()
    only = asyncio.create_task(cached.get())
    await settle()
    only.cancel()
    await settle()
    source.gate.set()
    await settle()
    assert cached.peek() == "document 1"
    assert await cached.get() == "document 1"
    assert source.fetches == 1


@pytest.mark.requirement("S-44")
async def test_while_there_is_none_it_is_tried_once_a_second(cached: Cached[str], source: Source, clock: Clock) -> None:
    source.failure = ProviderUnreachable()
    for _ in range(20):
        with pytest.raises(ProviderUnreachable):
            await cached.get()
    assert source.fetches == 1
    clock.advance(0.9)
    with pytest.raises(ProviderUnreachable):
        await cached.get()
    assert source.fetches == 1
    clock.advance(0.1)
    source.failure = None
    assert await cached.get() == "document 2"
    assert cached.failure is None


@pytest.mark.requirement("S-44", "S-43")
@pytest.mark.parametrize("failure", [ProviderFailing(got=503), KeysInvalid(got="none usable")], ids=lambda e: e.code)
async def test_a_failed_renewal_keeps_the_last_good_document(
    cached: Cached[str], source: Source, clock: Clock, failure: BrokerError
) -> None:
    await cached.get()
    clock.advance(LIFETIME)
    source.failure = failure
    assert await cached.get() == "document 1"
    assert cached.failure is failure
    assert source.fetches == 2
    for _ in range(20):
        clock.advance(2.9)
        assert await cached.get() == "document 1"
    assert source.fetches == 2, "an old document is renewed at most once a minute"
    source.failure = None
    clock.advance(2.1)
    assert await cached.get() == "document 3"
    assert cached.failure is None


async def refetches_at(cached: Cached[str], clock: Clock, seconds: float) -> list[float]:
    """Ask for a newer document all the time, none of which helps; return when one was asked for."""
    began, asked = clock.now, []
    kept = await cached.get()
    while clock.now - began < seconds:
        newer = await cached.refetch(kept)
        if newer is not None and newer is not kept:
            asked.append(clock.now - began)
            kept = newer
        clock.advance(1 / 8)
    return asked


@pytest.mark.requirement("S-43")
async def test_refetches_that_do_not_help_come_less_and_less_often(
    cached: Cached[str], source: Source, clock: Clock
) -> None:
    """The first fetch is not a refetch; who comes a second before the next one waits for it."""
    asked = await refetches_at(cached, clock, 250)
    assert [round(moment) for moment in asked] == [0, 1, 3, 7, 15, 31, 63, 123, 183, 243]
    assert source.fetches == 1 + len(asked)


@pytest.mark.requirement("S-43")
async def test_a_refetch_that_helped_is_followed_by_the_next_at_once(
    cached: Cached[str], source: Source, clock: Clock
) -> None:
    await cached.get()
    for number in range(1, 6):
        assert await cached.refetch(latest(cached)) == f"document {number + 1}"
        cached.refetch_helped()
    assert (source.fetches, clock.now) == (6, START)


@pytest.mark.requirement("S-43")
async def test_documents_that_alternate_are_not_fetched_without_end(
    cached: Cached[str], source: Source, clock: Clock
) -> None:
    """A provider whose key documents alternate makes each refetch help."""
    kept = await cached.get()
    for _ in range(200):
        kept = await cached.refetch(kept) or kept
        cached.refetch_helped()
    seconds = clock.now - START
    assert seconds > 180
    assert source.fetches <= 1 + MAX_RESETS + seconds + seconds / 60 + 1


@pytest.mark.requirement("S-43")
async def test_after_a_quiet_time_a_refetch_is_made_at_once_again(
    cached: Cached[str], source: Source, clock: Clock
) -> None:
    await refetches_at(cached, clock, 64)
    fetches, kept = source.fetches, cached.peek() or ""
    assert await cached.refetch(kept) is None
    clock.advance(QUIET_SECONDS)
    began = clock.now
    newer = await cached.refetch(kept)
    assert newer is not None
    assert await cached.refetch(newer) not in (None, newer)
    assert (source.fetches, clock.now - began) == (fetches + 2, 1)


async def test_a_document_newer_than_the_one_that_did_not_do_is_not_fetched_again(
    cached: Cached[str], source: Source
) -> None:
    await cached.get()
    assert await cached.refetch("document 0") == "document 1"
    assert source.fetches == 1


@pytest.mark.requirement("S-43")
async def test_a_refetch_of_nothing_is_the_first_fetch(cached: Cached[str], source: Source) -> None:
    assert await cached.refetch("nothing") == "document 1"
    assert await cached.refetch(latest(cached)) == "document 2"
    assert source.fetches == 2


@pytest.mark.requirement("S-43")
async def test_everyone_who_wants_a_newer_one_shares_one_refetch(cached: Cached[str], source: Source) -> None:
    await cached.get()
    source.gate.clear()
    waiting = [asyncio.create_task(cached.refetch(latest(cached))) for _ in range(50)]
    await settle()
    source.gate.set()
    assert set(await asyncio.gather(*waiting)) == {"document 2"}
    assert source.fetches == 2
    again = [asyncio.create_task(cached.refetch(latest(cached))) for _ in range(50)]
    assert set(await asyncio.gather(*again)) == {"document 3"}
    assert source.fetches == 3, "all who waited for the next one share it"


@pytest.mark.requirement("S-43")
async def test_a_failed_refetch_keeps_the_good_document_and_counts(
    cached: Cached[str], source: Source, clock: Clock
) -> None:
    await cached.get()
    source.failure = KeysInvalid()
    assert await cached.refetch(latest(cached)) == "document 1"
    assert isinstance(cached.failure, KeysInvalid)
    source.failure = None
    assert await cached.refetch(latest(cached)) == "document 3"
    assert clock.now == START + FIRST_WAIT_SECONDS


async def test_a_refetch_of_nothing_fails_as_the_fetch_does(cached: Cached[str], source: Source) -> None:
    source.failure = ProviderFailing()
    with pytest.raises(ProviderFailing):
        await cached.refetch("nothing")


async def test_a_clock_set_back_does_not_stop_renewal(cached: Cached[str], source: Source, clock: Clock) -> None:
    source.failure = ProviderUnreachable()
    with pytest.raises(ProviderUnreachable):
        await cached.get()
    clock.advance(-3600)
    source.failure = None
    assert await cached.get() == "document 2"
    assert await cached.refetch(latest(cached)) == "document 3"
    clock.advance(-3600)
    assert await cached.refetch(latest(cached)) == "document 4"


async def test_an_exception_nobody_foresaw_does_not_block_the_next_attempt(
    cached: Cached[str], source: Source, clock: Clock
) -> None:
    source.failure = ZeroDivisionError("a defect")
    with pytest.raises(ZeroDivisionError):
        await cached.get()
    with pytest.raises(ProviderUnreachable):
        await cached.get()
    source.failure = None
    clock.advance(1)
    assert await cached.get() == "document 2"


@pytest.mark.requirement("S-43", "S-44")
async def test_a_newer_document_that_hangs_is_waited_for_a_moment_and_still_taken(
    source: Source, clock: Clock, cached: Cached[str]
) -> None:
    await cached.get()
    clock.advance(LIFETIME)
    source.gate.clear()
    started = time.monotonic()
    assert await cached.get() == "document 1"
    assert STALE_WAIT_SECONDS <= time.monotonic() - started < STALE_WAIT_SECONDS + 5
    source.gate.set()
    await settle()
    assert cached.peek() == "document 2"
    assert source.fetches == 2


@pytest.mark.requirement("S-44")
async def test_the_first_document_is_waited_for_with_more_patience(source: Source, cached: Cached[str]) -> None:
    source.gate.clear()
    waiting = asyncio.create_task(cached.get())
    await asyncio.sleep(STALE_WAIT_SECONDS + 0.2)
    assert not waiting.done()
    source.gate.set()
    assert await waiting == "document 1"
