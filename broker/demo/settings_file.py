"""Writes the settings the demo's broker runs with, as an admin would.

Owns the text of that file and the secrets next to it. Refuses to know how settings are read: the broker reads this file
like any other.
"""

import json
import secrets
from dataclasses import dataclass
from pathlib import Path

_TEXT = """\
# Written by `broker demo`, removed when it ends. A real settings file has the same keys and other values.

public_url: {public_url}       # where browsers reach the broker
secret_keys_file: {keys}
listen: {listen}                  # the public port
operations_listen: {operations}       # health, readiness, metrics
log_email: plain                         # it is a demo: e-mail addresses may be read in the log
support_email: it-desk@{domain}      # offered on error pages

sites:
  main:
    endpoint: {endpoint}
    shared_secret_file: {shared_secret}
    start_url: {start_url}   # where "start again" and "signed out" lead

identity_providers:
  demo:
    preset: oidc
    label: Demo identity provider
    issuer: {issuer}
    client_id: {client_id}
    client_secret_file: {client_secret}
    email_domains: [{domain}]        # the addresses this provider may assert; all others are refused
"""


@dataclass(frozen=True, slots=True)
class Wiring:
    """Everything the broker is told: addresses with scheme, `listen` and `operations` as host:port."""

    public_url: str
    listen: str
    operations: str
    endpoint: str
    start_url: str
    shared_secret: str
    issuer: str
    client_id: str
    client_secret: str
    domain: str


def write_settings(folder: Path, wiring: Wiring) -> Path:
    """Write the settings file and its secrets, readable by their owner only, into the folder; return the file."""
    values = {
        "public_url": wiring.public_url,
        "listen": wiring.listen,
        "operations": wiring.operations,
        "endpoint": wiring.endpoint,
        "start_url": wiring.start_url,
        "issuer": wiring.issuer,
        "client_id": wiring.client_id,
        "domain": wiring.domain,
        "keys": _write_secret(folder / "broker-keys", secrets.token_urlsafe(48)),
        "shared_secret": _write_secret(folder / "comm100-shared-secret", wiring.shared_secret),
        "client_secret": _write_secret(folder / "client-secret", wiring.client_secret),
    }
    file = folder / "broker.yaml"
    file.write_text(_TEXT.format_map(values), encoding="utf-8")
    return file


def _write_secret(file: Path, secret: str) -> str:
    file.touch(mode=0o600)
    file.write_text(secret + "\n", encoding="utf-8")
    return json.dumps(str(file))  # quoted: a path may hold what YAML would read as its own
