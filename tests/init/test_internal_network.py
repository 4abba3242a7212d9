"""`broker init` and a provider on the internal network: own authority, private address, proxy, own scopes."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from broker.errors import Mistake
from broker.init import Probe
from broker.init.wizard import judge_options
from broker.settings import load_settings
from tests.fakes.command import run
from tests.fakes.hostile_server import HostileProvider, hostile_provider
from tests.init.answering import CLIENT_SECRET, GIVEN, SHARED_SECRET
from tests.init.test_conversation import asked
from tests.oidc.servers import new_authority

# asyncio leaves the socket of a failed handshake to the garbage collector if its loop ends at once, as a probe's does.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

PRIVATE = "https://[fd00::1]:9"
DIRECT = {"public_url": "http://127.0.0.1:8000"}


@pytest.fixture(autouse=True)
def collected() -> Iterator[None]:
    """Collect the garbage of each test, so that it does not fail another test."""
    yield
    gc.collect()


@asynccontextmanager
async def provider_of_an_own_authority(folder: Path) -> AsyncIterator[tuple[HostileProvider, Path]]:
    """Run a provider with TLS; yield the provider and the file with its authority's certificate."""
    authority = new_authority()
    context = authority.context(folder, "127.0.0.1", days=300)
    async with hostile_provider(tls=context) as server:
        server.honest.client_secret = CLIENT_SECRET
        yield server, authority.write(folder / "acme-ca.pem")


def given_for(issuer: str, **more: str) -> dict[str, str]:
    return {**GIVEN, **DIRECT, "issuer": issuer, **more}


def mistakes_in(given: dict[str, str], probe: Probe | None) -> list[Mistake]:
    _, mistakes, _ = judge_options(given, probe)
    return mistakes


@pytest.mark.parametrize("first", ["missing.pem", "other-ca.pem", ""])
async def test_the_file_of_an_own_authority_is_asked_for_and_the_settings_work(tmp_path: Path, first: str) -> None:
    async with provider_of_an_own_authority(tmp_path) as (server, ca_file):
        (tmp_path / "missing.pem").write_text("no certificate", encoding="utf-8")
        new_authority().write(tmp_path / "other-ca.pem")
        answers: list[tuple[str, str]] = [("CA certificate file", str(ca_file))]
        if first:
            answers.insert(0, ("CA certificate file", str(tmp_path / first)))
        given = given_for(server.honest.issuer)
        settings, words = await asyncio.to_thread(asked, tmp_path, given, answers, Probe())
    assert "trusted_ca_file" in words
    assert "Client ID and secret accepted" in words
    assert settings.trusted_ca_file == ca_file


async def test_without_the_file_at_hand_the_answer_may_be_kept(tmp_path: Path) -> None:
    async with provider_of_an_own_authority(tmp_path) as (server, _):
        answers: list[tuple[str, str]] = [("CA certificate file", ""), ("Keep it anyway?", "y")]
        given = given_for(server.honest.issuer)
        settings, _ = await asyncio.to_thread(asked, tmp_path, given, answers, Probe())
    assert settings.trusted_ca_file is None


async def test_options_alone_lack_the_file_or_write_settings_that_work(tmp_path: Path) -> None:
    secrets = {"client-secret.txt": CLIENT_SECRET, "shared-secret.txt": SHARED_SECRET}
    for name, text in secrets.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    async with provider_of_an_own_authority(tmp_path) as (server, ca_file):
        options = [
            "--public-url", "http://127.0.0.1:8000", "--provider", "oidc", "--issuer", server.honest.issuer,
            "--client-id", "client-1", "--client-secret-file", "client-secret.txt", "--email-domain", "acme.example",
            "--endpoint", f"{server.honest.issuer}/sso", "--shared-secret-file", "shared-secret.txt",
        ]  # fmt: skip
        new_authority().write(tmp_path / "other-ca.pem")
        lacking = await asyncio.to_thread(run, "init", *options, folder=tmp_path)
        assert lacking.exit_code == 2
        assert "--trusted-ca-file\n" in lacking.stderr
        assert "is missing: " in lacking.stderr
        assert not (tmp_path / "broker.yaml").exists()
        useless = await asyncio.to_thread(run, "init", *options, "--trusted-ca-file", "other-ca.pem", folder=tmp_path)
        assert useless.exit_code == 2
        assert "does not help: " in useless.stderr
        works = await asyncio.to_thread(run, "init", *options, "--trusted-ca-file", ca_file.name, folder=tmp_path)
    assert works.exit_code == 0
    assert "Client ID and secret accepted" in works.stdout
    assert "  failed  " not in works.stdout
    assert load_settings(tmp_path / "broker.yaml", {}).trusted_ca_file == ca_file


def test_a_private_address_is_allowed_at_its_price(tmp_path: Path) -> None:
    answers: list[tuple[str, str]] = [
        ("Allow the private network for this provider?", "y"),
        ("Keep it anyway?", "y"),  # no server is there
    ]
    given = {**GIVEN, "issuer": PRIVATE}
    settings, words = asked(tmp_path, given, answers, Probe())
    assert "fd00::1 is on a private network" in words
    assert "make the broker send requests to other machines in your network" in words
    assert settings.identity_providers["oidc"].allow_private_network
    text = (tmp_path / "broker.yaml").read_text(encoding="utf-8")
    assert text.count("allow_private_network") == 1


def test_a_private_address_that_is_not_allowed_may_be_kept(tmp_path: Path) -> None:
    answers: list[tuple[str, str]] = [("Allow the private network", "n"), ("Keep it anyway?", "y")]
    settings, _ = asked(tmp_path, {**GIVEN, "issuer": PRIVATE}, answers, Probe())
    assert not settings.identity_providers["oidc"].allow_private_network


def test_options_alone_lack_the_word_that_allows_a_private_address() -> None:
    [mistake] = mistakes_in({**GIVEN, "issuer": PRIVATE}, Probe())
    assert mistake.path == "--allow-private-network"
    assert mistake.problem.startswith("is missing: fd00::1 is on a private network")
    assert mistake.example == "--allow-private-network"


def test_a_proxy_and_scopes_are_written(tmp_path: Path) -> None:
    given = {**GIVEN, "outbound_proxy": "http://proxy.acme.example:3128", "scopes": "openid email groups"}
    settings, _ = asked(tmp_path, given, [])
    text = (tmp_path / "broker.yaml").read_text(encoding="utf-8")
    assert '\noutbound_proxy: "http://proxy.acme.example:3128" #' in text
    assert settings.identity_providers["oidc"].scopes == ("openid", "email", "groups")


@pytest.mark.parametrize(
    ("key", "wrong", "option"),
    [
        ("outbound_proxy", "proxy.acme.example", "--outbound-proxy"),
        ("scopes", "email", "--scope"),
        ("trusted_ca_file", "/nowhere/ca.pem", "--trusted-ca-file"),
    ],
)
def test_what_the_settings_refuse_of_them_is_said(key: str, wrong: str, option: str) -> None:
    assert [mistake.path for mistake in mistakes_in({**GIVEN, key: wrong}, None)] == [option]
