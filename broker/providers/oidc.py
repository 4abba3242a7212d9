"""The preset for any provider that behaves: the standard claims, and no benefit of the doubt.

An address counts when `email_verified` is true in the same document, or when the admin said, loudly, that it need not.
OpenID Connect Core, section 5.1 has it as a JSON boolean; Amazon Cognito writes the text "true", which counts, too.
Okta's decision differs in what silence about it means.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from broker.errors import BrokerError, EmailContradicts, EmailMalformed, EmailMissing, EmailUnverified
from broker.identity import check_email
from broker.oidc.registration import Registration
from broker.oidc.signature import SignedClaims
from broker.providers.record import ClaimRules, Claims, ClaimTrace, ConsolePaths, EmailDecision, Preset, VerifiedClaims


@dataclass(frozen=True, slots=True)
class EmailCandidate:
    """An address one document names.

    Args:
        email: checked.
        source: the claim and the document, for people.
        claims: of that document.
    """

    email: str
    source: str
    claims: Claims


def decide_email(verified: VerifiedClaims, rules: ClaimRules) -> EmailDecision:
    """Decide about the address by `email_verified` alone.

    Args:
        verified: what the provider vouches for.
        rules: what the admin set about its claims.
    """
    return decide_by_email_verified(verified, rules, accept_missing_email_verified=False)


def decide_by_email_verified(
    verified: VerifiedClaims, rules: ClaimRules, *, accept_missing_email_verified: bool
) -> EmailDecision:
    """Decide about the address a document names, by what the same document says about it.

    False in one document is enough to refuse, even if that document has no address. An odd value in userinfo does not
    outweigh true in the signed ID token. True in userinfo does not outweigh an odd value in the ID token.

    Args:
        verified: what the provider vouches for.
        rules: what the admin set about its claims.
        accept_missing_email_verified: an absent `email_verified` is accepted.
    """
    claim = rules.email_claim
    offers, considered = email_candidates(verified, claim)
    if isinstance(offers, BrokerError):
        return EmailDecision(None, "", offers, considered)
    if rules.trust_unverified_email:
        return taken(offers[0], considered, "taken: trust_unverified_email is on")
    said = [word for _, claims in verified.documents() if (word := claims.get("email_verified")) is not None]
    if accept_missing_email_verified and not said:
        return taken(offers[0], considered, "taken: email_verified is absent, which this preset accepts")
    # A document without the address may still say no.
    if not any(word in (False, "false") for word in said if isinstance(word, bool | str)):
        for offer in offers:
            signed = offer.claims is verified.id_token.claims
            if _vouches_for(offer.claims, offer.email) and (signed or all(_says_true(word) for word in said)):
                return taken(offer, considered, "taken: email_verified is true")
    doubtful = next((one for one in offers if not _says_true(one.claims.get("email_verified"))), offers[0])
    word = next((one for one in said if not _says_true(one)), doubtful.claims.get("email_verified"))
    refusal = _refuse(word)
    return EmailDecision(None, "", refusal, (*considered, ClaimTrace(doubtful.source, f"not taken: {refusal.got}")))


def _refuse(word: object) -> EmailUnverified:
    """Return the refusal for what `email_verified` says; None if the provider does not send it."""
    if word is None:
        refusal = EmailUnverified(expected="email_verified: true", got="email_verified: absent")
        refusal.remedy = f"The provider does not send email_verified: have it added to its claims. {refusal.remedy}"
        return refusal
    # Whole, or what the provider echoed could not be left out of it; and never in the remedy.
    shown = json.dumps(word) if isinstance(word, bool | str | int | float) else "an array or object"
    refusal = EmailUnverified(expected="email_verified: true", got=f"email_verified: {shown}")
    if word is not False and word != "false":
        refusal.remedy = f"The provider sends an email_verified that is neither true nor false. {refusal.remedy}"
    return refusal


def email_candidates(
    verified: VerifiedClaims, claim: str
) -> tuple[list[EmailCandidate] | BrokerError, tuple[ClaimTrace, ...]]:
    """Return every document's address, or why they cannot be used, and what was looked at.

    Args:
        verified: what the provider vouches for.
        claim: the claim's name.
    """
    offers: list[EmailCandidate] = []
    considered: list[ClaimTrace] = []
    for place, claims in verified.documents():
        source = f"{claim} ({place})"
        if claims.get(claim) in (None, ""):
            considered.append(ClaimTrace(source, "absent"))
            continue
        try:
            offers.append(EmailCandidate(check_email(claims[claim]), source, claims))
        except EmailMalformed as malformed:
            return malformed, (*considered, ClaimTrace(source, "not taken: no plain e-mail address"))
    if not offers:
        return EmailMissing(expected=f"the claim {claim}", got="no such claim"), tuple(considered)
    if len({offer.email for offer in offers}) > 1:
        both = [ClaimTrace(offer.source, "not taken: the documents name different addresses") for offer in offers]
        return EmailContradicts(expected="one address", got="two different ones"), (*considered, *both)
    return offers, tuple(considered)


def taken(offer: EmailCandidate, considered: tuple[ClaimTrace, ...], verdict: str) -> EmailDecision:
    """Return the decision for an address.

    Args:
        offer: the address and where it is from.
        considered: what was looked at before.
        verdict: why it was taken.
    """
    return EmailDecision(offer.email, offer.source, None, (*considered, ClaimTrace(offer.source, verdict)))


def _vouches_for(claims: Claims, email: str) -> bool:
    """`email_verified` speaks of the claim `email` alone, whatever claim the admin chose."""
    verified_email = claims.get("email")
    return (
        _says_true(claims.get("email_verified"))
        and isinstance(verified_email, str)
        and verified_email.isascii()
        and verified_email.lower() == email
    )


def _says_true(word: object) -> bool:
    """Tell whether a value is JSON true or the text `true`; no other spelling counts, and no number."""
    return word is True or (isinstance(word, str) and word == "true")


def expect_configured_issuer(registration: Registration, _signed: SignedClaims, _rules: ClaimRules) -> str:
    """Return the configured issuer: there is no other (OpenID Connect Core, section 3.1.3.7, 2)."""
    return registration.issuer


def _no_remedy(_said: str) -> None:
    return None


_REGISTRATION = "the client's registration at the provider"
_ISSUER = "the member issuer of the provider's /.well-known/openid-configuration"
_MENUS = ConsolePaths(
    issuer=_ISSUER,
    client_id=_REGISTRATION,
    client_secret=_REGISTRATION,
    redirect_uri=f"{_REGISTRATION}, under redirect URIs",
    sign_out_uri=f"{_REGISTRATION}, under post-logout redirect URIs",
    scopes=_REGISTRATION,
)
_KEYCLOAK_MENUS = ConsolePaths(
    issuer=f"{_ISSUER} (Keycloak: Realm settings > General > Endpoints)",
    client_id="Keycloak: Clients > the client > Settings > Client ID",
    client_secret="Keycloak: Clients > the client > Credentials",  # noqa: S106 - a place
    redirect_uri="Keycloak: Clients > the client > Settings > Valid redirect URIs",
    sign_out_uri="Keycloak: Clients > the client > Settings > Valid post logout redirect URIs",
    scopes="Keycloak: Clients > the client > Client scopes",
)


def console_paths(issuer: str) -> ConsolePaths:
    """Return Keycloak's menus for an issuer that is a realm of Keycloak's, and plain words for any other.

    Args:
        issuer: as configured.
    """
    return _KEYCLOAK_MENUS if "/realms/" in issuer else _MENUS


PRESET = Preset(
    name="oidc",
    decide_email=decide_email,
    expected_issuer=expect_configured_issuer,
    remedy=_no_remedy,
    console_paths=console_paths,
    guide="docs/admin/guides/other.md",
    prompt_for_another_account="login",
)
