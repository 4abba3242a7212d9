"""Builds providers, sites and the service from the settings: the composition root. Time and network are arguments."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Never
from urllib.parse import urlsplit

from starlette.types import ASGIApp

from broker.capacity import LoopLateness
from broker.comm100 import Site
from broker.dawn_check import FindingsLog, keep_checking, of_service
from broker.errors import ProviderUnreachable
from broker.identity import ClaimRules
from broker.log import EventLog, SignInEvent, log_start, warn_of_expiry
from broker.metrics import Metrics
from broker.oidc.client import ClientFactory, HttpClient, NetworkPolicy, ProviderClient, open_client
from broker.oidc.client_assertion import build_client_assertion
from broker.oidc.discovery import Clock, Discovery, Send, Sleep
from broker.oidc.health import ProviderHealth
from broker.oidc.messages import ProviderRequest, ProviderResponse
from broker.oidc.registration import Registration
from broker.providers import KINDS, Provider
from broker.settings import NO_PROXY, ProviderSettings, Settings, SiteSettings, insecure_options, secret_files
from broker.signin import Broker
from broker.snapshot import Snapshot
from broker.watch import watched
from broker.web.context import Setup, WebContext
from broker.web.cooldown import MAX_SECONDS, CheckRun, Cooldown
from broker.web.middleware import SecurityHeaders
from broker.web.operations import operations_site
from broker.web.pages import LANGUAGES, Pages
from broker.web.request import ClientAddresses
from broker.web.routes import public_site
from broker.web.setup_loader import SetupLoader

if TYPE_CHECKING:
    from broker import checks

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
    """

    public: ASGIApp
    operations: ASGIApp
    stopping: asyncio.Event


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
    async with AsyncExitStack() as stack:
        networks = _network_policies(settings)
        clients = {network: await stack.enter_async_context(http(network)) for network in set(networks.values())}
        metrics = Metrics(insecure_options(settings), lost_log_lines=lost_log_lines)
        log = EventLog(log_email=settings.log_email, secret_keys=settings.secret_keys.reveal)
        lateness = LoopLateness()
        all_providers = {
            id_: wire_provider(
                settings,
                id_,
                send=metrics.timed(id_, _sender(clients[network], network)),
                clock=clock,
                sleep=sleep,
                lateness=lateness,
            )
            for id_, network in networks.items()
        }
        providers = {id_: all_providers[id_] for id_, each in settings.identity_providers.items() if each.enabled}
        broker = Broker(
            sites={id_: wire_site(settings, id_) for id_ in settings.sites},
            providers=providers,
            secret_keys=settings.secret_keys.reveal,
            clock=clock,
        )
        _announce(settings, broker, metrics)
        snapshot = None if settings.snapshot_file is None else Snapshot(settings.snapshot_file, clock)
        if snapshot is not None:
            metrics.watch_snapshot(snapshot)
            await snapshot.restore(providers.values())
        findings_log = FindingsLog()
        setup_checks = _service_checks(settings, metrics, findings_log, clients, http, clock)
        stack.push_async_callback(setup_checks.stop)
        web = _web_context(settings, broker, all_providers, setup_checks, partial(_record, log, metrics))
        stopping = asyncio.Event()
        operations = operations_site(providers, metrics=metrics.export, stopping=stopping.is_set)
        await stack.enter_async_context(watched(providers.values()))
        if snapshot is not None:
            await stack.enter_async_context(_in_background(snapshot.keep(providers.values())))
        if settings.dawn_check_hours:
            checking = keep_checking(setup_checks, settings.dawn_check_hours, findings_log)
            await stack.enter_async_context(_in_background(checking))
        yield Service(public_site(web), SecurityHeaders(operations, https=False), stopping)


def _record(log: EventLog, metrics: Metrics, event: SignInEvent) -> None:
    """Record in the metrics and in the log how a request ended."""
    metrics.count(event)
    log.write(event)


