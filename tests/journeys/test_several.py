"""Several identity providers, several Comm100 sites: nobody's sign-in ever ends up as another's."""

from __future__ import annotations

import html
import re
from typing import Any

import httpx
import jwt
import pytest
from jwt.types import Options

from broker.errors import (
    BrokerError,
    CookieMissing,
    EmailDomainNotAllowed,
    NoSuchPage,
    RedirectUrlRefused,
    SiteNotOffered,
    StateOfAnotherProvider,
)
from tests.fakes.provider import Person
from tests.fakes.world import BROKER, ENDPOINT, PAGE, SHARED_SECRET, World, assert_refused

GLOBEX_ENDPOINT = "https://globex.comm100.example/sso/jwt"
GLOBEX_PAGE = "https://globex.comm100.example/agentconsole"
GLOBEX_SECRET = "R2xvYmV4LXNlY3JldC1vZi1pdHMtb3duLTQ4LWNoYXJhY3RlcnMh"
UNCHECKED: Options = {"verify_exp": False, "verify_iat": False, "verify_nbf": False, "verify_aud": False}


def choices(page: httpx.Response) -> dict[str, str]:
    """Read the chooser's buttons."""
    links = re.findall(r'<a class="button quiet" href="([^"]*)">([^<]*)</a>', page.text)
    return {label: html.unescape(href) for href, label in links}


def two_sites() -> dict[str, Any]:
    return {
        "main": {"endpoint": ENDPOINT, "shared_secret": SHARED_SECRET},
        "globex": {"endpoint": GLOBEX_ENDPOINT, "shared_secret": GLOBEX_SECRET, "token_lifetime": 120},
    }


def secrets_that_fit(location: str) -> list[str]:
    """Say which site's secret signed the token in an address."""
    token = httpx.URL(location).params["jwt"]
    fitting = []
    for name, secret in (("main", SHARED_SECRET), ("globex", GLOBEX_SECRET)):
        try:
            jwt.decode(token, secret.encode(), ["HS256"], options=UNCHECKED)
        except jwt.InvalidSignatureError:
            continue
        fitting.append(name)
    return fitting


async def test_with_several_providers_the_person_chooses(world: World) -> None:
    eu = world.add_provider("eu", label="Acme Europe")
    async with world.broker() as service:
        browser = world.browser(service)
        page = await browser.open(f"{BROKER}/login", redirect_url=PAGE)
        assert page.status_code == 200
        assert list(choices(page)) == ["Idp", "Acme Europe"]
        assert browser.broker_cookies() == []
        end = await browser.follow(await browser.open(choices(page)["Acme Europe"]))
    assert str(end.url) == PAGE
    assert "emmy@acme-eu.example" in end.text
    assert (eu.count("/token"), world.provider.count("/token")) == (1, 0)


async def test_a_link_can_choose_the_provider(world: World) -> None:
    eu = world.add_provider("eu")
    async with world.broker() as service:
        end = await world.browser(service).sign_in(idp="eu", redirect_url=PAGE)
    assert str(end.url) == PAGE
    assert eu.count("/token") == 1


async def test_a_choice_left_empty_is_no_choice(world: World) -> None:
    world.add_provider("eu")
    async with world.broker() as service:
        page = await world.browser(service).open(f"{BROKER}/login", idp="")
    assert list(choices(page)) == ["Idp", "Eu"]


@pytest.mark.parametrize(
    ("path", "offered"),
    [
        pytest.param("/login?idp=nobody", ["idp", "eu"], id="no provider of that name"),
        pytest.param("/login?idp=eu", ["idp"], id="a provider the site does not offer"),
        pytest.param("/login/nowhere", ["idp"], id="no site of that name"),
        pytest.param("/login/main//", ["idp"], id="two slashes too many"),
        pytest.param("/callback/nobody?state=x&code=y", ["idp"], id="no callback of that name"),
    ],
)
async def test_what_does_not_exist_is_a_page_not_found(world: World, path: str, offered: list[str]) -> None:
    world.add_provider("eu")
    world.settings["sites"]["main"]["identity_providers"] = offered
    async with world.broker() as service:
        browser = world.browser(service)
        assert_refused(await browser.open(f"{BROKER}{path}"), NoSuchPage)
    assert browser.broker_cookies() == []


async def test_a_disabled_provider_is_not_offered_and_its_callback_is_not_there(world: World) -> None:
    world.add_provider("eu", enabled=False)
    async with world.broker() as service:
        browser = world.browser(service)
        assert_refused(await browser.open(f"{BROKER}/login", idp="eu"), NoSuchPage)
        assert_refused(await browser.open(f"{BROKER}/callback/eu", state="x", code="y"), NoSuchPage)
        assert str((await browser.sign_in(redirect_url=PAGE)).url) == PAGE


async def test_with_every_provider_disabled_login_says_that_it_is_not_switched_on(world: World) -> None:
    world.settings["identity_providers"]["idp"]["enabled"] = False
    async with world.broker() as service:
        assert_refused(await world.browser(service).open(f"{BROKER}/login"), SiteNotOffered)


@pytest.mark.requirement("S-06")
async def test_one_providers_state_at_anothers_callback_reaches_neither(world: World) -> None:
    """The mix-up attack."""
    eu = world.add_provider("eu")
    async with world.broker() as service:
        browser = world.browser(service)
        callback = await browser.to_callback(idp="eu", redirect_url=PAGE)
        world.provider.requests.clear()
        mixed = await browser.open(callback.replace("/callback/eu?", "/callback/idp?"))
        assert_refused(mixed, StateOfAnotherProvider)
        assert browser.broker_cookies() == ["__Host-last_provider"]
    assert "refresh" not in mixed.headers
    assert "/token" not in eu.requests + world.provider.requests


