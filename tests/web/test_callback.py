"""/callback: the state is judged first, everything must come once, and a refusal reaches nobody."""

from __future__ import annotations

from collections.abc import Mapping

import httpx
import pytest

from broker.errors import (
    BrokerError,
    CallbackIssuer,
    CodeMissing,
    IdTokenNonce,
    MethodNotAllowed,
    NotANavigation,
    ParameterRepeated,
    ParametersContradict,
    ResponseModeUnsupported,
    StateInvalid,
    StateMissing,
)
from broker.web.callback import MAX_STATES
from tests.fakes.lies import Lies, with_
from tests.fakes.world import BROKER, ENDPOINT, PAGE, Browser, World, assert_refused, metrics

CALLBACK = f"{BROKER}/callback/idp"
ANNOUNCED = Lies(discovery=with_(authorization_response_iss_parameter_supported=True))


def assert_no_hit(world: World, browser: Browser) -> None:
    """Check that neither the token nor the userinfo endpoint was asked, and that the sign-in is over."""
    assert not {"/token", "/userinfo"} & set(world.provider.requests)
    assert browser.broker_cookies() == []


@pytest.mark.requirement("S-05", "S-07")
@pytest.mark.parametrize(
    ("addition", "error"),
    [
        pytest.param("&state=x", ParameterRepeated, id="a second state"),
        pytest.param("&code=x", ParameterRepeated, id="a second code"),
        pytest.param("&code=", ParameterRepeated, id="a second code, empty"),
        pytest.param("&error=a&error=b", ParameterRepeated, id="two errors"),
        pytest.param("&iss=https://idp.example&iss=https://idp.example", ParameterRepeated, id="two issuers"),
        pytest.param("&x=1&x=2", ParameterRepeated, id="anything else twice"),
        pytest.param("&error=access_denied", ParametersContradict, id="a code and an error"),
        pytest.param("&iss=https://evil.example", CallbackIssuer, id="another issuer"),
        pytest.param("&iss=https://idp.example/", CallbackIssuer, id="the issuer with a slash more"),
        pytest.param("&iss=https://IDP.example", CallbackIssuer, id="the issuer in capitals"),
    ],
)
async def test_a_genuine_callback_with_an_addition_reaches_nobody(
    world: World, addition: str, error: type[BrokerError]
) -> None:
    async with world.broker() as service:
        browser = world.browser(service)
        assert_refused(await browser.open(await browser.to_callback(redirect_url=PAGE) + addition), error)
        assert_no_hit(world, browser)


@pytest.mark.parametrize(
    "addition",
    [
        *("&iss=https%3A%2F%2Fidp.example", "&session_state=1&scope=openid&hd=x&prompt="),
        *("&error=", "&iss=", "&error=&error="),  # RFC 6749, section 3.1
    ],
)
async def test_what_providers_add_is_tolerated(world: World, addition: str) -> None:
    async with world.broker() as service:
        browser = world.browser(service)
        end = await browser.follow(await browser.open(await browser.to_callback(redirect_url=PAGE) + addition))
    assert str(end.url) == PAGE


@pytest.mark.requirement("S-07")
@pytest.mark.parametrize(
    ("iss", "error"),
    [
        pytest.param({}, CallbackIssuer, id="none"),
        pytest.param({"iss": "https://evil.example"}, CallbackIssuer, id="another"),
        pytest.param({"iss": "https://idp.example"}, None, id="the right one"),
    ],
)
async def test_an_announced_issuer_must_come_and_be_right(
    world: World, iss: dict[str, str], error: type[BrokerError] | None
) -> None:
    world.provider.lies = Lies(discovery=ANNOUNCED.discovery, callback=with_(**iss))
    async with world.broker() as service:
        browser = world.browser(service)
        end = await browser.sign_in(redirect_url=PAGE)
        if error is None:
            assert str(end.url) == PAGE
        else:
            assert_refused(end, error)
            assert_no_hit(world, browser)


def with_states(callback: str, states: list[str]) -> str:
    """Put these states in place of the callback's own; `OURS` stands for it."""
    url = httpx.URL(callback)
    own = url.params["state"]
    parameters = [("code", url.params["code"]), *(("state", own if one == "OURS" else one) for one in states)]
    return str(url.copy_with(params=parameters))


