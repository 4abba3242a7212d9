"""The log names what came, not only that it was something else: an admin finds a typing error without guessing."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from broker.log import JsonLines
from broker.text import MAX_CHARACTERS
from tests.fakes.clock import Clock
from tests.fakes.world import BROKER, PAGE, World

SAYS_NOTHING = {
    "another", "another address", "another form", "another method", "another text", "more", "none", "none of them",
    "not all", "nothing", "one", "one of them", "other characters", "something else", "", None,
}  # fmt: skip


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonLines())
    logging.getLogger().addHandler(handler)
    yield stream
    logging.getLogger().removeHandler(handler)


def refusals(log: io.StringIO) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in log.getvalue().splitlines()]
    return [
        line
        for line in lines
        if line["event"] in ("sign-in", "test sign-in", "request refused") and line["code"] != "none"
    ]


async def refused(world: World, log: io.StringIO, method: str, address: str, **headers: str) -> dict[str, Any]:
    """Send one request and return its line in the log."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    async with world.broker() as service:
        await world.browser(service).client.request(method, f"{BROKER}{address}", headers=named)
    (line,) = refusals(log)
    return line


BAD_REQUESTS = [
    pytest.param("/login/mian", {}, "the id of a site: main, emea", "mian", id="a site misspelt"),
    pytest.param("/logout/mian", {}, "the id of a site: main, emea", "mian", id="a site misspelt at /logout"),
    pytest.param(
        "/callback/ipd?code=c1&state=s1", {}, "the id of an identity provider: idp", "ipd", id="a provider misspelt"
    ),
    pytest.param(
        "/initiate/ipd", {}, "the id of an identity provider: idp", "ipd", id="a provider misspelt at /initiate"
    ),
    pytest.param(
        "/login?idp=ipd", {}, "an identity provider of site main: idp", "ipd", id="a provider misspelt in the query"
    ),
    pytest.param("/login/main?idp=ada@acme.example", {}, None, "***@acme.example", id="an address for a provider"),
    pytest.param("/logn?a=b", {}, "an address of the broker", "/logn", id="a path misspelt, without its query"),
    pytest.param("/callback", {}, "an address of the broker", "/callback", id="the callback without a provider"),
    pytest.param(
        "/a/" + "x" * 41, {}, "an address of the broker", "/a/[left out]", id="a part that may be a link or a code"
    ),
    pytest.param("/" + "a/" * 200, {}, "an address of the broker", "/" + "a/" * 58 + "a/...", id="a long path"),
    pytest.param("/login?redirect_url=https://evil.example/x?y=z", {}, None, "evil.example", id="another host"),
    pytest.param(
        f"/login?redirect_url={PAGE}&redirect_url=x", {}, "redirect_url once", "2 times", id="a parameter twice"
    ),
    pytest.param("/login", {"Sec_Fetch_Mode": "cors"}, "a navigation", "sec-fetch-mode: cors", id="a fetch"),
    pytest.param(
        "/login",
        {"Sec_Purpose": "prefetch;prerender"},
        "a navigation",
        "sec-purpose: prefetch;prerender",
        id="a prefetch",
    ),
    pytest.param("/initiate/idp", {}, "https://idp.example", "no iss", id="no issuer"),
    pytest.param(
        "/initiate/idp?iss=https://idp.example/", {}, "https://idp.example", "https://idp.example/", id="a slash more"
    ),
    pytest.param(
        "/initiate/idp?iss=https://idp.example&login_hint=%C3%A4da",
        {},
        None,
        "3 characters, U+00E4 among them",
        id="an odd hint",
    ),
    pytest.param("/callback/idp", {}, "state", "an address without parameters", id="the callback, bare"),
    pytest.param("/callback/idp?code=c1&x=y", {}, "state", "only code, x", id="a callback without state"),
    pytest.param(
        "/callback/idp?error=invalid_scope&error_description=Scope+%27mail%27+is+unknown",
        {},
        "state",
        "invalid_scope: Scope 'mail' is unknown",
        id="a refusal without state",
    ),
    pytest.param("/callback/idp?code=c1&state=forged", {}, None, "1 that none of them signed", id="a forged state"),
    pytest.param("/setup", {}, "one link", "0 links", id="no link"),
    pytest.param("/setup?link=forged", {}, None, "6 characters that none of them signed", id="a forged link"),
    pytest.param(
        "/setup?link=x", {"Host": "evil.example"}, "Host: sso.acme.example", ["evil.example"], id="another Host"
    ),
    pytest.param("/setup", {"Sec_Fetch_Dest": "iframe"}, "a tab of its own", "Sec-Fetch-Dest: iframe", id="a frame"),
    pytest.param(
        "/login?" + "a" * 9_000, {}, "address of at most 8192 bytes", "address 9007 of 8192 bytes", id="a long address"
    ),
    pytest.param("/login", {"Content_Length": "7"}, "no body", "Content-Length: 7", id="a body"),
]


@pytest.mark.parametrize(("address", "headers", "expected", "got"), BAD_REQUESTS)
async def test_a_refusal_names_what_came(
    world: World, log: io.StringIO, address: str, headers: dict[str, str], expected: str | None, got: object
) -> None:
    world.settings["sites"]["emea"] = {
        **world.settings["sites"]["main"],
        "endpoint": "https://emea.comm100.example/sso",
    }
    line = await refused(world, log, "GET", address, **headers)
    assert line["got"] == got
    assert line["got"] not in SAYS_NOTHING if isinstance(got, str) else True
    assert expected is None or line["expected"] == expected
    assert len(str(line["got"])) <= MAX_CHARACTERS


@pytest.mark.parametrize("method", ["HEAD", "POST", "PUT", "DELETE", "OPTIONS"])
async def test_a_refusal_names_the_method(world: World, log: io.StringIO, method: str) -> None:
    line = await refused(world, log, method, "/login")
    assert (line["expected"], line["got"]) == ("GET", method)


async def test_a_refusal_names_no_more_than_ten_ids(world: World, log: io.StringIO) -> None:
    for number in range(12):
        world.settings["sites"][f"s{number}"] = world.settings["sites"]["main"]
    line = await refused(world, log, "GET", "/login/nowhere")
    assert line["expected"] == "the id of a site: main, s0, s1, s2, s3, s4, s5, s6, s7, s8, …"


async def test_a_sign_in_that_is_not_under_way_here_is_named_without_what_binds_it(
    world: World, log: io.StringIO, clock: Clock
) -> None:
    async with world.broker() as service:
        browser = world.browser(service)
        callbacks = [await browser.to_callback(redirect_url=PAGE) for _ in range(2)]
        other = httpx.URL(callbacks[1])
        browser.forget_cookies()
        await browser.open(callbacks[0])
        clock.advance(601)
        await browser.open(str(other))
    assert [line["got"] for line in refusals(log)] == ["no such cookie", "601 s"]
    for callback in callbacks:
        assert httpx.URL(callback).params["state"] not in log.getvalue()


async def test_nothing_that_came_is_on_the_page(world: World) -> None:
    async with world.broker() as service:
        browser = world.browser(service)
        for address in (
            "/login/zq7marker",
            "/callback/zq7marker",
            "/login?idp=zq7marker",
            "/zq7marker",
            "/zq7marker/x",
        ):
            page = await browser.open(f"{BROKER}{address}")
            assert "zq7marker" not in page.text + str(page.headers)
