"""What the whole suite wrote to logs, and every secret it issued meanwhile: the one must not contain the other.

Every record of every logger is kept twice, as the service writes it and plainly, with whatever an exception says.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import parse_qsl, quote, quote_plus, urlsplit

import httpx

from broker.log import JsonLines

PROGRAM_LOGS = ("stdout.txt", "stderr.txt", "output.txt")  # of the programs that tests start, in their own folders
SHORTEST = 12  # characters of a secret worth looking for
TELLING = 32  # characters of its beginning: a value cut short by the log is a leak as well
PROVIDER_PATHS = ("/.well-known/openid-configuration", "/keys", "/token", "/userinfo")
_WORD = re.compile(r"[A-Za-z0-9_-]{12,}")  # of SHORTEST characters or more
SECRET_PARAMETERS = ("code", "state", "nonce", "jwt", "id_token_hint")


class _BothWays(logging.Formatter):
    """A record as the service writes it, and as Python does."""

    def __init__(self) -> None:
        super().__init__("%(levelname)s:%(name)s:%(message)s")
        self._as_served = JsonLines()

    def format(self, record: logging.LogRecord) -> str:
        facts = repr(getattr(record, "facts", ""))
        return f"{self._as_served.format(record)}\n{super().format(record)} {facts}"


class LogRecord:
    """One session's logs and secrets.

    Args:
        file: where the logs of this process go.
    """

    def __init__(self, file: Path) -> None:
        self._files = {file: 0}
        self._secrets: set[str] = set()
        self._handler = logging.FileHandler(file, mode="a", encoding="utf-8", delay=True)
        self._handler.setFormatter(_BothWays())
        self._handler.addFilter(_is_not_of_a_browser)

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Hear everything every logger says, at the lowest level, also of those that were told to be quiet before."""
        root = logging.getLogger()
        named = [one for one in logging.Logger.manager.loggerDict.values() if isinstance(one, logging.Logger)]
        levels = {logger: logger.level for logger in [root, *named] if logger.level != logging.NOTSET}
        for logger in levels:
            logger.setLevel(logging.DEBUG)
        root.addHandler(self._handler)
        try:
            yield
        finally:
            root.removeHandler(self._handler)
            self._handler.close()  # opens again with the next record
            for logger, level in levels.items():
                logger.setLevel(level)

    def add_file(self, file: Path) -> None:
        """Read this file, too, at the end: the log of another process."""
        self._files[file] = 0

    def add_logs_below(self, folder: Path) -> None:
        """Read the logs of every program that was started in a folder somewhere below this one."""
        for file in folder.rglob("*"):
            if file.name in PROGRAM_LOGS or file.suffix == ".log":
                self.add_file(file)

    def add_secrets(self, secrets: Iterable[str]) -> None:
        """Remember what must not be in any log."""
        self._secrets.update(secret for secret in secrets if len(secret) >= SHORTEST)

    @property
    def secrets(self) -> frozenset[str]:
        return frozenset(self._secrets)

    def text(self) -> str:
        """Return all that was written."""
        return "\n".join(file.read_text(encoding="utf-8", errors="replace") for file in self._files if file.exists())

    def leaks(self) -> list[str]:
        """Return each secret that stands in a log, with the line it stands in."""
        text = self.text()
        pieces = {
            word[at : at + SHORTEST] for word in set(_WORD.findall(text)) for at in range(len(word) - SHORTEST + 1)
        }
        found = []
        for secret in sorted(self._secrets):
            for needle in _needles(secret):
                word = _WORD.search(needle)  # looked up first: a search of all text for each secret takes minutes
                if (word is None or word[0][:SHORTEST] in pieces) and needle in text:
                    found.append(f"{secret!r} in {_line_with(needle, text)!r}")
                    break
        return found


def secrets_in(headers: httpx.Headers) -> list[str]:
    """Return what is secret in an answer's headers: cookies, and parameters of the address it leads to."""
    cookies = [line.partition(";")[0].partition("=")[2] for line in headers.get_list("set-cookie")]
    location = urlsplit(headers.get("location", ""))
    return cookies + [value for name, value in parse_qsl(location.query) if name in SECRET_PARAMETERS]


def _needles(secret: str) -> Iterator[str]:
    """Yield the beginnings of a secret and of its parts, in the spellings a log may have."""
    for part in {secret, *secret.split(".")}:
        beginning = part[:TELLING]
        if len(beginning) >= SHORTEST:
            yield from {beginning, quote(beginning, safe=""), quote_plus(beginning), json.dumps(beginning)[1:-1]}


def _line_with(needle: str, text: str) -> str:
    place = text.index(needle)
    return text[text.rfind("\n", 0, place) + 1 : place + 200].split("\n", maxsplit=1)[0]


def _is_not_of_a_browser(record: logging.LogRecord) -> bool:
    """Leave out where the tests' own browsers went, which the libraries they share with the broker write down.

    The broker uses httpx without its client; browsers use httpx and httpcore.
    """
    library = record.name.partition(".")[0]
    if library not in ("httpx", "httpcore"):
        return True
    addresses = re.findall(r"https?://[^\s\"]+", record.getMessage()) if library == "httpx" else []
    return any(urlsplit(address).path.endswith(PROVIDER_PATHS) for address in addresses)
