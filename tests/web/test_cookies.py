"""The sign-in's cookie: exact attributes both ways, and a strict reader of what browsers send."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import httpx
import pytest

from broker.errors import CookieMissing
from tests.fakes.world import BROKER, PAGE, World, assert_refused

ATTRIBUTES = {"Path=/", "HttpOnly", "SameSite=Lax", "Secure"}
LOOPBACK = "http://127.0.0.1:8000"
LONG_PAGE = f"{PAGE}&filter={hashlib.shake_256(b'long').hexdigest(900)}"


def taken_apart(set_cookie: str) -> tuple[str, str, set[str]]:
    """Return name, value and attributes of a Set-Cookie header."""
    pair, *attributes = set_cookie.split("; ")
    name, _, value = pair.partition("=")
    return name, value, set(attributes)


@pytest.mark.requirement("S-50")
async def test_the_cookie_is_tied_to_https_this_host_and_the_top_of_the_page(world: World) -> None:
    async with world.broker() as service:
        answer = await world.browser(service).open(f"{BROKER}/login", redirect_url=PAGE)
    (header,) = answer.headers.get_list("set-cookie")
    name, value, attributes = taken_apart(header)
    assert name.startswith("__Host-")
    assert len(value) >= 43
    assert attributes == {*ATTRIBUTES, "Max-Age=600"}


@pytest.mark.parametrize(
    ("redirect_url", "max_age"),
    [
        pytest.param("", "Max-Age=600", id="none"),
        pytest.param(PAGE, "Max-Age=600", id="short: it is in the state"),
        pytest.param(f"{PAGE}&{'queue=vip&' * 150}", "Max-Age=600", id="long, but packed small: in the state as well"),
        pytest.param(LONG_PAGE, "Max-Age=3600", id="long: it is in the cookie alone"),
    ],
)
async def test_a_cookie_that_holds_a_redirect_url_outlives_its_sign_in(
    world: World, redirect_url: str, max_age: str
) -> None:
    async with world.broker() as service:
        answer = await world.browser(service).open(f"{BROKER}/login", redirect_url=redirect_url)
    (header,) = answer.headers.get_list("set-cookie")
    _, value, attributes = taken_apart(header)
    assert attributes == {*ATTRIBUTES, max_age}
    assert (value.count(".") == 2) is (max_age == "Max-Age=3600")


@pytest.mark.requirement("S-50")
async def test_the_cookie_is_deleted_with_the_attributes_it_was_set_with(world: World) -> None:
    async with world.broker() as service:
        browser = world.browser(service)
        await browser.sign_in()
    name, _, _ = taken_apart(browser.steps[0].headers["set-cookie"])
    (header,) = browser.steps[2].headers.get_list("set-cookie")
    assert taken_apart(header) == (name, "", {*ATTRIBUTES, "Max-Age=0"})


@pytest.mark.requirement("S-50")
async def test_on_a_loopback_http_address_prefix_and_secure_are_dropped(world: World) -> None:
    async with (
        world.broker(public_url=LOOPBACK) as service,
        httpx.AsyncClient(transport=httpx.ASGITransport(service.public), base_url=LOOPBACK) as client,
    ):
        answer = await client.get("/login")
    (header,) = answer.headers.get_list("set-cookie")
    name, _, attributes = taken_apart(header)
    assert not name.startswith("__")
    assert attributes == {*ATTRIBUTES, "Max-Age=600"} - {"Secure"}
    assert "strict-transport-security" not in answer.headers


async def test_logout_forgets_every_sign_in_under_way(world: World) -> None:
    async with world.broker() as service:
        browser = world.browser(service)
        for _ in range(3):
            await browser.to_callback()
        assert len(browser.broker_cookies()) == 3
        answer = await browser.open(f"{BROKER}/logout")
        assert browser.broker_cookies() == []
    for header in answer.headers.get_list("set-cookie"):
        assert taken_apart(header)[1:] == ("", {*ATTRIBUTES, "Max-Age=0"})


WHITE_SPACE = ["\t", "\x0b", "\x0c", "\x1c", "\x85", "\xa0", "  "]
ODD = ["", " ", ";", "=", "=;=", "__Host-", "__Host-=", "\x00", "a\xff=\xfe"]
Forge = Callable[[str, str], list[str]]


def behind(text: str) -> Forge:
    return lambda name, value: [f"{text}{name}={value}"]


def instead(header: str) -> Forge:
    return lambda _name, _value: [header]


ACCEPTED: dict[str, Forge] = {
    "alone": lambda name, value: [f"{name}={value}"],
    "among others": lambda name, value: [f"a=b; {name}={value}; c=d=e"],
    "without the space": lambda name, value: [f"a=b;{name}={value};c"],
    "in a header of its own": lambda name, value: ["a=b", f"{name}={value}"],
    "beside one with a name that only looks like it": lambda name, value: [f"{name}x=1; {name}={value}; x{name}=2"],
}
REFUSED: dict[str, Forge] = {
    "twice": lambda name, value: [f"{name}={value}; {name}={value}"],
    "twice, another first": lambda name, value: [f"{name}=0.AAAA; {name}={value}"],
    "twice, another last": lambda name, value: [f"{name}={value}; {name}=0.AAAA"],
    "twice, one of them empty": lambda name, value: [f"{name}={value}; {name}="],
    "twice, one of them unreadable": lambda name, value: [f"{name}={value}; {name}=%%%"],
    "twice, in two headers": lambda name, value: [f"{name}={value}", f"{name}={value}"],
    "a space more before it": lambda name, value: [f"a=b;  {name}={value}"],
    "a tab before it": lambda name, value: [f"a=b;\t{name}={value}"],
    "a no-break space before it": lambda name, value: [f"a=b; \xa0{name}={value}"],
    "a next-line character before it": lambda name, value: [f"a=b; \x85{name}={value}"],
    "a vertical tab before it": lambda name, value: [f"a=b;\x0b{name}={value}"],
    "a space behind the name": lambda name, value: [f"{name} ={value}"],
    "a space before the value": lambda name, value: [f"{name}= {value}"],
    "in quotes": lambda name, value: [f'{name}="{value}"'],
    "in capitals": lambda name, value: [f"{name.upper()}={value}"],
    "without the prefix": lambda name, value: [f"{name.removeprefix('__Host-')}={value}"],
    "with the weaker prefix": lambda name, value: [f"{name.replace('__Host-', '__Secure-')}={value}"],
    "with the prefix in another case": lambda name, value: [f"{name.replace('__Host-', '__HOST-')}={value}"],
    "without a name": lambda name, value: [f"={name}={value}"],
    "without a value": lambda name, _: [f"{name}="],
    "the name alone": lambda name, _: [name],
    "cut": lambda name, value: [f"{name}={value[:-1]}"],
    "with something behind it": lambda name, value: [f"{name}={value}AAAA"],
    "with commas": lambda name, value: [f"a=b, {name}={value}"],
    # PortSwigger, "Cookie Chaos", 2025: servers strip white space that hides a prefix from the browser.
    **{f"behind {space!a}": behind(space) for space in WHITE_SPACE},
    "behind $Version and a comma": lambda name, value: [f"$Version=1,{name}={value}"],
    "between quotation marks of others": lambda name, value: [f'a="b; {name}={value}"'],
    **{f"{odd!a}, CVE-2023-28625": instead(odd) for odd in ODD},
    "the largest number, CVE-2024-24814": lambda name, _: [f"{name}=ffffffffffff.AAAA"],
    "a number of 3,000 digits, CVE-2024-24814": lambda name, _: [f"{name}={'9' * 3_000}.AAAA"],
}


async def open_with(world: World, forge: Forge) -> httpx.Response:
    """Start a sign-in, and come back with the cookie in the form given."""
    async with world.broker() as service:
        browser = world.browser(service)
        callback = await browser.to_callback(redirect_url=PAGE)
        cookie = next(one for one in browser.client.cookies.jar if one.domain == "sso.acme.example")
        browser.forget_cookies()
        headers = [(b"Cookie", one.encode("latin-1")) for one in forge(cookie.name, cookie.value or "")]
        return await browser.client.get(callback, headers=headers)


@pytest.mark.parametrize("forge", ACCEPTED.values(), ids=ACCEPTED.keys())
async def test_the_cookie_is_found(world: World, forge: Forge) -> None:
    assert (await open_with(world, forge)).status_code == 303


@pytest.mark.requirement("S-50")
@pytest.mark.parametrize("forge", REFUSED.values(), ids=REFUSED.keys())
async def test_a_cookie_in_any_other_form_is_not_the_cookie(world: World, forge: Forge) -> None:
    assert_refused(await open_with(world, forge), CookieMissing)
    assert world.provider.count("/token") == 0


async def test_made_up_cookies_displace_none_but_themselves(world: World) -> None:
    """A neighbour on the same domain cannot set our names, but older sign-ins of any number may be there."""
    made_up = "; ".join(f"__Host-signin_{number:010d}=1.{'A' * 43}" for number in range(30))
    async with world.broker() as service:
        answer = await world.browser(service).get(f"{BROKER}/login", cookie=made_up)
    cookies = [taken_apart(header) for header in answer.headers.get_list("set-cookie")]
    assert answer.status_code == 303
    assert len([name for name, value, _ in cookies if not value]) == 26
    assert len([name for name, value, _ in cookies if value]) == 1


async def test_cookies_of_others_are_left_alone(world: World) -> None:
    others = "; ".join(f"{name}=x" for name in ("session", "__Host-session", "__Host-signin_", "signin_0123456789"))
    async with world.broker() as service:
        browser = world.browser(service)
        for path in ("/login", "/logout", "/callback/idp?state=x"):
            answer = await browser.get(f"{BROKER}{path}", cookie=others)
            dropped = [taken_apart(one)[0] for one in answer.headers.get_list("set-cookie") if "Max-Age=0" in one]
            assert dropped == []
