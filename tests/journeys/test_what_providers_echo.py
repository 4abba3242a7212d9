"""A careless provider repeats what it was told wherever it can: none of it, and nobody's address, is written down."""

from __future__ import annotations

import base64
import io
import json
import re
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from broker.errors import IdTokenAudience, ProviderError
from tests.fakes.lies import Alter, Lies, with_
from tests.fakes.world import BROKER, COMM100, PAGE, World, error_code

Say = Callable[[], str]
Echo = Callable[[Say], Lies]

CODES = {
    "as usual": "SplxlOBeZQQYbYS6WxSbIASplxlOBeZQ",
    "short": "Q7x4",
    "as Google's": "4/0AeaYSHBqk7Wv1mXcD9pLr2TzNfGh3JkQw5Vb8Sy",
    "as Microsoft's": "M.C507_BL2.2.U.0f1e2d3c4b5a69788796!a5b4c3d2*e1f0a9b8$$",
    "of odd signs": "Ab1\"'<>\\;,:(9Zy)|[8Xwvuts]{7Vu}^`#~6Ts",
}
ODD_SECRET = "Zx9w8v7u:with %odd+chars~8Q!v4"
AROUND = [
    pytest.param("{}", id="alone"),
    pytest.param("no such code: '{}'.", id="in a sentence"),
    pytest.param("https://idp.example/token?x={}&y=z", id="in an address"),
    pytest.param("a_long_word_before_it_{}_and_behind_it", id="in a long word"),
]


def callback(name: str, **more: str) -> Echo:
    """Say it in a parameter of the callback; with an error there is no code."""

    def alter(say: Say) -> Alter:
        return lambda answer: {
            **{one: value for one, value in answer.items() if one != "code" or name == "iss"}, **more, name: say()
        }  # fmt: skip

    return lambda say: Lies(callback=alter(say))


def token_endpoint(name: str, status: int = 400, **more: str) -> Echo:
    return lambda say: Lies(answers={"/token": lambda _: httpx.Response(status, json={**more, name: say()})})


def header(name: str) -> Echo:
    return lambda say: Lies(header=lambda honest: {**honest, name: say()}, sign=unsigned)


def claim(name: str) -> Echo:
    return lambda say: Lies(claims=lambda honest: {**honest, name: say()})


def unsigned(header: dict[str, Any], claims: dict[str, Any]) -> str:
    parts = (json.dumps(part).encode() for part in (header, claims))
    return ".".join([*(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts), "AA"])


KNOWN_AT_THE_CALLBACK = ["code", "state", "nonce", "client secret"]
KNOWN_AT_THE_TOKEN_ENDPOINT = [*KNOWN_AT_THE_CALLBACK, "verifier", "access token"]
KNOWN_AT_USERINFO = [*KNOWN_AT_THE_TOKEN_ENDPOINT, "ID token"]

AT_THE_CALLBACK: dict[str, Echo] = {
    "callback's error": callback("error"),
    "callback's error_description": callback("error_description", error="server_error"),
    "callback's error_description of a refusal": callback("error_description", error="access_denied"),
    "callback's error_description of an unknown error": callback("error_description", error="x"),
    "callback's iss": callback("iss"),
}
AT_THE_TOKEN_ENDPOINT: dict[str, Echo] = {
    "token endpoint's error": token_endpoint("error"),
    "token endpoint's error_description": token_endpoint("error_description", error="invalid_request"),
    "token endpoint's error_description, of our code": token_endpoint("error_description", error="invalid_grant"),
    "token endpoint's error_description, of ourselves": token_endpoint(
        "error_description", 401, error="invalid_client"
    ),
    "token endpoint's error_description, of its trouble": token_endpoint("error_description", error="server_error"),
    "kid": header("kid"),
    "alg": header("alg"),
    "typ": header("typ"),
    "ID token's iss": claim("iss"),
    "ID token's aud": claim("aud"),
    "ID token's aud, one of two": lambda say: Lies(claims=lambda honest: {**honest, "aud": ["client-1", say()]}),
    "ID token's azp": claim("azp"),
    "ID token's sub": claim("sub"),
}
AT_USERINFO: dict[str, Echo] = {
    "userinfo's sub": lambda say: Lies(userinfo=lambda honest: {**honest, "sub": say()}),
    "userinfo's email": lambda say: Lies(userinfo=lambda honest: {**honest, "email": say()}),
    "userinfo's email_verified": lambda say: Lies(userinfo=lambda honest: {**honest, "email_verified": say()}),
}
ALL = [
    pytest.param(echo, what, id=f"{what} in {where}")
    for places, known in (
        (AT_THE_CALLBACK, KNOWN_AT_THE_CALLBACK),
        (AT_THE_TOKEN_ENDPOINT, KNOWN_AT_THE_TOKEN_ENDPOINT),
        (AT_USERINFO, KNOWN_AT_USERINFO),
    )
    for where, echo in places.items()
    for what in known
]

