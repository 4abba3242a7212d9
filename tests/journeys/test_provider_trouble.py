"""A provider that says no, that is down, or that comes back: the person gets a page, the service goes on."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import httpx
import pytest

from broker.errors import (
    AccessDenied,
    BrokerError,
    CodeMissing,
    IdTokenSignature,
    InteractionRequired,
    KeysInvalid,
    MetadataIssuer,
    ProviderError,
    ProviderFailing,
    ProviderReportedFailure,
    ProviderUnreachable,
    UserinfoInvalid,
)
from broker.signing import encode_base64url
from tests.fakes.clock import Clock
from tests.fakes.lies import AlterAnswer, Lies, status, with_
from tests.fakes.world import BROKER, PAGE, World, assert_refused, refresh, start_again

Outage = Callable[[httpx.Request], httpx.Response]
MARKER = "marker7f3a"


def unreachable(request: httpx.Request) -> httpx.Response:
    raise httpx.ConnectError("connection refused", request=request)


def failing(_request: httpx.Request) -> httpx.Response:
    return httpx.Response(500, text=MARKER)


def asking_to_wait(_request: httpx.Request) -> httpx.Response:
    return httpx.Response(429, headers={"Retry-After": "17"}, text=MARKER)


outages = pytest.mark.parametrize(
    ("outage", "error", "retry_after"),
    [
        pytest.param(unreachable, ProviderUnreachable, "10", id="refuses connections"),
        pytest.param(failing, ProviderFailing, "10", id="answers 500"),
        pytest.param(asking_to_wait, ProviderFailing, "17", id="asks to wait"),
    ],
)


@pytest.mark.parametrize(
    ("said", "error"),
    [
        pytest.param("access_denied", AccessDenied, id="access denied"),
        pytest.param("login_required", InteractionRequired, id="login required"),
        pytest.param("consent_required", InteractionRequired, id="consent required"),
        pytest.param("interaction_required", InteractionRequired, id="interaction required"),
        pytest.param("unauthorized_client", ProviderError, id="unauthorized client"),
        pytest.param("invalid_scope", ProviderError, id="invalid scope"),
        pytest.param(f"<script>{MARKER}", ProviderError, id="something nobody knows"),
        pytest.param("", CodeMissing, id="an empty error"),
        pytest.param("server_error", ProviderReportedFailure, id="server error"),
        pytest.param("temporarily_unavailable", ProviderReportedFailure, id="temporarily unavailable"),
    ],
)
async def test_a_provider_may_say_no(world: World, said: str, error: type[BrokerError]) -> None:
    world.provider.refuses = {"error": said, "error_description": f"<b>{MARKER}</b>", "error_uri": f"https://{MARKER}"}
    async with world.broker() as service:
        browser = world.browser(service)
        answer = await browser.sign_in(redirect_url=PAGE)
        assert_refused(answer, error)
        assert refresh(answer) is None
        assert browser.broker_cookies() == []
        assert MARKER not in answer.text + str(answer.headers)
        assert world.provider.count("/token") == 0
        world.provider.refuses = None
        page = await browser.follow(await browser.open(start_again(answer) or ""))
    assert str(page.url) == PAGE


async def test_a_provider_may_say_nothing(world: World) -> None:
    world.provider.refuses = {}
    async with world.broker() as service:
        assert_refused(await world.browser(service).sign_in(), CodeMissing)


@pytest.mark.requirement("S-44")
@outages
async def test_a_provider_down_at_the_start_stops_nothing_and_recovers(
    world: World, clock: Clock, outage: Outage, error: type[BrokerError], retry_after: str
) -> None:
    world.provider.is_down = outage
    async with world.broker() as service:
        browser = world.browser(service)
        answer = await browser.open(f"{BROKER}/login", redirect_url=PAGE)
        assert_refused(answer, error)
        assert answer.headers["retry-after"] == retry_after
        assert browser.broker_cookies() == []
        world.provider.is_down = None
        clock.advance(1)
        page = await browser.follow(await browser.open(start_again(answer) or ""))
    assert str(page.url) == PAGE


@pytest.mark.requirement("S-44")
async def test_while_a_provider_is_down_it_is_asked_at_most_once_a_second(world: World, clock: Clock) -> None:
    world.provider.is_down = failing
    async with world.broker() as service:
        browser = world.browser(service)
        for _ in range(20):
            await browser.open(f"{BROKER}/login")
        assert world.provider.requests == ["/.well-known/openid-configuration"]
        clock.advance(1)
        await browser.open(f"{BROKER}/login")
    assert len(world.provider.requests) == 2


@pytest.mark.requirement("S-44")
async def test_one_provider_down_leaves_the_others_working(world: World) -> None:
    eu = world.add_provider("eu")
    eu.is_down = unreachable
    async with world.broker() as service:
        browser = world.browser(service)
        assert_refused(await browser.open(f"{BROKER}/login", idp="eu"), ProviderUnreachable)
        assert str((await browser.sign_in(idp="idp", redirect_url=PAGE)).url) == PAGE


@pytest.mark.requirement("S-40")
async def test_a_provider_with_anothers_issuer_is_out_of_service_alone(world: World) -> None:
    world.add_provider("eu").lies = Lies(discovery=with_(issuer="https://idp.example"))
    async with world.broker() as service:
        browser = world.browser(service)
        assert_refused(await browser.open(f"{BROKER}/login", idp="eu"), MetadataIssuer)
        assert str((await browser.sign_in(idp="idp", redirect_url=PAGE)).url) == PAGE


@pytest.mark.requirement("S-44")
@outages
async def test_a_provider_whose_metadata_goes_away_later_costs_no_sign_in(
    world: World,
    clock: Clock,
    outage: Outage,
    error: type[BrokerError],  # noqa: ARG001 - it never shows
    retry_after: str,  # noqa: ARG001 - likewise
) -> None:
    async with world.broker() as service:
        browser = world.browser(service)
        await browser.sign_in()
        clock.advance(2 * 86_400)
        world.provider.lies = Lies(
            answers={path: lambda _: outage(NOWHERE) for path in ("/.well-known/openid-configuration", "/keys")}
        )
        assert str((await browser.sign_in(redirect_url=PAGE)).url) == PAGE


NOWHERE = httpx.Request("GET", "https://idp.example/")


@pytest.mark.parametrize("path", ["/token", "/userinfo"])
@outages
async def test_an_outage_in_the_middle_leaves_a_page_and_starting_again_works(
    world: World, clock: Clock, path: str, outage: Outage, error: type[BrokerError], retry_after: str
) -> None:
    async with world.broker() as service:
        browser = world.browser(service)
        callback = await browser.to_callback(redirect_url=PAGE)
        clock.advance(5)
        world.provider.lies = Lies(answers={path: lambda _: outage(NOWHERE)})
        answer = await browser.open(callback)
        assert_refused(answer, error)
        assert answer.headers["retry-after"] == retry_after
        assert MARKER not in answer.text
        assert browser.broker_cookies() == []
        assert world.received == []
        world.provider.lies = Lies()
        page = await browser.follow(await browser.open(start_again(answer) or ""))
    assert str(page.url) == PAGE


@pytest.mark.requirement("S-45")
async def test_a_code_is_redeemed_once_even_if_the_answer_is_lost(world: World) -> None:
    world.provider.lies = Lies(answers={"/token": status(502)})
    async with world.broker() as service:
        assert_refused(await world.browser(service).sign_in(), ProviderFailing)
    assert world.provider.count("/token") == 1


def at_first(answer: Outage) -> Callable[[httpx.Response], httpx.Response]:
    """Answer the first request so, and the following ones honestly."""
    answers = [answer]
    return lambda honest: answers.pop()(NOWHERE) if answers else honest


def broken_off(_request: httpx.Request) -> httpx.Response:
    raise httpx.ReadError("Connection reset by peer before an answer came")


@pytest.mark.requirement("S-44")
@pytest.mark.parametrize("outage", [unreachable, failing, broken_off])
async def test_one_failure_of_userinfo_costs_nobody_a_sign_in(world: World, outage: Outage) -> None:
    world.provider.lies = Lies(answers={"/userinfo": at_first(outage)})
    async with world.broker() as service:
        assert str((await world.browser(service).sign_in(redirect_url=PAGE)).url) == PAGE
    assert (world.provider.count("/token"), world.provider.count("/userinfo")) == (1, 2)


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        pytest.param(status(403), UserinfoInvalid, id="a refusal"),
        pytest.param(status(429), ProviderFailing, id="too many requests"),
        pytest.param(status(503, **{"Retry-After": "30"}), ProviderFailing, id="a time to wait"),
    ],
)
async def test_userinfo_is_requested_once_if_another_request_cannot_help(
    world: World, answer: AlterAnswer, error: type[BrokerError]
) -> None:
    world.provider.lies = Lies(answers={"/userinfo": answer})
    async with world.broker() as service:
        assert_refused(await world.browser(service).sign_in(), error)
    assert world.provider.count("/userinfo") == 1


@pytest.mark.requirement("S-44")
async def test_userinfo_of_a_provider_that_is_down_is_requested_once(world: World) -> None:
    world.provider.lies = Lies(answers={"/userinfo": lambda _: failing(NOWHERE)})
    async with world.broker() as service:
        for requests in (2, 3, 4):  # down from the third failure in a row on
            assert_refused(await world.browser(service).sign_in(), ProviderFailing)
            assert world.provider.count("/userinfo") == requests


def heavy_keys(bits: int, exponent: int) -> dict[str, Any]:
    """As many keys as are looked at, all of one kid, none of them right."""
    moduli = (2**bits - 1 - 2 * number for number in range(100))
    return {"keys": [{"kty": "RSA", "kid": "heavy", "e": written(exponent), "n": written(one)} for one in moduli]}


def written(number: int) -> str:
    return encode_base64url(number.to_bytes((number.bit_length() + 7) // 8))


def signed_at_length(bits: int, header: dict[str, Any], claims: dict[str, Any]) -> str:
    """Sign with a number as long as a key, for a shorter one is refused without any work."""
    parts = (json.dumps({**header, "kid": "heavy"}).encode(), json.dumps(claims).encode(), b"\x01" * (bits // 8))
    return ".".join(encode_base64url(part) for part in parts)


@pytest.mark.requirement("S-42")
@pytest.mark.parametrize(
    ("bits", "exponent", "error"),
    [
        pytest.param(8192, 2**32 - 1, IdTokenSignature, id="as long as is allowed"),
        pytest.param(3072, 2**3071 + 1, KeysInvalid, id="with exponents as long as the library computes"),
    ],
)
async def test_a_hundred_heavy_keys_of_one_kid_cost_a_callback_little(
    world: World, bits: int, exponent: int, error: type[BrokerError]
) -> None:
    keys = heavy_keys(bits, exponent)
    world.provider.lies = Lies(jwks=lambda _: keys, sign=partial(signed_at_length, bits))
    async with world.broker() as service:
        browser = world.browser(service)
        assert_refused(await browser.sign_in(), error)  # by now the keys are here
        spent = []
        for _ in range(3):
            callback = await browser.to_callback()
            started = time.process_time()
            answer = await browser.open(callback)
            spent.append(time.process_time() - started)
            assert_refused(answer, error)
    assert min(spent) < 0.05, "seconds of processor time; without the bounds they are 0.08 and 0.6"
