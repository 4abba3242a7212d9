"""Read and check the settings, and the rules between their sections, which hold for the tree as written."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from broker.errors import Mistake, SettingsError
from broker.identity import is_host_name
from broker.oidc.network import is_loopback
from broker.settings import sources
from broker.settings.messages import mistakes_found
from broker.settings.model import Settings
from broker.settings.secrets import Fingerprint, fingerprint
from broker.settings.sources import shown_key
from broker.settings.values import InvalidValue, ValidationContext, check_url


@dataclass(frozen=True, slots=True)
class SettingsSource:
    """The place of the settings.

    Args:
        file: None if all settings are in the environment.
    """

    file: Path | None
    environ: Mapping[str, str] = field(repr=False)

    def load(self) -> Settings:
        """Read and check the settings.

        Raises:
            SettingsError: with every mistake; no mistake holds a secret.
        """
        return load_settings(self.file, self.environ)

    def fingerprint(self) -> Fingerprint | None:
        """Return what differs after the file changed; None without a file."""
        return fingerprint(self.file) if self.file else None


_REQUIRED = frozenset({"public_url", "sites", "identity_providers"})  # without these, the admin may have meant a file


def load_settings(path: Path | None, environ: Mapping[str, str]) -> Settings:
    """Read and check the settings file, if there is one, and the variables that begin with `BROKER_`.

    Raises:
        SettingsError: with every mistake; no mistake holds a secret.
    """
    written = sources.read(path, environ)
    if not written.readable:
        raise SettingsError(written.mistakes)
    checked = _check(written, path.absolute().parent if path else Path.cwd())
    if isinstance(checked, Settings):
        return checked
    if not (path or written.tree or written.mistakes):
        raise SettingsError((_no_settings_file(),))  # every required key would be missing, too
    no_file = () if path or written.tree.keys() >= _REQUIRED else (_no_settings_file(),)
    raise SettingsError((*no_file, *checked))


def check_settings(tree: Mapping[str, Any], folder: Path) -> Settings:
    """Check settings that are not written yet, as if a file held them.

    Args:
        tree: as YAML gives it.
        folder: where relative paths start.

    Raises:
        SettingsError: with every mistake; no mistake holds a secret.
    """
    checked = _check(sources.Written(dict(tree), {}, {}, (), readable=True), folder)
    if isinstance(checked, Settings):
        return checked
    raise SettingsError(checked)


def _check(written: sources.Written, folder: Path) -> Settings | tuple[Mistake, ...]:
    context = ValidationContext(folder, on_loopback=_on_loopback(written.tree.get("public_url")))
    mistakes = (*written.mistakes, *_domains_claimed_twice(written.tree), *_unknown_providers(written.tree))
    try:
        settings = Settings.model_validate(written.tree, context=context)
    except ValidationError as error:
        return (*mistakes_found(error, written), *mistakes)
    return mistakes or settings


def _no_settings_file() -> Mistake:
    problem = (
        f"there is none: {Path.cwd()} has no broker.yaml, and neither --config nor BROKER_CONFIG names one. "
        "broker init writes it"
    )
    return Mistake("settings file", problem, "broker init")


def _on_loopback(public_url: Any) -> bool:
    if not isinstance(public_url, str):
        return True  # the model reports public_url; a loopback mistake would be a guess
    try:
        return is_loopback(check_url(public_url, query=True).hostname or "")
    except InvalidValue:
        return True


def _domains_claimed_twice(tree: Mapping[str, Any]) -> Iterator[Mistake]:
    if tree.get("shared_email_domains") is True:
        return
    owners: dict[str, str] = {}
    for identifier, provider in _sections(tree, "identity_providers"):
        for domain in filter(is_host_name, dict.fromkeys(_texts(provider.get("email_domains")))):
            owner = owners.setdefault(domain, identifier)
            if owner != identifier:
                yield Mistake(
                    f"identity_providers.{identifier}.email_domains",
                    f"names {domain}, which belongs to {owner}: each could sign in people of the other",
                    "name each domain at one provider, or set shared_email_domains: true",
                )


def _unknown_providers(tree: Mapping[str, Any]) -> Iterator[Mistake]:
    known = [identifier for identifier, _ in _sections(tree, "identity_providers") if identifier[0] != "("]
    for identifier, site in _sections(tree, "sites"):
        for index, provider in enumerate(_texts(site.get("identity_providers"))):
            if provider not in known:
                yield Mistake(
                    f"sites.{identifier}.identity_providers[{index}]",
                    "names no identity provider of these settings",
                    f"identity_providers: [{', '.join(known) or 'okta'}]",
                )


def _sections(tree: Mapping[str, Any], key: str) -> list[tuple[str, Mapping[str, Any]]]:
    sections = tree.get(key)
    if not isinstance(sections, Mapping):
        return []
    return [(shown_key(key), section) for key, section in sections.items() if isinstance(section, Mapping)]


def _texts(values: Any) -> list[str]:
    return [value for value in values if isinstance(value, str)] if isinstance(values, list) else []
