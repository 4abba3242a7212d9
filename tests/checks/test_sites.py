"""A Comm100 site and our own address: what can be said about them from here."""

from __future__ import annotations

import hashlib
import time
from pathlib import Path
from typing import Any

import pytest

from tests.checks.diagnosis import NOWHERE, diagnose, of, settings_on_loopback, the
from tests.fakes.ports import free_port
from tests.fakes.processes import running_broker
from tests.fakes.provider import FakeProvider
from tests.fakes.world import SHARED_SECRET
from tests.oidc.servers import hangs_up, new_authority, ok, says, serving

GUID = "578d96c4-2552-4c1a-94f4-0a7d922d5f17"


def settings_with_site(endpoint: str = f"{NOWHERE}/sso", **keys: Any) -> dict[str, Any]:
    settings = settings_on_loopback(FakeProvider(NOWHERE, time.time))
    settings["sites"]["main"] |= {"endpoint": endpoint, **keys}
    return settings


@pytest.mark.parametrize(
    ("secret", "status", "message"),
    [
        pytest.param(SHARED_SECRET, "ok", "48 bytes", id="as Comm100 shows it"),
        pytest.param(GUID, "warning", "as if it had been decoded", id="decoded"),
        pytest.param(SHARED_SECRET[:40], "warning", "as if its end were missing", id="cut off"),
        pytest.param("-".join(["x9!kq"] * 3 + ["another form altogether"]), "ok", "bytes", id="of a form of its own"),
    ],
)
async def test_a_shared_secret_is_known_by_length_and_fingerprint_and_never_shown(
    tmp_path: Path, secret: str, status: str, message: str
) -> None:
    findings = await diagnose(tmp_path, settings_with_site(shared_secret=secret), offline=True)
    found = the(findings, "shared_secret", "main")
    assert (found.status, message in found.message) == (status, True), found
    assert f"fingerprint {hashlib.sha256(secret.encode()).hexdigest()[:8]}" in found.message
    assert secret not in str(findings)


@pytest.mark.parametrize(
    ("answer", "status", "message"),
    [
        pytest.param(ok(status="200 OK"), "ok", "status 200", id="a page"),
        pytest.param(ok(status="400 Bad Request"), "ok", "status 400", id="a refusal: there was no token"),
        pytest.param(ok(status="500 Internal Server Error"), "ok", "status 500", id="an error: there was no token"),
        pytest.param(ok(b"", "Location: https://x.example/"), "ok", "status 200", id="a redirect that is none"),
        pytest.param(ok(b"x" * 600_000), "ok", "answers", id="a very large page"),
        pytest.param(ok(b"x", "Content-Encoding: br"), "ok", "answers", id="a packed page"),
        pytest.param(ok(status="404 Not Found"), "warning", "the address may be wrong", id="nothing"),
        pytest.param(b"SSH-2.0-OpenSSH_9.2\r\n", "failed", "gives no answer", id="something that is no web server"),
    ],
)
async def test_an_endpoint_that_answers_is_good_enough(
    tmp_path: Path, answer: bytes, status: str, message: str
) -> None:
    async with serving(says(answer, close=True)) as comm100:
        findings = await diagnose(tmp_path, settings_with_site(f"http://127.0.0.1:{comm100.port}/sso"))
    found = the(findings, "endpoint", "main")
    assert (found.status, message in found.message) == (status, True), found
    assert b"jwt" not in b"".join(comm100.requests)


@pytest.mark.parametrize(
    ("endpoint", "check", "message"),
    [
        pytest.param(f"{NOWHERE}/sso", "dns", "cannot be resolved", id="a host that does not exist"),
        pytest.param("http://127.0.0.1:{free}/sso", "tls", "Connection refused", id="an endpoint that is down"),
        pytest.param("https://127.0.0.1:{tls}/sso", "tls", "unknown authority", id="an unknown authority"),
    ],
)
async def test_an_endpoint_that_cannot_be_reached_is_named_by_its_cause(
    tmp_path: Path, endpoint: str, check: str, message: str
) -> None:
    async with serving(says(ok()), tls=new_authority().context(tmp_path, "127.0.0.1")) as strange:
        url = endpoint.format(free=free_port(), tls=strange.port)
        first = of(await diagnose(tmp_path, settings_with_site(url)), "main")[0]
    assert (first.check, first.status) == (check, "failed")
    assert message in first.message


@pytest.mark.parametrize(
    ("endpoint", "hosts", "warns"),
    [
        pytest.param("https://secure.comm100.io/sso", [], True, id="the newer platform"),
        pytest.param("https://secure.comm100.io/sso", ["dash17.comm100.io"], False, id="with a host"),
        pytest.param("https://acme.comm100.com/sso", [], False, id="the older platform"),
        pytest.param("https://comm100.io.example/sso", [], False, id="another domain"),
    ],
)
async def test_an_endpoint_on_the_newer_platform_needs_the_host_of_the_agents_pages(
    tmp_path: Path, endpoint: str, hosts: list[str], warns: bool
) -> None:
    findings = await diagnose(tmp_path, settings_with_site(endpoint, redirect_hosts=hosts), offline=True)
    told = [finding for finding in findings if finding.check == "endpoint"]
    assert [finding.status for finding in told] == ["warning"] * warns
    assert all("dash17.comm100.io" in finding.remedy for finding in told)


