"""/logout: the broker forgets, the provider is told where that is possible, and nobody goes round in circles."""

from __future__ import annotations

import secrets

import httpx
import pytest

from broker.app import Service
from broker.errors import BrokerError, MethodNotAllowed, NoSuchPage, NotANavigation, ParameterRepeated
from broker.signing import sign_value
from tests.fakes.clock import Clock
from tests.fakes.kinds import use_kind
from tests.fakes.lies import Lies, with_
from tests.fakes.world import BROKER, ENDPOINT, PAGE, SECRET_KEY, SHARED_SECRET, Browser, World, assert_refused

END = "https://idp.example/logout"
LOGOUT = f"{BROKER}/logout"
START = "https://secure.comm100.example/signin"
OTHER_START = "https://globex.comm100.example/signin"
SIGNED_IN = "__Host-signed_in"


@pytest.fixture
def ending_world(world: World) -> World:
    """A provider where people can be signed out, and two sites."""
    world.provider.lies = Lies(discovery=with_(end_session_endpoint=END))
    world.settings["sites"]["main"]["start_url"] = START
    endpoint = "https://globex.comm100.example/sso"
    globex = {"endpoint": endpoint, "shared_secret": SHARED_SECRET[::-1], "start_url": OTHER_START}
    world.settings["sites"]["globex"] = globex
    return world


async def signed_in(world: World, service: Service) -> Browser:
    browser = world.browser(service)
    await browser.sign_in(redirect_url=PAGE)
    return browser


def assert_signed_out(page: httpx.Response, start_url: str | None = None) -> None:
    assert page.status_code == 200
    assert "You are signed out" in page.text
    assert (f'href="{start_url}"' in page.text) if start_url else ("Sign in again" not in page.text)


async def test_after_a_sign_in_the_provider_is_told_whom_to_sign_out(ending_world: World) -> None:
    async with ending_world.broker() as service:
        browser = await signed_in(ending_world, service)
        assert browser.broker_cookies() == [SIGNED_IN]
        answer = await browser.open(LOGOUT)
    location = httpx.URL(answer.headers["location"])
    assert (answer.status_code, str(location.copy_with(query=None))) == (303, END)
    assert location.params["client_id"] == "client-1"
    assert location.params["post_logout_redirect_uri"] == LOGOUT
    assert location.params["id_token_hint"] in ending_world.provider.issued
    assert list(location.params) == ["client_id", "post_logout_redirect_uri", "state", "id_token_hint"]
    assert browser.broker_cookies() == []
    assert len(answer.headers["location"]) < 2_048


@pytest.mark.parametrize(
    ("path", "start_url"),
    [
        pytest.param("/logout", START, id="the first site"),
        pytest.param("/logout/main", START, id="the first site by name"),
        pytest.param("/logout/globex", OTHER_START, id="another site"),
    ],
)
async def test_back_from_the_provider_the_page_is_the_sites(ending_world: World, path: str, start_url: str) -> None:
    async with ending_world.broker() as service:
        browser = await signed_in(ending_world, service)
        state = httpx.URL((await browser.open(f"{BROKER}{path}")).headers["location"]).params["state"]
        assert_signed_out(await browser.open(LOGOUT, state=state), start_url)


async def test_an_old_state_is_a_sign_out_like_any_other(ending_world: World, clock: Clock) -> None:
    async with ending_world.broker() as service:
        first, later = await signed_in(ending_world, service), await signed_in(ending_world, service)
        state = httpx.URL((await first.open(LOGOUT)).headers["location"]).params["state"]
        clock.advance(601)
        answer = await later.open(LOGOUT, state=state)
    assert answer.headers["location"].startswith(END)


async def test_a_cookie_that_stayed_does_not_send_the_browser_round_in_circles(ending_world: World) -> None:
    async with ending_world.broker() as service:
        browser = await signed_in(ending_world, service)
        cookie = f"{SIGNED_IN}={browser.client.cookies[SIGNED_IN]}"
        state = httpx.URL((await browser.open(LOGOUT)).headers["location"]).params["state"]
        page = await browser.get(f"{LOGOUT}?state={state}", cookie=cookie)
    assert_signed_out(page, START)
    assert any(line.startswith(f"{SIGNED_IN}=; Max-Age=0;") for line in page.headers.get_list("set-cookie"))


async def test_the_state_of_a_strangers_sign_out_is_a_sign_out_like_any_other(ending_world: World) -> None:
    """The victim would read that they are signed out while their session at the provider goes on."""
    async with ending_world.broker() as service:
        stranger, victim = await signed_in(ending_world, service), await signed_in(ending_world, service)
        strangers_state = httpx.URL((await stranger.open(LOGOUT)).headers["location"]).params["state"]
        answer = await victim.open(LOGOUT, state=strangers_state)
        assert answer.headers["location"].startswith(END)
        own_state = httpx.URL(answer.headers["location"]).params["state"]
        assert_signed_out(await victim.open(LOGOUT, state=own_state), START)


