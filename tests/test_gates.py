"""Bounds on what a start and a sign-in cost, counted and not timed: a machine under load does not change them.

Beside what they bound: no TLS context and no further fetch after the start, and the calls of a sign-in, in
`test_app.py`; the series of a provider, in `test_metrics.py`.
"""

from __future__ import annotations

import gc
import logging
import re
import sys
import time
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
import yaml
from starlette.types import ASGIApp, Receive, Scope, Send

from broker.app import Service, create_app
from broker.settings import load_settings
from tests.fakes.ports import free_port
from tests.fakes.processes import provider_site, running_broker, served
from tests.fakes.provider import FakeProvider
from tests.fakes.world import BROKER, World, settings_for
from tests.test_app import get, warm

pytestmark = pytest.mark.anyio

MAX_MODULES = 560  # besides the standard library's; 520
MAX_BLOCKS = 400  # of memory that a callback leaves to the garbage collector and to what the service remembers; 300
MAX_BYTES = 56_000  # at the peak of a callback, with the fake provider's and the HTTP client's; 43,000
NOT_IN_THE_SERVICE = (
    "click.core",  # the name `click` alone is that of a failed import
    "pygments",
    "rich",
    "typer",
    "broker.checks",
    "broker.commands",
    "broker.demo",
    "broker.dry_run",
    "broker.init",
    "broker.registration",
    "broker.web.setup",
    "broker.web.setup_pages",
)


def packages(module: str) -> set[str]:
    """Return a module and all packages that it is in."""
    parts = module.split(".")
    return {".".join(parts[:length]) for length in range(1, len(parts) + 1)}


def test_the_service_loads_no_command_no_check_and_no_setup_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = free_port()
    provider = FakeProvider(f"http://127.0.0.1:{free_port()}", time.time)
    settings = settings_for(provider) | {"public_url": f"http://127.0.0.1:{port}"}
    monkeypatch.setenv("PYTHONPROFILEIMPORTTIME", "1")
    with (
        served(provider_site(provider), urlsplit(provider.issuer).port),
        running_broker(tmp_path, settings, port) as broker,
        httpx.Client(trust_env=False) as person,
    ):
        departed = person.get(f"{broker.public}/login")
        back = person.get(departed.headers["location"])
        assert person.get(back.headers["location"]).status_code == 303
        assert person.get(f"{broker.public}/setup?link=nothing").status_code == 404
        assert broker.status("/metrics") == 200
    written = broker.errors.read_text(encoding="utf-8")
    loaded = set(re.findall(r"^import time: .*\| +(\S+)$", written, re.MULTILINE))
    assert "broker.signin" in loaded, "the counting works"
    assert [module for module in loaded if packages(module) & set(NOT_IN_THE_SERVICE)] == []
    not_the_services = sys.stdlib_module_names | {"coverage"}
    assert len([module for module in loaded if module.partition(".")[0] not in not_the_services]) < MAX_MODULES


async def test_100_sign_ins_one_after_another_need_no_new_connection(tmp_path: Path) -> None:
    port = free_port()
    provider = FakeProvider(f"http://127.0.0.1:{free_port()}", time.time)
    settings = settings_for(provider) | {"public_url": f"http://127.0.0.1:{port}"}
    (tmp_path / "broker.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    connections: set[tuple[str, int]] = set()
    with served(noting_connections(provider_site(provider), connections), urlsplit(provider.issuer).port):
        async with create_app(load_settings(tmp_path / "broker.yaml", {})) as service:
            await warm(service)
            before = len(connections)
            for _ in range(100):
                status, departed = await get(service.public, "/login")
                assert status == 303
                back = (await provider.handle(httpx.Request("GET", departed["location"]))).headers["location"]
                cookie = departed["set-cookie"].partition(";")[0]
                assert (await get(service.public, back.removeprefix(settings["public_url"]), cookie=cookie))[0] == 303
    assert before >= 1
    assert len(connections) - before <= 2


def noting_connections(application: ASGIApp, connections: set[tuple[str, int]]) -> ASGIApp:
    """Return the application; it notes from which addresses its requests come."""

    async def noting(scope: Scope, receive: Receive, send: Send) -> None:
        connections.add(tuple(scope["client"]))
        await application(scope, receive, send)

    return noting


@pytest.fixture
def uncollected() -> Iterator[None]:
    """Disable the garbage collector and the log: the test run keeps each record of the log."""
    logging.disable()
    gc.disable()
    yield
    tracemalloc.stop()
    gc.enable()
    logging.disable(logging.NOTSET)


async def least_of_callbacks(world: World, service: Service, count: Callable[[], int]) -> int:
    """Return what one callback adds to a count, at least: other threads of the test run add to it now and then."""
    added = []
    for _ in range(8):
        browser = world.browser(service)
        callback = await browser.to_callback()
        cookie = "; ".join(f"{each.name}={each.value}" for each in browser.client.cookies.jar if "signin" in each.name)
        gc.collect()
        tracemalloc.reset_peak()
        before = count()
        status, _ = await get(service.public, callback.removeprefix(BROKER), cookie=cookie)
        added.append(count() - before)
        assert status == 303
    return min(added)


@pytest.mark.usefixtures("uncollected")
async def test_a_callback_leaves_few_blocks_of_memory_behind(world: World) -> None:
    async with world.broker() as service:
        await warm(service)
        assert 0 < await least_of_callbacks(world, service, sys.getallocatedblocks) < MAX_BLOCKS


@pytest.mark.usefixtures("uncollected")
async def test_a_callback_needs_little_memory(world: World) -> None:
    async with world.broker() as service:
        await warm(service)
        tracemalloc.start()
        assert 0 < await least_of_callbacks(world, service, lambda: tracemalloc.get_traced_memory()[1]) < MAX_BYTES