CODE_PLACES = {
    where: echo
    for where, echo in (AT_THE_CALLBACK | AT_THE_TOKEN_ENDPOINT).items()
    if where in ("callback's iss", "token endpoint's error", "kid", "ID token's aud")
}


def told(world: World, what: str) -> str:
    """Return what the provider knows of the one sign-in of this world."""
    if what == "client secret":
        return world.provider.client_secret or ""
    if what == "access token":
        return next(reversed(world.provider.access_tokens))
    return world.provider.issued[["code", "state", "nonce", "verifier", "access token", "ID token"].index(what)]


def shreds(secret: str) -> Iterator[str]:
    """Yield what must not be found: the whole, in the spellings a log may have, and every longer word of it."""
    yield from (secret, quote(secret, safe=""), json.dumps(secret)[1:-1])
    yield from re.findall(r"[A-Za-z0-9]{8,}", secret)


async def written_after(world: World, log: io.StringIO, lies: Lies) -> tuple[str, str]:
    """Sign in at a provider that lies; return the error code, and all that was written meanwhile."""
    world.provider.lies = lies
    async with world.broker() as service:
        answer = await world.browser(service).sign_in(redirect_url=PAGE)
    lines = [line for line in log.getvalue().splitlines() if '"HTTP Request' not in line]  # the tests' own browser
    return error_code(answer), "\n".join(lines)


@pytest.mark.requirement("S-55")
@pytest.mark.parametrize(("echo", "what"), ALL)
async def test_nothing_a_provider_was_told_is_written(world: World, log: io.StringIO, echo: Echo, what: str) -> None:
    world.provider.client_secret = ODD_SECRET
    world.settings["identity_providers"]["idp"]["client_secret"] = ODD_SECRET
    code, written = await written_after(world, log, echo(lambda: told(world, what)))
    assert f'"code": "{code}"' in written
    for shred in shreds(told(world, what)):
        assert shred not in written


@pytest.mark.requirement("S-55")
@pytest.mark.parametrize("around", AROUND)
@pytest.mark.parametrize("echo", CODE_PLACES.values(), ids=CODE_PLACES.keys())
@pytest.mark.parametrize("code", CODES.values(), ids=CODES.keys())
async def test_no_code_is_written_of_whatever_form(
    world: World, log: io.StringIO, code: str, echo: Echo, around: str
) -> None:
    world.provider.new_code = lambda: code
    error, written = await written_after(world, log, echo(lambda: around.format(code)))
    assert f'"code": "{error}"' in written
    for shred in shreds(code):
        assert shred not in written


@pytest.mark.parametrize("depth", [1, 100, 400, 700])
async def test_a_claim_nested_deeply_is_refused_like_any_other(world: World, log: io.StringIO, depth: int) -> None:
    nested: list[Any] = []
    for _ in range(depth):
        nested = [nested]
    error, _ = await written_after(world, log, Lies(claims=with_(aud=nested)))
    assert error == IdTokenAudience.code


