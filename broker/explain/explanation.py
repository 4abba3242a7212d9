"""The steps of a sign-in that are about the person, in their order, and what was looked at on the way.

This file owns the record `Explanation`. Every rule it asks is the sign-in's own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from broker.comm100 import Claim, Site, build_claims
from broker.errors import BrokerError, EmailDomainNotAllowed, GroupNotAllowed, GroupsOverage
from broker.explain.input import UnverifiedClaims
from broker.identity import Identity
from broker.oidc.id_token import VerifiedIdToken, check_issuer, check_subject
from broker.oidc.messages import JsonObject
from broker.oidc.signature import SignedClaims
from broker.oidc.userinfo import check_same_subject
from broker.providers import ClaimTrace, Provider, VerifiedClaims, admit_person, wants_userinfo

_NOT_VERIFIED = "The token was read as it is: its signature, audience and times were not verified."


@dataclass(frozen=True, slots=True)
class Explanation:
    """What would happen, and why.

    Args:
        provider: id of the identity provider.
        site: id of the Comm100 site.
        identity: the person, if they are admitted.
        refusal: why they are not; None if they are.
        claims: what Comm100 would get, unsigned; None for a person not admitted.
        considered: the claims looked at, in order.
        notes: what else an admin should know.
    """

    provider: str
    site: str
    identity: Identity | None
    refusal: BrokerError | None
    claims: Mapping[str, Claim] | None
    considered: tuple[ClaimTrace, ...]
    notes: tuple[str, ...]

    @property
    def admitted(self) -> bool:
        """Whether the person would be signed in."""
        return self.identity is not None


def explain(provider: Provider, site: Site, given: UnverifiedClaims, *, now: float) -> Explanation:
    """Say what would happen to a person of whom the provider says this, if the message itself were in order.

    Args:
        provider: who would say it.
        site: where the person would sign in.
        given: what would be said.
        now: seconds since the epoch.
    """
    considered: list[ClaimTrace] = []
    notes = [_NOT_VERIFIED] if given.from_token else []
    if provider.id not in site.provider_ids:
        notes.append("The provider is switched off (enabled: false): nobody can sign in with it yet.")
    identity, refusal, claims = None, None, None
    try:
        identity = _judge(provider, given, considered, notes)
        claims = build_claims(identity, site, now=now)
    except BrokerError as error:
        refusal = error
    return Explanation(provider.id, site.id, identity, refusal, claims, tuple(considered), tuple(notes))


def _judge(provider: Provider, given: UnverifiedClaims, considered: list[ClaimTrace], notes: list[str]) -> Identity:
    """Go the steps of `signin.complete` that are about the person, in their order."""
    claims = given.id_token
    _judge_issuer(provider, claims, considered, notes)
    with _refusals_of("sub (ID token)", considered):
        subject = check_subject(claims) if "sub" in claims else ""
    id_token = VerifiedIdToken(claims.get("iss", ""), subject, claims)  # as if: nothing is verified here
    with _refusals_of("sub (userinfo)", considered):
        verified = VerifiedClaims(id_token, _userinfo(provider, id_token, given.userinfo, notes))
    return judge_person(provider, verified, considered)


def judge_person(provider: Provider, verified: VerifiedClaims, considered: list[ClaimTrace]) -> Identity:
    """Return the person, if they may enter, and note what was looked at.

    Args:
        provider: with its preset, the admin's rules and the policy.
        verified: what it vouches for, or would.
        considered: gets every claim looked at, in order, before anything is raised.

    Raises:
        BrokerError: as `admit_person` does.
    """
    decision = provider.preset.decide_email(verified, provider.rules)
    considered += decision.considered
    groups = provider.groups_claim or ""
    try:
        identity = admit_person(provider, verified)
    except (EmailDomainNotAllowed, GroupNotAllowed, GroupsOverage) as refusal:
        claim = decision.email_from if isinstance(refusal, EmailDomainNotAllowed) else groups
        considered.append(ClaimTrace(claim, f"refused: {refusal.code}"))
        raise
    if provider.policy.allowed_groups:
        considered.append(ClaimTrace(groups, "accepted: one of allowed_groups"))
    return identity


def _judge_issuer(provider: Provider, claims: JsonObject, considered: list[ClaimTrace], notes: list[str]) -> None:
    """Ask whose claims these are, as far as they say: the tenant first, for the issuer follows from it."""
    if "tid" not in claims and "iss" not in claims:
        if provider.rules.tenants:
            notes.append("The claims name no tenant (tid, iss), so that was not judged; a sign-in demands one.")
        return
    with _refusals_of("tid (ID token)", considered):
        signed = SignedClaims("", None, claims)  # as if, likewise
        expected_issuer = provider.preset.expected_issuer(provider.registration, signed, provider.rules)
    if "iss" in claims:
        with _refusals_of("iss (ID token)", considered):
            check_issuer(claims, expected_issuer=expected_issuer)


@contextmanager
def _refusals_of(claim: str, considered: list[ClaimTrace]) -> Iterator[None]:
    try:
        yield
    except BrokerError as refusal:
        considered.append(ClaimTrace(claim, f"refused: {refusal.code}"))
        raise


def _userinfo(
    provider: Provider, id_token: VerifiedIdToken, userinfo: JsonObject | None, notes: list[str]
) -> JsonObject | None:
    """Return userinfo if a sign-in would ask for it, and it is about the same person as far as both say."""
    wanted = wants_userinfo(provider, id_token)
    if userinfo is None:
        if wanted:
            notes.append("A sign-in also asks userinfo, where the provider has it; there is none in these claims.")
        return None
    if not wanted:
        notes.append(f"userinfo was not looked at: a sign-in does not ask for it here (userinfo: {provider.userinfo}).")
        return None
    if "sub" in userinfo and id_token.subject:
        check_same_subject(userinfo, expected_subject=id_token.subject)
    return userinfo
