"""The doctor's checks from inside the service: one run at a time, however many ask."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from broker.doctor import Finding
from broker.errors import ProviderTimedOut

MAX_SECONDS = 30.0  # of one run; the doctor has bounds of its own, below

Findings = tuple[Finding, ...]


class Checks:
    """Runs the checks; whoever asks while they run gets what that run finds.

    Args:
        run: examines everything, from the beginning.
        max_seconds: a run may take.
    """

    def __init__(self, run: Callable[[], Awaitable[Findings]], *, max_seconds: float = MAX_SECONDS) -> None:
        self._run = run
        self._max_seconds = max_seconds
        self._under_way: asyncio.Task[Findings] | None = None

    async def __call__(self) -> Findings:
        """Return what a run finds.

        Raises:
            ProviderTimedOut: it did not end in time.
        """
        if self._under_way is None or self._under_way.done():
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
            raise ProviderTimedOut(expected=f"all checks within {self._max_seconds:g} s", got="not all") from None
