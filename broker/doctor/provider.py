"""One identity provider under examination: which check comes after which, and what rests on what.

A cause comes before its consequences: what an earlier trouble makes pointless is not tried. Above all, no credential
goes to an address that a document of the wrong issuer names.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date

from broker.doctor.connection import look_up, shake_hands
from broker.doctor.documents import (
    announced_methods,
    check_issuer,
    check_metadata,
    check_provider_keys,
    compare_clocks,
    fetch_discovery,
)
from broker.doctor.finding import Begin, Finding, Round, Trouble, unknown, worst_first
from broker.doctor.redirects import check_redirect_uri, check_sign_out_uri
from broker.doctor.registration import check_client_authentication, check_expiry
from broker.oidc.client import NetworkPolicy
from broker.oidc.messages import read_json_object
from broker.oidc.metadata import ProviderMetadata
from broker.providers import Provider

_ONLINE = (
    "dns", "tls", "discovery", "issuer", "metadata", "keys", "clock", "client_authentication", "redirect_uri",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class ProviderPatient:
    """One provider to examine, enabled or not.

    Args:
        provider: as a sign-in has it.
        network: how far its client goes.
        client_secret_expires: by the admin's word.
    """

    provider: Provider
    network: NetworkPolicy
    client_secret_expires: date | None


async def examine_provider(
    patient: ProviderPatient, *, offline: bool, clock: Callable[[], float], begin: Begin
) -> list[Finding]:
    """Examine one provider.

    Args:
        patient: the provider.
        offline: only what needs no network.
        clock: seconds since the epoch.
        begin: told of each check.
    """
    provider = patient.provider
    checks = Round(provider.id, begin, guide=provider.preset.guide)
    if not offline:
        try:
            metadata, announced = await _ask_documents(checks, patient, clock)
            await _ask_registration(checks, patient, metadata, announced)
        except Trouble:
            checks.not_tried(_ONLINE)
    checks.note("client_secret_expiry", check_expiry(provider, patient.client_secret_expires, clock=clock))
    return worst_first(checks.findings)


async def _ask_documents(
    checks: Round, patient: ProviderPatient, clock: Callable[[], float]
) -> tuple[ProviderMetadata, list[str]]:
    """Return the metadata, and the ways of client authentication announced in it."""
    provider, network = patient.provider, patient.network
    way = await checks.ask("dns", look_up(provider.registration.metadata_url or provider.registration.issuer, network))
    await checks.ask("tls", shake_hands(way, network))
    document = await checks.ask("discovery", fetch_discovery(provider, network))
    checks.note("clock", compare_clocks(document, clock))
    checks.judge("issuer", lambda: check_issuer(provider, document))
    metadata = checks.judge("metadata", lambda: check_metadata(provider, document))
    return metadata, announced_methods(read_json_object(document.body))


async def _ask_registration(
    checks: Round, patient: ProviderPatient, metadata: ProviderMetadata, announced: list[str]
) -> None:
    """Ask for the keys at the same time; what became of our client id tells more about a credential that is refused."""
    about = patient.provider, patient.network, metadata

    async def keys() -> None:
        with contextlib.suppress(Trouble):  # noted
            await checks.ask("keys", check_provider_keys(*about))

    async def registration() -> None:
        knows_client_id: bool | None = None
        # The browser goes there, not we: that this machine gets no answer means little.
        with contextlib.suppress(Trouble):
            knows_client_id = await checks.ask("redirect_uri", check_redirect_uri(*about), late=unknown)
        await asyncio.gather(credential(knows_client_id=knows_client_id), signing_out())

    async def credential(*, knows_client_id: bool | None) -> None:
        with contextlib.suppress(Trouble):
            asked = check_client_authentication(*about, announced, knows_client_id=knows_client_id)
            await checks.ask("client_authentication", asked)

    async def signing_out() -> None:
        if metadata.end_session_endpoint is not None:
            with contextlib.suppress(Trouble):
                asked = check_sign_out_uri(patient.provider, patient.network, metadata.end_session_endpoint)
                await checks.ask("redirect_uri", asked, late=unknown)

    await asyncio.gather(keys(), registration())
