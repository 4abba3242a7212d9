"""One trace id covers a whole sign-in: where it begins, how it ended, and the page."""

from __future__ import annotations

import io
import json
import re

import pytest

from tests.fakes.provider import Person
from tests.fakes.world import BROKER, World, trace_id

Log = io.StringIO


def trace_ids(log: Log, event: str) -> list[str]:
    lines = [json.loads(line) for line in log.getvalue().splitlines()]
    return [line["trace_id"] for line in lines if line["event"] == event]


async def test_one_trace_id_covers_a_whole_sign_in(world: World, log: Log) -> None:
    async with world.broker() as service:
        browser = world.browser(service)
        await browser.sign_in()
        world.provider.person = Person("eve", {"email": "eve@other.example"})
        page = await browser.sign_in()
    begun = trace_ids(log, "sign-in begins")
    ended = trace_ids(log, "sign-in")
    assert begun == ended
    assert len(set(begun)) == 2
    assert trace_id(page) == begun[1]


async def test_two_tabs_have_a_trace_id_each_and_another_replica_keeps_it(world: World, log: Log) -> None:
    async with world.broker() as first, world.broker() as second:
        browser = world.browser(first)
        tabs = [await browser.to_callback(), await browser.to_callback()]
        browser.service = second
        for callback in reversed(tabs):
            await browser.open(callback)
        again = await browser.open(tabs[0])  # a failure, too, is found by it
    begun = trace_ids(log, "sign-in begins")
    ended = trace_ids(log, "sign-in")
    assert ended == [begun[1], begun[0], begun[0]]
    assert trace_id(again) == begun[0]


TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = "00f067aa0ba902b7"


@pytest.mark.parametrize("traceparent", [f"00-{TRACE}-{PARENT}-01", f"cc-{TRACE}-{PARENT}-00-what-comes-later"])
async def test_the_trace_of_the_first_request_is_continued(world: World, log: Log, traceparent: str) -> None:
    async with world.broker() as service:
        browser = world.browser(service)
        redirect = await browser.get(f"{BROKER}/login", traceparent=traceparent)
        world.provider.person = Person("eve", {"email": "eve@other.example"})
        page = await browser.follow(redirect)
    assert trace_ids(log, "sign-in begins") == trace_ids(log, "sign-in") == [trace_id(page)] == [TRACE]


@pytest.mark.parametrize(
    "traceparent",
    [
        pytest.param("", id="empty"),
        pytest.param(TRACE, id="the trace alone"),
        pytest.param(f"00-{TRACE.upper()}-{PARENT}-01", id="upper case"),
        pytest.param(f"00-{'0' * 32}-{PARENT}-01", id="no trace"),
        pytest.param(f"00-{TRACE}-{'0' * 16}-01", id="no parent"),
        pytest.param(f"ff-{TRACE}-{PARENT}-01", id="a version that cannot be"),
        pytest.param(f"00-{TRACE}-{PARENT}-01-more", id="too long for its version"),
        pytest.param(f"00-{TRACE[:-1]}-{PARENT}-01", id="short"),
        pytest.param(f"00-{TRACE}-{PARENT}-01,00-{TRACE}-{PARENT}-01", id="two"),
        pytest.param(f"00-{TRACE[:-4]}<b>x-{PARENT}-01", id="markup"),
    ],
)
async def test_a_malformed_trace_is_ignored_and_never_shown(world: World, traceparent: str) -> None:
    async with world.broker() as service:
        page = await world.browser(service).get(f"{BROKER}/nowhere", traceparent=traceparent)
    assert re.fullmatch("[0-9a-f]{32}", trace_id(page))
    assert trace_id(page) != TRACE
    assert not traceparent or traceparent not in page.text
