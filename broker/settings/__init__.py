"""Read the settings from a file and the environment into frozen records, and report all mistakes at once."""

from broker.settings.authorities import AuthoritiesReader, WatchedAuthorities, open_authorities, read_authorities
from broker.settings.changes import Changes, changes_between, digests_of
from broker.settings.load import SettingsSource, check_settings, load_settings
from broker.settings.messages import describe, list_mistakes
from broker.settings.model import Settings, SiteSettings, insecure_options, secret_files
from broker.settings.provider import ProviderSettings
from broker.settings.secrets import NO_PROXY, Fingerprint, Secret
from broker.settings.values import Listen

__all__ = [
    "NO_PROXY",
    "AuthoritiesReader",
    "Changes",
    "Fingerprint",
    "Listen",
    "ProviderSettings",
    "Secret",
    "Settings",
    "SettingsSource",
    "SiteSettings",
    "WatchedAuthorities",
    "changes_between",
    "check_settings",
    "describe",
    "digests_of",
    "insecure_options",
    "list_mistakes",
    "load_settings",
    "open_authorities",
    "read_authorities",
    "secret_files",
]
