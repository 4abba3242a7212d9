"""From what a provider vouches for to a person admitted: the preset decides who, the policy decides whether.

A sign-in and `broker explain` both ask here, so that they cannot disagree. It knows nothing of how the claims came.
"""

from __future__ import annotations

from broker.errors import EmailMissing
from broker.identity import Identity, clean_name
from broker.oidc.id_token import VerifiedIdToken
from broker.policy import admit
from broker.providers.identify import decide_identity
from broker.providers.record import Provider, VerifiedClaims


def wants_userinfo(provider: Provider, id_token: VerifiedIdToken) -> bool:
    """Whether userinfo is to be asked, where the provider has it.

    Args:
        provider: with the admin's setting.
        id_token: which may say enough by itself.
    """
    if provider.userinfo == "when_needed":
        alone = VerifiedClaims(id_token, None)
        has_email = alone.claim(provider.rules.email_claim) or provider.preset.decide_email(alone, provider.rules).email
        return not (has_email and clean_name(alone.claim(provider.rules.name_claim)))
    return provider.userinfo == "always"


def admit_person(provider: Provider, verified: VerifiedClaims) -> Identity:
    """Return the person, if they may enter.

    Args:
        provider: with its preset, the admin's rules and the policy.
        verified: what it vouches for.

    Raises:
        BrokerError: there is no address to believe in, or the policy says no.
    """
    try:
        identity = decide_identity(provider.preset, verified, provider.rules)
    except EmailMissing as missing:
        if "email" not in provider.registration.scopes and provider.rules.email_claim == "email":
            missing.remedy = "Without email in scopes the provider leaves the address out: add it there."
        raise
    claim = provider.groups_claim
    groups = verified.claim(claim) if claim else None
    admit(identity, provider.policy, groups=groups, groups_left_out=_leaves_groups_out(verified, claim))
    return identity


def _leaves_groups_out(verified: VerifiedClaims, claim: str | None) -> bool:
    """Whether the provider points elsewhere for the groups (OpenID Connect Core, 5.6.2); we never go there."""
    elsewhere = verified.claim("_claim_names")
    left_out = verified.claim("hasgroups") in (True, "true")  # of the claim `groups` alone, as Entra has it
    return (isinstance(elsewhere, dict) and claim in elsewhere) or (left_out and claim == "groups")
