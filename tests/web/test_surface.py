"""The public port as a stranger meets it: nothing reflected, nothing forged believed, every answer well dressed."""

from __future__ import annotations

import base64
import gc
import hashlib
import logging
import re
from collections.abc import Mapping
from urllib.parse import urlencode

import anyio.lowlevel
import httpx
import pytest

from broker.app import Service
from broker.errors import (
    BrokerError,
    EmailDomainNotAllowed,
    IdTokenIssuer,
    NoSuchPage,
    RequestTooLarge,
    TokenRequestRefused,
)
from broker.web.callback import callback
from broker.web.login import login
from broker.web.routes import find_route, home
from tests.fakes.lies import Lies, status, with_
from tests.fakes.provider import Person
from tests.fakes.world import BROKER, PAGE, World, assert_refused, error_code, metrics

MARKER = "zq7marker3x"
HEADERS = {
    "content-security-policy": r"default-src 'none'; (style-src 'sha256-[A-Za-z0-9+/=]{44}'; img-src data:; )?"
    r"base-uri 'none'; frame-ancestors 'none'; form-action 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
    "strict-transport-security": r"max-age=\d{8,}",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}
ADDRESSES = [
    pytest.param("GET", "/", 200, id="home"),
    pytest.param("HEAD", "/", 200, id="HEAD of home"),
    pytest.param("GET", "/login", 303, id="sign-in begins"),
    pytest.param("GET", "/login/main?redirect_url=x", 400, id="bad redirect_url"),
    pytest.param("GET", "/callback/idp", 400, id="callback without anything"),
    pytest.param("GET", "/logout", 200, id="signed out"),
    pytest.param("GET", "/nowhere", 404, id="no such page"),
    pytest.param("GET", "/callback/other", 404, id="no such provider"),
    pytest.param("HEAD", "/login", 405, id="HEAD"),
    pytest.param("POST", "/login", 405, id="POST"),
    pytest.param("OPTIONS", "/", 405, id="OPTIONS"),
    pytest.param("TRACE", "/", 405, id="TRACE"),
    pytest.param("QUERY", "/nowhere", 404, id="a method nobody knows"),
    pytest.param("GET", f"/login?{'a' * 65_000}", 414, id="an address too long"),
]


@pytest.mark.requirement("S-53")
@pytest.mark.parametrize(("method", "path", "code"), ADDRESSES)
async def test_every_answer_carries_the_security_headers_once(world: World, method: str, path: str, code: int) -> None:
    async with world.broker() as service:
        answer = await world.browser(service).client.request(
            method, f"{BROKER}{path}", headers={"Origin": "https://evil.example"}
        )
    assert answer.status_code == code
    assert_well_dressed(answer)


@pytest.mark.requirement("S-53")
async def test_the_answers_of_a_whole_sign_in_carry_them_too(world: World) -> None:
    world.add_provider("eu")
    async with world.broker() as service:
        browser = world.browser(service)
        await browser.open(f"{BROKER}/login")
        await browser.sign_in(idp="idp")
        world.provider.lies = Lies(answers={"/token": status(500)})
        await browser.sign_in(idp="idp")
        world.provider.lies = Lies(claims=with_(iss="https://evil.example"))
        await browser.sign_in(idp="idp")
        world.provider.person = Person("sub", {"email": "a@evil.example", "email_verified": True})
        world.provider.lies = Lies()
        await browser.sign_in(idp="idp")
    ours = [step for step in browser.steps if str(step.url).startswith(BROKER)]
    assert [step.status_code for step in ours] == [200, 303, 303, 303, 503, 303, 502, 303, 403]
    for step in ours:
        assert_well_dressed(step)


