"""The setup pages of an organisation with every kind of provider, made of examples, for tests and for pictures."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from broker.checks import Finding
from broker.dry_run import Admitted, DryRun, Step
from broker.errors import BrokerError, EmailDomainNotAllowed
from broker.identity import Identity
from broker.providers import ClaimTrace
from broker.web.cooldown import CheckRun
from broker.web.request import LastLoginRequest
from broker.web.setup_pages import SetupLinks, SetupPages
from tests.fakes.admin import run_dry_run
from tests.fakes.clock import START, Clock
from tests.fakes.world import World, section_for
from tests.registration.scene import settings, setups

TOKEN = "eyJleHAiOjE4MDAwMDM2MDB9.aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
URL = "https://sso.acme.example"
LINKS = SetupLinks(URL, TOKEN)
PAGES = SetupPages()
ADA = {"email": "ada@acme.example", "email_from": "email (ID token)", "name": "Ada", "name_from": "name"}


def overview(
    folder: Path,
    *,
    seen: dict[str, LastLoginRequest] | None = None,
    tree: dict[str, Any] | None = None,
    last_check: CheckRun | None = None,
) -> str:
    """Return the setup page of these settings; by default four providers and two sites."""
    providers, sites = setups(folder, tree or settings())
    return PAGES.overview(
        providers=list(providers.values()),
        sites=sites,
        last_seen=seen or {},
        last_check=last_check,
        links=LINKS,
        expires=START + 2520,
        now=START,
    )


def commands(folder: Path, provider: str = "entra") -> str:
    """Return the page with the commands of one provider; by default of the one with most."""
    providers, _ = setups(folder, settings())
    return PAGES.commands(providers[provider], links=LINKS)


def single() -> dict[str, Any]:
    """Return settings with one provider and one site."""
    tree = settings()
    tree["identity_providers"] = {"okta": tree["identity_providers"]["okta"]}
    tree["sites"] = {"main": tree["sites"]["main"]}
    return tree


def finding(subject: str, check: str, status: Any, message: str = "Found.", remedy: str = "") -> Finding:
    """Return one finding of a check."""
    return Finding(subject, check, status, message, remedy, f"docs/admin/check.md#{check}")


def run_of(findings: Iterable[Finding], ended: float = START - 7200) -> CheckRun:
    """Return a run of the checks, by default of two hours ago."""
    return CheckRun(tuple(findings), ended)


def dry_run(refusal: BrokerError | None = None, claims: dict[str, object] | None = None) -> DryRun:
    """Return a test sign-in that went well, or ended with a refusal."""
    return DryRun(
        provider="okta",
        label="Acme okta",
        enabled=True,
        steps=(
            Step("ID token: signature", "passed", "RS256"),
            Step("E-mail address", "failed" if refusal else "passed"),
            Step("Policy", "not_reached" if refusal else "not_needed"),
        ),
        refusal=refusal,
        documents={"ID token": claims or {"sub": "00u1", "exp": 1_800_003_600, "email": "ada@acme.example"}},
        considered=(ClaimTrace("email (ID token)", "taken: email_verified is true"),),
        identity=None if refusal else Identity(**ADA, subject="00u1", issuer="iss"),
        person=None if refusal else Admitted(**ADA),
        previews={} if refusal else {"main": {"aud": "Comm100", "email": "ada@acme.example"}},
        trace_id="7f3a9c21d4e5f6a70b1c2d3e4f5a6b7c",
    )


REFUSED = dry_run(EmailDomainNotAllowed(expected=["acme.example"], got="evil.example"))
FINDINGS = [
    finding("settings", "settings", "ok"),
    finding("okta", "issuer", "failed", "Another slash.", "Correct the issuer."),
    finding("okta", "metadata", "unknown", "Not tried: issuer failed."),
    finding("okta", "client_authentication", "unknown", "Not tried: issuer failed."),
    finding("main", "endpoint", "warning", "Status 404.", "Compare endpoint."),
]


def real_test_sign_in(folder: Path) -> str:
    """Return the page at the end of a test sign-in that a broker really went, at a provider like Okta."""

    async def go() -> str:
        world = World(folder, Clock())
        keys = {"preset": "okta", "label": "Acme Okta", "enabled": False}
        world.settings["identity_providers"] = {"okta": section_for(world.provider, **keys)}
        async with world.broker() as service:
            return (await run_dry_run(world.browser(service), "okta")).text

    return asyncio.run(go())
