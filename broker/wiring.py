"""Makes providers, sites and network policies of the settings, one at a time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from urllib.parse import urlsplit

from broker.capacity import LoopLateness
from broker.comm100 import Site
from broker.errors import ProviderUnreachable
from broker.identity import ClaimRules
from broker.oidc.client import ClientFactory, NetworkPolicy, ProviderClient, TlsContext, open_client
from broker.oidc.client_assertion import build_client_assertion
from broker.oidc.discovery import Clock, Discovery, Send, Sleep
from broker.oidc.health import ProviderHealth
from broker.oidc.messages import ProviderRequest, ProviderResponse
from broker.oidc.registration import Registration, RequiredAuthentication
from broker.providers import KINDS, Provider, ProviderKind
from broker.settings import NO_PROXY, ProviderSettings, Settings, SiteSettings


def network_policy_of(settings: Settings, provider: ProviderSettings) -> NetworkPolicy:
    """Return the network policy for requests to a provider."""
    proxy = provider.outbound_proxy or settings.outbound_proxy
    return NetworkPolicy(
        trusted_ca_file=settings.trusted_ca_file,
        outbound_proxy=None if proxy is None or proxy.reveal() == NO_PROXY else proxy.reveal,
        private_networks=provider.allow_private_network or settings.on_loopback,
    )


def network_policies(settings: Settings, context: TlsContext | None) -> dict[str, NetworkPolicy]:
    """Return the network policy of each provider, by its id; `context` is that of `NetworkPolicy`."""
    return {
        id_: replace(network_policy_of(settings, provider), context=context)
        for id_, provider in settings.identity_providers.items()
    }


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
    kind = KINDS[provider.preset]
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
            **kind.parameters(frozenset(provider.email_domains)),
            **provider.authorization_parameters,
            **_acr_parameters(kind, provider),
        },
        max_age=provider.max_age,
        required_authentication=RequiredAuthentication(
            provider.require_acr or (), provider.require_amr or (), kind.acr_claim
        ),
        allow_loopback=settings.on_loopback,
        metadata_url=provider.metadata_url,
        trusted_audiences=frozenset(provider.trusted_audiences or ()),
        assertion_for_issuer=provider.client_assertion_audience == "issuer",
        credential=credential.reveal if credential else None,
        reread_credential=credential.reread if credential else None,
    )


def _acr_parameters(kind: ProviderKind, provider: ProviderSettings) -> dict[str, str]:
    """Return the request for the authentication contexts required, with the routing hint."""
    asked = dict(kind.acr_parameters(provider.require_acr)) if provider.require_acr else {}
    if provider.unchecked_acr_values is not None:
        asked["acr_values"] = f"{asked.get('acr_values', '')} {provider.unchecked_acr_values}".strip()
    return asked


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


def source_of_documents(provider: Provider, settings: Settings) -> tuple[object, ...]:
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


def email_domains_of(settings: Settings, site: Site) -> frozenset[str]:
    """Return the domains whose addresses the enabled providers of a site may assert."""
    return frozenset(name for id_ in site.provider_ids for name in settings.identity_providers[id_].email_domains)


def _providers_of(settings: Settings, site: SiteSettings) -> tuple[str, ...]:
    return site.identity_providers or tuple(settings.identity_providers)


@asynccontextmanager
async def reach_provider(
    settings: Settings, identifier: str, *, http: ClientFactory = open_client, clock: Clock = time.time
) -> AsyncIterator[Provider]:
    """Open a client for a provider, and yield the provider."""
    provider = settings.identity_providers[identifier]
    network = network_policy_of(settings, provider)
    async with http(network) as client:
        yield wire_provider(settings, identifier, send=ProviderClient(client, network).send, clock=clock)
