"""The image, built once for all tests here; and at the end, what was measured."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.processes import wait_until
from tests.image.building import Podman, build_image

MEASURED = pytest.StashKey[list[str]]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[MEASURED] = []


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    for line in config.stash[MEASURED]:
        terminalreporter.write_line(line)


@pytest.fixture
def measured(pytestconfig: pytest.Config) -> list[str]:
    """Return the list of lines to print at the end."""
    return pytestconfig.stash[MEASURED]


@pytest.fixture(scope="session")
def podman() -> Iterator[Podman]:
    folder = Path(tempfile.mkdtemp(prefix="image-"))  # not pytest's: it would keep the last three
    yield Podman(folder)
    wait_until(lambda: removed(folder), "podman lets go of its storage")


def removed(folder: Path) -> bool:
    """Try to remove podman's storage: what ends a container does so in the background, and may leave a mount behind."""
    subprocess.run(["umount", folder / "images" / "overlay"], check=False, capture_output=True)
    shutil.rmtree(folder, ignore_errors=True)
    return not folder.exists()


@pytest.fixture(scope="session")
def image(podman: Podman) -> str:
    return build_image(podman)
