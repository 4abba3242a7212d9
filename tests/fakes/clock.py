"""A clock the test moves."""

from __future__ import annotations

START = 1_800_000_000.0  # seconds since the epoch: 15 January 2027, 08:00 UTC


class Clock:
    """Stands still until it is moved."""

    def __init__(self, now: float = START) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds

    async def sleep(self, seconds: float) -> None:
        """Wait in no time: the clock is moved."""
        self.advance(seconds)
