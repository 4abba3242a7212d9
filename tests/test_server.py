"""The service as a process: two ports, an orderly end, and requests that never arrive in full."""

from __future__ import annotations

import asyncio
import signal
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import jwt
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from broker.server import MAX_HEAD_BYTES, BoundedProtocol
from tests.fakes.log_record import LogRecord
from tests.fakes.processes import BrokerProcess, Gate, free_port, provider_site, running_broker, served, wait_until
from tests.fakes.provider import FakeProvider
from tests.fakes.world import SHARED_SECRET, settings_for

ENDPOINT = "http://127.0.0.1:9/AdminWebService/SSO/SSOJWTConsumer.aspx"  # the browser stops before it


def settings_of(provider: FakeProvider, public_port: int) -> dict[str, Any]:
    settings = settings_for(provider)
    settings["public_url"] = f"http://127.0.0.1:{public_port}"
    settings["sites"]["main"]["endpoint"] = ENDPOINT
    return settings


def browser() -> httpx.Client:
    return httpx.Client(trust_env=False, follow_redirects=False, timeout=20)


def to_callback(person: httpx.Client, broker: BrokerProcess) -> str:
    """Sign in at the provider and return the address it sends the browser back to."""
    departed = person.get(f"{broker.public}/login")
    assert departed.status_code == 303, departed.text
    return str(person.get(departed.headers["location"]).headers["location"])


def token_in(answer: httpx.Response) -> str:
    assert answer.status_code == 303, answer.text
    location = answer.headers["location"]
    assert location.startswith(ENDPOINT)
    return parse_qs(urlsplit(location).query)["jwt"][0]


def is_signed_by(token: str, secret: str) -> bool:
    try:
        jwt.decode(token, secret, ["HS256"], audience="Comm100")
    except jwt.InvalidSignatureError:
        return False
    return True


@pytest.fixture
def provider(log_record: LogRecord) -> Iterator[FakeProvider]:
    provider = FakeProvider(f"http://127.0.0.1:{free_port()}", time.time)
    yield provider
    log_record.add_secrets(provider.issued)


@pytest.fixture
def gate() -> Iterator[Gate]:
    """Hold back the token endpoint, once the test closes it."""
    gate = Gate("/token")
    gate.opened.set()
    yield gate
    gate.opened.set()


@pytest.fixture
def at_provider(provider: FakeProvider, gate: Gate) -> Iterator[FakeProvider]:
    with served(provider_site(provider, gate), urlsplit(provider.issuer).port):
        yield provider


@pytest.fixture
def broker(tmp_path: Path, at_provider: FakeProvider) -> Iterator[BrokerProcess]:
    port = free_port()
    with running_broker(tmp_path, settings_of(at_provider, port), port) as running:
        yield running


@pytest.mark.requirement("S-55")
def test_a_person_signs_in_over_real_sockets_and_only_json_is_written(broker: BrokerProcess) -> None:
    with browser() as person:
        for _ in range(5):
            person.get(f"{broker.public}/")
        token = token_in(person.get(to_callback(person, broker)))
    assert is_signed_by(token, SHARED_SECRET)
    assert broker.stop() == 0
    assert [line["result"] for line in broker.lines() if line["event"] == "sign-in"] == ["signed_in"]
    written = broker.output.read_text(encoding="utf-8") + broker.errors.read_text(encoding="utf-8")
    assert "GET /" not in written, "no access log"
    assert token not in written
    assert broker.errors.read_text(encoding="utf-8") == ""


@pytest.mark.requirement("S-56")
def test_metrics_and_health_are_on_the_operations_port_only(broker: BrokerProcess) -> None:
    assert [broker.status(path) for path in ("/healthz", "/readyz", "/metrics")] == [200, 200, 200]
    assert [broker.status(path) for path in ("/", "/login", "/callback/idp", "/setup")] == [404, 404, 404, 404]
    with browser() as person:
        for path in ("/healthz", "/readyz", "/metrics", "/docs", "/openapi.json"):
            assert person.get(broker.public + path).status_code == 404
        for answer in (person.get(broker.public), person.get(f"{broker.operations}/healthz")):
            assert "server" not in answer.headers
    exported = httpx.get(f"{broker.operations}/metrics", trust_env=False).text
    assert 'broker_weakening{option="public_url_without_tls"} 1.0' in exported
    assert 'reason="no_such_page"' in exported


