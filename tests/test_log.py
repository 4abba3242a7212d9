"""The log: one JSON object a line, how a sign-in ended, and nothing that must stay secret."""

from __future__ import annotations

import io
import json
import logging
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.errors import CookieMissing, EmailDomainNotAllowed, ProviderTimedOut
from broker.identity import Identity
from broker.log import (
    EXPIRY_WARNING_DAYS,
    EventLog,
    JsonLines,
    LogEmail,
    SignInEvent,
    warn_of_expiry,
    warn_of_insecure_options,
)
from broker.text import MAX_CHARACTERS
from tests.fakes.clock import START
from tests.fakes.world import World

ADA = Identity("ada@acme.example", "email", "Ada Lovelace", "name", "00u-ada", "https://idp.example")
SIGNED_IN = SignInEvent("0123456789abcdef", "192.0.2.7", "main", "idp", None, ADA, 0.1234)
REFUSED = SignInEvent(
    "0123456789abcdef", "192.0.2.7", "main", "idp", CookieMissing(expected="the cookie", got="none"), None, 0.002
)
FAILED = SignInEvent(
    "0123456789abcdef", "192.0.2.7", "", "idp", ProviderTimedOut(expected="an answer", got="none"), None, 5.0
)


class Written:
    """A log as it would stand on the standard output."""

    def __init__(self) -> None:
        self.stream = io.StringIO()

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line, parse_constant=pytest.fail) for line in self.stream.getvalue().splitlines()]


@pytest.fixture
def log() -> Iterator[Written]:
    """Write the broker's log as the service does, without touching the handlers of the test run."""
    written = Written()
    handler = logging.StreamHandler(written.stream)
    handler.setFormatter(JsonLines())
    logger = logging.getLogger("broker")
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield written
    logger.removeHandler(handler)
    logger.setLevel(level)


def event_log(log_email: LogEmail = "hashed", *, key: str = "k" * 32) -> EventLog:
    return EventLog(log_email=log_email, secret_keys=lambda: [key, "older" * 8])


def line_of(**facts: object) -> dict[str, Any]:
    """Format one event and read it back; it must be one line of JSON, as RFC 8259 has it."""
    record = logging.makeLogRecord({"msg": "event", "levelno": logging.INFO, "levelname": "INFO", "facts": facts})
    line = JsonLines().format(record)
    assert line.isascii()
    assert line.isprintable()
    read: dict[str, Any] = json.loads(line, parse_constant=pytest.fail)
    return read


@pytest.mark.requirement("S-54")
@pytest.mark.parametrize(
    ("hostile", "written"),
    [
        pytest.param('a\r\n{"event":"forged"}', 'a  {"event":"forged"}', id="line breaks"),
        pytest.param("a\u2028b\u2029c\x85d", "a b c d", id="line breaks of Unicode"),
        pytest.param("\x1b[31mred\x07", "\\u001b[31mred\\u0007", id="terminal codes"),
        pytest.param("日本 Zoë", "日本 Zoë", id="any script"),
        pytest.param("x" * MAX_CHARACTERS, "x" * MAX_CHARACTERS, id="the longest"),
        pytest.param("x" * 10**6, "x" * MAX_CHARACTERS + "...", id="a million characters"),
        pytest.param(float("nan"), "float beyond bounds", id="not a number"),
        pytest.param(float("-inf"), "float beyond bounds", id="minus infinity"),
        pytest.param(10**5000, "int beyond bounds", id="5,000 digits"),
        pytest.param(True, True, id="true"),
        pytest.param(1.5, 1.5, id="a number"),
        pytest.param(["a\nb", 1, {"deep": 1}, float("inf")], ["a b", 1, "dict", "float beyond bounds"], id="a list"),
        pytest.param(["x"] * 1000, ["x"] * 20, id="a long list"),
        pytest.param(["x" * 400] * 20, [*["x" * 300 + "..."] * 2, "x" * 200 + "..."], id="a list of long texts"),
        pytest.param({"token": "secret"}, "dict", id="an object"),
        pytest.param(b"secret", "bytes", id="bytes"),
    ],
)
def test_a_hostile_fact_stays_one_short_plain_value(hostile: object, written: object) -> None:
    assert line_of(got=hostile)["got"] == written


