"""A sign-in that was lost on the way starts again by itself once, and then only when the person wants to."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from broker.errors import CodeRejected, CookieMissing, StateInvalid, TransactionError, TransactionExpired
from tests.fakes.clock import Clock
from tests.fakes.world import BROKER, PAGE, Browser, World, assert_refused, refresh, start_again

LONG_PAGE = f"{PAGE}&filter={hashlib.shake_256(b'long').hexdigest(900)}"

Loss = Callable[[Browser, Clock], None]


def lose_time(_browser: Browser, clock: Clock) -> None:
    clock.advance(601)


def lose_cookies(browser: Browser, _clock: Clock) -> None:
    browser.forget_cookies()


def lose_both(browser: Browser, clock: Clock) -> None:
    """As a browser does: it drops the cookie after ten minutes by itself."""
    lose_time(browser, clock)
    lose_cookies(browser, clock)


lost = pytest.mark.parametrize(
    ("lose", "error"),
    [
        pytest.param(lose_time, TransactionExpired, id="came back after ten minutes"),
        pytest.param(lose_both, TransactionExpired, id="came back after ten minutes without the cookie"),
        pytest.param(lose_cookies, CookieMissing, id="lost the cookie"),
    ],
)


@pytest.mark.requirement("S-04")
@lost
@pytest.mark.parametrize("page", [pytest.param(PAGE, id="with a page to go to"), pytest.param(None, id="with none")])
async def test_a_lost_sign_in_starts_again_by_itself(
    world: World, clock: Clock, lose: Loss, error: type[TransactionError], page: str | None
) -> None:
    parameters = {} if page is None else {"redirect_url": page}
    async with world.broker() as service:
        browser = world.browser(service)
        callback = await browser.to_callback(**parameters)
        lose(browser, clock)
        answer = await browser.open(callback)
        assert_refused(answer, error)
        assert world.provider.count("/token") == 0
        assert browser.broker_cookies() == []
        restart = refresh(answer) or ""
        assert restart == start_again(answer)
        assert restart.startswith(f"{BROKER}/login/main?")
        assert parse_qs(urlsplit(restart).query).get("redirect_url") == (None if page is None else [page])
        await browser.follow(await browser.open(restart))
    assert [received.refusal for received in world.received] == [None]
    assert dict(world.received[0].parameters).get("redirect_url") == page


@pytest.mark.requirement("S-04")
@lost
async def test_a_sign_in_lost_twice_offers_a_button_alone_and_the_button_works(
    world: World, clock: Clock, lose: Loss, error: type[TransactionError]
) -> None:
    async with world.broker() as service:
        browser = world.browser(service)
        callback = await browser.to_callback(redirect_url=PAGE)
        lose(browser, clock)
        redirect = await browser.open(refresh(await browser.open(callback)) or "")
        callback = (await browser.follow(redirect, until=f"{BROKER}/callback")).headers["location"]
        lose(browser, clock)
        answer = await browser.open(callback)
        assert_refused(answer, error)
        assert refresh(answer) is None
        page = await browser.follow(await browser.open(start_again(answer) or ""))
    assert str(page.url) == PAGE


@pytest.mark.requirement("S-04")
async def test_a_browser_without_cookies_is_never_sent_round_in_circles(world: World) -> None:
    async with world.broker() as service:
        browser = world.browser(service)
        address: str | None = f"{BROKER}/login"
        rounds = 0
        while address is not None:
            callback = (await browser.follow(await browser.open(address), until=f"{BROKER}/callback")).headers[
                "location"
            ]
            browser.forget_cookies()
            address = refresh(await browser.open(callback))
            rounds += 1
    assert rounds == 2
    assert world.provider.count("/token") == 0


@pytest.mark.requirement("S-04")
@pytest.mark.parametrize("age", [0, 599, 600], ids=lambda age: f"after {age} seconds")
async def test_a_sign_in_finishes_within_ten_minutes(world: World, clock: Clock, age: int) -> None:
    async with world.broker() as service:
        browser = world.browser(service)
        callback = await browser.to_callback(redirect_url=PAGE)
        clock.advance(age)
        page = await browser.follow(await browser.open(callback))
    assert str(page.url) == PAGE


@pytest.mark.requirement("S-02")
@pytest.mark.vulnerability("CVE-2025-68158", "CVE-2026-41425")
async def test_another_browser_cannot_finish_a_sign_in(world: World) -> None:
    async with world.broker() as service:
        victim, attacker = world.browser(service), world.browser(service)
        callback = await attacker.to_callback(redirect_url=PAGE)
        assert_refused(await victim.open(callback), CookieMissing)
    assert world.provider.count("/token") == 0
    assert world.provider.count("/userinfo") == 0


@pytest.mark.requirement("S-02")
@pytest.mark.vulnerability("CVE-2025-68481")
async def test_another_browser_with_a_sign_in_of_its_own_cannot_finish_it_either(world: World) -> None:
    async with world.broker() as service:
        victim, attacker = world.browser(service), world.browser(service)
        own = await victim.to_callback(redirect_url=PAGE)
        assert_refused(await victim.open(await attacker.to_callback()), CookieMissing)
        page = await victim.follow(await victim.open(own))
    assert str(page.url) == PAGE
    assert world.provider.count("/token") == 1


@pytest.mark.requirement("S-02")
@pytest.mark.vulnerability("CVE-2022-39222")
async def test_a_victim_who_follows_the_attackers_link_leaves_the_code_unused(world: World) -> None:
    async with world.broker() as service:
        attacker, victim = world.browser(service), world.browser(service)
        redirect = await attacker.open(f"{BROKER}/login")
        back = await victim.open(redirect.headers["location"])
        assert_refused(await victim.open(back.headers["location"]), CookieMissing)
    assert [grant.used for grant in world.provider.grants.values()] == [False]


@pytest.mark.vulnerability("CVE-2022-39222")
async def test_a_stolen_code_cannot_be_redeemed_in_the_thiefs_own_sign_in(world: World) -> None:
    """Only the cookie of the browser that began yields the verifier of its code."""
    async with world.broker() as service:
        thief, victim = world.browser(service), world.browser(service)
        thiefs = httpx.URL(await thief.to_callback())
        stolen = httpx.URL(await victim.to_callback()).params["code"]
        assert_refused(await thief.open(str(thiefs.copy_set_param("code", stolen))), CodeRejected)
    assert not world.received


@pytest.mark.requirement("S-04")
async def test_a_sign_in_whose_code_was_used_up_elsewhere_restarts_by_itself_once(world: World) -> None:
    """A replica that is killed in the middle has redeemed the code; the balancer sends the callback to another."""
    async with world.broker() as service:
        browser = world.browser(service)
        callback = await browser.to_callback(redirect_url=PAGE)
        world.provider.grants.clear()
        answer = await browser.open(callback)
        assert_refused(answer, CodeRejected)
        assert refresh(answer) == start_again(answer)
        redirect = await browser.open(refresh(answer) or "")
        callback = (await browser.follow(redirect, until=f"{BROKER}/callback")).headers["location"]
        world.provider.grants.clear()
        answer = await browser.open(callback)
        assert_refused(answer, CodeRejected)
        assert refresh(answer) is None, "the second time the person decides"
        end = await browser.follow(await browser.open(start_again(answer) or ""))
    assert str(end.url) == PAGE
    assert len(world.received) == 1


@pytest.mark.requirement("S-04")
async def test_a_rejected_code_restarts_nothing_in_a_browser_without_the_cookie(world: World) -> None:
    """The provider is not asked, and the restart is that of the lost cookie: once."""
    async with world.broker() as service:
        browser = world.browser(service)
        callback = await browser.to_callback(redirect_url=PAGE)
        world.provider.grants.clear()
        browser.forget_cookies()
        answer = await browser.open(callback)
        assert_refused(answer, CookieMissing)
        redirect = await browser.open(refresh(answer) or "")
        callback = (await browser.follow(redirect, until=f"{BROKER}/callback")).headers["location"]
        browser.forget_cookies()
        answer = await browser.open(callback)
        assert_refused(answer, CookieMissing)
        assert refresh(answer) is None
    assert world.provider.count("/token") == 0


async def test_a_long_redirect_url_survives_a_late_return_while_the_cookie_is_there(world: World, clock: Clock) -> None:
    page = f"{PAGE}&{'xY7_' * 450}{'%2F' * 20}"
    async with world.broker() as service:
        browser = world.browser(service)
        callback = await browser.to_callback(redirect_url=page)
        clock.advance(601)
        answer = await browser.open(callback)
        end = await browser.follow(await browser.open(refresh(answer) or ""))
    assert str(end.url) == page


def spend_time(browser: Browser, clock: Clock, seconds: float) -> None:
    """Let time pass for the broker and for the browser, which drops by itself what it was to keep no longer."""
    clock.advance(seconds)
    for cookie in list(browser.client.cookies.jar):
        if cookie.expires is not None and cookie.expires <= time.time() + seconds:
            browser.client.cookies.jar.clear(cookie.domain, cookie.path, cookie.name)


@pytest.mark.requirement("S-04")
@pytest.mark.parametrize(
    ("page", "minutes", "kept"),
    [
        pytest.param(LONG_PAGE, 11, True, id="a long page, after 11 minutes"),
        pytest.param(LONG_PAGE, 59, True, id="a long page, after 59 minutes"),
        pytest.param(LONG_PAGE, 61, False, id="a long page, after an hour: its cookie is gone"),
        pytest.param(PAGE, 61, True, id="a short page, after an hour: it is in the state"),
    ],
)
async def test_a_browser_that_keeps_cookies_no_longer_than_told_still_finds_the_page(
    world: World, clock: Clock, page: str, minutes: int, kept: bool
) -> None:
    async with world.broker() as service:
        browser = world.browser(service)
        callback = await browser.to_callback(redirect_url=page)
        spend_time(browser, clock, 60 * minutes)
        assert bool(browser.broker_cookies()) is (page == LONG_PAGE and kept)
        answer = await browser.open(callback)
        assert_refused(answer, TransactionExpired)
        assert browser.broker_cookies() == []
        await browser.follow(await browser.open(refresh(answer) or ""))
    (received,) = world.received
    assert dict(received.parameters).get("redirect_url") == (page if kept else None)


@pytest.mark.requirement("S-54", "S-04")
async def test_the_restart_address_is_percent_encoded_throughout(world: World, clock: Clock) -> None:
    """A page with every sign that means something in HTML, in a header or in a query."""
    page = f"{PAGE}&a='{{b}}&amp;;,url=//evil.example%0d%0aSet-Cookie:x=1#f?=+"
    async with world.broker() as service:
        browser = world.browser(service)
        callback = await browser.to_callback(redirect_url=page)
        clock.advance(601)
        answer = await browser.open(callback)
    restart = refresh(answer) or ""
    query = urlsplit(restart).query
    assert set(query) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789%&=-._~+")
    assert parse_qs(query)["redirect_url"] == [page]
    assert answer.headers.get_list("refresh") == [f"1;url={restart}"]
    assert start_again(answer) == restart
    assert page not in answer.text


@pytest.mark.vulnerability("CVE-2025-14546")
async def test_a_state_nobody_signed_leads_back_to_the_start_without_doing_so_itself(world: World) -> None:
    async with world.broker() as service:
        browser = world.browser(service)
        answer = await browser.open(f"{BROKER}/callback/idp", state="made-up", code="made-up")
    assert_refused(answer, StateInvalid)
    assert refresh(answer) is None
    assert start_again(answer) == f"{BROKER}/login"
    assert world.provider.count("/token") == 0
