"""Writes docs/reliability.md: one line a row, how it was measured, and versions."""

from __future__ import annotations

import datetime as dt
import os
import platform
import subprocess
from collections.abc import Sequence
from importlib import metadata

from tests.chaos.row import Result
from tests.proxies.running import PATH

METHOD = """\
- Everything is a real process on one machine: replicas of the broker, two OpenID providers (a and b), nginx or HAProxy
  of Debian, and the people. The providers speak TLS and sign RS256.
- A fault hits only the back channel of provider a: discovery, keys, token and userinfo. Its page for browsers works.
- Three replicas stand behind the proxy where the row says nothing else. nginx is configured as in
  [capacity](admin/capacity.md), HAProxy asks `/readyz` twice a second.
- 40 people sign in each second, half of them at each provider. Each has a browser with its own address and cookies,
  and spends 0.3 s at the provider. A sign-in counts only if Comm100 accepts its token.
- Times are those of the people: the waiting in all steps of a sign-in together, without the 0.3 s.
- Clocks and names: a small library is preloaded into the replicas. It moves the clock of a replica, and decides what
  a lookup of the provider's name gives. Names are not asked from a real name server.
- Bursts and the soak run the broker from its wheel, with the Python of the [benchmark](performance.md), and use its
  stub provider and load generator, both in C. Replica and load have a core each.
- A bold figure is not as it must be.
"""


def page(results: Sequence[Result], command: str) -> str:
    """Return the page in Markdown."""
    held = sum(result.verdict == "held" for result in results)
    parts = (
        "# Reliability\n",
        "For operators: what does a fault cost the people who sign in?\n",
        f"`{command}` wrote this page on {dt.datetime.now(dt.UTC):%Y-%m-%d}.",
        f"{held} of {len(results)} rows held.\n",
        "## How it is measured\n",
        METHOD,
        f"Machine: {platform.processor() or platform.machine()}, {os.cpu_count()} cores, Linux {platform.release()}.",
        f"Versions: {_versions()}.\n",
        "## Every row\n",
        "| row | what happens | what must hold | verdict | figures |",
        "| --- | --- | --- | --- | --- |",
        *map(_line, results),
        "",
    )
    return "\n".join(parts)


def _line(result: Result) -> str:
    row = result.row
    verdict = result.verdict if result.verdict == "held" else f"**{result.verdict}**"
    cells = (row.number, row.name, row.must, verdict, result.figures)
    return f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |"


def _versions() -> str:
    libraries = (f"{name} {metadata.version(name)}" for name in ("uvicorn", "starlette", "cryptography"))
    return ", ".join([f"Python {platform.python_version()}", *libraries, _first_line("nginx", "-v"), _haproxy()])


def _haproxy() -> str:
    return " ".join(_first_line("haproxy", "-v").split()[:3])


def _first_line(*command: str) -> str:
    environment = {**os.environ, "PATH": PATH}
    found = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    return (found.stdout + found.stderr).splitlines()[0].removeprefix("nginx version: ")
