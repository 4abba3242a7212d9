"""The load generator counts what happens: shown at the floor, which is a product of this benchmark's own."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path

import pytest
from starlette.types import Receive, Scope, Send

from tests.benchmarks.floor import floor_peer
from tests.benchmarks.loading import Load, loading, probing
from tests.benchmarks.measuring import ENDPOINT, Bench
from tests.benchmarks.programs import Programs, build_programs, can_build
from tests.benchmarks.stub import Stub, running_stub
from tests.fakes.processes import served

pytestmark = pytest.mark.skipif(not can_build(), reason="no gcc or no headers of OpenSSL")

COUNT = 40
CORE = min(os.sched_getaffinity(0))

LoadAt = Callable[..., AbstractContextManager[Load]]


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Programs:
    return build_programs(tmp_path_factory.mktemp("programs"))


@pytest.fixture(params=[True, False], ids=["tls", "http"])
def stub(request: pytest.FixtureRequest, programs: Programs, tmp_path: Path) -> Iterator[Stub]:
    with running_stub(programs, tmp_path / "stub", CORE, tls=request.param) as stub:
        yield stub


@pytest.fixture
def load_at(programs: Programs, stub: Stub, tmp_path: Path) -> Iterator[LoadAt]:
    """Return what makes a load generator for a running floor."""
    (tmp_path / "run").mkdir()
    setting = Bench(programs, tmp_path / "run", CORE, CORE).setting(stub, "floor")
    with floor_peer(programs, stub).start(setting) as running:
        yield partial(loading, programs, stub, running, CORE)


def test_everybody_signs_in_with_two_calls_each(load_at: LoadAt, stub: Stub) -> None:
    with load_at(location=ENDPOINT) as load:
        load.plan(COUNT)
        for step in "lac":
            load.run(step, "closed", 4).expect_all(step)
    assert stub.counts() == {
        "discoveries": 0,
        "key_fetches": 0,
        "authorizations": COUNT,
        "tokens": COUNT,
        "userinfos": COUNT,
        "refused": 0,
    }


def test_a_code_works_once(load_at: LoadAt) -> None:
    with load_at(location=ENDPOINT) as load:
        load.plan(COUNT)
        load.run("lac", "closed", 4).expect_all("the first time")
        run = load.run("c", "closed", 4)
    assert run.succeeded == 0
    assert run.failed == {"502": COUNT}


def test_a_redirect_elsewhere_is_a_failure(load_at: LoadAt) -> None:
    with load_at(location="https://elsewhere.example/") as load:
        load.plan(COUNT)
        run = load.run("lac", "closed", 4)
    assert run.failed == {"wrong redirect": COUNT}
    assert "303" in run.example
    with pytest.raises(RuntimeError, match=f"{COUNT} of {COUNT} failed"):
        run.expect_all("elsewhere")


def test_the_providers_delay_is_part_of_the_latency(load_at: LoadAt, stub: Stub) -> None:
    with load_at(location=ENDPOINT) as load:
        load.plan(COUNT)
        load.run("la", "closed", 4).expect_all("before the callback")
        stub.set_delay(30)
        run = load.run("c", "closed", COUNT).expect_all("callbacks")
    assert run.p50 >= 60
    assert run.most_under_way == COUNT


def test_an_open_loop_begins_on_time(load_at: LoadAt, stub: Stub) -> None:
    with load_at(location=ENDPOINT) as load:
        load.plan(COUNT)
        load.run("la", "closed", 4).expect_all("before the callback")
        stub.set_delay(100)
        run = load.run("c", "rate", 200).expect_all("callbacks")
    assert run.seconds >= (COUNT - 1) / 200 + 0.2
    assert run.most_under_way > 4


def test_what_is_unfinished_at_the_limit_has_failed(load_at: LoadAt, stub: Stub) -> None:
    with load_at(location=ENDPOINT) as load:
        load.plan(COUNT)
        load.run("la", "closed", 4).expect_all("before the callback")
        stub.set_delay(60_000)
        run = load.run("c", "closed", 4, limit=0.2)
    assert run.failed == {"unfinished": COUNT}


def test_the_provider_can_be_asked_without_a_product(load_at: LoadAt, stub: Stub) -> None:
    with load_at(location=ENDPOINT) as load:
        load.plan(COUNT)
        load.run("o", "closed", 4).expect_all("authorization")
        load.run("tu", "closed", 4).expect_all("token and userinfo")
    assert stub.counts()["userinfos"] == COUNT


def test_the_probe_tells_the_longest_wait(programs: Programs) -> None:
    seconds, asked = 0.05, threading.Event()

    async def stalling(scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG001
        time.sleep(seconds)  # noqa: ASYNC251 - stalls the loop
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body"})
        asked.set()

    with served(stalling) as port, probing(programs, port, "/", 1, CORE) as probe:
        assert asked.wait(20)
        stalls = probe.stop()
    assert stalls.asked >= 1
    assert stalls.longest >= seconds * 1000
    assert stalls.over_5_ms == stalls.asked
