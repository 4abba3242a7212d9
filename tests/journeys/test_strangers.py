"""Strangers spend neither what the provider allows the organisation nor what other people need."""

from __future__ import annotations

from collections.abc import Callable

import httpx
import pytest

from broker.errors import CodeRejected, ProviderFailing, TooManyRejectedCodes
from broker.rejected_codes import OF_MANY_PEOPLE, OF_ONE_ADDRESS
from tests.fakes.admin import run_dry_run
from tests.fakes.clock import Clock
from tests.fakes.lies import Lies, says
from tests.fakes.world import BROKER, COMM100, Browser, World, assert_refused, error_code, metrics

ALLOWED = 150  # token requests a minute, for the whole organisation
AGENT, STRANGER = "198.51.100.7", "203.0.113.66"
PEER = "127.0.0.1"  # of every request of these tests


def from_address(browser: Browser, address: str) -> Browser:
    browser.client.headers["X-Forwarded-For"] = address
    return browser


async def with_invented_codes(browser: Browser, times: int) -> httpx.Response:
    """Begin a sign-in and come back with a code that no provider gave, again and again; return the last answer."""
    return [await with_an_invented_code(browser) for _ in range(times)][-1]


async def with_an_invented_code(browser: Browser, code: str = "an-invented-one") -> httpx.Response:
    redirect = await browser.open(f"{BROKER}/login")
    state = httpx.URL(redirect.headers["location"]).params["state"]
    return await browser.open(f"{BROKER}/callback/idp", state=state, code=code)


