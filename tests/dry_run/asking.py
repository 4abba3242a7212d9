"""`broker explain` asked in a folder of a test's own, and what it is asked about."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml
from typer.testing import Result

from tests.fakes import command
from tests.fakes.clock import Clock
from tests.fakes.kinds import TENANT
from tests.fakes.provider import FakeProvider
from tests.fakes.world import section_for, settings_for

ADA = "ada@acme.example"
VERIFIED = {"email": ADA, "email_verified": True, "name": "Ada Lovelace"}
HOSTED = {**VERIFIED, "hd": "acme.example"}

Claims = dict[str, Any]


def run(folder: Path, *arguments: str, stdin: str | bytes = "") -> Result:
    """Run `broker explain` in a folder without the environment's settings."""
    return command.run("explain", *arguments, folder=folder, stdin=stdin)


def write_settings(folder: Path, kind: str = "oidc", **keys: Any) -> None:
    """Write settings with one provider, `idp`, of this kind; `keys` go to it."""
    provider = FakeProvider("https://idp.example", Clock())
    written = settings_for(provider)
    if kind == "entra":
        keys = {"issuer": None, **keys} if "tenants" in keys else {"issuer": None, "tenant": TENANT, **keys}
    written["identity_providers"]["idp"] = section_for(provider, preset=kind, **keys)
    (folder / "broker.yaml").write_text(yaml.safe_dump(written, sort_keys=False), encoding="utf-8")


def explained(folder: Path, claims: Any, *options: str) -> tuple[int, Any]:
    """Return the exit status and the JSON document for claims given on standard input."""
    ended = run(folder, "--idp", "idp", "--claims", "-", "--json", *options, stdin=json.dumps(claims))
    assert ended.exit_code in (0, 1), ended.output
    return ended.exit_code, json.loads(ended.stdout)
