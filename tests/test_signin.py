"""What one replica holds: places in flight for each provider, their deadline, and the sign-ins that are over."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack

import pytest

from broker.errors import Overloaded, ProviderTimedOut, TransactionSpent
from broker.signin import Broker
from broker.signing import CLOCK_LEEWAY
from broker.transaction import LIFETIME
from tests.fakes.clock import START, Clock

MAX_IN_FLIGHT = 3
MAX_REFUSED = 5
DEADLINE = 0.05  # seconds
LONG = 3600.0  # seconds nobody waits


def broker(*, deadline: float = LONG) -> Broker:
    return Broker(
        sites={},
        providers={},
        secret_keys=lambda: ["0" * 32],
        clock=Clock(),
        max_in_flight=MAX_IN_FLIGHT,
        max_refused=MAX_REFUSED,
        deadline=deadline,
    )


async def take_all(places: AsyncExitStack, of: Broker, provider: str) -> None:
    for _ in range(MAX_IN_FLIGHT):
        await places.enter_async_context(of.in_flight(provider))


async def assert_full(of: Broker, provider: str) -> None:
    with pytest.raises(Overloaded) as refusal:
        async with of.in_flight(provider):
            pytest.fail("there was a place")
    assert refusal.value.expected == f"at most {MAX_IN_FLIGHT} sign-ins in flight with this provider"
    assert refusal.value.retry_after == 5


async def test_a_sign_in_more_than_there_are_places_is_refused() -> None:
    replica = broker()
    async with AsyncExitStack() as places:
        await take_all(places, replica, "okta")
        await assert_full(replica, "okta")
        await assert_full(replica, "okta")


async def test_one_providers_sign_ins_take_no_place_from_another() -> None:
    replica = broker()
    async with AsyncExitStack() as places:
        await take_all(places, replica, "okta")
        await take_all(places, replica, "entra")
        await assert_full(replica, "okta")
        await assert_full(replica, "entra")


async def leave_well(replica: Broker) -> None:
    async with replica.in_flight("okta"):
        pass


async def leave_with_an_error(replica: Broker) -> None:
    with pytest.raises(ZeroDivisionError):
        async with replica.in_flight("okta"):
            raise ZeroDivisionError


async def leave_too_late(replica: Broker) -> None:
    with pytest.raises(ProviderTimedOut):
        async with replica.in_flight("okta"):
            await asyncio.sleep(LONG)


async def give_up(replica: Broker) -> None:
    async def hold() -> None:
        async with replica.in_flight("okta"):
            await asyncio.sleep(LONG)

    person = asyncio.create_task(hold())
    await asyncio.sleep(0)
    person.cancel()
    await asyncio.wait({person})
    assert person.cancelled()


@pytest.mark.parametrize(
    ("leave", "deadline"),
    [
        pytest.param(leave_well, LONG, id="done"),
        pytest.param(leave_with_an_error, LONG, id="refused"),
        pytest.param(leave_too_late, DEADLINE, id="too late"),
        pytest.param(give_up, LONG, id="the person gave up"),
    ],
)
async def test_a_place_is_free_again_however_a_sign_in_ends(
    leave: Callable[[Broker], Awaitable[None]], deadline: float
) -> None:
    replica = broker(deadline=deadline)
    for _ in range(MAX_IN_FLIGHT + 1):
        await leave(replica)


async def many_short_waits() -> None:
    for _ in range(1000):
        await asyncio.sleep(DEADLINE / 10)


@pytest.mark.requirement("S-42")
async def test_a_sign_in_beyond_its_deadline_is_broken_off_with_the_reason() -> None:
    """Many short waits count as one long one: the deadline is for all calls together."""
    with pytest.raises(ProviderTimedOut) as refusal:
        async with broker(deadline=DEADLINE).in_flight("okta"):
            await many_short_waits()
    assert (refusal.value.expected, refusal.value.got) == ("all answers within 0.05 s", "not all")


@pytest.mark.requirement("S-03")
async def test_a_sign_in_is_over_once() -> None:
    replica = broker()
    replica.replays.consume("one", START)
    replica.replays.consume("another", START)
    for _ in range(2):
        with pytest.raises(TransactionSpent):
            replica.replays.consume("one", START + LIFETIME)


@pytest.mark.requirement("S-03")
async def test_a_sign_in_that_is_over_is_remembered_for_as_long_as_its_state_is_believed_and_then_forgotten() -> None:
    replica = broker()
    for one in ("completed", "refused"):
        replica.replays.consume(one, START)
    replica.replays.mark_refused("refused")
    end = START + LIFETIME + CLOCK_LEEWAY
    replica.replays.consume("another", end)
    for one in ("completed", "refused"):
        with pytest.raises(TransactionSpent):
            replica.replays.consume(one, end)
    replica.replays.consume("one more", end + 1)
    for one in ("completed", "refused"):
        replica.replays.consume(one, end + 1)


@pytest.mark.requirement("S-03", "S-57")
async def test_refused_sign_ins_push_out_the_oldest_refused_ones_and_never_a_completed_one() -> None:
    replica = broker()
    replica.replays.consume("completed", START)
    first, *others = (f"refused {number}" for number in range(MAX_REFUSED + 1))
    for one in (first, *others):
        replica.replays.consume(one, START)
        replica.replays.mark_refused(one)
    for one in ("completed", *others):
        with pytest.raises(TransactionSpent):
            replica.replays.consume(one, START)
    replica.replays.consume(first, START)


async def test_a_sign_in_whose_time_runs_out_while_it_is_under_way_is_refused_without_a_defect() -> None:
    """The clock was set forward meanwhile."""
    replica = broker()
    replica.replays.consume("one", START)
    replica.replays.consume("another", START + 2 * LIFETIME)
    replica.replays.mark_refused("one")
    replica.replays.consume("one", START + 2 * LIFETIME)
