"""What an admin can see of the service from outside: one JSON log line per event, and counters.

This file owns what may be written down. No code, state, nonce, verifier, token, cookie, secret, query string or
Location ever gets here: events are made of named facts, never of requests or answers.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Any, Literal, TextIO

from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest

from broker.errors import (
    BrokerError,
    CallbackIssuer,
    CodeMissing,
    CodeRejected,
    ProviderError,
    ProviderReportedFailure,
    SettingsError,
    TooManyRejectedCodes,
    every_error,
)
from broker.identity import Identity
from broker.sign_in_event import SignInEvent

EXPIRY_WARNING_DAYS = 30  # before a client secret expires
MAX_TEXT_CHARACTERS = 300  # of one value in a log line; provider's words may be long
MAX_LIST_CHARACTERS = 1_000  # of all values of a list together
MAX_LISTED = 20

# Also percent-encoded. What stands before it keeps the search linear: a word is looked through once, from its start.
_ADDRESS = re.compile(r"(?<![^\s@<>\"'()\[\],;:=])[^\s@<>\"'()\[\],;:=]+(@|%(?:25)*40)([^\s@<>\"'()\[\],;:]+)")

# Refusals that a wrong registration causes in every sign-in, and that a stranger can cause, too.
UNPROVEN = (ProviderError, ProviderReportedFailure, CodeRejected, CodeMissing, CallbackIssuer, TooManyRejectedCodes)

LOGGER = logging.getLogger("broker")

LogEmail = Literal["hashed", "plain", "none"]


class JsonLines(logging.Formatter):
    """One JSON object a line; what came from outside is escaped and cut, and e-mail addresses in it are masked.

    Args:
        keeps_addresses: do not mask them (`log_email: plain`).
    """

    def __init__(self, *, keeps_addresses: bool = False) -> None:
        super().__init__()
        self._keeps_addresses = keeps_addresses

    def format(self, record: logging.LogRecord) -> str:
        """Return the line for a record; the facts of an event are in its `facts`."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "event": _plain(record.getMessage()),
        }
        for name, value in getattr(record, "facts", {}).items():
            if value is not None:
                # `email` is there only where the settings want it in plain.
                line[name] = _plain(value, masks=not (self._keeps_addresses or name == "email"))
        if record.exc_info and record.exc_info[0] is not None:
            # The exception's own text may hold anything; where it was raised cannot.
            line["exception"] = record.exc_info[0].__name__
            line["raised_at"] = _raised_at(record)
        return json.dumps(line, ensure_ascii=True)


def log_to(stream: TextIO, level: int = logging.INFO, *, keeps_addresses: bool = False) -> None:
    """Send the logs of the whole process to a stream, as JSON lines.

    Args:
        stream: standard output, mostly.
        level: the least level written.
        keeps_addresses: e-mail addresses in others' words are not masked.
    """
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonLines(keeps_addresses=keeps_addresses))
    logging.basicConfig(handlers=[handler], level=level, force=True)
    # What libraries say below a warning is about their insides, and may quote addresses with a query.
    for library in ("asyncio", "aiohttp", "httpx", "httpcore"):
        logging.getLogger(library).setLevel(logging.WARNING)
    # A warning of uvicorn's is a line for each odd request, which any stranger can cause.
    logging.getLogger("uvicorn").setLevel(logging.ERROR)


