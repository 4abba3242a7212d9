"""The person in the middle: what the left side found out and the right side may use.

This file owns the record and the grammar of an e-mail address and of a display name. It knows neither providers nor
Comm100.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

from broker.errors import EmailMalformed
from broker.text import is_invisible, type_name

MAX_EMAIL_CHARACTERS = 254  # RFC 5321, section 4.5.3.1.3, less the angle brackets
MAX_LOCAL_PART_CHARACTERS = 64  # RFC 5321, section 4.5.3.1.1
MAX_NAME_CHARACTERS = 100
MAX_FORM_CHARACTERS = 80  # of the form of a refused address in the log

_ATOM = r"[a-z0-9!#$%&'*+/=?^_`{|}~-]+"
LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"  # of a host name, in lower case
_MAILBOX = re.compile(rf"(?P<local>{_ATOM}(?:\.{_ATOM})*)@(?P<domain>{LABEL}(?:\.{LABEL})+)")
_INVISIBLE = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})  # controls, bidi marks, surrogates, line breaks
_MARKS = frozenset({"Mn", "Mc", "Me"})  # combining: shown with the character before them, if there is one
_EMOJI_STYLE = "\ufe0f"  # VARIATION SELECTOR-16: belongs to the character before it


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
        raise EmailMalformed(expected="a text", got=type_name(unverified_email))
    if len(unverified_email) > MAX_EMAIL_CHARACTERS:
        raise EmailMalformed(expected=f"at most {MAX_EMAIL_CHARACTERS} characters", got=len(unverified_email))
    # isascii comes first: str.lower() turns the Kelvin sign into a plain k.
    if not unverified_email.isascii():
        odd = next(c for c in unverified_email if not c.isascii())
        raise EmailMalformed(expected="ASCII", got=f"U+{ord(odd):04X} among {len(unverified_email)} characters")
    mailbox = _MAILBOX.fullmatch(unverified_email.lower())
    if mailbox is None:
        form = re.sub("[A-Za-z0-9]+", "x", unverified_email).replace("@", "(at)")  # without the name
        raise EmailMalformed(expected="x(at)x.x", got=form[:MAX_FORM_CHARACTERS] or "an empty text")
    if len(mailbox["local"]) > MAX_LOCAL_PART_CHARACTERS:
        got = f"{len(mailbox['local'])} characters"
        raise EmailMalformed(expected=f"at most {MAX_LOCAL_PART_CHARACTERS} characters before the @", got=got)
    return mailbox[0]


def clean_name(unverified_name: object) -> str:
    """Return a display name without controls and direction marks, cut to length; empty when nothing of it is visible.

    What is invisible goes from both ends. Inside it stays, such as the variation selector of an emoji; format
    characters such as the zero width joiner go everywhere, so that joined emoji are shown side by side.

    Args:
        unverified_name: a claim's value, of whatever type the provider sent.
    """
    if not isinstance(unverified_name, str):
        return ""
    visible = "".join(" " if c.isspace() else c for c in unverified_name[: 10 * MAX_NAME_CHARACTERS])
    visible = "".join(c for c in visible if unicodedata.category(c) not in _INVISIBLE)
    return _without_invisible_ends(" ".join(visible.split())[:MAX_NAME_CHARACTERS])


def _without_invisible_ends(name: str) -> str:
    """Cut off all before the first visible character, and blanks after the last one."""
    start = next((place for place, c in enumerate(name) if _is_visible(c)), len(name))
    end = len(name)
    while end > start and _is_blank(name[end - 1]):
        end -= 1
    return name[start : end + 1] if start < end and name[end : end + 1] == _EMOJI_STYLE else name[start:end]


def _is_visible(character: str) -> bool:
    """Whether a character shows something by itself; a combining mark does not."""
    return not _is_blank(character) and unicodedata.category(character) not in _MARKS


def _is_blank(character: str) -> bool:
    return character == " " or is_invisible(character)
