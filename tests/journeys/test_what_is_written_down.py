"""Every outcome leaves one line and one count, under the trace id the person sees, and nothing that is secret."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from broker.errors import (
    AccessDenied,
    BrokerError,
    CookieMissing,
    EmailUnverified,
    IdTokenNonce,
    MethodNotAllowed,
    NoSuchPage,
    ParameterRepeated,
    ProviderFailing,
    ProviderReported,
    RedirectUrlRefused,
    RequestTooLarge,
    ResponseModeUnsupported,
    StateInvalid,
    TransactionExpired,
    UserinfoSubject,
)
from broker.log import JsonLines
from broker.signin import FORGEABLE
from tests.fakes.lies import Lies, status, with_
from tests.fakes.log_record import LogRecord
from tests.fakes.world import BROKER, PAGE, Browser, World, assert_refused, metrics, trace_id

Log = io.StringIO
Journey = Callable[[World, Browser], Awaitable[httpx.Response]]


@pytest.fixture
def log() -> Iterator[Log]:
    """What the service writes, at the lowest level there is."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonLines())
    root = logging.getLogger()
    root.addHandler(handler)
    yield stream
    root.removeHandler(handler)


def sign_in_lines(log: Log) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in log.getvalue().splitlines()]
    return [line for line in lines if line["event"] in ("sign-in", "request refused")]


def lying(lies: Lies) -> Journey:
    async def journey(world: World, browser: Browser) -> httpx.Response:
        world.provider.lies = lies
        return await browser.sign_in(redirect_url=PAGE)

    return journey


def opening(path: str, method: str = "GET") -> Journey:
    async def journey(_world: World, browser: Browser) -> httpx.Response:
        return await browser.client.request(method, f"{BROKER}{path}")

    return journey


async def denied(world: World, browser: Browser) -> httpx.Response:
    world.provider.refuses = {"error": "access_denied"}
    return await browser.sign_in()


async def late(world: World, browser: Browser) -> httpx.Response:
    callback = await browser.to_callback()
    world.clock.advance(601)
    return await browser.open(callback)


async def without_cookie(_world: World, browser: Browser) -> httpx.Response:
    callback = await browser.to_callback()
    browser.forget_cookies()
    return await browser.open(callback)


async def with_code_twice(_world: World, browser: Browser) -> httpx.Response:
    return await browser.open(await browser.to_callback() + "&code=x")


REFUSALS: dict[str, tuple[Journey, type[BrokerError], str, str]] = {
    "a bad redirect_url": (opening("/login?redirect_url=x"), RedirectUrlRefused, "main", ""),
    "no such page": (opening("/nowhere"), NoSuchPage, "", ""),
    "no such site": (opening("/login/nowhere"), NoSuchPage, "", ""),
    "another method": (opening("/login", "POST"), MethodNotAllowed, "", ""),
    "a posted answer": (opening("/callback/idp", "POST"), ResponseModeUnsupported, "", ""),
    "a health check": (opening("/", "OPTIONS"), MethodNotAllowed, "", ""),
    "an oversized request": (opening(f"/{'a' * 9_000}"), RequestTooLarge, "", ""),
    "a made-up state": (opening("/callback/idp?state=x"), StateInvalid, "", "idp"),
    "a parameter twice": (with_code_twice, ParameterRepeated, "main", "idp"),
    "no cookie": (without_cookie, CookieMissing, "main", "idp"),
    "too late": (late, TransactionExpired, "main", "idp"),
    "denied": (denied, AccessDenied, "main", "idp"),
    "failing": (lying(Lies(answers={"/token": status(500)})), ProviderFailing, "main", "idp"),
    "a bad ID token": (lying(Lies(claims=with_(nonce="other"))), IdTokenNonce, "main", "idp"),
    "bad userinfo": (lying(Lies(userinfo=with_(sub="other"))), UserinfoSubject, "main", "idp"),
    "unverified": (lying(Lies(userinfo=with_(email_verified=False))), EmailUnverified, "main", "idp"),
}

# No browser that signs in sends these.
STRANGERS = [REFUSALS[name][0] for name in ("no such page", "another method", "an oversized request", "a health check")]


@pytest.mark.requirement("S-55")
@pytest.mark.parametrize(("journey", "error", "site", "provider"), REFUSALS.values(), ids=REFUSALS.keys())
async def test_a_refusal_leaves_one_line_and_one_count(
    world: World, log: Log, journey: Journey, error: type[BrokerError], site: str, provider: str
) -> None:
    async with world.broker() as service:
        answer = await journey(world, world.browser(service))
        counted = await metrics(service)
    if error is not RequestTooLarge:  # its status says what is too large
        assert_refused(answer, error)
    (line,) = sign_in_lines(log)
    result = "failed" if error.status >= 500 else "refused"
    doubt = f" {FORGEABLE}" if issubclass(error, ProviderReported) else ""
    assert (line["code"], line["result"], line["remedy"]) == (error.code, result, f"{error.remedy}{doubt}")
    assert line["trace_id"] == trace_id(answer)
    assert (line["site"], line["provider"]) == (site, provider)
    assert {"expected", "got", "milliseconds"} <= set(line)
    is_nobodys = journey in STRANGERS
    assert line["event"] == ("request refused" if is_nobodys else "sign-in")
    assert line["level"] == ("info" if is_nobodys else "error" if error.status >= 500 else "warning")
    labels = f'provider="{provider}",reason="{error.code}",result="{result}",site="{site}"'
    assert f"comm100_sso_signins_total{{{labels}}} 1.0" in counted


