"""The way to a host: names, addresses, certificates and proxies; what lies behind a trouble is not tried."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.checks.diagnosis import NOWHERE, assert_first, diagnose, of, settings_on_loopback, the
from tests.fakes.hostile_server import DISCOVERY, KEYS, TOKEN, hostile_provider, late
from tests.fakes.ports import free_port
from tests.fakes.provider import FakeProvider
from tests.oidc.connect_proxy import basic, connect_proxy
from tests.oidc.servers import Authority, new_authority, ok, says, serving

NOT_TRIED = {
    "dns": {"tls", "discovery", "issuer", "metadata", "keys", "clock", "client_authentication", "redirect_uri"},
    "tls": {"discovery", "issuer", "metadata", "keys", "clock", "client_authentication", "redirect_uri"},
    "discovery": {"issuer", "metadata", "keys", "clock", "client_authentication", "redirect_uri"},
}


def settings_for_issuer(issuer: str, **keys: Any) -> dict[str, Any]:
    return settings_on_loopback(FakeProvider("http://127.0.0.1", time.time), issuer=issuer, **keys)


@asynccontextmanager
async def speaking_tls(folder: Path, authority: Authority, *hosts: str, days: int) -> AsyncIterator[int]:
    """Serve an empty JSON object with a certificate for these hosts; yield the port."""
    async with serving(says(ok()), tls=authority.context(folder, *hosts, days=days)) as server:
        yield server.port


@pytest.mark.parametrize(
    ("trusted", "host", "days", "check", "message", "remedy"),
    [
        pytest.param(False, "127.0.0.1", 300, "tls", "unknown authority", "trusted_ca_file",
                     id="an unknown authority"),
        pytest.param(True, "id.acme.example", 300, "tls", "wrong host", "Compare the host's spelling",
                     id="a certificate of another host"),
        pytest.param(True, "127.0.0.1", -1, "tls", "expired", "renew", id="an expired certificate"),
        pytest.param(True, "127.0.0.1", 300, "issuer", "got nothing.", "Compare issuer",
                     id="an authority of our own, trusted: the next trouble is found"),
    ],
)  # fmt: skip
async def test_a_certificate_is_judged_with_our_own_trust(
    tmp_path: Path, trusted: bool, host: str, days: int, check: str, message: str, remedy: str
) -> None:
    authority = new_authority()
    async with speaking_tls(tmp_path, authority, host, days=days) as port:
        settings = settings_for_issuer(f"https://127.0.0.1:{port}")
        if trusted:
            settings["trusted_ca_file"] = str(authority.write(tmp_path / "ca.pem"))
        findings = await diagnose(tmp_path, settings)
    assert_first(findings, check, "failed", message, remedy)


@pytest.mark.parametrize(
    ("days", "status"), [pytest.param(3, "warning", id="soon"), pytest.param(300, "ok", id="not soon")]
)
async def test_a_certificate_that_expires_soon_is_a_warning(tmp_path: Path, days: int, status: str) -> None:
    authority = new_authority()
    async with speaking_tls(tmp_path, authority, "127.0.0.1", days=days) as port:
        settings = settings_for_issuer(f"https://127.0.0.1:{port}")
        settings["trusted_ca_file"] = str(authority.write(tmp_path / "ca.pem"))
        findings = await diagnose(tmp_path, settings)
    tls = the(findings, "tls")
    assert tls.status == status
    assert f"{days - 1} " in tls.message


async def test_a_server_without_tls_is_named_as_that(tmp_path: Path) -> None:
    async with serving(says(ok(status="400 Bad Request")), reads=False) as server:
        findings = await diagnose(tmp_path, settings_for_issuer(f"https://127.0.0.1:{server.port}"))
    assert_first(findings, "tls", "failed", "the port does not speak TLS", "Compare host and port")


@pytest.mark.parametrize(
    ("issuer", "check", "message"),
    [
        pytest.param(NOWHERE, "dns", "nowhere.invalid cannot be resolved", id="a name that does not exist"),
        pytest.param("http://127.0.0.1:{port}", "tls", "Connection refused", id="a port nobody listens on"),
    ],
)
async def test_what_rests_on_a_trouble_is_not_tried(tmp_path: Path, issuer: str, check: str, message: str) -> None:
    findings = await diagnose(tmp_path, settings_for_issuer(issuer.format(port=free_port())))
    assert_first(findings, check, "failed", message)
    not_tried = {one.check for one in of(findings) if one.message == f"Not tried: {check} failed."}
    assert not_tried == NOT_TRIED[check]
    assert all(one.status == "unknown" for one in of(findings) if one.check in not_tried)


async def test_a_private_address_is_refused_before_anything_is_sent_there(tmp_path: Path) -> None:
    settings = settings_for_issuer("https://10.255.255.1:9")
    settings["public_url"] = "https://sso.nowhere.invalid"
    findings = await diagnose(tmp_path, settings)
    assert_first(findings, "dns", "failed", "private network (10.255.255.1)", "allow_private_network: true")


async def test_a_proxy_resolves_the_name_and_may_refuse(tmp_path: Path) -> None:
    async with serving(says(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")) as proxy:
        settings = {**settings_for_issuer(NOWHERE), "outbound_proxy": f"http://127.0.0.1:{proxy.port}"}
        findings = await diagnose(tmp_path, settings)
    assert the(findings, "dns").status == "unknown"
    assert_first(findings, "tls", "failed", "403 Forbidden.", "Check outbound_proxy")
    assert all(request.startswith(b"CONNECT ") or b"127.0.0.1:8000" in request for request in proxy.requests)


async def test_behind_a_proxy_the_certificate_is_judged_as_well(tmp_path: Path) -> None:
    authority = new_authority()
    async with speaking_tls(tmp_path, authority, "127.0.0.1", days=300) as port, connect_proxy() as proxy:
        settings = settings_for_issuer(f"https://127.0.0.1:{port}")
        settings["outbound_proxy"] = f"http://127.0.0.1:{proxy.port}"
        unknown = await diagnose(tmp_path, settings)
        settings["trusted_ca_file"] = str(authority.write(tmp_path / "ca.pem"))
        trusted = await diagnose(tmp_path, settings)
    assert_first(unknown, "tls", "failed", "unknown authority", "trusted_ca_file")
    assert_first(trusted, "issuer", "failed", "got nothing.")


@pytest.mark.parametrize(
    ("written", "message"),
    [
        pytest.param("me:p%40w", "got nothing.", id="the right password"),
        pytest.param("me:pw", "407 Proxy Authentication Required.", id="another password"),
    ],
)
async def test_the_check_shows_the_proxy_the_same_credentials(tmp_path: Path, written: str, message: str) -> None:
    authority = new_authority()
    async with (
        speaking_tls(tmp_path, authority, "127.0.0.1", days=300) as port,
        connect_proxy(wants=basic("me", "p@w")) as proxy,
    ):
        settings = settings_for_issuer(f"https://127.0.0.1:{port}")
        settings["outbound_proxy"] = f"http://{written}@127.0.0.1:{proxy.port}"
        settings["trusted_ca_file"] = str(authority.write(tmp_path / "ca.pem"))
        findings = await diagnose(tmp_path, settings)
    assert message in of(findings)[0].message
    assert "p@w" not in str(findings)
    assert written not in str(findings)


async def test_one_provider_is_asked_by_the_proxy_and_another_without(tmp_path: Path) -> None:
    authority = new_authority()
    (tmp_path / "eu").mkdir()
    async with (
        speaking_tls(tmp_path, authority, "127.0.0.1", days=300) as port,
        speaking_tls(tmp_path / "eu", authority, "127.0.0.1", days=300) as direct,
        connect_proxy() as proxy,
    ):
        settings = settings_for_issuer(f"https://127.0.0.1:{port}")
        eu = settings_for_issuer(f"https://127.0.0.1:{direct}", email_domains=["eu.example"], outbound_proxy="none")
        settings["identity_providers"]["eu"] = eu["identity_providers"]["idp"]
        settings["outbound_proxy"] = f"http://127.0.0.1:{proxy.port}"
        settings["trusted_ca_file"] = str(authority.write(tmp_path / "ca.pem"))
        findings = await diagnose(tmp_path, settings)
    assert the(findings, "tls").status == the(findings, "tls", "eu").status == "ok"
    assert (the(findings, "dns").status, the(findings, "dns", "eu").status) == ("unknown", "ok")
    assert f"127.0.0.1:{port}" in proxy.asked_for
    assert f"127.0.0.1:{direct}" not in proxy.asked_for


async def test_silence_is_waited_for_five_seconds_and_by_nobody_else(tmp_path: Path) -> None:
    began = time.monotonic()
    async with (
        hostile_provider({DISCOVERY: late(30)}) as silent,
        hostile_provider({TOKEN: late(30), KEYS: late(30)}) as half_silent,
        hostile_provider() as other,
    ):
        settings = settings_on_loopback(silent.honest)
        for identifier, server in {"half": half_silent, "other": other}.items():
            more = settings_on_loopback(server.honest, email_domains=[f"{identifier}.example"])
            settings["identity_providers"][identifier] = more["identity_providers"]["idp"]
        findings = await diagnose(tmp_path, settings)
    assert time.monotonic() - began < 20  # the whole check's bound; one after the other they would take longer
    assert_first(findings, "discovery", "failed", "No answer")
    assert [one.check for one in of(findings, "half") if one.status == "failed"] == ["keys", "client_authentication"]
    assert the(findings, "client_authentication", "other").status == "ok"
