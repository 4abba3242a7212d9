"""trusted_ca_file while the service runs: authorities come and go with the file, and a bad file changes nothing."""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from broker.app import create_app
from broker.errors import ProviderCertificate, SettingsError
from broker.oidc.client import NetworkPolicy, ProviderClient, open_client
from broker.oidc.messages import ProviderRequest
from broker.settings import WatchedAuthorities, load_settings, open_authorities
from tests.oidc.servers import Authority, Server, new_authority, ok, says, serving
from tests.settings.admin import Admin
from tests.test_app import body_of, counting_tls_contexts

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def old() -> Authority:
    return new_authority()


@pytest.fixture(scope="module")
def new() -> Authority:
    return new_authority()


def put(file: Path, content: str) -> None:
    """Replace a file as Kubernetes does: whole, and at once."""
    file.with_suffix(".new").write_text(content, encoding="utf-8")
    file.with_suffix(".new").rename(file)


def pem(folder: Path, *authorities: Authority) -> str:
    return "".join(each.write(folder / "one.pem").read_text(encoding="utf-8") for each in authorities)


async def until(come_true: Callable[[], bool]) -> None:
    for _ in range(1000):
        if come_true():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it never came")


@asynccontextmanager
async def watched(file: Path) -> AsyncIterator[tuple[WatchedAuthorities, ProviderClient]]:
    """Watch a file of authorities, and yield a client that trusts them."""
    authorities = await open_authorities(file)
    watching = asyncio.create_task(authorities.watch(look_seconds=0.02))
    network = NetworkPolicy(file, private_networks=True, context=authorities.context)
    try:
        async with open_client(network) as http:
            yield authorities, ProviderClient(http, network)
    finally:
        watching.cancel()


async def ask(client: ProviderClient, server: Server) -> bytes:
    return (await client.send(ProviderRequest("GET", f"https://localhost:{server.port}/keys", 1000))).body


@pytest.mark.requirement("S-41")
async def test_an_authority_that_is_added_is_trusted_without_a_restart(
    old: Authority, new: Authority, tmp_path: Path
) -> None:
    file = old.write(tmp_path / "ca.pem")
    async with (
        watched(file) as (authorities, client),
        serving(says(ok()), tls=new.context(tmp_path, "localhost")) as server,
    ):
        with pytest.raises(ProviderCertificate):
            await ask(client, server)
        before = authorities.context()
        put(file, pem(tmp_path, old, new))
        await until(lambda: authorities.context() is not before)
        assert await ask(client, server) == b"{}"


@pytest.mark.requirement("S-41")
async def test_an_authority_that_is_removed_is_not_trusted_on_kept_connections_either(
    old: Authority, new: Authority, tmp_path: Path
) -> None:
    file = old.write(tmp_path / "ca.pem")
    async with (
        watched(file) as (authorities, client),
        serving(says(ok()), tls=old.context(tmp_path, "localhost")) as server,
    ):
        assert await ask(client, server) == b"{}"
        assert await ask(client, server) == b"{}"
        assert server.connections == 1, "the connection is kept"
        before = authorities.context()
        put(file, pem(tmp_path, new))
        await until(lambda: authorities.context() is not before)
        with pytest.raises(ProviderCertificate):
            await ask(client, server)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        pytest.param("", "holds no certificates in PEM form", id="empty"),
        pytest.param("-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n", "is truncated", id="truncated"),
        pytest.param(None, "cannot be read", id="removed"),
        pytest.param("a pipe", "is not a regular file", id="a pipe"),
        pytest.param("/dev/zero", "is not a regular file", id="a device"),
    ],
)
async def test_a_file_that_cannot_be_used_leaves_the_previous_authorities(
    old: Authority, tmp_path: Path, caplog: pytest.LogCaptureFixture, content: str | None, words: str
) -> None:
    file = old.write(tmp_path / "ca.pem")
    async with (
        watched(file) as (authorities, client),
        serving(says(ok()), tls=old.context(tmp_path, "localhost")) as server,
    ):
        if content is None:
            file.unlink()
        elif content == "a pipe":
            os.mkfifo(tmp_path / "pipe")
            (tmp_path / "pipe").rename(file)
        elif content == "/dev/zero":
            file.unlink()
            file.symlink_to(content)
        else:
            put(file, content)
        await until(authorities.is_rejected)
        assert await ask(client, server) == b"{}"
        assert words in caplog.text
        assert "the previous value stays in use" in caplog.text
        put(file, pem(tmp_path, old))
        await until(lambda: not authorities.is_rejected())


async def test_the_serving_thread_reads_no_certificates(old: Authority, new: Authority, tmp_path: Path) -> None:
    file = old.write(tmp_path / "ca.pem")
    with counting_tls_contexts() as made:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        assert made, "the counting works"
        made.clear()
        async with watched(file) as (authorities, _):
            before = authorities.context()
            put(file, pem(tmp_path, old, new))
            await until(lambda: authorities.context() is not before)
            assert made == []


async def test_a_service_exports_whether_its_file_is_rejected(admin: Admin, old: Authority) -> None:
    old.write(admin.folder / "ca.pem")
    settings = load_settings(admin.write(admin.settings(trusted_ca_file="ca.pem")), {})
    async with create_app(settings) as service:
        exported = (await body_of(service.operations, "/metrics")).decode()
        assert 'comm100_sso_secret_file_rejected{setting="trusted_ca_file"} 0.0' in exported
        assert settings.trusted_ca_file is not None
        put(settings.trusted_ca_file, "")
        async with asyncio.timeout(10):
            while 'setting="trusted_ca_file"} 1.0' not in exported:
                await asyncio.sleep(0.05)
                exported = (await body_of(service.operations, "/metrics")).decode()


async def test_a_file_that_went_bad_after_the_settings_were_read_is_a_mistake_in_the_settings(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("", encoding="utf-8")
    with pytest.raises(SettingsError) as refusal:
        await open_authorities(tmp_path / "ca.pem")
    assert [each.path for each in refusal.value.mistakes] == ["trusted_ca_file"]
