"""Test sign-ins: a real way to the provider and back that ends with a report, and can never end at Comm100."""

from __future__ import annotations

import ast
import html
import io
import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

import broker.rehearsal
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
from tests.fakes.admin import link_for, rehearse, steps_of, text_of, to_report
from tests.fakes.lies import Lies, says, status, with_, without
from tests.fakes.presets import use_preset
from tests.fakes.world import (
    BROKER,
    PAGE,
    SHARED_SECRET,
    World,
    assert_refused,
    error_code,
    metrics,
    refresh,
    start_again,
)

EVERY_STEP = [
    "Metadata of the provider",
    "Back in the same browser",
    "Answer: who sent it (iss)",
    "Answer: the provider said yes",
    "Code exchanged for tokens",
    "ID token: signature",
    "ID token: issuer (iss)",
    "ID token: audience (aud)",
    "ID token: times (exp, iat, nbf)",
    "ID token: nonce",
    "ID token: when the person signed in (auth_time)",
    "ID token: access token (at_hash)",
    "ID token: subject (sub)",
    "userinfo",
    "E-mail address",
    "E-mail domain allowed",
    "Group allowed",
]


def assert_no_token(world: World, *answers: httpx.Response) -> None:
    """Check that nothing went to Comm100, and nothing could."""
    assert not world.received
    for answer in answers:
        assert "jwt=" not in answer.text + str(answer.headers)
        assert SHARED_SECRET not in answer.text
        assert "eyJ" not in answer.text, "something that looks like a token"


@pytest.mark.parametrize("enabled", [True, False], ids=["offered to agents", "not yet offered"])
async def test_a_test_sign_in_shows_every_check_and_what_comm100_would_get(world: World, enabled: bool) -> None:
    world.settings["identity_providers"]["idp"]["enabled"] = enabled
    async with world.broker() as service:
        browser = world.browser(service)
        page = await rehearse(browser)
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
    ("preset", "prompt"),
    [pytest.param("oidc", "login", id="oidc"), pytest.param("entra", "select_account", id="entra")],
)
async def test_after_a_report_another_account_can_be_tested(world: World, preset: str, prompt: str) -> None:
    use_preset(world, preset, {"email": "ada@other.example", "email_verified": True, "xms_edov": True})
    async with world.broker() as service:
        browser = world.browser(service)
        report = await rehearse(browser)
        (href,) = re.findall(r'href="([^"]*)">Test another account<', report.text)
        answer = await browser.open(html.unescape(href))
    assert steps_of(report)["E-mail domain allowed"] in ("failed", "not_reached")
    assert httpx.URL(answer.headers["location"]).params["prompt"] == prompt


async def test_the_provider_never_sees_the_link(world: World) -> None:
    link = link_for(world)
    async with world.broker() as service:
        browser = world.browser(service)
        await rehearse(browser, link=link)
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
        text = text_of(await rehearse(world.browser(service)))
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
    assert 'broker_test_signins_total{provider="idp",reason="transaction_spent",result="refused"} 1.0' in counted
    assert "broker_signins_total{" not in counted


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
        report = await rehearse(browser, "eu")
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


