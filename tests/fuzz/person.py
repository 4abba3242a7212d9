"""Who a provider's claims can make a person: the grammar of an address and of a display name.

This file owns what must hold of them; it knows the rules by other means than the code it judges.
"""

from __future__ import annotations

import string
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from broker.errors import EmailMalformed
from broker.identity import (
    MAX_EMAIL_CHARACTERS,
    MAX_LOCAL_PART_CHARACTERS,
    MAX_NAME_CHARACTERS,
    check_email,
    clean_name,
)

LOCAL_PART = frozenset(string.ascii_lowercase + string.digits + "!#$%&'*+-/=?^_`{|}~.")  # RFC 5322, section 3.2.3
DOMAIN = frozenset(string.ascii_lowercase + string.digits + "-.")  # RFC 1123, section 2.1
LINE_ENDS = frozenset("\n\r\v\f\x1c\x1d\x1e\x85\u2028\u2029")


def judge_email(claim: object) -> str | None:
    """Return the address if the broker takes it, having checked that no two systems could read it differently."""
    try:
        email = check_email(claim)
    except EmailMalformed:
        return None
    assert isinstance(claim, str)
    assert claim.isascii(), "lower() turns the Kelvin sign into a plain k"
    assert email == claim.lower()
    assert email == unicodedata.normalize("NFKC", email).casefold()
    assert len(email) <= MAX_EMAIL_CHARACTERS
    local, domain = email.split("@")  # one @ and no other
    assert len(local) <= MAX_LOCAL_PART_CHARACTERS
    assert set(local) <= LOCAL_PART
    assert all(local.split("."))
    assert set(domain) <= DOMAIN
    labels = domain.split(".")
    assert len(labels) > 1
    assert all(0 < len(label) <= 63 and label == label.strip("-") for label in labels)
    assert check_email(email) == email
    return email


def judge_name(claim: object) -> str:
    """Return the display name, having checked that it shows on one line, as it is, and not for long."""
    name = clean_name(claim)
    assert len(name) <= MAX_NAME_CHARACTERS
    assert name == name.strip()
    assert not LINE_ENDS & set(name)
    assert not {unicodedata.category(character) for character in name} & {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
    assert "  " not in name
    assert clean_name(name) == name
    assert isinstance(claim, str) or not name
    name.encode()
    return name


@contextmanager
def validation() -> Iterator[Callable[[bytes], None]]:
    """Give what the fuzzer calls: the first line of the bytes is an address, the rest is a name."""

    def one_input(data: bytes) -> None:
        email, _, name = data.decode("utf-8", "surrogateescape").partition("\n")
        judge_email(email)
        judge_email(f"{email}@acme.example")
        judge_name(name)

    yield one_input
