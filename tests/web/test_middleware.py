"""Every answer carries the security headers once, and a request out of bounds is refused before anything reads it."""

from collections.abc import AsyncIterator

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from broker.logout import COOKIE_NAME
from broker.web.middleware import (
    MAX_COOKIE_BYTES,
    MAX_COOKIES,
    MAX_HEADER_BYTES,
    MAX_PARAMETERS,
    MAX_TARGET_BYTES,
    Excess,
    RequestBounds,
    SecurityHeaders,
    build_content_security_policy,
)
from broker.web.request import LAST_PROVIDER_COOKIE, broker_cookies, prefix

SITE = "https://sso.acme.example"
EXPECTED = {
    "content-security-policy": "default-src 'none'; base-uri 'none'; frame-ancestors 'none'; form-action 'none'",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    "x-robots-tag": "noindex",
    "strict-transport-security": "max-age=63072000",
}


async def plain(_request: Request) -> Response:
    return PlainTextResponse("inside")


async def redirect(_request: Request) -> Response:
    answer = RedirectResponse("https://idp.example/authorize", 303)
    answer.set_cookie("__Host-a", "1")
    answer.set_cookie("__Host-b", "2")
    return answer


async def careless(_request: Request) -> Response:
    names = [*EXPECTED, "server", "access-control-allow-origin"]
    return PlainTextResponse("inside", headers={name.title(): "something else" for name in names})


async def styled(request: Request) -> Response:
    policy = build_content_security_policy(style_sha256="abc=", may_be_framed="framed" in request.query_params)
    return PlainTextResponse("inside", headers={"Content-Security-Policy": policy})


async def broken(_request: Request) -> Response:
    raise LookupError


def site(*, https: bool = True) -> httpx.AsyncClient:
    endpoints = {"": plain, "redirect": redirect, "careless": careless, "styled": styled, "broken": broken}
    routes = [Route(f"/{name}", endpoint) for name, endpoint in endpoints.items()]
    app = SecurityHeaders(Starlette(routes=routes), https=https)
    return httpx.AsyncClient(transport=httpx.ASGITransport(app, raise_app_exceptions=False), base_url=SITE)


@pytest.mark.requirement("S-53")
@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        pytest.param("GET", "/", 200, id="page"),
        pytest.param("HEAD", "/", 200, id="head"),
        pytest.param("GET", "/redirect", 303, id="redirect"),
        pytest.param("GET", "/careless", 200, id="set_inside_too"),
        pytest.param("GET", "/nowhere", 404, id="no_such_page"),
        pytest.param("DELETE", "/", 405, id="other_method"),
        pytest.param("GET", "/broken", 500, id="unexpected_exception"),
    ],
)
async def test_every_answer_has_each_header_once(method: str, path: str, status: int) -> None:
    async with site() as browser:
        answer = await browser.request(method, path)
    assert answer.status_code == status
    for name, value in EXPECTED.items():
        assert answer.headers.get_list(name) == [value]
    assert "server" not in answer.headers
    assert not [name for name in answer.headers if name.startswith("access-control-")]


@pytest.mark.requirement("S-53")
@pytest.mark.parametrize(("query", "frame_options"), [("", ["DENY"]), ("framed", [])], ids=["page", "framed page"])
async def test_a_response_may_bring_its_own_policy(query: str, frame_options: list[str]) -> None:
    async with site() as browser:
        answer = await browser.get(f"/styled?{query}")
    expected = build_content_security_policy(style_sha256="abc=", may_be_framed=bool(query))
    assert answer.headers.get_list("content-security-policy") == [expected]
    assert answer.headers.get_list("x-frame-options") == frame_options


async def test_the_application_keeps_its_own_headers() -> None:
    async with site() as browser:
        answer = await browser.get("/redirect")
    assert answer.headers["location"] == "https://idp.example/authorize"
    assert len(answer.headers.get_list("set-cookie")) == 2


@pytest.mark.requirement("S-53")
async def test_without_https_nothing_is_promised_about_transport() -> None:
    async with site(https=False) as browser:
        answer = await browser.get("/")
    assert "strict-transport-security" not in answer.headers
    assert answer.headers["content-security-policy"] == EXPECTED["content-security-policy"]


async def refuse(scope: Scope, receive: Receive, send: Send, excess: Excess) -> None:
    await PlainTextResponse(f"refused: {excess.got}", excess.status)(scope, receive, send)


def bounded() -> ASGIApp:
    return RequestBounds(PlainTextResponse("inside"), refuse=refuse, https=True)


@pytest.fixture
async def browser() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(bounded()), base_url=SITE) as browser:
        browser.headers.clear()
        yield browser


def request(target: str = "/login", headers: list[tuple[str, str]] | None = None, method: str = "GET") -> httpx.Request:
    return httpx.Request(method, SITE + target, headers=headers or [])


def cookies(count: int, length: int = 16) -> list[tuple[str, str]]:
    return [("cookie", "; ".join("__Host-signin_a=".ljust(length, "x") for _ in range(count)))]


def neighbours(count: int, name: str) -> list[tuple[str, str]]:
    return [("cookie", "; ".join(f"{name}{number}=x" for number in range(count)))]


async def in_chunks(*chunks: bytes) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk


ROOM = MAX_HEADER_BYTES - len("host: sso.acme.example\r\n") - len("x: \r\n")


