"""What Prometheus is told: sign-ins, calls to providers, the age of their documents, secrets' files, the start."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from broker.app import Service
from broker.capacity import Lap, Places
from broker.errors import (
    BrokerError,
    CookieMissing,
    EmailDomainNotAllowed,
    GroupNotAllowed,
    ProviderTimedOut,
    ProviderUnreachable,
    SettingsError,
    every_error,
)
from broker.log import SignInEvent
from broker.metrics import NAMED_BY_ALERTS, Metrics, RefusedPeople, installed_version
from broker.oidc.discovery import LIFETIME_SPREAD
from broker.oidc.messages import ProviderRequest, ProviderResponse
from tests.fakes.clock import START, Clock
from tests.fakes.provider import Person
from tests.fakes.world import SECRET_KEY, World, metrics

pytestmark = pytest.mark.anyio

TOKEN_REQUEST = ProviderRequest("POST", "https://idp.example/token", 1000, kind="token")


async def exported(service: Service) -> dict[tuple[str, ...], float]:
    """Return every sample by its name and the values of its labels, in the order of their names."""
    families = text_string_to_metric_families(await metrics(service))
    samples = [sample for family in families for sample in family.samples]
    return {(one.name, *(one.labels[name] for name in sorted(one.labels))): one.value for one in samples}


def calls(samples: Mapping[tuple[str, ...], float]) -> dict[tuple[str, ...], float]:
    """Return how many calls there were, by what for and how they ended."""
    return {
        (key[1], key[3]): n for key, n in samples.items() if n and key[0] == "comm100_sso_provider_call_seconds_count"
    }


async def test_the_calls_of_a_sign_in_are_measured_by_what_they_are_for(world: World) -> None:
    async with world.broker() as service:
        assert (await world.browser(service).sign_in()).status_code == 200
        assert calls(await exported(service)) == {
            ("metadata", "answered"): 1,
            ("keys", "answered"): 1,
            ("token", "answered"): 1,
            ("userinfo", "answered"): 1,
        }


@pytest.mark.parametrize(
    ("status", "result"),
    [
        pytest.param(200, "answered", id="an answer"),
        pytest.param(400, "answered", id="a refusal is an answer"),
        pytest.param(429, "failed", id="too many requests"),
        pytest.param(503, "failed", id="a server error"),
        pytest.param(None, "failed", id="no answer"),
    ],
)
async def test_a_call_that_brought_nothing_to_judge_counts_as_failed(status: int | None, result: str) -> None:
    async def send(_: ProviderRequest) -> ProviderResponse:
        if status is None:
            raise ProviderUnreachable
        return ProviderResponse(status, "application/json", b"{}")

    metrics = Metrics()
    timed = metrics.timed("idp", send)
    try:
        await timed(TOKEN_REQUEST)
    except ProviderUnreachable:
        assert status is None
    exported = (await metrics.export()).decode()
    counted = {
        one: float(re.findall(rf'call_seconds_count{{call="token",provider="idp",result="{one}"}} (.*)', exported)[0])
        for one in ("answered", "failed")
    }
    assert counted == {"answered": 0, "failed": 0, result: 1}


async def test_what_is_kept_of_a_provider_tells_its_age_and_when_it_gets_old(world: World, clock: Clock) -> None:
    async with world.broker() as service:
        assert (await world.browser(service).sign_in()).status_code == 200
        clock.advance(60)
        samples = await exported(service)
        for document in ("metadata", "keys"):
            assert samples["comm100_sso_provider_fetched_timestamp_seconds", document, "idp"] == START
            fresh_until = samples["comm100_sso_provider_fresh_until_timestamp_seconds", document, "idp"]
            assert START + 3600 * (1 - LIFETIME_SPREAD) <= fresh_until <= START + 3600
        assert samples[("process_start_time_seconds",)] > 0
        assert not [key for key in samples if key[0].endswith("_created")]


async def test_sign_ins_that_hold_a_place_and_that_wait_are_counted_at_the_moment_of_the_scrape() -> None:
    async def samples() -> list[float]:
        exported = text_string_to_metric_families((await own.export()).decode())
        values = {family.name: family.samples[0].value for family in exported if family.samples}
        return [values["comm100_sso_signins_at_work"], values["comm100_sso_signins_waiting"]]

    own, places, now = Metrics(), Places(limit=1), Lap(0.0, 0.0)
    own.watch_places("idp", places)
    assert await samples() == [0, 0]
    await places.take("callback", now)
    waits = asyncio.create_task(places.take("login", now))
    await asyncio.sleep(0)
    assert await samples() == [1, 1]
    for _ in range(2):
        places.give_back()
    await waits
    assert await samples() == [0, 0]


async def test_a_provider_that_never_answered_shows_as_zero(world: World) -> None:
    world.settings["identity_providers"]["idp"]["issuer"] = "https://nowhere.example"
    async with world.broker() as service:
        await asyncio.sleep(0)
        samples = await exported(service)
        for document in ("metadata", "keys"):
            assert samples["comm100_sso_provider_fetched_timestamp_seconds", document, "idp"] == 0
            assert samples["comm100_sso_provider_fresh_until_timestamp_seconds", document, "idp"] == 0


async def test_a_secret_in_a_file_is_watched_and_one_given_as_text_is_not(world: World) -> None:
    (world.folder / "keys").write_text(SECRET_KEY)
    del world.settings["secret_keys"]
    async with world.broker(secret_keys_file="keys") as service:
        samples = await exported(service)
        told = {key: value for key, value in samples.items() if key[0] == "comm100_sso_secret_file_rejected"}
        assert told == {("comm100_sso_secret_file_rejected", "secret_keys"): 0}


def test_the_reasons_that_alerts_name_are_exported_before_they_happen_and_no_others() -> None:
    metrics = Metrics()
    metrics.expect_sign_ins("main", "idp")
    reasons = {reason: value for (_, _, _, reason), value in counted(metrics, "comm100_sso_signins_total").items()}
    assert reasons == {"none": 0, **{one.code: 0 for one in NAMED_BY_ALERTS}}
    alerts = (Path(__file__).parents[1] / "helm/monitoring/alerts.yaml").read_text(encoding="utf-8")
    named = {code for codes in re.findall(r'reason!?=~?"([^"]*)"', alerts) for code in codes.split("|")}
    assert named == {one.code for one in NAMED_BY_ALERTS}


def test_a_checkout_that_is_not_installed_has_an_unknown_version() -> None:
    """`python -m broker serve` needs no package's version."""
    assert installed_version("a distribution that nobody installed") == "unknown"
    assert counted(Metrics(), "comm100_sso_build_info") == {(installed_version(),): 1}