async def test_a_proxy_that_keeps_this_machine_from_comm100_fails_nothing(tmp_path: Path) -> None:
    async with serving(says(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")) as proxy:
        settings = {**settings_with_site(), "outbound_proxy": f"http://127.0.0.1:{proxy.port}"}
        findings = of(await diagnose(tmp_path, settings), "main")
    assert {one.check: one.status for one in findings} == {
        "dns": "unknown", "tls": "unknown", "endpoint": "unknown", "shared_secret": "ok",
    }  # fmt: skip
    assert "403 Forbidden." in the(findings, "tls", "main").message
    assert "browsers go to Comm100" in the(findings, "tls", "main").remedy


async def test_our_public_address_is_known_by_our_own_page(tmp_path: Path) -> None:
    port = free_port()
    settings = settings_with_site() | {"public_url": f"http://127.0.0.1:{port}"}
    with running_broker(tmp_path, settings, port):
        findings = await diagnose(tmp_path, settings)
    assert the(findings, "public_url", "settings").status == "ok"


@pytest.mark.parametrize(
    ("talk", "status", "message"),
    [
        pytest.param(says(ok(b"<h1>Welcome!</h1>")), "failed", "something else (status 200)", id="another page"),
        pytest.param(says(ok(status="404 Not Found")), "failed", "status 404", id="nothing there"),
        pytest.param(
            says(ok(b"", "Location: https://portal.example/x?token=1", status="302 Found")),
            "failed", "leading to portal.example,", id="a portal in front",
        ),
        pytest.param(
            says(ok(b"", "Location: https://[x", status="302 Found")), "failed", "status 302),", id="a way to nowhere"
        ),
        pytest.param(says(ok(status="502 Bad Gateway")), "unknown", "no broker behind it", id="a proxy alone"),
        pytest.param(hangs_up, "unknown", "gets no answer", id="nobody who answers"),
    ],
)  # fmt: skip
async def test_another_answer_at_our_address_is_told_from_none(
    tmp_path: Path, talk: Any, status: str, message: str
) -> None:
    async with serving(talk) as other:
        settings = settings_with_site() | {"public_url": f"http://127.0.0.1:{other.port}"}
        found = the(await diagnose(tmp_path, settings), "public_url", "settings")
    assert (found.status, message in found.message) == (status, True), found


async def test_a_public_address_this_machine_does_not_reach_is_unknown(tmp_path: Path) -> None:
    settings = settings_with_site() | {"public_url": f"http://127.0.0.1:{free_port()}"}
    found = the(await diagnose(tmp_path, settings), "public_url", "settings")
    assert found.status == "unknown"
    assert found.remedy.startswith("If the broker does not run yet, start it. Open http://127.0.0.1")


async def test_every_weakening_is_a_warning(tmp_path: Path) -> None:
    settings = settings_with_site() | {"log_email": "plain"}
    settings["identity_providers"]["idp"]["trust_unverified_email"] = True
    findings = of(await diagnose(tmp_path, settings, offline=True), "settings")
    said = [one.message for one in findings if one.status == "warning"]
    assert said == [
        "An insecure option is on: public_url_without_tls.",
        "An insecure option is on: log_email_plain.",
        "An insecure option is on: trust_unverified_email:identity_providers.idp.",
    ]


@pytest.mark.parametrize(
    ("days", "status"),
    [
        pytest.param(-3, "failed", id="expired"),
        pytest.param(0, "failed", id="expires today"),
        pytest.param(10, "warning", id="expires in ten days"),
        pytest.param(31, "ok", id="expires in a month and a day"),
        pytest.param(None, "unknown", id="no day is set"),
    ],
)
async def test_the_day_a_client_secret_expires_is_compared_with_today(
    tmp_path: Path, days: int | None, status: str
) -> None:
    settings = settings_with_site()
    if days is not None:
        day = time.strftime("%Y-%m-%d", time.gmtime(time.time() + days * 86400))
        settings["identity_providers"]["idp"]["client_secret_expires"] = day
    findings = await diagnose(tmp_path, settings, offline=True)
    assert the(findings, "client_secret_expiry").status == status


async def test_a_public_client_has_no_secret_to_expire(tmp_path: Path) -> None:
    settings = settings_on_loopback(FakeProvider(NOWHERE, time.time, client_secret=None))
    assert the(await diagnose(tmp_path, settings, offline=True), "client_secret_expiry").status == "ok"
