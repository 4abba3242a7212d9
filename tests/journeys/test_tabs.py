"""Several tabs, the back button, and the same callback twice: what people do with browsers."""

from __future__ import annotations

import asyncio
import secrets

import pytest

from broker.errors import CookieMissing, TransactionSpent
from tests.fakes.clock import Clock
from tests.fakes.world import BROKER, COMM100, ENDPOINT, PAGE, Browser, World, assert_refused, refresh, start_again

PAGES = [f"{COMM100}/page/{number}" for number in range(8)]


async def finish(browser: Browser, callback: str) -> str:
    """Open a callback and return the page the person ends on."""
    return str((await browser.follow(await browser.open(callback))).url)


@pytest.mark.requirement("S-10")
@pytest.mark.parametrize("order", [(0, 1), (1, 0)], ids=["the first tab first", "the second tab first"])
async def test_two_tabs_both_finish(world: World, order: tuple[int, int]) -> None:
    async with world.broker() as service:
        browser = world.browser(service)
        callbacks = [await browser.to_callback(redirect_url=page) for page in PAGES[:2]]
        assert len(browser.broker_cookies()) == 2
        for tab in order:
            assert await finish(browser, callbacks[tab]) == PAGES[tab]
    assert [received.refusal for received in world.received] == [None, None]
    assert browser.broker_cookies() == []


@pytest.mark.requirement("S-10")
@pytest.mark.parametrize("seconds_between", [0, 5], ids=["opened at once", "opened one after the other"])
async def test_of_six_tabs_the_oldest_starts_again_and_all_finish(
    world: World, clock: Clock, seconds_between: float
) -> None:
    async with world.broker() as service:
        browser = world.browser(service)
        callbacks = []
        for page in PAGES[:6]:
            callbacks.append(await browser.to_callback(redirect_url=page))
            clock.advance(seconds_between)
            assert len(browser.broker_cookies()) <= 5
        dropped = await browser.open(callbacks[0])
        assert_refused(dropped, CookieMissing)
        for page, callback in list(zip(PAGES, callbacks, strict=False))[1:]:
            assert await finish(browser, callback) == page
        assert await finish(browser, refresh(dropped) or "") == PAGES[0]


@pytest.mark.requirement("S-10")
@pytest.mark.parametrize(
    "page",
    [pytest.param(PAGE, id="short pages"), pytest.param(PAGE + "&" + "aZ9-" * 480, id="long pages")],
)
async def test_any_number_of_abandoned_sign_ins_leaves_few_and_small_cookies(
    world: World, clock: Clock, page: str
) -> None:
    async with world.broker() as service:
        browser = world.browser(service)
        for number in range(40):
            await browser.to_callback(redirect_url=f"{page}{number}")
            clock.advance(number % 3)
            sent = browser.client.build_request("GET", f"{BROKER}/login").headers["cookie"]
            assert len(browser.broker_cookies()) <= 5
            assert len(sent) < 4_096


async def test_long_pages_in_several_tabs_displace_each_other_but_the_newest_finishes(world: World) -> None:
    noise = "".join(f"{number * 7919 % 9973:x}" for number in range(2_000))
    async with world.broker() as service:
        browser = world.browser(service)
        pages = [f"{PAGE}&{tab}{noise[tab * 50 :]}"[:2_048] for tab in range(4)]
        callbacks = [await browser.to_callback(redirect_url=page) for page in pages]
        assert len(browser.client.build_request("GET", f"{BROKER}/login").headers["cookie"]) < 4_096
        assert await finish(browser, callbacks[-1]) == pages[-1]


@pytest.mark.requirement("S-10")
@pytest.mark.parametrize(
    ("tabs", "length"),
    [(2, 2_048), (3, 1_500), (5, 1_231)],
    ids=["two of the longest", "three of 1,500 characters", "five of 1,231"],
)
async def test_tabs_to_long_pages_of_random_text_all_finish(world: World, tabs: int, length: int) -> None:
    async with world.broker() as service:
        browser = world.browser(service)
        pages = [f"{PAGE}&{secrets.token_urlsafe(length)}"[:length] for _ in range(tabs)]
        callbacks = [await browser.to_callback(redirect_url=page) for page in pages]
        for page, callback in zip(pages, callbacks, strict=True):
            assert await finish(browser, callback) == page


@pytest.mark.requirement("S-10")
async def test_two_tabs_to_the_longest_pages_finish_with_entras_longest_address(world: World) -> None:
    """Its address, and what a portal may add, leave the state the least room."""
    world.settings["identity_providers"]["idp"]["authorization_parameters"] = {"domain_hint": "x" * 150}
    async with world.broker() as service:
        browser = world.browser(service)
        pages = [f"{PAGE}&{secrets.token_urlsafe(2_048)}"[:2_048] for _ in range(2)]
        callbacks = [await browser.to_callback(redirect_url=page) for page in pages]
        for page, callback in zip(pages, callbacks, strict=True):
            assert await finish(browser, callback) == page


