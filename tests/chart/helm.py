"""Helm 3, the program, and Helm 4, the engine: both render, and say why they refuse.

Helm 4's engine is a native library: it runs in a process of its own (helm4.py), which this file starts once.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol

import yaml

from tests.chart.tools import CHART, ENVIRONMENT, HERE, ROOT, attempt

RELEASE, NAMESPACE = "sso", "identity"


class Refused(Exception):
    """Helm rendered nothing; the text says why."""


class Renders(Protocol):
    """What both can do."""

    def render(self, values: Mapping[str, Any], *, kubernetes: str = ...) -> str:
        """Return the manifest, hooks included."""
        ...


class Helm3:
    """The program."""

    def render(self, values: Mapping[str, Any], *, kubernetes: str = "1.30") -> str:
        """Render as `helm template` does; raise Refused if it does not."""
        done = attempt(
            "helm", "template", RELEASE, CHART, "--namespace", NAMESPACE, "--kube-version", f"{kubernetes}.0",
            "--values", "-", text=yaml.safe_dump(dict(values)),
        )  # fmt: skip
        if done.returncode:
            raise Refused(done.stderr)
        return done.stdout


class Helm4:
    """The engine, in its process.

    Args:
        process: helm4.py.
    """

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def ask(self, **request: Any) -> Any:
        """Ask for one action and return its result; raise Refused if there is none."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline())
        if "refused" in answer:
            raise Refused(answer["refused"])
        return answer["result"]

    def render(self, values: Mapping[str, Any], *, kubernetes: str = "") -> str:  # noqa: ARG002 - it has its own
        """Render offline; raise Refused if it does not."""
        files = self._render(values)
        return "\n---\n".join(text for name, text in sorted(files.items()) if name.endswith(".yaml"))

    def notes(self, values: Mapping[str, Any]) -> str:
        """Render what is printed after an install, which Helm 3 does in a cluster only."""
        return next(text for name, text in self._render(values).items() if name.endswith("NOTES.txt"))

    def _render(self, values: Mapping[str, Any]) -> dict[str, str]:
        files: dict[str, str] = self.ask(
            action="render", chart=str(CHART), values=dict(values), name=RELEASE, namespace=NAMESPACE
        )
        return files


@contextmanager
def helm4() -> Iterator[Helm4]:
    """Run the engine."""
    with subprocess.Popen(
        [ENVIRONMENT / "bin/python", HERE / "helm4.py"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT,
    ) as process:  # fmt: skip
        yield Helm4(process)
        assert process.stdin
        process.stdin.close()
