"""Where the service is put together: settings in, two ASGI applications out.

What needs time, the network or a key gets it from here as an argument.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from starlette.types import ASGIApp

from broker import checks, telemetry
from broker.errors import BrokerError, InternalError
from broker.metrics import Metrics
from broker.oidc.cached import Clock, Sleep
from broker.oidc.client import ClientFactory, HttpClient, NetworkPolicy, ProviderClient, open_client
from broker.oidc.discovery import Send
from broker.providers import Provider
from broker.replica import Broker
from broker.settings import ProviderSettings, Settings, insecure_options, secret_files
from broker.web.checks import Checks
from broker.web.context import Setup, WebContext
from broker.web.headers import SecurityHeaders
from broker.web.languages import ENGLISH, LANGUAGES
from broker.web.last_login_request import LastCalls
from broker.web.operations import operations_site
from broker.web.origins import Origins
from broker.web.pages import Pages
from broker.web.routes import public_site
from broker.web.setup_pages import SetupPages
from broker.wiring import network_policy_of, reach_of_browsers, sites_of, wire_provider, wire_site

WARMTH_SECONDS = 30.0  # between looks at what is missing or old
NO_PROXY_TRUSTED = (
    "Add your proxy's address to trusted_proxies. Until then, all people behind the proxy share one bound for rejected "
    "codes, and the log shows the proxy's address. If there is no proxy, you do not have to do anything."
)

_log = logging.getLogger("broker")


class Stopping:
    """Whether the service is about to stop: then it is not ready, so that no new request is sent to it."""

    def __init__(self) -> None:
        self.begun = False

    def __call__(self) -> bool:
        """Return whether it is."""
        return self.begun


@dataclass(frozen=True, slots=True)
class Service:
    """A service that is ready to be served.

    Args:
        public: the application of the public port.
        operations: the application of the operations port.
        stopping: to be told when stopping begins.
    """

    public: ASGIApp
    operations: ASGIApp
    stopping: Stopping


@asynccontextmanager
async def create_app(
    settings: Settings, *, http: ClientFactory = open_client, clock: Clock = time.time, sleep: Sleep = asyncio.sleep
) -> AsyncIterator[Service]:
    """Wire the service, and keep its HTTP clients open for as long as it runs.

    No provider has to answer for this: one that is down is tried again later.

    Args:
        settings: checked.
        http: opens an HTTP client; a test gives its own.
        clock: seconds since the epoch; a test gives its own.
        sleep: waits a moment before keys are asked for once more; a test gives its own.
    """
    async with AsyncExitStack() as stack:
        networks = {network_policy_of(settings, provider) for provider in settings.identity_providers.values()}
        clients = {network: await stack.enter_async_context(http(network)) for network in networks}
        signals = telemetry.Telemetry(
            log_email=settings.log_email,
            secret_keys=settings.secret_keys.reveal,
            insecure_options=insecure_options(settings),
        )
        metrics = Metrics(signals.registry)
        senders = {
            id_: metrics.timed(id_, _sender(settings, provider, clients))
            for id_, provider in settings.identity_providers.items()
        }
        everyone = {
            id_: wire_provider(settings, id_, send=send, clock=clock, sleep=sleep) for id_, send in senders.items()
        }
        providers = {id_: one for id_, one in everyone.items() if settings.identity_providers[id_].enabled}
        broker = Broker(
            sites={identifier: wire_site(settings, identifier) for identifier in settings.sites},
            providers=providers,
            secret_keys=settings.secret_keys.reveal,
            clock=clock,
        )
        _announce(settings, broker, signals, metrics)
        pages = _pages(settings)
        checks = Checks(
            lambda: run_checks(settings, offline=False, begin=lambda _subject, _check: None, http=http, clock=clock)
        )
        stack.push_async_callback(checks.stop)
        web = WebContext(
            broker=broker,
            pages=pages,
            record=signals.record,
            record_dry_run=signals.record_dry_run,
            setup=_setup(settings, broker, everyone, checks),
            public_url=settings.public_url,
            trusted_proxies=settings.trusted_proxies,
            origins=Origins(settings.trusted_proxies),
        )
        stopping = Stopping()
        operations = operations_site(providers, metrics=signals.metrics, stopping=stopping)
        await stack.enter_async_context(_warmth(providers.values()))
        yield Service(
            public=public_site(web),
            operations=SecurityHeaders(operations, style_sha256=pages[ENGLISH].style_sha256, https=False),
            stopping=stopping,
        )


def _announce(settings: Settings, broker: Broker, signals: telemetry.Telemetry, metrics: Metrics) -> None:
    """Say in the log what this service is, and export what is known of it before anybody signs in."""
    offered = list(broker.providers)
    signals.log_start({"public_url": settings.public_url, "sites": list(settings.sites), "identity_providers": offered})
    if not (settings.trusted_proxies or settings.on_loopback):
        _log.warning("no proxy is trusted", extra={"facts": {"remedy": NO_PROXY_TRUSTED}})
    for identifier, provider in settings.identity_providers.items():
        if provider.client_secret_expires is not None:
            signals.announce_expiry(identifier, provider.client_secret_expires, now=broker.clock())
    for site in broker.sites.values():
        for identifier in site.provider_ids:
            signals.expect(site.id, identifier)
    for identifier, wired in broker.providers.items():
        metrics.watch_provider(identifier, wired.discovery)
    for setting, is_rejected in secret_files(settings).items():
        metrics.watch_secret(setting, is_rejected)


def _setup(settings: Settings, broker: Broker, everyone: Mapping[str, Provider], checks: Checks) -> Setup:
    return Setup(
        pages=SetupPages(site_name=settings.site_name, logo=_logo(settings)),
        providers=everyone,
        offered_at={id_: tuple(broker.sites[site] for site in sites_of(settings, id_)) for id_ in everyone},
        checks=checks,
        last_calls=LastCalls(),
    )


def _logo(settings: Settings) -> str | None:
    return settings.logo_file.data_uri if settings.logo_file else None


def _pages(settings: Settings) -> dict[str, Pages]:
    logo = _logo(settings)
    return {
        language: Pages(language, support_email=settings.support_email, site_name=settings.site_name, logo=logo)
        for language in LANGUAGES
    }


async def run_checks(
    settings: Settings,
    *,
    offline: bool,
    begin: checks.Begin,
    http: ClientFactory = open_client,
    clock: Clock = time.time,
) -> tuple[checks.Finding, ...]:
    """Check everything the settings name, providers that are switched off as well.

    Args:
        settings: checked.
        offline: only what needs no network.
        begin: told the subject and the check as it begins.
        http: opens an HTTP client.
        clock: seconds since the epoch.
    """
    elsewhere = reach_of_browsers(settings)
    networks = {id_: network_policy_of(settings, provider) for id_, provider in settings.identity_providers.items()}
    async with AsyncExitStack() as stack:
        send = {
            network: ProviderClient(
                await stack.enter_async_context(http(network)), private_networks=network.private_networks
            ).send
            for network in {elsewhere, *networks.values()}
        }
        targets = checks.Targets(
            public_url=settings.public_url,
            public_client=checks.PublicClient(send[elsewhere], proxied=elsewhere.outbound_proxy is not None),
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
        return await checks.run_all(targets, offline=offline, clock=clock, begin=begin)


@asynccontextmanager
async def reach_provider(
    settings: Settings, identifier: str, *, http: ClientFactory = open_client, clock: Clock = time.time
) -> AsyncIterator[Provider]:
    """Give one provider a client of its own, for a look at it.

    Args:
        settings: checked.
        identifier: of one of their providers.
        http: opens an HTTP client.
        clock: seconds since the epoch.
    """
    provider = settings.identity_providers[identifier]
    network = network_policy_of(settings, provider)
    async with http(network) as client:
        send = ProviderClient(client, private_networks=network.private_networks).send
        yield wire_provider(settings, identifier, send=send, clock=clock)


@asynccontextmanager
async def _warmth(providers: Iterable[Provider]) -> AsyncIterator[None]:
    """Keep metadata and keys of providers at hand while the block runs."""
    tasks = [asyncio.create_task(_keep_warm(provider)) for provider in providers]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _keep_warm(provider: Provider) -> None:
    """Fetch metadata and keys before a sign-in has to, and say once when that stops or starts to work."""
    was_well: bool | None = None
    while True:
        failure: BrokerError | None = None
        try:
            await provider.discovery.keep_warm()
        except BrokerError as error:
            failure = error
        except Exception as defect:  # noqa: BLE001 - the last net: a defect must not end the keeping warm
            _log.error("defect", exc_info=defect, extra={"facts": {"provider": provider.id}})
            failure = InternalError()
        failure = failure or provider.discovery.metadata.failure or provider.discovery.keys.failure
        if failure is None and was_well is not True:
            _log.info("identity provider is ready", extra={"facts": {"provider": provider.id}})
        elif failure is not None and was_well is not False:
            facts = {"provider": provider.id, "code": failure.code, "expected": failure.expected, "got": failure.got}
            _log.error("identity provider is not usable", extra={"facts": {**facts, "remedy": failure.remedy}})
        was_well = failure is None
        await asyncio.sleep(WARMTH_SECONDS)


def _sender(settings: Settings, provider: ProviderSettings, clients: Mapping[NetworkPolicy, HttpClient]) -> Send:
    network = network_policy_of(settings, provider)
    return ProviderClient(clients[network], private_networks=network.private_networks).send
