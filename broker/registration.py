"""What to register: the broker at an identity provider, and the broker's addresses in Comm100's Control Panel.

The setup page and `broker init` show both. No record contains a secret.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from urllib.parse import quote

from broker.checks import fingerprint
from broker.comm100 import CONTROL_PANEL_MENU, Site
from broker.providers import Provider
from broker.providers.kind import Command, ToRegister, Value

CLIENT_SECRET_DAYS = 180  # until a client secret ends that the commands create
CONTROL_PANEL = f"Comm100: {CONTROL_PANEL_MENU}"
COMPARE_SHARED_SECRET = Command(
    "Fingerprint of another copy of the shared secret",
    "read -rs SECRET   # paste it, then press Enter: nothing is shown\n"
    'printf %s "$SECRET" | sha256sum | cut -c1-8; unset SECRET',
)


@dataclass(frozen=True, slots=True)
class ProviderSetup:
    """What to register at one identity provider.

    Args:
        site_ids: the sites that offer the provider, or will once it is enabled.
        values: in the order of the provider's form.
        commands: for the same registration; empty if the provider has no such tool.
    """

    id: str
    label: str
    kind: str
    enabled: bool
    email_domains: tuple[str, ...]
    site_ids: tuple[str, ...]
    values: tuple[Value, ...]
    commands: tuple[Command, ...]
    note: str
    guide: str


@dataclass(frozen=True, slots=True)
class SiteSetup:
    """What to enter in Comm100's Control Panel for one site, and what to compare with it.

    Args:
        secret_length: bytes of the shared secret.
    """

    id: str
    values: tuple[Value, ...]
    endpoint: str
    delivery: str
    secret_length: int
    secret_fingerprint: str
    compare: Command


def setup_of_provider(
    provider: Provider, *, enabled: bool, public_url: str, site_ids: tuple[str, ...], now: float
) -> ProviderSetup:
    """Return what to register at a provider.

    Args:
        now: seconds since the epoch.
    """
    kind, console_paths, registration = provider.kind, provider.console_paths, provider.registration
    last_day = datetime.fromtimestamp(now, UTC) + timedelta(days=CLIENT_SECRET_DAYS)
    start_uri = f"{public_url}/initiate/{provider.id}"
    to_register = ToRegister(
        redirect_uri=registration.redirect_uri,
        post_logout_uri=f"{public_url}/logout",
        start_uri=start_uri,
        home_page=f"{start_uri}?iss={quote(registration.issuer, safe='')}",
        client_secret_end=last_day.strftime("%Y-%m-%d"),
    )
    return ProviderSetup(
        id=provider.id,
        label=provider.label,
        kind=kind.name,
        enabled=enabled,
        email_domains=tuple(sorted(provider.rules.email_domains)),
        site_ids=site_ids,
        values=(
            Value("Redirect URI", to_register.redirect_uri, console_paths.redirect_uri),
            *kind.further_values(provider, to_register),
            Value("Scopes", " ".join(registration.scopes), console_paths.scopes),
            *kind.claim_values(provider),
            Value(
                "Client ID",
                registration.client_id,
                console_paths.client_id,
                "The settings have this one: compare it with the provider's.",
            ),
        ),
        commands=kind.commands(provider, to_register),
        note=kind.registration_note,
        guide=kind.guide,
    )


def setup_of_site(site: Site, *, public_url: str, only: bool) -> SiteSetup:
    """Return what to enter in Comm100 for a site.

    Args:
        only: there is no other site, so that the addresses do not name this site.
    """
    path = "" if only else f"/{site.id}"
    secret = site.shared_secret()
    return SiteSetup(
        id=site.id,
        values=(
            Value("Remote Login URL", f"{public_url}/login{path}", CONTROL_PANEL),
            Value("Remote Logout URL", f"{public_url}/logout{path}", CONTROL_PANEL),
        ),
        endpoint=site.endpoint,
        delivery=site.delivery,
        secret_length=len(secret.encode()),
        secret_fingerprint=fingerprint(secret),
        compare=COMPARE_SHARED_SECRET,
    )
