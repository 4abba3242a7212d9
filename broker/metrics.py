"""Counts and measures the service for Prometheus: sign-ins, calls to providers, cached documents, secret files."""

from __future__ import annotations

import asyncio
import math
import re
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, date, datetime
from functools import cache, partial
from importlib.metadata import PackageNotFoundError, version
from itertools import product
from typing import TYPE_CHECKING, Any

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
from prometheus_client.core import CounterMetricFamily
from prometheus_client.registry import Collector

from broker.capacity import Places
from broker.errors import (
    AnswerTooLarge,
    AnswerUnexpected,
    AnswerUnreadable,
    CallbackIssuer,
    ClientRejected,
    CodeMissing,
    CodeRejected,
    NotAdmitted,
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
from broker.snapshot import Snapshot

if TYPE_CHECKING:
    from broker.checks import Finding

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
_COUNTED_SECONDS = 1200  # for which a refused person does not count again; longer than the window of the alert
_MAX_COUNTED = 10_000  # refused people remembered
_BUCKETS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)  # seconds; after the last the client stops waiting


class _SignInMetrics:
    """The sign-ins at one site with one provider, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.signins = Counter(
            "comm100_sso_signins",
            "Sign-ins by how they ended; reason is an error code of docs/admin/errors.md, or none.",
            ["site", "provider", "result", "reason"],
            registry=self.registry,
        )
        self.people_refused = Counter(
            "comm100_sso_people_refused",
            "People whom the provider authenticated and the broker refused; each counts once in 20 minutes.",
            ["site", "provider"],
            registry=self.registry,
        )


class _ProviderMetrics:
    """The metrics of one provider, in a registry of their own.

    Attributes:
        gauges: they all tell of the settings in use.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.gauges: list[Gauge] = []
        self.dry_runs = Counter(
            "comm100_sso_test_signins",
            "Test sign-ins of the setup page by how they ended; none of them is a sign-in.",
            ["provider", "result", "reason"],
            registry=self.registry,
        )
        self.call_seconds = Histogram(
            "comm100_sso_provider_call_seconds",
            "How long calls to a provider took; failed: no answer came, or one that says to try later.",
            ["provider", "call", "result"],
            buckets=_BUCKETS,
            registry=self.registry,
        )
        self.secret_expiry = self._gauge(
            "comm100_sso_client_secret_expires_timestamp_seconds",
            "When a client secret expires, by client_secret_expires.",
        )
        self.fetched = self._gauge(
            "comm100_sso_provider_fetched_timestamp_seconds",
            "When the provider's metadata or keys were fetched last; 0 while there are none.",
            "document",
        )
        self.fresh_until = self._gauge(
            "comm100_sso_provider_fresh_until_timestamp_seconds",
            "When the provider's metadata or keys will be fetched again, 0 while there are none; old ones stay in use.",
            "document",
        )
        self.snapshot_in_use = self._gauge(
            "comm100_sso_provider_snapshot_in_use",
            "1 while metadata or keys come from the snapshot file, because the provider has not answered yet.",
        )
        self.down = self._gauge(
            "comm100_sso_provider_down",
            "1 while sign-ins with the provider fail, because its calls fail or its documents are missing.",
        )
        self.clock_ahead = self._gauge(
            "comm100_sso_clock_ahead_seconds",
            "This machine's clock minus the provider's, by the Date of its last answers; 0 before the first.",
        )
        self.at_work = self._gauge("comm100_sso_signins_at_work", "Sign-ins that hold a place with the provider.")
        self.waiting = self._gauge("comm100_sso_signins_waiting", "Sign-ins that wait for a place with the provider.")

    def _gauge(self, name: str, description: str, *labels: str) -> Gauge:
        gauge = Gauge(name, description, ["provider", *labels], registry=self.registry)
        self.gauges.append(gauge)
        return gauge


class _CheckMetrics:
    """The results of the last complete run of the checks."""

    def __init__(self, registry: CollectorRegistry) -> None:
        labels = ["subject", "check"]
        self._failed = Gauge(
            "comm100_sso_dawn_check_failed", "1 if the check failed in the last run.", labels, registry=registry
        )
        self._warned = Gauge(
            "comm100_sso_dawn_check_warned", "1 if the check warned in the last run.", labels, registry=registry
        )
        self._certificate_expires = Gauge(
            "comm100_sso_certificate_expires_timestamp_seconds",
            "When the first certificate of a provider, a site or public_url (settings) expires, by the last run.",
            ["subject"],
            registry=registry,
        )
        self.ended = Gauge(
            "comm100_sso_dawn_check_timestamp_seconds",
            "When the last complete run of the checks ended; the start of the process before.",
            registry=registry,
        )

    def export(self, findings: Sequence[Finding], ended: float) -> None:
        """Export the findings of a run, which ended at `ended`, in seconds since the epoch."""
        for gauge, status in ((self._failed, "failed"), (self._warned, "warning")):
            gauge.clear()
            for finding in findings:
                sample = gauge.labels(finding.subject, finding.check)
                if finding.status == status:
                    sample.set(1)
        ends: dict[str, float] = {}
        for finding in findings:
            if finding.certificate_expires is not None:
                ends[finding.subject] = min(finding.certificate_expires, ends.get(finding.subject, math.inf))
        for subject, end in ends.items():
            self._certificate_expires.labels(subject).set(end)
        self.ended.set(ended)