SIGNED_IN = SignInEvent("0123456789abcdef", "192.0.2.7", "main", "idp", None, None, 0.1234)
REFUSED = replace(SIGNED_IN, error=CookieMissing())
FAILED = replace(SIGNED_IN, site="", error=ProviderTimedOut())
MAX_SERIES = 100  # of a provider
LABELS = ("site", "provider", "result", "reason", "option", "version")


def counted(metrics: Metrics, name: str) -> dict[tuple[str, ...], float]:
    """Return a metric's values by its labels, in the order above."""
    return {
        tuple(sample.labels[label] for label in LABELS if label in sample.labels): sample.value
        for family in text_string_to_metric_families(asyncio.run(metrics.export()).decode())
        for sample in family.samples
        if sample.name == name
    }


def test_outcomes_add_up() -> None:
    one, other = Metrics(), Metrics()
    for event in (SIGNED_IN, SIGNED_IN, REFUSED, FAILED):
        one.count(event)
    assert counted(one, "comm100_sso_signins_total") == {
        ("main", "idp", "signed_in", "none"): 2,
        ("main", "idp", "refused", "cookie_missing"): 1,
        ("", "idp", "failed", "provider_timed_out"): 1,
    }
    assert counted(other, "comm100_sso_signins_total") == {}, "two services in one process count for themselves"


def refused(subject: str, error: EmailDomainNotAllowed | GroupNotAllowed, site: str = "main") -> SignInEvent:
    """Return the refusal of a verified person."""
    error.subject = subject
    return replace(SIGNED_IN, site=site, error=error)


def test_a_refused_person_counts_once_in_twenty_minutes_however_often_they_try() -> None:
    clock = Clock()
    metrics = Metrics(clock=clock)
    metrics.expect_sign_ins("main", "idp")
    assert counted(metrics, "comm100_sso_people_refused_total") == {("main", "idp"): 0}
    for _ in range(50):
        metrics.count(refused("ada", EmailDomainNotAllowed()))
        metrics.count(refused("ada", GroupNotAllowed()))
    assert counted(metrics, "comm100_sso_people_refused_total") == {("main", "idp"): 1}
    metrics.count(refused("bob", EmailDomainNotAllowed()))
    metrics.count(refused("ada", EmailDomainNotAllowed(), site="trial"))
    clock.advance(1199)
    metrics.count(refused("ada", EmailDomainNotAllowed()))
    assert counted(metrics, "comm100_sso_people_refused_total") == {("main", "idp"): 2, ("trial", "idp"): 1}
    clock.advance(1)
    metrics.count(refused("ada", EmailDomainNotAllowed()))
    assert counted(metrics, "comm100_sso_people_refused_total") == {("main", "idp"): 3, ("trial", "idp"): 1}


