"""Builds providers, sites and the service from the settings: the composition root. Time and network are arguments."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from starlette.types import ASGIApp

from broker import emergency
from broker.capacity import LoopLateness
from broker.check_runs import service_checks
from broker.dawn_check import FindingsLog, keep_checking, of_service
from broker.editions import Editions
from broker.log import LOGGER, EventLog, SignInEvent, warn_of_expiry, warn_of_insecure_options, write_event
from broker.metrics import Metrics
from broker.oidc.client import ClientFactory, HttpClient, NetworkPolicy, ProviderClient, open_client
from broker.oidc.discovery import Clock, Sleep
from broker.providers import Provider
from broker.replica import Broker
from broker.settings import (
    AuthoritiesReader,
    Changes,
    Settings,
    WatchedAuthorities,
    changes_between,
    digests_of,
    insecure_options,
    open_authorities,
    read_authorities,
    secret_files,
)
from broker.snapshot import Snapshot
from broker.watch import Intervals, fetch_missing, watched
from broker.web.context import Setup, WebContext
from broker.web.cooldown import CheckRun, Cooldown
from broker.web.middleware import SecurityHeaders
from broker.web.operations import operations_site
from broker.web.pages import LANGUAGES, Pages
from broker.web.request import ClientAddresses, LastLoginRequest
from broker.web.routes import public_site
from broker.web.setup_loader import SetupLoader
from broker.wiring import network_policies, sites_of, source_of_documents, wire_provider, wire_site

FIRST_DOCUMENTS_SECONDS = 3.0  # that a reload waits for metadata and keys of new providers
NO_PROXY_TRUSTED = (
    "Add your proxy's address to trusted_proxies. Until then, all people behind the proxy share one limit for rejected "
    "codes, and the log shows the proxy's address. If there is no proxy, you do not have to do anything."
)


@dataclass(frozen=True, slots=True)
class Service:
    """A service that is ready to be served.

    Args:
        stopping: set when the service begins to stop; readiness then fails, and no new requests come.
        settings: returns the settings in use.
        reload: uses other settings from now on, and returns what changed. It must not run twice at once.
    """

    public: ASGIApp
    operations: ASGIApp
    stopping: asyncio.Event
    metrics: Metrics
    settings: Callable[[], Settings]
    reload: Callable[[Settings], Awaitable[Changes]]


@dataclass(frozen=True, slots=True)
class _Edition:
    """The service with one reading of the settings.

    Args:
        providers: by id; those that are not enabled are included.
    """

    settings: Settings
    public: ASGIApp
    operations: ASGIApp
    broker: Broker
    providers: Mapping[str, Provider]


@dataclass(frozen=True, slots=True)
class _Process:
    """What all editions share.

    Args:
        clock: seconds since the epoch.
        last_login_requests: by the site's id.
    """

    metrics: Metrics
    http: ClientFactory
    read_authorities: AuthoritiesReader
    clock: Clock
    sleep: Sleep
    intervals: Intervals
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    lateness: LoopLateness = field(default_factory=LoopLateness)
    last_login_requests: dict[str, LastLoginRequest] = field(default_factory=dict)


@asynccontextmanager
async def create_app(
    settings: Settings,
    *,
    lost_log_lines: Callable[[], int] = lambda: 0,
    http: ClientFactory = open_client,
    read_authorities: AuthoritiesReader = read_authorities,
    clock: Clock = time.time,
    sleep: Sleep = asyncio.sleep,
    intervals: Intervals = Intervals(),  # noqa: B008 - frozen
) -> AsyncIterator[Service]:
    """Build the service, and keep its HTTP clients open while it runs.

    The service starts even if providers do not answer: requests are repeated later.

    Args:
        lost_log_lines: returns how many lines the log lost since the start.
        clock: seconds since the epoch.
    """
    process = _Process(Metrics(lost_log_lines=lost_log_lines), http, read_authorities, clock, sleep, intervals)
    editions = Editions[_Edition]()

    async def reload(settings: Settings) -> Changes:
        before = editions.newest()
        await editions.replace(_edition(settings, process, before))
        return changes_between(before.settings, settings)

    try:
        await editions.replace(_edition(settings, process))
        yield Service(
            editions.public,
            editions.operations,
            process.stopping,
            process.metrics,
            lambda: editions.newest().settings,
            reload,
        )
    finally:
        await editions.close()


@asynccontextmanager
async def _edition(settings: Settings, process: _Process, before: _Edition | None = None) -> AsyncIterator[_Edition]:
    """Build the service with these settings.

    Args:
        before: the edition that this one replaces; None at the start.

    Raises:
        SettingsError: trusted_ca_file changed since the settings were read.
    """
    clock, metrics = process.clock, process.metrics
    async with AsyncExitStack() as stack:
        authorities = await stack.enter_async_context(_authorities(settings, process.read_authorities))
        networks = network_policies(settings, authorities.context)
        clients = {each: await stack.enter_async_context(process.http(each)) for each in set(networks.values())}
        every_provider = _providers(settings, process, networks, clients)
        enabled = {id_: every_provider[id_] for id_, each in settings.identity_providers.items() if each.enabled}
        broker = _broker(settings, enabled, clock, before)
        snapshot = None if settings.snapshot_file is None else Snapshot(settings.snapshot_file, clock)
        await _give_documents(settings, every_provider, enabled, snapshot, before)

        findings_log = FindingsLog()
        run_checks = service_checks(
            settings,
            http=process.http,
            clients=clients,
            context=authorities.context,
            clock=clock,
            on_end=partial(_report, settings, metrics, findings_log),
        )
        stack.push_async_callback(run_checks.stop)

        await stack.enter_async_context(watched(enabled.values(), process.intervals))
        if snapshot is not None:
            await stack.enter_async_context(_in_background(snapshot.keep(enabled.values())))
        if settings.dawn_check_hours:
            checking = keep_checking(run_checks, settings.dawn_check_hours, findings_log)
            await stack.enter_async_context(_in_background(checking))

        _announce(settings, broker, is_start=before is None)
        _export(settings, broker, metrics, authorities, snapshot)
        public = public_site(_web_context(settings, process, broker, every_provider, run_checks))
        operations = operations_site(
            enabled,
            metrics=metrics.export,
            stopping=process.stopping.is_set,
            record_emergency_link=partial(_record_emergency_link, broker, metrics),
        )
        yield _Edition(settings, public, SecurityHeaders(operations, https=False), broker, every_provider)


def _providers(
    settings: Settings,
    process: _Process,
    networks: Mapping[str, NetworkPolicy],
    clients: Mapping[NetworkPolicy, HttpClient],
) -> dict[str, Provider]:
    """Return every provider by its id, enabled or not; its calls are measured."""
    return {
        id_: wire_provider(
            settings,
            id_,
            send=process.metrics.timed(id_, ProviderClient(clients[network], network).send),
            clock=process.clock,
            sleep=process.sleep,
            lateness=process.lateness,
        )
        for id_, network in networks.items()
    }


def _broker(settings: Settings, providers: Mapping[str, Provider], clock: Clock, before: _Edition | None) -> Broker:
    sites = {id_: wire_site(settings, id_) for id_ in settings.sites}
    secret_keys = settings.secret_keys.reveal
    if before is None:
        return Broker(sites=sites, providers=providers, secret_keys=secret_keys, clock=clock)
    return before.broker.with_settings(sites=sites, providers=providers, secret_keys=secret_keys)


@asynccontextmanager
async def _authorities(settings: Settings, read: AuthoritiesReader) -> AsyncIterator[WatchedAuthorities]:
    """Read trusted_ca_file, and watch the file while the block runs."""
    authorities = await open_authorities(settings.trusted_ca_file, read)
    async with _in_background(authorities.watch()):
        yield authorities


async def _give_documents(
    settings: Settings,
    every_provider: Mapping[str, Provider],
    enabled: Mapping[str, Provider],
    snapshot: Snapshot | None,
    before: _Edition | None,
) -> None:
    """Give the providers the metadata and keys of the edition before, or of the snapshot file.

    A reload also fetches those that are missing. A start does not wait for providers.
    """
    for id_, provider in every_provider.items():
        old = None if before is None else before.providers.get(id_)
        if before is None or old is None:
            continue
        if source_of_documents(provider, settings) == source_of_documents(old, before.settings):
            provider.discovery.adopt(old.discovery)
    if snapshot is not None:
        await snapshot.restore(enabled.values())
    if before is not None:
        await fetch_missing(enabled.values(), seconds=FIRST_DOCUMENTS_SECONDS)


def _report(settings: Settings, metrics: Metrics, findings_log: FindingsLog, run: CheckRun) -> None:
    """Write the findings of a complete run to metrics and log."""
    if not settings.dawn_check_hours:
        return
    # A provider that agents cannot choose harms nobody.
    enabled = {id_ for id_, provider in settings.identity_providers.items() if provider.enabled}
    findings = of_service(run.findings, {"settings", *settings.sites, *enabled})
    metrics.export_findings(findings, run.ended)
    findings_log.write(findings)


def _announce(settings: Settings, broker: Broker, *, is_start: bool) -> None:
    """Log the settings in use, and what an admin should change in them."""
    if is_start:
        offered = list(broker.providers)
        facts = {"public_url": settings.public_url, "sites": list(settings.sites), "identity_providers": offered}
        facts |= {"digests": digests_of(settings)}
        LOGGER.info("started", extra={"facts": facts})
    warn_of_insecure_options(insecure_options(settings))
    if not (settings.trusted_proxies or settings.on_loopback):
        LOGGER.warning("no proxy is trusted", extra={"facts": {"remedy": NO_PROXY_TRUSTED}})
    for identifier, provider in settings.identity_providers.items():
        if provider.client_secret_expires is not None:
            warn_of_expiry(identifier, provider.client_secret_expires, now=broker.clock())


def _export(
    settings: Settings, broker: Broker, metrics: Metrics, authorities: WatchedAuthorities, snapshot: Snapshot | None
) -> None:
    """Export the metrics of these settings before the first sign-in."""
    metrics.forget_settings()
    metrics.set_settings_read(broker.clock())
    metrics.set_insecure_options(insecure_options(settings))
    for identifier, provider in settings.identity_providers.items():
        if provider.client_secret_expires is not None:
            metrics.set_secret_expiry(identifier, provider.client_secret_expires)
    for site in broker.sites.values():
        metrics.expect_emergency_links(site.id)
        for identifier in site.provider_ids:
            metrics.expect_sign_ins(site.id, identifier)
    for identifier, wired in broker.providers.items():
        metrics.watch_provider(identifier, wired.discovery)
        metrics.watch_places(identifier, broker.places_of(identifier))
    for setting, is_rejected in secret_files(settings).items():
        metrics.watch_secret(setting, is_rejected)
    if settings.trusted_ca_file is not None:
        metrics.watch_secret("trusted_ca_file", authorities.is_rejected)
    if snapshot is not None:
        metrics.watch_snapshot(snapshot)
    if settings.dawn_check_hours:
        metrics.expect_dawn_checks(broker.clock())


def _record_emergency_link(broker: Broker, metrics: Metrics, unverified_report: str) -> bool:
    """Record in the metrics and in the log that `broker emergency-link` was used; return whether it was."""
    facts = emergency.check_report(unverified_report, now=broker.clock(), secret_keys=broker.secret_keys())
    if facts is None:
        return False
    metrics.count_emergency_link(str(facts["site"]))
    write_event(emergency.EVENT, facts, logging.WARNING)
    return True


def _record(log: EventLog, metrics: Metrics, event: SignInEvent) -> None:
    """Record in the metrics and in the log how a request ended."""
    metrics.count(event)
    log.write(event)


def _web_context(
    settings: Settings,
    process: _Process,
    broker: Broker,
    every_provider: Mapping[str, Provider],
    run_checks: Cooldown,
) -> WebContext:
    log = EventLog(log_email=settings.log_email, secret_keys=settings.secret_keys.reveal)
    logo = settings.logo_file.data_uri if settings.logo_file else None
    return WebContext(
        broker=broker,
        pages={
            language: Pages(language, support_email=settings.support_email, site_name=settings.site_name, logo=logo)
            for language in LANGUAGES
        },
        record=partial(_record, log, process.metrics),
        setup=Setup(
            pages=SetupLoader(site_name=settings.site_name, logo=logo),
            providers=every_provider,
            offered_at={id_: tuple(broker.sites[site] for site in sites_of(settings, id_)) for id_ in every_provider},
            run_checks=run_checks,
            last_login_requests=process.last_login_requests,
        ),
        public_url=settings.public_url,
        client_addresses=ClientAddresses(settings.trusted_proxies),
    )


@asynccontextmanager
async def _in_background(work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Do endless work while the block runs."""
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