@pytest.mark.requirement("S-05")
@pytest.mark.parametrize(
    ("states", "error", "cookie_stays"),
    [
        pytest.param(["OURS", "x"], ParameterRepeated, False, id="ours first"),
        pytest.param(["x", "OURS"], ParameterRepeated, False, id="ours second"),
        pytest.param(["OURS", "OURS"], ParameterRepeated, False, id="ours twice"),
        pytest.param(["", "OURS"], ParameterRepeated, False, id="an empty one, and ours"),
        pytest.param(["x"] * (MAX_STATES - 1) + ["OURS"], ParameterRepeated, False, id="ours fifth"),
        pytest.param(["x"] * MAX_STATES + ["OURS"], StateInvalid, True, id="ours sixth, which nobody looks at"),
    ],
)
async def test_of_several_states_none_is_taken_and_the_sign_in_is_over(
    world: World, states: list[str], error: type[BrokerError], cookie_stays: bool
) -> None:
    async with world.broker() as service:
        browser = world.browser(service)
        callback = await browser.to_callback(redirect_url=PAGE)
        assert len(browser.broker_cookies()) == 1
        assert_refused(await browser.open(with_states(callback, states)), error)
        assert len(browser.broker_cookies()) == cookie_stays
    assert not {"/token", "/userinfo"} & set(world.provider.requests)
    assert MAX_STATES == 5


@pytest.mark.requirement("S-05")
async def test_states_of_two_sign_ins_end_both(world: World) -> None:
    async with world.broker() as service:
        browser = world.browser(service)
        one, other = await browser.to_callback(), await browser.to_callback(redirect_url=PAGE)
        assert len(browser.broker_cookies()) == 2
        states = ["OURS", httpx.URL(other).params["state"]]
        assert_refused(await browser.open(with_states(one, states)), ParameterRepeated)
        assert_no_hit(world, browser)


@pytest.mark.requirement("S-05")
@pytest.mark.parametrize(
    ("query", "error"),
    [
        pytest.param("", StateMissing, id="nothing at all"),
        pytest.param("?code=x", StateMissing, id="a code alone"),
        pytest.param("?error=access_denied", StateMissing, id="an error alone"),
        pytest.param("?state=&code=x", StateMissing, id="an empty state"),
        pytest.param("?state=&state=&code=x", StateMissing, id="an empty state, twice"),
        pytest.param("?state=x&error=access_denied", StateInvalid, id="a made-up state with an error"),
        pytest.param("?state=x&state=y&code=a&code=b", StateInvalid, id="made-up states, all twice"),
        pytest.param("?state=%ff%00%f0%9f%92%a9.a.b&code=x", StateInvalid, id="bytes that are no text"),
        pytest.param("?state=" + "A." * 2_000, StateInvalid, id="a very long state"),
    ],
)
async def test_without_a_state_of_ours_nothing_else_is_looked_at(
    world: World, query: str, error: type[BrokerError]
) -> None:
    """The state is judged before the error is read."""
    async with world.broker() as service:
        browser = world.browser(service)
        assert_refused(await browser.open(f"{CALLBACK}{query}"), error)
        assert_no_hit(world, browser)


