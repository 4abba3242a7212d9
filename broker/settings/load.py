"""The only way in: `load_settings`, and `check_settings` for what is not written yet.

It owns the order of reading, checking and reporting; each of these lives next door.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from broker.errors import Mistake, SettingsError
from broker.oidc.network import is_loopback
from broker.settings import addresses, sources
from broker.settings.findings import mistakes_found
from broker.settings.invalid_value import InvalidValue
from broker.settings.model import Settings
from broker.settings.rules import mistakes_between_sections
from broker.settings.section import ValidationContext

_REQUIRED = frozenset({"public_url", "sites", "identity_providers"})  # where one is missing, a file may have been meant


def load_settings(path: Path | None, environ: Mapping[str, str]) -> Settings:
    """Read and check the settings.

    Args:
        path: the settings file; None when everything is in the environment.
        environ: the environment; only names that begin with `BROKER_` are looked at.

    Raises:
        SettingsError: with every mistake found, none of which holds a secret.
    """
    written = sources.read(path, environ)
    if not written.readable:
        raise SettingsError(written.mistakes)
    judged = _judged(written, path.absolute().parent if path else Path.cwd())
    if isinstance(judged, Settings):
        return judged
    if not (path or written.tree or written.mistakes):
        raise SettingsError((_no_settings_file(),))  # what the file would have to hold is not what is wrong
    no_file = () if path or written.tree.keys() >= _REQUIRED else (_no_settings_file(),)
    raise SettingsError((*no_file, *judged))


def check_settings(tree: Mapping[str, Any], folder: Path) -> Settings:
    """Check settings that are not written yet, as if they stood in a file.

    Args:
        tree: keys and values as YAML would give them.
        folder: where the file would be: relative paths start there.

    Raises:
        SettingsError: with every mistake found, none of which holds a secret.
    """
    judged = _judged(sources.Written(dict(tree), {}, {}, (), readable=True), folder)
    if isinstance(judged, Settings):
        return judged
    raise SettingsError(judged)


def _judged(written: sources.Written, folder: Path) -> Settings | tuple[Mistake, ...]:
    context = ValidationContext(folder, on_loopback=_on_loopback(written.tree.get("public_url")))
    event = _checked(written, context)
    mistakes = (*written.mistakes, *mistakes_between_sections(written.tree))
    if isinstance(event, Settings):
        return mistakes or event
    return (*event, *mistakes)


def _no_settings_file() -> Mistake:
    problem = (
        f"there is none: {Path.cwd()} has no broker.yaml, and neither --config nor BROKER_CONFIG names one. "
        "broker init writes it"
    )
    return Mistake("settings file", problem, "broker init")


def _checked(written: sources.Written, context: ValidationContext) -> Settings | tuple[Mistake, ...]:
    try:
        return Settings.model_validate(written.tree, context=context)
    except ValidationError as error:
        return mistakes_found(error, written)


def _on_loopback(public_url: Any) -> bool:
    if not isinstance(public_url, str):
        return True  # it is reported as it is; what depends on it cannot be judged
    try:
        return is_loopback(addresses.url(public_url, query=True).hostname or "")
    except InvalidValue:
        return True
