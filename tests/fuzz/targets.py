"""The parsers that read what others write, by name; each has a folder of inputs of that name in `corpus`."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

TARGETS = ("redirect_url", "person", "cookies", "state", "id_token", "documents", "request", "answer")
CORPUS = Path(__file__).with_name("corpus")


Judging = AbstractContextManager[Callable[[bytes], None]]


def load(target: str) -> Judging:
    """Give what judges one input; imported only now, for the fuzzer must see the broker being imported."""
    validation: Callable[[], Judging] = importlib.import_module(f"tests.fuzz.{target}").validation
    return validation()
