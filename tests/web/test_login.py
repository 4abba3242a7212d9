"""/login: what it starts, what it refuses, and that nothing in its address changes how people sign in."""

from __future__ import annotations

import base64
import re
import zlib
from collections.abc import Mapping
from urllib.parse import parse_qs, parse_qsl, urlencode, urlsplit

import pytest

from broker.errors import (
    BrokerError,
    MethodNotAllowed,
    NotANavigation,
    ParameterRepeated,
    ProviderFailing,
    RedirectUrlRefused,
)
from tests.fakes.lies import Lies, status, without
from tests.fakes.world import BROKER, ENDPOINT, PAGE, Browser, World, assert_refused, metrics, start_again

BASE64URL_256_BITS = re.compile(r"[A-Za-z0-9_-]{43}")
WANTED = {
    "response_type": "code",
    "client_id": "client-1",
    "redirect_uri": f"{BROKER}/callback/idp",
    "scope": "openid email profile",
    "code_challenge_method": "S256",
}
HOSTILE = {
    "response_type": "token",
    "response_mode": "fragment",
    "client_id": "evil",
    "redirect_uri": "https://evil.example/",
    "scope": "admin",
    "state": "fixed",
    "nonce": "fixed",
    "code_challenge": "fixed",
    "code_challenge_method": "plain",
    "prompt": "none",
    "login_hint": "eve",
    "max_age": "0",
    "request_uri": "https://evil.example/request",
    "iss": "https://evil.example",
}


async def redirect(browser: Browser, query: str = "") -> dict[str, list[str]]:
    """Start a sign-in and return the parameters of the authorization request."""
    answer = await browser.open(f"{BROKER}/login{query}")
    assert answer.status_code == 303
    assert answer.headers["location"].startswith("https://idp.example/authorize?")
    return parse_qs(urlsplit(answer.headers["location"]).query, strict_parsing=True)


@pytest.mark.requirement("S-01")
@pytest.mark.parametrize(
    "query",
    [
        pytest.param("", id="nothing asked"),
        pytest.param(f"?{urlencode({'redirect_url': PAGE})}", id="as Comm100 asks"),
        pytest.param(f"?{urlencode(HOSTILE)}", id="as an attacker asks"),
        pytest.param(f"?{urlencode(HOSTILE)}&{urlencode(HOSTILE)}", id="as an attacker asks twice"),
        pytest.param("?RelayState=%2Fx&relayState=y&utm_source=mail&a&=&%ff=%ff", id="with parameters nobody knows"),
    ],
)
async def test_the_authorization_request_is_ours_alone(world: World, query: str) -> None:
    """Unknown parameters are tolerated."""
    async with world.broker() as service:
        asked = await redirect(world.browser(service), query)
    assert all(len(values) == 1 for values in asked.values())
    single = {name: values[0] for name, values in asked.items()}
    assert BASE64URL_256_BITS.fullmatch(single.pop("nonce"))
    assert BASE64URL_256_BITS.fullmatch(single.pop("code_challenge"))
    assert re.fullmatch(r"[A-Za-z0-9_.-]{100,1000}", single.pop("state"))
    assert single == WANTED


@pytest.mark.requirement("S-01")
@pytest.mark.parametrize(
    "member", ["code_challenge_methods_supported", "response_types_supported", "id_token_signing_alg_values_supported"]
)
async def test_pkce_and_the_code_flow_are_used_whatever_the_metadata_leaves_out(world: World, member: str) -> None:
    world.provider.lies = Lies(discovery=without(member))
    async with world.broker() as service:
        asked = await redirect(world.browser(service))
    assert (asked["code_challenge_method"], asked["response_type"]) == (["S256"], ["code"])


@pytest.mark.requirement("S-01")
async def test_state_nonce_challenge_and_cookie_are_fresh_each_time(world: World) -> None:
    async with world.broker() as service:
        browser = world.browser(service)
        seen: list[str] = []
        for _ in range(20):
            browser.forget_cookies()
            asked = await redirect(browser)
            cookie = next(iter(browser.client.cookies.jar))
            seen += [asked[name][0] for name in ("state", "nonce", "code_challenge")]
            seen += [cookie.name, cookie.value or ""]
    assert len(set(seen)) == 100


