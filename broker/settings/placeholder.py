"""Recognise values that were meant to be replaced, such as `https://your-tenant.okta.com` and `<client id>`."""

from __future__ import annotations

import re

from broker.settings.invalid_value import InvalidValue

# Narrow enough for at-your-service.de, for my-example.com and for random secrets.
_WORDS = (
    r"(^|[^a-z])(change|replace)[-_ ]?me([^a-z]|$)|^todo\b|^x{4,}$|x{8}|(^|[/.@,])example\.(com|net|org)\b"
    r"|\bplaceholder\b|(^|[/.@,_])your[-_. ]?(company|corp|org|organi[sz]ation|domain|host|name|tenant|okta|site"
    r"|account|app|server|client|id)([-_./:]|$)"
)
PLACEHOLDER = f"(?i:<.*>|{_WORDS})"
"""Found anywhere in a value; Python, Go and JavaScript read the expression alike."""


def no_placeholder(text: str) -> str:
    """Refuse a value that was meant to be replaced.

    Raises:
        InvalidValue: the value is a placeholder.
    """
    if re.search(PLACEHOLDER, text):
        raise InvalidValue("is a placeholder: replace it with your own value")
    return text


def is_placeholder_secret(text: str) -> bool:
    """Tell whether a secret was meant to be replaced; a random one may have brackets inside."""
    return re.search(f"(?i:^<.*>$|{_WORDS})", text, re.DOTALL) is not None
