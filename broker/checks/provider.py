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

from broker.checks.connection import look_up, shake_hands
from broker.checks.documents import (
    announced_methods,
    check_issuer,
    check_metadata,
    check_provider_keys,
    compare_clocks,
    fetch_discovery,
)
from broker.checks.finding import Begin, CheckFailed, CheckRun, Finding, unknown, worst_first
from broker.checks.redirects import check_redirect_uri, check_sign_out_uri
from broker.checks.registration import check_client_authentication, check_expiry
from broker.oidc.client import NetworkPolicy
from broker.oidc.messages import read_json_object
from broker.oidc.metadata import ProviderMetadata
from broker.providers import Provider

_ONLINE = (
    "dns", "tls", "discovery", "issuer", "metadata", "keys", "clock", "client_authentication", "redirect_uri",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class ProviderTarget:
    """One provider to examine, enabled or not.

    Args:
        provider: as a sign-in has it.
        network: how far its client goes.
        client_secret_expires: by the admin's word.
    """

    provider: Provider
    network: NetworkPolicy
    client_secret_expires: date | None


async def check_provider(
    target: ProviderTarget, *, offline: bool, clock: Callable[[], float], begin: Begin
) -> list[Finding]:
    """Examine one provider.

    Args:
        target: the provider.
        offline: only what needs no network.
        clock: seconds since the epoch.
        begin: told of each check.
    """
    provider = target.provider
    checks = CheckRun(provider.id, begin, guide=provider.preset.guide)
    if not offline:
        try:
            metadata, announced = await _ask_documents(checks, target, clock)
            await _ask_registration(checks, target, metadata, announced)
        except CheckFailed:
            checks.not_tried(_ONLINE)
    checks.note("client_secret_expiry", check_expiry(provider, target.client_secret_expires, clock=clock))
    return worst_first(checks.findings)


async def _ask_documents(
    checks: CheckRun, target: ProviderTarget, clock: Callable[[], float]
) -> tuple[ProviderMetadata, list[str]]:
    """Return the metadata, and the ways of client authentication announced in it."""
    provider, network = target.provider, target.network
    way = await checks.ask("dns", look_up(provider.registration.metadata_url or provider.registration.issuer, network))
    await checks.ask("tls", shake_hands(way, network))
    document = await checks.ask("discovery", fetch_discovery(provider, network))
    checks.note("clock", compare_clocks(document, clock))
    checks.judge("issuer", lambda: check_issuer(provider, document))
    metadata = checks.judge("metadata", lambda: check_metadata(provider, document))
    return metadata, announced_methods(read_json_object(document.body))


async def _ask_registration(
    checks: CheckRun, target: ProviderTarget, metadata: ProviderMetadata, announced: list[str]
) -> None:
    """Ask for the keys at the same time; what became of our client id tells more about a credential that is refused."""
    about = target.provider, target.network, metadata

    async def keys() -> None:
        with contextlib.suppress(CheckFailed):  # noted
            await checks.ask("keys", check_provider_keys(*about))

    async def registration() -> None:
        knows_client_id: bool | None = None
        # The browser goes there, not we: that this machine gets no answer means little.
        with contextlib.suppress(CheckFailed):
            knows_client_id = await checks.ask("redirect_uri", check_redirect_uri(*about), late=unknown)
        await asyncio.gather(credential(knows_client_id=knows_client_id), signing_out())

    async def credential(*, knows_client_id: bool | None) -> None:
        with contextlib.suppress(CheckFailed):
            asked = check_client_authentication(*about, announced, knows_client_id=knows_client_id)
            await checks.ask("client_authentication", asked)

    async def signing_out() -> None:
        if metadata.end_session_endpoint is not None:
            with contextlib.suppress(CheckFailed):
                asked = check_sign_out_uri(target.provider, target.network, metadata.end_session_endpoint)
                await checks.ask("redirect_uri", asked, late=unknown)

    await asyncio.gather(keys(), registration())
