"""Keeps the last good metadata and keys of all providers in a file, for a start while a provider does not answer.

The file has public data only. Who can write it can choose the keys of a provider, so only a file that no other user can
write is used, and each entry passes the checks of a provider's answer.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import stat
import tempfile
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

from broker.errors import BrokerError
from broker.oidc.discovery import Clock, Stored
from broker.oidc.messages import JsonObject, read_json_object
from broker.oidc.registration import Registration
from broker.providers import Provider
from broker.signing import CLOCK_LEEWAY

MAX_BYTES = 8 * 1024 * 1024
MAX_AGE_SECONDS = 7 * 86400.0  # since a document was fetched
WRITE_SECONDS = 60.0  # between two writes
MAX_LEVELS = 10  # of nested values; an entry of the broker has 6
LOOK_SECONDS = 1.0  # between two looks whether a document changed
_MARK = b'{"comm100_sso_snapshot": 1'  # with the version of the form
_OTHER_FILE = "Set snapshot_file to a path of its own."
_WRITABLE = "Make the folder, let the broker's user write there, or free space on the volume."
_REMOVE = "Remove the file. A running broker writes a new one."
_OWN_FOLDER = "Let the broker's user own the folder and the file, and no other user write the file."

Entries = dict[str, JsonObject]
Facts = Mapping[str, object]

_log = logging.getLogger("broker")


class SnapshotUnusable(Exception):
    """The file is not used.

    Args:
        replaceable: the file is a snapshot, so that a new snapshot may take its place.
    """

    def __init__(self, *, expected: str, got: str, remedy: str, replaceable: bool) -> None:
        super().__init__(got)
        self.replaceable = replaceable
        self.facts: Facts = {"expected": expected, "got": got, "remedy": remedy}


class Snapshot:
    """The snapshot file of one service.

    Attributes:
        written: when this process last wrote the file, in seconds since the epoch; 0 before.
        is_rejected: the file, an entry of it, or the last attempt to write it was refused.
    """

    def __init__(self, file: Path, clock: Clock) -> None:
        self._file = file
        self._clock = clock
        self._attempted: float | None = None
        self._kept: dict[str, tuple[float, float]] = {}
        self._announced: dict[str, bool] = {}
        self._last_fault: Facts | None = None
        self.written = 0.0
        self.is_rejected = False

    async def restore(self, providers: Iterable[Provider]) -> None:
        """Give each provider the documents of the file, for as long as no fetch succeeds."""
        try:
            entries = await asyncio.to_thread(read_snapshot, self._file)
        except SnapshotUnusable as unusable:
            self._reject(unusable.facts)
            return
        now = self._clock()
        for provider in providers:
            discovery = provider.discovery
            if provider.id not in entries or (discovery.metadata.peek() and discovery.keys.peek()):
                continue  # a reload kept newer documents
            await asyncio.sleep(0)  # reading the keys takes a millisecond, and sign-ins may wait
            try:
                _restore_entry(provider, entries[provider.id], now)
            except SnapshotUnusable as unusable:
                self._reject({"provider": provider.id, **unusable.facts})

    async def keep(self, providers: Iterable[Provider]) -> NoReturn:
        """Look every second whether the file has to be written."""
        every = tuple(providers)
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            try:
                await self.look(every)
            except Exception as defect:  # noqa: BLE001 - a defect must not end this task
                _log.error("defect", exc_info=defect)

    async def look(self, providers: Iterable[Provider]) -> None:
        """Write the file if a document changed, at most once in `WRITE_SECONDS`; log whose snapshot is in use."""
        every = tuple(providers)
        for provider in every:
            self._announce(provider)
        await self._write_if_due(every)

    def _announce(self, provider: Provider) -> None:
        """Log once that a provider's snapshot is in use, after the provider did not answer, and that it got too old."""
        discovery = provider.discovery
        age = discovery.snapshot_age
        failure = discovery.metadata.failure or discovery.keys.failure
        was_in_use = self._announced.get(provider.id, False)
        if age is not None and failure is not None and not was_in_use:
            facts = {"provider": provider.id, "age_seconds": round(age), "code": failure.code, "got": failure.got}
            _log.warning("snapshot in use", extra={"facts": {**facts, "remedy": failure.remedy}})
        elif age is None and was_in_use and discovery.metadata.peek() is None:
            facts = {"provider": provider.id, "max_age_seconds": round(MAX_AGE_SECONDS)}
            _log.error("snapshot is too old", extra={"facts": facts})
        self._announced[provider.id] = age is not None and (was_in_use or failure is not None)

    async def _write_if_due(self, providers: Iterable[Provider]) -> None:
        live = [provider for provider in providers if _is_live(provider)]
        fetched = {each.id: (each.discovery.metadata.fetched, each.discovery.keys.fetched) for each in live}
        now = self._clock()
        too_early = self._attempted is not None and 0 <= now - self._attempted < WRITE_SECONDS
        if fetched == self._kept or too_early:
            return
        self._attempted = now
        own = {provider.id: _entry_of(provider) for provider in live}
        try:
            await asyncio.to_thread(_merge_and_write, self._file, own, now)
        except SnapshotUnusable as unusable:
            self._reject(unusable.facts)
        except OSError as error:
            reason = error.strerror or "no reason given"
            self._reject({"expected": "a file that can be written", "got": reason, "remedy": _WRITABLE})
        else:
            self._kept, self.written = fetched, now
            self.is_rejected, self._last_fault = False, None

    def _reject(self, facts: Facts) -> None:
        self.is_rejected = True
        if facts != self._last_fault:
            _log.warning("snapshot file rejected", extra={"facts": {"file": str(self._file), **facts}})
        self._last_fault = facts


