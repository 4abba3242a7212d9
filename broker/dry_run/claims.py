"""`broker explain`: reads the claims an admin has, and tells by the rules of a sign-in whether the person may enter.

It judges the person, not the message: no signature, audience, time or nonce is checked.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from broker.comm100 import Site, build_claims
from broker.dry_run.report import Explanation
from broker.errors import AnswerUnreadable, BrokerError, EmailDomainNotAllowed, GroupNotAllowed, GroupsOverage
from broker.identity import Identity
from broker.oidc.id_token import check_issuer, check_subject
from broker.oidc.messages import RESPONSE_LIMIT, JsonObject, read_json_object
from broker.oidc.userinfo import check_same_subject
from broker.providers import (
    ClaimTrace,
    EmailDecision,
    PersonClaims,
    Provider,
    UnverifiedIdToken,
    admit_person,
    wants_userinfo,
)

INPUT_LIMIT = 4 * RESPONSE_LIMIT  # bytes: an ID token and userinfo at a sign-in's own bounds, however they are encoded

_TOKEN = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*")
_ENCRYPTED = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]*){4}")


class UnusableInput(Exception):
    """The input cannot be judged; the text tells the admin why."""


@dataclass(frozen=True, slots=True)
class GivenClaims:
    """The claims about one person as an admin gives them; nobody verified them.

    Args:
        id_token: all or some of the claims of the ID token.
        userinfo: None if none are given.
        from_token: the claims were decoded from a token.
    """

    id_token: JsonObject = field(repr=False)
    userinfo: JsonObject | None = field(repr=False)
    from_token: bool


def pick(kind: str, wanted: str | None, among: Sequence[str]) -> str:
    """Return a known id.

    Args:
        kind: what has the id, for the message.
        wanted: None for the first id.
        among: the known ids.

    Raises:
        UnusableInput: the id is not known, or no id is.
    """
    if not among:
        raise UnusableInput(f"There is no {kind}.")
    if wanted is not None and wanted not in among:
        raise UnusableInput(f"There is no {kind} with the id {wanted!r}. Known: {', '.join(among)}.")
    return wanted or among[0]


def read_claims(given: bytes) -> GivenClaims:
    """Read claims, claims of ID token and userinfo, a token response, or a token.

    Args:
        given: the content of the file in any encoding of JSON, with or without a byte order mark.

    Raises:
        UnusableInput: it is none of these.
    """
    if len(given) > INPUT_LIMIT:
        raise UnusableInput(f"The claims are larger than {INPUT_LIMIT // 1024} KiB.")
    try:
        text = given.decode(json.detect_encoding(given)).strip()
    except UnicodeDecodeError:
        raise UnusableInput("The claims are not text.") from None
    token = "".join(text.split()).strip('"')
    if _TOKEN.fullmatch(token) or _ENCRYPTED.fullmatch(token):
        return GivenClaims(_payload(token), None, from_token=True)
    document = _object(text, "The claims are neither a JSON object nor a token")
    if not {"id_token", "userinfo"} & set(document):
        return GivenClaims(document, None, from_token=False)
    id_token, userinfo = document.get("id_token"), document.get("userinfo")
    if not isinstance(id_token, dict | str):
        raise UnusableInput("id_token must be a JSON object, or the token itself.")
    if not isinstance(userinfo, dict | None):
        raise UnusableInput("userinfo must be a JSON object.")
    claims = _payload(id_token) if isinstance(id_token, str) else id_token
    return GivenClaims(claims, userinfo, from_token=isinstance(id_token, str))


def explain(provider: Provider, site: Site, given: GivenClaims, *, now: float) -> Explanation:
    """Explain what a sign-in with these claims would do, if the message itself were valid.

    Args:
        now: seconds since the epoch.
    """
    considered, outcome = _judge(provider, given)
    notes = _notes(provider, site, given)
    if isinstance(outcome, BrokerError):
        return Explanation(provider.id, site.id, None, outcome, None, considered, notes)
    claims = build_claims(outcome, site, now=now)
    return Explanation(provider.id, site.id, outcome, None, claims, considered, notes)


def judge_person(
    provider: Provider, claims: PersonClaims, decision: EmailDecision
) -> tuple[tuple[ClaimTrace, ...], Identity | BrokerError]:
    """Return the claims that were considered, in order, and the person or why they may not enter.

    Args:
        decision: of the provider's kind about these claims.
    """
    groups = provider.groups_claim or ""
    try:
        identity = admit_person(provider, claims, decision)
    except EmailDomainNotAllowed as refusal:
        return (*decision.considered, ClaimTrace(decision.email_from, f"refused: {refusal.code}")), refusal
    except (GroupNotAllowed, GroupsOverage) as refusal:
        return (*decision.considered, ClaimTrace(groups, f"refused: {refusal.code}")), refusal
    except BrokerError as refusal:
        return decision.considered, refusal
    if not provider.policy.allowed_groups:
        return decision.considered, identity
    return (*decision.considered, ClaimTrace(groups, "accepted: one of allowed_groups")), identity


def _payload(token: str) -> JsonObject:
    if not _TOKEN.fullmatch(token):
        encrypted = _ENCRYPTED.fullmatch(token)
        raise UnusableInput(
            "The token is encrypted: its claims cannot be read." if encrypted else "This is not a token."
        )
    payload = token.split(".")[1]
    try:
        return _object(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)), "The token has no JSON object")
    except ValueError:
        raise UnusableInput("The token is truncated: its claims cannot be decoded.") from None


def _object(text: bytes | str, complaint: str) -> JsonObject:
    try:
        return read_json_object(text)
    except AnswerUnreadable as error:
        raise UnusableInput(f"{complaint}{_where(error)}.") from None


def _where(error: AnswerUnreadable) -> str:
    """Return the place of a syntax error in the JSON, or the other reasons."""
    if isinstance(broken := error.__context__, json.JSONDecodeError):
        return f": broken in line {broken.lineno}, column {broken.colno}"
    return ". Or a member appears twice, or the JSON is nested too deep"


def _judge(provider: Provider, given: GivenClaims) -> tuple[tuple[ClaimTrace, ...], Identity | BrokerError]:
    """Take the steps of `signin.complete` that are about the person, as far as the claims are given."""
    claims, userinfo = given.id_token, None
    checked = "tid (ID token)"  # before iss: the expected issuer may depend on the tenant
    try:
        if "tid" in claims or "iss" in claims:
            unverified = UnverifiedIdToken(claims)
            expected_issuer = provider.kind.expected_issuer(provider.registration, unverified, provider.rules)
            checked = "iss (ID token)"
            if "iss" in claims:
                check_issuer(claims, expected_issuer=expected_issuer)
        checked = "sub (ID token)"
        subject = check_subject(claims) if "sub" in claims else ""
        id_token = UnverifiedIdToken(claims, claims.get("iss", ""), subject)
        checked = "sub (userinfo)"
        if given.userinfo is not None and wants_userinfo(provider, id_token):
            userinfo = given.userinfo
            if "sub" in userinfo and subject:
                check_same_subject(userinfo, expected_subject=subject)
    except BrokerError as refusal:
        return (ClaimTrace(checked, f"refused: {refusal.code}"),), refusal
    person = PersonClaims(id_token, userinfo)
    return judge_person(provider, person, provider.kind.decide_email(person, provider.rules))


def _notes(provider: Provider, site: Site, given: GivenClaims) -> tuple[str, ...]:
    """Return what else an admin should know."""
    notes = []
    if given.from_token:
        notes.append("The token was only decoded: its signature, audience and times were not verified.")
    if provider.id not in site.provider_ids:
        notes.append("The provider has enabled: false: agents cannot sign in with it yet.")
    if provider.rules.tenants and "tid" not in given.id_token and "iss" not in given.id_token:
        notes.append("The claims name no tenant (tid, iss), so the tenant was not checked. A sign-in needs a tenant.")
    wanted = wants_userinfo(provider, UnverifiedIdToken(given.id_token))
    if wanted and given.userinfo is None:
        notes.append("A sign-in also requests userinfo if the provider offers it. These claims have no userinfo.")
    if given.userinfo is not None and not wanted:
        notes.append(f"userinfo was ignored: a sign-in does not request userinfo (userinfo: {provider.userinfo}).")
    return tuple(notes)
