"""`broker check`: its three ends, its JSON and its text; and no secret in either."""

from __future__ import annotations

import io
import json
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote_plus

import httpx
import jsonschema
import pytest
import yaml
from rich.console import Console
from typer.testing import Result

from broker.checks import CHECKS, Finding
from broker.checks.report import print_report, watching
from tests.checks.diagnosis import NOWHERE, diagnose, of, settings_on_loopback
from tests.fakes.command import run
from tests.fakes.hostile_server import DISCOVERY, TOKEN, honest_but, hostile_provider, says
from tests.fakes.lies import Lies, with_
from tests.fakes.processes import provider_site, served
from tests.fakes.provider import FakeProvider
from tests.fakes.world import SHARED_SECRET

ROOT = Path(__file__).parents[2]
CLIENT_SECRET = "client-secret-of-nobody-4711"
FORM = {
    "type": "object",
    "required": ["ok", "findings"],
    "additionalProperties": False,
    "properties": {
        "ok": {"type": "boolean"},
        "findings": {
            "type": "array",
            "minItems": 1,
            "items": {
                "type": "object",
                "required": ["subject", "check", "status", "message", "remedy", "doc"],
                "additionalProperties": False,
                "properties": {
                    "subject": {"type": "string"},
                    "check": {"enum": list(CHECKS)},
                    "status": {"enum": ["ok", "warning", "failed", "unknown"]},
                    "message": {"type": "string", "minLength": 1},
                    "remedy": {"type": "string"},
                    "doc": {"type": "string", "pattern": r"^docs/admin/(check|guides/[a-z]+)\.md#[a-z_]+$"},
                },
            },
        },
    },
}


def run_check(folder: Path, settings: dict[str, Any], *options: str) -> Result:
    (folder / "broker.yaml").write_text(yaml.safe_dump(settings, sort_keys=False), encoding="utf-8")
    return run("check", *options, folder=folder)


def findings_of(ended: Result) -> dict[str, Any]:
    printed: dict[str, Any] = json.loads(ended.stdout)
    jsonschema.validate(printed, FORM)
    return printed


def test_all_good_ends_with_status_0(tmp_path: Path) -> None:
    provider = FakeProvider("http://127.0.0.1:1", time.time, client_secret=CLIENT_SECRET)
    with served(provider_site(provider)) as port:
        provider.issuer = f"http://127.0.0.1:{port}"
        settings = settings_on_loopback(provider, client_secret_expires="2099-01-01")
        settings["sites"]["main"]["endpoint"] = f"{provider.issuer}/sso"
        ended = run_check(tmp_path, settings, "--json")
    assert (ended.exit_code, ended.stderr) == (0, "")
    printed = findings_of(ended)
    assert printed["ok"] is True
    assert {one["status"] for one in printed["findings"] if one["subject"] == "idp"} == {"ok"}


def test_a_failed_check_ends_with_status_1_and_the_same_in_both_forms(tmp_path: Path) -> None:
    settings = settings_on_loopback(FakeProvider(NOWHERE, time.time, client_secret=CLIENT_SECRET))
    as_json, as_text = run_check(tmp_path, settings, "--json"), run_check(tmp_path, settings)
    assert (as_json.exit_code, as_text.exit_code) == (1, 1)
    printed = findings_of(as_json)
    assert printed["ok"] is False
    assert list(dict.fromkeys(one["subject"] for one in printed["findings"])) == ["settings", "idp", "main"]
    words = " ".join(as_text.stdout.split())
    for one in printed["findings"]:
        assert one["message"] in words
        assert one["remedy"] in words
    assert "Something has to be corrected." in words
    assert "\x1b" not in as_text.stdout
    for secret in (CLIENT_SECRET, SHARED_SECRET, "k1-6f1d0c2b9a8e7f6d5c4b3a2918070605"):
        assert secret not in as_json.stdout + as_text.stdout + as_json.stderr + as_text.stderr


