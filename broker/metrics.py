"""Counts and measures the service for Prometheus: sign-ins, calls to providers, cached documents, secret files."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from itertools import product
from typing import Any

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)

from broker.capacity import Places
from broker.errors import (
    CallbackIssuer,
    CodeMissing,
    CodeRejected,
    ProviderError,
    ProviderReportedFailure,
    SettingsError,
    TooManyRejectedCodes,
    every_error,
)
from broker.log import SignInEvent, outcome_of
from broker.oidc.discovery import Cached, Discovery, Send
from broker.oidc.messages import ProviderRequest, ProviderResponse, RequestKind, is_failing

# Refusals that a wrong registration causes in every sign-in. A stranger can cause them, too.
UNPROVEN = (ProviderError, ProviderReportedFailure, CodeRejected, CodeMissing, CallbackIssuer, TooManyRejectedCodes)

_CALLS: tuple[RequestKind, ...] = ("metadata", "keys", "token", "userinfo")
_BUCKETS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)  # seconds; after the last the client stops waiting


class Metrics:
    """The metrics of one service; `insecure_options` are those that are on."""

    def __init__(self, insecure_options: Sequence[str] = ()) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call] # they double the series, and no alert uses them
        self.registry = CollectorRegistry()
        self._signins = self._counter(
            "comm100_sso_signins",
            "Sign-ins by how they ended; reason is an error code of docs/admin/errors.md, or none.",
            ["site", "provider", "result", "reason"],
        )
        self._dry_runs = self._counter(
            "comm100_sso_test_signins",
            "Test sign-ins of the setup page by how they ended; none of them is a sign-in.",
            ["provider", "result", "reason"],
        )
        self._secret_expiry = self._gauge(
            "comm100_sso_client_secret_expires_timestamp_seconds",
            "When a client secret expires, by client_secret_expires.",
            ["provider"],
        )
        self._call_seconds = Histogram(
            "comm100_sso_provider_call_seconds",
            "How long calls to a provider took; failed: no answer came, or one that says to try later.",
            ["provider", "call", "result"],
            buckets=_BUCKETS,
            registry=self.registry,
        )
        self._at_work = self._gauge(
            "comm100_sso_signins_at_work", "Sign-ins that hold a place with the provider.", ["provider"]
        )
        self._waiting = self._gauge(
            "comm100_sso_signins_waiting", "Sign-ins that wait for a place with the provider.", ["provider"]
        )
        self._fetched = self._gauge(
            "comm100_sso_provider_fetched_timestamp_seconds",
            "When the provider's metadata or keys were fetched last; 0 while there are none.",
            ["provider", "document"],
        )
        self._fresh_until = self._gauge(
            "comm100_sso_provider_fresh_until_timestamp_seconds",
            "When the provider's metadata or keys will be fetched again, 0 while there are none; old ones stay in use.",
            ["provider", "document"],
        )
        self._rejected = self._gauge(
            "comm100_sso_secret_file_rejected",
            "1 while a secret's file holds what cannot be used, so that the previous secret stays in use.",
            ["setting"],
        )
        self._export_process(insecure_options)

    def _export_process(self, insecure_options: Sequence[str]) -> None:
        """Export version and insecure options, and the figures of the process."""
        build = self._gauge("comm100_sso_build_info", "1, with the version that runs.", ["version"])
        build.labels(installed_version()).set(1)
        options = self._gauge(
            "comm100_sso_insecure_option_enabled", "1 for each insecure option that is on.", ["option"]
        )
        for option in insecure_options:
            options.labels(option).set(1)
        for collector in (ProcessCollector, PlatformCollector, GCCollector):
            collector(registry=self.registry)

    def _counter(self, name: str, description: str, labels: Sequence[str]) -> Counter:
        return Counter(name, description, labels, registry=self.registry)

    def _gauge(self, name: str, description: str, labels: Sequence[str]) -> Gauge:
        return Gauge(name, description, labels, registry=self.registry)

    def export(self) -> bytes:
        """Return all metrics in Prometheus' text format."""
        return generate_latest(self.registry)

    # -------------------------------------------------------------------------------------------------------- sign-ins

    def count(self, event: SignInEvent) -> None:
        """Count how a request ended."""
        if event.is_dry_run:
            self._dry_runs.labels(event.provider, *event.outcome).inc()
        else:
            self._signins.labels(event.site, event.provider, *event.outcome).inc()

    def expect_sign_ins(self, site: str, provider: str) -> None:
        """Export at 0 the results that alerts watch: successes, and failures that the person does not cause.

        Prometheus sees an increase only from the second value of a series; the first failure would be lost.
        """
        self._signins.labels(site, provider, *outcome_of(None))
        for error in every_error():
            # SettingsError ends a start, not a sign-in.
            if (error.status >= 500 or issubclass(error, UNPROVEN)) and error is not SettingsError:
                self._signins.labels(site, provider, *outcome_of(error()))

    # ------------------------------------------------------------------------------------------- providers and secrets

    def timed(self, provider: str, send: Send) -> Send:
        """Return a `send` that measures each call to a provider."""
        seconds = self._call_seconds
        for call, result in product(_CALLS, ("answered", "failed")):
            seconds.labels(provider, call, result)  # at 0 from the start, as in expect_sign_ins

        async def send_timed(request: ProviderRequest) -> ProviderResponse:
            began, result = time.perf_counter(), "failed"
            try:
                answer = await send(request)
                result = "failed" if is_failing(answer) else "answered"
                return answer
            finally:
                seconds.labels(provider, request.kind, result).observe(time.perf_counter() - began)

        return send_timed

    def watch_provider(self, provider: str, discovery: Discovery) -> None:
        """Export the age of a provider's metadata and keys, read at each scrape."""
        documents: dict[str, Cached[Any]] = {"metadata": discovery.metadata, "keys": discovery.keys}
        for name, document in documents.items():
            self._fetched.labels(provider, name).set_function(partial(getattr, document, "fetched"))
            self._fresh_until.labels(provider, name).set_function(partial(getattr, document, "fresh_until"))

    def watch_places(self, provider: str, places: Places) -> None:
        """Export how many sign-ins are at work and waiting, read at each scrape."""
        self._at_work.labels(provider).set_function(partial(getattr, places, "at_work"))
        self._waiting.labels(provider).set_function(partial(getattr, places, "waiting"))

    def watch_secret(self, setting: str, is_rejected: Callable[[], bool]) -> None:
        """Export whether a secret's file is rejected, read at each scrape."""
        self._rejected.labels(setting).set_function(lambda: float(is_rejected()))

    def set_secret_expiry(self, provider: str, expires: date) -> None:
        """Export the day on which a client secret expires."""
        moment = datetime(expires.year, expires.month, expires.day, tzinfo=UTC)
        self._secret_expiry.labels(provider).set(moment.timestamp())


def installed_version(distribution: str = "comm100-sso-broker") -> str:
    """Return the version of the installed package, or "unknown" in a checkout that is not installed."""
    try:
        return version(distribution)
    except PackageNotFoundError:
        return "unknown"