SAID_OF_ZOE = [
    pytest.param("AADSTS50020: User account 'zoe@acme.example' does not exist", "'***@acme.example'", id="in quotes"),
    pytest.param("unknown: zoe.l+sso@acme.example.", "***@acme.example.", id="at the end of a sentence"),
    pytest.param("<zoe@acme.example>,grace@acme.example", "<***@acme.example>,***@acme.example", id="two of them"),
    pytest.param("mailto:zoe@acme.example", "mailto:***@acme.example", id="behind a colon"),
    pytest.param("login_hint=zoe@acme.example&x", "login_hint=***@acme.example&x", id="behind a sign of equality"),
    pytest.param("no zoe%40acme.example", "***%40acme.example", id="percent-encoded"),
    pytest.param("no zoe%2540acme.example", "***%2540acme.example", id="percent-encoded twice"),
    pytest.param("no " * 98 + "zoe@acme.example", "no ***", id="where the line is cut"),
]


@pytest.mark.requirement("S-55")
@pytest.mark.parametrize(("said", "shown"), SAID_OF_ZOE)
async def test_an_address_in_a_providers_words_shows_its_domain_alone(
    world: World, log: io.StringIO, said: str, shown: str
) -> None:
    world.provider.refuses = {"error": "x", "error_description": said}
    error, written = await written_after(world, log, Lies())
    assert error == ProviderError.code
    assert shown in written
    assert "zoe" not in written  # no such letters in a trace id
    assert "grace" not in written


@pytest.mark.requirement("S-55")
@pytest.mark.parametrize(
    ("path", "shown"),
    [
        pytest.param("/agent/ada@acme.example", "***@acme.example", id="as it is"),
        pytest.param("/agent/ada%40acme.example/home", "***%40acme.example/home", id="percent-encoded"),
        pytest.param("/agent/ada%2540acme.example", "***%2540acme.example", id="percent-encoded twice"),
    ],
)
async def test_an_address_in_the_path_of_a_redirect_url_shows_its_domain_alone(
    world: World, log: io.StringIO, path: str, shown: str
) -> None:
    async with world.broker() as service:
        await world.browser(service).open(f"{BROKER}/login", redirect_url=f"{COMM100}{path}")
    (line,) = begun(log)
    assert line["redirect_url_path"] == shown
    assert not any("ada" in str(value) for name, value in line.items() if name != "trace_id")


NAMES = [
    pytest.param("a=1&Comm100.x-y_2=3", ["Comm100.x-y_2", "a"], id="names"),
    pytest.param("site_id=1&site_id=2", ["site_id"], id="a name twice"),
    pytest.param("ada%40acme.example=", [], id="an address, percent-encoded"),
    pytest.param("ada@acme.example=1&a=", ["a"], id="an address"),
    pytest.param("eyJhbGciOiJIUzI1NiJ9.eyJlbWFpbCI6IjEifQ.c2ln&a=", ["a"], id="a token that stands alone"),
    pytest.param(f"{'t' * 41}=1&{'t' * 40}=2", ["t" * 40], id="a name too long"),
    pytest.param("4711=1&a=2", ["a"], id="a number"),
    pytest.param("secret&a", [], id="words without a value"),
    pytest.param("a%0ab=1&a+b=2&=3&%C3%A4=4&a=5", ["a"], id="signs no name has"),
    pytest.param("&".join(f"n{number:02}=1" for number in range(30)), [f"n{one:02}" for one in range(20)], id="many"),
]


@pytest.mark.requirement("S-55")
@pytest.mark.parametrize(("query", "names"), NAMES)
async def test_only_what_looks_like_a_parameters_name_is_written(
    world: World, log: io.StringIO, query: str, names: list[str]
) -> None:
    async with world.broker() as service:
        browser = world.browser(service)
        await browser.open(f"{BROKER}/login?{query}")
        await browser.open(f"{BROKER}/login", redirect_url=f"{PAGE.partition('?')[0]}?{query}")
    of_login, of_redirect_url = begun(log)
    assert of_login["parameters"] == names
    assert of_redirect_url["parameters"] == ["redirect_url"]
    assert of_redirect_url["redirect_url_parameters"] == names


def begun(log: io.StringIO) -> list[dict[str, Any]]:
    return [line for line in map(json.loads, log.getvalue().splitlines()) if line["event"] == "sign-in begins"]
