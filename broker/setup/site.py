"""One Comm100 site: the two addresses its Control Panel asks for, and what has to agree with it."""

from __future__ import annotations

from broker.checks import fingerprint
from broker.comm100 import CONTROL_PANEL_MENU, Site
from broker.setup.record import Command, SiteSetup, Value

CONTROL_PANEL = f"Comm100: {CONTROL_PANEL_MENU}"
COMPARE = Command(
    "Fingerprint of another copy of the shared secret",
    "read -rs SECRET   # paste it, then press Enter: nothing is shown\n"
    'printf %s "$SECRET" | sha256sum | cut -c1-8; unset SECRET',
)


def setup_of_site(site: Site, *, public_url: str, only: bool) -> SiteSetup:
    """Return what to enter in Comm100 for a site.

    Args:
        site: with its endpoint and shared secret; the secret itself is not in what is returned.
        public_url: where browsers reach the broker.
        only: there is no other site, so that the addresses need not name it.
    """
    which = "" if only else f"/{site.id}"
    secret = site.shared_secret()
    return SiteSetup(
        id=site.id,
        values=(
            Value("Remote Login URL", f"{public_url}/login{which}", CONTROL_PANEL),
            Value("Remote Logout URL", f"{public_url}/logout{which}", CONTROL_PANEL),
        ),
        endpoint=site.endpoint,
        delivery=site.delivery,
        secret_length=len(secret.encode()),
        secret_fingerprint=fingerprint(secret),
        compare=COMPARE,
    )
