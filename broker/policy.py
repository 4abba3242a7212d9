"""Who may enter: the rules that decide about a genuine person.

This file owns no protocol and no provider's quirks; it is asked last, and its answer is final.
"""

from __future__ import annotations

from dataclasses import dataclass

from broker.errors import EmailDomainNotAllowed, GroupNotAllowed, GroupsOverage
from broker.identity import Identity

MAX_NAMED_GROUPS = 10  # of a person who is in none of those allowed
NO_GROUPS_SENT = "The provider sends no groups: have it send the claim that groups_claim names."


@dataclass(frozen=True, slots=True)
class Policy:
    """What a provider may vouch for.

    Args:
        email_domains: the domains whose addresses it may assert, in lower case; subdomains are not implied.
        allowed_groups: groups one of which is demanded; none means that groups do not matter.
    """

    email_domains: frozenset[str]
    allowed_groups: frozenset[str] = frozenset()


def admit(identity: Identity, policy: Policy, *, groups: object, groups_left_out: bool = False) -> None:
    """Let the person in, or say why not.

    Args:
        identity: whom the provider vouches for.
        policy: what the provider may vouch for.
        groups: the value of the groups claim, of whatever type the provider sent; None if it sent none.
        groups_left_out: the provider says that there are too many to send.

    Raises:
        EmailDomainNotAllowed: the address is not this provider's to assert.
        GroupsOverage: groups decide, and the provider left them out.
        GroupNotAllowed: the person is in none of the groups allowed, or the provider did not say.
    """
    if identity.email_domain not in policy.email_domains:
        raise EmailDomainNotAllowed(expected=sorted(policy.email_domains), got=identity.email_domain)
    if policy.allowed_groups and groups_left_out and groups is None:
        raise GroupsOverage(expected=sorted(policy.allowed_groups), got="more groups than a token holds")
    if policy.allowed_groups and not policy.allowed_groups & _names(groups):
        refusal = GroupNotAllowed(expected=sorted(policy.allowed_groups), got=sorted(_names(groups))[:MAX_NAMED_GROUPS])
        if not refusal.got:
            refusal.got = "no groups at all"
        if groups is None:
            refusal.remedy = NO_GROUPS_SENT
        raise refusal


def _names(groups: object) -> set[str]:
    listed = [groups] if isinstance(groups, str) else groups if isinstance(groups, list) else []
    return {group for group in listed if isinstance(group, str)}
