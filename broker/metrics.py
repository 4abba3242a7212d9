"""Counts and measures the service for Prometheus: sign-ins, calls to providers, cached documents, secret files."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, date, datetime
from functools import cache, partial
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
    AnswerTooLarge,
    AnswerUnexpected,
    AnswerUnreadable,
    CallbackIssuer,
    ClientRejected,
    CodeMissing,
    CodeRejected,
    Overloaded,
    OverloadedByProvider,
    ProviderError,
    ProviderReportedFailure,
    TokenRequestRefused,
    TokenResponseInvalid,
    TooManyRejectedCodes,
)
from broker.log import SignInEvent, outcome_of
from broker.oidc.discovery import Cached, Discovery, Send
from broker.oidc.messages import ProviderRequest, ProviderResponse, RequestKind, is_failing

# Alerts compare these few with each other or with the sign-ins that succeeded, so no increase may be lost.
NAMED_BY_ALERTS = (
    AnswerTooLarge,
    AnswerUnexpected,
    AnswerUnreadable,
    CallbackIssuer,
    ClientRejected,
    CodeMissing,
    CodeRejected,
    Overloaded,
    OverloadedByProvider,
    ProviderError,
    ProviderReportedFailure,
    TokenRequestRefused,
    TokenResponseInvalid,
    TooManyRejectedCodes,
)
_FAMILY = re.compile(r"^(?=# HELP )", re.MULTILINE)  # values of labels have their line breaks escaped
_CALLS: tuple[RequestKind, ...] = ("metadata", "keys", "token", "userinfo")
_BUCKETS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)  # seconds; after the last the client stops waiting


class _Part:
    """The metrics of one provider, or of one site with one provider, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.signins = Counter(
            "comm100_sso_signins",
            "Sign-ins by how they ended; reason is an error code of docs/admin/errors.md, or none.",
            ["site", "provider", "result", "reason"],
            registry=self.registry,
        )
        self.dry_runs = Counter(
            "comm100_sso_test_signins",
            "Test sign-ins of the setup page by how they ended; none of them is a sign-in.",
            ["provider", "result", "reason"],
            registry=self.registry,
        )
        self.secret_expiry = Gauge(
            "comm100_sso_client_secret_expires_timestamp_seconds",
            "When a client secret expires, by client_secret_expires.",
            ["provider"],
            registry=self.registry,
        )
        self.call_seconds = Histogram(
            "comm100_sso_provider_call_seconds",
            "How long calls to a provider took; failed: no answer came, or one that says to try later.",
            ["provider", "call", "result"],
            buckets=_BUCKETS,
            registry=self.registry,
        )
        self.fetched = Gauge(
            "comm100_sso_provider_fetched_timestamp_seconds",
            "When the provider's metadata or keys were fetched last; 0 while there are none.",
            ["provider", "document"],
            registry=self.registry,
        )
        self.fresh_until = Gauge(
            "comm100_sso_provider_fresh_until_timestamp_seconds",
            "When the provider's metadata or keys will be fetched again, 0 while there are none; old ones stay in use.",
            ["provider", "document"],
            registry=self.registry,
        )
        self.at_work = Gauge(
            "comm100_sso_signins_at_work",
            "Sign-ins that hold a place with the provider.",
            ["provider"],
            registry=self.registry,
        )
        self.waiting = Gauge(
            "comm100_sso_signins_waiting",
            "Sign-ins that wait for a place with the provider.",
            ["provider"],
            registry=self.registry,
        )

    def gauges(self) -> list[Gauge]:
        """Return the gauges, which all tell of the settings in use."""
        return [metric for metric in vars(self).values() if isinstance(metric, Gauge)]


