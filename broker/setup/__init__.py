"""What an admin copies, and where it goes: into the registration at an identity provider, and into Comm100.

It owns the values, the providers' own names for the places they go, and the ready commands. It reads no settings file,
asks nobody, writes no HTML, and holds no secret.
"""

from broker.setup.record import Command, ProviderSetup, SiteSetup, Value
from broker.setup.registration import setup_of_provider
from broker.setup.site import setup_of_site

__all__ = [
    "Command",
    "ProviderSetup",
    "SiteSetup",
    "Value",
    "setup_of_provider",
    "setup_of_site",
]
