"""Starts the service: finds the settings file, reads the settings and serves.

This module does not load the command-line library, so that the service does not need its memory.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType, ModuleType
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from broker.settings import Settings, SettingsSource

CONFIG_OPTION = "--config"
EXIT_UNUSABLE = 2
EXIT_FAILED = 1


def serve(config: Path | None) -> None:
    """Run the service until SIGTERM or Ctrl-C.

    Raises:
        SystemExit: the settings cannot be used (2), or the service cannot start (1).
    """
    for number in (signal.SIGTERM, signal.SIGINT):  # until the service handles signals itself: loading takes a while
        signal.signal(number, _stop)
    for number in (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, signal.SIG_IGN)
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")  # no plugin of another package reads the secrets
    with _without_command_lines():
        from broker import log, server

    source = settings_source(config)
    seen = source.fingerprint()  # before reading: the service then sees a change in between
    settings = _read(source)
    writer = log.log_to(sys.stdout, keeps_addresses=settings.log_email == "plain")
    try:
        server.serve(settings, source, seen, lost_log_lines=lambda: writer.dropped)
    except OSError as error:
        print(f"The service cannot start: {error.strerror or error}", file=sys.stderr)
        raise SystemExit(EXIT_FAILED) from None
    finally:
        writer.close()


def read_settings(config: Path | None) -> Settings:
    """Load the settings, or print all mistakes and exit.

    Raises:
        SystemExit: the settings cannot be used.
    """
    return _read(settings_source(config))


def settings_source(config: Path | None) -> SettingsSource:
    """Return the file of the settings, if there is one, and the environment."""
    from broker.settings import SettingsSource

    return SettingsSource(settings_file(config), os.environ)


def _read(source: SettingsSource) -> Settings:
    from broker.errors import SettingsError
    from broker.settings import describe

    try:
        return source.load()
    except SettingsError as error:
        print(describe(error), end="", file=sys.stderr)
        raise SystemExit(EXIT_UNUSABLE) from None


def settings_file(config: Path | None) -> Path | None:
    """Return the file of `--config`, else of $BROKER_CONFIG, else ./broker.yaml if it exists."""
    if config is not None:
        return config
    if named := os.environ.get("BROKER_CONFIG"):
        return Path(named)
    usual = Path("broker.yaml")
    return usual if usual.exists() else None


@contextmanager
def _without_command_lines() -> Iterator[None]:
    """Let libraries load without command lines of their own, which bring click, rich and pygments.

    httpx has none if click is not installed. uvicorn's package always imports its own, `uvicorn.main`.
    """
    uvicorn_main = ModuleType("uvicorn.main")
    vars(uvicorn_main).update(Server=None, main=None, run=None)
    stand_ins: dict[str, Any] = {"click": None, "uvicorn.main": uvicorn_main}
    hidden = {name: module for name, module in stand_ins.items() if name not in sys.modules}
    sys.modules.update(hidden)
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]


def _stop(number: int, _frame: FrameType | None) -> NoReturn:
    """End the process at once: nothing is open yet, and an exception could be swallowed, such as by an import."""
    os._exit(0 if number == signal.SIGTERM else 128 + number)
