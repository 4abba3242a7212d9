"""What a provider said of a person, without anything secret in it.

A page bounds and escapes what it shows; what must not be shown at all is left out here, where it is known.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from broker.errors import MIN_SECRET_CHARACTERS

LEFT_OUT = "[left out]"
MAX_DEPTH = 5  # of lists and objects inside each other; no page shows more
TELLING = 64  # characters of a secret that are looked for: to look for a whole token takes half a second


def without_secrets(value: Any, secrets: Sequence[str]) -> Any:
    """Return a value of any kind; wherever in it a secret stands, and in which case of letters, it is left out.

    Args:
        value: as it came out of JSON.
        secrets: of this sign-in, and ours; very short ones hit by chance and are passed over.
    """
    return _value(value, _any_of(secrets), 1)


def claims_without_secrets(claims: Mapping[str, Any], secrets: Sequence[str]) -> dict[str, Any]:
    """Return the claims of one document; a claim may hold a secret, as `nonce` does.

    Args:
        claims: as they came.
        secrets: likewise.
    """
    hidden = _any_of(secrets)
    return {
        hidden.sub(LEFT_OUT, name): LEFT_OUT if name == "nonce" else _value(value, hidden, 1)
        for name, value in claims.items()
    }


def _value(value: object, hidden: re.Pattern[str], depth: int) -> object:
    if isinstance(value, str):
        return hidden.sub(LEFT_OUT, value)
    if not isinstance(value, Mapping | list):
        return value
    if depth == MAX_DEPTH:
        return "..."
    if isinstance(value, Mapping):
        return {hidden.sub(LEFT_OUT, name): _value(one, hidden, depth + 1) for name, one in value.items()}
    return [_value(one, hidden, depth + 1) for one in value]


def _any_of(secrets: Sequence[str]) -> re.Pattern[str]:
    """Match any of them: the longest first, for one may be a part of another. An address loses its case on the way.

    Of a long one, its beginning and whatever follows up to the next space.
    """
    worth = sorted({one for one in secrets if len(one) >= MIN_SECRET_CHARACTERS}, key=len, reverse=True)
    patterns = [re.escape(one[:TELLING]) + (r"\S*" if len(one) > TELLING else "") for one in worth]
    return re.compile("|".join(patterns) or "(?!)", re.IGNORECASE)
