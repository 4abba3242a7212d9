"""The doctor inside the service: one run at a time, shared, bounded."""

from __future__ import annotations

import asyncio

import pytest

from broker.checks import Finding
from broker.errors import ProviderTimedOut
from broker.web.cooldown import Cooldown

FINDINGS = (Finding("settings", "settings", "ok", "All is well.", "", "docs/admin/check.md#settings"),)


class Doctor:
    """Counts its runs, each of which waits for leave to end."""

    def __init__(self) -> None:
        self.runs = 0
        self.may_end = asyncio.Event()

    async def __call__(self) -> tuple[Finding, ...]:
        self.runs += 1
        await self.may_end.wait()
        return FINDINGS


async def test_whoever_asks_during_a_run_gets_what_that_run_finds() -> None:
    doctor = Doctor()
    checks = Cooldown(doctor, cooldown_seconds=0)
    first, second = asyncio.create_task(checks()), asyncio.create_task(checks())
    await asyncio.sleep(0)
    doctor.may_end.set()
    assert await first == await second == FINDINGS
    assert doctor.runs == 1
    await checks()
    assert doctor.runs == 2


async def test_however_many_ask_a_provider_has_a_rest_between_two_runs() -> None:
    doctor = Doctor()
    doctor.may_end.set()
    checks = Cooldown(doctor, cooldown_seconds=3600)
    for _ in range(50):
        assert await checks() == FINDINGS
    assert doctor.runs == 1


async def test_a_run_that_was_ended_is_not_begun_again_at_once() -> None:
    doctor = Doctor()
    checks = Cooldown(doctor, max_seconds=0.01, cooldown_seconds=3600)
    for _ in range(3):
        with pytest.raises(ProviderTimedOut):
            await checks()
    assert doctor.runs == 1


async def test_the_first_who_asks_may_go_away() -> None:
    doctor = Doctor()
    checks = Cooldown(doctor)
    first, second = asyncio.create_task(checks()), asyncio.create_task(checks())
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.sleep(0)
    doctor.may_end.set()
    assert await second == FINDINGS
    assert doctor.runs == 1


async def test_a_run_that_does_not_end_is_ended() -> None:
    checks = Cooldown(Doctor(), max_seconds=0.01)
    with pytest.raises(ProviderTimedOut):
        await checks()


async def test_stopping_ends_a_run_under_way() -> None:
    checks = Cooldown(Doctor())
    await checks.stop()
    asking = asyncio.create_task(checks())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    await checks.stop()
    with pytest.raises(asyncio.CancelledError):
        await asking