def test_unusable_settings_end_with_status_2_and_every_mistake(tmp_path: Path) -> None:
    settings = settings_on_loopback(FakeProvider(NOWHERE, time.time), email_domains=["gmail.com"], colour="red")
    as_json, as_text = run_check(tmp_path, settings, "--json"), run_check(tmp_path, settings)
    assert (as_json.exit_code, as_text.exit_code) == (2, 2)
    printed = findings_of(as_json)
    assert printed["ok"] is False
    assert {(one["subject"], one["check"], one["status"]) for one in printed["findings"]} == {
        ("settings", "settings", "failed")
    }
    paths = [one["message"].partition(":")[0] for one in printed["findings"]]
    assert sorted(paths) == ["identity_providers.idp.colour", "identity_providers.idp.email_domains[0]"]
    for path in paths:
        assert f"\n  {path}\n" in as_text.stderr


def test_offline_asks_nobody(tmp_path: Path) -> None:
    settings = settings_on_loopback(FakeProvider(NOWHERE, time.time))
    ended = run_check(tmp_path, settings, "--json", "--offline")
    assert ended.exit_code == 0
    assert {one["check"] for one in findings_of(ended)["findings"]} == {
        "settings", "client_secret_expiry", "shared_secret",
    }  # fmt: skip


def test_a_file_that_is_not_there_is_status_2(tmp_path: Path) -> None:
    ended = run_check(tmp_path, {}, "--json", "--config", "elsewhere.yaml")
    assert ended.exit_code == 2
    assert "elsewhere.yaml" in findings_of(ended)["findings"][0]["message"]


@pytest.mark.parametrize(
    "description",
    [
        pytest.param(f"the secret {CLIENT_SECRET} is wrong", id="the secret as it is"),
        pytest.param("the secret s3 is wrong \x1b[31mred\x07\r\nline [bold]x[/bold]", id="controls and markup"),
        pytest.param("x " * 5000, id="words without end"),
    ],
)
async def test_what_a_provider_says_is_made_harmless(tmp_path: Path, description: str) -> None:
    body = json.dumps({"error": "invalid_client", "error_description": description}).encode()
    answer = says(401, {"Content-Type": "application/json"}, body)
    async with hostile_provider({TOKEN: answer, DISCOVERY: honest_but(date="Thu, 99 Foo")}) as server:
        server.honest.lies = Lies(discovery=with_(userinfo_endpoint="https://x.example/[red]"))
        findings = await diagnose(tmp_path, settings_on_loopback(server.honest, client_secret=CLIENT_SECRET))
    found = of(findings)[0]
    assert found.check == "client_authentication"
    assert CLIENT_SECRET not in found.message
    assert found.message.isprintable()
    assert len(found.message) < 500
    shown = io.StringIO()
    print_report(findings, Console(file=shown, force_terminal=True, width=500))
    assert "\x07" not in shown.getvalue()
    assert ("[bold]" in description) == ("[bold]x[/bold]" in shown.getvalue())


async def test_a_secret_is_not_shown_in_the_spelling_it_was_sent_in_either(tmp_path: Path) -> None:
    secret = "first-half:% &second-half"
    body = json.dumps({"error": "invalid_client", "error_description": f"got {quote_plus(secret)}"}).encode()
    answer = says(401, {"Content-Type": "application/json"}, body)
    async with hostile_provider({TOKEN: answer}) as server:
        findings = await diagnose(tmp_path, settings_on_loopback(server.honest, client_secret=secret))
    [found] = [one for one in findings if one.check == "client_authentication"]
    assert "invalid_client: got" in found.message
    assert "half" not in found.message


def finding(subject: str, check: str, status: Any, remedy: str = "") -> Finding:
    return Finding(subject, check, status, f"{check} is {status}.", remedy, f"docs/admin/check.md#{check}")


REPORT = [
    finding("okta", "tls", "failed", "Correct it."),
    finding("okta", "dns", "ok"),
    finding("main", "endpoint", "unknown"),
]


