"""The checks that a running service makes by itself: when they run, and what they leave in metrics, log and page."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from broker.app import Service
from broker.checks import Finding
from broker.checks.reach import note_certificates, with_other_hosts
from broker.dawn_check import FIRST_SECONDS, FindingsLog, keep_checking, of_service
from broker.errors import ProviderTimedOut
from broker.metrics import Metrics
from broker.oidc.messages import Peer, ProviderRequest, ProviderResponse
from tests.fakes.admin import link_for, text_of
from tests.fakes.clock import START
from tests.fakes.world import BROKER, World, metrics

pytestmark = pytest.mark.anyio

DAY = 86400.0


def finding(check: str, status: Any, message: str = "Found.", *, subject: str = "idp") -> Finding:
    return Finding(subject, check, status, message, "" if status == "ok" else "Do it.", f"docs/admin/check.md#{check}")


class Rests:
    """Notes how long each rest is; the rest after the last ends the loop."""

    def __init__(self, count: int) -> None:
        self.seconds: list[float] = []
        self._count = count

    async def __call__(self, seconds: float) -> None:
        self.seconds.append(seconds)
        if len(self.seconds) == self._count:
            raise asyncio.CancelledError


async def rests_between_runs(
    runs: Iterable[list[Finding] | Exception], *, hours: float = 6, chance: float = 0.5
) -> list[float]:
    """Return the rests of a service whose runs end like this."""
    log, ends = FindingsLog(), list(runs)
    rests = Rests(len(ends) + 1)
    left = iter(ends)

    async def run() -> None:
        end = next(left)
        if isinstance(end, Exception):
            raise end
        log.write(end)

    with pytest.raises(asyncio.CancelledError):
        await keep_checking(run, hours, log, sleep=rests, chance=lambda: chance)
    return rests.seconds


@pytest.mark.parametrize(
    ("chance", "first", "then"),
    [pytest.param(0, 180, 4.8 * 3600, id="early"), pytest.param(1, 360, 7.2 * 3600, id="late")],
)
async def test_the_first_run_comes_after_minutes_and_the_next_after_six_hours_more_or_less(
    chance: float, first: float, then: float
) -> None:
    ok = [finding("keys", "ok")]
    assert await rests_between_runs([ok, ok], chance=chance) == pytest.approx([first, then, then])


async def test_while_a_check_fails_the_next_run_comes_after_an_hour() -> None:
    failed, warned = [finding("keys", "failed")], [finding("tls", "warning")]
    assert await rests_between_runs([failed, warned, failed]) == [FIRST_SECONDS * 1.5, 3600, 6 * 3600, 3600]
    assert await rests_between_runs([failed], hours=0.5) == [FIRST_SECONDS * 1.5, 1800]


@pytest.mark.parametrize(
    ("error", "event"),
    [
        pytest.param(ProviderTimedOut(expected="all checks within 30 s"), "checks did not end", id="out of time"),
        pytest.param(LookupError("a defect"), "defect", id="a defect"),
    ],
)
async def test_a_run_without_a_result_is_logged_and_the_next_comes(
    error: Exception, event: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert len(await rests_between_runs([error, [finding("keys", "ok")]])) == 3
    assert caplog.messages.count(event) == 1


def test_a_finding_is_logged_once_until_it_changes(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    log = FindingsLog()
    runs = [
        [finding("keys", "ok"), finding("redirect_uri", "unknown")],
        [finding("keys", "failed", "No answer."), finding("tls", "warning", "Expires in 13 days.")],
        [finding("keys", "failed", "No answer."), finding("tls", "warning", "Expires in 12 days.")],
        [finding("keys", "failed", "Not trusted."), finding("tls", "failed", "Expired.")],
        [finding("keys", "unknown", "Not tried."), finding("tls", "ok")],
    ]
    told = []
    for findings in runs:
        caplog.clear()
        log.write(findings)
        told.append([(one.getMessage(), vars(one)["facts"]["check"]) for one in caplog.records])
    assert told == [
        [],
        [("check failed", "keys"), ("check warned", "tls")],
        [],
        [("check failed", "keys"), ("check failed", "tls")],
        [("check no longer fails", "keys"), ("check no longer fails", "tls")],
    ]


def test_a_line_says_what_failed_and_what_to_do(caplog: pytest.LogCaptureFixture) -> None:
    FindingsLog().write([finding("keys", "failed", "No answer.")])
    (record,) = caplog.records
    assert record.levelname == "ERROR"
    assert vars(record)["facts"] == {
        "subject": "idp",
        "check": "keys",
        "message": "No answer.",
        "remedy": "Do it.",
        "doc": "docs/admin/check.md#keys",
    }


def test_insecure_options_and_providers_nobody_can_choose_do_not_count() -> None:
    kept = finding("public_url", "failed", subject="settings")
    findings = [finding("settings", "warning", subject="settings"), kept, finding("keys", "failed", subject="off")]
    assert of_service(findings, {"settings", "idp"}) == (kept,)


def samples(exported: str) -> dict[tuple[str, ...], float]:
    """Return every sample by its name, subject and check."""
    every = [sample for family in text_string_to_metric_families(exported) for sample in family.samples]
    named = ("subject", "check")
    return {
        (one.name.removeprefix("comm100_sso_"), *(one.labels[name] for name in named if name in one.labels)): one.value
        for one in every
    }


async def test_metrics_tell_what_failed_and_warned_and_what_nobody_knows_is_neither() -> None:
    own = Metrics()
    own.expect_dawn_checks(START)
    before = samples((await own.export()).decode())
    assert before["dawn_check_timestamp_seconds",] == START, "an alert on its age holds from the start"
    assert not [key for key in before if key[0] == "dawn_check_failed"]
    signing_out = finding("redirect_uri", "unknown")
    own.export_findings(
        [finding("redirect_uri", "failed"), signing_out, finding("keys", "unknown"), finding("tls", "warning")],
        START + 5,
    )
    found = samples((await own.export()).decode())
    assert found["dawn_check_timestamp_seconds",] == START + 5
    assert {key[2]: value for key, value in found.items() if key[0] == "dawn_check_failed"} == {
        "redirect_uri": 1,
        "keys": 0,
        "tls": 0,
    }
    assert {key[2]: value for key, value in found.items() if key[0] == "dawn_check_warned"} == {
        "redirect_uri": 0,
        "keys": 0,
        "tls": 1,
    }
    own.export_findings([finding("redirect_uri", "ok")], START + 6)
    found = samples((await own.export()).decode())
    assert found["dawn_check_failed", "idp", "redirect_uri"] == 0


def expiring(host_days: dict[str, float], now: float) -> dict[str, float]:
    return {host: now + days * DAY for host, days in host_days.items()}


async def test_the_first_certificate_to_expire_counts_and_each_host_is_named() -> None:
    now = time.time()
    ends = expiring({"idp.example": 60, "token.example": 9.5, "keys.example": 40}, now)
    found = with_other_hosts([finding("tls", "ok"), finding("keys", "ok")], ends, first_host="idp.example")
    assert [(one.check, one.status) for one in found] == [("tls", "ok"), ("keys", "ok"), ("tls", "warning")]
    assert "token.example expires in 9 days" in found[2].message
    own = Metrics()
    own.expect_dawn_checks(START)
    own.export_findings(found, START)
    exported = samples((await own.export()).decode())
    assert exported["certificate_expires_timestamp_seconds", "idp"] == now + 9.5 * DAY


async def test_the_certificate_of_each_answer_is_noted_by_host() -> None:
    async def send(request: ProviderRequest) -> ProviderResponse:
        plain = request.url.startswith("http:")
        return ProviderResponse(200, "", b"", peer=Peer("192.0.2.1", None if plain else START))

    ends: dict[str, float] = {}
    noting = note_certificates(send, ends)
    for url in ("https://idp.example/a", "http://127.0.0.1/b"):
        await noting(ProviderRequest("GET", url, 100))
    assert ends == {"idp.example": START}


async def check_by_the_page(service: Service, world: World, **parameters: str) -> httpx.Response:
    return await world.browser(service).open(f"{BROKER}/setup/check", link=link_for(world), **parameters)


async def test_a_run_of_the_setup_page_counts_and_its_result_can_be_looked_at_again(world: World) -> None:
    world.provider.redirect_uris = [f"{BROKER}/elsewhere"]
    async with world.broker() as service:
        assert (await check_by_the_page(service, world)).status_code == 200
        found = samples(await metrics(service))
        asked = len(world.provider.requests)
        again = await check_by_the_page(service, world, last="1")
        overview = await world.browser(service).open(f"{BROKER}/setup", link=link_for(world))
    assert found["dawn_check_failed", "idp", "redirect_uri"] == 1
    assert found["dawn_check_failed", "idp", "client_authentication"] == 0
    assert found["dawn_check_timestamp_seconds",] == START
    assert len(world.provider.requests) == asked, "nobody was asked again"
    assert "is not registered at the provider" in text_of(again)
    assert "idp: redirect uri" in text_of(overview)


async def test_a_deleted_client_secret_is_found_without_a_person(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("broker.dawn_check.FIRST_SECONDS", 0.01)
    world.provider.client_secret = "the-secret-was-replaced-at-the-provider"
    async with world.broker() as service:
        for _ in range(300):
            if "check failed" in caplog.messages:
                break
            await asyncio.sleep(0.01)
        found = samples(await metrics(service))
    assert found["dawn_check_failed", "idp", "client_authentication"] == 1
    assert "check failed" in caplog.messages


async def test_the_checks_use_the_open_clients_of_the_service(world: World) -> None:
    async with world.broker() as service:
        opened = len(world.opened)
        await check_by_the_page(service, world)
        assert len(world.opened) == opened + 1, "one more, for public_url and Comm100"
        assert all(one.private_networks for one in world.opened[opened:])


async def test_without_dawn_checks_nothing_runs_and_nothing_is_exported(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("broker.dawn_check.FIRST_SECONDS", 0)
    async with world.broker(dawn_check_hours=0) as service:
        await asyncio.sleep(0.05)
        assert (await check_by_the_page(service, world)).status_code == 200
        exported = await metrics(service)
    assert "dawn_check" not in exported
    assert "certificate_expires" not in exported
