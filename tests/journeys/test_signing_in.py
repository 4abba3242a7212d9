"""Whole sign-ins, as a person goes through them."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import jwt
import pytest
from jwt.types import Options

from broker.errors import RedirectUrlRefused
from tests.fakes.clock import START
from tests.fakes.world import BROKER, COMM100, ENDPOINT, PAGE, SHARED_SECRET, World, assert_refused

LONGEST = f"{PAGE}&" + "".join(f"{number:x}~" for number in range(10_000))
UNCHECKED: Options = {"verify_exp": False, "verify_iat": False, "verify_nbf": False, "verify_aud": False}


def claims_of(token: str, secret: str = SHARED_SECRET) -> dict[str, Any]:
    claims: dict[str, Any] = jwt.decode(token, secret.encode(), ["HS256"], options=UNCHECKED)
    return claims


async def test_a_person_goes_from_comm100_to_the_provider_and_back_signed_in(world: World) -> None:
    async with world.broker() as service:
        browser = world.browser(service)
        page = await browser.follow(await browser.open(f"{COMM100}/signin/sso", site_id="10000"))
    assert page.status_code == 200
    assert "Ada Lovelace" in page.text
    assert "ada@acme.example" in page.text
    assert world.received[0].refusal is None


@pytest.mark.requirement("S-31")
async def test_the_token_is_exactly_what_comm100_documents(world: World) -> None:
    async with world.broker() as service:
        await world.browser(service).sign_in(redirect_url=PAGE)
    token = dict(world.received[0].parameters)["jwt"]
    claims = claims_of(token)
    assert jwt.get_unverified_header(token) == {"alg": "HS256", "typ": "JWT"}
    assert len(claims.pop("jti")) >= 16
    assert claims == {
        "iss": "jwt server",
        "aud": "Comm100",
        "sub": "comm100",
        "iat": START,
        "nbf": START - 60,
        "exp": START + 60,
        "email": "ada@acme.example",
        "name": "Ada Lovelace",
    }


async def test_the_person_returns_to_the_very_page_comm100_named(world: World) -> None:
    async with world.broker() as service:
        page = await world.browser(service).sign_in(redirect_url=PAGE)
    assert str(page.url) == PAGE
    assert [name for name, _ in world.received[0].parameters] == ["jwt", "redirect_url"]
    assert world.received[0].referer is None


@pytest.mark.parametrize(
    "parameters",
    [pytest.param({}, id="no redirect_url"), pytest.param({"redirect_url": ""}, id="an empty redirect_url")],
)
@pytest.mark.parametrize("delivery", ["endpoint", "append"])
async def test_without_a_redirect_url_the_endpoint_gets_the_token_alone(
    world: World, parameters: dict[str, str], delivery: str
) -> None:
    world.settings["sites"]["main"]["delivery"] = delivery
    async with world.broker() as service:
        browser = world.browser(service)
        page = await browser.sign_in(**parameters)
    assert page.status_code == 200
    assert [name for name, _ in world.received[0].parameters] == ["jwt"]
    assert world.received[0].refusal is None


@pytest.mark.requirement("S-31")
async def test_calling_twice_gives_two_tokens_with_ids_of_their_own(world: World) -> None:
    async with world.broker() as service:
        browser = world.browser(service)
        await browser.sign_in()
        await browser.sign_in()
    first, second = (claims_of(dict(one.parameters)["jwt"]) for one in world.received)
    assert first.pop("jti") != second.pop("jti")
    assert first == second


@pytest.mark.requirement("S-34")
@pytest.mark.parametrize(
    ("redirect_url", "arrives"),
    [
        pytest.param(ENDPOINT, f"{ENDPOINT}?jwt=", id="the bare endpoint"),
        pytest.param(f"{ENDPOINT}?", f"{ENDPOINT}?jwt=", id="an empty query"),
        pytest.param(f"{ENDPOINT}?a=%2f&b=+%2B", f"{ENDPOINT}?a=%2f&b=+%2B&jwt=", id="a query, byte for byte"),
        pytest.param(f"{ENDPOINT}?a&&", f"{ENDPOINT}?a&&jwt=", id="a query that ends with a separator"),
        pytest.param(f"{ENDPOINT}?page=x#top", f"{ENDPOINT}?page=x&jwt=", id="a fragment, which stays behind"),
    ],
)
async def test_in_append_delivery_the_token_joins_the_redirect_url(
    world: World, redirect_url: str, arrives: str
) -> None:
    world.settings["sites"]["main"]["delivery"] = "append"
    async with world.broker() as service:
        browser = world.browser(service)
        callback = await browser.open(await browser.to_callback(redirect_url=redirect_url))
    location, hash_mark, fragment = callback.headers["location"].partition("#")
    token = location.removeprefix(arrives)
    assert callback.status_code == 303
    assert location.startswith(arrives)
    assert claims_of(token)["email"] == "ada@acme.example"
    assert hash_mark + fragment == redirect_url[len(redirect_url.partition("#")[0]) :]


async def test_comm100_lets_a_person_in_by_append_delivery(world: World) -> None:
    world.settings["sites"]["main"]["delivery"] = "append"
    async with world.broker() as service:
        page = await world.browser(service).sign_in(redirect_url=f"{ENDPOINT}?page=%2Fagentconsole")
    assert [name for name, _ in world.received[0].parameters] == ["page", "jwt"]
    assert world.received[0].refusal is None
    assert "Ada Lovelace" in page.text


@pytest.mark.requirement("S-33")
@pytest.mark.parametrize("length", [len(PAGE) + 1, 500, 900, 1_200, 2_048])
async def test_a_long_redirect_url_arrives_intact_by_a_short_address(world: World, length: int) -> None:
    wanted = LONGEST[:length]
    async with world.broker() as service:
        browser = world.browser(service)
        redirect = await browser.open(f"{BROKER}/login", redirect_url=wanted)
        callback = await browser.follow(redirect, until=ENDPOINT)
        cookies = callback.request.headers["cookie"]
    address = redirect.headers["location"]
    delivered = parse_qs(urlsplit(callback.headers["location"]).query)
    assert delivered["redirect_url"] == [wanted]
    assert len(address) < 1_800  # AADSTS90015
    assert len(cookies) < 4_096


@pytest.mark.requirement("S-33")
async def test_a_redirect_url_longer_than_2048_characters_is_refused(world: World) -> None:
    async with world.broker() as service:
        browser = world.browser(service)
        assert_refused(await browser.open(f"{BROKER}/login", redirect_url=LONGEST[:2_049]), RedirectUrlRefused)
    assert not browser.broker_cookies()


@pytest.mark.requirement("S-08", "S-32")
async def test_every_redirect_is_a_303_without_a_body(world: World) -> None:
    async with world.broker() as service:
        browser = world.browser(service)
        await browser.sign_in(redirect_url=PAGE)
    ours: list[httpx.Response] = [step for step in browser.steps if step.url.host == urlsplit(BROKER).hostname]
    assert [step.status_code for step in ours] == [303, 303]
    assert [step.content for step in ours] == [b"", b""]
    assert [step.headers["cache-control"] for step in ours] == ["no-store", "no-store"]
    assert [step.headers["referrer-policy"] for step in ours] == ["no-referrer", "no-referrer"]


@pytest.mark.requirement("S-52")
@pytest.mark.parametrize(
    "headers",
    [
        pytest.param({"X_Forwarded_User": "grace@acme.example"}, id="CVE-2025-64484 a person"),
        pytest.param({"X_Forwarded_Host": "evil.example", "X_Forwarded_Proto": "http"}, id="CVE-2025-64484 a host"),
        pytest.param({"X-Forwarded-Uri": "/", "X-Forwarded-Prefix": "/evil"}, id="CVE-2026-40575"),
        *(
            pytest.param({"Host": host}, id=f"CVE-2026-48710 {host!r}")
            for host in ("evil.example", "evil.example/login?", "sso.acme.example@evil.example", "[::1", "")
        ),
    ],
)
async def test_no_forged_header_has_a_say_in_who_signs_in_or_where_the_browser_goes(
    world: World, headers: dict[str, str]
) -> None:
    async with world.broker() as service:
        browser = world.browser(service)
        redirect = await browser.client.get(f"{BROKER}/login", headers=headers)
        asked = httpx.URL(redirect.headers["location"])
        back = await browser.open(str(asked))
        signed_in = await browser.client.get(back.headers["location"], headers=headers)
    assert (asked.host, asked.params["redirect_uri"]) == ("idp.example", f"{BROKER}/callback/idp")
    location = signed_in.headers["location"]
    assert location.startswith(f"{ENDPOINT}?jwt=")
    claims = jwt.decode(location.partition("jwt=")[2], options={"verify_signature": False})
    assert claims["email"] == "ada@acme.example"


async def test_once_warm_a_sign_in_costs_the_provider_two_requests(world: World) -> None:
    async with world.broker() as service:
        browser = world.browser(service)
        await browser.sign_in()
        world.provider.requests.clear()
        await browser.sign_in()
    assert world.provider.requests == ["/authorize", "/token", "/userinfo"]  # the first is the browser's own
