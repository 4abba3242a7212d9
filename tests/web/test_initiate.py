"""/initiate: a portal's tile starts a sign-in like any other, and can say no more than who and where to."""

from __future__ import annotations

import httpx
import pytest

from broker.errors import (
    BrokerError,
    InitiationRefused,
    MethodNotAllowed,
    NoSuchPage,
    NotANavigation,
    ParameterRepeated,
    RedirectUrlRefused,
)
from tests.fakes.kinds import use_kind
from tests.fakes.world import BROKER, ENDPOINT, PAGE, SHARED_SECRET, World, assert_refused

GLOBEX = "https://globex.comm100.example/sso"
TILE = f"{BROKER}/initiate/idp"
ISS = "https://idp.example"
TENANTS = ["7a0c1b2d-3e4f-4a5b-8c6d-7e8f9a0b1c2d"]


async def test_a_tile_signs_a_person_in(world: World) -> None:
    async with world.broker() as service:
        browser = world.browser(service)
        page = await browser.follow(await browser.open(TILE, iss=ISS))
    assert page.status_code == 200
    assert [name for name, _ in world.received[0].parameters] == ["jwt"]


async def test_a_tile_may_name_the_page_and_the_person(world: World) -> None:
    async with world.broker() as service:
        browser = world.browser(service)
        redirect = await browser.open(TILE, iss=ISS, login_hint="ada&prompt=none", target_link_uri=PAGE)
        page = await browser.follow(redirect)
    sent = httpx.URL(redirect.headers["location"]).params
    assert sent.get_list("login_hint") == ["ada&prompt=none"]
    assert "prompt" not in sent
    assert str(page.url) == PAGE


@pytest.mark.requirement("S-01")
async def test_a_tile_can_set_nothing_else(world: World) -> None:
    hostile = {
        "redirect_uri": "https://evil.example/",
        "state": "fixed",
        "nonce": "fixed",
        "scope": "admin",
        "prompt": "none",
        "client_id": "evil",
        "redirect_url": PAGE,
        "max_age": "0",
    }
    async with world.broker() as service:
        plain = await world.browser(service).open(TILE, iss=ISS)
        answer = await world.browser(service).open(TILE, iss=ISS, **hostile)
    expected, sent = (httpx.URL(one.headers["location"]).params for one in (plain, answer))
    assert sorted(sent.multi_items()) != sorted(expected.multi_items())  # its own state, nonce and challenge
    fresh = ("state", "nonce", "code_challenge")
    assert {k: v for k, v in sent.multi_items() if k not in fresh} == {
        k: v for k, v in expected.multi_items() if k not in fresh
    }
    assert "fixed" not in sent.values()


@pytest.mark.parametrize(
    "target",
    [
        pytest.param("", id="empty"),
        pytest.param(f"{BROKER}/", id="our home"),
        pytest.param(TILE, id="the address it calls"),
        pytest.param(f"{BROKER}/login?redirect_url=https://evil.example/", id="our login, with anything behind it"),
    ],
)
async def test_a_target_of_our_own_is_none(world: World, target: str) -> None:
    async with world.broker() as service:
        browser = world.browser(service)
        arrived = await browser.follow(await browser.open(TILE, iss=ISS, target_link_uri=target), until=ENDPOINT)
    assert list(httpx.URL(arrived.headers["location"]).params) == ["jwt"]


REFUSED = [
    pytest.param("", InitiationRefused, id="no issuer"),
    pytest.param("iss=", InitiationRefused, id="an empty issuer"),
    pytest.param("iss=https://idp.example/", InitiationRefused, id="a slash more"),
    pytest.param("iss=https://IDP.example", InitiationRefused, id="another case"),
    pytest.param("iss=https://eu.example", InitiationRefused, id="another provider's issuer"),
    pytest.param(f"iss={ISS}&iss={ISS}", ParameterRepeated, id="the issuer twice"),
    pytest.param(f"iss={ISS}&login_hint=a&login_hint=b", ParameterRepeated, id="two hints"),
    pytest.param(f"iss={ISS}&login_hint={'a' * 255}", InitiationRefused, id="a hint too long"),
    pytest.param(f"iss={ISS}&login_hint=ad%C3%A0", InitiationRefused, id="a hint beyond ASCII"),
    pytest.param(f"iss={ISS}&login_hint=a%0D%0Ab", InitiationRefused, id="a hint with a line end"),
    pytest.param(f"iss={ISS}&target_link_uri=https://evil.example/", RedirectUrlRefused, id="a stranger's page"),
    pytest.param(f"iss={ISS}&target_link_uri={BROKER}.evil.example/", RedirectUrlRefused, id="a name like ours"),
    pytest.param(f"iss={ISS}&target_link_uri=//evil.example/", RedirectUrlRefused, id="a page without a scheme"),
]


@pytest.mark.requirement("S-33")
@pytest.mark.parametrize(("query", "error"), REFUSED)
async def test_what_does_not_fit_is_refused_and_starts_nothing(
    world: World, query: str, error: type[BrokerError]
) -> None:
    world.add_provider("eu")
    async with world.broker() as service:
        browser = world.browser(service)
        world.provider.requests.clear()
        answer = await browser.open(f"{TILE}?{query}")
        assert_refused(answer, error)
    assert browser.broker_cookies() == []
    assert "evil" not in answer.text


