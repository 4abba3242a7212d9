"""The setup page: open to whoever has a good link at the right host, and to nobody else."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import logging
import re
from collections.abc import Iterator

import httpx
import pytest

from broker.app import Service
from broker.errors import BrokerError, MethodNotAllowed, NoSuchPage, NotANavigation, RequestTooLarge, SetupLinkRefused
from broker.log import JsonLines
from tests.fakes.admin import link_for, text_of
from tests.fakes.lies import Lies, status
from tests.fakes.world import BROKER, COMM100, PAGE, SHARED_SECRET, World, assert_refused, metrics, start_again

PAGES = ["/setup", "/setup/commands/idp", "/setup/check", "/setup/test/idp"]
EACH_PAGE = pytest.mark.parametrize("path", PAGES)


async def refused(service: Service, world: World, path: str, error: type[BrokerError], **request: str) -> None:
    """Check that an address shows, starts and sets nothing."""
    asked = len(world.provider.requests)
    headers = {name.replace("_", "-"): value for name, value in request.items() if name != "method"}
    browser = world.browser(service)
    answer = await browser.client.request(request.get("method", "GET"), f"{BROKER}{path}", headers=headers)
    assert_refused(answer, error) if answer.text else None
    assert answer.status_code == error.status
    assert browser.broker_cookies() == []
    assert len(world.provider.requests) == asked


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """What the service writes."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonLines())
    logging.getLogger("broker").addHandler(handler)
    yield stream
    logging.getLogger("broker").removeHandler(handler)


@pytest.mark.requirement("S-56")
async def test_with_a_good_link_the_page_shows_what_to_copy_and_no_secret(world: World) -> None:
    world.add_provider("eu", enabled=False)
    async with world.broker() as service:
        page = await world.browser(service).open(f"{BROKER}/setup", link=link_for(world, hours=3))
    assert page.status_code == 200
    text = text_of(page)
    for value in (f"{BROKER}/callback/idp", f"{BROKER}/callback/eu", f"{BROKER}/login", f"{BROKER}/logout"):
        assert value in text
    assert "3 hours from now" in text
    assert SHARED_SECRET not in page.text
    assert page.headers["content-language"] == "en"


@pytest.mark.requirement("S-53")
@pytest.mark.parametrize("path", ["/setup", "/setup/commands/idp", "/setup/check"])
async def test_the_one_script_and_the_one_style_of_a_setup_page_are_those_the_policy_names(
    world: World, path: str
) -> None:
    async with world.broker() as service:
        browser = world.browser(service)
        page = await browser.open(f"{BROKER}{path}", link=link_for(world))
        home = await browser.open(f"{BROKER}/")
    policy = page.headers["content-security-policy"]
    for kind in ("style", "script"):
        parts = re.findall(rf"<{kind}>(.*?)</{kind}>", page.text, re.DOTALL)
        hashes = {base64.b64encode(hashlib.sha256(part.encode()).digest()).decode() for part in parts}
        assert len(hashes) <= 1
        assert all(f"{kind}-src 'sha256-{one}';" in policy for one in hashes)
        assert (f"{kind}-src" in policy) == bool(hashes)
    assert "frame-ancestors 'none'" in policy
    assert page.headers["referrer-policy"] == "no-referrer"
    assert page.headers["cache-control"] == "no-store"
    assert "script-src" not in home.headers["content-security-policy"]


@pytest.mark.requirement("S-56")
@EACH_PAGE
async def test_without_one_good_link_every_setup_page_is_404(world: World, path: str) -> None:
    link = link_for(world)
    async with world.broker() as service:
        for query in (
            "",
            "?link=",
            f"?link={link[:-1]}",
            f"?link={link}x",
            f"?link={link}&link={link}",
            f"?Link={link}",
            "?link=%C3%A4%00%FF",
            f"?link={'A' * 7000}",
            f"?link={link_for(world, public_url='https://sso.other.example')}",
            f"?link={link_for(world, key='k0-0f1e2d3c4b5a69788796a5b4c3d2e1f0')}",
        ):
            await refused(service, world, f"{path}{query}", SetupLinkRefused)
        world.clock.advance(3600)
        await refused(service, world, f"{path}?link={link}", SetupLinkRefused)


async def test_the_page_of_a_bad_link_leads_nowhere(world: World) -> None:
    async with world.broker() as service:
        page = await world.browser(service).open(f"{BROKER}/setup?link=x")
    assert_refused(page, SetupLinkRefused)
    assert start_again(page) is None
    assert "broker setup-link" in page.text


@pytest.mark.requirement("S-52", "S-56")
@EACH_PAGE
@pytest.mark.parametrize(
    "host",
    [
        pytest.param("evil.example", id="another host"),
        pytest.param("sso.acme.example:8443", id="another port"),
        pytest.param("sso.acme.example.evil.example", id="a longer name"),
        pytest.param("evil@sso.acme.example", id="with a user"),
        pytest.param("sso.acme.example.", id="with a dot"),
        pytest.param("", id="none"),
    ],
)
async def test_a_link_is_worthless_at_another_host(world: World, path: str, host: str) -> None:
    async with world.broker() as service:
        await refused(service, world, f"{path}?link={link_for(world)}", SetupLinkRefused, Host=host)


