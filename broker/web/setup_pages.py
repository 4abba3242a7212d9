"""The pages for an admin who sets the broker up; always in English.

They show what a provider said: bounded, escaped and without invisible characters. Callers pass no secret, token or
code.
"""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from operator import attrgetter
from types import MappingProxyType

from broker.checks import WORST_FIRST, Finding, first_inconclusive, merged
from broker.dry_run import DryRun
from broker.errors import RedirectUrlRefused, every_error
from broker.identity import LABEL
from broker.registration import ProviderSetup, SiteSetup
from broker.signing import build_setup_url
from broker.text import printable, printable_json
from broker.web.cooldown import CheckRun
from broker.web.pages import ENGLISH, hash_inline, open_templates
from broker.web.request import LastLoginRequest

MAX_CLAIMS = 40  # of one document

_TEMPLATES = (
    "setup.html",
    "setup_checks.html",
    "setup_commands.html",
    "setup_dry_run.html",
    "setup_script.js",
    "setup_style.css",
)
_REMEDIES: Mapping[str, str] = MappingProxyType({error.code: error.remedy for error in every_error()})
_TIMES = frozenset({"iat", "nbf", "exp", "auth_time"})
_OF_COMM100 = re.compile(rf"(?:{LABEL}\.)+comm100\.(?:io|com)")
_END_OF_TIME = 253_402_300_800  # the year 10000, beyond the range of datetime
_STEP_WORDS = MappingProxyType(
    {"passed": "passed", "failed": "failed", "not_reached": "not reached", "not_needed": "not needed"}
)


@dataclass(frozen=True, slots=True)
class SetupLinks:
    """The addresses of the setup pages, with the setup link's token in each."""

    public_url: str
    token: str = field(repr=False)

    @property
    def overview(self) -> str:
        """The setup page."""
        return build_setup_url(self.public_url, self.token)

    @property
    def checks(self) -> str:
        """The page that runs the checks."""
        return f"{self.public_url}/setup/check?link={self.token}"

    @property
    def last_check(self) -> str:
        """The page with the last result of the checks."""
        return f"{self.checks}&last=1"

    def commands(self, provider: str) -> str:
        """Return the address of the page with a provider's commands."""
        return f"{self.public_url}/setup/commands/{provider}?link={self.token}"

    def test(self, provider: str) -> str:
        """Return the address that begins a test sign-in at a provider."""
        return f"{self.public_url}/setup/test/{provider}?link={self.token}"


@dataclass(frozen=True, slots=True)
class _Table:
    """Names and values with a caption."""

    caption: str
    columns: tuple[str, str]
    rows: list[tuple[str, str]]


class SetupPages:
    """The setup pages, compiled once; every method returns a whole HTML document.

    Attributes:
        style_sha256: base64 of the SHA-256 of the inline style, for the Content-Security-Policy.
        script_sha256: base64 of the SHA-256 of the inline script.
    """

    def __init__(self, *, site_name: str | None = None, logo: str | None = None) -> None:
        environment = open_templates(ENGLISH, site_name=site_name, logo=logo)
        self._templates = {name: environment.get_template(name) for name in _TEMPLATES}
        self.style_sha256 = hash_inline(self._templates["setup_style.css"].render())
        self.script_sha256 = hash_inline(self._templates["setup_script.js"].render())

    def overview(
        self,
        *,
        providers: Sequence[ProviderSetup],
        sites: Sequence[SiteSetup],
        last_seen: Mapping[str, LastLoginRequest],
        last_check: CheckRun | None = None,
        links: SetupLinks,
        expires: float,
        now: float,
    ) -> str:
        """Return the setup page: what to copy and where it goes, and the links to checks and test sign-ins.

        Args:
            providers: in the order of the settings; providers that are switched off are included.
            last_seen: by the site's id.
            last_check: of this process; None if no run has ended yet.
            expires: seconds since the epoch.
            now: seconds since the epoch.
        """
        return self._templates["setup.html"].render(
            providers=providers,
            sites=sites,
            seen={site: describe_login_request(request, now) for site, request in last_seen.items()},
            last_check=None if last_check is None else _describe_run(last_check, now),
            links=links,
            expires=f"{_moment(expires)} ({_span(expires - now)} from now)",
            off=[provider for provider in providers if not provider.enabled],
        )

    def commands(self, provider: ProviderSetup, *, links: SetupLinks) -> str:
        """Return the page with the commands that register the broker at a provider."""
        return self._templates["setup_commands.html"].render(provider=provider, links=links)

    def checks(self, run: CheckRun, *, links: SetupLinks, now: float) -> str:
        """Return the page with the findings by subject; subjects with failed checks come first.

        Args:
            run: with the findings grouped by subject, the worst of each subject first.
            now: seconds since the epoch.
        """
        findings = run.findings
        by_subject = itertools.groupby(findings, key=attrgetter("subject"))
        subjects = [(subject, list(group)) for subject, group in by_subject]
        subjects.sort(key=lambda entry: min(WORST_FIRST.index(finding.status) for finding in entry[1]))
        counts = Counter(finding.status for finding in findings)
        return self._templates["setup_checks.html"].render(
            subjects=[(subject, list(merged(group))) for subject, group in subjects],
            failed=counts["failed"],
            heading=_heading(findings),
            when=f"{_moment(run.ended)} ({_span(now - run.ended)} ago)",
            sum=_sum(findings),
            links=links,
        )

    def dry_run(self, dry_run: DryRun, *, links: SetupLinks | None = None) -> str:
        """Return the report of a test sign-in: verdict, checks, claims received, and the claims for Comm100.

        Args:
            links: None shows no links.
        """
        refusal = dry_run.refusal
        return self._templates["setup_dry_run.html"].render(
            dry_run=dry_run,
            refusal=refusal,
            facts=_verdict(dry_run),
            next_steps=list(_next_steps(dry_run)),
            steps=[
                (step.name, step.status, _STEP_WORDS[step.status], printable(step.detail)) for step in dry_run.steps
            ],
            received=[_claims(name, claims) for name, claims in dry_run.documents.items()],
            considered=_Table(
                "Claims looked at, in order",
                ("Claim", "Verdict"),
                [(printable(entry.claim), printable(entry.verdict)) for entry in dry_run.considered],
            ),
            previews=[_claims(f"Site {site}", claims) for site, claims in dry_run.previews.items()],
            links=links,
        )


