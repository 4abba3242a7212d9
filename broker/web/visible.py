"""Any value as one short line, for a page that shows an admin what a provider said: a bounded part of it, as JSON.

How a line is cut, and what becomes of invisible characters, is `explain`'s to say. Escaping for HTML is the template's.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import islice

from broker.explain import MAX_SHOWN, shown

MAX_ENTRIES = 10  # of a list or an object inside a value
MAX_DEPTH = 3  # of lists and objects inside each other
MAX_BITS = 256  # of a number


def visible(value: object) -> str:
    """Return a value: text as it stands, anything else as JSON, and nothing in it that acts on a screen.

    Args:
        value: as it came out of JSON.
    """
    return shown(value if isinstance(value, str) else json.dumps(_abridged(value, MAX_DEPTH), ensure_ascii=False))


def _abridged(value: object, depth: int) -> object:
    if isinstance(value, Mapping):
        entries = islice(value.items(), MAX_ENTRIES if depth else 0)
        kept = {str(key)[:MAX_SHOWN]: _abridged(one, depth - 1) for key, one in entries}
        return "{...}" if depth == 0 else kept if len(value) <= MAX_ENTRIES else {**kept, "...": "..."}
    if isinstance(value, list | tuple):
        members = [_abridged(one, depth - 1) for one in value[: MAX_ENTRIES if depth else 0]]
        return "[...]" if depth == 0 else members if len(value) <= MAX_ENTRIES else [*members, "..."]
    if isinstance(value, int) and value.bit_length() > MAX_BITS:
        return "a long number"
    return value if value is None or isinstance(value, bool | int | float) else str(value)[: MAX_SHOWN + 1]
