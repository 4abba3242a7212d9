"""An admin's folder: secrets in files, and a settings file that is right until a test changes it.

Knows the keys. Knows nothing of how they are read.
"""

import copy
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from broker.errors import Mistake, SettingsError
from broker.settings import Settings, load_settings

RIGHT: Mapping[str, Any] = {
    "public_url": "https://sso.acme.example",
    "secret_keys_file": "keys",
    "sites": {
        "main": {
            "endpoint": "https://acme.comm100.com/AdminWebService/SSO/SSOJWTConsumer.aspx",
            "shared_secret_file": "shared-secret",
        }
    },
    "identity_providers": {
        "okta": {
            "preset": "oidc",
            "issuer": "https://acme.okta.com",
            "client_id": "0oa1b2c3",
            "client_secret_file": "client-secret",
            "email_domains": ["acme.example"],
        }
    },
}


@dataclass(frozen=True)
class Admin:
    """Writes settings into a folder, and starts the service with them."""

    folder: Path

    def secret(self, name: str, text: str | None = None) -> str:
        """Write a secret into a file of that name, a fresh one by default; return it."""
        text = secrets.token_urlsafe(40) if text is None else text
        (self.folder / name).write_text(text + "\n", encoding="utf-8")
        return text

    def settings(self, *, without: str = "", **changes: Any) -> dict[str, Any]:
        """Return right settings with changes, each named by its path with `__` for the dots."""
        tree = copy.deepcopy(dict(RIGHT))
        for path, value in changes.items():
            section, key = _place(tree, path)
            section[key] = value
        if without:
            section, key = _place(tree, without)
            del section[key]
        return tree

    def write(self, tree: Any) -> Path:
        """Write a settings file: a text as it stands, anything else as YAML."""
        file = self.folder / "broker.yaml"
        file.write_text(tree if isinstance(tree, str) else yaml.safe_dump(tree, sort_keys=False), encoding="utf-8")
        return file

    def load(self, tree: Any, **environ: str) -> Settings:
        """Load these settings."""
        return load_settings(self.write(tree), environ)

    def refused(self, tree: Any, **environ: str) -> tuple[Mistake, ...]:
        """Load settings that cannot be used; return the mistakes."""
        with pytest.raises(SettingsError) as refusal:
            self.load(tree, **environ)
        return refusal.value.mistakes


def _place(tree: dict[str, Any], path: str) -> tuple[dict[str, Any], str]:
    *steps, key = path.split("__")
    for step in steps:
        tree = tree.setdefault(step, {})
    return tree, key
