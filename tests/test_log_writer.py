"""The log beside the service: a reader that stops, pauses or goes away costs lines, never a request."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from broker.log_writer import LineWriter
from tests.fakes.processes import wait_until

PIPE_BYTES = 64 * 1024  # that a pipe holds while nobody reads


def gap(count: int) -> str:
    return f"{count} lost"


@contextmanager
def writing_to(
    descriptor: int | None, *, max_bytes: int = 1024 * 1024, flush_seconds: float = 20
) -> Iterator[LineWriter]:
    writer = LineWriter(descriptor, gap, max_bytes=max_bytes)
    try:
        yield writer
    finally:
        writer.close(flush_seconds)


def read_into(descriptor: int, found: list[str]) -> None:
    """Read lines until the other end is closed."""
    with os.fdopen(descriptor, encoding="utf-8") as file:
        found.extend(line.rstrip("\n") for line in file)


def test_lines_are_written_in_their_order_and_flushed_at_the_stop(tmp_path: Path) -> None:
    lines = [f"line {number} é" for number in range(20_000)]
    with (tmp_path / "log").open("wb") as file, writing_to(file.fileno()) as writer:
        for line in lines:
            writer.put(line)
    assert (tmp_path / "log").read_text(encoding="utf-8").splitlines() == lines
    assert writer.dropped == 0


def test_a_pipe_that_nobody_reads_blocks_neither_the_writer_nor_the_stop() -> None:
    reader, end = os.pipe()
    began = time.monotonic()
    with writing_to(end, max_bytes=100_000, flush_seconds=1) as writer:
        for number in range(50_000):
            writer.put(f"line {number:05}")
        assert time.monotonic() - began < 2
    assert writer.dropped > 20_000
    assert time.monotonic() - began < 4, "the flush has an end"
    os.close(reader)  # ends the write under way
    writer.close(20)  # before the number of the descriptor belongs to another file
    os.close(end)


def test_after_a_pause_of_the_reader_a_line_stands_in_the_place_of_those_that_were_lost() -> None:
    reader, end = os.pipe()
    found: list[str] = []
    reading = threading.Thread(target=read_into, args=(reader, found))
    early: list[str] = []
    with writing_to(end, max_bytes=20_000) as writer:
        while writer.dropped == 0:
            early.append(f"early {len(early):05}")
            writer.put(early[-1])
            time.sleep(0 if len(early) % 1000 else 0.15)  # some are under way when the queue is full
        reading.start()
        wait_until(lambda: gap(1) in found, "the reader gets what fitted")
        writer.put("late")
    os.close(end)
    reading.join(5)
    assert found[-2:] == [gap(1), "late"]
    assert found[:-2] == early[:-1]


@pytest.mark.parametrize(
    ("kind", "why"),
    [
        pytest.param("/dev/full", "No space left on device", id="a full disk"),
        pytest.param("closed", "Bad file descriptor", id="a closed descriptor"),
        pytest.param("reader gone", "Broken pipe", id="a reader that went away"),
        pytest.param("none", "there is no standard output", id="no standard output"),
    ],
)
def test_lines_that_cannot_be_written_are_counted_and_told_of_once_a_minute(
    kind: str, why: str, capfd: pytest.CaptureFixture[str]
) -> None:
    reader, end = os.pipe()
    os.close(reader)
    descriptor: int | None = {"reader gone": end, "closed": 999, "none": None}.get(kind, -1)
    if descriptor == -1:
        descriptor = os.open(kind, os.O_WRONLY)
    with writing_to(descriptor) as writer:
        for _ in range(3):
            for _ in range(100):
                writer.put("a line")
            time.sleep(0.15)
    os.close(end)
    assert writer.dropped == 300
    said = capfd.readouterr().err
    assert said.count("\n") == 1
    assert why in said


def test_a_descriptor_that_another_program_made_non_blocking_loses_nothing() -> None:
    reader, end = os.pipe()
    os.set_blocking(end, False)
    found: list[str] = []
    reading = threading.Thread(target=read_into, args=(reader, found))
    lines = [f"{number:05}" + "." * 100 for number in range(3 * PIPE_BYTES // 100)]
    with writing_to(end) as writer:
        for line in lines:
            writer.put(line)
        time.sleep(0.3)  # the pipe is full
        reading.start()
    os.close(end)
    reading.join(5)
    assert found == lines
    assert writer.dropped == 0


def test_lines_that_strangers_cause_get_half_of_the_queue() -> None:
    reader, end = os.pipe()
    found: list[str] = []
    with writing_to(end, max_bytes=20_000) as writer:
        writer.put("." * 2 * PIPE_BYTES)  # dropped: larger than the queue
        for _ in range(PIPE_BYTES // 1000 + 1):
            writer.put("." * 1000)
            time.sleep(0.01)  # the pipe is full, and nobody reads
        time.sleep(0.3)
        dropped = writer.dropped
        for number in range(200):
            writer.put(f"a stranger {number:03} {'.' * 100}", from_anybody=True)
        assert writer.dropped > dropped + 100
        dropped = writer.dropped
        for number in range(50):
            writer.put(f"a person {number:03} {'.' * 100}")
        assert writer.dropped == dropped
        reading = threading.Thread(target=read_into, args=(reader, found))
        reading.start()
    os.close(end)
    reading.join(5)
    assert sum(line.startswith("a person") for line in found) == 50


HALF_A_LINE = """
import resource, sys, time
from broker.log_writer import LineWriter
limit = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (1005, limit[1]))
writer = LineWriter(sys.stdout.fileno(), lambda count: f"{count} lost")
writer.put("." * 999)
writer.put("a line that does not fit")
time.sleep(0.4)
resource.setrlimit(resource.RLIMIT_FSIZE, limit)
writer.put("a later line")
writer.close()
"""


def test_a_line_cut_by_a_full_disk_does_not_spoil_the_next_line(tmp_path: Path) -> None:
    with (tmp_path / "log").open("wb") as file:
        subprocess.run([sys.executable, "-c", HALF_A_LINE], stdout=file, stderr=subprocess.DEVNULL, check=True)
    lines = (tmp_path / "log").read_text(encoding="utf-8").splitlines()
    assert lines == ["." * 999, "a lin", "a later line", "2 lost"]
