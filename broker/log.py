"""Writes the log: one JSON object a line, and the line of each sign-in.

Each fact is named in the code, never copied from requests or answers: no code, state, nonce, verifier, token, cookie,
secret, query string or Location is ever written.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import partial
from typing import Any, Literal, TextIO

from broker.errors import MAX_LISTED, BrokerError, NotAdmitted
from broker.identity import Identity
from broker.log_writer import LineWriter
from broker.text import MAX_CHARACTERS, is_plain, mask_emails, printable

EXPIRY_WARNING_DAYS = 30  # before a client secret expires
MAX_LIST_CHARACTERS = 1_000  # of all values of a list together

LOGGER = logging.getLogger("broker")
_encode_json = json.JSONEncoder(ensure_ascii=True).encode

LogEmail = Literal["hashed", "plain", "none"]


@dataclass(frozen=True, slots=True)
class SignInEvent:
    """The end of a sign-in, of a test sign-in or of a refused request.

    Args:
        client: the browser's address, as far as trusted proxies report it.
        site: empty if unknown.
        provider: empty if unknown.
        error: None after a success.
        identity: None unless a person was verified.
        seconds: from the request to the answer.
        is_dry_run: the request belongs to a test sign-in, which is no sign-in.
    """

    trace_id: str
    client: str
    site: str
    provider: str
    error: BrokerError | None
    identity: Identity | None
    seconds: float
    is_signin: bool = True
    is_dry_run: bool = False

    @property
    def is_strangers_request(self) -> bool:
        """Whether a refused request belongs to no sign-in."""
        return not (self.is_signin or self.is_dry_run) and self.error is not None and self.error.status < 500

    @property
    def has_person(self) -> bool:
        """Whether a person was verified: a stranger cannot cause such an event."""
        return self.identity is not None or (isinstance(self.error, NotAdmitted) and bool(self.error.subject))

    @property
    def outcome(self) -> tuple[str, str]:
        """The result and the reason, for log and metrics."""
        return outcome_of(self.error, success="admitted" if self.is_dry_run else "signed_in")


def outcome_of(error: BrokerError | None, *, success: str = "signed_in") -> tuple[str, str]:
    """Return the result and the reason of an error, or of a success."""
    if error is None:
        return success, "none"
    return "failed" if error.status >= 500 else "refused", error.code


class EventLog:
    """Writes the line of each sign-in and test sign-in.

    Args:
        secret_keys: returns the current keys; the first is the key for hashes of addresses.
    """

    def __init__(self, *, log_email: LogEmail, secret_keys: Callable[[], Sequence[str]]) -> None:
        self._log_email = log_email
        self._secret_keys = secret_keys

    def write(self, event: SignInEvent) -> None:
        """Write how a request ended."""
        error, (result, code) = event.error, event.outcome
        level = logging.INFO if error is None else logging.ERROR if error.status >= 500 else logging.WARNING
        name = "test sign-in" if event.is_dry_run else "sign-in"
        if event.is_strangers_request:
            name, level = "request refused", logging.INFO
        facts: dict[str, object] = {
            "result": result,
            "code": code,
            "trace_id": event.trace_id,
            "client": event.client,
            "site": event.site,
            "provider": event.provider,
            "milliseconds": round(event.seconds * 1000),
        }
        if event.identity is not None:
            facts |= self.describe(event.identity)
        if error is not None:
            facts |= {"expected": error.expected, "got": error.got, "remedy": error.remedy}
        write_event(name, facts, level, from_anybody=not (event.has_person or event.is_dry_run))

    def describe(self, identity: Identity) -> dict[str, object]:
        """Return the facts about a person that `log_email` allows."""
        facts: dict[str, object] = {"email_from": identity.email_from, "name_from": identity.name_from}
        if self._log_email == "plain":
            facts["email"] = identity.email
        elif self._log_email == "hashed":
            # Keyed, because addresses can be guessed. Shortened, because the hash only tells people apart.
            key = self._secret_keys()[0].encode()
            facts["email_hash"] = hmac.digest(key, b"log_email\0" + identity.email.encode(), hashlib.sha256).hex()[:16]
            facts["email_domain"] = identity.email_domain
        return facts


def write_event(
    name: str, facts: Mapping[str, object], level: int = logging.INFO, *, from_anybody: bool = False
) -> None:
    """Write an event without the slow search for the caller: no line names the caller.

    Args:
        from_anybody: a stranger can cause the event; its line is dropped before other lines.
    """
    if LOGGER.isEnabledFor(level):
        extra = {"facts": facts, "from_anybody": from_anybody}
        LOGGER.handle(LOGGER.makeRecord(LOGGER.name, level, "", 0, name, (), None, extra=extra))


def format_event(name: str, facts: Mapping[str, object], level: int, *, keeps_addresses: bool) -> str:
    """Return the line of an event, for a command that has no log."""
    record = LOGGER.makeRecord(LOGGER.name, level, "", 0, name, (), None, extra={"facts": facts})
    return JsonLines(keeps_addresses=keeps_addresses).format(record)


def warn_of_insecure_options(insecure_options: Sequence[str]) -> None:
    """Warn of each insecure option that is on."""
    for option in insecure_options:
        LOGGER.warning("insecure option is on", extra={"facts": {"option": option}})


def warn_of_expiry(provider: str, expires: date, *, now: float) -> None:
    """Warn if a client secret expires within `EXPIRY_WARNING_DAYS`.

    Args:
        now: seconds since the epoch.
    """
    moment = datetime(expires.year, expires.month, expires.day, tzinfo=UTC).timestamp()
    days = int((moment - now) // 86400)
    if days <= EXPIRY_WARNING_DAYS:
        facts = {"provider": provider, "expires": expires.isoformat(), "days_left": days}
        LOGGER.warning("client secret expires", extra={"facts": facts})


class JsonLines(logging.Formatter):
    """Formats a record as a JSON object, with values escaped and shortened and their e-mail addresses masked.

    Args:
        keeps_addresses: do not mask addresses (`log_email: plain`).
    """

    def __init__(self, *, keeps_addresses: bool = False) -> None:
        super().__init__()
        self._keeps_addresses = keeps_addresses

    def format(self, record: logging.LogRecord) -> str:
        """Return the line of a record, with the named values of its `facts`."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "event": _fact(record.getMessage()),
        }
        for name, value in getattr(record, "facts", {}).items():
            if value is not None:
                # `email` is among the facts only with `log_email: plain`.
                line[name] = _fact(value, masks=not (self._keeps_addresses or name == "email"))
        if record.exc_info and record.exc_info[0] is not None:
            # The exception's text may hold a secret; its type and place cannot.
            line["exception"] = record.exc_info[0].__name__
            line["raised_at"] = _raised_at(record)
        return _encode_json(line)


