"""The chooser: which providers, in which order, who is spared it, and that everybody can use it."""

from __future__ import annotations

import html
import re

import httpx
import pytest

from broker.errors import NoSuchPage
from tests.fakes.world import BROKER, ENDPOINT, PAGE, SHARED_SECRET, World, assert_refused

GLOBEX = {"endpoint": "https://globex.comm100.example/sso", "shared_secret": SHARED_SECRET[::-1]}


def offered(page: httpx.Response) -> list[str]:
    """Read the ids of the providers offered, in order."""
    assert page.status_code == 200
    links = [html.unescape(href) for href in re.findall(r'<a [^>]*href="([^"]*)"', page.text)]
    assert all(link.startswith(f"{BROKER}/login/") for link in links)
    return [httpx.URL(link).params["idp"] for link in links]


def three_providers(world: World) -> None:
    world.add_provider("eu")
    world.add_provider("labs", email_domains=["acme-labs.example"])


async def test_providers_are_offered_in_the_order_of_the_settings(world: World) -> None:
    three_providers(world)
    async with world.broker() as service:
        assert offered(await world.browser(service).open(f"{BROKER}/login")) == ["idp", "eu", "labs"]


async def test_a_site_offers_its_own_in_its_own_order(world: World) -> None:
    three_providers(world)
    world.settings["sites"]["globex"] = {**GLOBEX, "identity_providers": ["labs", "idp"]}
    async with world.broker() as service:
        browser = world.browser(service)
        assert offered(await browser.open(f"{BROKER}/login/globex")) == ["labs", "idp"]
        assert offered(await browser.open(f"{BROKER}/login/main")) == ["idp", "eu", "labs"]
        assert_refused(await browser.open(f"{BROKER}/login/globex", idp="eu"), NoSuchPage)


async def test_the_provider_chosen_last_comes_first(world: World) -> None:
    three_providers(world)
    async with world.broker() as service:
        browser = world.browser(service)
        chosen = await browser.open(f"{BROKER}/login", idp="labs")
        assert offered(await browser.open(f"{BROKER}/login")) == ["labs", "idp", "eu"]
        await browser.open(f"{BROKER}/login", idp="eu")
        assert offered(await browser.open(f"{BROKER}/login")) == ["eu", "idp", "labs"]
    kept = [line for line in chosen.headers.get_list("set-cookie") if "last_provider" in line]
    assert kept == ["__Host-last_provider=labs; Max-Age=15552000; Path=/; HttpOnly; SameSite=Lax; Secure"]


@pytest.mark.parametrize(
    "cookie",
    [
        pytest.param("__Host-last_provider=nobody", id="a provider that is gone"),
        pytest.param("__Host-last_provider=", id="empty"),
        pytest.param("last_provider=eu", id="without the prefix"),
        pytest.param("__Host-last_provider=eu; __Host-last_provider=eu", id="twice"),
        pytest.param('__Host-last_provider="><script>', id="markup"),
    ],
)
async def test_an_odd_last_choice_changes_nothing(world: World, cookie: str) -> None:
    three_providers(world)
    async with world.broker() as service:
        page = await world.browser(service).get(f"{BROKER}/login", cookie=cookie)
    assert offered(page) == ["idp", "eu", "labs"]


async def test_each_choice_keeps_the_page_comm100_named_and_the_page_sets_nothing(world: World) -> None:
    three_providers(world)
    async with world.broker() as service:
        browser = world.browser(service)
        page = await browser.open(f"{BROKER}/login", redirect_url=PAGE)
    links = [httpx.URL(html.unescape(href)) for href in re.findall(r'<a [^>]*href="([^"]*)"', page.text)]
    assert [link.params["redirect_url"] for link in links] == [PAGE] * 3
    assert browser.broker_cookies() == []
    assert "set-cookie" not in page.headers