@pytest.mark.requirement("S-10")
async def test_a_strangers_link_to_a_long_page_ends_no_sign_in_to_a_short_one(world: World) -> None:
    async with world.broker() as service:
        browser = world.browser(service)
        callbacks = [await browser.to_callback(redirect_url=page) for page in PAGES[:3]]
        for _ in range(2):
            await browser.to_callback(redirect_url=f"{PAGE}&{secrets.token_urlsafe(2_048)}"[:2_048])
        for page, callback in zip(PAGES, callbacks, strict=False):
            assert await finish(browser, callback) == page


START = "https://secure.comm100.example/signin"


@pytest.mark.requirement("S-10")
@pytest.mark.parametrize("start_url", [START, None], ids=["with start_url", "without"])
async def test_a_tab_whose_page_is_lost_says_so_and_leads_to_the_start(world: World, start_url: str | None) -> None:
    world.settings["sites"]["main"]["start_url"] = start_url
    async with world.broker() as service:
        browser = world.browser(service)
        pages = [f"{PAGE}&{secrets.token_urlsafe(2_048)}"[:2_048] for _ in range(3)]
        callbacks = [await browser.to_callback(redirect_url=page) for page in pages]
        dropped = await browser.open(callbacks[0])
        assert_refused(dropped, CookieMissing)
        assert "no longer has the address of the page you wanted" in dropped.text
        assert start_again(dropped) == (start_url or f"{BROKER}/login/main?idp=idp&restarted=1")
        assert dropped.headers["refresh"] == f"10;url={start_again(dropped)}"
        for page, callback in list(zip(pages, callbacks, strict=True))[1:]:
            assert await finish(browser, callback) == page


@pytest.mark.requirement("S-10")
async def test_a_browser_that_keeps_no_cookies_is_not_sent_to_the_start_by_itself(world: World) -> None:
    """Comm100's start may lead back to us at once, and so on without end."""
    world.settings["sites"]["main"]["start_url"] = START
    async with world.broker() as service:
        browser = world.browser(service)
        callback = await browser.to_callback(redirect_url=f"{PAGE}&{secrets.token_urlsafe(2_048)}"[:2_048])
        browser.forget_cookies()
        dropped = await browser.open(callback)
    assert_refused(dropped, CookieMissing)
    assert (refresh(dropped), start_again(dropped)) == (None, START)


@pytest.mark.requirement("S-10")
async def test_a_tab_whose_page_is_not_lost_says_nothing_of_it(world: World) -> None:
    async with world.broker() as service:
        browser = world.browser(service)
        callback = await browser.to_callback(redirect_url=PAGE)
        browser.forget_cookies()
        dropped = await browser.open(callback)
    assert "the page you wanted" not in dropped.text
    assert dropped.headers["refresh"].startswith("1;url=")


@pytest.mark.requirement("S-03")
async def test_the_same_callback_twice_asks_the_provider_once(world: World) -> None:
    """In a browser that lets go of the cookie."""
    async with world.broker() as service:
        browser = world.browser(service)
        callback = await browser.to_callback(redirect_url=PAGE)
        assert await finish(browser, callback) == PAGE
        assert_refused(await browser.open(callback), CookieMissing)
    assert world.provider.count("/token") == 1
    assert len(world.received) == 1


@pytest.mark.requirement("S-03")
async def test_the_same_callback_twice_with_its_cookie_asks_the_provider_once(world: World) -> None:
    """In a browser that has kept the cookie: two requests on their way at the same time."""
    async with world.broker() as service:
        browser, twin = world.browser(service), world.browser(service)
        callback = await browser.to_callback(redirect_url=PAGE)
        twin.client.cookies.update(browser.client.cookies)
        assert await finish(browser, callback) == PAGE
        second = await twin.open(callback)
        assert_refused(second, TransactionSpent)
        assert twin.broker_cookies() == []
    assert world.provider.count("/token") == 1


@pytest.mark.requirement("S-03")
async def test_of_several_simultaneous_callbacks_one_goes_through(world: World) -> None:
    """A double click, or a browser that sends a request again."""
    async with world.broker() as service:
        browser = world.browser(service)
        callback = await browser.to_callback(redirect_url=PAGE)
        cookie = browser.client.build_request("GET", callback).headers["cookie"]
        answers = await asyncio.gather(*(browser.get(callback, cookie=cookie) for _ in range(5)))
    (through,) = [answer for answer in answers if answer.status_code == 303]
    assert through.headers["location"].startswith(f"{ENDPOINT}?jwt=")
    for answer in answers:
        if answer is not through:
            assert_refused(answer, TransactionSpent)
    assert world.provider.count("/token") == 1


async def test_the_back_button_signs_the_person_in_anew(world: World) -> None:
    async with world.broker() as service:
        browser = world.browser(service)
        callback = await browser.to_callback(redirect_url=PAGE)
        await finish(browser, callback)
        again = await browser.open(callback)
        assert await finish(browser, refresh(again) or "") == PAGE
    assert [received.refusal for received in world.received] == [None, None]


async def test_going_back_to_login_begins_another_sign_in(world: World) -> None:
    async with world.broker() as service:
        browser = world.browser(service)
        abandoned = await browser.to_callback(redirect_url=PAGES[0])
        assert await finish(browser, await browser.to_callback(redirect_url=PAGES[1])) == PAGES[1]
        assert await finish(browser, abandoned) == PAGES[0]
        assert str(browser.steps[-2].url).startswith(ENDPOINT)
