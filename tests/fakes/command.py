"""The command line, run inside the test's own process."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from typer.testing import CliRunner, Result

from broker.cli import app


def run(*arguments: str, folder: Path | None = None, stdin: str | bytes = "", **environment: str) -> Result:
    """Run a command in a folder, with these variables and none of whoever runs the tests."""
    inherited = dict.fromkeys(name for name in os.environ if name.startswith("BROKER_"))
    with contextlib.chdir(folder) if folder else contextlib.nullcontext():
        return CliRunner().invoke(
            app, list(arguments), input=stdin, env={**inherited, **environment}, prog_name="broker"
        )
