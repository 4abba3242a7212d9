"""S-54, S-55: whatever a provider says, no log, page, report or metric holds a control character or a secret of it."""

from __future__ import annotations

import asyncio
import io
import json
import logging
from collections.abc import Callable
from dataclasses import replace
from unicodedata import category

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from broker.checks.finding import Topic, as_json, sentence
from broker.checks.report import print_report
from broker.dry_run import Explanation, Step, to_json, to_text
from broker.errors import BrokerError, EmailDomainNotAllowed
from broker.log import LOGGER, EventLog, JsonLines, SignInEvent
from broker.metrics import Metrics
from broker.providers import ClaimTrace
from broker.text import is_invisible, printable, redact
from broker.web.pages import Pages
from broker.web.request import read_login_request
from broker.web.setup_pages import describe_login_request
from tests.registration.sample_pages import LINKS, PAGES, dry_run
from tests.test_text import SECRETS, SPELLINGS

ERROR_PAGES = Pages()
ODD = st.sampled_from(
    ["\x1b[31m", "\x9b2J", "\r\n", "\u2028", "\u202e", "\u2066", "\u200b", "\ufe0f", "\U000e0041", "\ud800", "\0",
     "</td><script>", "{{7*7}}", '"', "\\", "%00", "ada@acme.example", "x" * 500]
)  # fmt: skip
HOSTILE = st.lists(ODD | st.text(max_size=10), max_size=6).map("".join)


def refusal(said: str) -> BrokerError:
    return EmailDomainNotAllowed(expected=[said, {"deep": said}], got=said)


def event(said: str, secret: str) -> SignInEvent:
    error = refusal(said)
    error.redact([secret])
    return SignInEvent("0123456789abcdef", "192.0.2.7", "main", "idp", error, None, 0.1)


def log_line(said: str, secret: str) -> str:
    """Return the values of the line in the log: they must be fit for a viewer that undoes the escapes of JSON."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonLines())
    LOGGER.addHandler(handler)
    try:
        EventLog(log_email="hashed", secret_keys=lambda: ["k" * 32]).write(event(said, secret))
    finally:
        LOGGER.removeHandler(handler)
    (line,) = stream.getvalue().splitlines()
    assert line.isascii()
    return " ".join(map(str, json.loads(line, parse_constant=pytest.fail).values()))


def metrics(said: str, secret: str) -> str:
    counts = Metrics()
    counts.count(event(said, secret))
    return asyncio.run(counts.export()).decode()


def error_page(said: str, secret: str) -> str:
    return ERROR_PAGES.problem(event(said, secret).error or BrokerError(), trace_id="0" * 32, start_again=None)


def report(said: str, secret: str) -> str:
    claims = redact({"said": said, said: [said, {said: said}]}, [secret])
    error, safe = event(said, secret).error, redact(said, [secret])
    page = replace(
        dry_run(error, claims), steps=(Step("Answer", "failed", safe),), considered=(ClaimTrace(safe, safe),)
    )
    return PAGES.dry_run(page, links=LINKS)


def explanation(said: str, secret: str) -> str:
    safe = redact(said, [secret])
    told = Explanation("idp", "main", None, event(said, secret).error, None, (ClaimTrace("email", safe),), ())
    return to_text(told) + " ".join(map(str, json.loads(to_json(told)).values()))


def check(said: str, secret: str) -> str:
    findings = [Topic("idp", "issuer").failed(f"It says: {sentence(redact(said, [secret]))}", "")]
    written = []
    for is_terminal in (False, True):
        console = Console(file=io.StringIO(), width=100, force_terminal=is_terminal, no_color=True)
        print_report(findings, console)
        text = console.file.getvalue()  # type: ignore[attr-defined]
        written.append(text.replace("\x1b[1m", "").replace("\x1b[2m", "").replace("\x1b[0m", ""))
    return "".join(written) + json.dumps(as_json(findings), ensure_ascii=False)


def last_login(said: str, secret: str) -> str:
    redirect_url = redact(f"https://{said}/{said}?{said}=1", [secret])
    seen = read_login_request(f"{said}=1&b=2", redirect_url, code="none", at=1.0)
    return " ".join(describe_login_request(seen, now=2.0).values())


SINKS: dict[str, tuple[Callable[[str, str], str], int]] = {
    "log line": (log_line, 4_000),
    "metrics": (metrics, 8_000),
    "error page": (error_page, 20_000),
    "test sign-in": (report, 40_000),
    "explain": (explanation, 6_000),
    "check": (check, 6_000),
    "last call": (last_login, 2_000),
}


@pytest.mark.requirement("S-54")
@pytest.mark.parametrize(("sink", "most"), SINKS.values(), ids=SINKS)
@settings(max_examples=60, deadline=None)
@given(said=HOSTILE)
def test_no_sink_has_a_character_that_acts_or_hides(sink: Callable[[str, str], str], most: int, said: str) -> None:
    written = sink(said, "")
    assert len(written) < most
    for character in set(written) - {"\n"}:
        assert not category(character).startswith("C"), repr(character)
        assert category(character) not in ("Zl", "Zp"), repr(character)
        assert not is_invisible(character), repr(character)


@pytest.mark.requirement("S-55")
@pytest.mark.parametrize("sink", [sink for sink, _ in SINKS.values()], ids=SINKS)
@settings(max_examples=60, deadline=None)
@given(before=HOSTILE, secret=SECRETS.map("Zq7".__add__), spelling=st.sampled_from([*SPELLINGS.values()]))
def test_no_sink_has_a_secret_in_any_spelling(
    sink: Callable[[str, str], str], before: str, secret: str, spelling: Callable[[str], str]
) -> None:
    said = f"{before[:100]} {spelling(secret)}"
    written = sink(said, secret)
    for other in SPELLINGS.values():
        assert printable(other(secret)[:40]).lower() not in written.lower()
