"""What Prometheus is told between sign-ins: calls to providers, what is kept of them, secrets' files, the start."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from broker.app import Service
from broker.errors import BrokerError, ProviderUnreachable, SettingsError, every_error
from broker.metrics import Metrics
from broker.oidc.messages import ProviderRequest, ProviderResponse
from broker.telemetry import UNPROVEN, Telemetry
from tests.fakes.clock import START, Clock
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

    registry = CollectorRegistry()
    timed = Metrics(registry).timed("idp", send)
    try:
        await timed(TOKEN_REQUEST)
    except ProviderUnreachable:
        assert status is None
    counted = {
        one: registry.get_sample_value(
            "comm100_sso_provider_call_seconds_count", {"provider": "idp", "call": "token", "result": one}
        )
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
            assert samples["comm100_sso_provider_fresh_until_timestamp_seconds", document, "idp"] == START + 3600
        assert samples[("process_start_time_seconds",)] > 0
        assert not [key for key in samples if key[0].endswith("_created")]


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


def test_a_failure_is_exported_before_it_happens_and_a_persons_refusal_is_not() -> None:
    telemetry = Telemetry(log_email="hashed", secret_keys=lambda: [SECRET_KEY], insecure_options=())
    telemetry.expect("main", "idp")
    families = text_string_to_metric_families(telemetry.metrics().decode())
    samples = [one for family in families for one in family.samples if one.name == "comm100_sso_signins_total"]
    reasons = {one.labels["reason"]: one.value for one in samples}
    failures: list[type[BrokerError]] = [
        one
        for one in every_error()
        if (one.status >= 500 or issubclass(one, UNPROVEN)) and one is not SettingsError  # which ends a start
    ]
    assert reasons == {"none": 0, **{one.code: 0 for one in failures}}
    assert "access_denied" not in reasons


def test_a_checkout_that_is_not_installed_runs_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """`python -m broker serve` needs no package's version."""

    def none_installed(name: str) -> str:
        raise PackageNotFoundError(name)

    monkeypatch.setattr("broker.metrics.version", none_installed)
    registry = CollectorRegistry()
    Metrics(registry)
    assert registry.get_sample_value("comm100_sso_build_info", {"version": "unknown"}) == 1
