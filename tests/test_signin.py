"""What one replica holds: sign-ins in flight, their wait and their deadline, and the sign-ins that are over."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager

import pytest

from broker.errors import (
    BrokerError,
    Overloaded,
    OverloadedByProvider,
    ProviderTimedOut,
    TooManyRejectedCodes,
    TransactionSpent,
)
from broker.rejected_codes import Origin, Verdict
from broker.replica import PERIOD_SECONDS, Broker
from broker.signing import CLOCK_LEEWAY
from broker.transaction import LIFETIME
from tests.fakes.clock import START, Clock

AT_WORK = 3
MAX_WAITING = 2
MAX_REFUSED = 5
DEADLINE = 0.1  # seconds
WAIT = 0.1  # seconds
LONG = 3600.0  # seconds nobody waits
OFFICE = Origin("198.51.100.1", shared=False)


def broker(*, wait: float = LONG, deadline: float = LONG) -> Broker:
    return Broker(
        sites={},
        providers={},
        secret_keys=lambda: ["0" * 32],
        clock=Clock(),
        max_at_work=AT_WORK,
        max_waiting=MAX_WAITING,
        max_refused=MAX_REFUSED,
        wait=wait,
        deadline=deadline,
    )


@asynccontextmanager
async def all_taken(of: Broker, *providers: str) -> AsyncIterator[None]:
    """Hold all places with these providers."""
    async with AsyncExitStack() as places:
        for provider in providers:
            for _ in range(AT_WORK):
                await places.enter_async_context(of.in_flight(provider, "callback"))
        yield


async def refusal_of(of: Broker, provider: str) -> Overloaded:
    with pytest.raises(Overloaded) as refusal:
        async with of.in_flight(provider, "callback"):
            pytest.fail("there was a place")
    assert refusal.value.retry_after == 5
    return refusal.value


async def hold(of: Broker, leave: asyncio.Event) -> None:
    async with of.in_flight("okta", "callback"):
        await leave.wait()


@asynccontextmanager
async def waiting(of: Broker, count: int = MAX_WAITING) -> AsyncIterator[None]:
    """Let people wait for a place until the block ends."""
    people = [asyncio.create_task(hold(of, asyncio.Event())) for _ in range(count)]
    await asyncio.sleep(0)
    yield
    for person in people:
        person.cancel()
    await asyncio.wait(people)


def stand_still(seconds: float) -> None:
    """Keep the event loop from everything else, as work of the process itself does."""
    time.sleep(seconds)


async def test_a_sign_in_more_than_there_are_places_waits_and_begins_when_a_place_is_free() -> None:
    replica, leave = broker(), asyncio.Event()
    people = [asyncio.create_task(hold(replica, leave)) for _ in range(AT_WORK + MAX_WAITING)]
    await asyncio.sleep(0)
    places = replica.places_of("okta")
    assert (places.at_work, places.waiting) == (AT_WORK, MAX_WAITING)
    leave.set()
    await asyncio.wait_for(asyncio.gather(*people), 10)
    assert (places.at_work, places.waiting) == (0, 0)


async def test_a_sign_in_without_a_place_is_refused_after_its_wait_because_the_provider_is_slow() -> None:
    """The event loop was on time: so the sign-ins at work wait for the provider."""
    replica = broker(wait=WAIT)
    async with all_taken(replica, "okta"):
        refusal = await refusal_of(replica, "okta")
    assert type(refusal) is OverloadedByProvider
    assert refusal.expected == f"a place within {WAIT} s; there are {AT_WORK} with this provider"
    assert refusal.got == f"{AT_WORK} at work, 0 waiting; waited {WAIT} s"


async def test_a_sign_in_without_a_place_is_refused_because_the_broker_is_busy_if_the_loop_was_late() -> None:
    replica = broker(wait=WAIT)
    async with all_taken(replica, "okta"):
        asyncio.get_running_loop().call_soon(stand_still, 2 * WAIT)
        assert type(await refusal_of(replica, "okta")) is Overloaded


@pytest.mark.parametrize(
    ("seconds", "error"), [(0.0, OverloadedByProvider), (WAIT, Overloaded)], ids=["a slow provider", "a late loop"]
)
async def test_a_sign_in_that_finds_the_queue_full_is_refused_at_once_for_the_reason_of_the_longest_wait(
    seconds: float, error: type[Overloaded]
) -> None:
    replica = broker()
    async with all_taken(replica, "okta"), waiting(replica):
        await asyncio.sleep(0.02)
        stand_still(seconds)
        refusal = await refusal_of(replica, "okta")
    assert type(refusal) is error
    assert refusal.got == f"{AT_WORK} at work, {MAX_WAITING} waiting; waited 0.0 s"


async def test_the_sign_ins_that_wait_in_the_process_are_bounded_and_a_free_place_is_given_even_then() -> None:
    replica = Broker(sites={}, providers={}, secret_keys=list, clock=Clock(), max_at_work=AT_WORK, max_waiting_in_all=1)
    async with all_taken(replica, "okta", "entra"), waiting(replica, 1):
        await refusal_of(replica, "entra")
        async with replica.in_flight("google", "callback"):
            pass
    async with all_taken(replica, "okta"), waiting(replica, 1):
        assert replica.places_of("okta").waiting == 1, "those who waited are counted no more"


async def test_one_providers_sign_ins_take_no_place_from_another() -> None:
    replica = broker(wait=WAIT)
    async with all_taken(replica, "okta", "entra"), waiting(replica):
        async with replica.in_flight("google", "login"):
            pass
        await refusal_of(replica, "entra")


async def test_the_wait_takes_nothing_of_the_deadline() -> None:
    replica = broker(deadline=DEADLINE)
    too_long = [hold_for(replica, LONG) for _ in range(AT_WORK)]
    waiting_so_long = [hold_for(replica, DEADLINE / 4) for _ in range(MAX_WAITING)]
    assert await asyncio.gather(*too_long, *waiting_so_long) == [False] * AT_WORK + [True] * MAX_WAITING


async def hold_for(of: Broker, seconds: float) -> bool:
    """Hold a place; tell whether the time for it was enough."""
    try:
        async with of.in_flight("okta", "callback"):
            await asyncio.sleep(seconds)
    except ProviderTimedOut:
        return False
    return True


async def test_a_turn_is_waited_for_no_longer_than_a_place_and_no_place_is_held_meanwhile() -> None:
    @asynccontextmanager
    async def turn() -> AsyncIterator[None]:
        assert replica.places_of("okta").at_work == 0
        await asyncio.sleep(LONG)
        yield

    replica = broker(wait=WAIT)
    with pytest.raises(Overloaded):
        async with replica.in_flight("okta", "callback", turn()):
            pytest.fail("there was a turn")


async def test_the_turn_of_a_sign_in_that_waits_is_in_flight_and_its_code_is_never_counted_as_rejected() -> None:
    replica, stranger = broker(wait=WAIT), Origin("192.0.2.66", shared=False)
    verdicts: list[Verdict] = []

    def verdict() -> Verdict:
        verdicts.append("not asked")
        return "not asked"

    async with all_taken(replica, "okta"):
        for _ in range(2 * stranger.limits.rejected):
            turn = replica.rejected_codes.turns([stranger], verdict)
            person = asyncio.create_task(wait_in_vain(replica, turn))
            await asyncio.sleep(0)
            person.cancel()
            await asyncio.wait({person})
    assert len(verdicts) == 2 * stranger.limits.rejected
    async with replica.in_flight("okta", "callback", replica.rejected_codes.turns([stranger], lambda: "accepted")):
        pass


async def wait_in_vain(of: Broker, turn: AbstractAsyncContextManager[None]) -> None:
    async with of.in_flight("okta", "callback", turn):
        pytest.fail("there was a place")


async def test_invented_codes_of_one_address_leave_places_to_the_others() -> None:
    """A thousand callbacks at once: no more of them wait for a place, or have a place, than may be in flight."""
    replica = Broker(sites={}, providers={}, secret_keys=list, clock=Clock())
    stranger, judged = Origin("192.0.2.66", shared=False), asyncio.Event()

    async def invent() -> None:
        turn = replica.rejected_codes.turns([stranger], lambda: "rejected")
        async with replica.in_flight("okta", "callback", turn):
            await judged.wait()

    flood = [asyncio.create_task(invent()) for _ in range(1000)]
    await asyncio.sleep(0)
    places = replica.places_of("okta")
    in_flight = stranger.limits.unjudged + stranger.limits.rejected
    assert (places.at_work, places.waiting) == (in_flight, 0)
    async with replica.in_flight("okta", "callback", replica.rejected_codes.turns([OFFICE], lambda: "accepted")):
        judged.set()
    refused = await asyncio.gather(*flood, return_exceptions=True)
    assert sum(isinstance(one, TooManyRejectedCodes) for one in refused) == 1000 - in_flight


async def leave_well(replica: Broker) -> None:
    async with replica.in_flight("okta", "callback"):
        pass


async def leave_with_an_error(replica: Broker) -> None:
    with pytest.raises(ZeroDivisionError):
        async with replica.in_flight("okta", "callback"):
            raise ZeroDivisionError


async def leave_too_late(replica: Broker) -> None:
    with pytest.raises(ProviderTimedOut):
        async with replica.in_flight("okta", "callback"):
            await asyncio.sleep(LONG)


async def give_up(replica: Broker) -> None:
    async def hold() -> None:
        async with replica.in_flight("okta", "callback"):
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
    for _ in range(AT_WORK + 1):
        await leave(replica)


async def many_short_waits() -> None:
    for _ in range(1000):
        await asyncio.sleep(DEADLINE / 10)


@pytest.mark.requirement("S-42")
async def test_a_sign_in_beyond_its_deadline_is_broken_off_with_the_reason() -> None:
    """Many short waits count as one long one: the deadline is for all calls together."""
    with pytest.raises(ProviderTimedOut) as refusal:
        async with broker(deadline=DEADLINE).in_flight("okta", "callback"):
            await many_short_waits()
    assert (refusal.value.expected, refusal.value.got) == (f"all answers within {DEADLINE} s", "not all")


async def keep_the_loop_busy(of: Broker, seconds: float) -> None:
    """Let the loop stand still during a sign-in whose call to the provider then times out, or its deadline passes."""
    async with of.in_flight("okta", "callback"):
        stand_still(seconds)
        await asyncio.sleep(DEADLINE)
        raise ProviderTimedOut


async def test_a_deadline_that_passed_while_the_process_was_busy_is_not_the_providers() -> None:
    with pytest.raises(Overloaded) as refusal:
        await keep_the_loop_busy(broker(deadline=DEADLINE), 2 * DEADLINE)
    assert refusal.value.expected == "an event loop that is late for less than 50% of the time"
    assert refusal.value.got == "late for 0.2 of 0.2 s"


@pytest.mark.parametrize(("seconds", "error"), [(0.0, ProviderTimedOut), (5 * DEADLINE, Overloaded)])
async def test_a_call_that_timed_out_while_the_process_was_busy_is_not_the_providers(
    seconds: float, error: type[BrokerError]
) -> None:
    """The client's clock for one call runs while the process has no time to read the answer."""
    with pytest.raises(BrokerError) as refusal:
        await keep_the_loop_busy(broker(), seconds)
    assert type(refusal.value) is error


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
    replica.replays.mark_refused("refused", START)
    end = START + LIFETIME + CLOCK_LEEWAY
    replica.replays.consume("another", end)
    for one in ("completed", "refused"):
        with pytest.raises(TransactionSpent):
            replica.replays.consume(one, end)
    forgotten = end + PERIOD_SECONDS + 1
    replica.replays.consume("one more", forgotten)
    for one in ("completed", "refused"):
        replica.replays.consume(one, forgotten)


@pytest.mark.requirement("S-03", "S-57")
async def test_refused_sign_ins_push_out_the_oldest_refused_ones_and_never_a_completed_one() -> None:
    replica = broker()
    replica.replays.consume("completed", START)
    first, *others = (f"refused {number}" for number in range(MAX_REFUSED + 1))
    for one in (first, *others):
        replica.replays.consume(one, START)
        replica.replays.mark_refused(one, START)
    for one in ("completed", *others):
        with pytest.raises(TransactionSpent):
            replica.replays.consume(one, START)
    replica.replays.consume(first, START)


async def test_a_sign_in_whose_time_runs_out_while_it_is_under_way_is_refused_without_a_defect() -> None:
    """The clock was set forward meanwhile."""
    replica = broker()
    replica.replays.consume("one", START)
    replica.replays.consume("another", START + 2 * LIFETIME)
    replica.replays.mark_refused("one", START + 2 * LIFETIME)
    with pytest.raises(TransactionSpent):
        replica.replays.consume("one", START + 2 * LIFETIME)
