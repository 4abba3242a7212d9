"""What every error carries: a code for programs, a sentence for the person, a remedy for the admin."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import ClassVar

MIN_SECRET_CHARACTERS = 4
MAX_WORDS = 20  # of one secret, the longest of them
MAX_LISTED = 20  # of a list; the log shows no more

_WORD = re.compile(r"[A-Za-z0-9_-]{6,}")  # of a secret: the same in every spelling of the signs around it


class BrokerError(Exception):
    """What went wrong, for three readers: a program (`code`), a person (`person`) and an admin (`remedy`).

    Args:
        expected: what a right value would have been; for the log only.
        got: what came instead; for the log only.
        retry_after: seconds after which trying again makes sense, where the other side said so.
    """

    code: ClassVar[str] = ""
    status: ClassVar[int] = 400
    user_message: ClassVar[str] = "The sign-in did not work."
    remedy: str = ""

    def __init_subclass__(cls, *, code: str = "", status: int = 0, user_message: str = "", remedy: str = "") -> None:
        super().__init_subclass__()
        cls.code = code
        cls.status = status or cls.status
        cls.user_message = user_message or cls.user_message
        cls.remedy = remedy or cls.remedy

    def __init__(self, *, expected: object = None, got: object = None, retry_after: int | None = None) -> None:
        super().__init__(self.code)
        self.expected = expected
        self.got = got
        self.retry_after = retry_after

    def redact(self, secrets: Iterable[str]) -> None:
        """Take values out of `expected` and `got` that must never be written down, wherever a provider put them.

        Args:
            secrets: codes, states, nonces, tokens and the like; very short ones hit by chance and are passed over.
        """
        for secret in secrets:
            if len(secret) >= MIN_SECRET_CHARACTERS:
                # Word by word as well: a provider may have encoded the signs between them, or we have left out a part.
                for part in (secret, *sorted(_WORD.findall(secret), key=len, reverse=True)[:MAX_WORDS]):
                    self.expected, self.got = _without(part, self.expected), _without(part, self.got)


def _without(secret: str, value: object) -> object:
    if isinstance(value, list):
        return [_kind(one) if isinstance(one, list) else _without(secret, one) for one in value[:MAX_LISTED]]
    if isinstance(value, dict):
        return _kind(value)
    return value.replace(secret, "[left out]") if isinstance(value, str) else value


def _kind(value: object) -> str:
    """Name what is too deep to look through: nobody writes down or shows more of it than that."""
    return type(value).__name__


def every_error() -> Iterator[type[BrokerError]]:
    """Yield each error class that has a code, in the order of this file: the closed list of reasons."""
    waiting = list(BrokerError.__subclasses__())
    while waiting:
        error = waiting.pop(0)
        if error.code:
            yield error
        waiting[:0] = error.__subclasses__()
