"""The health of a provider: which calls count, when it is down, when it is up again, and whose clock is wrong."""

from __future__ import annotations

import asyncio
import contextlib
import time

import pytest

from broker.capacity import LoopLateness
from broker.errors import BrokerError, ClientRejected, ProviderFailing, ProviderTimedOut, ProviderUnreachable
from broker.oidc.discovery import Send
from broker.oidc.health import (
    FORGET_SECONDS,
    OWN_CLOCK_REMEDY,
    THEIR_CLOCK_REMEDY,
    Call,
    ProviderHealth,
    clock_remedy,
    describe_clock,
)
from broker.oidc.messages import ProviderRequest, ProviderResponse, RequestKind
from tests.fakes.clock import START, Clock

pytestmark = pytest.mark.anyio

SECRET = "the-secret-of-the-client"


@pytest.fixture
def monotonic() -> Clock:
    return Clock(1000.0)


@pytest.fixture
def health(clock: Clock, monotonic: Clock) -> ProviderHealth:
    """A provider whose documents are there."""
    health = ProviderHealth(clock, monotonic=monotonic)
    health.note("metadata", None)
    health.note("keys", None)
    return health


def failing_call(health: ProviderHealth) -> tuple[str, str] | None:
    """Return the call that keeps failing, and why."""
    problem = health.problem()
    return None if problem is None else (problem.call, problem.code)


async def ask(
    health: ProviderHealth, answered: ProviderResponse | BrokerError, kind: RequestKind = "token", busy: float = 0
) -> None:
    """Have a call answered; `busy` seconds of a loop that stands still pass before."""

    async def send(_: ProviderRequest) -> ProviderResponse:
        time.sleep(busy)  # noqa: ASYNC251 - nothing else runs meanwhile
        await asyncio.sleep(0)
        if isinstance(answered, BrokerError):
            raise answered
        return answered

    request = ProviderRequest("POST", "https://idp.example/token", 1000, secrets=(SECRET,), kind=kind)
    with contextlib.suppress(BrokerError):
        await health.watched(send)(request)


def answer(status: int, date: float | None = None) -> ProviderResponse:
    return ProviderResponse(status, "application/json", b"{}", date=date)


@pytest.mark.parametrize("call", ["token", "userinfo", "client_authentication", "metadata", "keys"])
def test_a_provider_is_down_after_three_failures_in_a_row_of_one_call_and_up_at_its_first_success(
    health: ProviderHealth, monotonic: Clock, call: Call
) -> None:
    for down in (False, False, True, True):
        monotonic.advance(20)
        health.note(call, ProviderUnreachable())
        assert health.is_down() is down
    assert failing_call(health) == (call, "provider_unreachable")
    health.note(call, None)
    assert (health.is_down(), failing_call(health)) == (False, None)
    assert health.last_failure() is not None, "it still tells what was"


def test_the_success_of_one_call_does_not_hide_that_another_fails(health: ProviderHealth) -> None:
    for _ in range(3):
        health.note("token", None)
        health.note("userinfo", ProviderFailing())
    assert (health.is_down(), failing_call(health)) == (True, ("userinfo", "provider_failing"))


def test_a_document_that_was_never_there_is_missed_at_once(clock: Clock) -> None:
    health = ProviderHealth(clock)
    health.note("metadata", ProviderUnreachable())
    assert (health.is_down(), failing_call(health)) == (True, ("metadata", "provider_unreachable"))


def test_documents_that_cannot_be_fetched_are_told_but_not_an_outage_while_people_sign_in(
    health: ProviderHealth, monotonic: Clock
) -> None:
    for _ in range(3):
        health.note("keys", ProviderFailing())
        monotonic.advance(1)
    assert health.is_down()
    health.note("token", None)
    assert (health.is_down(), failing_call(health)) == (False, ("keys", "provider_failing"))


def test_failures_of_sign_ins_are_forgotten_when_nobody_signs_in(health: ProviderHealth, monotonic: Clock) -> None:
    """At night nobody would tell that the provider works again."""
    for _ in range(3):
        health.note("token", ProviderFailing())
    monotonic.advance(FORGET_SECONDS)
    assert health.is_down()
    monotonic.advance(1)
    assert not health.is_down()
    health.note("token", ProviderFailing())
    assert not health.is_down(), "it takes three again"


def test_documents_are_not_forgotten_because_they_are_fetched_until_they_come(
    health: ProviderHealth, monotonic: Clock
) -> None:
    for _ in range(3):
        health.note("keys", ProviderFailing())
    monotonic.advance(2 * FORGET_SECONDS)
    assert health.is_down()


@pytest.mark.parametrize(
    ("answered", "down"),
    [
        pytest.param(answer(200), False, id="tokens"),
        pytest.param(answer(400), False, id="a refused code"),
        pytest.param(answer(429), True, id="too many requests"),
        pytest.param(answer(500), True, id="a server error"),
        pytest.param(ProviderUnreachable(), True, id="no connection"),
        pytest.param(ProviderTimedOut(), True, id="no answer in time"),
    ],
)
async def test_an_answer_about_a_code_is_no_outage(
    health: ProviderHealth, answered: ProviderResponse | BrokerError, down: bool
) -> None:
    for _ in range(3):
        await ask(health, answered)
    assert health.is_down() is down


