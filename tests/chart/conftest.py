"""What the chart's tests share: both Helms, and the judge of other projects' objects."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.chart.helm import Helm3, Helm4, Renders, helm4


@pytest.fixture(scope="session")
def helm_3() -> Helm3:
    """Return the program."""
    return Helm3()


@pytest.fixture(scope="session")
def helm_4() -> Iterator[Helm4]:
    """Run the engine."""
    with helm4() as engine:
        yield engine


@pytest.fixture(scope="session", params=["helm 3", "helm 4"])
def helm(request: pytest.FixtureRequest) -> Renders:
    """Return each of the two in turn."""
    found: Renders = request.getfixturevalue(request.param.replace(" ", "_"))
    return found
