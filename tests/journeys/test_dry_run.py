"""Test sign-ins: a real way to the provider and back that ends with a report, and can never end at Comm100."""

from __future__ import annotations

import html
import re
from urllib.parse import urlsplit

import httpx
import pytest

from broker.errors import (
    CookieMissing,
    NoSuchPage,
    ParameterRepeated,
    SetupLinkRefused,
    StateInvalid,
    StateOfAnotherProvider,
    TransactionExpired,
    TransactionSpent,
)
from tests.fakes.admin import EVERY_STEP, assert_no_token, link_for, run_dry_run, steps_of, text_of, to_report
from tests.fakes.kinds import use_kind
from tests.fakes.lies import Lies, status
from tests.fakes.world import (
    BROKER,
    PAGE,
    SHARED_SECRET,
    World,
    assert_refused,
    error_code,
    metrics,
    refresh,
    signins_counted,
    start_again,
)


@pytest.mark.parametrize("enabled", [True, False], ids=["offered to agents", "not yet offered"])
async def test_a_test_sign_in_shows_every_check_and_what_comm100_would_get(world: World, enabled: bool) -> None:
    world.settings["identity_providers"]["idp"]["enabled"] = enabled
    async with world.broker() as service:
        browser = world.browser(service)
        page = await run_dry_run(browser)
        text = text_of(page)
        assert browser.broker_cookies() == []
    assert (page.status_code, urlsplit(str(page.url)).path) == (200, "/callback/idp")
    assert list(steps_of(page)) == EVERY_STEP
    assert set(steps_of(page).values()) == {"passed", "not_needed"}
    for fact in ("Admitted as ada@acme.example", "email (userinfo)", "email_verified is true", "jwt server"):
        assert fact in text
    assert ("enabled: false" in text) is not enabled
    assert_no_token(world, *browser.steps)


async def test_the_way_to_the_provider_is_that_of_a_sign_in(world: World) -> None:
    async with world.broker() as service:
        browser = world.browser(service)
        answers = [
            await browser.open(f"{BROKER}/login"),
            await browser.open(f"{BROKER}/setup/test/idp", link=link_for(world)),
        ]
    sign_in, test = (httpx.URL(one.headers["location"]) for one in answers)
    assert sign_in.copy_with(query=None) == test.copy_with(query=None)
    own = {"state", "nonce", "code_challenge"}
    for name in set(sign_in.params) | set(test.params):
        assert (sign_in.params[name] == test.params[name]) is (name not in own), name
    assert "Max-Age" in answers[1].headers["set-cookie"]
    for flag in ("__Host-", "HttpOnly", "Secure", "SameSite=Lax"):
        assert flag in answers[1].headers["set-cookie"]


@pytest.mark.parametrize(
    ("kind", "prompt"),
    [pytest.param("oidc", "login", id="oidc"), pytest.param("entra", "select_account", id="entra")],
)
async def test_after_a_report_another_account_can_be_tested(world: World, kind: str, prompt: str) -> None:
    use_kind(world, kind, {"email": "ada@other.example", "email_verified": True, "xms_edov": True})
    async with world.broker() as service:
        browser = world.browser(service)
        report = await run_dry_run(browser)
        (href,) = re.findall(r'href="([^"]*)">Test another account<', report.text)
        answer = await browser.open(html.unescape(href))
    assert steps_of(report)["E-mail domain allowed"] in ("failed", "not_reached")
    assert httpx.URL(answer.headers["location"]).params["prompt"] == prompt


async def test_the_provider_never_sees_the_link(world: World) -> None:
    link = link_for(world)
    async with world.broker() as service:
        browser = world.browser(service)
        await run_dry_run(browser, link=link)
    at_provider = [step for step in browser.steps if step.url.host == "idp.example"]
    assert at_provider
    for step in at_provider:
        assert link not in str(step.url) + str(step.headers)
        assert not step.request.headers.get("referer")