async def test_it_is_made_of_links_alone_and_small_however_many_there_are(world: World) -> None:
    for number in range(20):
        world.add_provider(f"idp{number}", label="W" * 60, email_domains=[f"acme{number}.example"])
    async with world.broker() as service:
        page = await world.browser(service).open(f"{BROKER}/login", redirect_url=PAGE)
    assert len(offered(page)) == 21
    assert len(page.content) < 20_000
    elements = set(re.findall(r"<([a-z][a-z0-9]*)", page.text))
    assert elements.isdisjoint({"script", "form", "button", "input", "iframe", "object", "embed"})
    assert not re.search(r"\stabindex=|\son[a-z]+=|javascript:", page.text)
    assert re.search(r'<nav aria-labelledby="question">\s*<ul', page.text)


@pytest.mark.parametrize("label", ["<b>Acme</b>", 'Acme" onclick="x', "Acme & Söhne"])
async def test_a_label_is_text(world: World, label: str) -> None:
    world.add_provider("eu", label=label)
    async with world.broker() as service:
        page = await world.browser(service).open(f"{BROKER}/login")
    assert f">{html.escape(label).replace('&quot;', '&#34;')}</a>" in page.text


HINTED = [
    pytest.param("emmy@acme-eu.example", "eu", id="one provider may assert it"),
    pytest.param("Emmy@ACME-EU.example", "eu", id="in another case"),
    pytest.param("nobody@acme-labs.example", "labs", id="whoever it is"),
    pytest.param("ada@unknown.example", None, id="no provider may"),
    pytest.param("ada@sub.acme-eu.example", None, id="a subdomain, which is not implied"),
    pytest.param("acme-eu.example", None, id="no address"),
    pytest.param("a@b@acme-eu.example", None, id="two at signs"),
    pytest.param("emmy@acme-eu.example\r\nx", None, id="a line end"),
    pytest.param("", None, id="empty"),
]


@pytest.mark.parametrize(("login_hint", "chosen"), HINTED)
async def test_a_login_hint_chooses_by_its_domain(world: World, login_hint: str, chosen: str | None) -> None:
    three_providers(world)
    async with world.broker() as service:
        browser = world.browser(service)
        answer = await browser.open(f"{BROKER}/login", login_hint=login_hint, redirect_url=PAGE)
    if chosen is None:
        assert offered(answer) == ["idp", "eu", "labs"]
        return
    location = httpx.URL(answer.headers["location"])
    assert location.host == f"{chosen}.example"
    assert "login_hint" not in location.params  # what came from a request goes no further
    assert "__Host-last_provider" not in browser.broker_cookies()  # the person chose nothing


async def test_a_login_hint_that_comes_twice_chooses_nothing(world: World) -> None:
    three_providers(world)
    async with world.broker() as service:
        twice = "login_hint=a@acme-eu.example&login_hint=a@acme-eu.example"
        assert len(offered(await world.browser(service).open(f"{BROKER}/login?{twice}"))) == 3


async def test_a_domain_two_providers_may_assert_is_the_persons_to_choose(world: World) -> None:
    world.add_provider("eu", email_domains=["acme.example"])
    async with world.broker(shared_email_domains=True) as service:
        page = await world.browser(service).open(f"{BROKER}/login", login_hint="ada@acme.example")
    assert offered(page) == ["idp", "eu"]


async def test_a_domain_of_a_provider_this_site_does_not_offer_chooses_nothing(world: World) -> None:
    three_providers(world)
    world.settings["sites"]["main"]["identity_providers"] = ["idp", "labs"]
    async with world.broker() as service:
        page = await world.browser(service).open(f"{BROKER}/login", login_hint="emmy@acme-eu.example")
    assert offered(page) == ["idp", "labs"]


async def test_a_choice_goes_before_a_hint(world: World) -> None:
    three_providers(world)
    async with world.broker() as service:
        answer = await world.browser(service).open(f"{BROKER}/login", idp="labs", login_hint="emmy@acme-eu.example")
    assert httpx.URL(answer.headers["location"]).host == "labs.example"


async def test_with_one_provider_nobody_is_asked(world: World) -> None:
    async with world.broker() as service:
        browser = world.browser(service)
        arrived = await browser.follow(await browser.open(f"{BROKER}/login"), until=ENDPOINT)
    assert arrived.headers["location"].startswith(ENDPOINT)
    assert "__Host-last_provider" not in browser.broker_cookies()
