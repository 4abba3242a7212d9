"""The settings: the only reader of files and environment; frozen records out, all mistakes at once.

It owns what an admin may write and how it is refused. It knows nothing of the web, of the protocol or of Comm100: it
hands out values.
"""

from broker.settings.addresses import Listen
from broker.settings.load import check_settings, load_settings
from broker.settings.model import Settings
from broker.settings.provider import ProviderSettings
from broker.settings.report import describe, insecure_options, list_mistakes, secret_files
from broker.settings.schema import settings_schema
from broker.settings.secret import PrivateKey, Secret, SecretKeys
from broker.settings.section import NO_PROXY
from broker.settings.site import SiteSettings

__all__ = [
    "NO_PROXY",
    "Listen",
    "PrivateKey",
    "ProviderSettings",
    "Secret",
    "SecretKeys",
    "Settings",
    "SiteSettings",
    "check_settings",
    "describe",
    "insecure_options",
    "list_mistakes",
    "load_settings",
    "secret_files",
    "settings_schema",
]
