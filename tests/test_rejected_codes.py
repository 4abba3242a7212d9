"""Rejected codes are bounded per address before the provider is asked; good sign-ins never count."""

from __future__ import annotations

import asyncio
import tracemalloc
from contextlib import AsyncExitStack

import pytest

from broker.capacity import WaitingRoom
from broker.errors import Overloaded, TooManyRejectedCodes
from broker.rejected_codes import (
    FORGET_SECONDS,
    MAX_WAITING,
    OF_MANY_PEOPLE,
    OF_ONE_ADDRESS,
    Origin,
    RejectedCodes,
    Verdict,
)
from tests.fakes.clock import Clock

STRANGER = Origin("192.0.2.66", shared=False)
OFFICE = Origin("198.51.100.1", shared=False)
PROXY = Origin("10.0.0.1", shared=True)
IMPATIENT = 0.01  # seconds a test waits where it expects a refusal
AT_ONCE = OF_ONE_ADDRESS.unjudged + OF_ONE_ADDRESS.rejected


async def calls(codes: RejectedCodes, origin: Origin, verdict: Verdict, times: int) -> int:
    """Call so often, one after the other, and return how many reached the provider."""
    return sum([await call(codes, origin, verdict) for _ in range(times)])


async def call(codes: RejectedCodes, origin: Origin, verdict: Verdict, judged: asyncio.Event | None = None) -> bool:
    try:
        async with codes.turns([origin], lambda: verdict):
            if judged is not None:
                await judged.wait()
    except TooManyRejectedCodes:
        return False
    return True


@pytest.mark.requirement("S-62")
@pytest.mark.parametrize("origin", [STRANGER, PROXY], ids=["a stranger", "people behind a proxy"])
async def test_rejected_codes_are_bounded_per_minute_and_the_refusal_says_when_the_next_may_come(
    clock: Clock, origin: Origin
) -> None:
    codes = RejectedCodes(clock)
    bound = origin.limits.rejected
    assert await calls(codes, origin, "rejected", 3 * bound) == bound
    with pytest.raises(TooManyRejectedCodes) as refusal:
        async with codes.turns([origin], lambda: "accepted"):
            pytest.fail("there was a turn")
    assert refusal.value.retry_after
    clock.advance(refusal.value.retry_after)
    assert await calls(codes, origin, "rejected", bound) == refusal.value.retry_after * bound // 60
    clock.advance(60)
    assert await calls(codes, origin, "rejected", 3 * bound) == bound


@pytest.mark.requirement("S-62")
async def test_one_address_is_bounded_and_another_is_not(clock: Clock) -> None:
    codes = RejectedCodes(clock)
    await calls(codes, STRANGER, "rejected", 100)
    assert await calls(codes, OFFICE, "accepted", 1000) == 1000


@pytest.mark.requirement("S-62")
async def test_good_sign_ins_never_count_however_many_come_at_once_and_pay_for_rejected_ones(clock: Clock) -> None:
    codes = RejectedCodes(clock)
    judged = asyncio.Event()
    office = [asyncio.create_task(call(codes, OFFICE, "accepted", judged)) for _ in range(1500)]
    await asyncio.sleep(0)
    judged.set()
    assert all(await asyncio.gather(*office))
    for _ in range(100):
        assert await calls(codes, OFFICE, "rejected", 1)
        assert await calls(codes, OFFICE, "accepted", 1)


@pytest.mark.requirement("S-62")
async def test_codes_that_are_not_judged_yet_are_bounded_and_the_waiting_are_refused_with_the_first(
    clock: Clock,
) -> None:
    """A thousand invented codes at once at a provider that takes its time."""
    codes = RejectedCodes(clock)
    judged = asyncio.Event()
    flood = [asyncio.create_task(call(codes, STRANGER, "rejected", judged)) for _ in range(1000)]
    await asyncio.sleep(0)
    judged.set()
    assert sum(await asyncio.gather(*flood)) == AT_ONCE
    assert await calls(codes, STRANGER, "accepted", 1) == 0
    clock.advance(60)
    second = [asyncio.create_task(call(codes, STRANGER, "not asked", asyncio.Event())) for _ in range(100)]
    await asyncio.sleep(0)
    assert sum(one.done() for one in second) == 0, "they wait, or hold a turn"
    for one in second:
        one.cancel()
    await asyncio.wait(second)
    assert await calls(codes, STRANGER, "accepted", 5) == 5, "no turn is lost with a wait that was broken off"


