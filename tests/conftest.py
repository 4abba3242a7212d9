"""What every test shares: asynchronous tests run on asyncio, as the service does, in a small world of fakes."""

from pathlib import Path

import pytest

from tests.fakes.clock import Clock
from tests.fakes.world import World


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def world(tmp_path: Path, clock: Clock) -> World:
    return World(tmp_path, clock)