async def test_the_words_of_an_error_without_a_state_go_to_the_log(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    said = "?error=unauthorized_client&error_description=The+app+is+disabled+AbCdEfGhIjKlMnOpQrSt"
    async with world.broker() as service:
        assert_refused(await world.browser(service).open(f"{CALLBACK}{said}"), StateMissing)
    got = [vars(record)["facts"].get("got") for record in caplog.records if record.getMessage() == "sign-in"]
    assert got == ["unauthorized_client: The app is disabled [left out]"]


@pytest.mark.parametrize("place", [0, 1, 20, -1, -2], ids=lambda place: f"character {place}")
async def test_a_state_with_one_character_changed_is_refused(world: World, place: int) -> None:
    async with world.broker() as service:
        browser = world.browser(service)
        callback = httpx.URL(await browser.to_callback(redirect_url=PAGE))
        state = list(callback.params["state"])
        state[place] = "A" if state[place] != "A" else "B"
        forged = callback.copy_merge_params({"state": "".join(state)})
        assert_refused(await browser.open(str(forged)), StateInvalid)
    assert not {"/token", "/userinfo"} & set(world.provider.requests)


@pytest.mark.parametrize("code", ["", None], ids=["an empty code", "no code"])
async def test_a_callback_without_a_code_reaches_nobody(world: World, code: str | None) -> None:
    async with world.broker() as service:
        browser = world.browser(service)
        callback = httpx.URL(await browser.to_callback())
        callback = callback.copy_remove_param("code") if code is None else callback.copy_set_param("code", code)
        assert_refused(await browser.open(str(callback)), CodeMissing)
        assert_no_hit(world, browser)


@pytest.mark.requirement("S-09")
@pytest.mark.parametrize(
    ("method", "headers", "error"),
    [
        pytest.param("POST", {}, ResponseModeUnsupported, id="POST"),
        pytest.param("PUT", {}, MethodNotAllowed, id="PUT"),
        pytest.param("GET", {"Sec-Purpose": "prefetch"}, NotANavigation, id="prefetch"),
        pytest.param("GET", {"Sec-Purpose": "prefetch;anonymous-client-ip"}, NotANavigation, id="private prefetch"),
        pytest.param("GET", {"Purpose": "prefetch"}, NotANavigation, id="prefetch of older browsers"),
        pytest.param("GET", {"X-Moz": "prefetch"}, NotANavigation, id="prefetch of older Firefox"),
        pytest.param("GET", [("Purpose", "x"), ("Purpose", "prefetch")], NotANavigation, id="prefetch, second header"),
        pytest.param(
            "GET",
            [("Sec-Fetch-Mode", "navigate"), ("Sec-Fetch-Mode", "cors")],
            NotANavigation,
            id="fetch, second header",
        ),
        pytest.param("GET", {"Sec-Fetch-Mode": "cors"}, NotANavigation, id="fetch"),
        pytest.param("GET", {"Sec-Fetch-Mode": "no-cors"}, NotANavigation, id="image"),
    ],
)
async def test_only_a_navigation_consumes_a_sign_in(
    world: World, method: str, headers: Mapping[str, str] | list[tuple[str, str]], error: type[BrokerError]
) -> None:
    """What is no navigation reaches nobody, and the person can still finish."""
    async with world.broker() as service:
        browser = world.browser(service)
        callback = await browser.to_callback(redirect_url=PAGE)
        assert_refused(await browser.client.request(method, callback, headers=headers), error)
        assert not {"/token", "/userinfo"} & set(world.provider.requests)
        end = await browser.follow(await browser.open(callback))
    assert str(end.url) == PAGE


@pytest.mark.requirement("S-09")
async def test_head_consumes_nothing(world: World) -> None:
    """The answer has no body to read a code from."""
    async with world.broker() as service:
        browser = world.browser(service)
        callback = await browser.to_callback(redirect_url=PAGE)
        answer = await browser.client.head(callback)
        assert (answer.status_code, answer.headers.get("location")) == (405, None)
        assert f'reason="{MethodNotAllowed.code}"' in await metrics(service)
        assert not {"/token", "/userinfo"} & set(world.provider.requests)
        end = await browser.follow(await browser.open(callback))
    assert str(end.url) == PAGE


@pytest.mark.requirement("S-32")
async def test_the_last_answer_keeps_the_token_out_of_caches_referrers_and_bodies(world: World) -> None:
    async with world.broker() as service:
        browser = world.browser(service)
        answer = await browser.open(await browser.to_callback(redirect_url=PAGE))
    assert answer.status_code == 303
    assert answer.headers["location"].startswith(f"{ENDPOINT}?jwt=")
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert answer.content == b""
    assert "jwt=" not in str([value for name, value in answer.headers.items() if name != "location"])


@pytest.mark.requirement("S-16")
async def test_an_id_token_of_an_earlier_sign_in_is_refused(world: World) -> None:
    async with world.broker() as service:
        browser = world.browser(service)
        await browser.sign_in()
        earlier = next(one for one in world.provider.issued if one.count(".") == 2 and one.startswith("eyJ"))
        world.provider.lies = Lies(id_token=lambda _: earlier)
        assert_refused(await browser.sign_in(), IdTokenNonce)
        assert browser.broker_cookies() == []
    assert len(world.received) == 1
    assert world.provider.count("/userinfo") == 1