Row = tuple[Lies, dict[str, Any], str, str]
STOPS: dict[str, Row] = {
    "another iss": (Lies(callback=with_(iss="https://evil.example")), {}, EVERY_STEP[2], "callback_issuer"),
    "no code": (Lies(callback=without("code")), {}, EVERY_STEP[3], "code_missing"),
    "code and error": (Lies(callback=with_(error="x")), {}, EVERY_STEP[3], "parameters_contradict"),
    "a wrong secret": (Lies(), {"client_secret": "another-secret-4711"}, EVERY_STEP[4], "client_rejected"),
    "a token endpoint that fails": (Lies(answers={"/token": status(500)}), {}, EVERY_STEP[4], "provider_failing"),
    "no ID token": (Lies(token_response=without("id_token")), {}, EVERY_STEP[4], "token_response_invalid"),
    "keys that fail": (Lies(answers={"/keys": status(500)}), {}, EVERY_STEP[5], "provider_failing"),
    "no signature": (Lies(id_token=lambda token: token.rpartition(".")[0] + "."), {}, EVERY_STEP[5], "signature"),
    "an algorithm not listed": (Lies(), {"signing_algorithms": ["ES256"]}, EVERY_STEP[5], "id_token_algorithm"),
    "another issuer": (Lies(claims=with_(iss="https://evil.example")), {}, EVERY_STEP[6], "id_token_issuer"),
    "another audience": (Lies(claims=with_(aud="other")), {}, EVERY_STEP[7], "id_token_audience"),
    "a clock far off": (Lies(claims=with_(iat=1)), {}, EVERY_STEP[8], "id_token_time"),
    "another nonce": (Lies(claims=with_(nonce="other")), {}, EVERY_STEP[9], "id_token_nonce"),
    "no auth_time": (Lies(), {"max_age": 60}, EVERY_STEP[10], "id_token_auth_time"),
    "another at_hash": (Lies(claims=with_(at_hash="other")), {}, EVERY_STEP[11], "id_token_access_token_hash"),
    "no subject": (Lies(claims=without("sub")), {}, EVERY_STEP[12], "id_token_subject"),
    "another subject": (Lies(userinfo=with_(sub="other")), {}, EVERY_STEP[13], "userinfo_subject"),
    "an odd userinfo": (Lies(answers={"/userinfo": says(b"eyJhbGciOi")}), {}, EVERY_STEP[13], "userinfo_invalid"),
    "unverified": (Lies(userinfo=with_(email_verified=False)), {}, EVERY_STEP[14], "email_unverified"),
    "no address": (Lies(userinfo=without("email")), {}, EVERY_STEP[14], "email_missing"),
    "another domain": (Lies(userinfo=with_(email="a@b.example")), {}, EVERY_STEP[15], "email_domain_not_allowed"),
    "no group": (
        Lies(),
        {"allowed_groups": ["support"], "groups_claim": "groups"},
        EVERY_STEP[16],
        "group_not_allowed",
    ),
}


@pytest.mark.parametrize(("lies", "keys", "step", "code"), STOPS.values(), ids=STOPS.keys())
async def test_the_report_names_the_check_that_stopped_it_and_none_behind_it(
    world: World, lies: Lies, keys: dict[str, Any], step: str, code: str
) -> None:
    world.provider.lies = lies
    world.settings["identity_providers"]["idp"] |= keys
    async with world.broker() as service:
        browser = world.browser(service)
        page = await rehearse(browser)
        counted = await metrics(service)
    steps = steps_of(page)
    place = EVERY_STEP.index(step)
    assert page.status_code == 200
    assert code in page.text
    assert set(list(steps.values())[:place]) <= {"passed", "not_needed"}
    assert steps[step] == "failed"
    assert set(list(steps.values())[place + 1 :]) <= {"not_reached"}
    assert "broker_signins_total{" not in counted
    assert f"{code}" in counted
    assert_no_token(world, *browser.steps)


async def test_a_denial_in_the_providers_own_words_is_shown_escaped_and_cut(world: World) -> None:
    words = "<script>alert(1)</script> \u202eAADSTS65004 " + "x " * 5000
    world.provider.refuses = {"error": "access_denied", "error_description": words[:5000]}
    async with world.broker() as service:
        page = await rehearse(world.browser(service))
    assert "access_denied" in page.text
    assert "AADSTS65004" in page.text
    assert "<script>alert" not in page.text
    assert "\u202e" not in page.text
    assert len(page.text) < 20_000


NESTED: Any = "deep"
for _ in range(300):
    NESTED = [NESTED]
HOSTILE = {
    "<script>alert(1)</script>": "a name",
    "html": "<script>alert(1)</script><img src=x onerror=alert(1)>\"'&",
    "bidi": "\u202egnp.exe \u0000\u200b\u2028",
    "long": "A" * 200_000,
    "nested": NESTED,
    "wide": {str(number): "<b>" for number in range(2000)},
    "number": 10**4000,
    "fraction": 1e308,
    "nothing": None,
    "surrogate": "\ud800",
    **{f"claim_{number}": number for number in range(500)},
}