async def test_the_state_shows_neither_nonce_nor_verifier_nor_cookie(world: World) -> None:
    async with world.broker() as service:
        browser = world.browser(service)
        await browser.sign_in(redirect_url=PAGE)
        cookie = browser.steps[0].headers["set-cookie"].partition("=")[2].partition(";")[0]
    state, nonce, verifier = (world.provider.issued[place] for place in (1, 2, 3))
    payload = state.rpartition(".")[0]
    unpacked = base64.urlsafe_b64decode(payload.lstrip(".") + "=" * (-len(payload.lstrip(".")) % 4))
    shown = state.encode() + (zlib.decompress(unpacked) if payload.startswith(".") else unpacked)
    assert PAGE.encode() in shown
    for secret in (nonce, verifier, cookie.rpartition(".")[2]):
        assert len(secret) >= 43
        assert secret.encode() not in shown


@pytest.mark.requirement("S-33")
@pytest.mark.parametrize(
    "bad",
    [
        pytest.param("http://acme.comm100.example/", id="http"),
        pytest.param("//acme.comm100.example/", id="no scheme"),
        pytest.param("/agentconsole", id="a path alone"),
        pytest.param("javascript:alert(1)", id="a script"),
        pytest.param("https://evil.example/", id="another host"),
        pytest.param("https://acme.comm100.example.evil.example/", id="our host as a prefix"),
        pytest.param("https://evilacme.comm100.example/", id="our host as a suffix"),
        pytest.param("https://acme.comm100.example@evil.example/", id="our host as a user name"),
        pytest.param("https://evil.example\\@acme.comm100.example/", id="a backslash"),
        pytest.param("https://acme.comm100.example:8443/", id="another port"),
        pytest.param("https://acme.comm100.example/\r\nSet-Cookie: a=b", id="a line break"),
        pytest.param("https://acme.comm100.example/\t", id="a tab"),
        pytest.param(" https://acme.comm100.example/", id="a space before"),
        pytest.param("https://acme.comm100.example/é", id="not ASCII"),
        pytest.param("https://acme.comm100.example/\x00", id="a NUL"),
        pytest.param(f"{PAGE}{'a' * 2_048}", id="too long"),
    ],
)
async def test_a_redirect_url_that_is_not_comm100s_is_refused_at_once(world: World, bad: str) -> None:
    async with world.broker() as service:
        browser = world.browser(service)
        answer = await browser.open(f"{BROKER}/login", redirect_url=bad)
        assert_refused(answer, RedirectUrlRefused)
        assert browser.broker_cookies() == []
    assert "evil" not in answer.text
    assert "/authorize" not in world.provider.requests
    assert "refresh" not in answer.headers


@pytest.mark.requirement("S-34")
@pytest.mark.parametrize(
    "bad",
    [
        pytest.param(PAGE, id="another path than the endpoint's"),
        pytest.param(f"{ENDPOINT}/", id="a slash more"),
        pytest.param(ENDPOINT.lower(), id="another case"),
        pytest.param(f"{ENDPOINT}?jwt=x", id="a token already there"),
        pytest.param(f"{ENDPOINT}?a=b&JWT", id="a token in capitals"),
        pytest.param(f"{ENDPOINT}?%6Aw%74=x", id="a token, encoded"),
    ],
)
async def test_in_append_delivery_only_the_endpoint_itself_will_do(world: World, bad: str) -> None:
    world.settings["sites"]["main"]["delivery"] = "append"
    async with world.broker() as service:
        assert_refused(await world.browser(service).open(f"{BROKER}/login", redirect_url=bad), RedirectUrlRefused)


@pytest.mark.parametrize("name", ["redirect_url", "idp", "restarted"])
async def test_a_parameter_of_ours_may_come_once_only(world: World, name: str) -> None:
    value = {"redirect_url": PAGE, "idp": "idp", "restarted": "1"}[name]
    async with world.broker() as service:
        browser = world.browser(service)
        answer = await browser.open(f"{BROKER}/login?{urlencode([(name, value), (name, value)])}")
        assert_refused(answer, ParameterRepeated)
        assert browser.broker_cookies() == []


