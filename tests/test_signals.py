"""Signals to the service as a process: a reload loses no request, and no other signal does harm."""

from __future__ import annotations

import fcntl
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
import yaml

from tests.fakes.log_record import LogRecord
from tests.fakes.ports import free_port
from tests.fakes.processes import BrokerProcess, provider_site, running_broker, served, wait_until
from tests.fakes.provider import FakeProvider
from tests.fakes.world import SHARED_SECRET
from tests.test_server import ENDPOINT, browser, is_signed_by, settings_of, to_callback, token_in


@pytest.fixture
def at_provider(log_record: LogRecord) -> Iterator[FakeProvider]:
    provider = FakeProvider(f"http://127.0.0.1:{free_port()}", time.time)
    with served(provider_site(provider), urlsplit(provider.issuer).port):
        yield provider
    log_record.add_secrets(provider.issued)


@pytest.fixture
def broker(tmp_path: Path, at_provider: FakeProvider) -> Iterator[BrokerProcess]:
    port = free_port()
    with running_broker(tmp_path, settings_of(at_provider, port), port) as running:
        yield running


def change(folder: Path, edit: Callable[[dict[str, Any]], object]) -> None:
    """Replace the settings file by one that differs."""
    settings = yaml.safe_load((folder / "broker.yaml").read_text(encoding="utf-8"))
    edit(settings)
    (folder / "new.yaml").write_text(yaml.safe_dump(settings, sort_keys=False), encoding="utf-8")
    (folder / "new.yaml").rename(folder / "broker.yaml")


def written(broker: BrokerProcess, event: str) -> list[dict[str, Any]]:
    return [line for line in broker.lines() if line["event"] == event]


def reload(broker: BrokerProcess, event: str = "settings reloaded") -> dict[str, Any]:
    """Send SIGHUP and return the line that it causes."""
    before = len(written(broker, event))
    broker.process.send_signal(signal.SIGHUP)
    wait_until(lambda: len(written(broker, event)) > before, event, seconds=15)
    return written(broker, event)[-1]


def exported(broker: BrokerProcess, sample: str) -> float | None:
    """Return the value of a sample of the metrics; None if there is none."""
    lines = httpx.get(f"{broker.operations}/metrics", trust_env=False).text.splitlines()
    return next((float(line.rpartition(" ")[2]) for line in lines if line.rpartition(" ")[0] == sample), None)


def test_sighup_uses_the_new_settings(broker: BrokerProcess, tmp_path: Path, at_provider: FakeProvider) -> None:
    new_secret = "B" * 20 + "c" * 20
    with browser() as person:
        assert is_signed_by(token_in(person.get(to_callback(person, broker))), SHARED_SECRET)

        def edit(settings: dict[str, Any]) -> None:
            settings["log_email"] = "plain"
            settings["sites"]["main"]["shared_secret"] = new_secret
            settings["sites"]["eu"] = {"endpoint": ENDPOINT, "shared_secret": "D" * 20 + "e" * 20}

        change(tmp_path, edit)
        reloaded = reload(broker)
        assert is_signed_by(token_in(person.get(to_callback(person, broker))), new_secret)
        assert person.get(f"{broker.public}/login/eu").status_code == 303
    assert reloaded["added"] == ["sites.eu"]
    assert reloaded["removed"] == []
    assert reloaded["changed"] == ["log_email", "sites.main.shared_secret"]
    assert [line.get("email") for line in written(broker, "sign-in")] == [None, "ada@acme.example"]
    assert "ada@acme.example" in broker.output.read_text(encoding="utf-8"), "the log no longer masks addresses"
    assert (at_provider.count("/keys"), at_provider.count("/.well-known/openid-configuration")) == (1, 1)
    assert new_secret not in broker.output.read_text(encoding="utf-8")
    counted = 'comm100_sso_signins_total{provider="idp",reason="none",result="signed_in",site="main"}'
    assert exported(broker, counted) == 2, "the first sign-in still counts"
    assert exported(broker, "comm100_sso_settings_file_rejected") == 0
    since = time.time() - (exported(broker, "comm100_sso_settings_reloaded_timestamp_seconds") or 0)
    assert 0 <= since < 15


def test_no_request_is_lost_while_the_settings_are_swapped_again_and_again(
    broker: BrokerProcess, tmp_path: Path
) -> None:
    swaps = 0
    with ThreadPoolExecutor(4) as people:
        working = [people.submit(sign_in_often, broker, 12) for _ in range(4)]
        while not all(each.done() for each in working):
            swaps += 1
            change(tmp_path, renamed(f"Acme {swaps}"))
            broker.process.send_signal(signal.SIGHUP)
            time.sleep(0.1)
        assert sum(each.result() for each in working) == 48
    assert len(written(broker, "settings reloaded")) >= 2
    assert not written(broker, "settings file rejected")
    assert not written(broker, "defect")