@pytest.mark.requirement("S-09")
@pytest.mark.parametrize(
    ("method", "headers", "error"),
    [
        pytest.param("HEAD", {}, MethodNotAllowed, id="HEAD"),
        pytest.param("GET", {"Sec-Purpose": "prefetch"}, NotANavigation, id="a prefetch"),
        pytest.param("GET", {"Purpose": "prefetch"}, NotANavigation, id="an older prefetch"),
        pytest.param("GET", {"Sec-Fetch-Mode": "no-cors"}, NotANavigation, id="an image"),
        pytest.param("GET", {"Sec-Fetch-Mode": "cors"}, NotANavigation, id="a script's fetch"),
    ],
)
async def test_only_a_navigation_starts_a_sign_in(
    world: World, method: str, headers: dict[str, str], error: type[BrokerError]
) -> None:
    async with world.broker() as service:
        browser = world.browser(service)
        answer = await browser.client.request(method, f"{TILE}?iss={ISS}", headers=headers)
    assert answer.status_code == error.status
    assert "location" not in answer.headers
    assert "set-cookie" not in answer.headers


@pytest.mark.parametrize(
    "path",
    [
        pytest.param("nobody", id="no such provider"),
        pytest.param("off", id="disabled"),
        pytest.param("eu", id="no site"),
    ],
)
async def test_a_provider_nobody_can_use_has_no_tile(world: World, path: str) -> None:
    world.add_provider("eu")
    world.add_provider("off", enabled=False, email_domains=["off.example"])
    world.settings["sites"]["main"]["identity_providers"] = ["idp", "off"]
    async with world.broker() as service:
        answer = await world.browser(service).open(f"{BROKER}/initiate/{path}", iss=f"https://{path}.example")
        assert_refused(answer, NoSuchPage)


@pytest.mark.requirement("S-35")
async def test_a_tile_leads_to_the_first_site_that_offers_its_provider(world: World) -> None:
    world.add_provider("eu")
    world.settings["sites"]["main"]["identity_providers"] = ["idp"]
    globex = "https://globex.comm100.example/sso"
    world.settings["sites"]["globex"] = {"endpoint": globex, "shared_secret": SHARED_SECRET[::-1]}
    async with world.broker() as service:
        browser = world.browser(service)
        start = await browser.open(f"{BROKER}/initiate/eu", iss="https://eu.example")
        arrived = await browser.follow(start, until=globex)
        assert arrived.headers["location"].startswith(f"{globex}?jwt=")
        mains_page = await browser.open(f"{BROKER}/initiate/eu", iss="https://eu.example", target_link_uri=PAGE)
        assert_refused(mains_page, RedirectUrlRefused)


@pytest.mark.parametrize(
    ("iss", "starts"),
    [
        pytest.param("https://entra.example/organizations/v2.0", True, id="the address configured"),
        pytest.param("https://entra.example/{tenantid}/v2.0", True, id="what its metadata says"),
        pytest.param(f"https://entra.example/{TENANTS[0]}/v2.0", False, id="one tenant of several"),
    ],
)
async def test_entra_of_several_tenants_is_known_by_its_common_issuer(world: World, iss: str, starts: bool) -> None:
    provider = world.add_provider("entra", preset="entra", tenants=TENANTS)
    provider.issuer = "https://entra.example/organizations/v2.0"
    world.settings["identity_providers"]["entra"]["issuer"] = provider.issuer
    discovery = {"issuer": "https://entra.example/{tenantid}/v2.0"}
    provider.lies = type(provider.lies)(discovery=lambda document: {**document, **discovery})
    async with world.broker() as service:
        answer = await world.browser(service).open(f"{BROKER}/initiate/entra", iss=iss)
        if not starts:
            assert_refused(answer, InitiationRefused)
            return
    assert answer.headers["location"].startswith("https://entra.example/organizations/v2.0/authorize?")


@pytest.mark.requirement("S-35")
@pytest.mark.parametrize(
    ("target", "site"),
    [
        pytest.param("", "main", id="nothing named: the first site"),
        pytest.param(PAGE, "main", id="a page of the first site"),
        pytest.param(f"{GLOBEX}?queue=vip", "globex", id="a page of the other site"),
        pytest.param(f"{BROKER}/login/globex", "globex", id="the other site's login"),
        pytest.param(f"{BROKER}/login/globex?x=y", "globex", id="the other site's login, with anything behind it"),
        pytest.param(f"{BROKER}/login/nobody", "main", id="a site there is not"),
    ],
)
async def test_a_tile_leads_to_the_site_it_names(world: World, target: str, site: str) -> None:
    world.settings["sites"]["globex"] = {"endpoint": GLOBEX, "shared_secret": SHARED_SECRET[::-1]}
    async with world.broker() as service:
        browser = world.browser(service)
        start = await browser.open(TILE, iss=ISS, target_link_uri=target)
        arrived = await browser.follow(start, until=GLOBEX)
    assert (GLOBEX in arrived.headers.get("location", "")) is (site == "globex")


@pytest.mark.parametrize(
    ("kind", "iss", "starts"),
    [
        pytest.param("okta", "https://acme.okta.example", True, id="Okta: the organisation, before a custom server"),
        pytest.param("okta", "https://acme.okta.example/oauth2/default", True, id="Okta: the custom server"),
        pytest.param("okta", "https://acme.okta.example/oauth2/other", False, id="Okta: another custom server"),
        pytest.param("oidc", "https://acme.okta.example", False, id="any other provider: only its issuer"),
    ],
)
async def test_an_okta_tile_may_name_the_organisation(world: World, kind: str, iss: str, starts: bool) -> None:
    world.provider.issuer = "https://acme.okta.example/oauth2/default"
    use_kind(world, kind, {"email": "ada@acme.example", "email_verified": True})
    async with world.broker() as service:
        answer = await world.browser(service).open(TILE, iss=iss)
    if starts:
        assert answer.status_code == 303
    else:
        assert_refused(answer, InitiationRefused)