@pytest.mark.requirement("S-57")
@pytest.mark.parametrize(
    ("sent", "status"),
    [
        pytest.param(request(), 200, id="plain"),
        pytest.param(request("/login?" + "q" * (MAX_TARGET_BYTES - 7)), 200, id="longest_query"),
        pytest.param(request("/login?" + "q" * (MAX_TARGET_BYTES - 6)), 414, id="query_too_long"),
        pytest.param(request("/login?" + "q" * 64_000), 414, id="query_of_64_KB"),
        pytest.param(request("/login?" + "&".join(["q"] * MAX_PARAMETERS)), 200, id="most_parameters"),
        pytest.param(request("/login?" + "&".join(["q"] * (MAX_PARAMETERS + 1))), 414, id="too_many_parameters"),
        pytest.param(request("/login?" + "&" * 4_000), 414, id="empty_parameters"),
        pytest.param(request("/" + "p" * MAX_TARGET_BYTES), 414, id="path_too_long"),
        pytest.param(request("/login", [("x", "h" * ROOM)]), 200, id="largest_headers"),
        pytest.param(request("/login", [("x", "h" * (ROOM + 1))]), 431, id="headers_too_large"),
        pytest.param(request("/login", [("x", "")] * 5000), 431, id="too_many_headers"),
        pytest.param(request("/login", cookies(1, MAX_COOKIE_BYTES)), 200, id="largest_cookie"),
        pytest.param(request("/login", cookies(1, MAX_COOKIE_BYTES + 1)), 431, id="cookie_too_large"),
        pytest.param(request("/login", cookies(1, 5000) * 2), 431, id="two_cookie_headers_too_large_together"),
        pytest.param(request("/login", cookies(MAX_COOKIES)), 200, id="most_cookies"),
        pytest.param(request("/login", cookies(MAX_COOKIES + 1)), 431, id="too_many_cookies"),
        pytest.param(request("/login", cookies(1) * 61), 431, id="too_many_cookies_one_header_each"),
        pytest.param(request("/login", neighbours(1_000, "c")), 200, id="cookies_of_neighbours"),
        pytest.param(request("/login", neighbours(500, "signin_abcdefgh")), 200, id="neighbours_that_use_our_names"),
        pytest.param(request("/login", [("cookie", f"a={'x' * 14_000}")]), 200, id="large_cookie_of_a_neighbour"),
        pytest.param(request("/login", neighbours(61, "__Host-last_provider")), 431, id="61_that_begin_like_ours"),
        pytest.param(request("/login", neighbours(61, " __Host-signed_in")), 431, id="61_of_ours_and_a_space"),
        pytest.param(request("/login", [("content-length", "0")]), 200, id="empty_body"),
        pytest.param(request("/login", [("content-length", "000")]), 200, id="empty_body_written_longer"),
        pytest.param(request("/login", [("transfer-encoding", "chunked")]), 200, id="empty_chunked_body"),
        pytest.param(request("/login", [("content-length", "1")], "POST"), 413, id="body"),
        pytest.param(request("/login", [("content-length", "10000000")]), 413, id="body_of_10_MB"),
        pytest.param(request("/login", [("content-length", "-0")], "POST"), 413, id="length_that_is_no_plain_zero"),
        pytest.param(httpx.Request("POST", f"{SITE}/login", content=in_chunks(b"x")), 413, id="chunked_body"),
    ],
)
async def test_what_is_out_of_bounds_is_refused(browser: httpx.AsyncClient, sent: httpx.Request, status: int) -> None:
    answer = await browser.send(sent)
    assert (answer.status_code, answer.text[:7]) == (status, "inside" if status == 200 else "refused")


@pytest.mark.parametrize(
    ("sent", "got"),
    [
        (request("/login?" + "q" * 9_000), "address 9007 of 8192 bytes"),
        (request("/login", [("x", "h" * 20_000)]), "headers 20029 of 16384 bytes"),
        (request("/login", cookies(1, 8214)), "cookies 8214 of 8192 bytes"),
        (request("/login", cookies(61)), "61 cookies of 60"),
        (request("/login", [("content-length", "10000000")]), "Content-Length: 10000000"),
        (httpx.Request("POST", f"{SITE}/login", content=in_chunks(b"", b"x")), "Transfer-Encoding: chunked, 1 byte"),
        (httpx.Request("POST", f"{SITE}/login", content=in_chunks(b"xyz")), "Transfer-Encoding: chunked, 3 bytes"),
    ],
    ids=["address", "headers", "cookies", "number of cookies", "length", "chunk", "chunks"],
)
async def test_a_refusal_names_the_bound_and_the_figure(
    browser: httpx.AsyncClient, sent: httpx.Request, got: str
) -> None:
    assert (await browser.send(sent)).text.removesuffix(" or more") == f"refused: {got}"


def test_every_cookie_we_set_is_counted() -> None:
    for name in ("signin_abcdefghij", LAST_PROVIDER_COOKIE, COOKIE_NAME):
        for https in (True, False):
            header = (b"cookie", f"{prefix(https=https)}{name}=x; other=y".encode())
            assert list(broker_cookies([header], https=https)) == [f"{prefix(https=https)}{name}=x"]


@pytest.mark.requirement("S-57")
async def test_a_body_is_refused_without_reading_a_byte_of_it() -> None:
    sent: list[Message] = []

    async def receive() -> Message:
        raise AssertionError

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/login",
        "query_string": b"",
        "headers": [(b"content-length", b"10000000")],
    }
    await bounded()(scope, receive, send)
    assert sent[0]["status"] == 413


async def test_what_is_no_http_request_passes_by() -> None:
    seen: list[str] = []

    async def inside(scope: Scope, _receive: Receive, _send: Send) -> None:
        seen.append(scope["type"])

    async def receive() -> Message:
        return {"type": "lifespan.startup"}

    async def send(_message: Message) -> None:
        raise AssertionError

    app = SecurityHeaders(RequestBounds(inside, refuse=refuse, https=True), https=True)
    await app({"type": "lifespan"}, receive, send)
    assert seen == ["lifespan"]