async def test_a_sign_in_leaves_one_line_and_one_count(world: World, log: Log) -> None:
    async with world.broker() as service:
        await world.browser(service).sign_in(redirect_url=PAGE)
        counted = await metrics(service)
    (line,) = sign_in_lines(log)
    assert (line["result"], line["code"], line["site"], line["provider"]) == ("signed_in", "none", "main", "idp")
    assert 'comm100_sso_signins_total{provider="idp",reason="none",result="signed_in",site="main"} 1.0' in counted


@pytest.mark.requirement("S-55")
@pytest.mark.parametrize(
    ("setting", "shown"),
    [
        pytest.param("hashed", {"email_hash", "email_domain"}, id="as a hash and its domain"),
        pytest.param("plain", {"email"}, id="as it is"),
        pytest.param("none", set(), id="not at all"),
    ],
)
async def test_the_persons_address_is_written_as_the_admin_wants(
    world: World, log: Log, setting: str, shown: set[str]
) -> None:
    async with world.broker(log_email=setting) as service:
        await world.browser(service).sign_in(redirect_url=PAGE)
    (line,) = sign_in_lines(log)
    assert {name for name in line if name.startswith("email")} == {*shown, "email_from"}
    assert ("ada@acme.example" in log.getvalue()) == (setting == "plain")
    assert "Lovelace" not in log.getvalue()


async def test_two_requests_never_share_a_trace_id(world: World) -> None:
    async with world.broker() as service:
        browser = world.browser(service)
        seen = {trace_id(await browser.open(f"{BROKER}/nowhere")) for _ in range(50)}
    assert len(seen) == 50


async def everything_goes_wrong(world: World, browser: Browser) -> None:
    """Go through every refusal there is a row for."""
    for journey, _, _, _ in REFUSALS.values():
        await journey(world, browser)
        world.provider.lies, world.provider.refuses = Lies(), None


def echo(world: World) -> Callable[[httpx.Response], httpx.Response]:
    """Make an error that repeats all that was ever sent to the provider, as careless ones do."""

    def answer(_: httpx.Response) -> httpx.Response:
        said = f"bad request: code={' '.join(reversed(world.provider.issued))} {world.provider.client_secret}"
        return httpx.Response(400, json={"error": "invalid_request", "error_description": said})

    return answer


@pytest.mark.requirement("S-55")
async def test_nothing_secret_is_written_whatever_happens(world: World, tmp_path: Path) -> None:
    """At the lowest level, with a provider that repeats everything it was told."""
    record = LogRecord(tmp_path / "all.log")
    world.provider.client_secret = "f00dcafe-client-secret-0123456789"
    world.settings["identity_providers"]["idp"]["client_secret"] = world.provider.client_secret
    with record.listening():
        async with world.broker() as service:
            browser = world.browser(service)
            await browser.sign_in(redirect_url=PAGE)
            await everything_goes_wrong(world, browser)
            world.provider.lies = Lies(answers={"/token": echo(world)})
            await browser.sign_in(redirect_url=PAGE)
            issued = list(world.provider.issued)
            for lies in (
                Lies(callback=with_(error=issued[0], error_description=" ".join(issued)[-1_000:])),
                Lies(claims=with_(nonce=issued[2], sub=issued[1][:200])),
                Lies(userinfo=with_(sub=issued[1][:200], email=issued[0])),
                Lies(userinfo=with_(email=f"{issued[0]}@{issued[2]}.example")),
                Lies(token_response=with_(token_type=issued[0])),
            ):
                world.provider.lies = lies
                await browser.sign_in()
    record.add_secrets(world.secrets())
    assert len(record.secrets) > 50
    assert "token_request_refused" in record.text()
    assert record.leaks() == []


@pytest.mark.requirement("S-55")
async def test_no_query_and_no_location_is_written(world: World, log: Log) -> None:
    async with world.broker() as service:
        browser = world.browser(service)
        await browser.sign_in(redirect_url=f"{PAGE}&customer=hyacinth")
        await everything_goes_wrong(world, browser)
    ours = [line for line in log.getvalue().splitlines() if '"HTTP Request' not in line]  # the tests' own browser
    for secret in ("hyacinth", "queue=vip", "state=", "code=", "nonce=", "jwt=", "redirect_url="):
        assert not [line for line in ours if secret in line], secret
