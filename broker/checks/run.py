"""Run all checks: settings, identity providers and sites, side by side.

A check that needs the result of a failed check does not run. No credential goes to an address from a discovery document
of another issuer.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import date
from urllib.parse import urlsplit

from broker.checks.finding import Begin, Finding, not_tried, worst_first
from broker.checks.provider import Documents, check_clock, check_documents, check_provider_keys, topic_of
from broker.checks.reach import no_answer, note_certificates, with_other_hosts
from broker.checks.registration import (
    check_client_authentication,
    check_expiry,
    check_redirect_uri,
    check_sign_out_uri,
)
from broker.checks.site import PublicClient, check_settings_section, check_site
from broker.comm100 import Site
from broker.errors import BrokerError
from broker.oidc.metadata import ProviderMetadata, build_discovery_request
from broker.providers import Provider

_ONLINE = (
    "dns", "tls", "discovery", "issuer", "metadata", "keys", "clock", "client_authentication", "redirect_uri",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class ProviderTarget:
    """One provider to check, enabled or not."""

    provider: Provider
    proxied: bool
    client_secret_expires: date | None


@dataclass(frozen=True, slots=True)
class Targets:
    """Everything to check; `public_client` requests `public_url` and the endpoints of the sites."""

    public_url: str
    public_client: PublicClient
    insecure_options: tuple[str, ...]
    providers: tuple[ProviderTarget, ...]
    sites: tuple[Site, ...]


async def run_all(
    targets: Targets, *, offline: bool, clock: Callable[[], float], begin: Begin, at_once: int
) -> tuple[Finding, ...]:
    """Check everything; return the findings by subject, failed ones first.

    Args:
        offline: run only the checks that need no network.
        clock: seconds since the epoch.
        at_once: how many providers are checked at the same time.
    """
    client, places = targets.public_client, asyncio.Semaphore(at_once)

    async def check_in_turn(target: ProviderTarget) -> list[Finding]:
        async with places:
            return await _check_provider(target, offline=offline, clock=clock, begin=begin)

    groups = await asyncio.gather(
        check_settings_section(
            targets.public_url, client, insecure_options=targets.insecure_options, offline=offline, begin=begin
        ),
        *map(check_in_turn, targets.providers),
        *(check_site(site, client, offline=offline, begin=begin) for site in targets.sites),
    )
    return tuple(itertools.chain.from_iterable(map(worst_first, groups)))


async def _check_provider(
    target: ProviderTarget, *, offline: bool, clock: Callable[[], float], begin: Begin
) -> list[Finding]:
    ends: dict[str, float] = {}
    provider = replace(target.provider, send=note_certificates(target.provider.send, ends))
    findings: list[Finding] = []
    if not offline:
        begin(provider.id, "discovery")
        documents = await check_documents(provider, proxied=target.proxied)
        findings += documents.findings
        if documents.answer is not None and documents.document is not None:
            findings.append(check_clock(provider, documents.answer, clock))
        if (metadata := documents.metadata) is not None:
            begin(provider.id, "keys")
            keys, registered = await asyncio.gather(
                check_provider_keys(provider, metadata), _check_registration(provider, documents, metadata, begin)
            )
            findings += [keys, *registered]
        request = build_discovery_request(provider.registration.issuer, provider.registration.metadata_url)
        findings = with_other_hosts(findings, ends, first_host=urlsplit(request.url).hostname or "")
        findings += not_tried(provider.id, _ONLINE, findings, guide=provider.kind.guide)
    findings.append(check_expiry(provider, target.client_secret_expires, clock=clock))
    return findings


async def _check_registration(
    provider: Provider, documents: Documents, metadata: ProviderMetadata, begin: Begin
) -> list[Finding]:
    """Check the redirect URI first: its answer tells whether the provider knows the client ID."""
    begin(provider.id, "redirect_uri")
    knows_client_id, redirect_uri = await check_redirect_uri(provider, metadata)
    begin(provider.id, "client_authentication")
    checks = [_check_credential(provider, metadata, documents.announced, knows_client_id)]
    if metadata.end_session_endpoint is not None:
        checks.append(check_sign_out_uri(provider, metadata.end_session_endpoint))
    return [redirect_uri, *await asyncio.gather(*checks)]


async def _check_credential(
    provider: Provider, metadata: ProviderMetadata, announced: list[str], knows_client_id: bool | None
) -> Finding:
    try:
        return await check_client_authentication(provider, metadata, announced, knows_client_id=knows_client_id)
    except BrokerError as error:
        return no_answer(topic_of(provider, "client_authentication"), metadata.token_endpoint, error)
