"""Starts a peer's program on its core, waits until it listens, and ends it."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

START_SECONDS = 30.0
STOP_SECONDS = 20.0
SYSTEM_PATH = f"{os.environ.get('PATH', '')}:/usr/sbin"


@contextmanager
def launched(
    command: Sequence[str], port: int, folder: Path, core: int, environment: Mapping[str, str] | None = None
) -> Iterator[int]:
    """Run a server on one core while the block runs; yield its process id.

    Args:
        folder: Takes what the server writes, as `output.txt`.
        environment: Added to the environment of the benchmark.
    """
    output = folder / "output.txt"
    with output.open("wb") as file:
        process = subprocess.Popen(
            [
                "taskset",
                "--cpu-list",
                str(core),
                *command,
            ],  # taskset becomes the server: the process id is the server's
            cwd=folder,
            env={**os.environ, "PATH": SYSTEM_PATH, **(environment or {})},
            stdout=file,
            stderr=file,
        )
    try:
        _wait_until_listening(process, port, output)
        yield process.pid
    finally:
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_until_listening(process: subprocess.Popen[bytes], port: int, output: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not _listens(port):
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"{process.args!r} did not start:\n{output.read_text(encoding='utf-8')}")
        time.sleep(0.02)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
