"""Runs the checks of the settings: once for `broker check`, again and again in a running service."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import replace
from importlib import import_module
from types import MappingProxyType
from typing import TYPE_CHECKING

from broker.oidc.client import ClientFactory, HttpClient, NetworkPolicy, ProviderClient, TlsContext, open_client
from broker.oidc.discovery import Clock
from broker.settings import Settings, insecure_options
from broker.web.cooldown import MAX_SECONDS, CheckRun, Cooldown
from broker.wiring import network_policies, network_policy_of_browsers, wire_provider, wire_site

if TYPE_CHECKING:
    from broker import checks

PROVIDERS_AT_ONCE = 20  # hundreds of answers at the same instant would hold up sign-ins


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
            network: ProviderClient(clients[network] if network in clients else await opened(network), network).send
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


def service_checks(
    settings: Settings,
    *,
    http: ClientFactory,
    clients: Mapping[NetworkPolicy, HttpClient],
    context: TlsContext,
    clock: Clock,
    on_end: Callable[[CheckRun], None],
) -> Cooldown:
    """Return the checks of a running service, by its own clients.

    Args:
        clients: open ones; `http` opens those that are missing.
        clock: seconds since the epoch.
        on_end: called with each complete run.
    """

    async def run() -> tuple[checks.Finding, ...]:
        # Loaded in a thread at the first run: agents sign in meanwhile, and most runs come hours after the start.
        await asyncio.to_thread(import_module, "broker.checks")
        return await run_checks(
            settings,
            offline=False,
            begin=lambda _subject, _check: None,
            http=http,
            clock=clock,
            clients=clients,
            context=context,
        )

    turns = math.ceil(len(settings.identity_providers) / PROVIDERS_AT_ONCE)
    return Cooldown(run, max_seconds=turns * MAX_SECONDS, clock=clock, on_end=on_end)
