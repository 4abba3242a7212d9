"""Runs the checks for the setup page and the dawn check: one run at a time, with a cooldown after each run.

Each run sends the credential and an invalid code to every provider. Too many runs would make providers slow down the
client, and the agents' sign-ins would fail.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from broker.errors import ProviderTimedOut

if TYPE_CHECKING:
    from broker.checks import Finding

MAX_SECONDS = 30.0  # of a run; more than the sum of the checks' own limits
COOLDOWN_SECONDS = 5.0  # after a run; calls in this time get the findings of the run

Findings: TypeAlias = "tuple[Finding, ...]"


@dataclass(frozen=True, slots=True)
class CheckRun:
    """A complete run, and when it ended, in seconds since the epoch."""

    findings: Findings
    ended: float


class Cooldown:
    """Runs the checks when called; calls during a run or its cooldown share the findings of that run.

    Args:
        on_end: called with each complete run.

    Attributes:
        last: the last complete run of this process; None before.
    """

    def __init__(
        self,
        run: Callable[[], Awaitable[Findings]],
        *,
        max_seconds: float = MAX_SECONDS,
        cooldown_seconds: float = COOLDOWN_SECONDS,
        clock: Callable[[], float] = time.time,
        on_end: Callable[[CheckRun], None] = lambda _: None,
    ) -> None:
        self._run = run
        self._max_seconds = max_seconds
        self._cooldown_seconds = cooldown_seconds
        self._clock = clock
        self._on_end = on_end
        self.last: CheckRun | None = None
        self._ended = 0.0
        self._under_way: asyncio.Task[CheckRun] | None = None

    async def __call__(self) -> CheckRun:
        """Return the run with its findings.

        Raises:
            ProviderTimedOut: the run did not end in time.
        """
        run = self._under_way
        if run is None or (run.done() and time.monotonic() >= self._ended + self._cooldown_seconds):
            run = self._under_way = asyncio.create_task(self._bounded())
        # The first caller may disconnect; the run continues for the others.
        return await asyncio.shield(run)

    async def stop(self) -> None:
        """Cancel a run that is under way."""
        if self._under_way is not None:
            self._under_way.cancel()
            await asyncio.gather(self._under_way, return_exceptions=True)

    async def _bounded(self) -> CheckRun:
        try:
            async with asyncio.timeout(self._max_seconds):
                findings = await self._run()
        except TimeoutError:
            raise ProviderTimedOut(
                expected=f"all checks within {self._max_seconds:g} s", got="some still under way"
            ) from None
        finally:
            self._ended = time.monotonic()
        self.last = CheckRun(findings, self._clock())
        self._on_end(self.last)
        return self.last
