"""From settings to the records that sign-ins use: one identity provider, one site.

It reads settings and opens nothing: what sends requests is an argument.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from urllib.parse import urlsplit

from broker.comm100 import Site
from broker.errors import ProviderUnreachable
from broker.oidc.cached import Clock, Sleep
from broker.oidc.client import NetworkPolicy
from broker.oidc.client_assertion import build_client_assertion
from broker.oidc.discovery import Discovery, Send
from broker.oidc.messages import ProviderRequest, ProviderResponse
from broker.oidc.registration import Registration
from broker.policy import Policy
from broker.providers import KINDS, ClaimRules, Provider
from broker.settings import NO_PROXY, ProviderSettings, Settings, SiteSettings


def network_policy_of(settings: Settings, provider: ProviderSettings) -> NetworkPolicy:
    """Return what requests to a provider may reach, and by which way.

    Args:
        settings: checked.
        provider: one of theirs.
    """
    return NetworkPolicy(
        trusted_ca_file=settings.trusted_ca_file,
        outbound_proxy=_proxy_of(settings, provider),
        private_networks=provider.allow_private_network or settings.on_loopback,
    )


def reach_of_browsers(settings: Settings) -> NetworkPolicy:
    """Return what requests to Comm100 and to ourselves may reach: browsers go there, so a private address is fine.

    Args:
        settings: checked.
    """
    proxy = settings.outbound_proxy
    return NetworkPolicy(settings.trusted_ca_file, proxy.reveal if proxy else None, private_networks=True)


def _proxy_of(settings: Settings, provider: ProviderSettings) -> Callable[[], str] | None:
    proxy = provider.outbound_proxy or settings.outbound_proxy
    return None if proxy is None or proxy.reveal() == NO_PROXY else proxy.reveal


async def send_nothing(request: ProviderRequest) -> ProviderResponse:
    """Refuse to send: for a provider that is only looked at.

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
) -> Provider:
    """Return one identity provider, switched on or not.

    Args:
        settings: checked.
        identifier: of one of their providers.
        send: its client.
        clock: seconds since the epoch.
        sleep: waits a moment before keys are asked for once more.
    """
    provider = settings.identity_providers[identifier]
    registration = _registration(settings, identifier, provider, clock)
    return Provider(
        id=identifier,
        label=provider.label,
        preset=KINDS[provider.preset],
        registration=registration,
        policy=Policy(frozenset(provider.email_domains), frozenset(provider.allowed_groups or ())),
        rules=ClaimRules(
            email_claim=provider.email_claim or "email",
            name_claim=provider.name_claim or "name",
            trust_unverified_email=provider.trust_unverified_email,
            email_domains=frozenset(provider.email_domains),
            tenants=frozenset(provider.tenants or ()),
        ),
        userinfo=provider.userinfo,
        groups_claim=provider.groups_claim,
        discovery=Discovery(registration, send, clock, sleep),
        send=send,
    )


def _registration(settings: Settings, identifier: str, provider: ProviderSettings, clock: Clock) -> Registration:
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
    )


def _client_assertion(provider: ProviderSettings, clock: Clock) -> Callable[[str], str] | None:
    """Return what makes the assertion for an audience: signed by our key, or the platform's own token as it is."""
    token, private_key = provider.federated_token, provider.private_key
    if token is not None:
        return lambda _audience: token.reveal()
    if private_key is not None:
        return lambda audience: build_client_assertion(
            private_key.reveal(), client_id=provider.client_id, audience=audience, now=clock()
        )
    return None


def sites_of(settings: Settings, provider: str) -> tuple[str, ...]:
    """Return the ids of the sites where a provider is offered, or will be once it is switched on.

    Args:
        settings: checked.
        provider: its id.
    """
    return tuple(id_ for id_, site in settings.sites.items() if provider in _providers_of(settings, site))


def wire_site(settings: Settings, identifier: str) -> Site:
    """Return one Comm100 site.

    Args:
        settings: checked.
        identifier: of one of their sites.
    """
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
