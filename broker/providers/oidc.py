"""The preset for any provider that behaves: the standard claims, and no benefit of the doubt.

An address counts when `email_verified` is JSON true in the same document (OpenID Connect Core, section 5.1), or when
the admin said, loudly, that it need not.
"""

from __future__ import annotations

from broker.errors import EmailContradicts, EmailMissing, EmailUnverified
from broker.identity import Identity, check_email, clean_name
from broker.providers.record import ClaimRules, Claims, Vouched


def decide_identity(vouched: Vouched, rules: ClaimRules) -> Identity:
    """Return the person by the standard claims.

    Args:
        vouched: what the provider vouches for.
        rules: what the admin set about its claims.

    Raises:
        EmailMissing, EmailMalformed, EmailContradicts, EmailUnverified: there is no address to believe in.
    """
    email, email_from = decide_email(vouched, rules)
    name, name_from = decide_name(vouched, rules, email)
    return Identity(
        email=email,
        email_from=email_from,
        name=name,
        name_from=name_from,
        subject=vouched.id_token.subject,
        issuer=vouched.id_token.issuer,
    )


def decide_email(vouched: Vouched, rules: ClaimRules) -> tuple[str, str]:
    """Return the address, and where it came from.

    Args:
        vouched: what the provider vouches for.
        rules: what the admin set about its claims.

    Raises:
        EmailMissing: no document has it.
        EmailMalformed: it is no plain mailbox.
        EmailContradicts: the documents name different addresses.
        EmailUnverified: no document says JSON true about it, or one says otherwise.
    """
    claim = rules.email_claim or "email"
    offers = [
        (check_email(claims[claim]), place, claims)
        for place, claims in vouched.documents()
        if claims.get(claim) not in (None, "")
    ]
    if not offers:
        raise EmailMissing(expected=f"the claim {claim}", got="no such claim")
    if len({email for email, _, _ in offers}) > 1:
        raise EmailContradicts(expected="one address", got="two different ones")
    if rules.trust_unverified_email:
        return offers[0][0], f"{claim} ({offers[0][1]})"
    said = [claims["email_verified"] for _, _, claims in offers if "email_verified" in claims]
    for email, place, claims in offers:
        if _vouches_for(claims, email) and all(verified is True for verified in said):
            return email, f"{claim} ({place})"
    raise EmailUnverified(expected="email_verified: true", got=f"email_verified: {said[0] if said else 'absent'!r}")


def decide_name(vouched: Vouched, rules: ClaimRules, email: str) -> tuple[str, str]:
    """Return the display name and the rule it came from: never empty, never an identity.

    Args:
        vouched: what the provider vouches for.
        rules: what the admin set about its claims.
        email: decided before; its local part is the last resort.
    """
    claim = rules.name_claim or "name"
    if name := clean_name(vouched.claim(claim)):
        return name, claim
    given, family = clean_name(vouched.claim("given_name")), clean_name(vouched.claim("family_name"))
    if name := clean_name(f"{given} {family}"):
        return name, "given_name family_name"
    return email.partition("@")[0], "the e-mail address"


def _vouches_for(claims: Claims, email: str) -> bool:
    """`email_verified` speaks of the claim `email` alone, whatever claim the admin chose."""
    verified_email = claims.get("email")
    return (
        claims.get("email_verified") is True
        and isinstance(verified_email, str)
        and verified_email.isascii()
        and verified_email.lower() == email
    )