@pytest.mark.parametrize("host", ["sso.acme.example:443", "SSO.Acme.Example"])
async def test_another_spelling_of_the_same_host_is_the_same_host(world: World, host: str) -> None:
    async with world.broker() as service:
        page = await world.browser(service).get(f"{BROKER}/setup?link={link_for(world)}", Host=host)
    assert page.status_code == 200


@pytest.mark.requirement("S-09")
@EACH_PAGE
async def test_only_a_persons_own_navigation_opens_or_starts_anything(world: World, path: str) -> None:
    async with world.broker() as service:
        good = f"{path}?link={link_for(world)}"
        await refused(service, world, good, MethodNotAllowed, method="HEAD")
        await refused(service, world, good, MethodNotAllowed, method="POST")
        await refused(service, world, good, NotANavigation, Sec_Purpose="prefetch")
        await refused(service, world, good, NotANavigation, Sec_Fetch_Mode="cors")
        await refused(service, world, good, NotANavigation, Sec_Fetch_Mode="navigate", Sec_Fetch_Dest="iframe")
        assert "comm100_sso_test_signins_total{" not in await metrics(service)


@pytest.mark.requirement("S-57")
async def test_a_huge_link_is_refused_unread(world: World) -> None:
    async with world.broker() as service:
        answer = await world.browser(service).client.get(f"{BROKER}/setup?link={'A' * 9000}")
    assert_refused_as_too_large(answer)


def assert_refused_as_too_large(answer: httpx.Response) -> None:
    assert answer.status_code == 414
    assert RequestTooLarge.code in answer.text


async def test_there_is_no_test_sign_in_with_a_provider_that_is_not_in_the_settings(world: World) -> None:
    async with world.broker() as service:
        await world.browser(service).open(f"{BROKER}/setup", link=link_for(world))  # meanwhile the keys are fetched
        await refused(service, world, f"/setup/test/nowhere?link={link_for(world)}", NoSuchPage)


async def test_the_log_says_who_opened_the_page_and_why_not_and_never_shows_a_link(
    world: World, log: io.StringIO
) -> None:
    link = link_for(world)
    async with world.broker() as service:
        browser = world.browser(service)
        await browser.open(f"{BROKER}/setup", link=link)
        await browser.get(f"{BROKER}/setup?link={link}", Host="evil.example")
    lines = [json.loads(line) for line in log.getvalue().splitlines()]
    opened, turned_away = (line for line in lines if line["event"] in ("setup page opened", "request refused"))
    assert (opened["event"], opened["level"]) == ("setup page opened", "info")
    assert turned_away["code"] == "setup_link_refused"
    assert (turned_away["expected"], turned_away["got"]) == ("Host: sso.acme.example", ["evil.example"])
    assert "pass Host on" in turned_away["remedy"]
    assert link not in log.getvalue()


@pytest.mark.requirement("S-51")
async def test_a_link_signed_by_an_older_key_is_good(world: World) -> None:
    newer = "k2-7a6b5c4d3e2f1a0b9c8d7e6f5a4b3c2d"
    older = world.settings["secret_keys"]
    async with world.broker(secret_keys=[newer, *older]) as service:
        page = await world.browser(service).open(f"{BROKER}/setup", link=link_for(world))
    assert page.status_code == 200


async def test_what_comm100_last_sent_is_shown_also_when_it_was_refused(world: World) -> None:
    async with world.broker() as service:
        browser = world.browser(service)
        link = link_for(world)
        assert "nothing" in text_of(await browser.open(f"{BROKER}/setup", link=link)).lower()
        await browser.open(f"{BROKER}/login", redirect_url="https://dash11.comm100.io/x/ada@acme.example?a=1&token=2")
        page = text_of(await browser.open(f"{BROKER}/setup", link=link))
        for fact in ("dash11.comm100.io", "/x/[left out]", "a, token", "redirect_url_refused", "redirect_hosts"):
            assert fact in page
        await browser.follow(await browser.open(f"{COMM100}/signin/sso", site_id="10000"), until=f"{BROKER}/callback")
        page = text_of(await browser.open(f"{BROKER}/setup", link=link))
    assert "accepted" in page
    assert "dash11" not in page


async def test_what_our_own_pages_send_to_login_is_not_what_comm100_sent(world: World) -> None:
    world.add_provider("eu")
    async with world.broker() as service:
        browser = world.browser(service)
        await browser.get(f"{BROKER}/login?redirect_url={PAGE}", Sec_Fetch_Site="cross-site")
        await browser.get(f"{BROKER}/login?idp=eu&restarted=1", Sec_Fetch_Site="same-origin")
        page = text_of(await browser.open(f"{BROKER}/setup", link=link_for(world)))
    assert "/agentconsole" in page
    assert "restarted" not in page


async def test_the_checks_page_says_what_broker_check_says(world: World) -> None:
    off = world.add_provider("eu", enabled=False)
    off.lies = Lies(answers={"/.well-known/openid-configuration": status(500)})
    async with world.broker() as service:
        page = await world.browser(service).open(f"{BROKER}/setup/check", link=link_for(world))
    assert page.status_code == 200
    text = text_of(page)
    assert "eu" in text
    assert "discovery" in text
    assert SHARED_SECRET not in page.text
