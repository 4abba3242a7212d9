"""One identity provider: what a registration there has to say, in the order in which it is asked for.

Each kind of provider has a file of its own for what only it has: menus, optional claims and commands.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from urllib.parse import quote

from broker.providers import Provider
from broker.setup import entra, google, keycloak, okta
from broker.setup.record import Command, ProviderSetup, Value, Wanted

CLIENT_SECRET_DAYS = 180  # of a client secret that our commands make


@dataclass(frozen=True, slots=True)
class _Kind:
    """What only one kind of provider has.

    Args:
        further_values: to copy, after the redirect URI and before the scopes.
        claims: what the registration has to say so that the claims come that we judge by.
        commands: which do the registration.
        note: what else there is to know.
    """

    further_values: Callable[[Provider, Wanted], tuple[Value, ...]]
    claims: Callable[[Provider], tuple[Value, ...]]
    commands: Callable[[Provider, Wanted], tuple[Command, ...]]
    note: str


_KINDS: Mapping[str, _Kind] = MappingProxyType(
    {
        "okta": _Kind(okta.further_values, okta.claims, okta.commands, okta.NOTE),
        "entra": _Kind(entra.further_values, entra.claims, entra.commands, entra.NOTE),
        "google": _Kind(google.further_values, google.claims, google.commands, google.NOTE),
        "oidc": _Kind(keycloak.further_values, keycloak.claims, keycloak.commands, keycloak.NOTE),
    }
)


def setup_of_provider(
    provider: Provider, *, enabled: bool, public_url: str, site_ids: tuple[str, ...], now: float
) -> ProviderSetup:
    """Return what to register at a provider.

    Args:
        provider: as configured, switched on or not.
        enabled: whether agents are offered it.
        public_url: where browsers reach the broker.
        site_ids: the sites that offer it, or will once it is enabled.
        now: seconds since the epoch, from which the end of a new client secret is counted.
    """
    kind = _KINDS[provider.preset.name]
    console_paths, registration = provider.console_paths, provider.registration
    last_day = datetime.fromtimestamp(now, UTC) + timedelta(days=CLIENT_SECRET_DAYS)
    start_uri = f"{public_url}/initiate/{provider.id}"
    wanted = Wanted(
        redirect_uri=registration.redirect_uri,
        post_logout_uri=f"{public_url}/logout",
        start_uri=start_uri,
        home_page=f"{start_uri}?iss={quote(registration.issuer, safe='')}",
        by_secret=registration.client_secret is not None,
        client_secret_end=last_day.strftime("%Y-%m-%d"),
    )
    return ProviderSetup(
        id=provider.id,
        label=provider.label,
        preset=provider.preset.name,
        enabled=enabled,
        email_domains=tuple(sorted(provider.policy.email_domains)),
        site_ids=site_ids,
        values=(
            Value("Redirect URI", wanted.redirect_uri, console_paths.redirect_uri),
            *kind.further_values(provider, wanted),
            Value("Scopes", " ".join(registration.scopes), console_paths.scopes),
            *kind.claims(provider),
            Value("Client ID", registration.client_id, console_paths.client_id, "The one in use here: compare it."),
        ),
        commands=kind.commands(provider, wanted),
        note=kind.note,
        guide=provider.preset.guide,
    )
