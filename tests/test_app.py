"""The wiring: what a service opens, what it asks of providers, and what it leaves behind in memory."""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import ssl
import sys
import time
import tracemalloc
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from itertools import pairwise
from pathlib import Path
from types import FrameType
from typing import Any
from urllib.parse import quote, urlsplit

import httpx
import pytest
import yaml
from starlette.types import ASGIApp, Message

from broker.app import Service, create_app
from broker.errors import InternalError
from broker.log import JsonLines
from broker.oidc.client import NetworkPolicy, open_client
from broker.oidc.discovery import LIFETIME_SPREAD
from broker.settings import load_settings
from broker.watch import MAX_FETCHING
from tests.fakes.clock import Clock
from tests.fakes.ports import free_port
from tests.fakes.processes import provider_site, served
from tests.fakes.provider import FakeProvider
from tests.fakes.world import PAGE, World, settings_for

pytestmark = pytest.mark.anyio

DISCOVERY, KEYS, AUTHORIZE, TOKEN, USERINFO = (
    "/.well-known/openid-configuration",
    "/keys",
    "/authorize",
    "/token",
    "/userinfo",
)


async def get(application: ASGIApp, target: str, cookie: str = "") -> tuple[int, dict[str, str]]:
    """Ask an application for an address as a server would, with nothing in between; return status and headers."""
    path, _, query = target.partition("?")
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "https",
        "path": path,
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "headers": [(b"host", b"sso.acme.example"), *([(b"cookie", cookie.encode())] if cookie else [])],
        "client": ("192.0.2.7", 4711),
        "server": ("127.0.0.1", 8000),
    }
    await application(scope, receive, send)
    await asyncio.sleep(0)  # a server gives the event loop its turn: it forgets timers no longer needed
    return sent[0]["status"], {name.decode(): value.decode() for name, value in sent[0]["headers"]}


async def readiness(service: Service, come_true: Callable[[str], bool]) -> str:
    """Wait until readiness tells what is waited for; return it."""
    for _ in range(1000):
        if come_true(answer := (await body_of(service.operations, "/readyz")).decode()):
            return answer
        await asyncio.sleep(0.01)
    raise AssertionError("it never came")


async def warm(service: Service) -> None:
    """Wait until metadata and keys are there."""
    await readiness(service, lambda told: "missing" not in told)


async def body_of(application: ASGIApp, path: str) -> bytes:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(application), base_url="http://operations") as client:
        return (await client.get(path)).content


def weight() -> int:
    """Return the bytes Python holds."""
    gc.collect()
    return tracemalloc.get_traced_memory()[0]


def least_growth(weights: list[int]) -> int:
    """Return by how much every one of the rounds grew: the test run's own threads hold more now and then, too."""
    return min(after - before for before, after in pairwise(weights))


@pytest.fixture
def weighing() -> Iterator[None]:
    """Stop counting in the end; the log is off meanwhile, for the test run keeps all of it."""
    logging.disable()
    yield
    tracemalloc.stop()
    logging.disable(logging.NOTSET)


@pytest.mark.requirement("S-57")
@pytest.mark.usefixtures("weighing")
async def test_5000_sign_ins_begun_ask_the_provider_nothing_and_leave_nothing_behind(world: World) -> None:
    async with world.broker() as service:
        await warm(service)
        asked = list(world.provider.requests)
        weights = []
        for number in range(5000):
            if number == 4000:
                tracemalloc.start()  # not earlier, for it is slow
            if number >= 4200 and number % 200 == 0:  # by then whatever is full has been replaced once
                weights.append(weight())
            status, headers = await get(service.public, f"/login?redirect_url={quote(f'{PAGE}&n={number}', safe='')}")
            assert (status, headers["location"].partition("?")[0]) == (303, "https://idp.example/authorize")
        assert least_growth([*weights, weight()]) < 4_000, "bytes, by 200 more"
        assert world.provider.requests == asked == [DISCOVERY, KEYS]


