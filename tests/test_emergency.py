"""Break-glass: an agent is signed in without provider and service, and everybody is told."""

from __future__ import annotations

import json
import socket
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import jwt
import pytest
import yaml

from broker import emergency
from broker.signing import sign_value
from tests.fakes.clock import Clock
from tests.fakes.command import run
from tests.fakes.ports import free_port
from tests.fakes.processes import BrokerProcess, running_broker, wait_until
from tests.fakes.provider import FakeProvider
from tests.fakes.world import ENDPOINT, PAGE, SECRET_KEY, SHARED_SECRET, World, metrics, settings_for
from tests.test_server import settings_of

LEAD = "lead@acme.example"
FACTS = {"site": "main", "token_id": "x"}
METRIC = 'comm100_sso_emergency_links_total{site="main"}'


@pytest.fixture
def settings() -> dict[str, Any]:
    settings = settings_for(FakeProvider("https://idp.example", Clock()))
    settings["sites"]["main"]["emergency_access"] = [LEAD, "Ceo@Elsewhere.example"]
    settings["operations_listen"] = f"127.0.0.1:{free_port()}"
    return settings


def issue(folder: Path, settings: dict[str, Any], *arguments: str) -> Any:
    (folder / "broker.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    return run("emergency-link", *arguments, folder=folder)


def test_the_address_has_the_token_of_an_ordinary_sign_in(tmp_path: Path, settings: dict[str, Any]) -> None:
    ended = issue(tmp_path, settings, "--email", "LEAD@acme.example", "--redirect-url", PAGE)
    assert ended.exit_code == 0
    (address,) = ended.stdout.splitlines()
    assert address.startswith(f"{ENDPOINT}?jwt=")
    query = parse_qs(urlsplit(address).query)
    assert query["redirect_url"] == [PAGE]
    claims = jwt.decode(query["jwt"][0], SHARED_SECRET, algorithms=["HS256"], audience="Comm100")
    assert {name: claims[name] for name in ("email", "name", "iss", "sub")} == {
        "email": LEAD,
        "name": "lead",
        "iss": "jwt server",
        "sub": "comm100",
    }
    assert claims["exp"] - claims["iat"] == 60
    told = json.loads(ended.stderr)
    assert told["event"] == "emergency link issued"
    assert told["level"] == "warning"
    assert (told["site"], told["token_id"], told["seconds"]) == ("main", claims["jti"], 60)
    assert "email_hash" in told
    assert LEAD not in ended.stderr
    for secret in (SHARED_SECRET, SECRET_KEY, query["jwt"][0]):
        assert secret not in ended.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        pytest.param(["--email", "ada@acme.example"], "is not in sites.main.emergency_access", id="unlisted"),
        pytest.param(["--email", "ceo@elsewhere.example"], "No identity provider of the site main", id="foreign"),
        pytest.param(["--email", "lead"], "one plain e-mail address", id="no address"),
        pytest.param(["--email", f"{LEAD}\n"], "one plain e-mail address", id="line end"),
        pytest.param(
            ["--email", LEAD, "--redirect-url", "https://evil.example/x"],
            "--redirect-url is refused: expected",
            id="another host",
        ),
        pytest.param(["--email", LEAD, "--redirect-url", "//acme.comm100.example"], "is refused", id="no scheme"),
    ],
)
def test_an_address_that_may_not_be_used_is_refused(
    tmp_path: Path, settings: dict[str, Any], arguments: list[str], words: str
) -> None:
    ended = issue(tmp_path, settings, *arguments)
    assert ended.exit_code == 1
    assert ended.stdout == ""
    assert words in ended.stderr


def test_nobody_is_let_in_until_an_address_is_listed(tmp_path: Path, settings: dict[str, Any]) -> None:
    del settings["sites"]["main"]["emergency_access"]
    assert issue(tmp_path, settings, "--email", LEAD).exit_code == 1


def test_the_domains_of_a_provider_that_is_switched_off_do_not_count(tmp_path: Path, settings: dict[str, Any]) -> None:
    settings["identity_providers"]["idp"]["enabled"] = False
    ended = issue(tmp_path, settings, "--email", LEAD)
    assert ended.exit_code == 1
    assert "email_domains has no domain" in ended.stderr


