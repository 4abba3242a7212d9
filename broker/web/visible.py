"""Any value as one short line of visible characters, for a page that shows an admin what a provider said.

It knows neither pages nor claims. Escaping for HTML is the template's.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import islice

MAX_CHARACTERS = 300  # of one value
MAX_ENTRIES = 10  # of a list or an object inside a value
MAX_DEPTH = 3  # of lists and objects inside each other
MAX_BITS = 256  # of a number


def visible(value: object) -> str:
    """Return a value: text as it stands, anything else as JSON, and nothing in it that acts on a screen.

    Control characters, direction marks and the like are shown by their number.

    Args:
        value: as it came out of JSON.
    """
    text = value if isinstance(value, str) else json.dumps(_abridged(value, MAX_DEPTH), ensure_ascii=False)
    shown = "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in text[:MAX_CHARACTERS])
    return shown if len(text) <= MAX_CHARACTERS else f"{shown}..."


def visible_list(value: object) -> str:
    """Return what an error expected or got: a list as its members, anything else as `visible` does.

    Args:
        value: of an error of ours.
    """
    if not isinstance(value, list | tuple | set | frozenset):
        return visible(value)
    members = ", ".join(visible(one) for one in islice(value, MAX_ENTRIES))
    return visible(members if len(value) <= MAX_ENTRIES else f"{members}, ...")


def _abridged(value: object, depth: int) -> object:
    if isinstance(value, Mapping):
        entries = islice(value.items(), MAX_ENTRIES if depth else 0)
        kept = {str(key)[:MAX_CHARACTERS]: _abridged(one, depth - 1) for key, one in entries}
        return "{...}" if depth == 0 else kept if len(value) <= MAX_ENTRIES else {**kept, "...": "..."}
    if isinstance(value, list | tuple):
        members = [_abridged(one, depth - 1) for one in value[: MAX_ENTRIES if depth else 0]]
        return "[...]" if depth == 0 else members if len(value) <= MAX_ENTRIES else [*members, "..."]
    if isinstance(value, int) and value.bit_length() > MAX_BITS:
        return "a long number"
    return value if value is None or isinstance(value, bool | int | float) else str(value)[: MAX_CHARACTERS + 1]
