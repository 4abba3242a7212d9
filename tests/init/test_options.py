"""`broker init` without a terminal: every missing or wrong option at once, secrets from files, and exit statuses."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from broker.comm100 import check_redirect_url
from broker.init.wizard import judge_options
from broker.settings import load_settings
from broker.wiring import wire_site
from tests.fakes.command import run
from tests.fakes.processes import provider_site, served, without_broker_settings
from tests.fakes.provider import FakeProvider
from tests.init.answering import CLIENT_SECRET, ENDPOINT, SHARED_SECRET, TENANT, looking

OPTIONS = {
    "--public-url": "https://sso.acme.example",
    "--provider": "oidc",
    "--issuer": "https://idp.example",
    "--client-id": "client-1",
    "--client-secret-file": "given-client-secret",
    "--email-domain": "acme.example",
    "--endpoint": ENDPOINT,
    "--shared-secret-file": "given-shared-secret",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "given-client-secret").write_text(f" {CLIENT_SECRET}\r\n", encoding="utf-8")
    (tmp_path / "given-shared-secret").write_text(f"{SHARED_SECRET}\n\n", encoding="utf-8")
    return tmp_path


def options(*more: str, **changed: str | None) -> list[str]:
    named = {f"--{name.replace('_', '-')}": value for name, value in changed.items()}
    every = {**OPTIONS, **named}
    return [part for name, value in every.items() if value is not None for part in (name, value)] + list(more)


def test_options_alone_write_everything_and_check_it(folder: Path) -> None:
    ended = run("init", *options("--offline", "--email-domain", "acme.co.uk"), folder=folder)
    assert (ended.exit_code, ended.stderr) == (0, "")
    settings = load_settings(folder / "broker.yaml", {})
    provider = settings.identity_providers["oidc"]
    assert provider.email_domains == ("acme.example", "acme.co.uk")
    assert provider.client_secret is not None
    assert provider.client_secret.reveal() == CLIENT_SECRET
    assert settings.sites["main"].shared_secret.reveal() == SHARED_SECRET
    assert "The settings can be used." in ended.stdout
    assert "Redirect URI              https://sso.acme.example/callback/oidc\n" in ended.stdout
    assert "Remote Login URL   https://sso.acme.example/login\n" in ended.stdout
    for secret in (CLIENT_SECRET, SHARED_SECRET, settings.secret_keys.reveal()[0]):
        assert secret not in ended.output


def test_everything_that_is_missing_is_said_at_once(folder: Path) -> None:
    ended = run("init", folder=folder)
    assert ended.exit_code == 2
    assert "7 options are missing or wrong." in ended.stderr
    named = re.findall(r"^  (--[a-z-]+)$", ended.stderr, re.MULTILINE)
    assert named == [option for option in OPTIONS if option != "--issuer"]  # which one needs, the provider says
    assert ended.stderr.count("for example: ") == 7
    assert not (folder / "broker.yaml").exists()


def test_everything_that_is_wrong_is_said_at_once_with_what_was_meant(folder: Path) -> None:
    (folder / "given-shared-secret").write_text("short-8f3a\n", encoding="utf-8")
    wrong = options(
        "--offline",
        public_url="sso.acme.example",
        provider="okta",
        issuer="https://acme-admin.okta.com",
        client_secret_file="missing",
        email_domain="ada@acme.example",
        endpoint="http://acme.comm100.com/sso",
        id="Acme EU",
        tenant=TENANT,
    )
    ended = run("init", *wrong, folder=folder)
    assert ended.exit_code == 2
    said = dict(re.findall(r"^  (--[a-z-]+)\n((?:    .*\n?)+)", ended.stderr, re.MULTILINE))
    said = {option: " ".join(text.split()) for option, text in said.items()}
    assert said.keys() == {
        "--public-url", "--id", "--tenant", "--issuer", "--client-secret-file", "--email-domain", "--endpoint",
        "--shared-secret-file",
    }  # fmt: skip
    assert said["--public-url"].endswith("for example: --public-url https://sso.acme.example")
    assert said["--issuer"].endswith("for example: --issuer https://acme.okta.com")
    assert said["--id"].endswith("for example: --id acme_eu")
    assert said["--email-domain"].endswith("for example: --email-domain acme.example")
    assert said["--endpoint"].endswith("for example: --endpoint https://acme.comm100.com/sso")
    assert "belongs to the preset entra" in said["--tenant"]
    assert "the file missing cannot be read (No such file or directory)" in said["--client-secret-file"]
    assert "holds a secret that is shorter than 32 bytes" in said["--shared-secret-file"]
    assert "short-8f3a" not in ended.output
    assert not (folder / "broker.yaml").exists()


def test_a_provider_is_looked_at_though_other_options_are_wrong() -> None:
    provider = FakeProvider("https://idp.example", time.time)
    wrong = {"public_url": "sso.acme.example", "preset": "other", "id": "Acme EU", "issuer": "https://idp.example/"}
    _, mistakes, _ = judge_options(wrong, looking(provider))
    assert [one.path for one in mistakes[:3]] == ["--public-url", "--issuer", "--id"]
    assert mistakes[1].example == "--issuer https://idp.example"


def test_a_tenant_in_a_national_cloud_has_its_issuer_beside_it(folder: Path) -> None:
    issuer = f"https://login.microsoftonline.us/{TENANT}/v2.0"
    ended = run("init", *options("--offline", provider="entra", tenant=TENANT, issuer=issuer), folder=folder)
    assert ended.exit_code == 0
    provider = load_settings(folder / "broker.yaml", {}).identity_providers["entra"]
    assert (provider.tenant, provider.issuer) == (TENANT, issuer)


def test_an_issuer_of_another_tenant_does_not_fit(folder: Path) -> None:
    issuer = "https://login.microsoftonline.us/1f2e3d4c-5b6a-4978-8695-a4b3c2d1e0f9/v2.0"
    ended = run("init", *options("--offline", provider="entra", tenant=TENANT, issuer=issuer), folder=folder)
    assert ended.exit_code == 2
    assert "  --tenant\n    does not fit: Issuer belongs to another tenant" in ended.stderr


def test_a_doubt_is_a_warning(folder: Path) -> None:
    (folder / "given-client-secret").write_text(TENANT, encoding="utf-8")
    entra = options("--offline", provider="entra", issuer=None, tenant=TENANT)
    ended = run("init", *entra, folder=folder)
    assert ended.exit_code == 0
    assert "--client-secret-file: This looks like the Secret ID." in ended.stderr
    assert "--client-id: A client ID of Entra" in ended.stderr
    assert (folder / "broker.yaml").exists()


def test_files_that_are_there_are_replaced_with_overwrite_alone(folder: Path) -> None:
    (folder / "secrets").mkdir(mode=0o700)
    key = folder / "secrets" / "broker-keys"
    key.write_text("mine", encoding="utf-8")
    ended = run("init", *options("--offline"), folder=folder)
    assert ended.exit_code == 2
    assert "--overwrite" in ended.stderr
    assert str(key) in ended.stderr
    assert key.read_text(encoding="utf-8") == "mine"
    assert not (folder / "broker.yaml").exists()
    assert run("init", *options("--offline", "--overwrite"), folder=folder).exit_code == 0
    assert key.read_text(encoding="utf-8") != "mine"


def test_two_secrets_cannot_come_from_one_standard_input(folder: Path) -> None:
    ended = run("init", *options("--offline", client_secret_file="-", shared_secret_file="-"), folder=folder)
    assert ended.exit_code == 2
    assert ended.stderr.count("only one of the two can come from standard input") == 2


@pytest.mark.parametrize("source", ["-", "empty"])
def test_an_empty_secret_names_where_it_was_read(source: str, folder: Path) -> None:
    (folder / "empty").write_text("\n", encoding="utf-8")
    ended = subprocess.run(
        [sys.executable, "-m", "broker", "init", *options("--offline", client_secret_file=source)],
        cwd=folder,
        env=without_broker_settings(),
        input="",
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 2
    assert f"{'standard input' if source == '-' else 'the file empty'} is empty" in ended.stderr


def test_a_tenant_that_is_refused_may_be_named_by_a_domain() -> None:
    given = {"public_url": "https://sso.acme.example", "preset": "entra", "tenant": "acme"}
    _, mistakes, _ = judge_options(given, looking(FakeProvider("https://idp.example", time.time)))
    [tenant] = [mistake.problem for mistake in mistakes if mistake.path == "--tenant"]
    assert tenant.endswith("a domain of the tenant is accepted, too")


def test_the_settings_file_goes_where_it_is_wanted(folder: Path) -> None:
    (folder / "etc").mkdir()
    ended = run("init", *options("--offline"), folder=folder, BROKER_CONFIG="etc/sso.yaml")
    assert ended.exit_code == 0
    assert sorted(one.name for one in (folder / "etc").iterdir()) == ["sso.yaml", "sso.yaml.secrets"]
    assert "broker serve --config etc/sso.yaml" in ended.stdout


def test_variables_that_cannot_be_used_do_not_undo_what_was_written(folder: Path) -> None:
    ended = run("init", *options("--offline"), folder=folder, BROKER_LISTEN="nowhere")
    assert ended.exit_code == 0
    assert "(given by BROKER_LISTEN)" in ended.stderr
    assert "Correct what failed above" in ended.stdout
    assert (folder / "broker.yaml").exists()


def test_a_wrong_issuer_is_a_wrong_option_and_a_check_that_fails_leaves_the_files(folder: Path) -> None:
    provider = FakeProvider("http://127.0.0.1:1", time.time, client_secret=CLIENT_SECRET)
    with served(provider_site(provider)) as port:
        provider.issuer = f"http://127.0.0.1:{port}"
        here = {"public_url": "http://127.0.0.1:8000", "endpoint": "http://127.0.0.1:9/sso"}
        wrong = run("init", *options(**here, issuer=f"{provider.issuer}/"), folder=folder)
        assert wrong.exit_code == 2
        assert f"for example: --issuer {provider.issuer}\n" in wrong.stderr
        assert not (folder / "broker.yaml").exists()
        ended = run("init", *options(**here, issuer=provider.issuer), folder=folder)
    assert ended.exit_code == 0
    assert "Something has to be corrected." in ended.stdout  # nobody is at the endpoint
    assert "Correct what failed above" in ended.stdout
    assert (folder / "broker.yaml").exists()


def test_a_provider_that_does_not_answer_is_a_warning(folder: Path) -> None:
    unreachable = options(issuer="https://nowhere.invalid", endpoint="https://nowhere.invalid/sso")
    ended = run("init", *unreachable, folder=folder)
    assert ended.exit_code == 0
    assert "--issuer: The name nowhere.invalid cannot be resolved" in ended.stderr
    assert (folder / "broker.yaml").exists()


def test_a_secret_may_come_from_standard_input(folder: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "broker", "init", *options("--offline", shared_secret_file="-")],
        cwd=folder,
        input=SHARED_SECRET,
        env=without_broker_settings(PYTHONPATH=str(Path(__file__).parents[2])),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    assert load_settings(folder / "broker.yaml", {}).sites["main"].shared_secret.reveal() == SHARED_SECRET


@pytest.mark.parametrize(
    "address", ["https://Dash17.comm100.io/agentconsole?x=1#y", "dash17.comm100.io", "https://dash17.comm100.io"]
)
def test_the_host_of_the_agents_pages_is_accepted_from_the_first_sign_in_on(folder: Path, address: str) -> None:
    given = options("--offline", "--agents-address", address, endpoint="https://secure.comm100.io/sso")
    ended = run("init", *given, folder=folder)
    assert (ended.exit_code, ended.stderr) == (0, "")
    site = wire_site(load_settings(folder / "broker.yaml", {}), "main")
    page = "https://dash17.comm100.io/agentconsole?queue=vip"
    assert check_redirect_url(page, site) == page
    assert "redirect_hosts is empty" not in ended.stdout


@pytest.mark.parametrize("address", ["https://*.comm100.io/", "https://", "https://a b.comm100.io", "https://["])
def test_an_address_without_a_usable_host_is_refused(folder: Path, address: str) -> None:
    given = options("--offline", "--agents-address", address, endpoint="https://secure.comm100.io/sso")
    ended = run("init", *given, folder=folder)
    assert ended.exit_code == 2
    assert "--agents-address" in ended.stderr
    assert not (folder / "broker.yaml").exists()