async def test_hostile_claims_do_no_harm_to_the_page(world: World) -> None:
    said = json.dumps({"sub": world.provider.person.sub, **world.provider.person.claims, **HOSTILE}).encode()
    world.provider.lies = Lies(answers={"/userinfo": says(said)})
    async with world.broker() as service:
        page = await rehearse(world.browser(service))
    assert page.status_code == 200
    assert "Admitted as ada@acme.example" in page.text
    assert "<script>alert" not in page.text
    assert "<img" not in page.text
    assert "<b>" not in page.text
    assert not {"\u202e", "\u200b", "\u2028", "\x00"} & set(page.text)
    assert len(page.text) < 40_000


async def test_no_secret_is_shown_whatever_claims_a_provider_puts_it_in(world: World) -> None:
    secrets: list[str] = []

    def echo(claims: dict[str, Any]) -> dict[str, Any]:
        secrets[:] = [one for one in (*world.provider.issued, world.provider.client_secret or "") if len(one) > 8]
        return {**claims, "echo": " ".join(secrets), "list": [secrets, {"deep": secrets}], secrets[0]: 1}

    world.provider.lies = Lies(userinfo=echo, claims=lambda claims: {**claims, "again": claims["nonce"]})
    async with world.broker() as service:
        page = await rehearse(world.browser(service))
    assert len(secrets) >= 5
    for secret in secrets:
        assert secret not in page.text
    assert "[left out]" in page.text


async def test_no_secret_is_shown_that_an_error_echoes(world: World) -> None:
    said: list[str] = []

    def echo(_: httpx.Response) -> httpx.Response:
        codes = [one for one in world.provider.issued if one]
        said[:] = [*codes, world.provider.client_secret or ""]
        words = " / ".join(said)
        return httpx.Response(400, json={"error": "invalid_grant", "error_description": f"AADSTS70008 {words}"})

    world.provider.lies = Lies(answers={"/token": echo})
    async with world.broker() as service:
        page = await rehearse(world.browser(service))
    assert "AADSTS70008" in page.text
    assert len(said) >= 4
    for secret in said:
        assert html.escape(secret) not in page.text


async def test_the_log_has_a_test_sign_in_under_one_trace_id_and_no_address(world: World, log: io.StringIO) -> None:
    async with world.broker() as service:
        page = await rehearse(world.browser(service))
        counted = await metrics(service)
    lines = [json.loads(line) for line in log.getvalue().splitlines()]
    begins, ends = (
        next(one for one in lines if one["event"] == name) for name in ("test sign-in begins", "test sign-in")
    )
    assert begins["trace_id"] == ends["trace_id"] == trace_id_of(page)
    assert (ends["result"], ends["code"], ends["provider"], ends["site"]) == ("admitted", "none", "idp", "")
    assert (ends["email_domain"], "email" in ends) == ("acme.example", False)
    assert "sign-in" not in [one["event"] for one in lines]
    assert 'broker_test_signins_total{provider="idp",reason="none",result="admitted"} 1.0' in counted


def trace_id_of(page: httpx.Response) -> str:
    return text_of(page).rpartition("Trace id, as in the log\n")[2].partition("\n")[0]


def test_the_code_of_a_test_sign_in_cannot_make_a_token_or_name_an_address_of_comm100() -> None:
    folder = Path(broker.rehearsal.__file__).parent
    files = [*folder.glob("*.py"), folder.parent / "web" / "setup.py"]
    assert len(files) >= 5
    forbidden = {"build_token", "build_delivery_url", "complete", "Arrival", "shared_secret", "endpoint"}
    for file in files:
        tree = ast.parse(file.read_text())
        imported = {
            alias.name
            for node in ast.walk(tree)
            if isinstance(node, ast.ImportFrom | ast.Import)
            for alias in node.names
        }
        touched = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
        assert not (imported | touched) & forbidden, file.name