class Metrics:
    """The metrics of one service; `insecure_options` are those that are on."""

    def __init__(self, insecure_options: Sequence[str] = ()) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call] # they double the series, and no alert uses them
        self._parts: dict[tuple[str, str], _Part] = {}
        self._process = CollectorRegistry()
        self._rejected = self._gauge(
            "comm100_sso_secret_file_rejected",
            "1 while a secret's file holds what cannot be used, so that the previous secret stays in use.",
            ["setting"],
        )
        self._options = self._gauge(
            "comm100_sso_insecure_option_enabled", "1 for each insecure option that is on.", ["option"]
        )
        self._settings_rejected = Gauge(
            "comm100_sso_settings_file_rejected",
            "1 while the settings file holds what cannot be used, so that the previous settings stay in use.",
            registry=self._process,
        )
        self._settings_reloaded = Gauge(
            "comm100_sso_settings_reloaded_timestamp_seconds",
            "When the settings in use were read, at the start or by a reload.",
            registry=self._process,
        )
        self.set_insecure_options(insecure_options)
        self._export_process()

    def _export_process(self) -> None:
        """Export the version and the figures of the process."""
        build = self._gauge("comm100_sso_build_info", "1, with the version that runs.", ["version"])
        build.labels(installed_version()).set(1)
        for collector in (ProcessCollector, PlatformCollector, GCCollector):
            collector(registry=self._process)

    def _gauge(self, name: str, description: str, labels: Sequence[str]) -> Gauge:
        return Gauge(name, description, labels, registry=self._process)

    def _part(self, provider: str, site: str = "") -> _Part:
        part = self._parts.get((site, provider))
        if part is None:
            part = self._parts[site, provider] = _Part()
        return part

    async def export(self) -> bytes:
        """Return all metrics in Prometheus' text format.

        The event loop gets a turn after each part: with a hundred providers the whole takes too long for a sign-in that
        waits.
        """
        families: dict[str, list[str]] = {}
        for registry in (self._process, *(part.registry for part in self._parts.values())):
            for head, samples in _families(generate_latest(registry).decode()):
                families.setdefault(head, []).append(samples)
            await asyncio.sleep(0)
        return "".join(head + "".join(samples) for head, samples in families.items()).encode()

    # -------------------------------------------------------------------------------------------------------- settings

    def forget_settings(self) -> None:
        """Drop every gauge that tells of the settings in use; counters and histograms keep their values."""
        for part in self._parts.values():
            for gauge in part.gauges():
                gauge.clear()
        self._rejected.clear()
        self._options.clear()

    def set_insecure_options(self, options: Sequence[str]) -> None:
        """Export the insecure options that are on."""
        for option in options:
            self._options.labels(option).set(1)

    def set_settings_read(self, at: float) -> None:
        """Export when the settings in use were read, in seconds since the epoch."""
        self._settings_reloaded.set(at)

    def set_settings_rejected(self, *, is_rejected: bool) -> None:
        """Export whether the settings file holds what cannot be used."""
        self._settings_rejected.set(is_rejected)

    # -------------------------------------------------------------------------------------------------------- sign-ins

    def count(self, event: SignInEvent) -> None:
        """Count how a request ended."""
        if event.is_dry_run:
            self._part(event.provider).dry_runs.labels(event.provider, *event.outcome).inc()
        else:
            self._part(event.provider, event.site).signins.labels(event.site, event.provider, *event.outcome).inc()

    def expect_sign_ins(self, site: str, provider: str) -> None:
        """Export at 0 the results that alerts name.

        Prometheus sees an increase only from the second value of a series; the first failure would be lost.
        """
        signins = self._part(provider, site).signins
        signins.labels(site, provider, *outcome_of(None))
        for error in NAMED_BY_ALERTS:
            signins.labels(site, provider, *outcome_of(error()))

    # ------------------------------------------------------------------------------------------- providers and secrets

    def timed(self, provider: str, send: Send) -> Send:
        """Return a `send` that measures each call to a provider."""
        seconds = cache(partial(self._part(provider).call_seconds.labels, provider))
        for call, result in product(_CALLS, ("answered", "failed")):
            seconds(call, result)  # at 0 from the start, as in expect_sign_ins

        async def send_timed(request: ProviderRequest) -> ProviderResponse:
            began, result = time.perf_counter(), "failed"
            try:
                answer = await send(request)
                result = "failed" if is_failing(answer) else "answered"
                return answer
            finally:
                seconds(request.kind, result).observe(time.perf_counter() - began)

        return send_timed

    def watch_provider(self, provider: str, discovery: Discovery) -> None:
        """Export the age of a provider's metadata and keys, read at each scrape."""
        documents: dict[str, Cached[Any]] = {"metadata": discovery.metadata, "keys": discovery.keys}
        for name, document in documents.items():
            self._part(provider).fetched.labels(provider, name).set_function(partial(getattr, document, "fetched"))
            self._part(provider).fresh_until.labels(provider, name).set_function(
                partial(getattr, document, "fresh_until")
            )

    def watch_places(self, provider: str, places: Places) -> None:
        """Export how many sign-ins are at work and waiting, read at each scrape."""
        self._part(provider).at_work.labels(provider).set_function(partial(getattr, places, "at_work"))
        self._part(provider).waiting.labels(provider).set_function(partial(getattr, places, "waiting"))

    def watch_secret(self, setting: str, is_rejected: Callable[[], bool]) -> None:
        """Export whether a secret's file is rejected, read at each scrape."""
        self._rejected.labels(setting).set_function(lambda: float(is_rejected()))

    def set_secret_expiry(self, provider: str, expires: date) -> None:
        """Export the day on which a client secret expires."""
        moment = datetime(expires.year, expires.month, expires.day, tzinfo=UTC)
        self._part(provider).secret_expiry.labels(provider).set(moment.timestamp())


def _families(text: str) -> Iterator[tuple[str, str]]:
    """Yield the lines HELP and TYPE of each metric, and the lines of its samples."""
    for family in _FAMILY.split(text):
        end_of_type = family.find("\n", family.find("\n") + 1) + 1
        if end_of_type:
            yield family[:end_of_type], family[end_of_type:]


def installed_version(distribution: str = "comm100-sso-broker") -> str:
    """Return the version of the installed package, or "unknown" in a checkout that is not installed."""
    try:
        return version(distribution)
    except PackageNotFoundError:
        return "unknown"