@pytest.mark.parametrize(
    ("changes", "arguments"),
    [
        pytest.param({"public_url": "nonsense"}, ["--email", LEAD], id="settings"),
        pytest.param({}, ["--email", LEAD, "--site", "emea"], id="site"),
    ],
)
def test_unusable_input_is_status_2(
    tmp_path: Path, settings: dict[str, Any], changes: dict[str, Any], arguments: list[str]
) -> None:
    ended = issue(tmp_path, settings | changes, *arguments)
    assert ended.exit_code == 2
    assert ended.stdout == ""


async def test_the_drill_an_agent_is_inside_without_provider_and_broker(tmp_path: Path, world: World) -> None:
    world.settings["sites"]["main"]["emergency_access"] = ["ada@acme.example"]
    world.clock.now = time.time()
    began = time.monotonic()
    ended = issue(tmp_path, world.settings, "--email", "ada@acme.example", "--redirect-url", PAGE)
    world.provider.is_down = lambda _: httpx.Response(503)
    async with world.broker() as service:  # only so that the browser has one: it reaches Comm100 alone
        browser = world.browser(service)
        inside = await browser.follow(await browser.open(ended.stdout.strip()))
    assert str(inside.url) == PAGE
    assert time.monotonic() - began < 60
    assert "/authorize" not in world.provider.requests


def test_a_running_service_writes_it_to_its_log_and_counts_it(tmp_path: Path) -> None:
    provider, port = FakeProvider(f"http://127.0.0.1:{free_port()}", time.time), free_port()
    settings = settings_of(provider, port)
    settings["sites"]["main"]["emergency_access"] = [LEAD]
    with running_broker(tmp_path, settings, port) as broker:
        assert counted(broker) == f"{METRIC} 0.0"
        assert run("emergency-link", "--email", LEAD, "--config", str(tmp_path / "broker.yaml")).exit_code == 0
        wait_until(lambda: counted(broker) == f"{METRIC} 1.0", "the metric")
        (line,) = [line for line in broker.lines() if line["event"] == emergency.EVENT]
    assert (line["level"], line["site"]) == ("warning", "main")


def counted(broker: BrokerProcess) -> str:
    exported = httpx.get(f"{broker.operations}/metrics", trust_env=False).text
    return next(line for line in exported.splitlines() if line.startswith(METRIC))


def test_a_program_that_holds_the_port_delays_nobody(tmp_path: Path, settings: dict[str, Any]) -> None:
    began = time.monotonic()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        settings["operations_listen"] = f"127.0.0.1:{silent.getsockname()[1]}"
        sending = threading.Thread(target=_continue_for_ever, args=(silent,), daemon=True)
        sending.start()
        ended = issue(tmp_path, settings, "--email", LEAD, "--redirect-url", "")
    assert ended.exit_code == 0
    assert ended.stdout.startswith(f"{ENDPOINT}?jwt=")
    assert time.monotonic() - began < 5


def _continue_for_ever(server: socket.socket) -> None:
    with suppress(OSError):
        connection, _ = server.accept()
        while True:
            connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
            time.sleep(0.2)


async def test_a_report_that_the_command_did_not_make_a_moment_ago_is_ignored(world: World) -> None:
    now = world.clock.now
    forged = sign_value({"t": now, "f": FACTS}, purpose=b"another purpose", key=SECRET_KEY)
    old = emergency.sign_report(FACTS, now=now - 61, secret_keys=[SECRET_KEY])
    foreign = emergency.sign_report(FACTS, now=now, secret_keys=["x" * 32])
    good = emergency.sign_report(FACTS, now=now, secret_keys=[SECRET_KEY])
    async with world.broker() as service:
        transport = httpx.ASGITransport(service.operations)
        async with httpx.AsyncClient(transport=transport, base_url="http://operations") as client:
            for report in ("", "x", forged, old, foreign):
                answer = await client.post(emergency.PATH, params={"report": report})
                assert answer.status_code == 403
            assert (await client.get(emergency.PATH, params={"report": good})).status_code == 405
            assert f"{METRIC} 0.0" in await metrics(service)
            assert (await client.post(emergency.PATH, params={"report": good})).status_code == 204
        assert f"{METRIC} 1.0" in await metrics(service)