def test_the_text_is_plain_where_there_is_no_terminal() -> None:
    shown = io.StringIO()
    print_report(REPORT, Console(file=shown))
    assert shown.getvalue().splitlines() == [
        "okta",
        "  failed  tls",
        "          tls is failed.",
        "          To do: Correct it.",
        "          See docs/admin/check.md#tls",
        "  ok      dns",
        "          dns is ok.",
        "",
        "main",
        "  unknown endpoint",
        "          endpoint is unknown.",
        "",
        "Something has to be corrected. Begin with okta: tls. 1 ok, 0 warning, 1 failed, 1 unknown.",
    ]


@pytest.mark.parametrize("width", [60, 80, 140])
def test_a_terminal_gets_a_coloured_table_that_fits(width: int) -> None:
    shown = io.StringIO()
    print_report(REPORT, Console(file=shown, force_terminal=True, width=width, color_system="standard"))
    assert "\x1b[1;31mfailed" in shown.getvalue()
    plain = io.StringIO()
    print_report(REPORT, Console(file=plain, force_terminal=True, width=width, color_system=None, no_color=True))
    assert max(len(line) for line in plain.getvalue().splitlines()) <= width


@pytest.mark.parametrize("terminal", [True, False])
def test_progress_is_shown_on_a_terminal_alone(terminal: bool) -> None:
    shown = io.StringIO()
    with watching(Console(file=shown, force_terminal=terminal)) as begin:
        begin("okta", "tls")
        begin("main", "[red]endpoint")
        time.sleep(0.2)
    assert ("okta: tls, main: [red]endpoint" in shown.getvalue()) is terminal
    assert bool(shown.getvalue()) is terminal


def test_every_check_has_its_section_and_every_section_its_check() -> None:
    text = (ROOT / "docs" / "admin" / "check.md").read_text(encoding="utf-8")
    sections = [line.removeprefix("### ") for line in text.splitlines() if line.startswith("### ")]
    assert sorted(sections) == sorted(CHECKS)


def test_a_sign_out_address_that_nobody_confirms_leaves_no_doubt_about_signing_in(tmp_path: Path) -> None:
    provider = FakeProvider("http://127.0.0.1:1", time.time, client_secret=CLIENT_SECRET)
    provider.lies = Lies(
        discovery=lambda said: {**said, "end_session_endpoint": f"{said['issuer']}/logout"},
        answers={"/logout": lambda _: httpx.Response(200, text="Sign out?")},
    )
    with served(provider_site(provider)) as port:
        provider.issuer = f"http://127.0.0.1:{port}"
        settings = settings_on_loopback(provider)
        settings["sites"]["main"]["endpoint"] = f"{provider.issuer}/keys"
        ended = run_check(tmp_path, settings)
    assert "Sign-out: whether" in ended.stdout
    assert ended.stdout.strip().splitlines()[-1].startswith("Nothing failed. ")


def test_nothing_failed_is_not_all_that_is_said_where_the_provider_looks_at_the_code_first(
    tmp_path: Path,
) -> None:
    provider = FakeProvider("http://127.0.0.1:1", time.time, client_secret=CLIENT_SECRET)
    provider.lies = Lies(answers={"/token": lambda _: httpx.Response(400, json={"error": "invalid_grant"})})
    with served(provider_site(provider)) as port:
        provider.issuer = f"http://127.0.0.1:{port}"
        settings = settings_on_loopback(provider, client_secret="another-secret-of-nobody")
        settings["sites"]["main"]["endpoint"] = f"{provider.issuer}/keys"
        ended = run_check(tmp_path, settings)
        found = json.loads(run_check(tmp_path, settings, "--json").stdout)["findings"]
    assert ended.exit_code == 0
    last = ended.stdout.strip().splitlines()[-1]
    assert last.startswith(
        "Nothing failed, but the check cannot tell whether sign-ins work (idp: client_authentication)"
    )
    assert "`broker setup-link`" in last
    assert "accepted" not in ended.stdout
    assert all(one["remedy"] for one in found if one["status"] != "ok")
