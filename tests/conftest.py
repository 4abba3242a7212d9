"""What every test shares: asynchronous tests run on asyncio, as the service does, in a small world of fakes.

All that is logged meanwhile, and every secret issued, is kept for the last test of the session to compare. Where the
session is shared by several processes, each compares its own at its end: what one issues, no other can log.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.clock import Clock
from tests.fakes.log_record import LogRecord
from tests.fakes.world import World

LAST_MODULE = "test_nothing_secret_was_logged.py"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let the test that reads all logs come when all are written."""
    items.sort(key=lambda item: item.path.name == LAST_MODULE)


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def log_record(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[LogRecord]:
    record = LogRecord(tmp_path_factory.mktemp("log") / "session.log")
    yield record
    if hasattr(request.config, "workerinput"):  # pytest-xdist: the last test ran in one of the processes only
        record.add_logs_below(tmp_path_factory.getbasetemp())
        assert record.leaks() == []


@pytest.fixture(autouse=True)
def everything_logged_is_kept(log_record: LogRecord) -> Iterator[None]:
    with log_record.listening():
        yield


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def world(tmp_path: Path, clock: Clock, log_record: LogRecord) -> Iterator[World]:
    world = World(tmp_path, clock)
    yield world
    log_record.add_secrets(world.secrets())