def assert_well_dressed(answer: httpx.Response) -> None:
    for name, value in HEADERS.items():
        (found,) = answer.headers.get_list(name)
        assert re.fullmatch(value, found), f"{name}: {found}"
    assert "server" not in answer.headers
    assert not [name for name in answer.headers if name.startswith("access-control-")]
    if answer.is_redirect:
        assert "style-src" not in answer.headers["content-security-policy"]
    if not answer.text:
        return
    (style,) = re.findall(r"<style>(.*?)</style>", answer.text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert f"'sha256-{digest}'" in answer.headers["content-security-policy"]
    assert not re.search(r"<script|<form|<iframe|\son[a-z]+=|\sstyle=|javascript:", answer.text)


@pytest.mark.requirement("S-56", "S-60")
@pytest.mark.parametrize(
    "path",
    [
        *("/metrics", "/healthz", "/readyz", "/docs", "/openapi.json", "/redoc", "/setup//", "/setup/test", "/admin"),
        *("/static/", "/favicon.ico", "/robots.txt", "/.well-known/openid-configuration", "/callback", "/callback/"),
        *("///login", "/login//", "/%2e%2e/metrics", "/login/main/x", "/LOGIN", "/login%00", "/logout/nowhere"),
        *("/%73etup", "/log%69n", "/login/ma%69n", "/setup%2fcheck", "/login%2f", "/%2flogin", "/callback/%69dp", "/%"),
        *("//evil.example/", "//evil.example//login", "/login;x", "//login//", "/login%20"),
        *("//setup", "//setup/check", "//setup/"),
    ],
)
async def test_the_public_port_has_no_other_page(world: World, path: str) -> None:
    async with world.broker() as service:
        answer = await world.browser(service).client.send(as_sent(path))
    assert_refused(answer, NoSuchPage)
    assert "location" not in answer.headers


def as_sent(path: str, query: bytes = b"") -> httpx.Request:
    """Return a GET of a path that httpx would write in another way."""
    url = httpx.URL(BROKER).copy_with(raw_path=path.encode() + (b"?" + query if query else b""))
    assert url.raw_path.partition(b"?")[0] == path.encode()
    return httpx.Request("GET", url)


@pytest.mark.requirement("S-60")
@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics"])
async def test_the_operations_port_knows_no_other_spelling(world: World, path: str) -> None:
    async with (
        world.broker() as service,
        httpx.AsyncClient(transport=httpx.ASGITransport(service.operations)) as client,
    ):
        encoded = f"/%{ord(path[1]):x}{path[2:]}"
        spellings = {path: 200, f"{path}/": 200, f"/{path}": 200, f"{path}%00": 404, encoded: 404}
        answers = {spelling: (await client.send(as_sent(spelling))).status_code for spelling in spellings}
    assert answers == spellings


@pytest.mark.parametrize("path", ["/login", "/login/main", "/callback/idp", "/logout", "/logout/main", "/initiate/idp"])
async def test_one_slash_too_many_is_the_same_page(world: World, path: str) -> None:
    query = urlencode({"redirect_url": PAGE, "iss": "https://idp.example"}).encode()
    async with world.broker() as service:
        client = world.browser(service).client
        plain = await client.send(as_sent(path, query))
        for spelling in (f"{path}/", f"/{path}", f"/{path}/"):
            answer = await client.send(as_sent(spelling, query))
            assert everything_but_what_is_fresh(answer) == everything_but_what_is_fresh(plain), spelling


@pytest.mark.parametrize(
    "framing", [{"Transfer-Encoding": "chunked"}, {"Content-Length": "0"}, {"Content-Length": "00"}], ids=str
)
@pytest.mark.parametrize(
    "path", ["/", "/login", "/login?redirect_url=x", "/callback/idp", "/initiate/idp", "/logout", "/setup", "/nowhere"]
)
async def test_a_body_that_is_announced_and_empty_is_none(world: World, path: str, framing: Mapping[str, str]) -> None:
    async with world.broker() as service:
        client = world.browser(service).client
        plain = await client.get(f"{BROKER}{path}")
        answer = await client.get(f"{BROKER}{path}", headers=framing)
    assert everything_but_what_is_fresh(answer) == everything_but_what_is_fresh(plain)


async def test_a_sign_in_passes_through_addresses_with_a_slash_too_many(world: World) -> None:
    async with world.broker() as service:
        browser = world.browser(service)
        departed = await browser.open(f"{BROKER}/login/?{urlencode({'redirect_url': PAGE})}")
        back = await browser.follow(departed, until=f"{BROKER}/callback")
        callback = str(back.headers["location"]).replace("/callback/idp?", "/callback/idp/?", 1)
        end = await browser.follow(await browser.open(callback))
    assert str(end.url) == PAGE


@pytest.mark.requirement("S-53")
@pytest.mark.parametrize(
    ("method", "path", "code"),
    [
        pytest.param("GET", "/healthz", 200, id="alive"),
        pytest.param("GET", "/readyz", 200, id="ready"),
        pytest.param("GET", "/metrics", 200, id="metrics"),
        pytest.param("GET", "/nowhere", 404, id="no such page"),
        pytest.param("POST", "/metrics", 405, id="POST"),
    ],
)
async def test_the_operations_port_sends_the_security_headers_too(
    world: World, method: str, path: str, code: int
) -> None:
    """Without HSTS, for nobody speaks https there."""
    async with (
        world.broker() as service,
        httpx.AsyncClient(transport=httpx.ASGITransport(service.operations), base_url="http://127.0.0.1") as client,
    ):
        answer = await client.request(method, path)
    assert answer.status_code == code
    assert "strict-transport-security" not in answer.headers
    for name, value in HEADERS.items() - {("strict-transport-security", HEADERS["strict-transport-security"])}:
        (found,) = answer.headers.get_list(name)
        assert re.fullmatch(value, found), f"{name}: {found}"


@pytest.mark.parametrize("path", ["/", "/login", "/callback/idp", "/logout", "/setup"])
async def test_the_operations_port_has_none_of_the_public_pages(world: World, path: str) -> None:
    async with (
        world.broker() as service,
        httpx.AsyncClient(transport=httpx.ASGITransport(service.operations), base_url="http://127.0.0.1") as client,
    ):
        assert (await client.get(path)).status_code == 404
        assert (await client.get("/healthz")).status_code == 200


@pytest.mark.requirement("S-52")
@pytest.mark.parametrize(
    "forged",
    [
        {"Host": "evil.example"},
        {"Host": "evil.example:443@sso.acme.example"},
        {"Host": "sso.acme.example:99999999"},
        {"Host": "[evil"},
        {"Host": ""},
        {"X-Forwarded-Host": "evil.example"},
        {"X-Forwarded-Proto": "http", "X-Forwarded-Port": "8080", "X-Forwarded-Ssl": "off"},
        {"X-Forwarded-Prefix": "/evil", "X-Script-Name": "/evil"},
        {"X-Forwarded-For": "evil.example, 127.0.0.1", "X-Real-IP": "127.0.0.1", "Client-IP": "127.0.0.1"},
        {"X-Forwarded-Server": "evil.example", "X-Host": "evil.example"},
        {"Forwarded": "for=127.0.0.1;host=evil.example;proto=http"},
        {"X-Original-URL": "/metrics", "X-Rewrite-URL": "/metrics", "X-Original-Host": "evil.example"},
        {"X-HTTP-Method-Override": "DELETE", "X-Method-Override": "DELETE"},
        {"Origin": "https://evil.example", "Referer": "https://evil.example/"},
        pytest.param({"X_Forwarded_User": "grace@acme.example"}, id="CVE-2025-64484 a person"),
        pytest.param({"X_Forwarded_Host": "evil.example", "X_Forwarded_Proto": "http"}, id="CVE-2025-64484 a host"),
        pytest.param({"X-Forwarded-Uri": "/", "X-Original-URL": "/", "X-Rewrite-URL": "/"}, id="CVE-2026-40575"),
        pytest.param({"Host": "evil.example/login?"}, id="CVE-2026-48710 a path in Host"),
        pytest.param({"Host": "sso.acme.example/healthz#"}, id="CVE-2026-48710 a fragment in Host"),
        pytest.param({"User-Agent": "kube-probe/1.30"}, id="CVE-2026-34457 Kubernetes"),
        pytest.param({"User-Agent": "GoogleHC/1.0"}, id="CVE-2026-34457 Google"),
        pytest.param({"User-Agent": ""}, id="CVE-2026-34457 empty"),
    ],
    ids=lambda forged: ", ".join(f"{name}: {value}" for name, value in forged.items())[:60],
)
@pytest.mark.parametrize(
    "path", ["/", "/login", "/login?redirect_url=x", "/logout", "/callback/idp", "/nowhere", "/healthz"]
)
async def test_a_forged_header_changes_no_answer(world: World, path: str, forged: Mapping[str, str]) -> None:
    async with world.broker() as service:
        browser = world.browser(service)
        plain = await browser.client.get(f"{BROKER}{path}")
        browser.forget_cookies()
        answer = await browser.client.get(f"{BROKER}{path}", headers=forged)
    assert everything_but_what_is_fresh(answer) == everything_but_what_is_fresh(plain)


def everything_but_what_is_fresh(answer: httpx.Response) -> tuple[int, str, list[tuple[str, str]]]:
    """Return status, body and headers, without the trace id and the randomness of a sign-in."""
    text = re.sub(r"<code>[0-9a-f]{32}</code>", "", answer.text)
    headers = [
        (name, re.sub(r"(state|nonce|code_challenge)=[^&;]*|signin_[^;]*", "", value))
        for name, value in answer.headers.multi_items()
    ]
    return answer.status_code, text, headers


NAMES = ("state", "code", "error", "error_description", "error_uri", "iss", "redirect_url", "idp", "restarted", "jwt")
OTHER_NAMES = ("site", "RelayState", "id_token_hint", "post_logout_redirect_uri", "login_hint", "target_link_uri", "x")
CARRIERS = ("Referer", "User-Agent", "Origin", "Accept-Language", "X-Forwarded-Host", "X-Request-Id", "Authorization")
OTHER_CARRIERS = ("traceparent", "X-Original-URL", "Forwarded", "Host", "X-Forwarded-For", "From", "If-None-Match")


@pytest.mark.requirement("S-54")
@pytest.mark.parametrize(
    "path",
    ["/", "/login", "/login/main", f"/login/{MARKER}", "/callback/idp", f"/callback/{MARKER}", "/logout", f"/{MARKER}"],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_nothing_of_a_request_is_reflected(world: World, method: str, path: str) -> None:
    async with world.broker() as service:
        client = world.browser(service).client
        cookies = {"Cookie": f"{MARKER}={MARKER}; __Host-signin_{MARKER[:10]}={MARKER}"}
        carried = dict.fromkeys((*CARRIERS, *OTHER_CARRIERS), f"https://{MARKER}.example/<{MARKER}>") | cookies
        answers = [await client.request(method, f"{BROKER}{path}", headers=carried)]
        for name in (*NAMES, *OTHER_NAMES, MARKER):
            for value in (MARKER, f"https://acme.comm100.example/\r\n{MARKER}: <script>{MARKER}"):
                query = urlencode({name: value})
                answers.append(await client.request(method, f"{BROKER}{path}?{query}", headers=carried))
    for answer in answers:
        headers = [pair for pair in answer.headers.multi_items() if "Max-Age=0" not in pair[1]]
        assert MARKER not in answer.text + str(headers)


@pytest.mark.requirement("S-54")
async def test_a_good_redirect_url_appears_percent_encoded_in_our_own_links_alone(world: World) -> None:
    world.add_provider("eu")
    async with world.broker() as service:
        page = await world.browser(service).open(f"{BROKER}/login", redirect_url=f"{PAGE}&'{{i}}{MARKER}")
    assert page.status_code == 200
    links = re.findall(r'href="([^"]*)"', page.text)
    assert page.text.count(MARKER) == sum(MARKER in link for link in links) == 2
    assert all(link.startswith(f"{BROKER}/login/main?") for link in links if MARKER in link)
    assert "{i}" not in page.text


@pytest.mark.requirement("S-54")
@pytest.mark.parametrize(
    ("lies", "person", "error"),
    [
        pytest.param(
            Lies(
                answers={"/token": lambda _: httpx.Response(400, json={"error": MARKER, "error_description": MARKER})}
            ),
            Person(),
            TokenRequestRefused,
            id="an error at the token endpoint",
        ),
        pytest.param(Lies(claims=with_(iss=f"https://{MARKER}")), Person(), IdTokenIssuer, id="a claim"),
        pytest.param(
            Lies(),
            Person("s", {"email": f"{MARKER}@evil.example", "email_verified": True, "name": MARKER}),
            EmailDomainNotAllowed,
            id="the person's address and name",
        ),
    ],
)
async def test_nothing_a_provider_says_is_reflected(
    world: World, lies: Lies, person: Person, error: type[BrokerError]
) -> None:
    world.provider.lies, world.provider.person = lies, person
    async with world.broker() as service:
        answer = await world.browser(service).sign_in()
    assert_refused(answer, error)
    assert MARKER not in answer.text + str(answer.headers)


@pytest.mark.requirement("S-57")
@pytest.mark.parametrize(
    ("path", "headers", "body", "code"),
    [
        pytest.param(f"/login?x={'a' * 65_000}", {}, b"", 414, id="64 KB of query"),
        pytest.param(f"/{'a' * 9_000}", {}, b"", 414, id="a path without end"),
        pytest.param("/login", {"Cookie": "; ".join(["__Host-signin_x=v"] * 100)}, b"", 431, id="100 cookies"),
        pytest.param("/login", {"Cookie": f"__Host-signed_in={'v' * 10_000}"}, b"", 431, id="a large cookie"),
        pytest.param("/login", {"X-Large": "v" * 20_000}, b"", 431, id="a large header"),
        pytest.param("/login", {}, b"x" * 10_000_000, 413, id="10 MB of body"),
        pytest.param("/login", {"Transfer-Encoding": "chunked"}, b"x", 413, id="a body without a length"),
    ],
)
async def test_an_oversized_request_is_refused_at_once(
    world: World, path: str, headers: Mapping[str, str], body: bytes, code: int
) -> None:
    async with world.broker() as service:
        browser = world.browser(service)
        answer = await browser.client.request(
            "POST" if body else "GET", f"{BROKER}{path}", headers=headers, content=body
        )
        counted = await metrics(service)
    assert (answer.status_code, error_code(answer)) == (code, RequestTooLarge.code)
    assert f'reason="{RequestTooLarge.code}"' in counted
    assert browser.broker_cookies() == []


@pytest.mark.requirement("S-57")
async def test_logins_in_a_row_call_nobody_and_keep_nothing(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """In small: what is kept per sign-in would show after a few hundred."""

    async def login(service: Service, count: int) -> int:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(service.public)) as client:
            for _ in range(count):
                assert (await client.get(f"{BROKER}/login", params={"redirect_url": PAGE})).status_code == 303
                client.cookies.clear()
                await anyio.lowlevel.checkpoint()  # as between two real requests: the loop drops timers not needed
        gc.collect()
        return len(gc.get_objects())

    # pytest keeps every record, and there is one for each sign-in begun
    with caplog.at_level(logging.WARNING):
        async with world.broker() as service:
            before = await login(service, 100)
            asked = list(world.provider.requests)
            assert await login(service, 1_000) - before < 500
    assert world.provider.requests == asked == ["/.well-known/openid-configuration", "/keys"]


@pytest.mark.parametrize(
    ("path", "endpoint", "ids"),
    [
        pytest.param("/", home, {}, id="home"),
        pytest.param("/login", login, {}, id="the first site"),
        pytest.param("/login/main", login, {"site": "main"}, id="a site"),
        pytest.param("/callback/idp", callback, {"idp": "idp"}, id="a provider"),
        pytest.param("/setup/check", None, {}, id="a page below another"),
        pytest.param("/setup/test/idp", None, {"idp": "idp"}, id="an id below that"),
    ],
)
def test_a_path_has_one_endpoint(path: str, endpoint: object, ids: Mapping[str, str]) -> None:
    """The endpoints of the setup pages are loaded when they are first used."""
    route = find_route(path)
    assert route is not None
    assert route.ids == ids
    assert endpoint in (None, route.endpoint)


@pytest.mark.parametrize(
    "path", ["", "/login/", "/callback", "/callback/", "/callback/a/b", "/setup/test", "login", "//"]
)
def test_no_other_path_has_an_endpoint(path: str) -> None:
    assert find_route(path) is None


async def test_a_defect_while_an_error_is_shown_is_logged_and_ends_in_plain_text(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def break_down(*_: object, **__: object) -> None:
        raise LookupError("a defect with ada@acme.example in it")

    monkeypatch.setattr("broker.web.routes.show_problem", break_down)
    async with world.broker() as service:
        answer = await world.browser(service).client.get(f"{BROKER}/nowhere")
    assert (answer.status_code, answer.text) == (503, "Service Unavailable")
    assert "defect" in caplog.messages
    for name, value in HEADERS.items():
        assert re.fullmatch(value, answer.headers[name])
