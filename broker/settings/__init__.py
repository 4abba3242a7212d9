"""Read the settings from a file and the environment into frozen records, and report all mistakes at once."""

from broker.settings.load import check_settings, load_settings
from broker.settings.messages import describe, list_mistakes
from broker.settings.model import Settings, SiteSettings, insecure_options, secret_files
from broker.settings.provider import ProviderSettings
from broker.settings.secrets import NO_PROXY, Secret
from broker.settings.values import Listen

__all__ = [
    "NO_PROXY",
    "Listen",
    "ProviderSettings",
    "Secret",
    "Settings",
    "SiteSettings",
    "check_settings",
    "describe",
    "insecure_options",
    "list_mistakes",
    "load_settings",
    "secret_files",
]