async def test_each_site_that_offers_the_provider_has_its_preview(world: World) -> None:
    site = world.settings["sites"]["main"]
    world.settings["sites"] |= {
        "emea": {**site, "shared_secret": SHARED_SECRET[::-1], "claims": {"iss": "emea", "aud": "b", "sub": "c"}},
        "other": {**site, "shared_secret": "x" + SHARED_SECRET, "identity_providers": ["eu"]},
    }
    world.settings["identity_providers"]["idp"]["enabled"] = False
    world.add_provider("eu")
    async with world.broker() as service:
        text = text_of(await run_dry_run(world.browser(service)))
    assert "Site main" in text
    assert "Site emea" in text
    assert "Site other" not in text


@pytest.mark.requirement("S-35")
async def test_neither_state_can_be_used_as_the_other(world: World) -> None:
    """Also where the browser has both cookies, and where each state meets the other's code."""
    async with world.broker() as service:
        browser = world.browser(service)
        test, sign_in = httpx.URL(await to_report(browser)), httpx.URL(await browser.to_callback(redirect_url=PAGE))
        swapped = test.copy_merge_params({"code": sign_in.params["code"]})
        report = await browser.open(str(swapped))
        other = await browser.open(str(sign_in.copy_merge_params({"code": test.params["code"]})))
        page = await browser.follow(await browser.open(str(sign_in)))
    assert steps_of(report)["Code exchanged for tokens"] == "failed"
    assert_no_token(world, report, other, page)
    assert error_code(other) == "code_rejected"
    assert error_code(page) == "cookie_missing", "it is over"


async def test_both_kinds_side_by_side_in_one_browser_each_end_where_they_should(world: World) -> None:
    async with world.broker() as service:
        browser = world.browser(service)
        test, sign_in = await to_report(browser), await browser.to_callback(redirect_url=PAGE)
        report, page = await browser.open(test), await browser.follow(await browser.open(sign_in))
    assert "Admitted as" in report.text
    assert str(page.url) == PAGE
    assert len(world.received) == 1


async def test_a_state_of_a_test_sign_in_under_another_salt_opens_nothing(world: World) -> None:
    async with world.broker() as service:
        browser = world.browser(service)
        back = httpx.URL(await to_report(browser))
        payload, _, signature = back.params["state"].rpartition(".")
        for state in (f"{payload}.{signature[::-1]}", f".{payload}.{signature}", signature, payload):
            assert_refused(await browser.open(str(back.copy_set_param("state", state))), StateInvalid)
        twice = await browser.open(f"{back}&state={back.params['state']}")
    assert_refused(twice, StateInvalid)
    assert world.provider.count("/token") == 0


@pytest.mark.requirement("S-02")
async def test_in_another_browser_there_is_no_report(world: World) -> None:
    async with world.broker() as service:
        back = await to_report(world.browser(service))
        other = world.browser(service)
        await to_report(other)  # has a cookie, of a test sign-in of its own
        for browser in (world.browser(service), other):
            page = await browser.open(back)
            assert_refused(page, CookieMissing)
            assert start_again(page) is None
            assert refresh(page) is None
    assert world.provider.count("/token") == 0


@pytest.mark.requirement("S-56")
async def test_a_link_that_expired_meanwhile_shows_no_report(world: World) -> None:
    link = link_for(world)
    world.clock.advance(3500)
    async with world.broker() as service:
        browser = world.browser(service)
        back = await to_report(browser, link=link)
        world.clock.advance(100)
        page = await browser.open(back)
    assert_refused(page, SetupLinkRefused)
    assert start_again(page) is None
    assert world.provider.count("/token") == 0


@pytest.mark.requirement("S-52", "S-56")
async def test_at_another_host_there_is_no_report(world: World) -> None:
    async with world.broker() as service:
        browser = world.browser(service)
        page = await browser.get(await to_report(browser), Host="evil.example")
    assert_refused(page, SetupLinkRefused)
    assert world.provider.count("/token") == 0


