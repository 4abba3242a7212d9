"""Places for sign-ins with one provider: first come first served, callbacks before logins; and a loop that is late."""

from __future__ import annotations

import asyncio
import math
import time

import pytest

from broker.capacity import TICK_SECONDS, Kind, Lap, LoopLateness, LoopTurns, Places, ProviderTimeout

LIMIT = 2
MAX_WAITING = 3
LATE = 0.2  # seconds that the event loop stands still
NOW = Lap(0.0, 0.0)


def places() -> Places:
    return Places(LIMIT, MAX_WAITING)


async def full() -> Places:
    of = places()
    for _ in range(LIMIT):
        await of.take("callback", NOW)
    return of


async def come(of: Places, kind: Kind, served: list[str], name: str) -> asyncio.Task[None]:
    """Let a person wait for a place; a person who got the place is in `served`."""

    async def wait() -> None:
        await of.take(kind, NOW)
        served.append(name)

    person = asyncio.create_task(wait())
    await asyncio.sleep(0)
    return person


async def settle() -> None:
    for _ in range(3):
        await asyncio.sleep(0)


async def test_places_go_to_callbacks_before_logins_and_to_each_in_the_order_of_arrival() -> None:
    of, served = await full(), list[str]()
    kinds: tuple[Kind, ...] = ("login", "callback", "login", "callback")
    people = [await come(of, kind, served, f"{kind} {number}") for number, kind in enumerate(kinds)]
    for _ in people:
        of.give_back()
        await settle()
    assert served == ["callback 1", "callback 3", "login 0", "login 2"]
    assert (of.at_work, of.waiting) == (LIMIT, 0)


async def test_no_place_is_given_twice_and_none_is_lost() -> None:
    of, served = await full(), list[str]()
    people = [await come(of, "callback", served, str(number)) for number in range(2)]
    of.give_back()
    newcomer = await come(of, "callback", served, "newcomer")
    assert served == ["0"], "the newcomer does not overtake"
    for _ in range(LIMIT):
        of.give_back()
    await settle()
    assert (served, of.at_work, of.waiting) == (["0", "1", "newcomer"], LIMIT, 0)
    assert all(person.done() for person in (*people, newcomer))
    for _ in range(LIMIT):
        of.give_back()
    assert of.at_work == 0


async def test_a_person_who_goes_away_leaves_the_queue() -> None:
    of, served = await full(), list[str]()
    gone = await come(of, "callback", served, "gone")
    stays = await come(of, "callback", served, "stays")
    gone.cancel()
    await settle()
    assert of.waiting == 1
    of.give_back()
    await settle()
    assert (served, stays.done(), of.at_work) == (["stays"], True, LIMIT)


@pytest.mark.parametrize("goes_first", [True, False], ids=["before the place comes", "as the place comes"])
async def test_the_place_of_a_person_who_goes_away_at_that_moment_goes_to_the_next(*, goes_first: bool) -> None:
    of, served = await full(), list[str]()
    gone = await come(of, "callback", served, "gone")
    await come(of, "callback", served, "next")
    for step in (gone.cancel, of.give_back) if goes_first else (of.give_back, gone.cancel):
        step()
    await settle()
    assert (served, of.at_work, of.waiting) == (["next"], LIMIT, 0)


async def test_the_queue_is_bounded_and_tells_the_longest_wait() -> None:
    of = await full()
    people, was_full = [], [of.is_full]
    assert of.waiting == 0
    for second in (2.0, 1.0, 3.0):
        people.append(asyncio.create_task(of.take("login" if second < 2 else "callback", Lap(second, 0.0))))
        await asyncio.sleep(0)
        was_full.append(of.is_full)
    assert was_full == [False] * MAX_WAITING + [True]
    assert of.longest_wait == Lap(1.0, 0.0)
    for person in people:
        person.cancel()
    await settle()
    assert of.waiting == 0


async def seconds_to_leave(count: int) -> float:
    """Let so many people wait, then leave, the last first; return the CPU time of leaving."""
    of = Places(1, count)
    await of.take("callback", NOW)
    people = [asyncio.create_task(of.take("callback", NOW)) for _ in range(count)]
    await asyncio.sleep(0)
    began = time.process_time()
    for person in reversed(people):
        person.cancel()
    await settle()
    assert of.waiting == 0
    return time.process_time() - began


async def test_waiting_people_leave_in_any_order_without_a_search() -> None:
    """A search would make ten times as many people take a hundred times as long."""
    few = max([await seconds_to_leave(1_000) for _ in range(3)])
    assert await seconds_to_leave(10_000) < 40 * few


async def test_the_time_that_a_loop_stands_still_counts_as_late() -> None:
    lateness = LoopLateness()
    with lateness:
        lap = lateness.lap()
        time.sleep(LATE)  # noqa: ASYNC251 - the loop has to stand still
        assert lateness.lap().late - lap.late == pytest.approx(LATE - TICK_SECONDS, abs=LATE / 2)
        await asyncio.sleep(0)
        assert lateness.lap().late - lap.late >= LATE - 2 * TICK_SECONDS


async def test_what_was_late_before_and_between_the_blocks_does_not_count() -> None:
    lateness = LoopLateness()
    with lateness:
        time.sleep(LATE)  # noqa: ASYNC251 - the loop has to stand still
        await asyncio.sleep(0)
    time.sleep(LATE)  # noqa: ASYNC251 - the loop has to stand still
    with lateness:
        lap = lateness.lap()
        with lateness:
            pass
        assert lateness.lap().late - lap.late < LATE / 2


async def test_a_turn_of_the_event_loop_has_room_for_a_few_callers_and_the_others_follow_in_their_order() -> None:
    turns, turn = LoopTurns(2), [0]
    came: list[tuple[int, int]] = []

    async def caller(number: int) -> None:
        await turns.take()
        came.append((number, turn[0]))

    callers = [asyncio.create_task(caller(number)) for number in range(6)]
    while len(came) < 6:
        turn[0] += 1
        await asyncio.sleep(0)
    assert [number for number, _ in came] == list(range(6))
    assert max([at for _, at in came].count(each) for _, each in came) == 2
    await asyncio.gather(*callers)
    assert turns.has_room


async def test_a_caller_that_gave_up_takes_no_turn() -> None:
    turns = LoopTurns(1)
    first, gave_up, waits = (asyncio.create_task(turns.take()) for _ in range(3))
    await asyncio.sleep(0)
    assert first.done()
    gave_up.cancel()
    await waits
    assert gave_up.cancelled()


async def stall_and_wait(limit: ProviderTimeout, stalled: float = 0.5) -> None:
    async with limit:
        time.sleep(stalled)  # noqa: ASYNC251 - the loop is late
        await asyncio.sleep(10)


@pytest.mark.parametrize(
    ("most_late", "least", "most"),
    [
        pytest.param(math.inf, 0.6, 3, id="the provider has its whole time besides"),
        pytest.param(0.1, 0.5, 0.6, id="up to a bound"),
    ],
)
async def test_time_by_which_the_event_loop_was_late_is_not_the_providers(
    most_late: float, least: float, most: float
) -> None:
    began = time.monotonic()
    with pytest.raises(TimeoutError):
        await stall_and_wait(ProviderTimeout(0.2, LoopLateness(), most_late=most_late))
    assert least < time.monotonic() - began < most