@pytest.mark.parametrize("by", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "Ctrl-C"])
def test_a_signal_ends_the_service_with_status_0(by: signal.Signals, broker: BrokerProcess) -> None:
    with browser() as idle:
        idle.get(broker.public)  # its connection is kept, and must not keep the service
        started = time.monotonic()
        assert broker.stop(by) == 0
        assert time.monotonic() - started < 5
    assert broker.lines()[-1]["event"] == "stopped"
    assert broker.errors.read_text(encoding="utf-8") == ""


def test_a_sign_in_under_way_is_finished_before_the_service_ends(broker: BrokerProcess, gate: Gate) -> None:
    with browser() as person, ThreadPoolExecutor(1) as meanwhile:
        callback = to_callback(person, broker)
        gate.opened.clear()
        arriving = meanwhile.submit(person.get, callback)
        assert gate.reached.wait(10)
        broker.process.send_signal(signal.SIGTERM)
        wait_until(lambda: broker.status("/readyz") == 503, "readiness is withdrawn")
        assert broker.status("/healthz") == 200
        wait_until(lambda: not is_taken(broker.public), "no new connection is taken")
        assert broker.process.poll() is None
        gate.opened.set()
        assert is_signed_by(token_in(arriving.result(20)), SHARED_SECRET)
    assert broker.process.wait(20) == 0


def is_taken(address: str) -> bool:
    parts = urlsplit(address)
    with socket.socket() as probe:
        return probe.connect_ex((str(parts.hostname), int(parts.port or 0))) == 0


@pytest.mark.requirement("S-44")
def test_a_provider_that_is_down_at_the_start_stops_nothing_and_costs_no_restart(
    tmp_path: Path, provider: FakeProvider
) -> None:
    port = free_port()
    with running_broker(tmp_path, settings_of(provider, port), port) as broker, browser() as person:
        assert broker.status("/readyz") == 200
        refused = person.get(f"{broker.public}/login")
        assert refused.status_code == 503
        assert "provider_unreachable" in refused.text
        with served(provider_site(provider), urlsplit(provider.issuer).port):
            wait_until(lambda: person.get(f"{broker.public}/login").status_code == 303, "it recovers", seconds=10)
            assert is_signed_by(token_in(person.get(to_callback(person, broker))), SHARED_SECRET)
        failures = [line for line in broker.lines() if line["event"] == "identity provider is not usable"]
        assert [line["code"] for line in failures] == ["provider_unreachable"]


def test_secrets_in_files_are_read_again_without_a_restart(tmp_path: Path, at_provider: FakeProvider) -> None:
    port = free_port()
    settings = settings_of(at_provider, port)
    new_secret, file = "B" * 20 + "c" * 20, tmp_path / "shared-secret"
    file.write_text(f"{SHARED_SECRET}\n", encoding="utf-8")
    settings["sites"]["main"] = {"endpoint": ENDPOINT, "shared_secret_file": str(file)}
    with running_broker(tmp_path, settings, port) as broker, browser() as person:
        assert is_signed_by(token_in(person.get(to_callback(person, broker))), SHARED_SECRET)
        file.write_text(f"{new_secret}\n", encoding="utf-8")
        time.sleep(1.1)  # the file is looked at once a second
        assert is_signed_by(token_in(person.get(to_callback(person, broker))), new_secret)
        written = broker.output.read_text(encoding="utf-8")
        assert new_secret not in written
        assert SHARED_SECRET not in written


@pytest.mark.parametrize("open_files", [256, 1024])
@pytest.mark.parametrize("in_a_burst", [False, True], ids=["one by one", "in a burst"])
def test_idle_connections_beyond_half_of_the_open_files_are_not_kept_and_stop_nothing_else(
    tmp_path: Path, at_provider: FakeProvider, open_files: int, in_a_burst: bool
) -> None:
    port = free_port()
    with (
        running_broker(tmp_path, settings_of(at_provider, port), port, open_files=open_files) as broker,
        ExitStack() as idle,
        browser() as person,
    ):
        written = broker.lines()
        if in_a_burst:  # as it finds them after it was busy for a moment
            broker.process.send_signal(signal.SIGSTOP)
        for number in range(open_files):
            connection = idle.enter_context(socket.socket())
            connection.setblocking(not in_a_burst)
            connection.connect_ex(("127.0.0.1", port))
            if not in_a_burst and number % 10 == 0:
                time.sleep(0.005)  # gives it the time to take them
        broker.process.send_signal(signal.SIGCONT)
        held = []
        for _ in range(20):
            assert broker.status("/healthz") == 200
            held.append(len(list(Path(f"/proc/{broker.process.pid}/fd").iterdir())))
        assert max(held) < open_files
        assert in_a_burst or max(held) > open_files // 2
        assert broker.lines() == written
        idle.close()
        assert is_signed_by(token_in(person.get(to_callback(person, broker))), SHARED_SECRET)
    assert broker.errors.read_text(encoding="utf-8") == ""


