"""The person that a provider vouches for: the record, the grammar of address and name, and who may enter."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

from broker.errors import EmailDomainNotAllowed, EmailMalformed, GroupNotAllowed, GroupsOverage
from broker.text import is_invisible, type_name

MAX_EMAIL_CHARACTERS = 254  # RFC 5321, section 4.5.3.1.3, less the angle brackets
MAX_LOCAL_PART_CHARACTERS = 64  # RFC 5321, section 4.5.3.1.1
MAX_NAME_CHARACTERS = 100
MAX_NAMED_GROUPS = 10  # of the person's, in the log
NO_GROUPS_SENT = "The provider sends no groups: have it send the claim that groups_claim names."
MAX_FORM_CHARACTERS = 80  # of the form of a refused address in the log

_ATOM = r"[a-z0-9!#$%&'*+/=?^_`{|}~-]+"
LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"  # of a host name, in lower case
_HOST_NAME = re.compile(rf"{LABEL}(?:\.{LABEL})*")
# Browsers read a last label like these as the end of an IPv4 address (WHATWG URL, "ends in a number").
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
_MAILBOX = re.compile(rf"(?P<local>{_ATOM}(?:\.{_ATOM})*)@(?P<domain>{LABEL}(?:\.{LABEL})+)")
_INVISIBLE = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})  # controls, bidi marks, surrogates, line breaks
_MARKS = frozenset({"Mn", "Mc", "Me"})  # combining: shown with the character before them
_EMOJI_STYLE = "\ufe0f"  # VARIATION SELECTOR-16: belongs to the character before it


@dataclass(frozen=True, slots=True)
class Identity:
    """A person that an identity provider vouches for.

    Args:
        email: checked, in lower case; Comm100 identifies an agent by the address only.
        name: for display; never an identity.
        name_from: the claim or rule of the name.
    """

    email: str
    email_from: str
    name: str
    name_from: str
    subject: str
    issuer: str

    @property
    def email_domain(self) -> str:
        """The part of the address after the @, which decides who may assert the address."""
        return self.email.rpartition("@")[2]


def is_host_name(text: str) -> bool:
    """Tell whether a text is a lower-case DNS name in ASCII that no browser takes for a number."""
    return (
        len(text) <= 253
        and _HOST_NAME.fullmatch(text) is not None
        and _NUMBER.fullmatch(text.rpartition(".")[2]) is None
    )


def check_email(unverified_email: object) -> str:
    """Return the address in lower case, if it is a plain ASCII mailbox; an address is never repaired.

    Accepted are a dot-atom local part and a dotted host name (RFC 5322, section 3.4.1, without quoting, comments or
    literals). Addresses that two systems could read differently are refused.

    Args:
        unverified_email: a claim of any type.

    Raises:
        EmailMalformed: for any other value.
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
    """Return a display name without controls and direction marks, cut to length; empty if no character is visible.

    Invisible characters are removed from both ends. Inside they stay, such as the variation selector of an emoji.
    Format characters such as the zero width joiner are removed everywhere, so joined emoji appear side by side.

    Args:
        unverified_name: a claim of any type.
    """
    if not isinstance(unverified_name, str):
        return ""
    unverified_name = unverified_name[: 10 * MAX_NAME_CHARACTERS]
    if unverified_name.isascii() and unverified_name.isprintable():  # most names
        return " ".join(unverified_name.split())[:MAX_NAME_CHARACTERS].rstrip()
    visible = "".join(" " if c.isspace() else c for c in unverified_name)
    visible = "".join(c for c in visible if unicodedata.category(c) not in _INVISIBLE)
    return _without_invisible_ends(" ".join(visible.split())[:MAX_NAME_CHARACTERS])


@dataclass(frozen=True, slots=True)
class ClaimRules:
    """The admin's rules for one provider: which claims describe a person, and who may enter.

    Args:
        trust_unverified_email: accept an address without `email_verified`; an insecure option.
        email_domains: the domains that the provider may assert, in lower case; subdomains are not implied.
        tenants: Entra: the admitted tenants of a multi-tenant application; empty for a single tenant.
        groups_claim: None if groups do not matter.
        allowed_groups: the person must be in one of them; empty if groups do not matter.
    """

    email_claim: str = "email"
    name_claim: str = "name"
    trust_unverified_email: bool = False
    email_domains: frozenset[str] = frozenset()
    tenants: frozenset[str] = frozenset()
    groups_claim: str | None = None
    allowed_groups: frozenset[str] = frozenset()


def admit(identity: Identity, rules: ClaimRules, *, groups: object, groups_left_out: bool = False) -> None:
    """Return if the person may enter; this is the last decision of a sign-in.

    Args:
        groups: the groups claim, of any type; None if the provider sent none.
        groups_left_out: the provider says that there are too many groups to send.

    Raises:
        EmailDomainNotAllowed: the provider may not assert this address.
        GroupsOverage: groups decide, and the provider left them out.
        GroupNotAllowed: the person is in none of the allowed groups, or the provider sent no groups.
    """
    if identity.email_domain not in rules.email_domains:
        raise EmailDomainNotAllowed(expected=sorted(rules.email_domains), got=identity.email_domain)
    if rules.allowed_groups and groups_left_out and groups is None:
        raise GroupsOverage(expected=sorted(rules.allowed_groups), got="more groups than a token holds")
    if rules.allowed_groups and not rules.allowed_groups & _names(groups):
        got = sorted(_names(groups))[:MAX_NAMED_GROUPS] or "no groups at all"
        remedy = NO_GROUPS_SENT if groups is None else ""
        raise GroupNotAllowed(expected=sorted(rules.allowed_groups), got=got, remedy=remedy)


def _without_invisible_ends(name: str) -> str:
    """Remove everything before the first visible character, and blanks after the last one."""
    start = next((place for place, c in enumerate(name) if _is_visible(c)), len(name))
    end = len(name)
    while end > start and _is_blank(name[end - 1]):
        end -= 1
    return name[start : end + 1] if start < end and name[end : end + 1] == _EMOJI_STYLE else name[start:end]


def _is_visible(character: str) -> bool:
    """Tell whether a character is visible by itself; a combining mark is not."""
    return not _is_blank(character) and unicodedata.category(character) not in _MARKS


def _is_blank(character: str) -> bool:
    return character == " " or is_invisible(character)


def _names(groups: object) -> set[str]:
    listed = [groups] if isinstance(groups, str) else groups if isinstance(groups, list) else []
    return {group for group in listed if isinstance(group, str)}
