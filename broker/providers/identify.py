"""From what a provider vouches for to the person: the preset decides the address, one rule for all the name."""

from __future__ import annotations

from broker.errors import EmailMissing
from broker.identity import Identity, clean_name
from broker.providers.record import ClaimRules, Preset, VerifiedClaims


def decide_identity(preset: Preset, verified: VerifiedClaims, rules: ClaimRules) -> Identity:
    """Return the person.

    Args:
        preset: of the provider that vouches.
        verified: what it vouches for.
        rules: what the admin set about its claims.

    Raises:
        BrokerError: the refusal of the preset's decision: there is no address to believe in.
    """
    decision = preset.decide_email(verified, rules)
    if decision.email is None:
        raise decision.refusal or EmailMissing()
    name, name_from = decide_name(verified, rules, decision.email, username=preset.name_falls_back_to_username)
    return Identity(
        email=decision.email,
        email_from=decision.email_from,
        name=name,
        name_from=name_from,
        subject=verified.id_token.subject,
        issuer=verified.id_token.issuer,
    )


def decide_name(verified: VerifiedClaims, rules: ClaimRules, email: str, *, username: bool = False) -> tuple[str, str]:
    """Return the display name and the rule it came from: never empty, never an identity.

    Args:
        verified: what the provider vouches for.
        rules: what the admin set about its claims.
        email: decided before; its local part is the last resort.
        username: `preferred_username` comes before that.
    """
    claim = rules.name_claim
    if name := clean_name(verified.claim(claim)):
        return name, claim
    given, family = clean_name(verified.claim("given_name")), clean_name(verified.claim("family_name"))
    if name := clean_name(f"{given} {family}"):
        return name, "given_name family_name"
    if username and (name := clean_name(verified.claim("preferred_username"))):
        return name, "preferred_username"
    return email.partition("@")[0], "the e-mail address"
