"""Runs the checks of a running service every few hours, and logs each finding that needs an admin once.

The checks themselves are those of `broker check` and of the setup page.
"""

from __future__ import annotations

import asyncio
import logging
import random
import re
from collections.abc import Awaitable, Callable, Collection, Iterable
from typing import TYPE_CHECKING, NoReturn

from broker.errors import BrokerError
from broker.oidc.discovery import Sleep

if TYPE_CHECKING:
    from broker.checks import Finding

FIRST_SECONDS = 180.0  # from the start to the first run, at least; at most twice as long
SPREAD = 0.2  # how much earlier or later a run may come, so that replicas do not ask at one instant
RECHECK_SECONDS = 3600.0  # between runs while a check fails: a failure that ended must not count for hours

_NUMBERS = re.compile(r"\d+")

_log = logging.getLogger("broker")


async def keep_checking(
    run: Callable[[], Awaitable[object]],
    hours: float,
    findings_log: FindingsLog,
    *,
    sleep: Sleep = asyncio.sleep,
    chance: Callable[[], float] = random.random,
) -> NoReturn:
    """Run the checks a few minutes after the start, then every few hours; every hour while a check fails.

    Args:
        run: within a bound of time; writes its findings into `findings_log`.
        chance: returns a number from 0 to 1.
    """
    await sleep(FIRST_SECONDS * (1 + chance()))
    while True:
        try:
            await run()
        except BrokerError as error:
            facts = {"code": error.code, "expected": error.expected, "got": error.got, "remedy": error.remedy}
            _log.warning("checks did not end", extra={"facts": facts})
        except Exception as defect:  # noqa: BLE001 - a defect must not end this task
            _log.error("defect", exc_info=defect)
        seconds = min(hours * 3600, RECHECK_SECONDS) if findings_log.has_failure else hours * 3600
        await sleep(seconds * (1 + SPREAD * (2 * chance() - 1)))


def of_service(findings: Iterable[Finding], subjects: Collection[str]) -> tuple[Finding, ...]:
    """Return the findings about these subjects, without the insecure options, which the start logs."""
    return tuple(one for one in findings if one.subject in subjects and one.check != "settings")


class FindingsLog:
    """Logs each failed or warned finding once, and again when it changes or ends.

    Attributes:
        has_failure: a check failed in the last call of `write`.
    """

    def __init__(self) -> None:
        self.has_failure = False
        self._known: dict[tuple[str, str], set[tuple[str, str]]] = {}

    def write(self, findings: Iterable[Finding]) -> None:
        """Log the difference between these findings and those of the last call."""
        now: dict[tuple[str, str], set[tuple[str, str]]] = {}
        for finding in findings:
            place = (finding.subject, finding.check)
            known = now.setdefault(place, set())
            if finding.status not in ("failed", "warning"):
                continue
            # Without numbers: the days that a certificate has left differ in every run.
            told = (finding.status, _NUMBERS.sub("", finding.message))
            if told not in known | self._known.get(place, set()):
                level = logging.ERROR if finding.status == "failed" else logging.WARNING
                event = "check failed" if finding.status == "failed" else "check warned"
                _log.log(level, event, extra={"facts": _facts_of(finding)})
            known.add(told)
        for (subject, check), before in self._known.items():
            if before and not now.get((subject, check)):
                _log.info("check no longer fails", extra={"facts": {"subject": subject, "check": check}})
        self._known = now
        self.has_failure = any(status == "failed" for told in now.values() for status, _ in told)


def _facts_of(finding: Finding) -> dict[str, str]:
    names = ("subject", "check", "message", "remedy", "doc")
    return {name: getattr(finding, name) for name in names}