def test_a_refusal_without_a_verified_person_counts_nobody() -> None:
    metrics = Metrics()
    for event in (SIGNED_IN, REFUSED, FAILED, replace(SIGNED_IN, error=EmailDomainNotAllowed())):
        metrics.count(event)
    metrics.count(replace(refused("ada", EmailDomainNotAllowed()), is_dry_run=True))
    assert counted(metrics, "comm100_sso_people_refused_total") == {}


def test_the_memory_of_refused_people_is_bounded() -> None:
    clock = Clock()
    people = RefusedPeople(clock)
    assert sum(people.is_new("main", "idp", str(number)) for number in range(10_050)) == 10_000
    clock.advance(1200)
    assert people.is_new("main", "idp", "10049")


async def test_everybody_whom_a_wrong_domain_refuses_is_counted_after_the_provider_authenticated_them(
    world: World,
) -> None:
    world.settings["identity_providers"]["idp"]["email_domains"] = ["acme.exmaple"]
    async with world.broker() as service:
        for number in (1, 2, 3):
            claims = {"email": f"agent{number}@acme.example", "email_verified": True, "name": "A"}
            world.provider.person = Person(f"00u-{number}", claims)
            for _ in range(2):
                assert (await world.browser(service).sign_in()).status_code == 403
        samples = await exported(service)
    assert samples["comm100_sso_people_refused_total", "idp", "main"] == 3
    assert samples["comm100_sso_signins_total", "idp", "email_domain_not_allowed", "refused", "main"] == 6


# A settings error ends the service before there is a counter.
@pytest.mark.parametrize("error", [one for one in every_error() if one is not SettingsError], ids=lambda one: one.code)
def test_every_refusal_is_counted_under_its_code(error: type[BrokerError]) -> None:
    metrics = Metrics()
    metrics.count(replace(SIGNED_IN, error=error()))
    result = "failed" if error.status >= 500 else "refused"
    assert counted(metrics, "comm100_sso_signins_total") == {("main", "idp", result, error.code): 1}


@pytest.mark.parametrize(
    ("event", "labels"),
    [
        pytest.param(SIGNED_IN, ("idp", "admitted", "none"), id="admitted"),
        pytest.param(REFUSED, ("idp", "refused", "cookie_missing"), id="refused"),
        pytest.param(FAILED, ("idp", "failed", "provider_timed_out"), id="failed"),
    ],
)
def test_a_test_sign_in_counts_as_no_sign_in(event: SignInEvent, labels: tuple[str, ...]) -> None:
    metrics = Metrics()
    metrics.count(replace(event, is_dry_run=True))
    assert counted(metrics, "comm100_sso_test_signins_total") == {labels: 1}
    assert counted(metrics, "comm100_sso_signins_total") == {}


@pytest.mark.requirement("S-58")
def test_every_insecure_option_is_exported() -> None:
    options = ("log_email_plain", "trust_unverified_email:identity_providers.okta")
    metrics = Metrics()
    assert counted(metrics, "comm100_sso_insecure_option_enabled") == {}
    metrics.set_insecure_options(options)
    assert counted(metrics, "comm100_sso_insecure_option_enabled") == {(one,): 1 for one in options}


def test_the_day_a_client_secret_expires_is_exported() -> None:
    metrics = Metrics()
    metrics.set_secret_expiry("idp", date(2027, 1, 15))
    midnight = datetime(2027, 1, 15, tzinfo=UTC).timestamp()
    assert counted(metrics, "comm100_sso_client_secret_expires_timestamp_seconds") == {("idp",): midnight}


async def test_a_scrape_lets_sign_ins_run_between_the_parts_of_the_metrics() -> None:
    metrics, turns = Metrics(), 0

    async def send(_: ProviderRequest) -> ProviderResponse:
        raise ProviderUnreachable

    async def sign_in() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    for number in range(100):
        metrics.timed(f"idp{number}", send)
        metrics.expect_sign_ins("main", f"idp{number}")
    meanwhile = asyncio.create_task(sign_in())
    exported = (await metrics.export()).decode()
    meanwhile.cancel()
    assert turns >= 200
    lines = exported.splitlines()
    assert len([line for line in lines if not line.startswith("#")]) < 100 * MAX_SERIES
    heads = [line for line in lines if line.startswith("# TYPE ")]
    assert len(heads) == len(set(heads)), "Prometheus reads each metric once"
    assert list(text_string_to_metric_families(exported))
