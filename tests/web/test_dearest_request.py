"""No request of a stranger takes more than a few times the processor time of a plain `/login`."""

from __future__ import annotations

import io
import logging
import time
from collections.abc import Iterator
from urllib.parse import quote

import httpx
import pytest
from starlette.types import ASGIApp, Message

from broker.log import JsonLines
from tests.fakes.world import BROKER, ENDPOINT, World

Headers = list[tuple[bytes, bytes]]
TIMES = 9  # a plain /login
RUNS = 20  # of which the fastest counts
TRIES = 5  # the machine may be busy for long

TARGETS: dict[str, tuple[str, Headers]] = {
    "a redirect_url of a long host": (f"/login?redirect_url=https://{'a' * 600}/", []),
    "a redirect_url of hash marks": (f"/login?redirect_url={ENDPOINT}{'%23' * 1900}%80", []),
    "a redirect_url encoded over and over": (f"/login?redirect_url={quote(ENDPOINT + '?%' + '25' * 900 + '40=1')}", []),
    "a redirect_url encoded in the way of ASP.NET": (
        f"/login?redirect_url={quote(ENDPOINT + '?%u0025' + 'u0025' * 300 + '=1')}",
        [],
    ),
    "a redirect_url of many names": (f"/login?redirect_url={quote(ENDPOINT + '?' + 'a&' * 900)}", []),
    "a redirect_url of many encoded names": (f"/login?redirect_url={quote(ENDPOINT + '?' + '%2561&' * 300)}", []),
    "an issuer of 8,000 characters": (f"/initiate/idp?iss={'a' * 8000}", []),
    "a redirect_url of many paths": (f"/login?redirect_url={quote(ENDPOINT + '#a=b' + ';to=%c3%80' * 195)}", []),
    "a redirect_url of many further ones": (
        f"/login?redirect_url={quote(ENDPOINT + '?a=b' + ';to=//acme.comm100.com/%c3%80' * 65)}",
        [],
    ),
    "a portal's target": (
        f"/initiate/idp?iss=https://idp.example&target_link_uri={quote(ENDPOINT + '?' + '%2561&' * 300)}",
        [],
    ),
    "twenty hosts": ("/setup?link=x", [(b"host", b"a" * 700)] * 20),
    "twenty hosts that look like addresses": ("/setup?link=x", [(b"host", b"a@" * 350)] * 20),
    "a long link": (f"/setup?link={'a.b' * 2600}", []),
    "a thousand parameters": ("/login?" + "&".join(f"p{number}=1" for number in range(1000)), []),
    "four thousand parameters": ("/login?" + "a&" * 4000, []),
    "as many parameters as there may be": ("/login?" + "&".join(f"p{number}=1" for number in range(100)), []),
    "many cookies": ("/login", [(b"cookie", b"; ".join(b"signin_%010d=%s" % (one, b"a" * 100) for one in range(58)))]),
    "long cookies": ("/login", [(b"cookie", b"__Host-signin_aaaaaaaaaa=" + b"a" * 8000)] * 2),
    "cookies without a name": ("/login", [(b"cookie", b";" * 16_000)]),
    "cookies of neighbours": ("/logout", [(b"cookie", b"a=b; " * 3_200)]),
    "cookies of neighbours that look like ours": ("/login", [(b"cookie", b"a__Host-signed_in;" * 880)]),
    "cookies of neighbours that hold ours": ("/logout", [(b"cookie", b" __Host-signed_in" * 940)]),
    "many languages": ("/nothing", [(b"accept-language", b"fr-AAAA;q=0.1, " * 1000)]),
    "a language of tabs": ("/nothing", [(b"accept-language", b"\t" * 15_000)]),
    "many hops": ("/nothing", [(b"x-forwarded-for", b",".join([b"1.1.1.1"] * 1500))]),
    "a long state": (f"/callback/idp?state={'a' * 8000}", []),
    "a state of many parts": (f"/callback/idp?state={'a.b' * 2600}", []),
    "many states": ("/callback/idp?" + "&".join(["state=a.b.c"] * 99), []),
    "a cookie for signing out": ("/logout", [(b"cookie", b"__Host-signed_in=gAAAAA" + b"a" * 7000)]),
    "a long path": (f"/{'a' * 8000}", []),
    "many codes of many words at no page": ("/nothing?" + "&".join(["code=" + "aaaaaa%22bbbbbb%22" * 4] * 98), []),
    "many codes of many words at the setup page": ("/setup?" + "&".join(["code=" + "aaaaaa%22bbbbbb%22" * 4] * 98), []),
    "many codes of many words": ("/callback/idp?" + "&".join(["code=" + "aaaaaa%22bbbbbb%22" * 4] * 98), []),
    "few codes of many words": ("/callback/idp?" + "&".join(["code=" + "aaaaaa%22bbbbbb%22" * 80] * 5), []),
}


@pytest.fixture
def written() -> Iterator[None]:
    """Write log lines as the service does, for they are part of what a request costs."""
    logger = logging.getLogger("broker")
    handler = logging.StreamHandler(io.StringIO())
    handler.setFormatter(JsonLines())
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield
    logger.removeHandler(handler)
    logger.setLevel(level)


async def cost(app: ASGIApp, target: str, headers: Headers) -> float:
    """Return the least processor time that one of several such requests took."""
    return min([await _cost_of_one(app, target, headers) for _ in range(RUNS)])


async def _cost_of_one(app: ASGIApp, target: str, headers: Headers) -> float:
    path, _, query = target.partition("?")
    scope = {
        "type": "http",
        "method": "GET",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "headers": [(b"host", b"sso.acme.example"), *headers],
        "client": ("127.0.0.1", 4711),
    }

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(_: Message) -> None:
        pass

    started = time.process_time()
    await app(scope, receive, send)
    return time.process_time() - started


async def dearest(app: ASGIApp, targets: dict[str, tuple[str, Headers]]) -> dict[str, float]:
    """Return the requests that cost more than they may, in multiples of a plain one."""
    plain = await cost(app, "/login", [])
    costs = {name: await cost(app, target, headers) / plain for name, (target, headers) in targets.items()}
    return {name: times for name, times in costs.items() if times > TIMES}


@pytest.mark.requirement("S-61")
@pytest.mark.usefixtures("written")
@pytest.mark.parametrize("delivery", ["endpoint", "append"])
async def test_the_dearest_request_costs_a_few_plain_ones(world: World, delivery: str) -> None:
    world.settings["sites"]["main"]["delivery"] = delivery
    async with world.broker() as service:
        browser = world.browser(service)
        redirect = await browser.open(f"{BROKER}/login", redirect_url=f"{ENDPOINT}?{'0a' * 800}")
        state = httpx.URL(redirect.headers["location"]).params["state"]
        cookies = [(b"cookie", "; ".join(f"{one.name}={one.value}" for one in browser.client.cookies.jar).encode())]
        with_state = {
            "many parameters beside a good state": ("&".join(f"p{number}=1" for number in range(95)), cookies),
            "many codes": ("&".join(f"code={number}" for number in range(95)), cookies),
            "a code of many words": ("code=" + "-".join(f"abcdef{number}." for number in range(400)), []),
            "an error of many addresses": (f"error={'a' * 2000}&error_description={'b%40' * 500}", cookies),
        }
        targets = TARGETS | {
            name: (f"/callback/idp?state={state}&{rest}", headers) for name, (rest, headers) in with_state.items()
        }
        for _ in range(TRIES):  # only those that were too dear are measured again
            targets = {name: targets[name] for name in await dearest(service.public, targets)}
    assert not targets
