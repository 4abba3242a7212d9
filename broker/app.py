"""Builds providers, sites and the service from the settings: the composition root. Time and network are arguments."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from importlib import import_module
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from starlette.types import ASGIApp

from broker.capacity import LoopLateness
from broker.dawn_check import FindingsLog, keep_checking, of_service
from broker.editions import Editions
from broker.log import EventLog, SignInEvent, log_start, warn_of_expiry, warn_of_insecure_options
from broker.metrics import Metrics
from broker.oidc.client import ClientFactory, HttpClient, NetworkPolicy, ProviderClient, TlsContext, open_client
from broker.oidc.discovery import Clock, Send, Sleep
from broker.providers import Provider
from broker.settings import (
    Changes,
    Settings,
    WatchedAuthorities,
    changes_between,
    insecure_options,
    open_authorities,
    secret_files,
)
from broker.signin import Broker
from broker.snapshot import Snapshot
from broker.watch import MAX_FETCHING, watched
from broker.web.context import Setup, WebContext
from broker.web.cooldown import MAX_SECONDS, CheckRun, Cooldown
from broker.web.middleware import SecurityHeaders
from broker.web.operations import operations_site
from broker.web.pages import LANGUAGES, Pages
from broker.web.request import ClientAddresses, LastLoginRequest
from broker.web.routes import public_site
from broker.web.setup_loader import SetupLoader
from broker.wiring import (
    network_policies,
    network_policy_of,
    network_policy_of_browsers,
    sites_of,
    wire_provider,
    wire_site,
)

if TYPE_CHECKING:
    from broker import checks

FIRST_DOCUMENTS_SECONDS = 3.0  # that a reload waits for metadata and keys of new providers
PROVIDERS_AT_ONCE = 20  # of the checks, for the same reason as MAX_FETCHING
NO_PROXY_TRUSTED = (
    "Add your proxy's address to trusted_proxies. Until then, all people behind the proxy share one limit for rejected "
    "codes, and the log shows the proxy's address. If there is no proxy, you do not have to do anything."
)

_log = logging.getLogger("broker")


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
    last_login_requests: dict[str, LastLoginRequest]


@dataclass(frozen=True, slots=True)
class _Process:
    """What all editions share.

    Args:
        clock: seconds since the epoch.
    """

    metrics: Metrics
    stopping: asyncio.Event
    http: ClientFactory
    clock: Clock
    sleep: Sleep
    lateness: LoopLateness


@asynccontextmanager
async def create_app(
    settings: Settings,
    *,
    lost_log_lines: Callable[[], int] = lambda: 0,
    http: ClientFactory = open_client,
    clock: Clock = time.time,
    sleep: Sleep = asyncio.sleep,
) -> AsyncIterator[Service]:
    """Build the service, and keep its HTTP clients open while it runs.

    The service starts even if providers do not answer: requests are repeated later.

    Args:
        lost_log_lines: returns how many lines the log lost since the start.
        clock: seconds since the epoch.
    """
    metrics = Metrics(lost_log_lines=lost_log_lines)
    process = _Process(metrics, asyncio.Event(), http, clock, sleep, LoopLateness())
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
    http, clock, metrics = process.http, process.clock, process.metrics
    async with AsyncExitStack() as stack:
        authorities = await stack.enter_async_context(_authorities(settings))
        networks = network_policies(settings, authorities.context)
        clients = {network: await stack.enter_async_context(http(network)) for network in set(networks.values())}
        log = EventLog(log_email=settings.log_email, secret_keys=settings.secret_keys.reveal)
        all_providers = {
            id_: wire_provider(
                settings,
                id_,
                send=metrics.timed(id_, _sender(clients[network], network)),
                clock=clock,
                sleep=process.sleep,
                lateness=process.lateness,
            )
            for id_, network in networks.items()
        }
        providers = {id_: all_providers[id_] for id_, each in settings.identity_providers.items() if each.enabled}
        broker = _broker(settings, providers, clock, before)
        if before is not None:
            _adopt_documents(all_providers, settings, before)
        snapshot = None if settings.snapshot_file is None else Snapshot(settings.snapshot_file, clock)
        if snapshot is not None:
            await snapshot.restore(providers.values())
        if before is not None:
            await _first_documents(providers.values())
        findings_log = FindingsLog()
        setup_checks = _service_checks(settings, process, findings_log, clients, authorities)
        stack.push_async_callback(setup_checks.stop)
        last_login_requests = {} if before is None else before.last_login_requests
        record = partial(_record, log, metrics)
        web = _web_context(settings, broker, all_providers, setup_checks, record, last_login_requests)
        operations = operations_site(providers, metrics=metrics.export, stopping=process.stopping.is_set)
        await stack.enter_async_context(watched(providers.values()))
        if snapshot is not None:
            await stack.enter_async_context(_in_background(snapshot.keep(providers.values())))
        if settings.dawn_check_hours:
            checking = keep_checking(setup_checks, settings.dawn_check_hours, findings_log)
            await stack.enter_async_context(_in_background(checking))
        _announce(settings, broker, metrics, before)
        _watch_files(settings, metrics, authorities, snapshot)
        yield _Edition(
            settings,
            public_site(web),
            SecurityHeaders(operations, https=False),
            broker,
            all_providers,
            last_login_requests,
        )


def _broker(settings: Settings, providers: Mapping[str, Provider], clock: Clock, before: _Edition | None) -> Broker:
    sites = {id_: wire_site(settings, id_) for id_ in settings.sites}
    secret_keys = settings.secret_keys.reveal
    if before is None:
        return Broker(sites=sites, providers=providers, secret_keys=secret_keys, clock=clock)
    return before.broker.with_settings(sites=sites, providers=providers, secret_keys=secret_keys)


def _watch_files(
    settings: Settings, metrics: Metrics, authorities: WatchedAuthorities, snapshot: Snapshot | None
) -> None:
    """Export which files hold what cannot be used."""
    for setting, is_rejected in secret_files(settings).items():
        metrics.watch_secret(setting, is_rejected)
    if settings.trusted_ca_file is not None:
        metrics.watch_secret("trusted_ca_file", authorities.is_rejected)
    if snapshot is not None:
        metrics.watch_snapshot(snapshot)


@asynccontextmanager
async def _authorities(settings: Settings) -> AsyncIterator[WatchedAuthorities]:
    """Read trusted_ca_file, and watch the file while the block runs."""
    authorities = await open_authorities(settings.trusted_ca_file)
    async with _in_background(authorities.watch()):
        yield authorities


def _adopt_documents(providers: Mapping[str, Provider], settings: Settings, before: _Edition) -> None:
    """Keep metadata and keys of the providers whose documents come from the same place."""
    for id_, provider in providers.items():
        old = before.providers.get(id_)
        if old is not None and _source_of(provider, settings) == _source_of(old, before.settings):
            provider.discovery.adopt(old.discovery)


def _source_of(provider: Provider, settings: Settings) -> tuple[object, ...]:
    """Return what the content of a provider's metadata and keys depends on."""
    registration, section = provider.registration, settings.identity_providers[provider.id]
    proxy = section.outbound_proxy or settings.outbound_proxy
    return (
        registration.issuer,
        registration.metadata_issuer,
        registration.metadata_url,
        registration.allow_loopback,
        sorted(registration.authorization_parameters),
        settings.trusted_ca_file,
        section.allow_private_network,
        None if proxy is None else proxy.reveal(),
    )