@pytest.mark.requirement("S-03", "S-04")
async def test_a_repeated_or_late_test_starts_again_from_the_setup_page_and_never_by_itself(world: World) -> None:
    link = link_for(world)
    async with world.broker() as service:
        browser = world.browser(service)
        back = await to_report(browser, link=link)
        await browser.open(back)
        assert_refused(again := await browser.open(back), CookieMissing)  # it went with the first answer
        back = await to_report(browser, link=link)
        kept = dict(browser.client.cookies)
        await browser.open(back)
        browser.client.cookies.update(kept)
        assert_refused(spent := await browser.open(back), TransactionSpent)
        back = await to_report(browser, link=link)
        world.clock.advance(601)
        assert_refused(late := await browser.open(back), TransactionExpired)
        counted = await metrics(service)
    assert [refresh(page) for page in (again, spent, late)] == [None, None, None]
    assert start_again(late) == start_again(spent) == f"{BROKER}/setup?link={link}"
    assert world.provider.count("/token") == 2
    assert 'comm100_sso_test_signins_total{provider="idp",reason="transaction_spent",result="refused"} 1.0' in counted
    assert signins_counted(counted) == []


@pytest.mark.requirement("S-06")
async def test_a_test_of_one_provider_is_refused_at_another(world: World) -> None:
    world.add_provider("eu", enabled=False)
    async with world.broker() as service:
        browser = world.browser(service)
        back = await to_report(browser)
        assert_refused(await browser.open(back.replace("/callback/idp", "/callback/eu", 1)), StateOfAnotherProvider)
        assert_refused(await browser.open(back.replace("/callback/idp", "/callback/no", 1)), NoSuchPage)
    assert world.provider.count("/token") == 0


@pytest.mark.requirement("S-05")
async def test_a_parameter_twice_is_refused_before_the_provider_is_asked(world: World) -> None:
    async with world.broker() as service:
        browser = world.browser(service)
        assert_refused(await browser.open(await to_report(browser) + "&code=x"), ParameterRepeated)
    assert world.provider.count("/token") == 0


async def test_a_provider_that_is_switched_off_stays_so_for_agents(world: World) -> None:
    """Whoever began while it was on, or guesses its addresses, gets no further than before."""
    off = world.add_provider("eu", email_domains=["acme-eu.example"])
    async with world.broker() as service:
        browser = world.browser(service)
        begun = await browser.to_callback(idp="eu")
    world.settings["identity_providers"]["eu"]["enabled"] = False
    async with world.broker() as service:
        browser.service = service
        report = await run_dry_run(browser, "eu")
        asked = len(off.requests)
        answers = [
            await browser.open(begun),
            await browser.open(f"{BROKER}/login", idp="eu"),
            await browser.open(f"{BROKER}/initiate/eu", iss=off.issuer),
        ]
        alone = await browser.open(f"{BROKER}/login")  # no chooser: only one is offered
    assert "Admitted as emmy@acme-eu.example" in report.text
    for answer in answers:
        assert_refused(answer, NoSuchPage)
    assert len(off.requests) == asked
    assert alone.headers["location"].startswith("https://idp.example/")


async def test_a_provider_that_is_switched_off_and_down_is_asked_by_nobody_but_a_test(world: World) -> None:
    off = world.add_provider("eu", enabled=False)
    off.lies = Lies(answers={"/.well-known/openid-configuration": status(500)})
    async with world.broker() as service:
        browser = world.browser(service)
        await browser.sign_in()
        assert off.requests == []
        page = await browser.open(f"{BROKER}/setup/test/eu", link=link_for(world))
        async with httpx.AsyncClient(transport=httpx.ASGITransport(service.operations)) as client:
            ready = (await client.get("http://127.0.0.1:9000/readyz")).json()
    assert page.status_code == 200
    assert steps_of(page) == {"Metadata of the provider": "failed", **dict.fromkeys(EVERY_STEP[1:], "not_reached")}
    assert "provider_failing" in page.text
    assert "eu" not in ready["identity_providers"]
