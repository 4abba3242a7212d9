"""The doctor's checks from inside the service: one run at a time, and a rest behind it, however many ask.

Each run shows our credential to every provider with a code nobody issued. Providers count such requests, and a client
that makes too many of them is slowed down: whoever has a setup link must not be able to do that to the agents.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from broker.checks import Finding
from broker.errors import ProviderTimedOut

MAX_SECONDS = 30.0  # of one run; the doctor has bounds of its own, below
COOLDOWN_SECONDS = 5.0  # behind a run, in which its findings are given again; nobody corrects a setting faster

Findings = tuple[Finding, ...]


class Checks:
    """Runs the checks; whoever asks while they run, or right afterwards, gets what that run finds.

    Args:
        run: examines everything, from the beginning.
        max_seconds: a run may take.
        rest_seconds: from the end of a run to the next.
    """

    def __init__(
        self,
        run: Callable[[], Awaitable[Findings]],
        *,
        max_seconds: float = MAX_SECONDS,
        rest_seconds: float = COOLDOWN_SECONDS,
    ) -> None:
        self._run = run
        self._max_seconds = max_seconds
        self._rest_seconds = rest_seconds
        self._ended = 0.0
        self._under_way: asyncio.Task[Findings] | None = None

    async def __call__(self) -> Findings:
        """Return what a run finds.

        Raises:
            ProviderTimedOut: it did not end in time.
        """
        if self._under_way is None or (self._under_way.done() and time.monotonic() >= self._ended + self._rest_seconds):
            self._under_way = asyncio.create_task(self._bounded())
        # Whoever asked first may go away; the run goes on for the others.
        return await asyncio.shield(self._under_way)

    async def stop(self) -> None:
        """End a run that is under way, for the service stops."""
        if self._under_way is not None:
            self._under_way.cancel()
            await asyncio.gather(self._under_way, return_exceptions=True)

    async def _bounded(self) -> Findings:
        try:
            async with asyncio.timeout(self._max_seconds):
                return await self._run()
        except TimeoutError:
            raise ProviderTimedOut(
                expected=f"all checks within {self._max_seconds:g} s", got="some still under way"
            ) from None
        finally:
            self._ended = time.monotonic()