async def _first_documents(providers: Iterable[Provider]) -> None:
    """Fetch the missing metadata and keys, so that no sign-in after a reload waits for them; give up after a while."""
    places = asyncio.Semaphore(MAX_FETCHING)

    async def fetch(provider: Provider) -> None:
        async with places:
            await provider.discovery.keep_warm()

    fetches = [asyncio.create_task(fetch(each)) for each in providers if each.discovery.keys.peek() is None]
    if fetches:
        await asyncio.wait(fetches, timeout=FIRST_DOCUMENTS_SECONDS)
        for late in fetches:
            late.cancel()
        await asyncio.gather(*fetches, return_exceptions=True)  # `watch` logs what failed


def _record(log: EventLog, metrics: Metrics, event: SignInEvent) -> None:
    """Record in the metrics and in the log how a request ended."""
    metrics.count(event)
    log.write(event)


def _announce(settings: Settings, broker: Broker, metrics: Metrics, before: _Edition | None) -> None:
    """Log the settings in use, and export the metrics before the first sign-in."""
    options = insecure_options(settings)
    if before is None:
        offered = list(broker.providers)
        facts = {"public_url": settings.public_url, "sites": list(settings.sites), "identity_providers": offered}
        log_start(facts, options)
    else:
        warn_of_insecure_options(options)
        metrics.forget_settings()
    metrics.set_insecure_options(options)
    metrics.set_settings_read(broker.clock())
    if not (settings.trusted_proxies or settings.on_loopback):
        _log.warning("no proxy is trusted", extra={"facts": {"remedy": NO_PROXY_TRUSTED}})
    for identifier, provider in settings.identity_providers.items():
        if provider.client_secret_expires is not None:
            metrics.set_secret_expiry(identifier, provider.client_secret_expires)
            warn_of_expiry(identifier, provider.client_secret_expires, now=broker.clock())
    for site in broker.sites.values():
        for identifier in site.provider_ids:
            metrics.expect_sign_ins(site.id, identifier)
    for identifier, wired in broker.providers.items():
        metrics.watch_provider(identifier, wired.discovery)
        metrics.watch_health(identifier, wired.health)
        metrics.watch_places(identifier, broker.places_of(identifier))
    if settings.dawn_check_hours:
        metrics.expect_dawn_checks(broker.clock())


