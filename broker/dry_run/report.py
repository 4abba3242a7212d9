"""The reports of a test sign-in and of `broker explain`, and an explanation as JSON and as text."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
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
        detail: what was found, without secrets; may contain the provider's own words.
    """

    name: str
    status: StepStatus
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Admitted:
    """Address and name of an admitted person for a page: redacted, because a provider may repeat a secret in them."""

    email: str
    email_from: str
    name: str
    name_from: str


@dataclass(frozen=True, slots=True)
class DryRun:
    """The report of a test sign-in, without secrets. Only an admin may see it: it shows claims.

    Args:
        enabled: whether agents can choose the provider.
        steps: every check of a sign-in, in order.
        refusal: why the test sign-in stopped; None if it did not stop.
        documents: the claims received, by the name of their document.
        considered: the claims considered for address and groups, in order.
        identity: the admitted person, for the log; None if the person may not enter.
        person: the same person for the page.
        previews: the unsigned claims that Comm100 would get, by the id of each site that offers the provider, or will
            once it is enabled; `jti` and times are new each time.
    """

    provider: str
    label: str
    enabled: bool
    steps: tuple[Step, ...]
    refusal: BrokerError | None
    trace_id: str
    documents: Mapping[str, Mapping[str, Any]] = field(default_factory=dict, repr=False)
    considered: tuple[ClaimTrace, ...] = ()
    identity: Identity | None = field(default=None, repr=False)
    person: Admitted | None = field(default=None, repr=False)
    previews: Mapping[str, Mapping[str, Claim]] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class Explanation:
    """What a sign-in with given claims would do, and why.

    Args:
        identity: the admitted person; None if the person may not enter.
        claims: of the token that Comm100 would get, unsigned; None if the person may not enter.
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
        **{key: getattr(identity, key, None) for key in ("email", "email_from", "name", "name_from")},
        "claims": explanation.claims,
        "considered": [{"claim": trace.claim, "verdict": printable(trace.verdict)} for trace in explanation.considered],
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
    identity, refusal = explanation.identity, explanation.refusal
    facts = [("provider", explanation.provider), ("site", explanation.site)]
    if identity is not None:
        facts += [
            ("e-mail", identity.email), ("", f"from {identity.email_from}"),
            ("name", identity.name), ("", f"from {identity.name_from}"),
        ]  # fmt: skip
    if refusal is not None:
        facts += [
            ("expected", printable(refusal.expected)),
            ("got", printable(refusal.got)),
            ("remedy", refusal.remedy),
            ("person sees", refusal.user_message),
            ("more", f"docs/admin/errors.md#{refusal.code}"),
        ]
    considered = [(trace.claim, printable(trace.verdict)) for trace in explanation.considered]
    parts = [
        f"Not admitted: {refusal.code}" if refusal else "Admitted",
        _table(facts),
        f"Claims looked at\n{_table(considered)}" if considered else "Claims looked at: none",
    ]
    if explanation.claims is not None:
        sent = [(claim, printable(value)) for claim, value in explanation.claims.items()]
        parts.append(f"Claims for Comm100 (unsigned; jti and times are new each time)\n{_table(sent)}")
    parts += [textwrap.fill(f"Note: {note}", _WIDTH) for note in explanation.notes]
    return "\n\n".join(parts)


def _table(rows: Sequence[tuple[str, str]]) -> str:
    """Align the values in a column, at most at half the width."""
    margin = min(max(len(name) for name, _ in rows), _WIDTH // 2 - 4)
    indent = " " * (margin + 4)
    wrap = partial(textwrap.wrap, width=_WIDTH, subsequent_indent=indent, break_on_hyphens=False)
    lines: list[str] = []
    for name, value in rows:
        label = f"  {name:<{margin}}  "
        if len(label) > len(indent):
            lines += wrap(name, initial_indent="  ", subsequent_indent="  ")
            label = indent
        lines += wrap(value, initial_indent=label) or [label.rstrip()]
    return "\n".join(lines)