class Telemetry:
    """The counters of one service, and the way an event becomes a log line.

    Args:
        log_email: how a person's address appears in the log.
        secret_keys: gives the keys of the moment, newest first; the address's hash is keyed with the first.
        insecure_options: the options with ugly names that are on.
    """

    def __init__(
        self, *, log_email: LogEmail, secret_keys: Callable[[], Sequence[str]], insecure_options: Sequence[str]
    ) -> None:
        self._log_email = log_email
        self._secret_keys = secret_keys
        self._insecure_options = insecure_options
        self.registry = CollectorRegistry()
        self._signins = Counter(
            "comm100_sso_signins",
            "Sign-ins by how they ended; reason is an error code of docs/admin/errors.md, or none.",
            ["site", "provider", "result", "reason"],
            registry=self.registry,
        )
        self._dry_runs = Counter(
            "comm100_sso_test_signins",
            "Test sign-ins of the setup page by how they ended; none of them is a sign-in.",
            ["provider", "result", "reason"],
            registry=self.registry,
        )
        insecure_option = Gauge(
            "comm100_sso_insecure_option_enabled",
            "1 for each insecure option that is on.",
            ["option"],
            registry=self.registry,
        )
        self._secret_expiry = Gauge(
            "comm100_sso_client_secret_expires_timestamp_seconds",
            "When a client secret expires, by client_secret_expires.",
            ["provider"],
            registry=self.registry,
        )
        for option in insecure_options:
            insecure_option.labels(option).set(1)

    def log_start(self, facts: Mapping[str, object]) -> None:
        """Write that the service started, and every insecure option by name, at each start.

        Args:
            facts: what helps to tell one start from another: versions, addresses, ids.
        """
        LOGGER.info("started", extra={"facts": facts})
        for option in self._insecure_options:
            LOGGER.warning("insecure option is on", extra={"facts": {"option": option}})

    def expect(self, site: str, provider: str) -> None:
        """Export at 0 the results that alerts ask for: those that are not the person's doing.

        Prometheus sees a series increase only from its second value on: without this, the first failure is lost.

        Args:
            site: its id.
            provider: offered there.
        """
        self._signins.labels(site, provider, *_result(None, well="signed_in"))
        for error in every_error():
            # SettingsError ends a start, no sign-in.
            if (error.status >= 500 or issubclass(error, UNPROVEN)) and error is not SettingsError:
                self._signins.labels(site, provider, *_result(error(), well="signed_in"))

    def announce_expiry(self, provider: str, expires: date, *, now: float) -> None:
        """Export the day a client secret expires, and warn when it is near.

        Args:
            provider: id of the identity provider.
            expires: the day, by the admin's word.
            now: seconds since the epoch.
        """
        moment = datetime(expires.year, expires.month, expires.day, tzinfo=UTC).timestamp()
        self._secret_expiry.labels(provider).set(moment)
        days = int((moment - now) // 86400)
        if days <= EXPIRY_WARNING_DAYS:
            facts = {"provider": provider, "expires": expires.isoformat(), "days_left": days}
            LOGGER.warning("client secret expires", extra={"facts": facts})

    def record(self, event: SignInEvent) -> None:
        """Count how a sign-in ended and write its line.

        Args:
            event: of one sign-in, or of one refused request.
        """
        result, reason = _result(event.error, well="signed_in")
        self._signins.labels(event.site, event.provider, result, reason).inc()
        is_strangers = not event.is_signin and result == "refused"
        self._write("request refused" if is_strangers else "sign-in", event, result, reason)

    def record_dry_run(self, event: SignInEvent) -> None:
        """Count how a test sign-in ended and write its line; it is no sign-in, and counts as none.

        Args:
            event: of one test sign-in.
        """
        result, reason = _result(event.error, well="admitted")
        self._dry_runs.labels(event.provider, result, reason).inc()
        self._write("test sign-in", event, result, reason)

    def metrics(self) -> bytes:
        """Return all metrics in Prometheus' text format."""
        return generate_latest(self.registry)

    def _write(self, name: str, event: SignInEvent, result: str, reason: str) -> None:
        error = event.error
        facts: dict[str, object] = {
            "result": result,
            "code": reason,
            "trace_id": event.trace_id,
            "client": event.client,
            "site": event.site,
            "provider": event.provider,
            "milliseconds": round(event.seconds * 1000),
        }
        if event.identity is not None:
            facts |= self._person(event.identity)
        if error is not None:
            facts |= {"expected": error.expected, "got": error.got, "remedy": error.remedy}
        LOGGER.log(logging.INFO if name == "request refused" else _level(error), name, extra={"facts": facts})

    def _person(self, identity: Identity) -> dict[str, object]:
        facts: dict[str, object] = {"email_from": identity.email_from, "name_from": identity.name_from}
        if self._log_email == "plain":
            facts["email"] = identity.email
        elif self._log_email == "hashed":
            # Keyed, for addresses are few enough to try them all; cut, for it only has to tell people apart.
            key = self._secret_keys()[0].encode()
            facts["email_hash"] = hmac.digest(key, b"log_email\0" + identity.email.encode(), hashlib.sha256).hex()[:16]
            facts["email_domain"] = identity.email_domain
        return facts


def _result(error: BrokerError | None, *, well: str) -> tuple[str, str]:
    """Return the labels result and reason."""
    if error is None:
        return well, "none"
    return "failed" if error.status >= 500 else "refused", error.code


def _level(error: BrokerError | None) -> int:
    return logging.INFO if error is None else logging.ERROR if error.status >= 500 else logging.WARNING


def _plain(value: object, *, masks: bool = False, limit: int = MAX_TEXT_CHARACTERS) -> object:
    """Make a fact fit for one line: a number, or text without controls and not too long, addresses masked or not."""
    if isinstance(value, int | float):
        # NaN and infinity are no JSON, and a number can have thousands of digits.
        return value if abs(value) < 2**63 else f"{type(value).__name__} beyond bounds"
    if isinstance(value, list | tuple):
        return _plain_list(value, masks=masks)
    if not isinstance(value, str):
        return type(value).__name__
    text = value[: 2 * limit]
    if not text.isprintable():
        text = "".join(c if c.isprintable() else " " for c in text)
    if masks:  # before it is cut, or an address on the edge would lose the sign it is known by
        text = _ADDRESS.sub(r"***\1\2", text)
    return text if len(text) <= limit else f"{text[:limit]}…"


def _plain_list(values: Sequence[object], *, masks: bool) -> list[object]:
    """Make each of the first values fit, until all together have the length that a list may have."""
    fit: list[object] = []
    left = MAX_LIST_CHARACTERS
    for value in values[:MAX_LISTED]:
        if left <= 0:
            break
        flat = value if isinstance(value, str | int | float) else type(value).__name__
        fit.append(_plain(flat, masks=masks, limit=min(left, MAX_TEXT_CHARACTERS)))
        left -= len(value) if isinstance(value, str) else 0
    return fit


def _raised_at(record: logging.LogRecord) -> str:
    trace = record.exc_info[2] if record.exc_info else None
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}" if trace else "nowhere"