@pytest.mark.requirement("S-55")
@pytest.mark.parametrize(
    ("fact", "masked"),
    [
        pytest.param("no ada@acme.example", "no ***@acme.example", id="a text"),
        pytest.param(["client-1", "ada@acme.example"], ["client-1", "***@acme.example"], id="a list"),
        pytest.param("a b" + " x@y.example" * 9, "a b" + " ***@y.example" * 9, id="many"),
        pytest.param("@acme.example a@ %40 b%40", "@acme.example a@ %40 b%40", id="no addresses"),
    ],
)
def test_addresses_in_the_words_of_others_are_masked_unless_the_admin_wants_them(fact: object, masked: object) -> None:
    assert line_of(got=fact)["got"] == masked
    assert line_of(email="ada@acme.example")["email"] == "ada@acme.example"
    record = logging.makeLogRecord({"msg": "event", "levelname": "INFO", "facts": {"got": fact}})
    assert json.loads(JsonLines(keeps_addresses=True).format(record))["got"] == fact


def test_masking_the_longest_texts_takes_no_time() -> None:
    started = time.process_time()
    for hostile in ("a" * 10**6, "a%25" * 10**5, "a%40" * 10**5, "@" * 10**6, "a@" * 10**5):
        line_of(got=[hostile] * 20)
    assert time.process_time() - started < 1


def test_a_fact_that_is_none_is_left_out() -> None:
    assert "got" not in line_of(got=None)


@pytest.mark.requirement("S-55")
@settings(max_examples=120, deadline=None)
@given(
    fact=st.recursive(st.one_of(st.text(), st.integers(), st.floats(), st.booleans(), st.binary()), st.lists),
    event=st.text(st.characters(categories=["L", "N", "P", "S", "Z", "C"])),
)
def test_every_event_is_one_line_of_json(fact: object, event: str) -> None:
    assert len(json.dumps(line_of(got=fact))) < 40_000
    record = logging.makeLogRecord({"msg": event, "levelname": "INFO"})
    line = JsonLines().format(record)
    assert len(line.splitlines()) == 1
    assert set(json.loads(line)) == {"time", "level", "event"}


def test_the_words_of_a_library_are_cut_too() -> None:
    record = logging.makeLogRecord({"msg": "%s", "args": ("x\n" * 10**5,), "levelname": "WARNING"})
    assert len(JsonLines().format(record)) < 2 * MAX_CHARACTERS


@pytest.mark.requirement("S-55")
def test_an_exception_leaves_its_type_and_place_but_not_its_words(log: Written) -> None:
    try:
        raise ValueError("the code is 4/0AbCd")
    except ValueError:
        logging.getLogger("broker").exception("defect")
    (line,) = log.lines
    assert line["exception"] == "ValueError"
    assert "test_log.py:" in line["raised_at"]
    assert "4/0AbCd" not in json.dumps(line)


def test_a_line_says_when_how_grave_and_what(log: Written) -> None:
    event_log().write(SIGNED_IN)
    (line,) = log.lines
    assert line.pop("time").endswith("+00:00")
    assert len(line.pop("email_hash")) == 16
    assert line == {
        "level": "info",
        "event": "sign-in",
        "result": "signed_in",
        "code": "none",
        "trace_id": "0123456789abcdef",
        "client": "192.0.2.7",
        "site": "main",
        "provider": "idp",
        "milliseconds": 123,
        "email_from": "email",
        "name_from": "name",
        "email_domain": "acme.example",
    }


@pytest.mark.parametrize(
    ("outcome", "level", "result"),
    [
        pytest.param(SIGNED_IN, "info", "signed_in", id="a success"),
        pytest.param(REFUSED, "warning", "refused", id="a refusal"),
        pytest.param(FAILED, "error", "failed", id="the provider's failure"),
    ],
)
def test_whose_fault_it_is_decides_how_grave_a_line_is(
    outcome: SignInEvent, level: str, result: str, log: Written
) -> None:
    event_log().write(outcome)
    (line,) = log.lines
    assert (line["level"], line["result"]) == (level, result)


def test_a_refusal_is_logged_with_what_an_admin_needs(log: Written) -> None:
    event_log().write(REFUSED)
    (line,) = log.lines
    assert (line["code"], line["expected"], line["got"]) == ("cookie_missing", "the cookie", "none")
    assert line["remedy"] == CookieMissing.remedy
    assert "email_domain" not in line


