"""The service as a process: two ports, an orderly end, and more connections than it can hold."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import gc
import os
import signal
import socket
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

from broker.server import GC_THRESHOLD, collect_rarely, listen
from broker.settings import Listen
from tests.fakes.log_record import LogRecord
from tests.fakes.ports import free_port
from tests.fakes.processes import BrokerProcess, Gate, provider_site, running_broker, served, wait_until
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
    assert 'comm100_sso_insecure_option_enabled{option="public_url_without_tls"} 1.0' in exported
    assert 'reason="no_such_page"' in exported


def test_the_operations_port_takes_an_announced_but_empty_body_for_none(broker: BrokerProcess) -> None:
    probe = b"GET /healthz HTTP/1.1\r\nHost: a\r\n"
    empty = b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    with socket.create_connection(("127.0.0.1", urlsplit(broker.operations).port or 0), timeout=20) as connection:
        connection.sendall(probe + empty + probe + b"Connection: close\r\n\r\n")
        received = b"".join(iter(lambda: connection.recv(65536), b""))
    assert received.count(b"HTTP/1.1 200 OK") == 2


@pytest.mark.parametrize("by", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "Ctrl-C"])
def test_a_signal_ends_the_service_with_status_0(by: signal.Signals, broker: BrokerProcess) -> None:
    with browser() as idle:
        idle.get(broker.public)  # its connection is kept, and must not keep the service
        started = time.monotonic()
        assert broker.stop(by) == 0
        assert time.monotonic() - started < 15  # of the 24 a request in flight would have
    assert broker.lines()[-1]["event"] == "stopped"
    assert broker.errors.read_text(encoding="utf-8") == ""


def test_a_sign_in_under_way_is_finished_before_the_service_ends(broker: BrokerProcess, gate: Gate) -> None:
    with browser() as person, ThreadPoolExecutor(1) as meanwhile:
        callback = to_callback(person, broker)
        gate.opened.clear()
        arriving = meanwhile.submit(person.get, callback)
        assert gate.reached.wait(30)
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
            wait_until(lambda: person.get(f"{broker.public}/login").status_code == 303, "it recovers")
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
def test_idle_connections_beyond_half_of_the_open_files_give_way_to_the_newest_and_stop_nothing_else(
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
        assert is_signed_by(token_in(person.get(to_callback(person, broker))), SHARED_SECRET), "beside all of them"
        idle.close()
        assert is_signed_by(token_in(person.get(to_callback(person, broker))), SHARED_SECRET)
    assert broker.errors.read_text(encoding="utf-8") == ""


def test_an_ipv6_socket_names_ipv4_addresses_and_believes_ipv4_proxies(
    tmp_path: Path, at_provider: FakeProvider
) -> None:
    port = free_port()
    settings = {**settings_of(at_provider, port), "trusted_proxies": ["127.0.0.0/8"]}
    with running_broker(tmp_path, settings, port, host="[::]") as broker, browser() as person:
        person.get(f"{broker.public}/login/nowhere", headers={"X-Forwarded-For": "203.0.113.7:51234"})
        person.get(f"{broker.public}/login/nowhere")
        clients = [line["client"] for line in broker.lines() if line["event"] == "sign-in"]
    assert clients == ["203.0.113.7", "127.0.0.1"]


@pytest.mark.requirement("S-55")
@pytest.mark.parametrize(
    ("log_email", "shown"),
    [
        pytest.param("hashed", "***@acme.example", id="masked"),
        pytest.param("plain", "/agent/ada@acme.example", id="as it is, where the admin wants addresses in plain"),
    ],
)
def test_an_address_in_what_others_say_is_written_as_the_admin_wants(
    tmp_path: Path, at_provider: FakeProvider, log_email: str, shown: str
) -> None:
    port = free_port()
    settings = {**settings_of(at_provider, port), "log_email": log_email}
    page = f"{ENDPOINT.partition('/AdminWebService')[0]}/agent/ada@acme.example"
    with running_broker(tmp_path, settings, port) as broker, browser() as person:
        assert person.get(f"{broker.public}/login", params={"redirect_url": page}).status_code == 303
        paths = [line["redirect_url_path"] for line in broker.lines() if line["event"] == "sign-in begins"]
    assert paths == [shown]


@pytest.mark.anyio
async def test_a_port_that_stays_taken_is_refused_in_the_end_with_what_to_do() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        free = Listen("127.0.0.1", free_port())
        with pytest.raises(OSError, match="Stop the other program") as refusal:
            await listen((free, Listen("127.0.0.1", port)), asyncio.Event(), seconds=0.1)
        with socket.create_server(("127.0.0.1", free.port)):
            pass  # the first port is free again
    assert f"cannot listen on 127.0.0.1:{port}: Address already in use" in str(refusal.value)


@pytest.mark.anyio
async def test_an_address_that_does_not_exist_yet_is_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    missing = Listen("192.0.2.1", free_port())
    with pytest.raises(OSError, match="No network interface has this address"):
        await listen((missing, Listen("127.0.0.1", free_port())), asyncio.Event(), seconds=0.1)
    assert [record.getMessage() for record in caplog.records if record.levelname == "WARNING"] == [
        "port is not available"
    ]


@pytest.mark.anyio
async def test_a_stop_ends_the_wait_for_a_port() -> None:
    stop = asyncio.Event()
    with socket.create_server(("127.0.0.1", 0)) as other:
        addresses = (Listen("127.0.0.1", other.getsockname()[1]), Listen("127.0.0.1", free_port()))
        waiting = asyncio.create_task(listen(addresses, stop))
        await asyncio.sleep(0.05)
        stop.set()
        assert await waiting is None


@pytest.mark.anyio
async def test_a_port_that_only_root_may_use_is_refused_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(socket.socket, "bind", refuse)  # the tests may run as root
    with pytest.raises(PermissionError, match="CAP_NET_BIND_SERVICE"):
        await listen((Listen("127.0.0.1", 80), Listen("127.0.0.1", 81)), asyncio.Event())


def test_the_collector_passes_over_what_the_start_made() -> None:
    before = gc.get_threshold()
    try:
        collect_rarely()
        assert gc.get_threshold()[0] == GC_THRESHOLD
        assert gc.get_freeze_count() > 10_000
        assert len(gc.get_objects()) < 1_000
    finally:
        gc.unfreeze()
        gc.set_threshold(*before)


def test_a_log_that_nobody_reads_stops_neither_sign_ins_nor_probes_nor_the_stop(
    tmp_path: Path, at_provider: FakeProvider
) -> None:
    port = free_port()
    reader, end = os.pipe()
    fcntl.fcntl(end, fcntl.F_SETPIPE_SZ, 4096)  # full after a dozen lines
    with running_broker(tmp_path, settings_of(at_provider, port), port, stdout=end) as broker, browser() as person:
        for _ in range(40):
            assert token_in(person.get(to_callback(person, broker)))
        assert [broker.status(path) for path in ("/healthz", "/readyz", "/metrics")] == [200, 200, 200]
        began = time.monotonic()
        assert broker.stop() == 0
        assert time.monotonic() - began < 10, "the flush of the log has an end"
    os.close(end)
    os.close(reader)
