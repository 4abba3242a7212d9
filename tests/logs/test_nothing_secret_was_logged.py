"""The last test of a session: all that was logged, by every logger at its lowest level, against all that was issued.

`tests/conftest.py` puts this module behind all others. The tests of the comparison itself come first.
"""

from __future__ import annotations

import logging
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest

from broker.log import log_to
from tests.fakes.log_record import LogRecord, secrets_in
from tests.fakes.world import PAGE, SECRET_KEY, World

SECRET = "Vx4-dR9_kQ2mZ7wB1nT5yH8cJ3pL6sA0"
AWKWARD = "an:awkward %odd+secret"
TOKEN = f"eyJhbGciOiJSUzI1NiJ9.{SECRET}.c2lnbmF0dXJlLW9mLW5vYm9keQ"


@pytest.fixture
def own_record(tmp_path: Path) -> LogRecord:
    return LogRecord(tmp_path / "own.log")


@pytest.mark.parametrize("level", [logging.DEBUG, logging.INFO, logging.ERROR], ids=logging.getLevelName)
@pytest.mark.parametrize(
    ("secret", "written"),
    [
        pytest.param(SECRET, SECRET, id="as it is"),
        pytest.param(SECRET, f"/callback/idp?code={SECRET}&x=y", id="in a query"),
        pytest.param(SECRET, f"prefix-{SECRET}_suffix", id="inside a longer word"),
        pytest.param(SECRET * 20, SECRET * 3, id="cut short"),
        pytest.param(TOKEN, SECRET, id="the claims of a token alone"),
        pytest.param(AWKWARD, AWKWARD, id="with characters of its own"),
        pytest.param(AWKWARD, quote(AWKWARD, safe=""), id="percent-encoded"),
        pytest.param('a"quoted\\secret', 'said "a\\"quoted\\\\secret"', id="escaped as JSON"),
    ],
)
def test_a_secret_in_a_message_is_found(own_record: LogRecord, level: int, secret: str, written: str) -> None:
    own_record.add_secrets([secret])
    with own_record.listening():
        logging.getLogger("some.package").log(level, "it happened: %s", written)
    (leak,) = own_record.leaks()
    assert "it happened" in leak


def test_a_secret_among_the_facts_of_an_event_is_found(own_record: LogRecord) -> None:
    own_record.add_secrets([SECRET])
    with own_record.listening():
        logging.getLogger("broker").info("sign-in", extra={"facts": {"got": f"state {SECRET}"}})
    assert len(own_record.leaks()) == 1


def test_a_secret_that_only_an_exception_names_is_found(own_record: LogRecord) -> None:
    own_record.add_secrets([SECRET])
    with own_record.listening():
        try:
            raise ValueError(SECRET)
        except ValueError:
            logging.getLogger("broker").exception("defect")
    assert len(own_record.leaks()) == 1


def test_a_secret_in_the_log_of_another_process_is_found(own_record: LogRecord, tmp_path: Path) -> None:
    log = tmp_path / "broker.log"
    log.write_text(f'{{"event": "started"}}\n{{"event": "{SECRET}"}}\n')
    own_record.add_secrets([SECRET])
    own_record.add_file(log)
    assert own_record.leaks() == [f"{SECRET!r} in " + repr(f'{{"event": "{SECRET}"}}')]


@pytest.mark.parametrize("library", ["asyncio", "httpx", "uvicorn"])
def test_a_library_that_a_broker_told_to_be_quiet_is_heard_all_the_same(own_record: LogRecord, library: str) -> None:
    own_record.add_secrets([SECRET])
    log_to(None).close()
    with own_record.listening():
        logging.getLogger(library).debug("https://idp.example/token %s", SECRET)
    logging.getLogger().handlers.clear()  # pytest and the session's record come back with the next test
    assert len(own_record.leaks()) == 1


@pytest.mark.parametrize(
    ("address", "leaks"),
    [
        pytest.param("https://sso.acme.example/callback/idp", 0, id="where a browser of the tests goes"),
        pytest.param("https://idp.example/token", 1, id="where the broker goes"),
    ],
)
def test_addresses_are_looked_at_unless_a_browser_went_there(own_record: LogRecord, address: str, leaks: int) -> None:
    own_record.add_secrets([SECRET])
    with own_record.listening():
        logging.getLogger("httpx").info('HTTP Request: %s %s "%s"', "GET", f"{address}?code={SECRET}", "HTTP/1.1 200")
    assert len(own_record.leaks()) == leaks


def test_what_is_nobodys_secret_is_no_leak(own_record: LogRecord) -> None:
    own_record.add_secrets([SECRET, "short"])
    with own_record.listening():
        logging.getLogger("broker").info("short, and %s", SECRET.swapcase())
    assert own_record.leaks() == []


def test_the_secrets_of_an_answer_are_its_cookies_and_what_its_address_carries() -> None:
    headers = httpx.Headers(
        [
            ("location", "https://idp.example/?scope=openid&state=S&nonce=N&code=C&jwt=J"),
            ("set-cookie", "a=b.c; Path=/"),
        ]
    )
    assert secrets_in(headers) == ["b.c", "S", "N", "C", "J"]


@pytest.mark.requirement("S-55")
async def test_no_log_of_this_session_holds_anything_secret(
    world: World, log_record: LogRecord, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Codes, states, nonces, verifiers, tokens, cookies and secrets, of every test that ran before this one."""
    log_record.add_logs_below(tmp_path_factory.getbasetemp())
    async with world.broker() as service:
        await world.browser(service).sign_in(redirect_url=PAGE)
    log_record.add_secrets(world.secrets())
    assert "signed_in" in log_record.text()
    assert len(log_record.secrets) >= 8
    assert SECRET_KEY in log_record.secrets
    assert log_record.leaks() == []
