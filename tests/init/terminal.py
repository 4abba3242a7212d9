"""A pseudo-terminal that runs `broker`: read the screen, and type."""

from __future__ import annotations

import os
import re
import select
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from tests.fakes.processes import without_broker_settings

ROOT = Path(__file__).parents[2]
SECONDS = 60.0  # for anything to appear
_INTO_THE_TERMINAL = (
    "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); "
    "os.execv(sys.executable, [sys.executable, '-m', 'broker', *sys.argv[1:]])"
)


class Screen:
    """A terminal of 80 columns, and everything that it has shown.

    Args:
        process: runs in the terminal.
        end: our end of the terminal.
    """

    def __init__(self, process: subprocess.Popen[bytes], end: int) -> None:
        self.process = process
        self._end = end
        self._bytes = b""
        self._read = 0

    @property
    def text(self) -> str:
        """Everything that was shown, without colours."""
        shown = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", self._bytes.decode("utf-8", "replace"))
        return shown.replace("\r\n", "\n")

    def wait_for(self, pattern: str) -> None:
        """Read until this pattern appears after the previous one."""
        awaited = re.compile(pattern, re.MULTILINE)
        deadline = time.monotonic() + SECONDS
        while (found := awaited.search(self.text, self._read)) is None:
            assert time.monotonic() < deadline, self.text
            assert self._more(), self.text
        self._read = found.end()

    def answer(self, question: str, text: str) -> None:
        """Wait for a question, and type an answer."""
        self.wait_for(rf"^{re.escape(question)}[^\n]*: \Z")
        self.type(f"{text}\n")

    def type(self, keys: str) -> None:
        """Send keys; a lone surrogate is a byte that is not UTF-8."""
        os.write(self._end, keys.encode(errors="surrogateescape"))

    def end(self) -> int:
        """Read to the end, and return the exit status."""
        while self._more():
            pass
        return self.process.wait(SECONDS)

    def _more(self) -> bool:
        if not select.select([self._end], [], [], SECONDS)[0]:
            return False
        try:
            data = os.read(self._end, 65536)
        except OSError:  # EIO: the other end is closed
            return False
        self._bytes += data
        return bool(data)


@contextmanager
def terminal(folder: Path, *arguments: str) -> Iterator[Screen]:
    """Run `broker` with these arguments in a terminal, in this folder, while the block runs."""
    ours, theirs = os.openpty()
    termios.tcsetwinsize(theirs, (24, 80))
    process = subprocess.Popen(
        [sys.executable, "-c", _INTO_THE_TERMINAL, *arguments],
        cwd=folder,
        env=without_broker_settings(TERM="xterm", PYTHONPATH=str(ROOT)),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    try:
        yield Screen(process, ours)
    finally:
        process.kill()
        process.wait(SECONDS)
        os.close(ours)


@contextmanager
def serving(folder: Path, operations: str) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """Run `broker serve` with a folder's settings while the block runs, on another operations port."""
    environment = without_broker_settings(BROKER_OPERATIONS_LISTEN=operations, PYTHONPATH=str(ROOT))
    command = [sys.executable, "-m", "broker", "serve"]
    with (folder / "serve.log").open("wb") as log:
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log)
        try:
            yield process, operations
        finally:
            process.kill()
            process.wait(SECONDS)


def is_ready(operations: str) -> bool:
    """Tell whether the broker is ready, according to its operations port."""
    try:
        return httpx.get(f"http://{operations}/readyz", trust_env=False).status_code == 200
    except httpx.TransportError:
        return False
