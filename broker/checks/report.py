"""Print findings: a coloured table on a terminal, plain lines elsewhere. No finding is read as markup."""

from __future__ import annotations

import itertools
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.table import Table
from rich.text import Text

from broker.checks.finding import CHECKS, TEST_SIGN_IN, Begin, Finding, Status, first_inconclusive, merged

_COLOURS: dict[Status, str] = {"ok": "green", "warning": "yellow", "failed": "bold red", "unknown": "cyan"}
_WIDTH = 100


@contextmanager
def watching(console: Console) -> Iterator[Begin]:
    """Show the running checks on a terminal while the block runs; elsewhere show nothing."""
    if not console.is_terminal:
        yield lambda _subject, _check: None
        return
    under_way: dict[str, str] = {}
    with console.status("checking") as line:

        def begin(subject: str, check: str) -> None:
            under_way[subject] = check
            line.update(Text("checking " + ", ".join(f"{subject}: {check}" for subject, check in under_way.items())))

        yield begin


def print_report(findings: Sequence[Finding], console: Console) -> None:
    """Print every finding, failed ones first in each subject, and a summary.

    Args:
        findings: of all subjects, grouped by subject.
    """
    if console.is_terminal:
        for subject, group in itertools.groupby(findings, key=lambda finding: finding.subject):
            console.print(_table(subject, group))
        console.print(Text(_summary(findings)))
    else:
        console.file.write("\n".join([*_lines(findings), _summary(findings)]) + "\n")


def _table(subject: str, group: Iterable[Finding]) -> Table:
    table = Table(
        title=Text(subject, style="bold"), title_justify="left", show_header=False, show_lines=True, expand=True
    )
    table.add_column(no_wrap=True, width=max(map(len, CHECKS)))
    table.add_column(ratio=1, overflow="fold")
    for checks, finding in merged(group):
        told = Text(finding.message)
        if finding.remedy:
            told.append(f"\n{finding.remedy}", style="bold" if finding.status == "failed" else "")
            told.append(f"\n{finding.doc}", style="dim")
        if len(checks) > 1:
            told.append(f"\n{', '.join(checks)}")
        named = checks[0] if len(checks) == 1 else f"{len(checks)} checks"
        table.add_row(Text.assemble((finding.status, _COLOURS[finding.status]), f"\n{named}"), told)
    return table


def _lines(findings: Iterable[Finding]) -> Iterator[str]:
    for subject, group in itertools.groupby(findings, key=lambda finding: finding.subject):
        yield subject
        for checks, finding in merged(group):
            yield f"  {finding.status:<8}{', '.join(checks)}"
            yield from _wrapped(finding.message)
            if finding.remedy:
                yield from _wrapped(f"To do: {finding.remedy}")
                yield from _wrapped(f"See {finding.doc}")
        yield ""


def _wrapped(text: str) -> list[str]:
    indent = " " * 10
    return textwrap.wrap(
        text, _WIDTH, initial_indent=indent, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )


def _summary(findings: Sequence[Finding]) -> str:
    counts = dict.fromkeys(_COLOURS, 0)
    for finding in findings:
        counts[finding.status] += 1
    first = next((finding for finding in findings if finding.status == "failed"), None)
    inconclusive = first_inconclusive(findings)
    verdict = "Nothing failed."
    if first is not None:
        verdict = f"Something has to be corrected. Begin with {first.subject}: {first.check}."
    elif inconclusive is not None:
        verdict = (
            f"Nothing failed, but the check cannot tell whether sign-ins work "
            f"({inconclusive.subject}: {inconclusive.check}). {TEST_SIGN_IN}"
        )
    return f"{verdict} {', '.join(f'{count} {status}' for status, count in counts.items())}."
