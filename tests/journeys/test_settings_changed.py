"""Settings that change while a sign-in is under way: what held at /login is judged again before the token is made."""

from __future__ import annotations

import copy
from pathlib import Path

import httpx
import pytest
import yaml
from joserfc.jwk import ECKey

from broker.errors import ClientRejected, CodeRejected, EmailDomainNotAllowed, NoSuchPage, RedirectUrlRefused
from broker.settings import load_settings
from broker.wiring import wire_provider
from tests.fakes.lies import Lies
from tests.fakes.world import PAGE, World, assert_refused, refresh

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


def secret_in_a_file(world: World) -> Path:
    """Give the provider's client secret as a file; return the file."""
    section, file = world.settings["identity_providers"]["idp"], world.folder / "client-secret"
    file.write_text(section.pop("client_secret"))
    section["client_secret_file"] = str(file)
    return file


NEW_SECRET = "the-new-secret-of-the-client"


async def test_a_client_secret_replaced_at_the_same_moment_costs_nobody_a_sign_in(world: World) -> None:
    """The file is looked at once a second; a refused secret makes the broker look at once."""
    file = secret_in_a_file(world)
    async with world.broker() as service:
        assert str((await world.browser(service).sign_in(redirect_url=PAGE)).url) == PAGE
        world.provider.client_secret = NEW_SECRET
        file.write_text(NEW_SECRET)
        assert str((await world.browser(service).sign_in(redirect_url=PAGE)).url) == PAGE
        assert world.provider.count("/token") == 3
        assert str((await world.browser(service).sign_in(redirect_url=PAGE)).url) == PAGE
        assert world.provider.count("/token") == 4


@pytest.mark.parametrize("in_a_file", [True, False])
async def test_a_refused_client_secret_that_did_not_change_is_sent_once(world: World, in_a_file: bool) -> None:
    if in_a_file:
        secret_in_a_file(world)
    async with world.broker() as service:
        world.provider.client_secret = NEW_SECRET
        assert_refused(await world.browser(service).sign_in(), ClientRejected)
    assert world.provider.count("/token") == 1


async def test_a_changed_client_secret_that_is_refused_too_is_sent_once(world: World) -> None:
    file = secret_in_a_file(world)
    async with world.broker() as service:
        world.provider.client_secret = NEW_SECRET
        file.write_text("another-secret-of-the-client")
        assert_refused(await world.browser(service).sign_in(), ClientRejected)
    assert world.provider.count("/token") == 2


async def test_a_code_that_the_refusal_used_up_restarts_the_sign_in(world: World) -> None:
    """Some providers accept a code once, even with a wrong secret."""
    file = secret_in_a_file(world)

    def use_up(answer: httpx.Response) -> httpx.Response:
        world.provider.grants.clear()
        return answer

    async with world.broker() as service:
        browser = world.browser(service)
        world.provider.client_secret = NEW_SECRET
        file.write_text(NEW_SECRET)
        world.provider.lies = Lies(answers={"/token": use_up})
        answer = await browser.sign_in(redirect_url=PAGE)
        assert_refused(answer, CodeRejected)
        world.provider.lies = Lies()
        assert str((await browser.follow(await browser.open(refresh(answer) or ""))).url) == PAGE


@pytest.mark.parametrize("spent", ["client_assertion", "client_secret"])
def test_every_kind_of_credential_in_a_file_is_looked_at_anew(world: World, spent: str) -> None:
    section = world.settings["identity_providers"]["idp"]
    file = secret_in_a_file(world)
    if spent == "client_assertion":
        del section["client_secret_file"]
        file.write_text(ec_key())
        section |= {"client_authentication": "private_key_jwt", "private_key_file": str(file)}
    path = world.folder / "settings.yaml"
    path.write_text(yaml.safe_dump(world.settings))
    registration = wire_provider(load_settings(path, {}), "idp").registration
    assert registration.credential is not None
    assert registration.reread_credential is not None
    used = registration.credential()
    assert registration.reread_credential() == used
    file.write_text(ec_key() if spent == "client_assertion" else NEW_SECRET)
    assert registration.reread_credential() != used


def ec_key() -> str:
    return ECKey.generate_key("P-256").as_pem(private=True).decode()