# -------------------- entries


def _is_live(provider: Provider) -> bool:
    """Tell whether the provider itself gave both documents to this process."""
    documents = (provider.discovery.metadata, provider.discovery.keys)
    return all(document.peek() is not None and not document.is_restored for document in documents)


def _entry_of(provider: Provider) -> JsonObject:
    """Return the documents of a provider as the broker understood them, and for which settings they hold."""
    metadata, keys = provider.discovery.metadata, provider.discovery.keys
    known_metadata, known_keys = metadata.peek(), keys.peek()
    return {
        "settings": _settings_of(provider.registration),
        "metadata": {"fetched": metadata.fetched, "document": known_metadata and known_metadata.as_document()},
        "keys": {"fetched": keys.fetched, "document": known_keys and known_keys.as_document()},
    }


def _settings_of(registration: Registration) -> JsonObject:
    """Return the settings that an entry belongs to: with others, it is not used."""
    return {
        "issuer": registration.issuer,
        "metadata_issuer": registration.metadata_issuer,
        "metadata_url": registration.metadata_url,
        "client_id": registration.client_id,
    }


def _restore_entry(provider: Provider, entry: JsonObject, now: float) -> None:
    """Give a provider the documents of its entry.

    Raises:
        SnapshotUnusable: the entry is invalid or comes from the future.
    """
    metadata, keys = _stored(entry.get("metadata")), _stored(entry.get("keys"))
    if metadata is None or keys is None:
        raise _broken("an entry with metadata and keys, each with the time of its fetch", "another form")
    if max(metadata.fetched, keys.fetched) > now + CLOCK_LEEWAY:
        remedy = "Synchronise the clocks of this machine and of the machine that wrote the file."
        expected, got = "a document fetched in the past", "a time in the future"
        raise SnapshotUnusable(expected=expected, got=got, remedy=remedy, replaceable=True)
    if entry.get("settings") != _settings_of(provider.registration):
        _skip(provider, "made with other settings")
        return
    if min(metadata.fetched, keys.fetched) <= now - MAX_AGE_SECONDS:
        _skip(provider, "older than 7 days")
        return
    try:
        provider.discovery.restore(metadata, keys, max_age=MAX_AGE_SECONDS)
    except BrokerError as error:
        raise _broken(str(error.expected), str(error.got)) from None


def _skip(provider: Provider, reason: str) -> None:
    _log.info("snapshot is not used", extra={"facts": {"provider": provider.id, "reason": reason}})


def _stored(part: object) -> Stored | None:
    """Return a document of the file, or None if the part has another form."""
    if not isinstance(part, dict):
        return None
    document, fetched = part.get("document"), part.get("fetched")
    if not isinstance(document, dict) or not isinstance(fetched, float | int) or isinstance(fetched, bool):
        return None
    return Stored(document, float(fetched)) if 0 < fetched < 1e11 else None


