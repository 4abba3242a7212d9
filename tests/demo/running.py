"""Run `broker demo` as a process, for tests by HTTP and in a browser."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

SECONDS_TO_START = 40.0
SECONDS_TO_STOP = 60.0


@dataclass(frozen=True, slots=True)
class Demo:
    """A running demo.

    Args:
        output: the file with everything the demo has printed.
        parent: holds the demo's temporary folder.
    """

    process: subprocess.Popen[bytes]
    output: Path
    parent: Path

    def text(self) -> str:
        return self.output.read_text(encoding="utf-8")

    def named(self, what: str) -> str:
        """Return the address or file that the printout shows after these words."""
        found = re.search(rf"^ +{what} +(\S+?),?(?: |$)", self.text(), re.MULTILINE)
        assert found, self.text()
        return found[1]

    def folders(self) -> list[Path]:
        return list(self.parent.glob("comm100-sso-demo-*"))

    def stop(self, by: signal.Signals) -> int:
        self.process.send_signal(by)
        return self.process.wait(SECONDS_TO_STOP)


@contextmanager
def starting_demo(
    parent: Path, *, port: int | None = None, environment: dict[str, str] | None = None
) -> Iterator[Demo]:
    """Start the demo, yield it at once, and end it with the block."""
    output = parent / "output.txt"
    variables = {**os.environ, "TMPDIR": str(parent), **(environment or {})}
    with output.open("wb") as written:
        process = subprocess.Popen(
            [sys.executable, "-m", "broker", "demo", *([] if port is None else ["--port", str(port)])],
            stdout=written,
            stderr=subprocess.STDOUT,
            env=variables,
        )
    demo = Demo(process, output, parent)
    try:
        yield demo
    finally:
        if process.poll() is None:
            demo.stop(signal.SIGTERM)


@contextmanager
def running_demo(parent: Path, *, port: int | None = None, environment: dict[str, str] | None = None) -> Iterator[Demo]:
    """Start the demo and yield it when it has printed its instructions."""
    with starting_demo(parent, port=port, environment=environment) as demo:
        wait_for(demo, lambda: "Ctrl-C" in demo.text())
        yield demo


def wait_for(demo: Demo, come_true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SECONDS_TO_START
    while not come_true():
        assert demo.process.poll() is None, demo.text()
        assert time.monotonic() < deadline, demo.text()
        time.sleep(0.05)


def answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
