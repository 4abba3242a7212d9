"""What the doctor says: one finding for each check of each subject, and the bounds within which it is come by.

It owns the closed list of checks and the form of a finding. It knows no check.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from broker.errors import Mistake
from broker.text import printable

Status = Literal["ok", "warning", "failed", "unknown"]
WORST_FIRST: tuple[Status, ...] = ("failed", "warning", "unknown", "ok")
Begin = Callable[[str, str], None]
"""Told the subject and the check, when a check begins."""

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
"""The checks whose remedy is at the provider: its guide has a section of that name, in the provider's own words."""

CHECK_SECONDS = 5.0  # one check
SUBJECT_SECONDS = 16.0  # all checks of one subject; subjects do not wait for each other

TEST_SIGN_IN = "Test a sign-in on the setup page: `broker setup-link` prints its address."

_TELLING = ("discovery", "keys", "client_authentication", "redirect_uri")  # unknown, they leave it open
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of one check.

    Args:
        status: `unknown` where the other side does not tell.
        message: what was found, for an admin; never a secret.
        remedy: what to do about it; empty for `ok` alone.
        optional: signing in works without it.
    """

    status: Status
    message: str
    remedy: str = ""
    optional: bool = False


@dataclass(frozen=True, slots=True)
class Finding:
    """One check of one subject.

    Args:
        subject: a provider's id, a site's id, or `settings`.
        check: one of `CHECKS`.
        status: as in `Verdict`.
        message: as in `Verdict`.
        remedy: as in `Verdict`.
        doc: where in the documents it is explained.
        optional: as in `Verdict`.
    """

    subject: str
    check: str
    status: Status
    message: str
    remedy: str
    doc: str
    optional: bool = False


def ok(message: str) -> Verdict:
    """Return that all is well."""
    return Verdict("ok", message)


def warning(message: str, remedy: str) -> Verdict:
    """Return that sign-ins work, but something should be looked at."""
    return Verdict("warning", message, remedy or TEST_SIGN_IN)


def failed(message: str, remedy: str) -> Verdict:
    """Return that sign-ins cannot work like this."""
    return Verdict("failed", message, remedy or TEST_SIGN_IN)


def unknown(message: str, remedy: str = "", *, optional: bool = False) -> Verdict:
    """Return that the check cannot tell; without another remedy, a test sign-in tells."""
    return Verdict("unknown", message, remedy or TEST_SIGN_IN, optional)


class CheckFailed(Exception):
    """A check ended in a way that the checks after it cannot do without.

    Args:
        verdict: of this check.
    """

    def __init__(self, verdict: Verdict) -> None:
        super().__init__(verdict.message)
        self.verdict = verdict


class CheckRun:
    """The checks of one subject, one after the other, each within its time.

    Args:
        subject: whose.
        begin: told of each check.
        guide: the document about this kind of provider, if it is one.
    """

    def __init__(self, subject: str, begin: Begin, *, guide: str = "") -> None:
        self.subject = subject
        self.guide = guide
        self.findings: list[Finding] = []
        self._begin = begin
        self._end = time.monotonic() + SUBJECT_SECONDS

    def note(self, check: str, verdict: Verdict) -> None:
        """Keep what came of a check."""
        self.findings.append(finding(self.subject, check, verdict, guide=self.guide))

    async def ask(
        self, check: str, asked: Awaitable[tuple[T, Verdict]], *, late: Callable[[str, str], Verdict] = failed
    ) -> T:
        """Wait for a check, note it, and return what the next one needs.

        Args:
            check: its name.
            asked: the check under way.
            late: makes the verdict when no answer comes in time.

        Raises:
            CheckFailed: the next ones cannot do without it; it is noted all the same.
        """
        self._begin(self.subject, check)
        seconds = max(min(CHECK_SECONDS, self._end - time.monotonic()), 0.1)
        try:
            async with asyncio.timeout(seconds):
                value, verdict = await asked
        except TimeoutError:
            trouble = CheckFailed(
                late(f"No answer within {seconds:.0f} seconds.", "Check the way there, and try again.")
            )
            self.note(check, trouble.verdict)
            raise trouble from None
        except CheckFailed as trouble:
            self.note(check, trouble.verdict)
            raise
        self.note(check, verdict)
        return value

    def judge(self, check: str, judged: Callable[[], tuple[T, Verdict]]) -> T:
        """Do likewise for a check that has nothing to wait for.

        Raises:
            CheckFailed: as in `ask`.
        """
        try:
            value, verdict = judged()
        except CheckFailed as trouble:
            self.note(check, trouble.verdict)
            raise
        self.note(check, verdict)
        return value

    def not_tried(self, checks: Iterable[str]) -> None:
        """Note every one of these checks that did not come about, and because of which."""
        troubled = [one.check for one in self.findings if one.status == "failed"]
        because = troubled[0] if troubled else self.findings[-1].check
        done = {one.check for one in self.findings}
        for check in checks:
            if check not in done:
                self.note(check, unknown(f"Not tried: {because} failed.", f"Correct {because} first, and check again."))


def finding(subject: str, check: str, verdict: Verdict, *, guide: str = "") -> Finding:
    """Return a verdict as a finding, with the section that explains it: the provider's guide has some of them."""
    document = guide if guide and check in GUIDED else "docs/admin/check.md"
    doc = f"{document}#{check}"
    return Finding(subject, check, verdict.status, verdict.message, verdict.remedy, doc, verdict.optional)


def unusable_settings(mistakes: Iterable[Mistake]) -> list[Finding]:
    """Return the mistakes of settings that cannot be used as findings.

    Args:
        mistakes: all of them.
    """
    return [
        finding("settings", "settings", failed(f"{one.path}: {one.problem}", f"For example: {one.example}"))
        for one in mistakes
    ]


def worst_first(findings: Iterable[Finding]) -> list[Finding]:
    """Return the findings of one subject, what failed first; within that, causes before consequences."""
    return sorted(findings, key=lambda one: (WORST_FIRST.index(one.status), CHECKS.index(one.check)))


def merged(findings: Iterable[Finding]) -> Iterator[tuple[list[str], Finding]]:
    """Yield the names of checks with the same outcome in the same words, and the first of them.

    Above all it puts those together that were not tried, and all for one reason.

    Args:
        findings: of one subject, the worst first.
    """
    for _, alike in itertools.groupby(findings, key=lambda one: (one.status, one.message)):
        same = list(alike)
        yield list(dict.fromkeys(one.check for one in same)), same[0]


def first_untold(findings: Iterable[Finding]) -> Finding | None:
    """Return the first finding that leaves open whether sign-ins work; None if there is none.

    Args:
        findings: of all subjects.
    """
    unknown = (one for one in findings if one.status == "unknown" and not one.optional)
    return next((one for one in unknown if one.check in _TELLING), None)


def all_good(findings: Iterable[Finding]) -> bool:
    """Whether no check failed."""
    return all(one.status != "failed" for one in findings)


def as_json(findings: Iterable[Finding]) -> dict[str, Any]:
    """Return the findings in the form `check --json` prints."""
    every = list(findings)
    names = ("subject", "check", "status", "message", "remedy", "doc")
    return {"ok": all_good(every), "findings": [{name: getattr(one, name) for name in names} for one in every]}


def sentence(text: object) -> str:
    """Put text of the other side at the end of a sentence of ours."""
    return (printable(text).strip().rstrip(" .:;,") or "no reason given") + "."
