"""The checks of a small world: real settings, real sockets, and the findings."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import yaml

from broker.check_runs import run_checks
from broker.checks import Finding
from broker.settings import load_settings
from tests.fakes.provider import FakeProvider
from tests.fakes.world import SHARED_SECRET, section_for

PUBLIC_URL = "http://127.0.0.1:8000"
REDIRECT_URI = f"{PUBLIC_URL}/callback/idp"
NOWHERE = "https://nowhere.invalid"


def settings_on_loopback(provider: FakeProvider, **keys: Any) -> dict[str, Any]:
    """Return settings with one identity provider; `keys` go to it, None takes one away."""
    section = {name: value for name, value in section_for(provider, **keys).items() if value is not None}
    return {
        "public_url": PUBLIC_URL,
        "secret_keys": ["k1-6f1d0c2b9a8e7f6d5c4b3a2918070605"],
        "sites": {"main": {"endpoint": f"{NOWHERE}/sso", "shared_secret": SHARED_SECRET}},
        "identity_providers": {"idp": section},
    }


async def diagnose(
    folder: Path,
    settings: dict[str, Any],
    *,
    offline: bool = False,
    clock: Callable[[], float] = time.time,
    begun: list[tuple[str, str]] | None = None,
) -> list[Finding]:
    """Examine what these settings name; `begun` gets each check as it begins."""
    path = folder / "broker.yaml"
    path.write_text(yaml.safe_dump(copy.deepcopy(settings), sort_keys=False), encoding="utf-8")
    seen = [] if begun is None else begun
    findings = await run_checks(
        load_settings(path, {}), offline=offline, clock=clock, begin=lambda *check: seen.append(check)
    )
    return list(findings)


def of(findings: Iterable[Finding], subject: str = "idp") -> list[Finding]:
    """Return the findings of one subject, in order."""
    return [one for one in findings if one.subject == subject]


def the(findings: Iterable[Finding], check: str, subject: str = "idp") -> Finding:
    """Return the one finding of a check."""
    [found] = [one for one in of(findings, subject) if one.check == check]
    return found


def assert_first(findings: Iterable[Finding], check: str, status: str, message: str, remedy: str = "") -> None:
    """What is said first about the provider is this, and what failed is explained and has a remedy."""
    mine = of(findings)
    first = mine[0]
    assert (first.check, first.status) == (check, status), first
    assert message in first.message
    assert remedy in first.remedy
    assert all(one.remedy.endswith(".") for one in mine if one.status in ("failed", "warning")), mine
