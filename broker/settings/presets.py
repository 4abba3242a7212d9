"""The kinds of identity providers this version knows, and what each takes for granted.

One row per preset. It owns defaults, not behaviour: quirks belong to `broker.providers`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Preset:
    """A kind of provider.

    Args:
        needs: keys without a default that must be given.
        defaults: values of keys that are not given.
    """

    needs: tuple[str, ...]
    defaults: Mapping[str, object]


PRESETS: Mapping[str, Preset] = {
    "oidc": Preset(
        needs=("issuer", "client_id", "email_domains"),
        defaults={
            "client_authentication": "client_secret_basic",
            "scopes": ["openid", "email", "profile"],
            "signing_algorithms": ["RS256"],
            "userinfo": "always",
        },
    ),
}

LATER_PRESETS = frozenset({"okta", "entra", "google"})
LATER_KEYS = frozenset({"private_key", "private_key_file", "tenant", "tenants"})
LATER_CLIENT_AUTHENTICATION = frozenset({"private_key_jwt"})
