"""Reads the settings again when asked, and notices a changed settings file and changed files of secrets.

Settings that cannot be used change nothing: the service keeps the previous settings, and says so.
"""

from __future__ import annotations

import asyncio
import logging

from broker.app import Service
from broker.errors import Mistake, SettingsError
from broker.log import LOGGER, keep_addresses, write_event
from broker.settings import Fingerprint, Settings, SettingsSource, changes_between, secret_files

LOOK_SECONDS = 30.0  # between looks at the settings file, and at the files of secrets that nobody used meanwhile
PAUSE_SECONDS = 0.5  # after a reload; each takes some 100 ms of CPU
FIXED = ("listen", "operations_listen")  # settings of sockets, which are opened at the start
REMEDY_OF_REJECTED = (
    "Correct the file, then send SIGHUP. Until then the previous settings stay in use, and the next start will fail. "
    "`broker check --offline` lists every mistake."
)
REMEDY_OF_CHANGED = "Send SIGHUP to the process, or restart it, to apply the file."
REMEDY_OF_FIXED = "Restart the service to use the new value."


async def follow_settings(
    service: Service,
    source: SettingsSource,
    asked: asyncio.Event,
    seen: Fingerprint | None,
    *,
    look_seconds: float = LOOK_SECONDS,
    pause_seconds: float = PAUSE_SECONDS,
) -> None:
    """Reload the settings each time `asked` is set, and look at the file in between, until cancelled.

    One reload runs at a time. Signals that come during a reload cause one more reload.

    Args:
        seen: of the file before the service read it.
    """
    started_with = service.settings()
    while True:
        try:
            async with asyncio.timeout(look_seconds):
                await asked.wait()
        except TimeoutError:
            _look_at_secrets(service.settings())
            if (now := source.fingerprint()) != seen:
                seen = now
                await _check_file(service, source)
        else:
            asked.clear()
            seen = source.fingerprint()  # before reading: the next look then sees a change in between
            await _reload(service, source, started_with)
            await asyncio.sleep(pause_seconds)


def _look_at_secrets(settings: Settings) -> None:
    """Look at the file of each secret: the log then tells of a change before a sign-in needs the secret."""
    for is_rejected in secret_files(settings).values():
        is_rejected()


async def _reload(service: Service, source: SettingsSource, started_with: Settings) -> None:
    """Read the settings again, and use them if they can be used."""
    settings = await _load(service, source)
    if settings is None:
        return
    try:
        changes = await service.reload(settings)
    except Exception as reason:  # noqa: BLE001 - the previous settings stay in use
        _reject(service, reason)
        return
    service.metrics.set_settings_rejected(is_rejected=False)
    keep_addresses(keeps_addresses=settings.log_email == "plain")
    write_event("settings reloaded", changes.facts())
    for key in FIXED:
        if getattr(settings, key) != getattr(started_with, key):
            facts = {"setting": key, "in_use": str(getattr(started_with, key)), "remedy": REMEDY_OF_FIXED}
            write_event("setting needs a restart", facts, logging.WARNING)


async def _check_file(service: Service, source: SettingsSource) -> None:
    """Check a changed file without using it: a mistake shows now, and not at the next start."""
    settings = await _load(service, source)
    if settings is None:
        return
    service.metrics.set_settings_rejected(is_rejected=False)
    if changes := changes_between(service.settings(), settings):
        write_event("settings file changed", {**changes.facts(), "remedy": REMEDY_OF_CHANGED})


async def _load(service: Service, source: SettingsSource) -> Settings | None:
    """Return the settings as they are now; None, after the mistakes are logged, if they cannot be used."""
    try:
        return await asyncio.to_thread(source.load)
    except Exception as reason:  # noqa: BLE001 - a defect must not end the looks at the file
        _reject(service, reason)
        return None


def _reject(service: Service, reason: Exception) -> None:
    """Say why the settings cannot be used, with every mistake."""
    service.metrics.set_settings_rejected(is_rejected=True)
    match reason:
        case SettingsError():
            mistakes = reason.mistakes
        case OSError():  # such as too many open files
            mistakes = (Mistake("settings", f"cannot be used now ({reason.strerror})", "send SIGHUP again"),)
        case _:
            LOGGER.error("defect", exc_info=reason)
            mistakes = (Mistake("settings", "cannot be used because of a defect of the broker", "report it"),)
    facts = {
        "mistakes": [f"{each.path}: {each.problem} (for example: {each.example})" for each in mistakes],
        "count": len(mistakes),
        "remedy": REMEDY_OF_REJECTED,
    }
    write_event("settings file rejected", facts, logging.ERROR)
