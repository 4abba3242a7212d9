"""Writes log lines in a thread of its own, so that a log that nobody reads never blocks the service.

Lines that do not fit into the bounded queue, or that cannot be written, are dropped and counted.
"""

from __future__ import annotations

import os
import select
import sys
import threading
import time
from collections.abc import Callable

MAX_BYTES = 4 * 1024 * 1024  # that wait to be written: 10,000 usual lines. As many again may be under way
PAUSE_SECONDS = 0.1  # between two writes: the lines of this time are written together
FLUSH_SECONDS = 2.0  # at the stop, for the lines that wait
NOTICE_SECONDS = 60.0  # between two notices on standard error


class LineWriter:
    """Writes lines to a file descriptor, in their order.

    Args:
        descriptor: of a file, a pipe, a terminal or a socket; None drops every line.
        describe_gap: returns the line that stands in the place of a number of dropped lines.
    """

    def __init__(
        self, descriptor: int | None, describe_gap: Callable[[int], str], *, max_bytes: int = MAX_BYTES
    ) -> None:
        self._descriptor = descriptor
        self._describe_gap = describe_gap
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        self._lines: list[str] = []
        self._size = 0
        self._dropped = 0
        self._reported = 0  # of the dropped lines, those that a line in the log tells of
        self._is_in_line = False  # the last write ended within a line
        self._next_notice = 0.0
        self._wake = threading.Event()
        self._closing = threading.Event()
        # A daemon: a write that hangs must not keep the process from its end.
        self._thread = threading.Thread(target=self._run, name="log", daemon=True)
        self._thread.start()

    @property
    def dropped(self) -> int:
        """The number of lines that were dropped since the start."""
        return self._dropped

    def put(self, line: str, *, from_anybody: bool = False) -> None:
        """Queue a line, without its line break; drop the line if the queue is full.

        Args:
            from_anybody: a stranger can cause the line, and many of them; they get half of the queue.
        """
        room = self._max_bytes // 2 if from_anybody else self._max_bytes
        with self._lock:
            if self._size + len(line) > room:
                self._dropped += 1
                return
            self._lines.append(line)
            self._size += len(line)
        if not self._wake.is_set():
            self._wake.set()

    def close(self, seconds: float = FLUSH_SECONDS) -> None:
        """Write the lines that wait, for at most so many seconds."""
        self._closing.set()
        self._wake.set()
        self._thread.join(seconds)

    def _run(self) -> None:
        while not self._closing.is_set():
            self._wake.wait()
            self._closing.wait(PAUSE_SECONDS)
            self._wake.clear()
            self._write_queued()
        self._write_queued()

    def _write_queued(self) -> None:
        with self._lock:
            lines, self._lines, self._size = self._lines, [], 0
            gap = self._dropped - self._reported
        if gap:
            lines.append(self._describe_gap(gap))
        if not lines:
            return
        try:
            self._write("".join(f"{line}\n" for line in lines).encode())
        except OSError as error:
            with self._lock:
                self._dropped += len(lines) - bool(gap)
            self._notice(error.strerror or "the log cannot be written")
        else:
            self._reported += gap

    def _write(self, data: bytes) -> None:
        if self._descriptor is None:
            raise OSError(0, "there is no standard output")
        rest = memoryview(b"\n" + data if self._is_in_line else data)
        while rest:
            try:
                count = os.write(self._descriptor, rest)
            except BlockingIOError:  # another program made the shared descriptor non-blocking
                select.select((), (self._descriptor,), (), PAUSE_SECONDS)
                continue
            if count:
                self._is_in_line, rest = rest[count - 1] != ord("\n"), rest[count:]

    def _notice(self, problem: str) -> None:
        """Say on standard error, once a minute, that lines are lost."""
        now = time.monotonic()
        if now < self._next_notice or sys.stderr is None:
            return
        self._next_notice = now + NOTICE_SECONDS
        try:
            os.write(sys.stderr.fileno(), f"{self._dropped} log lines are lost: {problem}\n".encode())
        except (OSError, ValueError):
            return  # nobody can be told
