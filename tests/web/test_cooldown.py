"""The checks inside the service: one run at a time, shared, bounded."""

from __future__ import annotations

import asyncio

import pytest

from broker.checks import Finding
from broker.errors import ProviderTimedOut
from broker.web.cooldown import CheckRun, Cooldown

FINDINGS = (Finding("settings", "settings", "ok", "All is well.", "", "docs/admin/check.md#settings"),)


class Checks:
    """Counts its runs, each of which waits for leave to end."""

    def __init__(self) -> None:
        self.runs = 0
        self.may_end = asyncio.Event()

    async def __call__(self) -> tuple[Finding, ...]:
        self.runs += 1
        await self.may_end.wait()
        return FINDINGS


async def test_whoever_asks_during_a_run_gets_what_that_run_finds() -> None:
    checks = Checks()
    cooled = Cooldown(checks, cooldown_seconds=0)
    first, second = asyncio.create_task(cooled()), asyncio.create_task(cooled())
    await asyncio.sleep(0)
    checks.may_end.set()
    assert (await first).findings == (await second).findings == FINDINGS
    assert checks.runs == 1
    await cooled()
    assert checks.runs == 2


async def test_however_many_ask_a_provider_has_a_rest_between_two_runs() -> None:
    checks = Checks()
    checks.may_end.set()
    cooled = Cooldown(checks, cooldown_seconds=3600)
    for _ in range(50):
        assert (await cooled()).findings == FINDINGS
    assert checks.runs == 1


async def test_a_run_that_was_ended_is_not_begun_again_at_once() -> None:
    checks = Checks()
    cooled = Cooldown(checks, max_seconds=0.01, cooldown_seconds=3600)
    for _ in range(3):
        with pytest.raises(ProviderTimedOut):
            await cooled()
    assert checks.runs == 1


async def test_the_first_who_asks_may_go_away() -> None:
    checks = Checks()
    cooled = Cooldown(checks)
    first, second = asyncio.create_task(cooled()), asyncio.create_task(cooled())
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.sleep(0)
    checks.may_end.set()
    assert (await second).findings == FINDINGS
    assert checks.runs == 1


async def test_a_run_that_does_not_end_is_ended() -> None:
    cooled = Cooldown(Checks(), max_seconds=0.01)
    with pytest.raises(ProviderTimedOut):
        await cooled()


async def test_stopping_ends_a_run_under_way() -> None:
    cooled = Cooldown(Checks())
    await cooled.stop()
    asking = asyncio.create_task(cooled())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    await cooled.stop()
    with pytest.raises(asyncio.CancelledError):
        await asking


async def test_the_last_complete_run_is_kept_with_its_time_and_reported() -> None:
    checks, reported = Checks(), list[CheckRun]()
    cooled = Cooldown(checks, max_seconds=0.01, cooldown_seconds=0, clock=lambda: 1000.0, on_end=reported.append)
    with pytest.raises(ProviderTimedOut):
        await cooled()
    assert cooled.last is None
    checks.may_end.set()
    await cooled()
    assert reported == [cooled.last] == [CheckRun(FINDINGS, 1000.0)]
