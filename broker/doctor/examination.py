"""All subjects at once: the settings, then every identity provider, then every site."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from dataclasses import dataclass

from broker.doctor.finding import Begin, Finding
from broker.doctor.provider import ProviderPatient, examine_provider
from broker.doctor.site import Asker, SitePatient, examine_ourselves, examine_site


@dataclass(frozen=True, slots=True)
class Patients:
    """Everything there is to examine.

    Args:
        public_url: where browsers reach the broker.
        asker: asks it.
        weakenings: every protection that is switched off, by name.
        providers: in the order of the settings, enabled or not.
        sites: likewise.
    """

    public_url: str
    asker: Asker
    weakenings: tuple[str, ...]
    providers: tuple[ProviderPatient, ...]
    sites: tuple[SitePatient, ...]


async def examine(
    patients: Patients, *, offline: bool, clock: Callable[[], float], begin: Begin
) -> tuple[Finding, ...]:
    """Examine everything, subjects side by side; the findings come in the order of the subjects.

    Args:
        patients: what to examine.
        offline: only what needs no network.
        clock: seconds since the epoch.
        begin: told of each check as it begins.
    """
    groups = await asyncio.gather(
        examine_ourselves(
            patients.public_url, patients.asker, weakenings=patients.weakenings, offline=offline, begin=begin
        ),
        *(examine_provider(one, offline=offline, clock=clock, begin=begin) for one in patients.providers),
        *(examine_site(one, offline=offline, begin=begin) for one in patients.sites),
    )
    return tuple(itertools.chain.from_iterable(groups))