class _LostLogLines(Collector):
    """Counts the log lines that were lost; the log counts them itself, partly in a thread."""

    def __init__(self, lost: Callable[[], int]) -> None:
        self._lost = lost

    def collect(self) -> Iterator[CounterMetricFamily]:
        """Return the metric with its value of this moment."""
        name = "comm100_sso_log_lines_dropped"
        yield CounterMetricFamily(
            name, "Log lines that nobody read in time, or that could not be written.", self._lost()
        )


class RefusedPeople:
    """Remembers the people who were refused lately, so that one insistent person cannot raise an alert.

    Args:
        clock: seconds of any clock that does not go back.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._counted: OrderedDict[int, float] = OrderedDict()

    def is_new(self, site: str, provider: str, subject: str) -> bool:
        """Tell whether a person was not refused within `_COUNTED_SECONDS`, and remember the person by a hash."""
        now = self._clock()
        while self._counted and next(iter(self._counted.values())) <= now - _COUNTED_SECONDS:
            self._counted.popitem(last=False)
        person = hash((site, provider, subject))
        if person in self._counted or len(self._counted) >= _MAX_COUNTED:
            return False
        self._counted[person] = now
        return True


class Metrics:
    """The metrics of one service.

    Args:
        lost_log_lines: returns how many lines the log lost since the start.
        clock: for the people who were refused; seconds of any clock that does not go back.
    """

    def __init__(
        self,
        *,
        lost_log_lines: Callable[[], int] = lambda: 0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call] # they double the series, and no alert uses them
        self._process = CollectorRegistry()
        self._gauges: dict[str, Gauge] = {}
        self._providers: dict[str, _ProviderMetrics] = {}
        self._sign_ins: dict[tuple[str, str], _SignInMetrics] = {}
        self._checks: _CheckMetrics | None = None
        self._refused_people = RefusedPeople(clock)
        self._process.register(_LostLogLines(lost_log_lines))
        self._rejected = self._gauge(
            "comm100_sso_secret_file_rejected",
            "1 while a secret's file holds what cannot be used, so that the previous secret stays in use.",
            ["setting"],
        )
        self._options = self._gauge(
            "comm100_sso_insecure_option_enabled", "1 for each insecure option that is on.", ["option"]
        )
        self._settings_rejected = self._gauge(
            "comm100_sso_settings_file_rejected",
            "1 while the settings file holds what cannot be used, so that the previous settings stay in use.",
        )
        self._settings_reloaded = self._gauge(
            "comm100_sso_settings_reloaded_timestamp_seconds",
            "When the settings in use were read, at the start or by a reload.",
        )
        self._emergency_links = Counter(
            "comm100_sso_emergency_links",
            "Addresses that broker emergency-link issued and could report.",
            ["site"],
            registry=self._process,
        )
        self._export_process()

    def _export_process(self) -> None:
        """Export the version and the figures of the process."""
        build = self._gauge("comm100_sso_build_info", "1, with the version that runs.", ["version"])
        build.labels(installed_version()).set(1)
        for collector in (ProcessCollector, PlatformCollector, GCCollector):
            collector(registry=self._process)

    def _gauge(self, name: str, description: str, labels: Sequence[str] = ()) -> Gauge:
        """Return the gauge of a name; a reload asks for some again."""
        if name not in self._gauges:
            self._gauges[name] = Gauge(name, description, labels, registry=self._process)
        return self._gauges[name]

    def _provider(self, provider: str) -> _ProviderMetrics:
        if provider not in self._providers:
            self._providers[provider] = _ProviderMetrics()
        return self._providers[provider]

    def _sign_ins_at(self, site: str, provider: str) -> _SignInMetrics:
        if (site, provider) not in self._sign_ins:
            self._sign_ins[site, provider] = _SignInMetrics()
        return self._sign_ins[site, provider]

    async def export(self) -> bytes:
        """Return all metrics in Prometheus' text format.

        The event loop gets a turn after each part: with a hundred providers the whole takes too long for a sign-in that
        waits.
        """
        families: dict[str, list[str]] = {}
        providers = [part.registry for part in self._providers.values()]
        sign_ins = [part.registry for part in self._sign_ins.values()]
        for registry in (self._process, *providers, *sign_ins):
            for head, samples in _families(generate_latest(registry).decode()):
                families.setdefault(head, []).append(samples)
            await asyncio.sleep(0)
        return "".join(head + "".join(samples) for head, samples in families.items()).encode()

    # -------------------------------------------------------------------------------------------------------- settings

    def forget_settings(self) -> None:
        """Drop every gauge that tells of the settings in use; counters and histograms keep their values."""
        for provider in self._providers.values():
            for gauge in provider.gauges:
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
            self._provider(event.provider).dry_runs.labels(event.provider, *event.outcome).inc()
            return
        sign_ins = self._sign_ins_at(event.site, event.provider)
        sign_ins.signins.labels(event.site, event.provider, *event.outcome).inc()
        subject = event.error.subject if isinstance(event.error, NotAdmitted) else ""
        if subject and self._refused_people.is_new(event.site, event.provider, subject):
            sign_ins.people_refused.labels(event.site, event.provider).inc()

    def expect_sign_ins(self, site: str, provider: str) -> None:
        """Export at 0 the results that alerts name.

        Prometheus sees an increase only from the second value of a series; the first failure would be lost.
        """
        sign_ins = self._sign_ins_at(site, provider)
        sign_ins.people_refused.labels(site, provider)
        sign_ins.signins.labels(site, provider, *outcome_of(None))
        for error in NAMED_BY_ALERTS:
            sign_ins.signins.labels(site, provider, *outcome_of(error()))

    def expect_emergency_links(self, site: str) -> None:
        """Export at 0 how often an agent was signed in without a provider, for the alert."""
        self._emergency_links.labels(site)

    def count_emergency_link(self, site: str) -> None:
        """Count an address that `broker emergency-link` issued."""
        self._emergency_links.labels(site).inc()

    # ---------------------------------------------------------------------------------------------------------- checks

    def expect_dawn_checks(self, now: float) -> None:
        """Export the results of checks from the next run on.

        Args:
            now: seconds since the epoch; counts as the last run, so that an alert on its age holds from the start.
        """
        self._check_metrics().ended.set(now)

    def export_findings(self, findings: Sequence[Finding], ended: float) -> None:
        """Export the findings of a complete run, which ended at `ended`, in seconds since the epoch."""
        self._check_metrics().export(findings, ended)

    def _check_metrics(self) -> _CheckMetrics:
        """Return the metrics of the checks; without dawn checks, there are none."""
        if self._checks is None:
            self._checks = _CheckMetrics(self._process)
        return self._checks

    # ------------------------------------------------------------------------------------------- providers and secrets

    def timed(self, provider: str, send: Send) -> Send:
        """Return a `send` that measures each call to a provider."""
        seconds = cache(partial(self._provider(provider).call_seconds.labels, provider))
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
        """Export the age and source of metadata and keys, outages and the clock, read at each scrape."""
        metrics = self._provider(provider)
        documents: dict[str, Cached[Any]] = {"metadata": discovery.metadata, "keys": discovery.keys}
        for name, document in documents.items():
            metrics.fetched.labels(provider, name).set_function(partial(getattr, document, "fetched"))
            metrics.fresh_until.labels(provider, name).set_function(partial(getattr, document, "fresh_until"))
        metrics.snapshot_in_use.labels(provider).set_function(lambda: float(discovery.snapshot_age is not None))
        health = discovery.health
        metrics.down.labels(provider).set_function(lambda: float(health.is_down()))
        metrics.clock_ahead.labels(provider).set_function(lambda: health.clock_ahead() or 0.0)

    def watch_places(self, provider: str, places: Places) -> None:
        """Export how many sign-ins are at work and waiting, read at each scrape."""
        metrics = self._provider(provider)
        metrics.at_work.labels(provider).set_function(lambda: places.at_work)
        metrics.waiting.labels(provider).set_function(lambda: places.waiting)

    def watch_snapshot(self, snapshot: Snapshot) -> None:
        """Export the state of the snapshot file, read at each scrape."""
        self._gauge(
            "comm100_sso_snapshot_written_timestamp_seconds",
            "When this process last wrote the snapshot file; 0 before.",
        ).set_function(lambda: snapshot.written)
        self._gauge(
            "comm100_sso_snapshot_rejected",
            "1 while the snapshot file or an entry is not used, or the file cannot be written.",
        ).set_function(lambda: float(snapshot.is_rejected))

    def watch_secret(self, setting: str, is_rejected: Callable[[], bool]) -> None:
        """Export whether a secret's file is rejected, read at each scrape."""
        self._rejected.labels(setting).set_function(lambda: float(is_rejected()))

    def set_secret_expiry(self, provider: str, expires: date) -> None:
        """Export the day on which a client secret expires."""
        moment = datetime(expires.year, expires.month, expires.day, tzinfo=UTC)
        self._provider(provider).secret_expiry.labels(provider).set(moment.timestamp())


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
