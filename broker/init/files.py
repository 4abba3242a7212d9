"""Write the settings file and its secrets: all files or none, readable by their owner alone.

The files are created in a new private folder and moved into place when they are complete. A rename replaces a link in
its way and never follows the link.
"""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

OWN_KEYS, SHARED_SECRET, CLIENT_SECRET = "broker-keys", "comm100-shared-secret", "client-secret"


@dataclass(frozen=True, slots=True)
class Place:
    """Where the files go: `config` is the settings file."""

    config: Path

    @property
    def folder(self) -> Path:
        """The folder of the settings file, absolute."""
        return self.config.absolute().parent

    @property
    def secrets(self) -> Path:
        """The folder of the secrets: each settings file has its own."""
        return self.folder / ("secrets" if self.config.name == "broker.yaml" else f"{self.config.name}.secrets")

    @property
    def files(self) -> tuple[Path, ...]:
        """Every file; the settings file is last, so that a reader of the settings finds the secrets."""
        secrets = (self.secrets / name for name in (OWN_KEYS, SHARED_SECRET, CLIENT_SECRET))
        return (*secrets, self.folder / self.config.name)

    def existing(self) -> tuple[Path, ...]:
        """Return the files that would be replaced, links included."""
        return tuple(file for file in self.files if os.path.lexists(file))


def why_unusable(place: Place) -> str:
    """Return why files cannot be written safely; empty if they can."""
    folder = place.folder
    if not folder.is_dir():
        return f"The folder {folder} does not exist. Create it first."
    if place.config.is_dir():
        return f"{place.config} is a folder. Name a file with --config."
    if not os.access(folder, os.W_OK | os.X_OK):
        return f"The folder {folder} is not writable."
    mode = folder.stat().st_mode
    if mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
        return (
            f"Everybody can write to {folder} and could replace the files. Remove that permission (chmod o-w), or name "
            "a file in another folder with --config."
        )
    return _why_untrusted(place.secrets) if os.path.lexists(place.secrets) else ""


@contextmanager
def staged(place: Place, text: str, secrets: Mapping[str, str]) -> Iterator[Path]:
    """Create all files aside, yield the new settings file, and move all files into place if the block ends well.

    Args:
        place: usable; its existing files are replaced.
        secrets: by file name.

    Raises:
        OSError: nothing was written.
    """
    staging = Path(tempfile.mkdtemp(prefix=".broker-init-", dir=place.folder))  # mode 0700
    try:
        new = Place(staging / "new" / place.config.name)
        new.folder.mkdir(mode=0o700)
        new.secrets.mkdir(mode=0o700)
        for name, secret in secrets.items():
            _create(new.secrets / name, f"{secret}\n")
        _create(new.config, text)
        yield new.config
        _move_all(new, place, staging)
    finally:
        shutil.rmtree(staging)


def _why_untrusted(secrets: Path) -> str:
    found = secrets.lstat()
    if not stat.S_ISDIR(found.st_mode):
        return f"{secrets} is not a folder, or is a link. Move it away."
    if found.st_uid != os.geteuid() or found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        return f"Others can write to {secrets}. Make yourself its only user (chmod 700), or move it away."
    return ""


def _create(file: Path, text: str) -> None:
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as opened:
        opened.write(text)
        opened.flush()
        os.fsync(descriptor)


def _move_all(new: Place, place: Place, staging: Path) -> None:
    """Put the new files in place, existing files aside; undo everything if that is interrupted."""
    if os.path.lexists(place.secrets):
        pairs = list(zip(new.files, place.files, strict=True))
    else:
        pairs = [(new.secrets, place.secrets), (new.files[-1], place.files[-1])]
    moves = []
    try:
        for number, (source, target) in enumerate(pairs):
            aside = [(target, staging / f"old-{number}")] if os.path.lexists(target) else []
            for move in (*aside, (source, target)):
                moves.append(move)  # first: an interrupt may come right after the rename
                move[0].rename(move[1])
    except BaseException:
        for source, target in reversed(moves):
            if os.path.lexists(target) and not os.path.lexists(source):
                target.rename(source)
        raise
