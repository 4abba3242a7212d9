"""What a provider said of a person, without anything secret in it.

A page bounds and escapes what it shows; what must not be shown at all is left out here, where it is known.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from broker.errors.root import MIN_SECRET_CHARACTERS

LEFT_OUT = "[left out]"
MAX_DEPTH = 5  # of lists and objects inside each other; no page shows more


def without_secrets(claims: Mapping[str, Any], secrets: Sequence[str]) -> dict[str, Any]:
    """Return the claims of one document; a claim may hold a secret, as `nonce` does.

    Args:
        claims: as they came.
        secrets: of this sign-in, and ours.
    """
    worth = [secret for secret in secrets if len(secret) >= MIN_SECRET_CHARACTERS]
    return {
        _text(name, worth): LEFT_OUT if name == "nonce" else _value(value, worth, 1) for name, value in claims.items()
    }


def _value(value: object, secrets: Sequence[str], depth: int) -> object:
    if isinstance(value, str):
        return _text(value, secrets)
    if not isinstance(value, Mapping | list):
        return value
    if depth == MAX_DEPTH:
        return "..."
    if isinstance(value, Mapping):
        return {_text(name, secrets): _value(one, secrets, depth + 1) for name, one in value.items()}
    return [_value(one, secrets, depth + 1) for one in value]


def _text(text: str, secrets: Sequence[str]) -> str:
    for secret in secrets:
        text = text.replace(secret, LEFT_OUT)
    return text
