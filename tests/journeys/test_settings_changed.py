"""Settings that change while a sign-in is under way: what held at /login is judged again before the token is made."""

from __future__ import annotations

import copy

import pytest

from broker.errors import EmailDomainNotAllowed, NoSuchPage, RedirectUrlRefused
from tests.fakes.world import World, assert_refused

OTHER_HOST = "https://dash11.comm100.example/agentconsole"


@pytest.mark.requirement("S-20", "S-35")
async def test_a_provider_the_site_no_longer_offers_signs_nobody_in_there(world: World) -> None:
    world.add_provider("eu")
    sites = copy.deepcopy(world.settings["sites"])
    sites["main"]["identity_providers"] = ["eu"]
    async with world.broker() as before, world.broker(sites=sites) as after:
        browser = world.browser(before)
        callback = await browser.to_callback(idp="idp")
        browser.service = after
        assert_refused(await browser.open(callback), NoSuchPage)
    assert world.provider.count("/token") == 0
    assert not world.received


@pytest.mark.requirement("S-33", "S-35")
async def test_a_host_no_longer_listed_gets_no_browser_sent(world: World) -> None:
    sites = copy.deepcopy(world.settings["sites"])
    sites["main"]["redirect_hosts"] = ["dash11.comm100.example"]
    async with world.broker(sites=sites) as before, world.broker() as after:
        browser = world.browser(before)
        callback = await browser.to_callback(redirect_url=OTHER_HOST)
        browser.service = after
        assert_refused(await browser.open(callback), RedirectUrlRefused)
    assert world.provider.count("/token") == 0


@pytest.mark.requirement("S-34")
async def test_a_page_accepted_beside_the_token_does_not_get_the_token_itself(world: World) -> None:
    sites = copy.deepcopy(world.settings["sites"])
    sites["main"]["delivery"] = "append"
    async with world.broker() as before, world.broker(sites=sites) as after:
        browser = world.browser(before)
        callback = await browser.to_callback(redirect_url="https://acme.comm100.example/agentconsole")
        browser.service = after
        assert_refused(await browser.open(callback), RedirectUrlRefused)
    assert not world.received


@pytest.mark.requirement("S-20")
async def test_a_domain_taken_from_a_provider_counts_at_once(world: World) -> None:
    providers = copy.deepcopy(world.settings["identity_providers"])
    providers["idp"]["email_domains"] = ["acme-labs.example"]
    async with world.broker() as before, world.broker(identity_providers=providers) as after:
        browser = world.browser(before)
        callback = await browser.to_callback()
        browser.service = after
        assert_refused(await browser.open(callback), EmailDomainNotAllowed)
    assert not world.received
