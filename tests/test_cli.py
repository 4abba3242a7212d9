"""The command line: what it prints, which settings file it takes, and with which status it ends."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path

import jsonschema
import pytest
import yaml

from broker.cli import main
from broker.commands import app
from broker.settings.schema import settings_schema
from broker.signing import check_link
from tests.fakes.clock import Clock
from tests.fakes.command import run, signals_kept
from tests.fakes.ports import free_port
from tests.fakes.processes import without_broker_settings
from tests.fakes.provider import FakeProvider
from tests.fakes.world import SHARED_SECRET, settings_for

COMMANDS = ("serve", "demo", "check", "explain", "setup-link", "init", "schema")
WEAK_SECRET = "too-short-to-sign-8f3a"
PLACEHOLDER = "changeme-4d2e"


def test_serve_names_every_mistake_and_shows_no_secret(tmp_path: Path) -> None:
    settings = settings_for(FakeProvider("https://idp.example", Clock()))
    settings["public_url"] = "http://sso.acme.example"
    settings["sites"]["main"] |= {"shared_secret": WEAK_SECRET, "token_lifetime": 9999}
    settings["identity_providers"]["idp"] |= {"clientid": "x", "client_secret": PLACEHOLDER}
    file = tmp_path / "broker.yaml"
    file.write_text(yaml.safe_dump(settings), encoding="utf-8")
    ended = run("serve", "--config", str(file))
    assert ended.exit_code == 2
    assert ended.stdout == ""
    for path in (
        "public_url",
        "sites.main.shared_secret",
        "sites.main.token_lifetime",
        "identity_providers.idp.clientid",
        "identity_providers.idp.client_secret",
    ):
        assert re.search(rf"^  {re.escape(path)}$", ended.stderr, re.MULTILINE), ended.stderr
    assert "5 mistakes" in ended.stderr
    for secret in (WEAK_SECRET, PLACEHOLDER, settings["secret_keys"][0]):
        assert secret not in ended.output


@pytest.mark.parametrize(
    ("arguments", "environment", "taken"),
    [
        pytest.param(["--config", "asked_for.yaml"], {"BROKER_CONFIG": "named.yaml"}, "asked_for", id="--config first"),
        pytest.param([], {"BROKER_CONFIG": "named.yaml"}, "named", id="then $BROKER_CONFIG"),
        pytest.param([], {"BROKER_CONFIG": ""}, "broker", id="an empty $BROKER_CONFIG is none"),
        pytest.param([], {}, "broker", id="then ./broker.yaml"),
    ],
)
def test_the_settings_file_is_looked_for_in_order(
    arguments: list[str], environment: dict[str, str], taken: str, tmp_path: Path
) -> None:
    for name in ("asked_for", "named", "broker"):
        (tmp_path / f"{name}.yaml").write_text(f"unknown_key_in_{name}: 1\n", encoding="utf-8")
    ended = run("serve", *arguments, folder=tmp_path, **environment)
    assert ended.exit_code == 2
    assert re.findall(r"unknown_key_in_(\w+)", ended.stderr) == [taken]


def test_without_any_settings_file_the_environment_alone_is_read(tmp_path: Path) -> None:
    ended = run("serve", folder=tmp_path, BROKER_PUBLIC_URL="http://sso.acme.example")
    assert ended.exit_code == 2
    assert "BROKER_PUBLIC_URL" in ended.stderr or "public_url" in ended.stderr
    assert "sites" in ended.stderr


@pytest.mark.parametrize("named_by", ["--config", "$BROKER_CONFIG"])
def test_a_settings_file_that_is_not_there_is_a_mistake_not_an_empty_one(named_by: str, tmp_path: Path) -> None:
    missing = str(tmp_path / "missing.yaml")
    if named_by == "--config":
        ended = run("serve", "--config", missing, folder=tmp_path)
    else:
        ended = run("serve", folder=tmp_path, BROKER_CONFIG=missing)
    assert ended.exit_code == 2
    assert "missing.yaml" in ended.stderr
    assert "Traceback" not in ended.output


def test_schema_prints_a_json_schema_that_takes_right_settings_and_no_others() -> None:
    ended = run("schema")
    assert ended.exit_code == 0
    schema = json.loads(ended.stdout)
    assert schema == settings_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    right = settings_for(FakeProvider("https://idp.example", Clock()))
    assert validator.is_valid(right)
    assert not validator.is_valid({**right, "unknown": 1})
    assert SHARED_SECRET not in ended.stdout


def test_the_version_is_printed() -> None:
    ended = run("--version")
    assert (ended.exit_code, ended.stdout) == (0, f"broker {version('comm100-sso-broker')}\n")


@pytest.mark.parametrize("option", ["-h", "--help"])
@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command: str, option: str) -> None:
    overview, own = run(option), run(command, option)
    assert overview.exit_code == own.exit_code == 0
    assert re.search(rf"\b{command}\b", overview.stdout)
    assert f"broker {command}" in own.stdout


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param(["sreve"], id="an unknown command"),
        pytest.param(["serve", "--confg", "x"], id="an unknown option"),
        pytest.param(["serve", "--config"], id="an option without its value"),
        pytest.param(["serve", "x"], id="an argument too many"),
        pytest.param(["demo", "--port", "70000"], id="a port that is none"),
        pytest.param([], id="no command at all"),
    ],
)
def test_a_command_line_that_cannot_be_read_ends_with_status_2_and_says_how_to_write_it(arguments: list[str]) -> None:
    ended = run(*arguments)
    assert ended.exit_code == 2
    assert "Usage: broker" in ended.output or "'--config' requires" in ended.output
    assert "Traceback" not in ended.output


def test_an_address_that_cannot_be_used_is_said_in_one_sentence_with_status_1(tmp_path: Path) -> None:
    settings = settings_for(FakeProvider("https://idp.example", Clock()))
    settings |= {"listen": f"idp.invalid:{free_port()}", "operations_listen": f"127.0.0.1:{free_port()}"}
    (tmp_path / "broker.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    ended = subprocess.run(
        [sys.executable, "-m", "broker", "serve"],
        cwd=tmp_path,
        env=without_broker_settings(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 1
    assert ended.stderr.startswith(f"The service cannot start: cannot listen on {settings['listen']}: ")
    assert ended.stderr.count("\n") == 1
    assert ended.stdout == ""


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param([], id="alone"),
        pytest.param(["--config", "asked_for.yaml"], id="with a file"),
        pytest.param(["--config=asked_for.yaml"], id="with a file after ="),
        pytest.param(["--config", "missing.yaml"], id="with a file that is not there"),
        pytest.param(["--config", ""], id="with an empty name"),
        pytest.param(["--config", "-asked_for.yaml"], id="with a name like an option"),
        pytest.param(["--config", "missing.yaml", "--config", "asked_for.yaml"], id="with two files"),
        pytest.param(["--config"], id="without the file"),
        pytest.param(["--help"], id="asked for its help"),
        pytest.param(["--confg", "asked_for.yaml"], id="with an unknown option"),
        pytest.param(["asked_for.yaml"], id="with an argument too many"),
    ],
)
@pytest.mark.parametrize("named", [None, "named.yaml"], ids=["", "and $BROKER_CONFIG"])
def test_serve_says_the_same_with_and_without_the_command_line_library(
    arguments: list[str],
    named: str | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name in ("asked_for", "-asked_for", "named", "broker"):
        (tmp_path / f"{name}.yaml").write_text(f"unknown_key_in_{name}: 1\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("BROKER_CONFIG", raising=False)
    if named:
        monkeypatch.setenv("BROKER_CONFIG", named)
    monkeypatch.setattr(sys, "argv", ["broker", "serve", *arguments])
    ended = []
    for begin in (main, app):
        with signals_kept(), pytest.raises(SystemExit) as exit_:
            begin()
        ended.append((exit_.value.code, *capsys.readouterr()))
    assert ended[0] == ended[1]
    assert ended[0][0] == (0 if "--help" in arguments else 2)


@pytest.mark.parametrize(("by", "status"), [("SIGTERM", 0), ("SIGINT", 130)])
def test_a_service_asked_to_stop_while_it_still_loads_ends_well(tmp_path: Path, by: str, status: int) -> None:
    settings = settings_for(FakeProvider("https://idp.example", Clock()))
    (tmp_path / "broker.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    # Stopped by itself where its own signals are not taken yet: at the import of what serves, in a callback that
    # swallows exceptions, as Python's import system has them.
    loading = (
        "import builtins, os, signal, sys, weakref; from broker.cli import main; load = builtins.__import__\n"
        f"def stop(_): os.kill(os.getpid(), signal.{by})\n"
        "def stopping(name, *rest):\n"
        "    if name == 'uvicorn.server': thing = {*()}; kept = weakref.ref(thing, stop); del thing\n"
        "    return load(name, *rest)\n"
        "builtins.__import__ = stopping; sys.argv = ['broker', 'serve']; main()\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", loading],
        cwd=tmp_path,
        env=without_broker_settings(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (status, "", "")


def test_the_installed_command_is_the_same_program() -> None:
    command = Path(sys.executable).with_name("broker")
    ended = subprocess.run([command, "schema"], capture_output=True, text=True, timeout=60, check=True)
    assert json.loads(ended.stdout) == settings_schema()


def test_setup_link_prints_one_address_that_is_good_for_an_hour(tmp_path: Path) -> None:
    settings = settings_for(FakeProvider("https://idp.example", Clock()))
    (tmp_path / "broker.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    ended = run("setup-link", folder=tmp_path)
    address, _, token = ended.stdout.strip().partition("?link=")
    assert (ended.exit_code, address) == (0, "https://sso.acme.example/setup")
    now = time.time()
    link = check_link(token, public_url=settings["public_url"], now=now, secret_keys=settings["secret_keys"])
    assert 3500 < link.expires - now <= 3600


@pytest.mark.parametrize("hours", ["0", "-1", "169", "1.5", "soon"])
def test_setup_link_takes_whole_hours_up_to_a_week(tmp_path: Path, hours: str) -> None:
    ended = run("setup-link", "--hours", hours, folder=tmp_path)
    assert (ended.exit_code, ended.stdout) == (2, "")


def test_setup_link_needs_settings_that_can_be_used(tmp_path: Path) -> None:
    ended = run("setup-link", folder=tmp_path, BROKER_PUBLIC_URL="http://sso.acme.example")
    assert (ended.exit_code, ended.stdout) == (2, "")
    assert "public_url" in ended.stderr
