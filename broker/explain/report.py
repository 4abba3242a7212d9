"""An explanation on paper: for people at a terminal of 80 columns, and for programs.

This file owns the layout, and that no value on its way to a terminal can do harm there. It decides nothing.
"""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator, Sequence

from broker.explain.explanation import Explanation
from broker.oidc.messages import type_name

_WIDTH = 80
MAX_SHOWN = 300  # characters of a value nobody here has checked


def to_json(explanation: Explanation) -> str:
    """Write an explanation down for programs."""
    identity, refusal = explanation.identity, explanation.refusal
    document = {
        "admitted": explanation.admitted,
        "reason": refusal.code if refusal else None,
        "email": identity.email if identity else None,
        "email_from": identity.email_from if identity else None,
        "name": identity.name if identity else None,
        "name_from": identity.name_from if identity else None,
        "claims": explanation.claims,
        "considered": [{"claim": one.claim, "verdict": shown(one.verdict)} for one in explanation.considered],
        "expected": shown(refusal.expected) if refusal else None,
        "got": shown(refusal.got) if refusal else None,
        "person": refusal.user_message if refusal else None,
        "remedy": refusal.remedy if refusal else None,
        "doc": f"docs/admin/errors.md#{refusal.code}" if refusal else None,
        "notes": explanation.notes,
    }
    return json.dumps(document, indent=2)


def to_text(explanation: Explanation) -> str:
    """Write an explanation down for a terminal of 80 columns."""
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
        facts += [("expected", shown(refusal.expected)), ("got", shown(refusal.got)), ("remedy", refusal.remedy)]
        facts += [("person sees", refusal.user_message), ("more", f"docs/admin/errors.md#{refusal.code}")]
    yield from _table(facts)
    yield from _headed("Claims looked at", [(one.claim, shown(one.verdict)) for one in explanation.considered])
    if explanation.claims is not None:
        sent = [(claim, shown(value)) for claim, value in explanation.claims.items()]
        yield from _headed("Claims for Comm100 (unsigned; jti and times are new each time)", sent)
    for note in explanation.notes:
        yield ""
        yield from textwrap.wrap(f"Note: {note}", _WIDTH)


def _headed(heading: str, rows: list[tuple[str, str]]) -> Iterator[str]:
    yield ""
    yield heading if rows else f"{heading}: none"
    yield from _table(rows)


def _table(rows: Sequence[tuple[str, str]]) -> Iterator[str]:
    """Align the values, where the names leave them half the width."""
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


def shown(value: object) -> str:
    """Return a value as one short line of visible characters: a terminal or a browser acts on the others.

    Control characters, direction marks and the like are shown by their number. Of objects only the kind is told.

    Args:
        value: nobody here has checked it.
    """
    if isinstance(value, list | tuple):
        value = ", ".join(one if isinstance(one, str) else type_name(one) for one in value)
    plain = value if isinstance(value, str | int | float) else type_name(value)
    text = str(plain).lower() if isinstance(plain, bool) else str(plain)
    visible = "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in text[:MAX_SHOWN])
    return visible if len(text) <= MAX_SHOWN else f"{visible}..."
