"""From verified claims to an admitted person: the kind decides the address, the policy decides about entry.

A sign-in, a test sign-in and `broker explain` all ask here.
"""

from __future__ import annotations

from broker.errors import EmailMissing
from broker.identity import ClaimRules, Identity, admit, clean_name
from broker.providers.kind import EmailDecision, IdTokenClaims, PersonClaims, Provider, ProviderKind

_EMAIL_NOT_IN_SCOPES = "Without email in scopes the provider leaves the address out: add it there."


def wants_userinfo(provider: Provider, id_token: IdTokenClaims) -> bool:
    """Tell whether to request userinfo, if the provider has the endpoint."""
    if provider.userinfo == "when_needed":
        claims, rules = PersonClaims(id_token, None), provider.rules
        has_email = claims.claim(rules.email_claim) or provider.kind.decide_email(claims, rules).email
        return not (has_email and clean_name(claims.claim(rules.name_claim)))
    return provider.userinfo == "always"


def admit_person(provider: Provider, claims: PersonClaims, decision: EmailDecision | None = None) -> Identity:
    """Return the person, if they may enter.

    Args:
        decision: about the address; None decides now.

    Raises:
        BrokerError: no address may be believed, or the policy refuses the person.
    """
    rules = provider.rules
    try:
        identity = decide_identity(provider.kind, claims, rules, decision)
    except EmailMissing as missing:
        if "email" not in provider.registration.scopes and rules.email_claim == "email":
            raise EmailMissing(expected=missing.expected, got=missing.got, remedy=_EMAIL_NOT_IN_SCOPES) from None
        raise
    name = rules.groups_claim
    groups = claims.claim(name) if name else None
    admit(identity, rules, groups=groups, groups_left_out=_leaves_groups_out(claims, name))
    return identity


def decide_identity(
    kind: ProviderKind, claims: PersonClaims, rules: ClaimRules, decision: EmailDecision | None = None
) -> Identity:
    """Return the person that the claims describe.

    Args:
        decision: about the address; None decides now.

    Raises:
        BrokerError: no address may be believed.
    """
    decision = decision or kind.decide_email(claims, rules)
    if decision.email is None:
        raise decision.refusal or EmailMissing()
    name, name_from = _decide_name(claims, rules, decision.email, username=kind.name_falls_back_to_username)
    return Identity(
        email=decision.email,
        email_from=decision.email_from,
        name=name,
        name_from=name_from,
        subject=claims.id_token.subject,
        issuer=claims.id_token.issuer,
    )


def _decide_name(claims: PersonClaims, rules: ClaimRules, email: str, *, username: bool) -> tuple[str, str]:
    """Return the display name, never empty, and its claim; with `username` also from `preferred_username`."""
    if name := clean_name(claims.claim(rules.name_claim)):
        return name, rules.name_claim
    given, family = clean_name(claims.claim("given_name")), clean_name(claims.claim("family_name"))
    if name := clean_name(f"{given} {family}"):
        return name, "given_name family_name"
    if username and (name := clean_name(claims.claim("preferred_username"))):
        return name, "preferred_username"
    return email.partition("@")[0], "the e-mail address"


def _leaves_groups_out(claims: PersonClaims, name: str | None) -> bool:
    """Tell whether the provider refers to another source for the groups (OpenID Connect Core, section 5.6.2)."""
    elsewhere = claims.claim("_claim_names")
    left_out = claims.claim("hasgroups") in (True, "true")  # Entra's, for the claim `groups` only
    return (isinstance(elsewhere, dict) and name in elsewhere) or (left_out and name == "groups")
