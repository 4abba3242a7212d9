"""What every test shares: asynchronous tests run on asyncio, the loop the service runs on.

Knows nothing of the broker: the other side of a test lives in `tests.fakes`.
"""

import pytest


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"