def renamed(name: str) -> Callable[[dict[str, Any]], object]:
    return lambda settings: settings.update(site_name=name)


def sign_in_often(broker: BrokerProcess, times: int) -> int:
    for _ in range(times):
        with browser() as person:
            token_in(person.get(to_callback(person, broker)))
    return times


def test_200_signals_in_a_burst_cause_few_reloads_and_leave_nothing_open(broker: BrokerProcess) -> None:
    reload(broker)
    files = Path(f"/proc/{broker.process.pid}/fd")
    before = len(list(files.iterdir()))
    for _ in range(200):
        broker.process.send_signal(signal.SIGHUP)
        time.sleep(0.005)
    count = len(written(broker, "settings reloaded"))
    reload(broker)
    assert count < 10
    wait_until(lambda: len(list(files.iterdir())) <= before + 2, "what the old settings opened is closed", seconds=10)
    assert not written(broker, "defect")


HARMLESS = [
    *(signal.SIGUSR1, signal.SIGUSR2, signal.SIGALRM, signal.SIGVTALRM, signal.SIGPROF, signal.SIGPIPE, signal.SIGIO),
    *(signal.SIGPWR, signal.SIGSTKFLT, signal.SIGXCPU, signal.SIGXFSZ, signal.SIGWINCH, signal.SIGURG, signal.SIGCHLD),
    *(signal.SIGRTMIN, signal.SIGRTMIN + 3, signal.SIGRTMAX),
]


def test_signals_that_mean_nothing_do_nothing_and_sigquit_stops(broker: BrokerProcess) -> None:
    wait_until(lambda: bool(written(broker, "identity provider is ready")), "the service is warm")
    before = broker.lines()
    for number in HARMLESS:
        broker.process.send_signal(number)
    with browser() as person:
        assert is_signed_by(token_in(person.get(to_callback(person, broker))), SHARED_SECRET)
    assert [line["event"] for line in broker.lines()[len(before) :]] == ["sign-in begins", "sign-in"]
    assert broker.stop(signal.SIGQUIT) == 0
    assert broker.lines()[-1]["event"] == "stopped"


def test_with_a_stop_delay_requests_are_answered_until_the_delay_or_a_second_signal_ends(
    tmp_path: Path, at_provider: FakeProvider
) -> None:
    port = free_port()
    settings = {**settings_of(at_provider, port), "stop_delay": 300}
    with running_broker(tmp_path, settings, port) as broker, browser() as person:
        broker.process.send_signal(signal.SIGTERM)
        wait_until(lambda: broker.status("/readyz") == 503, "readiness is withdrawn")
        assert is_signed_by(token_in(person.get(to_callback(person, broker))), SHARED_SECRET)
        assert broker.stop() == 0, "the second signal"


def test_signals_while_the_last_lines_of_the_log_are_written_do_not_end_the_service(
    tmp_path: Path, at_provider: FakeProvider
) -> None:
    port, (reader, end) = free_port(), os.pipe()
    fcntl.fcntl(end, fcntl.F_SETPIPE_SZ, 4096)
    with running_broker(tmp_path, settings_of(at_provider, port), port, stdout=end) as broker, browser() as person:
        for _ in range(30):
            person.get(f"{broker.public}/nothing")
        broker.process.send_signal(signal.SIGTERM)
        time.sleep(1.5)  # the service is over, and nobody reads its log
        for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM):
            broker.process.send_signal(number)
        assert broker.process.wait(10) == 0
    os.close(end)
    os.close(reader)


def test_a_port_that_is_taken_for_a_moment_is_tried_again(tmp_path: Path, at_provider: FakeProvider) -> None:
    port = free_port()
    with socket.create_server(("127.0.0.1", port)) as other, ThreadPoolExecutor(1) as meanwhile:

        def release() -> None:
            output = tmp_path / "stdout.txt"
            wait_until(lambda: output.exists() and "port is not available" in output.read_text(), "the warning")
            other.close()

        released = meanwhile.submit(release)
        with running_broker(tmp_path, settings_of(at_provider, port), port) as broker, browser() as person:
            released.result(30)
            assert is_signed_by(token_in(person.get(to_callback(person, broker))), SHARED_SECRET)
            (warned,) = written(broker, "port is not available")
            assert f"127.0.0.1:{port}: Address already in use" in warned["got"]