@pytest.mark.parametrize(
    ("failure", "ended_by", "down"),
    [
        pytest.param(answer(500), answer(400), True, id="a refused code after server errors"),
        pytest.param(answer(500), answer(200), False, id="tokens after server errors"),
        pytest.param(ProviderUnreachable(), answer(400), False, id="a refused code after silence"),
    ],
)
async def test_refused_codes_do_not_hide_that_a_provider_makes_no_tokens(
    health: ProviderHealth, failure: ProviderResponse | BrokerError, ended_by: ProviderResponse, down: bool
) -> None:
    for _ in range(3):
        await ask(health, failure)
    assert health.is_down()
    await ask(health, ended_by)
    assert health.is_down() is down


async def test_refused_codes_between_server_errors_do_not_hide_an_outage(
    health: ProviderHealth, monotonic: Clock
) -> None:
    for _ in range(3):
        await ask(health, answer(500))
        await ask(health, answer(400))
    assert health.is_down()
    monotonic.advance(FORGET_SECONDS + 1)
    assert not health.is_down()
    await ask(health, answer(500))
    await ask(health, answer(400))
    assert not health.is_down()


async def test_a_timeout_of_a_busy_process_is_not_the_providers(health: ProviderHealth) -> None:
    for _ in range(3):
        await ask(health, ProviderTimedOut(), busy=0.15)
    assert not health.is_down()


@pytest.mark.parametrize(("slow_after", "down"), [(0.0, True), (60.0, False)])
async def test_a_slow_call_that_the_deadline_of_its_sign_in_ends_is_a_failure(
    clock: Clock, slow_after: float, down: bool
) -> None:
    health = ProviderHealth(clock, slow_seconds=slow_after)

    async def never(_: ProviderRequest) -> ProviderResponse:
        await asyncio.Event().wait()
        raise AssertionError("it never comes")

    request = ProviderRequest("GET", "https://idp.example/userinfo", 1000, kind="userinfo")
    for _ in range(3):
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.01):
                await health.watched(never)(request)
    assert failing_call(health) == (("userinfo", "provider_timed_out") if down else None)


async def test_a_failure_holds_no_secret_that_the_provider_repeated(health: ProviderHealth) -> None:
    await ask(health, ProviderUnreachable(expected="an answer", got=f"invalid HTTP: {SECRET}"))
    failure = health.last_failure()
    assert failure is not None
    assert SECRET not in str(failure)


def test_the_newest_failure_and_success_are_told_with_their_age(health: ProviderHealth, monotonic: Clock) -> None:
    health.note("token", ClientRejected())
    monotonic.advance(3)
    health.note("userinfo", ProviderFailing())
    monotonic.advance(4)
    failure = health.last_failure()
    assert failure is not None
    assert (failure.call, failure.code, health.seconds_since(failure.at)) == ("userinfo", "provider_failing", 4)
    assert health.seconds_since_success() == 7


async def test_the_difference_of_the_clocks_is_the_median_of_the_last_answers(health: ProviderHealth) -> None:
    assert health.clock_ahead() is None
    await ask(health, answer(200))
    assert health.clock_ahead() is None, "an answer without Date says nothing"
    for ahead in (-5000, 40, 41, 42, 5000):
        await ask(health, answer(200, date=START - ahead))
    assert health.clock_ahead() == 41
    for _ in range(3):
        await ask(health, answer(400, date=START))
    assert health.clock_ahead() == 0, "three answers after a correction"


@pytest.mark.parametrize(
    ("ahead", "words"),
    [
        (45, "This machine's clock is 45 seconds ahead of the provider's."),
        (-180, "This machine's clock is 3 minutes behind the provider's."),
    ],
)
def test_a_difference_is_described(ahead: float, words: str) -> None:
    assert describe_clock(ahead) == words


@pytest.mark.parametrize(
    ("others", "remedy"),
    [
        pytest.param([], OWN_CLOCK_REMEDY, id="the only provider"),
        pytest.param([179.0, 181.0], OWN_CLOCK_REMEDY, id="all differ alike"),
        pytest.param([0.5, -1.0], THEIR_CLOCK_REMEDY, id="the others agree"),
    ],
)
def test_the_other_providers_tell_whose_clock_is_wrong(others: list[float], remedy: str) -> None:
    assert clock_remedy(others) == remedy


async def test_noting_a_call_takes_microseconds(clock: Clock) -> None:
    lateness = LoopLateness()
    health, answered = ProviderHealth(clock, lateness=lateness), answer(200, date=START)

    async def send(_: ProviderRequest) -> ProviderResponse:
        return answered

    watched = health.watched(send)
    request = ProviderRequest("POST", "https://idp.example/token", 1000, kind="token")

    async def spent(by: Send) -> float:
        began = time.process_time()
        for _ in range(2000):
            await by(request)
        return (time.process_time() - began) / 2000

    with lateness:  # as within a sign-in: the timer runs
        least = min([await spent(watched) - await spent(send) for _ in range(5)])
    assert least < 20e-6, "seconds a call; measured 3e-6 on a quiet machine"
