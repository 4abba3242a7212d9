"""Settings of every kind and two sites, and what an admin is told to do with them."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import yaml

from broker.registration import ProviderSetup, SiteSetup, setup_of_provider, setup_of_site
from broker.settings import load_settings
from broker.wiring import sites_of, wire_provider, wire_site
from tests.fakes.clock import START

CLIENT_SECRET = "c11ent-s3cr3t-of-the-pr0v1der"
SHARED_SECRET = "NTc4ZDk2YzQtMjU1Mi00YzFhLTk0ZjQtMGE3ZDkyMmQ1ZjE3"
TENANT = "7a0c1b2d-3e4f-4a5b-8c6d-7e8f9a0b1c2d"
ENDPOINT = "https://acme.comm100.com/AdminWebService/SSO/SSOJWTConsumer.aspx"

PROVIDERS: dict[str, dict[str, Any]] = {
    "okta": {"preset": "okta", "issuer": "https://acme.okta.com", "client_id": "0oa1b2c3"},
    "entra": {"preset": "entra", "tenant": TENANT, "client_id": "1f2e3d4c-5b6a-4978-8695-a4b3c2d1e0f9"},
    "google": {"preset": "google", "client_id": "1234567890-abc.apps.googleusercontent.com", "enabled": False},
    "keycloak": {"issuer": "https://id.acme.example/realms/acme", "client_id": "comm100-sso"},
}


def settings(**providers: dict[str, Any]) -> dict[str, Any]:
    """Return settings with two sites; keys given are added to those of the provider named."""
    sections = copy.deepcopy(PROVIDERS)
    for identifier, section in sections.items():
        section |= {"label": f"Acme {identifier}", "email_domains": [f"{identifier}.acme.example"]}
        section |= {"client_secret": CLIENT_SECRET, **providers.get(identifier, {})}
        sections[identifier] = {key: value for key, value in section.items() if value is not None}
    return {
        "public_url": "https://sso.acme.example",
        "secret_keys": ["k1-6f1d0c2b9a8e7f6d5c4b3a2918070605"],
        "sites": {name: {"endpoint": ENDPOINT, "shared_secret": SHARED_SECRET} for name in ("main", "europe")},
        "identity_providers": sections,
    }


def setups(folder: Path, tree: dict[str, Any]) -> tuple[dict[str, ProviderSetup], list[SiteSetup]]:
    """Return what is to be done about each provider and each site of these settings."""
    path = folder / "broker.yaml"
    path.write_text(yaml.safe_dump(tree, sort_keys=False))
    loaded = load_settings(path, {})
    providers = {
        id_: setup_of_provider(
            wire_provider(loaded, id_),
            enabled=section.enabled,
            public_url=loaded.public_url,
            site_ids=sites_of(loaded, id_),
            now=START,
        )
        for id_, section in loaded.identity_providers.items()
    }
    only = len(loaded.sites) == 1
    return providers, [
        setup_of_site(wire_site(loaded, id_), public_url=loaded.public_url, only=only) for id_ in loaded.sites
    ]