@pytest.mark.requirement("S-57")
@pytest.mark.usefixtures("weighing")
async def test_2000_requests_of_a_stranger_leave_nothing_behind(world: World) -> None:
    async with world.broker() as service:
        await warm(service)
        series = (await body_of(service.operations, "/metrics")).decode().count("comm100_sso_signins_total{")
        weights = []
        for number in range(500):
            if number == 100:
                tracemalloc.start()
            if number >= 300 and number % 50 == 0:  # urllib, too, keeps no more than 128 addresses
                weights.append(weight())
            for target, expected in (
                (f"/login/site{number}", 404),
                (f"/login?redirect_url=https%3A%2F%2Fhost{number}.evil.example%2F", 400),
                (f"/callback/idp?code=x&state=s{number}", 400),
                (f"/callback/idp{number}?code=x", 404),
            ):
                assert (await get(service.public, target, cookie=f"signin_AAAAAAAA{number:03}=x"))[0] == expected
        assert least_growth([*weights, weight()]) < 4_000, "bytes, by 200 more"
        metrics = (await body_of(service.operations, "/metrics")).decode()
        assert metrics.count("comm100_sso_signins_total{") < series + 6, "no label holds what a stranger wrote"
        assert world.provider.requests == [DISCOVERY, KEYS]


async def test_a_sign_in_costs_two_calls_once_warm(world: World) -> None:
    async with world.broker() as service:
        await warm(service)
        for _ in range(3):
            world.provider.requests.clear()
            assert (await world.browser(service).sign_in()).status_code == 200
            assert world.provider.requests == [AUTHORIZE, TOKEN, USERINFO], "the first is the browser's"


async def test_metadata_and_keys_are_fetched_once_a_lifetime_however_many_sign_in(world: World, clock: Clock) -> None:
    async with world.broker() as service:
        for fetches in (1, 2, 3):
            await asyncio.gather(*(world.browser(service).sign_in() for _ in range(10)))
            assert (world.provider.count(DISCOVERY), world.provider.count(KEYS)) == (fetches, fetches)
            clock.advance(3600 * (1 - LIFETIME_SPREAD) - 1)
            assert (await world.browser(service).sign_in()).status_code == 200
            assert (world.provider.count(DISCOVERY), world.provider.count(KEYS)) == (fetches, fetches)
            clock.advance(3600)


async def test_no_more_than_twenty_providers_are_fetched_at_once(tmp_path: Path, clock: Clock) -> None:
    sections = {
        f"idp{number}": {
            "preset": "oidc",
            "issuer": f"https://idp{number}.example",
            "client_id": "client",
            "client_secret": "s3cret-of-the-client",
            "email_domains": [f"acme{number}.example"],
        }
        for number in range(50)
    }
    path = tmp_path / "broker.yaml"
    settings = settings_for(FakeProvider("https://idp.example", clock))
    path.write_text(yaml.safe_dump({**settings, "identity_providers": sections}))
    under_way: list[int] = []
    asked: list[str] = []

    async def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.host)
        under_way.append(under_way[-1] + 1 if under_way else 1)
        await asyncio.sleep(0.001)
        under_way.append(under_way[-1] - 1)
        return httpx.Response(503, stream=httpx.ByteStream(b""))

    @asynccontextmanager
    async def outbound(_network: NetworkPolicy) -> AsyncIterator[httpx.AsyncBaseTransport]:
        yield httpx.MockTransport(answer)

    async with create_app(load_settings(path, {}), http=outbound, clock=clock, sleep=clock.sleep):
        for _ in range(1000):
            if len(set(asked)) == len(sections) and under_way[-1] == 0:
                break
            await asyncio.sleep(0.01)
    assert len(set(asked)) == len(sections)
    assert max(under_way) == MAX_FETCHING == 20


async def test_everything_is_fetched_before_anyone_signs_in(world: World) -> None:
    async with world.broker() as service:
        await warm(service)
        assert world.provider.requests == [DISCOVERY, KEYS]


async def test_providers_that_reach_equally_far_share_one_client(world: World) -> None:
    world.add_provider("eu")
    world.add_provider("lab", email_domains=["acme-lab.example"], allow_private_network=True)
    async with world.broker():
        assert sorted(network.private_networks for network in world.opened) == [False, True]


async def test_a_provider_that_is_not_enabled_is_not_there(world: World) -> None:
    off = world.add_provider("eu", enabled=False)
    async with world.broker() as service:
        await warm(service)
        assert (await get(service.public, "/login"))[0] == 303, "nobody has to choose"
        assert (await get(service.public, "/login?idp=eu"))[0] == 404
        assert (await get(service.public, "/callback/eu?code=x&state=y"))[0] == 404
    assert off.requests == []


