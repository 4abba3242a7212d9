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

    def render(self, values: Mapping[str, Any], *, kubernetes: str = ..., notes: bool = ...) -> str:
        """Return the manifest, hooks included, or only the notes."""
        ...


class Helm3:
    """The program."""

    def render(self, values: Mapping[str, Any], *, kubernetes: str = "1.30", notes: bool = False) -> str:
        """Render as `helm template` does; raise Refused if it does not."""
        extra = ("--notes",) if notes else ()
        done = attempt(
            "helm", "template", RELEASE, CHART, "--namespace", NAMESPACE, "--kube-version", f"{kubernetes}.0",
            "--values", "-", *extra, text=yaml.safe_dump(dict(values)),
        )  # fmt: skip
        if done.returncode:
            raise Refused(done.stderr)
        return done.stdout.partition("\nNOTES:\n")[2] if notes else done.stdout


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

    def render(self, values: Mapping[str, Any], *, kubernetes: str = "1.30", notes: bool = False) -> str:  # noqa: ARG002
        """Render; the engine's offline rendering has one version of Kubernetes, its own."""
        files: dict[str, str] = self.ask(
            action="render", chart=str(CHART), values=dict(values), name=RELEASE, namespace=NAMESPACE
        )
        if notes:
            return next(text for name, text in files.items() if name.endswith("NOTES.txt"))
        return "\n---\n".join(text for name, text in sorted(files.items()) if name.endswith(".yaml"))


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
