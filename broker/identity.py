"""The person in the middle: what the left side found out and the right side may use.

This file owns the record and the grammar of an e-mail address and of a display name. It knows neither providers nor
Comm100.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

from broker.errors import EmailMalformed

MAX_EMAIL_CHARACTERS = 254  # RFC 5321, section 4.5.3.1.3, less the angle brackets
MAX_LOCAL_PART_CHARACTERS = 64  # RFC 5321, section 4.5.3.1.1
MAX_NAME_CHARACTERS = 100

_ATOM = r"[a-z0-9!#$%&'*+/=?^_`{|}~-]+"
_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_MAILBOX = re.compile(rf"(?P<local>{_ATOM}(?:\.{_ATOM})*)@(?P<domain>{_LABEL}(?:\.{_LABEL})+)")
_INVISIBLE = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})  # controls, bidi marks, surrogates, line breaks


@dataclass(frozen=True, slots=True)
class Identity:
    """A person as one identity provider vouches for them.

    Args:
        email: the address, checked and in lower case; the only thing Comm100 knows an agent by.
        email_from: the claim the address came from.
        name: the display name; never an identity.
        name_from: the claim or rule the name came from.
        subject: the provider's own identifier of the person.
        issuer: who vouches.
    """

    email: str
    email_from: str
    name: str
    name_from: str
    subject: str
    issuer: str

    @property
    def email_domain(self) -> str:
        """The part of the address behind the @, which decides who may assert it."""
        return self.email.rpartition("@")[2]


def check_email(unverified_email: object) -> str:
    """Return the address in lower case if it is a plain ASCII mailbox; it is never repaired.

    A dot-atom local part and a dotted host name (RFC 5322, section 3.4.1, without quoting, comments or literals):
    what two systems could read differently is refused.

    Args:
        unverified_email: a claim's value, of whatever type the provider sent.

    Raises:
        EmailMalformed: for anything else.
    """
    if not isinstance(unverified_email, str):
        raise EmailMalformed(expected="a text", got="another type")
    if len(unverified_email) > MAX_EMAIL_CHARACTERS:
        raise EmailMalformed(expected=f"at most {MAX_EMAIL_CHARACTERS} characters", got=len(unverified_email))
    # isascii comes first: str.lower() turns the Kelvin sign into a plain k.
    if not unverified_email.isascii():
        raise EmailMalformed(expected="ASCII", got="other characters")
    mailbox = _MAILBOX.fullmatch(unverified_email.lower())
    if mailbox is None or len(mailbox["local"]) > MAX_LOCAL_PART_CHARACTERS:
        raise EmailMalformed(expected="a local part and a domain around one @", got="another form")
    return mailbox[0]


def clean_name(unverified_name: object) -> str:
    """Return a display name without controls and direction marks, cut to length; empty when nothing is left.

    Args:
        unverified_name: a claim's value, of whatever type the provider sent.
    """
    if not isinstance(unverified_name, str):
        return ""
    visible = "".join(" " if c.isspace() else c for c in unverified_name[: 10 * MAX_NAME_CHARACTERS])
    visible = "".join(c for c in visible if unicodedata.category(c) not in _INVISIBLE)
    return " ".join(visible.split())[:MAX_NAME_CHARACTERS].strip()