@pytest.mark.requirement("S-06")
async def test_each_provider_is_told_a_redirect_uri_of_its_own(world: World) -> None:
    world.add_provider("eu")
    async with world.broker() as service:
        browser = world.browser(service)
        departures = [await browser.open(f"{BROKER}/login", idp=idp) for idp in ("idp", "eu")]
    told = [httpx.URL(one.headers["location"]).params["redirect_uri"] for one in departures]
    assert told == [f"{BROKER}/callback/idp", f"{BROKER}/callback/eu"]


@pytest.mark.requirement("S-20")
@pytest.mark.vulnerability("CVE-2023-3128")
async def test_a_provider_cannot_vouch_for_anothers_people(world: World) -> None:
    eu = world.add_provider("eu")
    eu.person = Person("sub-eu", {"email": "ada@acme.example", "email_verified": True, "name": "Ada Lovelace"})
    async with world.broker() as service:
        assert_refused(await world.browser(service).sign_in(idp="eu"), EmailDomainNotAllowed)
    assert world.received == []


@pytest.mark.requirement("S-35")
@pytest.mark.parametrize(
    ("path", "signer", "endpoint"),
    [
        pytest.param("/login", "main", ENDPOINT, id="the first site by default"),
        pytest.param("/login/main", "main", ENDPOINT, id="the first site by name"),
        pytest.param("/login/globex", "globex", GLOBEX_ENDPOINT, id="the second site"),
    ],
)
async def test_each_site_gets_tokens_signed_with_its_own_secret(
    world: World, path: str, signer: str, endpoint: str
) -> None:
    async with world.broker(sites=two_sites()) as service:
        browser = world.browser(service)
        callback = await browser.follow(await browser.open(f"{BROKER}{path}"), until=endpoint)
    location = callback.headers["location"]
    assert location.startswith(f"{endpoint}?jwt=")
    assert secrets_that_fit(location) == [signer]


@pytest.mark.requirement("S-33")
@pytest.mark.parametrize(
    ("site", "page"),
    [pytest.param("main", GLOBEX_PAGE, id="globex's at main"), pytest.param("globex", PAGE, id="main's at globex")],
)
async def test_one_sites_page_is_refused_at_another(world: World, site: str, page: str) -> None:
    async with world.broker(sites=two_sites()) as service:
        assert_refused(
            await world.browser(service).open(f"{BROKER}/login/{site}", redirect_url=page), RedirectUrlRefused
        )


@pytest.mark.requirement("S-35")
@pytest.mark.parametrize(
    "addition",
    [
        pytest.param("&site=globex", id="site"),
        pytest.param(f"&redirect_url={GLOBEX_PAGE}", id="redirect_url"),
        pytest.param("&s=globex&idp=eu&endpoint=https://evil.example", id="everything else one could try"),
    ],
)
async def test_nothing_at_the_callback_changes_the_site(world: World, addition: str) -> None:
    async with world.broker(sites=two_sites()) as service:
        browser = world.browser(service)
        location = (await browser.open(await browser.to_callback(redirect_url=PAGE) + addition)).headers["location"]
    assert secrets_that_fit(location) == ["main"]
    assert httpx.URL(location).params["redirect_url"] == PAGE


@pytest.mark.requirement("S-35")
async def test_two_sites_in_two_tabs_keep_apart(world: World) -> None:
    async with world.broker(sites=two_sites()) as service:
        browser = world.browser(service)
        ends = {}
        for site in ("main", "globex"):
            redirect = await browser.open(f"{BROKER}/login/{site}")
            ends[site] = (await browser.follow(redirect, until=f"{BROKER}/callback")).headers["location"]
        arrivals = {site: (await browser.open(ends[site])).headers["location"] for site in ("globex", "main")}
    assert {site: secrets_that_fit(location) for site, location in arrivals.items()} == {
        "main": ["main"],
        "globex": ["globex"],
    }


@pytest.mark.requirement("S-35")
async def test_one_sites_state_with_anothers_cookie_is_refused(world: World) -> None:
    async with world.broker(sites=two_sites()) as service:
        browser = world.browser(service)
        redirect = await browser.open(f"{BROKER}/login/main")
        main = (await browser.follow(redirect, until=f"{BROKER}/callback")).headers["location"]
        main_name = browser.broker_cookies()[0]
        browser.forget_cookies()
        await browser.open(f"{BROKER}/login/globex")
        value = next(iter(browser.client.cookies.values()))
        browser.forget_cookies()
        refused: type[BrokerError] = CookieMissing
        assert_refused(await browser.get(main, cookie=f"{main_name}={value}"), refused)
    assert world.provider.count("/token") == 0


async def test_a_site_taken_out_of_service_in_mid_sign_in_is_not_found(world: World) -> None:
    async with world.broker(sites=two_sites()) as before, world.broker() as after:
        browser = world.browser(before)
        redirect = await browser.open(f"{BROKER}/login/globex")
        callback = (await browser.follow(redirect, until=f"{BROKER}/callback")).headers["location"]
        browser.service = after
        assert_refused(await browser.open(callback), NoSuchPage)
    assert world.provider.count("/token") == 0
