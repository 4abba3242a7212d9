"""The list of all checks, the result of a check, and the order of results."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from broker.errors import Mistake
from broker.text import printable

Status = Literal["ok", "warning", "failed", "unknown"]
WORST_FIRST: tuple[Status, ...] = ("failed", "warning", "unknown", "ok")
Begin = Callable[[str, str], None]
"""Called with the subject and the check when a check begins."""

CHECKS = (
    "settings",
    "dns",
    "tls",
    "discovery",
    "issuer",
    "metadata",
    "keys",
    "clock",
    "client_authentication",
    "redirect_uri",
    "client_secret_expiry",
    "endpoint",
    "shared_secret",
    "public_url",
)
GUIDED = ("discovery", "issuer", "client_authentication", "redirect_uri", "client_secret_expiry")
"""Checks whose remedy is at the provider: the provider's guide has a section with the name of the check."""

CHECK_SECONDS = 5.0  # one check
TEST_SIGN_IN = "Test a sign-in on the setup page: `broker setup-link` prints its address."

_DECISIVE = ("discovery", "keys", "client_authentication", "redirect_uri")  # if unknown, sign-ins may not work


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check of one subject.

    Args:
        subject: a provider's id, a site's id, or `settings`.
        check: one of `CHECKS`.
        status: `unknown` if the other side does not tell.
        message: for an admin; never a secret.
        remedy: empty for `ok` only.
        doc: the section of the documentation that explains the check.
        optional: sign-ins work although the check is not `ok`.
        setting: probably missing; empty if no setting is.
        certificate_expires: the first end of a certificate of the subject, in seconds since the epoch; None if unknown.
    """

    subject: str
    check: str
    status: Status
    message: str
    remedy: str
    doc: str
    optional: bool = False
    setting: str = ""
    certificate_expires: float | None = None


@dataclass(frozen=True, slots=True)
class Topic:
    """A check of a subject, which makes its findings.

    Args:
        guide: the guide for the kind of provider; empty if the subject is not a provider.
    """

    subject: str
    check: str
    guide: str = ""

    def ok(self, message: str) -> Finding:
        """Return a finding that needs no action."""
        return self._finding("ok", message, "")

    def warning(self, message: str, remedy: str) -> Finding:
        """Return a finding that an admin has to look at, while sign-ins work."""
        return self._finding("warning", message, remedy)

    def failed(self, message: str, remedy: str, *, setting: str = "") -> Finding:
        """Return a finding that stops sign-ins."""
        return self._finding("failed", message, remedy, setting=setting)

    def unknown(self, message: str, remedy: str = "", *, optional: bool = False) -> Finding:
        """Return a finding of a check without a result."""
        return self._finding("unknown", message, remedy, optional=optional)

    def _finding(
        self, status: Status, message: str, remedy: str, *, optional: bool = False, setting: str = ""
    ) -> Finding:
        document = self.guide if self.guide and self.check in GUIDED else "docs/admin/check.md"
        remedy = remedy or ("" if status == "ok" else TEST_SIGN_IN)
        return Finding(self.subject, self.check, status, message, remedy, f"{document}#{self.check}", optional, setting)


def unusable_settings(mistakes: Iterable[Mistake]) -> list[Finding]:
    """Return the mistakes of unusable settings as findings."""
    topic = Topic("settings", "settings")
    return [
        topic.failed(f"{mistake.path}: {mistake.problem}", f"For example: {mistake.example}") for mistake in mistakes
    ]


def not_tried(subject: str, checks: Iterable[str], findings: list[Finding], *, guide: str = "") -> list[Finding]:
    """Return a finding for each check without a finding, naming the check that failed before it.

    Args:
        findings: of the subject, in the order of the checks.
    """
    done = {finding.check for finding in findings}
    last = findings[-1].check if findings else ""
    because = next((finding.check for finding in findings if finding.status == "failed"), last)
    return [
        Topic(subject, check, guide).unknown(
            f"Not tried: {because} failed.", f"Correct {because} first, and check again."
        )
        for check in checks
        if check not in done
    ]


def worst_first(findings: Iterable[Finding]) -> list[Finding]:
    """Return the findings of one subject, failed ones first; within a status, causes before consequences."""
    return sorted(findings, key=lambda finding: (WORST_FIRST.index(finding.status), CHECKS.index(finding.check)))


def merged(findings: Iterable[Finding]) -> Iterator[tuple[list[str], Finding]]:
    """Yield the names of checks with the same status and message, such as "Not tried", and their first finding.

    Args:
        findings: of one subject, the worst first.
    """
    for _, group in itertools.groupby(findings, key=lambda finding: (finding.status, finding.message)):
        same = list(group)
        yield list(dict.fromkeys(finding.check for finding in same)), same[0]


def first_inconclusive(findings: Iterable[Finding]) -> Finding | None:
    """Return the first finding that leaves open whether sign-ins work; None if there is none."""
    unknown = (finding for finding in findings if finding.status == "unknown" and not finding.optional)
    return next((finding for finding in unknown if finding.check in _DECISIVE), None)


def all_good(findings: Iterable[Finding]) -> bool:
    """Return whether no check failed."""
    return all(finding.status != "failed" for finding in findings)


def as_json(findings: Iterable[Finding]) -> dict[str, Any]:
    """Return the findings in the form that `broker check --json` prints."""
    every = list(findings)
    names = ("subject", "check", "status", "message", "remedy", "doc")
    return {"ok": all_good(every), "findings": [{name: getattr(finding, name) for name in names} for finding in every]}


def sentence(text: object) -> str:
    """Return text of the other side as the end of a sentence."""
    return (printable(text).strip().rstrip(" .:;,") or "no reason given") + "."
