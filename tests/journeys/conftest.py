"""What journeys share: the log of the service, as it is written."""

import io
import logging
from collections.abc import Iterator

import pytest

from broker.log import JsonLines


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """What the service writes, at the lowest level there is."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonLines())
    root = logging.getLogger()
    root.addHandler(handler)
    yield stream
    root.removeHandler(handler)