@pytest.mark.requirement("S-62")
async def test_a_callback_that_waits_for_others_to_be_judged_waits_as_long_as_its_caller_allows(clock: Clock) -> None:
    codes = RejectedCodes(clock)
    async with AsyncExitStack() as turns:
        for _ in range(AT_ONCE):
            await turns.enter_async_context(codes.turns([OFFICE], lambda: "accepted"))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(call(codes, OFFICE, "accepted"), IMPATIENT)
    assert await call(codes, OFFICE, "accepted")


@pytest.mark.requirement("S-60", "S-62")
async def test_callbacks_of_one_address_that_wait_are_bounded(clock: Clock) -> None:
    codes, judged = RejectedCodes(clock), asyncio.Event()
    crowd = [asyncio.create_task(call(codes, OFFICE, "accepted", judged)) for _ in range(AT_ONCE + MAX_WAITING)]
    await asyncio.sleep(0)
    with pytest.raises(Overloaded):
        await call(codes, OFFICE, "accepted")
    judged.set()
    assert all(await asyncio.gather(*crowd))


@pytest.mark.requirement("S-60", "S-62")
async def test_no_callback_waits_when_the_process_has_no_room_and_the_next_address_is_not_concerned(
    clock: Clock,
) -> None:
    codes, judged = RejectedCodes(clock, room=WaitingRoom(1)), asyncio.Event()
    crowd = [asyncio.create_task(call(codes, OFFICE, "accepted", judged)) for _ in range(AT_ONCE + 1)]
    await asyncio.sleep(0)
    with pytest.raises(Overloaded):
        await call(codes, OFFICE, "accepted")
    assert await call(codes, STRANGER, "accepted")
    judged.set()
    assert all(await asyncio.gather(*crowd))


@pytest.mark.requirement("S-62")
async def test_a_provider_that_answers_wrong_codes_with_its_own_trouble_is_asked_no_more_often(clock: Clock) -> None:
    codes = RejectedCodes(clock)
    assert await calls(codes, STRANGER, "unanswered", 1000) == AT_ONCE
    clock.advance(30)
    assert await calls(codes, STRANGER, "unanswered", 1000) == OF_ONE_ADDRESS.rejected // 2


@pytest.mark.requirement("S-62")
async def test_an_office_is_itself_again_right_after_an_outage(clock: Clock) -> None:
    codes = RejectedCodes(clock)
    await calls(codes, OFFICE, "unanswered", 1000)
    clock.advance(3)
    assert await calls(codes, OFFICE, "accepted", 200) == 200


@pytest.mark.requirement("S-62")
async def test_callbacks_that_ask_no_provider_count_nothing(clock: Clock) -> None:
    codes = RejectedCodes(clock)
    assert await calls(codes, STRANGER, "not asked", 1000) == 1000
    assert await calls(codes, STRANGER, "rejected", 1000) == OF_ONE_ADDRESS.rejected


@pytest.mark.requirement("S-62")
async def test_a_clock_that_is_set_back_neither_adds_nor_forgives(clock: Clock) -> None:
    codes = RejectedCodes(clock)
    await calls(codes, STRANGER, "rejected", 10)
    clock.advance(-3600)
    assert await calls(codes, STRANGER, "rejected", 100) == 10


@pytest.mark.requirement("S-62", "S-57")
async def test_so_many_addresses_are_remembered_and_a_stranger_who_goes_on_does_not_push_himself_out(
    clock: Clock,
) -> None:
    codes = RejectedCodes(clock, max_addresses=50)
    await calls(codes, STRANGER, "rejected", 100)
    for number in range(500):
        await calls(codes, Origin(f"2001:db8:0:{number:x}::/64", shared=False), "rejected", 1)
        assert await calls(codes, STRANGER, "rejected", 1) == 0
    assert len(codes._records) <= 51  # noqa: SLF001 - the memory is what is measured


@pytest.mark.requirement("S-57")
async def test_an_address_that_calls_no_more_is_forgotten(clock: Clock) -> None:
    codes = RejectedCodes(clock)
    await calls(codes, STRANGER, "rejected", 100)
    clock.advance(FORGET_SECONDS + 1)
    await calls(codes, OFFICE, "accepted", 1)
    assert list(codes._records) == [OFFICE]  # noqa: SLF001 - likewise


def test_the_bound_of_many_people_stays_below_what_providers_allow_an_organisation() -> None:
    assert OF_ONE_ADDRESS.rejected * 10 < OF_MANY_PEOPLE.rejected < 1000


@pytest.mark.requirement("S-60")
async def test_20000_addresses_take_little_memory() -> None:
    codes = RejectedCodes(Clock(0))
    tracemalloc.start()
    try:
        for number in range(20_000):
            async with codes.turns([Origin(f"10.{number >> 8}.{number & 255}.1", shared=False)], lambda: "rejected"):
                pass
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert taken < 12_000_000
