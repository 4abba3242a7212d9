"""Drives the load generator and the probe."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote, urlsplit

from tests.benchmarks.contestants import Running
from tests.benchmarks.programs import Programs
from tests.benchmarks.stub import CLIENT_ID, CLIENT_SECRET, Stub

REDIRECT_URL = "https://dash11.comm100.example/agentconsole?queue=vip"

Way = Literal["closed", "rate"]


@dataclass(frozen=True)
class Run:
    """The result of one run; latencies are milliseconds from the moment a sign-in was due.

    Args:
        seconds: From the first request to the last response.
        opened: Connections opened meanwhile.
        most_under_way: The most sign-ins at once.
        failed: Counts by status or by what happened.
        example: The head of the first wrong response.
    """

    planned: int
    succeeded: int
    seconds: float
    p50: float
    p99: float
    max: float
    opened: int
    most_under_way: int
    failed: Mapping[str, int] = field(default_factory=dict)
    example: str = ""

    @property
    def per_second(self) -> float:
        """Return the successes a second."""
        return self.succeeded / self.seconds if self.seconds else 0.0

    def expect_all(self, what: str) -> Run:
        """Return the run if nothing failed: figures of sign-ins that fail mean nothing.

        Raises:
            RuntimeError: something failed.
        """
        if self.succeeded != self.planned:
            failed = self.planned - self.succeeded
            raise RuntimeError(f"{what}: {failed} of {self.planned} failed: {dict(self.failed)} {self.example}")
        return self


class Load:
    """A running load generator."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def plan(self, count: int) -> None:
        """Forget all sign-ins and plan new ones."""
        self._command(f"new {count}")

    def run(self, steps: str, way: Way, value: float, *, limit: float = 120.0) -> Run:
        """Take the steps with all planned sign-ins; c/load.c names the letters.

        Args:
            value: The connections of a closed loop, or the sign-ins a second.
            limit: Seconds; what is unfinished then has failed.
        """
        return Run(**self._command(f"run {steps} {way} {value} limit={limit}"))

    def _command(self, line: str) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise RuntimeError("the load generator ended")
        found: dict[str, Any] = json.loads(answer)
        return found


@contextmanager
def loading(
    programs: Programs, stub: Stub, running: Running, core: int, *, location: str, jwt: bool = True
) -> Iterator[Load]:
    """Run a load generator for one product while the block runs.

    Args:
        location: What the address begins with that a callback redirects to.
        jwt: The address must carry a token.
    """
    address = urlsplit(running.login_url)
    arguments: dict[str, object] = {
        "port": address.port,
        "path": f"{address.path}?redirect_url={quote(REDIRECT_URL, safe='')}",
        "endpoint": location,
        "jwt": int(jwt),
        "provider": stub.port,
        "control": stub.control,
        "client_id": CLIENT_ID,
        "client_secret": CLIENT_SECRET,
    }
    if stub.ca_file is not None:
        arguments["ca_file"] = stub.ca_file
    command = [str(programs.load), *(f"{name}={value}" for name, value in arguments.items())]
    with _piped(command, core) as process:
        yield Load(process)


@dataclass(frozen=True)
class Stalls:
    """How long a server's event loop let a request wait, in milliseconds."""

    asked: int
    longest: float
    mean: float
    over_5_ms: int


class Probe:
    """A running probe."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def stop(self) -> Stalls:
        """End the probe and return what it saw."""
        output, _ = self._process.communicate(timeout=60)
        return Stalls(**json.loads(output))


@contextmanager
def probing(programs: Programs, port: int, path: str, interval: int, core: int) -> Iterator[Probe]:
    """Ask one address again after each interval (milliseconds) while the block runs."""
    command: list[str | Path] = [programs.probe, f"port={port}", f"path={path}", f"interval={interval}"]
    with _piped(list(map(str, command)), core) as process:
        yield Probe(process)


@contextmanager
def _piped(command: list[str], core: int) -> Iterator[subprocess.Popen[str]]:
    pinned = ["taskset", "--cpu-list", str(core), *command]
    with subprocess.Popen(pinned, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()
