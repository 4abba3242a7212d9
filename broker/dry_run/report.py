"""The reports of a test sign-in and of `broker explain`, and how an explanation is printed."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from broker.comm100 import Claim
from broker.errors import BrokerError
from broker.identity import Identity
from broker.providers import ClaimTrace
from broker.text import printable

StepStatus = Literal["passed", "failed", "not_reached", "not_needed"]

_WIDTH = 80


@dataclass(frozen=True, slots=True)
class Step:
    """One check of a test sign-in.

    Args:
        detail: what was found, without secrets; may hold the provider's own words.
    """

    name: str
    status: StepStatus
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Preview:
    """The claims of the token that Comm100 would get, unsigned; `jti` and times are new each time."""

    site: str
    claims: Mapping[str, Claim]


@dataclass(frozen=True, slots=True)
class DryRun:
    """How a test sign-in ended. Only an admin may see it: it shows claims.

    Args:
        enabled: whether the provider is offered to agents.
        steps: every check of a sign-in, in order.
        refusal: where it stopped; None if it did not.
        documents: the claims received, by the name of their document, without secrets.
        considered: the claims considered for address and groups, in order.
        identity: the admitted person.
        shown: the admitted person without secrets: email, email_from, name, name_from.
        previews: one for each site that offers the provider, or will once it is enabled.
        trace_id: the log has the test sign-in under this id.
    """

    provider: str
    label: str
    enabled: bool
    steps: tuple[Step, ...]
    refusal: BrokerError | None
    trace_id: str
    documents: tuple[tuple[str, Mapping[str, Any]], ...] = field(default=(), repr=False)
    considered: tuple[ClaimTrace, ...] = ()
    identity: Identity | None = field(default=None, repr=False)
    shown: Mapping[str, str] = field(default_factory=dict)
    previews: tuple[Preview, ...] = ()


@dataclass(frozen=True, slots=True)
class Explanation:
    """What a sign-in with given claims would do, and why.

    Args:
        identity: the admitted person; None if the person may not enter.
        refusal: why the person may not enter.
        claims: of the token that Comm100 would get, unsigned; None if the person may not enter.
        considered: the claims considered, in order.
        notes: what else an admin should know.
    """

    provider: str
    site: str
    identity: Identity | None
    refusal: BrokerError | None
    claims: Mapping[str, Claim] | None
    considered: tuple[ClaimTrace, ...]
    notes: tuple[str, ...]

    @property
    def admitted(self) -> bool:
        """Whether the person would be signed in."""
        return self.identity is not None


def to_json(explanation: Explanation) -> str:
    """Return an explanation as JSON."""
    identity, refusal = explanation.identity, explanation.refusal
    document = {
        "admitted": explanation.admitted,
        "reason": refusal.code if refusal else None,
        "email": identity.email if identity else None,
        "email_from": identity.email_from if identity else None,
        "name": identity.name if identity else None,
        "name_from": identity.name_from if identity else None,
        "claims": explanation.claims,
        "considered": [{"claim": one.claim, "verdict": printable(one.verdict)} for one in explanation.considered],
        "expected": printable(refusal.expected) if refusal else None,
        "got": printable(refusal.got) if refusal else None,
        "person": refusal.user_message if refusal else None,
        "remedy": refusal.remedy if refusal else None,
        "doc": f"docs/admin/errors.md#{refusal.code}" if refusal else None,
        "notes": explanation.notes,
    }
    return json.dumps(document, indent=2)


def to_text(explanation: Explanation) -> str:
    """Return an explanation as text for a terminal of 80 columns."""
    return "\n".join(_lines(explanation))


def _lines(explanation: Explanation) -> Iterator[str]:
    identity, refusal = explanation.identity, explanation.refusal
    yield f"Not admitted: {refusal.code}" if refusal else "Admitted"
    yield ""
    facts = [("provider", explanation.provider), ("site", explanation.site)]
    if identity is not None:
        facts += [("e-mail", identity.email), ("", f"from {identity.email_from}")]
        facts += [("name", identity.name), ("", f"from {identity.name_from}")]
    if refusal is not None:
        facts += [
            ("expected", printable(refusal.expected)),
            ("got", printable(refusal.got)),
            ("remedy", refusal.remedy),
        ]
        facts += [("person sees", refusal.user_message), ("more", f"docs/admin/errors.md#{refusal.code}")]
    yield from _table(facts)
    yield from _headed("Claims looked at", [(one.claim, printable(one.verdict)) for one in explanation.considered])
    if explanation.claims is not None:
        sent = [(claim, printable(value)) for claim, value in explanation.claims.items()]
        yield from _headed("Claims for Comm100 (unsigned; jti and times are new each time)", sent)
    for note in explanation.notes:
        yield ""
        yield from textwrap.wrap(f"Note: {note}", _WIDTH)


def _headed(heading: str, rows: list[tuple[str, str]]) -> Iterator[str]:
    yield ""
    yield heading if rows else f"{heading}: none"
    yield from _table(rows)


def _table(rows: Sequence[tuple[str, str]]) -> Iterator[str]:
    """Align the values in a column, at most at half the width."""
    margin = min(max((len(name) for name, _ in rows), default=0), _WIDTH // 2 - 4)
    indent = " " * (margin + 4)
    for name, value in rows:
        label = f"  {name:<{margin}}  "
        if len(label) > len(indent):
            yield from _wrapped(name, "  ", "  ")
            label = indent
        yield from _wrapped(value, label, indent)


def _wrapped(text: str, first: str, further: str) -> list[str]:
    return textwrap.wrap(text, _WIDTH, initial_indent=first, subsequent_indent=further, break_on_hyphens=False) or [
        first.rstrip()
    ]
