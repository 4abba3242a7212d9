"""One trace id covers a whole sign-in: where it begins, how it ended, and the page."""

from __future__ import annotations

import io
import json

from tests.fakes.provider import Person
from tests.fakes.world import World, trace_id

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