def _announce(settings: Settings, broker: Broker, metrics: Metrics) -> None:
    """Log the settings in use, and export the metrics before the first sign-in."""
    offered = list(broker.providers)
    log_start(
        {"public_url": settings.public_url, "sites": list(settings.sites), "identity_providers": offered},
        insecure_options(settings),
    )
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
    for setting, is_rejected in secret_files(settings).items():
        metrics.watch_secret(setting, is_rejected)


def _web_context(
    settings: Settings,
    broker: Broker,
    all_providers: Mapping[str, Provider],
    setup_checks: Cooldown,
    record: Callable[[SignInEvent], None],
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
            last_login_requests={},
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
    metrics: Metrics,
    findings_log: FindingsLog,
    clients: Mapping[NetworkPolicy, HttpClient],
    http: ClientFactory,
    clock: Clock,
) -> Cooldown:
    """Return the checks of a running service, by its own clients, with their results in metrics and log."""
    subjects = _checked_subjects(settings)
    if settings.dawn_check_hours:
        metrics.expect_dawn_checks(clock())

    async def run() -> tuple[checks.Finding, ...]:
        # Loaded in a thread at the first run: agents sign in meanwhile, and most runs come hours after the start.
        await asyncio.to_thread(import_module, "broker.checks")
        return await run_checks(
            settings, offline=False, begin=lambda _subject, _check: None, http=http, clock=clock, clients=clients
        )

    def report(ended: CheckRun) -> None:
        if settings.dawn_check_hours:
            findings = of_service(ended.findings, subjects)
            metrics.export_findings(findings, ended.ended)
            findings_log.write(findings)

    turns = math.ceil(len(settings.identity_providers) / PROVIDERS_AT_ONCE)
    return Cooldown(run, max_seconds=turns * MAX_SECONDS, clock=clock, on_end=report)


async def run_checks(
    settings: Settings,
    *,
    offline: bool,
    begin: checks.Begin,
    http: ClientFactory = open_client,
    clock: Clock = time.time,
    clients: Mapping[NetworkPolicy, HttpClient] = MappingProxyType({}),
) -> tuple[checks.Finding, ...]:
    """Check everything in the settings, also providers that are not enabled.

    Args:
        clients: open ones, which are used before a new client is opened.
        begin: called with subject and check when a check begins.
        clock: seconds since the epoch.
    """
    from broker import checks  # not with the service: most services never run a check

    browsers = network_policy_of_browsers(settings)
    networks = _network_policies(settings)
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
async def _in_background(work: Coroutine[Any, Any, Never]) -> AsyncIterator[None]:
    """Do endless work while the block runs."""
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def _sender(client: HttpClient, network: NetworkPolicy) -> Send:
    return ProviderClient(client, network).send


def network_policy_of(settings: Settings, provider: ProviderSettings) -> NetworkPolicy:
    """Return the network policy for requests to a provider."""
    proxy = provider.outbound_proxy or settings.outbound_proxy
    return NetworkPolicy(
        trusted_ca_file=settings.trusted_ca_file,
        outbound_proxy=None if proxy is None or proxy.reveal() == NO_PROXY else proxy.reveal,
        private_networks=provider.allow_private_network or settings.on_loopback,
    )


def _network_policies(settings: Settings) -> dict[str, NetworkPolicy]:
    return {id_: network_policy_of(settings, provider) for id_, provider in settings.identity_providers.items()}


def network_policy_of_browsers(settings: Settings) -> NetworkPolicy:
    """Return the network policy for requests to Comm100 and the broker, which may have private addresses."""
    proxy = settings.outbound_proxy
    return NetworkPolicy(settings.trusted_ca_file, proxy.reveal if proxy else None, private_networks=True)


async def send_nothing(request: ProviderRequest) -> ProviderResponse:
    """Refuse to send; stands in for the network where a provider's settings are only read.

    Raises:
        ProviderUnreachable: always.
    """
    raise ProviderUnreachable(expected="no request", got=f"one to {urlsplit(request.url).hostname}")