async def test_nothing_runs_on_when_the_service_has_ended(world: World) -> None:
    before = asyncio.all_tasks()
    async with world.broker() as service:
        assert (await world.browser(service).sign_in()).status_code == 200
        assert asyncio.all_tasks() - before
    assert asyncio.all_tasks() == before


async def test_readiness_tells_of_each_provider_and_depends_on_none(world: World) -> None:
    down = world.add_provider("eu")
    down.is_down = lambda _: httpx.Response(500)
    async with world.broker() as service:
        answer = await readiness(service, lambda told: "provider_failing" in told and told.count("present") == 2)
        assert yaml.safe_load(answer) == {
            "ready": True,
            "identity_providers": {
                "idp": {"metadata": "present", "keys": "present", "down": False, "last_success_seconds_ago": 0},
                "eu": {
                    "metadata": "missing",
                    "keys": "missing",
                    "down": True,
                    "last_failure": "provider_failing",
                    "last_failure_call": "metadata",
                    "last_failure_seconds_ago": 0,
                },
            },
        }
        service.stopping.set()
        assert (await get(service.operations, "/readyz"))[0] == 503
        assert (await get(service.operations, "/healthz"))[0] == 200
        assert (await get(service.public, "/login?idp=idp"))[0] == 303, "whoever is here is still served"


async def test_a_defect_while_keeping_warm_is_logged_and_ends_nothing(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    def break_once(_: httpx.Request) -> httpx.Response:
        world.provider.is_down = None
        raise LookupError("a defect with ada@acme.example in it")

    world.provider.is_down = break_once
    before = asyncio.all_tasks()
    async with world.broker() as service:
        for _ in range(1000):
            if "identity provider is not usable" in caplog.messages:
                break
            await asyncio.sleep(0.01)
        assert len(asyncio.all_tasks() - before) == 3, "it waits for the next time, as the dawn check does"
        world.clock.advance(1)
        assert (await world.browser(service).sign_in(redirect_url=PAGE)).url == PAGE
    told = [json.loads(JsonLines().format(record)) for record in caplog.records if record.name == "broker"]
    defect, not_usable = [line for line in told if line["level"] == "error"]
    assert (defect["event"], defect["provider"], defect["exception"]) == ("defect", "idp", "LookupError")
    assert "test_app.py" in defect["raised_at"]
    assert not any(said in json.dumps(defect) for said in ("a defect with", "ada@", "acme.example"))
    assert (not_usable["provider"], not_usable["code"]) == ("idp", InternalError.code)


@contextmanager
def counting_tls_contexts() -> Iterator[list[str]]:
    """Note each time this thread makes an SSLContext: it reads a hundred certificates, some 20 ms."""
    made: list[str] = []
    makes_one = ssl.SSLContext.__new__.__code__

    def note(frame: FrameType, event: str, _: Any) -> None:
        if event == "call" and frame.f_code is makes_one:
            made.append(str(frame.f_back))

    sys.setprofile(note)
    try:
        yield made
    finally:
        sys.setprofile(None)


async def test_the_serving_thread_makes_no_tls_context(tmp_path: Path) -> None:
    port = free_port()
    provider = FakeProvider(f"http://127.0.0.1:{free_port()}", time.time)
    settings = settings_for(provider) | {"public_url": f"http://127.0.0.1:{port}"}
    (tmp_path / "broker.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    with served(provider_site(provider), urlsplit(provider.issuer).port), counting_tls_contexts() as made:
        async with create_app(load_settings(tmp_path / "broker.yaml", {})) as service:
            ssl.create_default_context()
            assert made, "the counting works"
            made.clear()
            for _ in range(3):
                status, departed = await get(service.public, "/login")
                assert status == 303
                back = (await provider.handle(httpx.Request("GET", departed["location"]))).headers["location"]
                cookie = departed["set-cookie"].partition(";")[0]
                target = back.removeprefix(f"http://127.0.0.1:{port}")
                assert (await get(service.public, target, cookie=cookie))[0] == 303
            async with open_client(NetworkPolicy()):  # as a check of the setup page does
                assert made == []
    assert provider.count(USERINFO) == 3