Headers = Mapping[str, str] | list[tuple[str, str]]  # a list where a name comes twice
TWO_MODES = [("Sec-Fetch-Mode", "navigate"), ("Sec-Fetch-Mode", "cors")]
NO_NAVIGATION = [
    pytest.param("POST", {}, MethodNotAllowed, id="POST"),
    pytest.param("OPTIONS", {}, MethodNotAllowed, id="OPTIONS"),
    pytest.param("GET", {"Sec-Purpose": "prefetch"}, NotANavigation, id="prefetch"),
    pytest.param("GET", {"Sec-Purpose": "prefetch;prerender"}, NotANavigation, id="prerender"),
    pytest.param("GET", {"Purpose": "prefetch"}, NotANavigation, id="prefetch of older browsers"),
    pytest.param("GET", {"X-Moz": "prefetch"}, NotANavigation, id="prefetch of older Firefox"),
    pytest.param("GET", {"X-Moz": "Prefetch"}, NotANavigation, id="prefetch in another case"),
    pytest.param("GET", [("Sec-Purpose", "x"), ("Sec-Purpose", "prefetch")], NotANavigation, id="in a second header"),
    pytest.param("GET", [("Purpose", ""), ("Purpose", "prefetch")], NotANavigation, id="likewise, of older browsers"),
    pytest.param("GET", [("X-Moz", "x"), ("X-Moz", "prefetch")], NotANavigation, id="likewise, of older Firefox"),
    pytest.param("GET", TWO_MODES, NotANavigation, id="a navigation, and a fetch in a second header"),
    pytest.param("GET", TWO_MODES[::-1], NotANavigation, id="a fetch, and a navigation in a second header"),
    pytest.param("GET", {"Sec-Fetch-Mode": ""}, NotANavigation, id="a mode that is empty"),
    pytest.param("GET", {"Sec-Fetch-Mode": "cors"}, NotANavigation, id="fetch"),
    pytest.param("GET", {"Sec-Fetch-Mode": "no-cors"}, NotANavigation, id="image"),
    pytest.param("GET", {"Sec-Fetch-Mode": "same-origin"}, NotANavigation, id="fetch from our own origin"),
]


@pytest.mark.requirement("S-09")
@pytest.mark.parametrize(("method", "headers", "error"), NO_NAVIGATION)
async def test_only_a_navigation_starts_a_sign_in(
    world: World, method: str, headers: Headers, error: type[BrokerError]
) -> None:
    async with world.broker() as service:
        browser = world.browser(service)
        answer = await browser.client.request(method, f"{BROKER}/login", headers=headers)
        assert_refused(answer, error)
        assert browser.broker_cookies() == []
        assert (answer.headers.get("allow") == "GET") == (error is MethodNotAllowed)


@pytest.mark.requirement("S-09")
async def test_head_starts_nothing(world: World) -> None:
    """Link checkers and mail scanners ask so; the answer has no body to read a code from."""
    async with world.broker() as service:
        browser = world.browser(service)
        answer = await browser.client.head(f"{BROKER}/login")
        assert browser.broker_cookies() == []
        counted = await metrics(service)
    assert (answer.status_code, answer.headers.get("location")) == (405, None)
    assert f'reason="{MethodNotAllowed.code}"' in counted


async def test_a_navigation_of_a_browser_that_says_so_starts_a_sign_in(world: World) -> None:
    headers = {"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document", "Sec-Fetch-Site": "cross-site"}
    async with world.broker() as service:
        answer = await world.browser(service).client.get(f"{BROKER}/login", headers=headers)
    assert answer.status_code == 303


async def test_while_the_provider_is_down_the_page_says_when_to_come_back_and_where(world: World) -> None:
    world.provider.lies = Lies(answers={"/.well-known/openid-configuration": status(503, **{"Retry-After": "42"})})
    async with world.broker() as service:
        answer = await world.browser(service).open(f"{BROKER}/login", redirect_url=PAGE)
    assert_refused(answer, ProviderFailing)
    assert answer.headers["retry-after"] == "42"
    link = urlsplit(start_again(answer) or "")
    assert (f"{link.scheme}://{link.netloc}{link.path}", dict(parse_qsl(link.query))) == (
        f"{BROKER}/login/main",
        {"redirect_url": PAGE},
    )