class _Lines(logging.Handler):
    """Queues the line of each record."""

    def __init__(self, writer: LineWriter) -> None:
        super().__init__()
        self._writer = writer

    def emit(self, record: logging.LogRecord) -> None:
        """Format a record, and queue the line."""
        try:
            self._writer.put(self.format(record), from_anybody=getattr(record, "from_anybody", False))
        except Exception:  # noqa: BLE001 - as logging's own handlers: a record that has no line ends no request
            self.handleError(record)


def log_to(stream: TextIO | None, level: int = logging.INFO, *, keeps_addresses: bool = False) -> LineWriter:
    """Send the logs of the whole process to a stream as JSON lines; the caller closes the writer.

    Args:
        stream: of the operating system; None if there is none, and all lines are dropped.
    """
    formatter = JsonLines(keeps_addresses=keeps_addresses)
    writer = LineWriter(None if stream is None else stream.fileno(), partial(_line_of_gap, formatter))
    handler = _Lines(writer)
    handler.setFormatter(formatter)
    logging.basicConfig(handlers=[handler], level=level, force=True)
    # No line names them (https://docs.python.org/3/howto/logging.html#optimization).
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    # Below a warning these libraries log internals, and may quote addresses with a query.
    for library in ("asyncio", "httpx", "httpcore"):
        logging.getLogger(library).setLevel(logging.WARNING)
    # uvicorn logs a warning for each malformed request, which any stranger can send.
    logging.getLogger("uvicorn").setLevel(logging.ERROR)
    return writer


def _line_of_gap(formatter: JsonLines, dropped: int) -> str:
    facts = {"dropped": dropped, "remedy": "Find out why nobody reads the log, or why it cannot be written."}
    record = {"levelno": logging.ERROR, "levelname": "ERROR", "msg": "log lines dropped", "facts": facts}
    return formatter.format(logging.makeLogRecord(record))


def keep_addresses(*, keeps_addresses: bool) -> None:
    """Mask the e-mail addresses in the log of the whole process from now on, or do not mask them."""
    for handler in logging.getLogger().handlers:
        if isinstance(handler.formatter, JsonLines):
            handler.setFormatter(JsonLines(keeps_addresses=keeps_addresses))


def _fact(value: object, *, masks: bool = False, limit: int = MAX_CHARACTERS) -> object:
    """Return a fact as a JSON value: numbers unchanged, texts and lists bounded and printable."""
    if isinstance(value, str) and is_plain(value, limit):
        return value
    if isinstance(value, int | float):
        # NaN and infinity are not JSON, and an integer can have thousands of digits.
        return value if abs(value) < 2**63 else f"{type(value).__name__} beyond bounds"
    if isinstance(value, list | tuple):
        return _facts(value, masks=masks)
    if not isinstance(value, str):
        return type(value).__name__
    text = value[: 2 * limit]  # masked before it is cut, or an address at the end would lose its @
    return printable(mask_emails(text) if masks else text, limit)


def _facts(values: Sequence[object], *, masks: bool) -> list[object]:
    """Return the first values as JSON values, up to the length that a list may have."""
    facts: list[object] = []
    left = MAX_LIST_CHARACTERS
    for value in values[:MAX_LISTED]:
        if left <= 0:
            break
        flat = value if isinstance(value, str | int | float) else type(value).__name__
        facts.append(_fact(flat, masks=masks, limit=min(left, MAX_CHARACTERS)))
        left -= len(value) if isinstance(value, str) else 0
    return facts


def _raised_at(record: logging.LogRecord) -> str:
    trace = record.exc_info[2] if record.exc_info else None
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}" if trace else "nowhere"