def _moment(at: float) -> str:
    moment = datetime.fromtimestamp(at, UTC)
    return f"{moment.day} {moment:%B %Y, %H:%M} UTC"


def _span(seconds: float) -> str:
    """Return a duration in words, in a unit of which there are at least two."""
    minutes = max(round(seconds / 60), 0)
    for unit, size in (("day", 1440), ("hour", 60)):
        if minutes >= 2 * size:
            return f"{minutes // size} {unit}s"
    return "1 minute" if minutes == 1 else f"{minutes} minutes" if minutes else "less than a minute"


def describe_login_request(seen: LastLoginRequest, now: float) -> dict[str, str]:
    """Return the last login request in words, with the remedy if it was refused; anybody can send such a request.

    Args:
        now: seconds since the epoch.
    """
    came = {
        "When": f"{_moment(seen.at)} ({_span(now - seen.at)} ago)",
        "Parameters": ", ".join(map(printable, seen.parameters)) or "none",
        "Host in redirect_url": printable(seen.redirect_url_host, ascii_only=True) or "none",
        "Path in redirect_url": printable(seen.redirect_url_path, ascii_only=True) or "none",
        "Parameters in redirect_url": ", ".join(map(printable, seen.redirect_url_parameters)) or "none",
        "Outcome": "accepted" if seen.code == "none" else f"refused: {seen.code}",
    }
    if seen.code == "none":
        return came
    came["To do"] = _REMEDIES.get(seen.code, "See docs/admin/errors.md.")
    # Anybody can send a login request: only hosts of Comm100's platform are offered.
    if seen.code == RedirectUrlRefused.code and _OF_COMM100.fullmatch(seen.redirect_url_host):
        came["Line to add"] = (
            f"redirect_hosts: [{seen.redirect_url_host}] below the site, beside hosts already there. First make sure "
            "that this is the host that you see in the address bar when you are signed in to Comm100."
        )
    return came


def _heading(findings: Sequence[Finding]) -> str:
    if any(finding.status == "failed" for finding in findings):
        return "Something has to be corrected"
    return "Only a test sign-in can tell" if first_inconclusive(findings) else "Nothing failed"


def _sum(findings: Sequence[Finding]) -> str:
    counts = Counter(finding.status for finding in findings)
    return ", ".join(_counted(counts[status], status) for status in WORST_FIRST if counts[status])


def _describe_run(run: CheckRun, now: float) -> dict[str, object]:
    """Return the result of a run in words, and where an admin has to look, without a provider's text."""
    return {
        "when": f"{_moment(run.ended)} ({_span(now - run.ended)} ago)",
        "heading": _heading(run.findings),
        "sum": _sum(run.findings),
        "places": [
            (finding.status, f"{finding.subject}: {finding.check.replace('_', ' ')}")
            for finding in run.findings
            if finding.status in ("failed", "warning")
        ],
    }


def _counted(count: int, status: str) -> str:
    return f"{count} {status}s" if status == "warning" and count > 1 else f"{count} {status}"


def _verdict(dry_run: DryRun) -> dict[str, str]:
    """Return who was admitted and by which claims, or why not."""
    refusal, person = dry_run.refusal, dry_run.person
    if refusal is not None:
        sides = {"Expected": refusal.expected, "Got": refusal.got}
        known = {side: printable(value) for side, value in sides.items() if value is not None}
        return {"Reason": refusal.code, **known, "An agent would read": refusal.user_message}
    if person:
        return {
            "E-mail": f"{person.email}, from {printable(person.email_from)}",
            "Name": f"{person.name}, from {printable(person.name_from)}",
        }
    return {}


def _claims(caption: str, claims: Mapping[str, object]) -> _Table:
    rows = [(printable(name), _value(name, value)) for name, value in itertools.islice(claims.items(), MAX_CLAIMS)]
    if len(claims) > MAX_CLAIMS:
        rows.append(("...", f"{len(claims) - MAX_CLAIMS} more claims are not shown"))
    return _Table(caption, ("Claim", "Value"), rows)


def _value(name: str, value: object) -> str:
    if name in _TIMES and isinstance(value, int) and not isinstance(value, bool) and 0 <= value < _END_OF_TIME:
        return f"{value} ({_moment(value)})"
    return printable_json(value)


def _next_steps(dry_run: DryRun) -> Iterable[str]:
    """Yield the next steps of the admin; there is always a step."""
    if dry_run.refusal is not None:
        yield dry_run.refusal.remedy
        yield "Reload or restart the broker if you changed its settings, then test again."
        return
    if not dry_run.previews:
        yield f"No site offers this provider: add {dry_run.provider} to identity_providers of a site."
    yield "Compare the e-mail address with the agent's in Comm100: it must be the same, and the agent must exist there."
    if not dry_run.enabled:
        where = f"identity_providers.{dry_run.provider}"
        yield f"Remove enabled: false from {where} and reload or restart the broker. Agents can then choose it."
    yield "Turn on JWT SSO in Comm100 as the setup page says."
    yield "Sign in from Comm100's sign-in page in a private window."