def wire_provider(
    settings: Settings,
    identifier: str,
    *,
    send: Send = send_nothing,
    clock: Clock = time.time,
    sleep: Sleep = asyncio.sleep,
    lateness: LoopLateness | None = None,
) -> Provider:
    """Return an identity provider, enabled or not.

    Args:
        lateness: of the event loop; one for all providers of a service.
    """
    provider = settings.identity_providers[identifier]
    registration = _registration(settings, identifier, provider, clock)
    health = ProviderHealth(clock, lateness=lateness)
    send = health.watched(send)
    return Provider(
        id=identifier,
        label=provider.label,
        kind=KINDS[provider.preset],
        registration=registration,
        rules=ClaimRules(
            email_claim=provider.email_claim or "email",
            name_claim=provider.name_claim or "name",
            trust_unverified_email=provider.trust_unverified_email,
            email_domains=frozenset(provider.email_domains),
            tenants=frozenset(provider.tenants or ()),
            groups_claim=provider.groups_claim,
            allowed_groups=frozenset(provider.allowed_groups or ()),
        ),
        userinfo=provider.userinfo,
        discovery=Discovery(registration, send, clock, sleep, health=health),
        send=send,
    )


def _registration(settings: Settings, identifier: str, provider: ProviderSettings, clock: Clock) -> Registration:
    credential = provider.federated_token or provider.private_key or provider.client_secret
    return Registration(
        issuer=provider.issuer,
        metadata_issuer=provider.metadata_issuer,
        client_id=provider.client_id,
        client_secret=provider.client_secret.reveal if provider.client_secret else None,
        client_assertion=_client_assertion(provider, clock),
        client_authentication=provider.client_authentication,
        redirect_uri=f"{settings.public_url}/callback/{identifier}",
        scopes=provider.scopes,
        signing_algorithms=frozenset(provider.signing_algorithms),
        authorization_parameters={
            **KINDS[provider.preset].parameters(frozenset(provider.email_domains)),
            **provider.authorization_parameters,
        },
        max_age=provider.max_age,
        allow_loopback=settings.on_loopback,
        metadata_url=provider.metadata_url,
        trusted_audiences=frozenset(provider.trusted_audiences or ()),
        credential=credential.reveal if credential else None,
        reread_credential=credential.reread if credential else None,
    )


def _client_assertion(provider: ProviderSettings, clock: Clock) -> Callable[[str], str] | None:
    """Return the function that makes the assertion for an audience: the platform's token, or signed by the broker."""
    token, private_key = provider.federated_token, provider.private_key
    if token is not None:
        return lambda _audience: token.reveal()
    if private_key is not None:
        return lambda audience: build_client_assertion(
            private_key.reveal(), client_id=provider.client_id, audience=audience, now=clock()
        )
    return None


def sites_of(settings: Settings, provider: str) -> tuple[str, ...]:
    """Return the ids of the sites that offer a provider, or will once it is enabled."""
    return tuple(id_ for id_, site in settings.sites.items() if provider in _providers_of(settings, site))


def wire_site(settings: Settings, identifier: str) -> Site:
    """Return a Comm100 site with the providers that are enabled."""
    site = settings.sites[identifier]
    return Site(
        id=identifier,
        endpoint=site.endpoint,
        shared_secret=site.shared_secret.reveal,
        delivery=site.delivery,
        redirect_hosts=frozenset(site.redirect_hosts),
        token_lifetime=site.token_lifetime,
        claims=site.claims,
        provider_ids=tuple(id_ for id_ in _providers_of(settings, site) if settings.identity_providers[id_].enabled),
        start_url=site.start_url,
        on_loopback=settings.on_loopback,
    )


def _providers_of(settings: Settings, site: SiteSettings) -> tuple[str, ...]:
    return site.identity_providers or tuple(settings.identity_providers)