class Hasty(BoundedProtocol):
    """The same protocol with less patience, so that nobody waits for ten seconds."""

    seconds = 0.4


async def at_once(_: Request) -> PlainTextResponse:
    return PlainTextResponse("here")


async def later(_: Request) -> PlainTextResponse:
    await asyncio.sleep(3 * Hasty.seconds)
    return PlainTextResponse("at last")


SITE = Starlette(routes=[Route("/", at_once), Route("/later", later)])


@pytest.fixture(scope="module")
def hasty_port() -> Iterator[int]:
    with served(SITE, http=Hasty, server_header=False) as port:
        yield port


def all_of(connection: socket.socket) -> bytes:
    """Read until the server hangs up; a reset is a way to hang up."""
    received = b""
    try:
        while chunk := connection.recv(65536):
            received += chunk
    except ConnectionError:
        pass
    return received


HEAD = b"GET / HTTP/1.1\r\nHost: sso.acme.example\r\n"
REFUSED_BODY = b"POST / HTTP/1.1\r\nHost: sso.acme.example\r\nContent-Length: 1000\r\n\r\n"


@pytest.mark.parametrize(
    ("sent", "dripped", "answer"),
    [
        pytest.param(b"", b"", b"", id="nothing at all"),
        pytest.param(HEAD, b"", b"", id="half a head"),
        pytest.param(b"", HEAD + b"X: y\r\n" * 100, b"", id="a head, byte by byte"),
        pytest.param(HEAD + b"\r\n" + HEAD, b"", b"200 OK", id="a request and half of another"),
        pytest.param(REFUSED_BODY, b"", b"405", id="a head that announces a body, and no body"),
        pytest.param(REFUSED_BODY, b"x" * 1000, b"405", id="a body, byte by byte"),
    ],
)
def test_a_request_that_does_not_arrive_in_time_loses_its_connection(
    sent: bytes, dripped: bytes, answer: bytes, hasty_port: int
) -> None:
    started = time.monotonic()
    with socket.create_connection(("127.0.0.1", hasty_port), timeout=10) as connection:
        connection.sendall(sent)
        dripping = threading.Thread(target=drip, args=(connection, dripped))
        dripping.start()
        received = all_of(connection)
        dripping.join()
    assert time.monotonic() - started < 5
    assert (answer in received) if answer else received == b""


def drip(connection: socket.socket, data: bytes) -> None:
    for byte in data:
        try:
            connection.sendall(bytes([byte]))
        except OSError:
            return
        time.sleep(0.02)


def test_time_spent_answering_is_not_the_browsers(hasty_port: int) -> None:
    with browser() as person:
        assert person.get(f"http://127.0.0.1:{hasty_port}/later").text == "at last"
        assert person.get(f"http://127.0.0.1:{hasty_port}/later").text == "at last"


def test_a_head_of_60_megabytes_is_refused_after_the_first_of_them(hasty_port: int) -> None:
    sent = 0
    with socket.create_connection(("127.0.0.1", hasty_port), timeout=10) as connection:
        connection.sendall(HEAD + b"X: ")
        try:
            while sent < 60_000_000:
                sent += connection.send(b"x" * 65536)
        except ConnectionError:
            pass
    assert sent < 20 * MAX_HEAD_BYTES + 8_000_000, "what the kernel buffers, and no more"


def test_what_is_no_request_gets_the_same_headers_as_any_other(hasty_port: int) -> None:
    with socket.create_connection(("127.0.0.1", hasty_port), timeout=10) as connection:
        connection.sendall(b"<script>alert(1)</script>\r\n\r\n")
        received = all_of(connection).lower()
    assert received.startswith(b"http/1.1 400 ")
    assert b"content-security-policy: default-src 'none'" in received
    assert b"server:" not in received
    assert b"script" not in received
