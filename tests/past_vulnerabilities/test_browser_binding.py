"""Sign-ins that others let finish in the wrong browser, and cookies that misled them: one row or test each."""

from __future__ import annotations

import tracemalloc
import zlib
from base64 import urlsafe_b64encode

import httpx
import pytest

from broker.errors import CodeRejected, CookieMissing, StateInvalid
from broker.transaction import OpenedState, SignInTransaction, bind, open_any, sign
from tests.fakes.clock import START
from tests.fakes.provider import Person
from tests.fakes.world import BROKER, PAGE, SECRET_KEY, World, assert_refused

GRACE = Person("00u-grace", {"email": "grace@acme.example", "email_verified": True, "name": "Grace Hopper"})


@pytest.mark.requirement("S-02")
@pytest.mark.parametrize(
    "victim_signs_in_too",
    [
        # Authlib kept what belongs to a state in a cache for everybody and never asked whose browser it was: an
        # attacker's callback address signed a victim in as the attacker.
        pytest.param(False, id="CVE-2025-68158"),
        # Authlib's repair left the cache of its Starlette integration without that question.
        pytest.param(False, id="CVE-2026-41425"),
        # FastAPI Users signed its state, but with nothing in it that belongs to one browser or one sign-in.
        pytest.param(True, id="CVE-2025-68481"),
    ],
)
async def test_an_attackers_callback_does_nothing_in_a_victims_browser(world: World, victim_signs_in_too: bool) -> None:
    world.provider.person = GRACE
    async with world.broker() as service:
        attackers = await world.browser(service).to_callback()
        victim = world.browser(service)
        if victim_signs_in_too:
            await victim.open(f"{BROKER}/login")
        assert_refused(await victim.open(attackers), CookieMissing)
    assert world.provider.count("/token") == 0
    assert not world.received


@pytest.mark.requirement("S-35")
@pytest.mark.parametrize("state", ["x", "eyJpIjoieCJ9.AAAA", "null", "0"])
async def test_a_state_of_anybodys_making_is_refused(world: World, state: str) -> None:
    """CVE-2025-14546: fastapi-sso made a state and never compared it with the one that came back."""
    async with world.broker() as service:
        browser = world.browser(service)
        callback = httpx.URL(await browser.to_callback())
        assert_refused(await browser.open(str(callback.copy_set_param("state", state))), StateInvalid)
    assert world.provider.count("/token") == 0


async def test_a_stolen_code_cannot_be_redeemed_in_the_thiefs_own_sign_in(world: World) -> None:
    """CVE-2022-39222: dex gave a code to whoever knew the number of the sign-in, and a thief could redeem it.

    Here a code is worth nothing without the verifier, which only the cookie of the browser that began yields.
    """
    async with world.broker() as service:
        thief, victim = world.browser(service), world.browser(service)
        thiefs = httpx.URL(await thief.to_callback())
        world.provider.person = GRACE
        stolen = httpx.URL(await victim.to_callback()).params["code"]
        assert_refused(await thief.open(str(thiefs.copy_set_param("code", stolen))), CodeRejected)
    assert not world.received


@pytest.mark.requirement("S-02")
async def test_a_victim_who_follows_the_attackers_link_leaves_the_code_unused(world: World) -> None:
    """CVE-2022-39222, the other half: the victim signs in at the provider by the attacker's own link."""
    async with world.broker() as service:
        attacker, victim = world.browser(service), world.browser(service)
        redirect = await attacker.open(f"{BROKER}/login")
        back = await victim.open(redirect.headers["location"])
        assert_refused(await victim.open(back.headers["location"]), CookieMissing)
    assert [grant.used for grant in world.provider.grants.values()] == [False]


@pytest.mark.requirement("S-50")
@pytest.mark.parametrize("cookie", ["", " ", ";", "=", "=;=", ";;;;", "__Host-", "__Host-=", "\x00", "a\xff=\xfe"])
async def test_an_odd_cookie_header_breaks_nothing(world: World, cookie: str) -> None:
    """CVE-2023-28625: mod_auth_openidc followed a null pointer when the Cookie header was empty."""
    async with world.broker() as service:
        browser = world.browser(service)
        redirect = await browser.client.get(f"{BROKER}/login", headers={b"Cookie": cookie.encode("latin-1")})
        callback = await browser.follow(await browser.open(redirect.headers["location"]), until=f"{BROKER}/callback")
        browser.forget_cookies()
        refused = await browser.client.get(callback.headers["location"], headers={b"Cookie": cookie.encode("latin-1")})
    assert redirect.status_code == 303
    assert_refused(refused, CookieMissing)