def _web_context(
    settings: Settings,
    broker: Broker,
    all_providers: Mapping[str, Provider],
    setup_checks: Cooldown,
    record: Callable[[SignInEvent], None],
    last_login_requests: dict[str, LastLoginRequest],
) -> WebContext:
    logo = settings.logo_file.data_uri if settings.logo_file else None
    return WebContext(
        broker=broker,
        pages={
            language: Pages(language, support_email=settings.support_email, site_name=settings.site_name, logo=logo)
            for language in LANGUAGES
        },
        record=record,
        setup=Setup(
            pages=SetupLoader(site_name=settings.site_name, logo=logo),
            providers=all_providers,
            offered_at={id_: tuple(broker.sites[site] for site in sites_of(settings, id_)) for id_ in all_providers},
            run_checks=setup_checks,
            last_login_requests=last_login_requests,
        ),
        public_url=settings.public_url,
        client_addresses=ClientAddresses(settings.trusted_proxies),
    )


def _checked_subjects(settings: Settings) -> frozenset[str]:
    """Return whose findings count in metrics and log: a provider that agents cannot choose harms nobody."""
    enabled = {id_ for id_, provider in settings.identity_providers.items() if provider.enabled}
    return frozenset({"settings", *settings.sites, *enabled})


def _service_checks(
    settings: Settings,
    process: _Process,
    findings_log: FindingsLog,
    clients: Mapping[NetworkPolicy, HttpClient],
    authorities: WatchedAuthorities,
) -> Cooldown:
    """Return the checks of a running service, by its own clients, with their results in metrics and log."""
    subjects = _checked_subjects(settings)

    async def run() -> tuple[checks.Finding, ...]:
        # Loaded in a thread at the first run: agents sign in meanwhile, and most runs come hours after the start.
        await asyncio.to_thread(import_module, "broker.checks")
        return await run_checks(
            settings,
            offline=False,
            begin=lambda _subject, _check: None,
            http=process.http,
            clock=process.clock,
            clients=clients,
            context=authorities.context,
        )

    def report(ended: CheckRun) -> None:
        if settings.dawn_check_hours:
            findings = of_service(ended.findings, subjects)
            process.metrics.export_findings(findings, ended.ended)
            findings_log.write(findings)

    turns = math.ceil(len(settings.identity_providers) / PROVIDERS_AT_ONCE)
    return Cooldown(run, max_seconds=turns * MAX_SECONDS, clock=process.clock, on_end=report)


async def run_checks(
    settings: Settings,
    *,
    offline: bool,
    begin: checks.Begin,
    http: ClientFactory = open_client,
    clock: Clock = time.time,
    clients: Mapping[NetworkPolicy, HttpClient] = MappingProxyType({}),
    context: TlsContext | None = None,
) -> tuple[checks.Finding, ...]:
    """Check everything in the settings, also providers that are not enabled.

    Args:
        begin: called with subject and check when a check begins.
        clock: seconds since the epoch.
        clients: open ones, which are used before a new client is opened.
        context: of the running service; None reads trusted_ca_file.
    """
    from broker import checks  # not with the service: most services never run a check

    browsers = replace(network_policy_of_browsers(settings), context=context)
    networks = network_policies(settings, context)
    async with AsyncExitStack() as stack:

        async def opened(network: NetworkPolicy) -> HttpClient:
            return await stack.enter_async_context(http(network))

        send = {
            network: _sender(clients[network] if network in clients else await opened(network), network)
            for network in {browsers, *networks.values()}
        }
        targets = checks.Targets(
            public_url=settings.public_url,
            public_client=checks.PublicClient(send[browsers], proxied=browsers.outbound_proxy is not None),
            insecure_options=insecure_options(settings),
            providers=tuple(
                checks.ProviderTarget(
                    wire_provider(settings, id_, send=send[network], clock=clock),
                    network.outbound_proxy is not None,
                    settings.identity_providers[id_].client_secret_expires,
                )
                for id_, network in networks.items()
            ),
            sites=tuple(wire_site(settings, id_) for id_ in settings.sites),
        )
        return await checks.run_all(targets, offline=offline, clock=clock, begin=begin, at_once=PROVIDERS_AT_ONCE)


@asynccontextmanager
async def reach_provider(
    settings: Settings, identifier: str, *, http: ClientFactory = open_client, clock: Clock = time.time
) -> AsyncIterator[Provider]:
    """Open a client for a provider, and yield the provider."""
    provider = settings.identity_providers[identifier]
    network = network_policy_of(settings, provider)
    async with http(network) as client:
        yield wire_provider(settings, identifier, send=_sender(client, network), clock=clock)


@asynccontextmanager
async def _in_background(work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Do endless work while the block runs."""
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def _sender(client: HttpClient, network: NetworkPolicy) -> Send:
    return ProviderClient(client, network).send
