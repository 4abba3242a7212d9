"""The kinds of identity providers there are, and what each takes for granted.

One row per preset. It owns defaults, not behaviour: quirks belong to `broker.providers`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

_SCOPES = ["openid", "email", "profile"]
_ALGORITHMS = ["RS256"]


@dataclass(frozen=True, slots=True)
class Preset:
    """A kind of provider.

    Args:
        needs: keys without a default that must be given.
        defaults: values of keys that are not given.
        has_tenants: one of `tenant` and `tenants` must be given, and the issuer is made of it.
        private_key_algorithm: what a private key signs with; None: by the key's type.
        wants_certificate: the certificate must be beside the private key.
    """

    needs: tuple[str, ...]
    defaults: Mapping[str, object]
    has_tenants: bool = False
    private_key_algorithm: str | None = None
    wants_certificate: bool = False


PRESETS: Mapping[str, Preset] = {
    "oidc": Preset(
        needs=("issuer", "client_id", "email_domains"),
        defaults={
            "client_authentication": "client_secret_basic",
            "scopes": _SCOPES,
            "signing_algorithms": _ALGORITHMS,
            "userinfo": "always",
        },
    ),
    "okta": Preset(
        needs=("issuer", "client_id", "email_domains"),
        defaults={
            "client_authentication": "client_secret_basic",
            "scopes": _SCOPES,
            "signing_algorithms": _ALGORITHMS,
            "userinfo": "always",  # Okta's ID tokens hold neither e-mail nor name in the code flow
        },
    ),
    "entra": Preset(
        needs=("client_id", "email_domains"),
        defaults={
            "client_authentication": "client_secret_post",
            "scopes": _SCOPES,
            "signing_algorithms": _ALGORITHMS,
            "userinfo": "when_needed",
        },
        has_tenants=True,
        # https://learn.microsoft.com/en-us/entra/identity-platform/certificate-credentials
        private_key_algorithm="PS256",
        wants_certificate=True,
    ),
    "google": Preset(
        needs=("client_id", "email_domains"),
        defaults={
            "issuer": "https://accounts.google.com",
            "client_authentication": "client_secret_post",
            "scopes": _SCOPES,
            "signing_algorithms": _ALGORITHMS,
            "userinfo": "when_needed",
        },
    ),
}
