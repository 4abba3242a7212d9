"""The files that are written: all of them or none, for their owner alone from their first moment.

It owns how files come into being. They are made in a folder of their own beside the place they belong to, with names
nobody can have put there before, and moved when they are complete; a link in the way is replaced, never followed.
"""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from broker.init.settings_text import CLIENT_SECRET, OWN_KEYS, SECRETS_FOLDER, SHARED_SECRET


@dataclass(frozen=True, slots=True)
class Place:
    """Where the files go.

    Args:
        config: the settings file; the folder of secrets is beside it.
    """

    config: Path

    @property
    def folder(self) -> Path:
        """The folder of both."""
        return self.config.absolute().parent

    @property
    def secrets(self) -> Path:
        """The folder of secrets."""
        return self.folder / SECRETS_FOLDER

    @property
    def files(self) -> tuple[Path, ...]:
        """Every file, the settings last: whoever sees them finds the secrets as well."""
        return (
            *(self.secrets / name for name in (OWN_KEYS, SHARED_SECRET, CLIENT_SECRET)),
            self.folder / self.config.name,
        )


def why_unusable(place: Place) -> str:
    """Return why nothing can be written there; empty if it can.

    Args:
        place: not looked at before.
    """
    if not place.folder.is_dir():
        return f"The folder {place.folder} does not exist: make it first."
    if place.config.is_dir():
        return f"{place.config} is a folder: name the file with --config."
    if not os.access(place.folder, os.W_OK | os.X_OK):
        return f"The folder {place.folder} cannot be written to."
    mode = place.folder.stat().st_mode
    if mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
        return (
            f"Everybody can write to {place.folder}, and put other files in the place of these: take that away "
            "(chmod o-w), or name a file in another folder with --config."
        )
    return _why_untrusted(place.secrets) if os.path.lexists(place.secrets) else ""


def already_there(place: Place) -> tuple[Path, ...]:
    """Return the files that would be replaced; a link counts, wherever it leads.

    Args:
        place: that can be used.
    """
    return tuple(file for file in place.files if os.path.lexists(file))


def write(place: Place, text: str, secrets: Mapping[str, str], *, check: Callable[[Path], object]) -> None:
    """Write all files, or none.

    Args:
        place: that can be used; files that are there are replaced.
        text: of the settings file.
        secrets: by file name.
        check: looks at the settings file before anything is replaced, and raises if it cannot be used.

    Raises:
        OSError: nothing was written.
    """
    staging = Path(tempfile.mkdtemp(prefix=".broker-init-", dir=place.folder))  # for its owner alone
    try:
        made = Place(staging / "new" / place.config.name)
        made.folder.mkdir(mode=0o700)
        made.secrets.mkdir(mode=0o700)
        for name, secret in secrets.items():
            _create(made.secrets / name, f"{secret}\n")
        _create(made.config, text)
        check(made.config)
        _move(made, place, aside=staging)
    finally:
        shutil.rmtree(staging)


def _why_untrusted(secrets: Path) -> str:
    found = secrets.lstat()
    if not stat.S_ISDIR(found.st_mode):
        return f"{secrets} is no folder, or a link to one: move it out of the way."
    if found.st_uid != os.geteuid() or found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        return f"Others can write to {secrets}: make it yours alone (chmod 700), or move it out of the way."
    return ""


def _create(file: Path, text: str) -> None:
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as opened:
        opened.write(text)
        opened.flush()
        os.fsync(descriptor)


def _move(made: Place, place: Place, *, aside: Path) -> None:
    undo: list[tuple[Path, Path]] = []

    def move(source: Path, target: Path) -> None:
        undo.append((target, source))  # before: an interrupt may come right after
        source.rename(target)

    try:
        if os.path.lexists(place.secrets):
            pairs = list(zip(made.files, place.files, strict=True))
        else:
            pairs = [(made.secrets, place.secrets), (made.files[-1], place.files[-1])]
        for number, (source, target) in enumerate(pairs):
            if os.path.lexists(target):
                move(target, aside / f"old-{number}")
            move(source, target)
    except BaseException:
        for where, origin in reversed(undo):
            if os.path.lexists(where) and not os.path.lexists(origin):
                where.rename(origin)
        raise