async def test_a_state_of_an_earlier_sign_out_is_not_that_of_a_later_one(ending_world: World) -> None:
    async with ending_world.broker() as service:
        browser = await signed_in(ending_world, service)
        earlier = httpx.URL((await browser.open(LOGOUT)).headers["location"]).params["state"]
        await browser.sign_in(redirect_url=PAGE)
        answer = await browser.open(LOGOUT, state=earlier)
    assert answer.headers["location"].startswith(END)


@pytest.mark.parametrize("state", ["", "x", "bWFpbg.bWFpbg", "\x00"], ids=["empty", "short", "forged", "odd"])
async def test_a_state_that_is_not_ours_is_a_sign_out_like_any_other(ending_world: World, state: str) -> None:
    async with ending_world.broker() as service:
        browser = await signed_in(ending_world, service)
        answer = await browser.open(LOGOUT, state=state)
        assert answer.headers["location"].startswith(END)
        assert_signed_out(await browser.open(LOGOUT, state=state), START)


async def test_the_providers_own_hint_is_sent_where_it_gave_one(ending_world: World) -> None:
    """Entra's logout_hint is the ID token's claim login_hint."""
    lies = Lies(discovery=with_(end_session_endpoint=END), claims=with_(login_hint="O.CiQ-opaque"))
    ending_world.provider.lies = lies
    async with ending_world.broker() as service:
        browser = await signed_in(ending_world, service)
        sent = httpx.URL((await browser.open(LOGOUT)).headers["location"]).params
    assert sent["logout_hint"] == "O.CiQ-opaque"


async def test_a_large_id_token_is_left_out(ending_world: World) -> None:
    large = with_(login_hint="ada", groups=[secrets.token_hex(16) for _ in range(200)])
    ending_world.provider.lies = Lies(discovery=with_(end_session_endpoint=END), claims=large)
    async with ending_world.broker() as service:
        browser = await signed_in(ending_world, service)
        sent = httpx.URL((await browser.open(LOGOUT)).headers["location"]).params
    assert "id_token_hint" not in sent
    assert sent["logout_hint"] == "ada"


async def test_where_a_hint_is_demanded_and_none_is_at_hand_the_page_is_ours(ending_world: World) -> None:
    """Okta answers with an error page of its own."""
    use_kind(ending_world, "okta", {"email": "ada@acme.example"})
    lies = Lies(discovery=with_(end_session_endpoint=END), claims=with_(padding=secrets.token_hex(2_000)))
    ending_world.provider.lies = lies
    async with ending_world.broker() as service:
        browser = await signed_in(ending_world, service)
        assert_signed_out(await browser.open(LOGOUT), START)
    assert browser.broker_cookies() == []


async def test_a_later_sign_in_elsewhere_leaves_nothing_of_the_first_to_sign_out(ending_world: World) -> None:
    elsewhere = ending_world.add_provider("elsewhere")
    elsewhere.lies = Lies()
    async with ending_world.broker() as service:
        browser = ending_world.browser(service)
        await browser.sign_in(idp="idp")
        assert SIGNED_IN in browser.broker_cookies()
        await browser.sign_in(idp="elsewhere")
        assert SIGNED_IN not in browser.broker_cookies()
        assert_signed_out(await browser.open(LOGOUT), START)


async def test_a_provider_that_cannot_sign_people_out_leaves_nothing_to_remember(world: World) -> None:
    async with world.broker() as service:
        browser = await signed_in(world, service)
        assert browser.broker_cookies() == []
        assert_signed_out(await browser.open(LOGOUT))


async def test_sign_ins_under_way_are_forgotten(world: World) -> None:
    async with world.broker() as service:
        browser = world.browser(service)
        callback = await browser.to_callback()
        assert len(browser.broker_cookies()) == 1
        assert_signed_out(await browser.open(LOGOUT))
        assert browser.broker_cookies() == []
        assert (await browser.open(callback)).status_code == 400


async def test_with_the_provider_down_the_page_is_ours(ending_world: World) -> None:
    async with ending_world.broker() as service:
        browser = await signed_in(ending_world, service)
    ending_world.provider.is_down = lambda _: httpx.Response(503)
    async with ending_world.broker() as service:  # another replica, which never met the provider
        browser.service = service
        assert_signed_out(await browser.open(LOGOUT), START)
    assert browser.broker_cookies() == []


async def test_a_provider_that_is_gone_from_the_settings_is_not_told(ending_world: World) -> None:
    ending_world.add_provider("eu")
    async with ending_world.broker() as service:
        browser = ending_world.browser(service)
        await browser.sign_in(idp="idp")
    ending_world.settings["identity_providers"]["idp"]["enabled"] = False
    async with ending_world.broker() as service:
        browser.service = service
        assert_signed_out(await browser.open(LOGOUT), START)


async def test_a_state_of_the_version_before_is_a_sign_out_like_any_other(ending_world: World, clock: Clock) -> None:
    state = sign_value(["main", int(clock())], purpose=b"broker logout state 1", key=SECRET_KEY)
    async with ending_world.broker() as service:
        browser = await signed_in(ending_world, service)
        assert (await browser.open(LOGOUT, state=state)).headers["location"].startswith(END)


async def test_a_changed_key_still_signs_out(ending_world: World) -> None:
    async with ending_world.broker() as service:
        browser = await signed_in(ending_world, service)
    async with ending_world.broker(secret_keys=[SECRET_KEY[::-1], SECRET_KEY]) as service:
        browser.service = service
        state = httpx.URL((await browser.open(LOGOUT)).headers["location"]).params["state"]
        assert_signed_out(await browser.open(LOGOUT, state=state), START)


@pytest.mark.parametrize(
    "cookie",
    [
        pytest.param(f"{SIGNED_IN}=forged", id="forged"),
        pytest.param("signed_in=gAAAA", id="without the prefix"),
        pytest.param(f"{SIGNED_IN}=a; {SIGNED_IN}=a", id="twice"),
    ],
)
async def test_a_cookie_that_is_not_ours_tells_the_provider_nothing(ending_world: World, cookie: str) -> None:
    async with ending_world.broker() as service:
        assert_signed_out(await ending_world.browser(service).get(LOGOUT, cookie=cookie), START)


@pytest.mark.requirement("S-09")
@pytest.mark.parametrize(
    ("method", "headers", "error"),
    [
        pytest.param("HEAD", {}, MethodNotAllowed, id="HEAD"),
        pytest.param("POST", {}, MethodNotAllowed, id="POST"),
        pytest.param("GET", {"Sec-Purpose": "prefetch;prerender"}, NotANavigation, id="a prefetch"),
        pytest.param("GET", {"Purpose": "prefetch"}, NotANavigation, id="an older prefetch"),
        pytest.param("GET", {"Sec-Fetch-Mode": "no-cors"}, NotANavigation, id="an image"),
        pytest.param("GET", {"Sec-Fetch-Mode": "cors"}, NotANavigation, id="a script's fetch"),
    ],
)
async def test_only_a_navigation_signs_out(
    ending_world: World, method: str, headers: dict[str, str], error: type[BrokerError]
) -> None:
    async with ending_world.broker() as service:
        browser = await signed_in(ending_world, service)
        await browser.to_callback()
        before = browser.broker_cookies()
        answer = await browser.client.request(method, LOGOUT, headers=headers)
    assert answer.status_code == error.status
    assert "location" not in answer.headers
    assert "set-cookie" not in answer.headers
    assert len(before) == 2
    assert browser.broker_cookies() == before


@pytest.mark.parametrize(
    ("address", "error"),
    [
        pytest.param("/logout/nowhere", NoSuchPage, id="no such site"),
        pytest.param("/logout?state=a&state=b", ParameterRepeated, id="a state twice"),
    ],
)
async def test_a_wrong_address_is_refused(world: World, address: str, error: type[BrokerError]) -> None:
    async with world.broker() as service:
        assert_refused(await world.browser(service).open(f"{BROKER}{address}"), error)


@pytest.mark.requirement("S-10")
async def test_all_cookies_together_stay_under_4_kb(ending_world: World) -> None:
    """With the one of a sign-in near its largest, the last choice, and sign-ins under way to long addresses."""
    ending_world.add_provider("eu")
    largest = 0
    async with ending_world.broker() as service:
        browser = ending_world.browser(service)
        for length in range(300, 600, 50):  # some of these ID tokens are just small enough
            claims = with_(filler=secrets.token_urlsafe(length)[:length])
            ending_world.provider.lies = Lies(discovery=with_(end_session_endpoint=END), claims=claims)
            await browser.follow(await browser.open(f"{BROKER}/login", idp="idp"), until=ENDPOINT)
            largest = max(largest, len(browser.client.cookies[SIGNED_IN]))
            for size in (850, 850, 880, 880, 1_100, 1_100, 1_400, 400, 400, 400, 400):
                long_page = f"{PAGE}&{secrets.token_urlsafe(size)}"
                redirect = await browser.open(f"{BROKER}/login", idp="idp", redirect_url=long_page)
                assert len(redirect.request.headers["cookie"]) < 4_096
    assert 1_300 < largest <= 1_400
    assert {SIGNED_IN, "__Host-last_provider"} < set(browser.broker_cookies())