@pytest.mark.parametrize(
    "value",
    [
        pytest.param("99999999.AAAA", id="a large number"),
        pytest.param("ffffffffffff.AAAA", id="the largest number"),
        pytest.param("9" * 3_000 + ".AAAA", id="a number of 3,000 digits"),
    ],
)
async def test_a_number_or_a_size_in_a_cookie_costs_nothing(world: World, value: str) -> None:
    """CVE-2024-24814: mod_auth_openidc counted as far as a cookie told it to."""
    async with world.broker() as service:
        browser = world.browser(service)
        callback = await browser.to_callback(redirect_url=PAGE)
        name = browser.broker_cookies()[0]
        browser.forget_cookies()
        cookie = {"Cookie": f"{name}={value}"}
        redirect = await browser.client.get(f"{BROKER}/login", headers=cookie)
        refused = await browser.client.get(callback, headers=cookie)
    assert redirect.status_code == 303
    assert_refused(refused, CookieMissing)


def test_a_compressed_address_in_a_cookie_is_unpacked_within_bounds() -> None:
    """CVE-2024-24814 again: ours names no number, but four million bytes fit into a cookie when they are compressed."""
    page = f"{PAGE}&{''.join(f'{number:x}~' for number in range(400))}"
    signed = sign(SignInTransaction("main", "idp", page), now=START, secret_keys=[SECRET_KEY])
    opened = open_any(signed.state, secret_keys=[SECRET_KEY])
    assert isinstance(opened, OpenedState)
    assert opened.overflow_hash is not None
    genuine = signed.cookie.value.rpartition(".")[0]
    bomb = urlsafe_b64encode(zlib.compress(b"a" * 4_000_000, 9)).rstrip(b"=").decode()
    tracemalloc.start()
    with pytest.raises(CookieMissing):
        bind(opened, f"{genuine}.{bomb}", provider="idp", now=START)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1_000_000


WHITE_SPACE = ["\t", "\x0b", "\x0c", "\x1c", "\x85", "\xa0", "\u2000", "\u3000", "  "]


@pytest.mark.requirement("S-50")
@pytest.mark.parametrize(
    "template",
    [
        # PortSwigger's "Cookie Chaos", 2025: a browser lets a neighbouring host set a cookie whose name begins with
        # white space, for then it has no prefix; many servers strip the white space and take it for the real one.
        *[pytest.param(space + "{name}={value}", id=f"white space {space!a}") for space in WHITE_SPACE],
        pytest.param("{name} ={value}", id="white space behind the name"),
        pytest.param("{name}= {value}", id="white space before the value"),
        # The same paper: servers that know RFC 2109 split a cookie that begins with $Version at its commas.
        pytest.param("$Version=1,{name}={value}", id="$Version and a comma"),
        # A cookie with a quotation mark swallows those behind it, semicolons and all, for servers that honour quotes.
        pytest.param('a="b; {name}={value}"', id="a sandwich of quotation marks"),
        pytest.param("={name}={value}", id="a cookie without a name"),
        pytest.param("{unprefixed}={value}", id="no prefix"),
        pytest.param("{lower}={value}", id="the prefix in lower case"),
        pytest.param("{name}={value}; {name}={value}", id="the same cookie twice"),
        pytest.param("{name}=x; {name}={value}", id="two cookies of one name"),
    ],
)
async def test_a_cookie_that_only_looks_like_ours_binds_no_browser(world: World, template: str) -> None:
    async with world.broker() as service:
        browser = world.browser(service)
        callback = await browser.to_callback()
        name, value = next(
            (one.name, one.value) for one in browser.client.cookies.jar if one.name.startswith("__Host-")
        )
        browser.forget_cookies()
        cookie = template.format(
            name=name, value=value, unprefixed=name.removeprefix("__Host-"), lower=name.replace("__Host", "__host")
        )
        refused = await browser.client.get(callback, headers={b"Cookie": cookie.encode()})
        assert_refused(refused, CookieMissing)
        assert world.provider.count("/token") == 0
        accepted = await browser.client.get(
            await browser.to_callback(),
            headers={"Cookie": "; ".join(f"{n}={v}" for n, v in browser.client.cookies.items())},
        )
    assert accepted.status_code == 303
