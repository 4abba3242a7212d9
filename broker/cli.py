"""Runs the command line; `broker serve` starts without loading the library of the command line."""

from __future__ import annotations

import sys
from pathlib import Path

from broker import start


def main() -> None:
    """Run the command line."""
    match sys.argv[1:]:
        case ["serve"]:
            start.serve(None)
        case ["serve", start.CONFIG_OPTION, file] if not file.startswith("-"):
            start.serve(Path(file))
        case _:  # also every other way to write `serve`, and its help
            from broker.commands import app

            app()