class Bounded:
    """A provider that answers so many token requests a minute, and no more."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.minute = 0
        self.left = ALLOWED

    def __call__(self, answer: httpx.Response) -> httpx.Response:
        minute = int(self.world.clock() // 60)
        if minute != self.minute:
            self.minute, self.left = minute, ALLOWED
        self.left -= 1
        return answer if self.left >= 0 else httpx.Response(429)


@pytest.mark.requirement("S-62")
async def test_a_stranger_with_invented_codes_costs_no_agent_a_sign_in(world: World, clock: Clock) -> None:
    world.provider.lies = Lies(answers={"/token": Bounded(world)})
    async with world.broker(trusted_proxies=[PEER]) as service:
        stranger = from_address(world.browser(service), STRANGER)
        pages: list[httpx.Response] = []
        for second in range(60):
            pages.append(await with_invented_codes(stranger, 5))  # 300 in this minute: more than allowed
            agent = from_address(world.browser(service), AGENT)
            assert str((await agent.sign_in()).url).startswith(COMM100), f"refused in second {second}"
            clock.advance(1)
        exported = await metrics(service)
    assert_refused(pages[-1], TooManyRejectedCodes)
    assert int(pages[-1].headers["retry-after"]) <= 3
    assert world.provider.count("/token") - 60 <= 2 * OF_ONE_ADDRESS.rejected
    assert 'reason="too_many_rejected_codes",result="refused",site="main"' in exported


def saying(status: int, body: bytes) -> Callable[[httpx.Response], httpx.Response]:
    return lambda _: says(body)(httpx.Response(status))


@pytest.mark.requirement("S-62")
@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(saying(400, b'{"error": "invalid_request"}'), id="invalid_request"),
        pytest.param(saying(404, b"<h1>no such code</h1>"), id="a page"),
        pytest.param(saying(200, b'{"error": "bad_verification_code"}'), id="an error with a 200"),
        pytest.param(saying(200, b"error=bad_verification_code"), id="a form with a 200"),
        pytest.param(saying(302, b""), id="a redirect"),
    ],
)
async def test_whatever_a_provider_says_to_an_invented_code_counts(
    world: World, answer: Callable[[httpx.Response], httpx.Response]
) -> None:
    world.provider.lies = Lies(answers={"/token": answer})
    async with world.broker(trusted_proxies=[PEER]) as service:
        stranger = from_address(world.browser(service), STRANGER)
        page = await with_invented_codes(stranger, 2 * OF_ONE_ADDRESS.rejected)
    assert_refused(page, TooManyRejectedCodes)
    assert world.provider.count("/token") == OF_ONE_ADDRESS.rejected


@pytest.mark.requirement("S-62")
@pytest.mark.parametrize("code", ["AADSTS7000222", "invalid_client", "wrong client secret", "client not found"])
@pytest.mark.parametrize(
    "words",
    [
        pytest.param(b'{"error": "unauthorized_client", "error_description": "no such code: %s"}', id="an error"),
        pytest.param(b'{"message": "no such code: %s"}', id="a message"),
        pytest.param(b"<title>no such code: %s</title>", id="a page"),
    ],
)
async def test_a_code_that_a_provider_repeats_says_nothing_of_our_credential(
    world: World, code: str, words: bytes
) -> None:
    world.provider.lies = Lies(answers={"/token": saying(400, words % code.encode())})
    async with world.broker() as service:
        page = await with_an_invented_code(world.browser(service), code)
    assert error_code(page) in ("token_request_refused", "answer_unexpected")


@pytest.mark.requirement("S-62")
@pytest.mark.parametrize("status", [429, 500, 503])
async def test_a_provider_that_answers_invented_codes_with_its_own_trouble_is_left_alone_too(
    world: World, status: int
) -> None:
    world.provider.lies = Lies(answers={"/token": saying(status, b"")})
    async with world.broker(trusted_proxies=[PEER]) as service:
        stranger = from_address(world.browser(service), STRANGER)
        assert_refused(await with_an_invented_code(stranger), ProviderFailing)
        page = await with_invented_codes(stranger, 200)
    assert_refused(page, TooManyRejectedCodes)
    assert world.provider.count("/token") == OF_ONE_ADDRESS.rejected + OF_ONE_ADDRESS.unjudged


@pytest.mark.requirement("S-62")
async def test_one_address_of_ipv6_is_a_whole_64(world: World) -> None:
    async with world.broker(trusted_proxies=[PEER]) as service:
        for number in range(OF_ONE_ADDRESS.rejected):
            stranger = from_address(world.browser(service), f"2a00:1450:4001:82a::{number:x}")
            assert_refused(await with_an_invented_code(stranger), CodeRejected)
        another = from_address(world.browser(service), "2a00:1450:4001:82a:ffff::1")
        assert_refused(await with_an_invented_code(another), TooManyRejectedCodes)


@pytest.mark.requirement("S-62")
async def test_a_test_sign_in_counts_with_the_sign_ins_of_its_address(world: World) -> None:
    async with world.broker(trusted_proxies=[PEER]) as service:
        browser = from_address(world.browser(service), STRANGER)
        await with_invented_codes(browser, OF_ONE_ADDRESS.rejected)
        report = await run_dry_run(browser)
    assert "too_many_rejected_codes" in report.text


@pytest.mark.requirement("S-62")
async def test_behind_a_proxy_that_is_not_trusted_a_stranger_is_bounded_by_what_it_says_of_him(world: World) -> None:
    async with world.broker() as service:
        stranger = from_address(world.browser(service), STRANGER)
        assert_refused(await with_invented_codes(stranger, 2 * OF_ONE_ADDRESS.rejected), TooManyRejectedCodes)
        agent = from_address(world.browser(service), AGENT)
        assert str((await agent.sign_in()).url).startswith(COMM100)
    assert world.provider.count("/token") == OF_ONE_ADDRESS.rejected + 1


@pytest.mark.requirement("S-62")
async def test_behind_a_proxy_that_is_not_trusted_people_share_one_high_bound(world: World) -> None:
    async with world.broker() as service:
        for number in range(3 * OF_ONE_ADDRESS.rejected):
            stranger = from_address(world.browser(service), f"203.0.113.{number}")
            assert_refused(await with_an_invented_code(stranger), CodeRejected)
        agent = from_address(world.browser(service), AGENT)
        assert str((await agent.sign_in()).url).startswith(COMM100)
        for number in range(OF_MANY_PEOPLE.rejected):
            await with_an_invented_code(from_address(world.browser(service), f"203.0.{number // 250}.{number % 250}"))
    assert world.provider.count("/token") == OF_MANY_PEOPLE.rejected + 2  # the agent's, and the one that it pays for


@pytest.mark.requirement("S-62", "S-02")
async def test_without_the_cookie_nothing_is_asked_and_nothing_counts(world: World) -> None:
    async with world.broker(trusted_proxies=[PEER]) as service:
        lured = from_address(world.browser(service), STRANGER)
        back = await lured.to_callback()
        lured.forget_cookies()
        for _ in range(2 * OF_ONE_ADDRESS.rejected):
            await lured.open(back)
        assert world.provider.count("/token") == 0
        assert str((await lured.sign_in()).url).startswith(COMM100)
