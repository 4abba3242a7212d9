"""All subjects at once: the settings, then every identity provider, then every site."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from dataclasses import dataclass

from broker.checks.finding import Begin, Finding
from broker.checks.provider import ProviderTarget, check_provider
from broker.checks.site import PublicClient, SiteTarget, check_settings_section, check_site


@dataclass(frozen=True, slots=True)
class Targets:
    """Everything there is to examine.

    Args:
        public_url: where browsers reach the broker.
        public_client: asks it.
        insecure_options: every protection that is switched off, by name.
        providers: in the order of the settings, enabled or not.
        sites: in the order of the settings.
    """

    public_url: str
    public_client: PublicClient
    insecure_options: tuple[str, ...]
    providers: tuple[ProviderTarget, ...]
    sites: tuple[SiteTarget, ...]


async def run_all(targets: Targets, *, offline: bool, clock: Callable[[], float], begin: Begin) -> tuple[Finding, ...]:
    """Examine everything, subjects side by side; the findings come in the order of the subjects.

    Args:
        targets: what to examine.
        offline: only what needs no network.
        clock: seconds since the epoch.
        begin: told of each check as it begins.
    """
    groups = await asyncio.gather(
        check_settings_section(
            targets.public_url,
            targets.public_client,
            insecure_options=targets.insecure_options,
            offline=offline,
            begin=begin,
        ),
        *(check_provider(one, offline=offline, clock=clock, begin=begin) for one in targets.providers),
        *(check_site(one, offline=offline, begin=begin) for one in targets.sites),
    )
    return tuple(itertools.chain.from_iterable(groups))
