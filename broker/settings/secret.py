"""Secrets: values that are used but never shown, and the files they may live in.

It owns when a file is read again. It knows no key of the settings; what a secret must be like is `strength`'s.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Generic, NoReturn, TypeVar

from broker.oidc.client_assertion import AssertionKey
from broker.settings.invalid_value import CannotBeRead, InvalidValue

T = TypeVar("T")
_LARGEST = 64 * 1024  # bytes; no secret is longer, and a path like /dev/zero must not hang us
_BETWEEN_LOOKS = 1.0  # seconds

_log = logging.getLogger("broker.settings")


class _Hidden(Generic[T]):
    """A value behind a function, that no repr, log, pickle or dump shows."""

    __slots__ = ("_value",)

    def __init__(self, value: Callable[[], T]) -> None:
        self._value = value

    def reveal(self) -> T:
        """Return the value as it is now; ask again for every use, it may be rotated."""
        return self._value()

    @property
    def is_in_file(self) -> bool:
        """Whether it came from a file, which is read again."""
        return isinstance(self._value, WatchedFile)

    def is_rejected(self) -> bool:
        """Return whether its file now holds what cannot be used, so that the previous value stays."""
        return isinstance(self._value, WatchedFile) and self._value.is_rejected()

    def __repr__(self) -> str:
        return f"{type(self).__name__}(hidden)"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret is not written down")


class Secret(_Hidden[str]):
    """One secret text; `reveal()` returns it.

    Args:
        value: called at every `reveal()`.
    """

    __slots__ = ()


class SecretKeys(_Hidden[tuple[str, ...]]):
    """The broker's own keys; `reveal()` returns them newest first.

    Args:
        value: called at every `reveal()`.
    """

    __slots__ = ()


class PrivateKey(_Hidden[AssertionKey]):
    """The key we prove ourselves with at a provider; `reveal()` returns it, ready to sign.

    Args:
        value: called at every `reveal()`.
    """

    __slots__ = ()


class WatchedFile(Generic[T]):
    """A file whose value is read again when the file changes; the last good value stays when the new one is not.

    Args:
        path: the file.
        read: makes the value from the file's text, or raises Unusable.
        clock: seconds, monotonic.

    Raises:
        InvalidValue: the file cannot be read, or its value cannot be used, now at the start.
    """

    def __init__(self, path: Path, read: Callable[[str], T], clock: Callable[[], float] = time.monotonic) -> None:
        self._path = path
        self._read = read
        self._clock = clock
        self._looked_at = clock()
        self._seen = _fingerprint(path)  # before reading: a change in between is then seen at the next look
        self._good = read(read_text(path))
        self._rejected = False

    def __call__(self) -> T:
        """Return the value, as `value` does."""
        return self.value()

    def value(self) -> T:
        """Return the newest good value, looking at the file at most once a second."""
        now = self._clock()
        if now - self._looked_at >= _BETWEEN_LOOKS:
            self._looked_at = now
            self._look()
        return self._good

    def is_rejected(self) -> bool:
        """Return whether the file's content of the moment cannot be used, so that the last good value stays."""
        self.value()
        return self._rejected

    def _look(self) -> None:
        seen = _fingerprint(self._path)
        if seen == self._seen:
            return
        self._seen = seen
        try:
            self._good = self._read(read_text(self._path))
        except InvalidValue as unusable:
            self._rejected = True
            _log.error("%s changed and %s; the previous value stays in use", self._path, unusable.problem)
        else:
            self._rejected = False
            _log.info("%s changed; the new value is in use", self._path)


def read_text(path: Path) -> str:
    """Read a small UTF-8 text file and drop one newline at its end.

    Raises:
        CannotBeRead: it is not there, or kept from us.
        InvalidValue: it is no such file, or is too large.
    """
    try:
        with path.open("rb") as file:
            raw = file.read(_LARGEST + 1)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        raise CannotBeRead(f"cannot be read ({_reason(error)})") from None
    if len(raw) > _LARGEST:
        raise InvalidValue(f"is larger than {_LARGEST} bytes")
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        raise InvalidValue("is not UTF-8 text") from None
    return text.removesuffix("\n").removesuffix("\r") if text.endswith("\n") else text


def _reason(error: Exception) -> str:
    return (error.strerror or "") if isinstance(error, OSError) else "no usable path"


def _fingerprint(path: Path) -> tuple[int, ...] | None:
    try:
        found = path.stat()  # follows links: a Kubernetes secret changes by a link put in place of another
    except (OSError, ValueError):
        return None
    return (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