@pytest.mark.requirement("S-55")
@pytest.mark.parametrize(
    ("log_email", "shown"),
    [
        pytest.param("plain", {"email"}, id="plain: the address"),
        pytest.param("hashed", {"email_hash", "email_domain"}, id="hashed: a hash and the domain"),
        pytest.param("none", set(), id="none: nothing"),
    ],
)
def test_the_address_appears_as_the_admin_wants(log_email: LogEmail, shown: set[str], log: Written) -> None:
    event_log(log_email).write(SIGNED_IN)
    (line,) = log.lines
    assert {"email", "email_hash", "email_domain"} & set(line) == shown
    text = json.dumps(line)
    assert ("ada@acme.example" in text) is (log_email == "plain")
    assert "Lovelace" not in text
    assert "00u-ada" not in text


def test_the_hash_tells_people_apart_and_needs_the_key(log: Written) -> None:
    grace = replace(ADA, email="grace@acme.example")
    for of, person in ((event_log(), ADA), (event_log(), ADA), (event_log(), grace), (event_log(key="o" * 32), ADA)):
        of.write(replace(SIGNED_IN, identity=person))
    first, again, other, rekeyed = (line["email_hash"] for line in log.lines)
    assert first == again
    assert len({first, other, rekeyed}) == 3


@pytest.mark.requirement("S-58")
def test_every_insecure_option_is_warned_of_each_time(log: Written) -> None:
    options = ["log_email_plain", "trust_unverified_email:identity_providers.okta"]
    for _ in range(2):
        warn_of_insecure_options(options)
    assert [(line["level"], line["option"]) for line in log.lines] == [("warning", one) for one in 2 * options]


@pytest.mark.parametrize(
    ("days_left", "warned"),
    [
        pytest.param(-1, True, id="yesterday"),
        pytest.param(0, True, id="today"),
        pytest.param(EXPIRY_WARNING_DAYS, True, id="soon"),
        pytest.param(EXPIRY_WARNING_DAYS + 1, False, id="not soon"),
    ],
)
def test_a_client_secret_about_to_expire_is_warned_of(days_left: int, warned: bool, log: Written) -> None:
    today = datetime(2027, 1, 15, tzinfo=UTC)
    expires = today + timedelta(days=days_left)
    warn_of_expiry("idp", expires.date(), now=today.timestamp())
    expected = [(expires.date().isoformat(), days_left)] if warned else []
    assert [(line["expires"], line["days_left"]) for line in log.lines] == expected


@pytest.mark.requirement("S-58")
@pytest.mark.anyio
async def test_a_service_with_insecure_options_says_so_in_the_log(world: World, log: Written) -> None:
    world.settings["log_email"] = "plain"
    world.settings["identity_providers"]["idp"] |= {"trust_unverified_email": True, "allow_private_network": True}
    async with world.broker() as service:
        browser = world.browser(service)
        await browser.sign_in()
    options = [line["option"] for line in log.lines if line["event"] == "insecure option is on"]
    assert options == [
        "log_email_plain",
        "allow_private_network:identity_providers.idp",
        "trust_unverified_email:identity_providers.idp",
    ]
    assert [line["email"] for line in log.lines if line["event"] == "sign-in"] == ["ada@acme.example"]
    assert world.clock() == START


@pytest.mark.parametrize(
    ("outcome", "result", "reason"),
    [
        pytest.param(SIGNED_IN, "admitted", "none", id="admitted"),
        pytest.param(REFUSED, "refused", "cookie_missing", id="refused"),
        pytest.param(FAILED, "failed", "provider_timed_out", id="failed"),
    ],
)
def test_a_test_sign_in_has_its_own_line(log: Written, outcome: SignInEvent, result: str, reason: str) -> None:
    event_log().write(replace(outcome, is_dry_run=True))
    (line,) = log.lines
    assert (line["event"], line["result"], line["code"]) == ("test sign-in", result, reason)
    assert "ada@acme.example" not in json.dumps(line)


def test_only_lines_that_strangers_cannot_cause_are_kept_longest(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    not_admitted = EmailDomainNotAllowed(expected="acme.example", got="other.example")
    not_admitted.subject = "00u-eve"
    refused = replace(SIGNED_IN, error=not_admitted, identity=None)
    for event in (SIGNED_IN, refused, replace(REFUSED, is_dry_run=True), REFUSED, FAILED):
        event_log().write(event)
    assert [vars(record)["from_anybody"] for record in caplog.records] == [False, False, False, True, True]
