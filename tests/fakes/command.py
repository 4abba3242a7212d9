"""The command line, run inside the test's own process."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path

from typer.testing import CliRunner, Result

from broker.commands import app


def run(*arguments: str, folder: Path | None = None, stdin: str | bytes = "", **environment: str) -> Result:
    """Run a command in a folder, with these variables and none of whoever runs the tests."""
    inherited = dict.fromkeys(name for name in os.environ if name.startswith("BROKER_"))
    with signals_kept(), contextlib.chdir(folder) if folder else contextlib.nullcontext():
        return CliRunner().invoke(
            app, list(arguments), input=stdin, env={**inherited, **environment}, prog_name="broker"
        )


@contextlib.contextmanager
def signals_kept() -> Iterator[None]:
    """Undo what `broker serve` does to the signals of the process."""
    before = {number: signal.getsignal(number) for number in signal.valid_signals()}
    try:
        yield
    finally:
        for number, handler in before.items():
            if signal.getsignal(number) is not handler:  # only the main thread may set a handler
                signal.signal(number, handler)