def _is_recent(entry: JsonObject, now: float) -> bool:
    metadata, keys = _stored(entry.get("metadata")), _stored(entry.get("keys"))
    return metadata is not None and keys is not None and 0 <= now + CLOCK_LEEWAY - keys.fetched < MAX_AGE_SECONDS


# -------------------- the file


def read_snapshot(file: Path) -> Entries:
    """Return the entries of a snapshot file by provider, unverified; none if the file does not exist.

    Raises:
        SnapshotUnusable: the file is not a snapshot, may be written by others, or is broken.
    """
    try:
        with open(file, "rb", opener=_open_warily) as opened:
            return _read_opened(opened)
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        got = "a symbolic link" if file.is_symlink() else getattr(error, "strerror", None) or "no usable path"
        expected = "a file that can be read"
        raise SnapshotUnusable(expected=expected, got=got, remedy=_OTHER_FILE, replaceable=False) from None


def _open_warily(path: str, flags: int) -> int:
    """Open a file, but not through a symbolic link, and without waiting for the other end of a pipe."""
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK)


def _read_opened(opened: BinaryIO) -> Entries:
    status = os.fstat(opened.fileno())
    start = opened.read(len(_MARK)) if stat.S_ISREG(status.st_mode) else b""
    if not stat.S_ISREG(status.st_mode) or (start != _MARK and status.st_size):
        raise SnapshotUnusable(expected="a snapshot", got="another file", remedy=_OTHER_FILE, replaceable=False)
    if status.st_uid not in (0, os.geteuid()):
        got = f"user {status.st_uid}"
        raise SnapshotUnusable(expected="the broker's user as owner", got=got, remedy=_OWN_FOLDER, replaceable=True)
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        expected, got = "a file that no other user can write", f"mode {stat.S_IMODE(status.st_mode):04o}"
        raise SnapshotUnusable(expected=expected, got=got, remedy=_OWN_FOLDER, replaceable=True)
    if status.st_size > MAX_BYTES:
        raise _broken(f"at most {MAX_BYTES} bytes", f"{status.st_size} bytes")
    return _entries_in(start + opened.read(MAX_BYTES))


def _entries_in(raw: bytes) -> Entries:
    try:
        providers = read_json_object(raw).get("providers")
    except BrokerError as error:
        raise _broken(str(error.expected), str(error.got)) from None
    if not isinstance(providers, dict) or not all(isinstance(entry, dict) for entry in providers.values()):
        raise _broken("providers: an object of objects", "another form")
    if _is_deeper(providers, MAX_LEVELS):
        raise _broken(f"providers: at most {MAX_LEVELS} levels", "more levels")
    return providers


def _is_deeper(value: object, levels: int) -> bool:
    """Tell whether a value is nested deeper; Python can read some values that it cannot write."""
    if not isinstance(value, dict | list):
        return False
    inner = value.values() if isinstance(value, dict) else value
    return levels == 0 or any(_is_deeper(one, levels - 1) for one in inner)


def _broken(expected: str, got: str) -> SnapshotUnusable:
    return SnapshotUnusable(expected=expected, got=got, remedy=_REMOVE, replaceable=True)


def _merge_and_write(file: Path, own: Entries, now: float) -> None:
    """Write the entries, and keep recent entries of other processes for other providers.

    Raises:
        SnapshotUnusable: the path has another file, which must not be overwritten.
        OSError: the file cannot be written.
    """
    try:
        others = read_snapshot(file)
    except SnapshotUnusable as unusable:
        if not unusable.replaceable:
            raise
        others = {}
    recent = {identifier: entry for identifier, entry in others.items() if _is_recent(entry, now)}
    text = _text_of(recent | own)
    if len(text) > MAX_BYTES:
        text = _text_of(own)
    if len(text) > MAX_BYTES:
        raise _broken(f"at most {MAX_BYTES} bytes", f"{len(text)} bytes")
    _replace(file, text)


def _text_of(entries: Entries) -> bytes:
    document: dict[str, Any] = {"comm100_sso_snapshot": 1, "providers": entries}
    return json.dumps(document).encode()


def _replace(file: Path, text: bytes) -> None:
    """Write a file in one step, so that a reader never sees half of it; only its owner may read and write it."""
    descriptor, name = tempfile.mkstemp(prefix=f".{file.name}.", dir=file.parent)
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as opened:
            opened.write(text)
            opened.flush()
            os.fsync(opened.fileno())
        temporary.replace(file)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise
