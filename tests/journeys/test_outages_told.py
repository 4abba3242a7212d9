"""An outage is told by readiness, a log line and a metric, whichever call fails, and so is a clock that differs."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import Callable
from dataclasses import replace
from email.utils import formatdate
from typing import Any

import httpx
import pytest

from broker.app import Service
from broker.errors import ClientRejected, CodeRejected, ProviderFailing
from broker.oidc.health import OWN_CLOCK_REMEDY
from tests.fakes.clock import Clock
from tests.fakes.lies import Lies, status
from tests.fakes.world import PAGE, World, assert_refused, metrics

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def quick_looks(world: World) -> None:
    """Look at providers all the time; the service does each few seconds."""
    world.intervals = replace(world.intervals, look=0.01, suspect=0.01)


@pytest.fixture
def quiet_at_once(world: World) -> None:
    """Ask a provider as if nobody had signed in for long."""
    world.intervals = replace(world.intervals, quiet=0.0)


async def until(come_true: Callable[[], bool], clock: Clock | None = None) -> None:
    for _ in range(500):
        if come_true():
            return
        if clock is not None:
            clock.advance(1)  # documents are fetched at most once a second
        await asyncio.sleep(0.01)
    raise AssertionError("it never came")


def told(log: io.StringIO, event: str) -> list[dict[str, Any]]:
    return [line for line in map(json.loads, log.getvalue().splitlines()) if line["event"] == event]


def outages(log: io.StringIO) -> list[tuple[str, str]]:
    """Return call and code of each line that tells of an outage."""
    return [(line["call"], line["code"]) for line in told(log, "identity provider is not usable")]


async def readiness(service: Service) -> dict[str, Any]:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(service.operations)) as client:
        state: dict[str, Any] = (await client.get("http://127.0.0.1:9000/readyz")).json()["identity_providers"]["idp"]
        return state


async def is_down(service: Service) -> bool:
    """Say what the metric says, which must be what readiness says."""
    state = await readiness(service)
    down: bool = 'comm100_sso_provider_down{provider="idp"} 1.0' in await metrics(service)
    assert state["down"] == down
    return down


@pytest.mark.requirement("S-44")
@pytest.mark.parametrize("path", ["/token", "/userinfo"])
async def test_a_call_of_sign_ins_that_fails_is_told_though_both_documents_are_fresh(
    world: World, log: io.StringIO, path: str
) -> None:
    async with world.broker() as service:
        browser = world.browser(service)
        await browser.sign_in()
        await until(lambda: len(told(log, "identity provider is ready")) == 1)
        world.provider.lies = Lies(answers={path: status(500)})
        for _ in range(2 if path == "/userinfo" else 3):  # userinfo is requested twice for each sign-in
            assert not await is_down(service)
            assert_refused(await browser.sign_in(), ProviderFailing)
        assert await is_down(service)
        state = await readiness(service)
        assert (state["last_failure"], state["last_failure_call"]) == ("provider_failing", path[1:])
        assert (state["metadata"], state["keys"]) == ("present", "present")
        await until(lambda: outages(log) == [(path[1:], "provider_failing")])
        world.provider.lies = Lies()
        assert (await browser.sign_in(redirect_url=PAGE)).url == PAGE
        assert not await is_down(service)
        await until(lambda: len(told(log, "identity provider is ready")) == 2)
    assert len(outages(log)) == 1, "once an outage"


@pytest.mark.requirement("S-44")
@pytest.mark.usefixtures("quiet_at_once")
async def test_an_outage_is_told_while_nobody_signs_in(world: World, clock: Clock, log: io.StringIO) -> None:
    async with world.broker() as service:
        await until(lambda: len(told(log, "identity provider is ready")) == 1)
        world.provider.is_down = lambda _: httpx.Response(503)
        await until(lambda: outages(log) == [("keys", "provider_failing")], clock)
        assert await is_down(service)
        world.provider.is_down = None
        await until(lambda: len(told(log, "identity provider is ready")) == 2, clock)
        assert not await is_down(service)


async def test_rejected_credentials_are_an_outage_that_readiness_names(world: World, log: io.StringIO) -> None:
    async with world.broker() as service:
        browser = world.browser(service)
        await until(lambda: len(told(log, "identity provider is ready")) == 1)
        secret, world.provider.client_secret = world.provider.client_secret, "another-secret-of-the-client"
        for _ in range(3):
            assert not await is_down(service)
            assert_refused(await browser.sign_in(), ClientRejected)
        assert await is_down(service)
        state = await readiness(service)
        assert (state["last_failure"], state["last_failure_call"]) == ("client_rejected", "client_authentication")
        await until(lambda: outages(log) == [("client_authentication", "client_rejected")])
        world.provider.client_secret = secret
        await browser.sign_in()
        assert not await is_down(service)


async def test_a_defect_that_stays_is_told_as_an_outage_too(world: World, clock: Clock, log: io.StringIO) -> None:
    def break_every_time(answer: httpx.Response) -> httpx.Response:
        raise LookupError(answer.text)

    world.provider.lies = Lies(answers={"/keys": break_every_time})
    async with world.broker() as service:
        await until(lambda: outages(log) == [("keys", "unexpected")], clock)
        world.provider.lies = Lies()
        await until(lambda: len(told(log, "identity provider is ready")) == 1, clock)
        assert not await is_down(service)


async def test_a_provider_that_answers_is_left_alone(world: World, log: io.StringIO) -> None:
    async with world.broker():
        await until(lambda: len(told(log, "identity provider is ready")) == 1)
        asked = len(world.provider.requests)
        await asyncio.sleep(0.1)
        assert len(world.provider.requests) == asked == 2


async def test_invented_codes_neither_cause_nor_end_an_outage(world: World, log: io.StringIO) -> None:
    async with world.broker() as service:
        browser = world.browser(service)
        for _ in range(4):
            callback = await browser.to_callback()
            world.provider.grants.clear()
            assert_refused(await browser.open(callback), CodeRejected)
        assert not await is_down(service)
        world.provider.lies = Lies(answers={"/userinfo": status(500)})
        for _ in range(2):
            assert_refused(await browser.sign_in(), ProviderFailing)
        assert await is_down(service)
        callback = await browser.to_callback()
        world.provider.grants.clear()
        assert_refused(await browser.open(callback), CodeRejected)
        assert await is_down(service)
        await until(lambda: outages(log) == [("userinfo", "provider_failing")])


async def test_a_clock_that_differs_is_told_once_until_it_agrees(world: World, clock: Clock, log: io.StringIO) -> None:
    def dated(behind: float) -> Callable[[httpx.Response], httpx.Response]:
        def put(answer: httpx.Response) -> httpx.Response:
            answer.headers["Date"] = formatdate(clock() - behind, usegmt=True)
            return answer

        return put

    async with world.broker() as service:
        for behind, warnings in ((0, 0), (40, 1), (20, 1), (0, 1), (40, 2)):
            world.provider.lies = Lies(answers={path: dated(behind) for path in ("/token", "/userinfo")})
            for _ in range(3):
                await world.browser(service).sign_in()
            await asyncio.sleep(0.05)
            assert len(told(log, "clock differs from provider")) == warnings, behind
            assert (await readiness(service))["clock_ahead_seconds"] == behind
        assert f'comm100_sso_clock_ahead_seconds{{provider="idp"}} {behind}.0' in await metrics(service)
    line = told(log, "clock differs from provider")[0]
    assert (line["level"], line["provider"]) == ("warning", "idp")
    assert line["got"] == "This machine's clock is 40 seconds ahead of the provider's."
    assert line["remedy"] == OWN_CLOCK_REMEDY
