"""`broker explain`: read claims from a file, and decide by the rules of a sign-in whether the person may enter.

Only the rules about the person apply: no signature, audience, time or nonce is checked.
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
from broker.oidc.id_token import check_authentication, check_issuer, check_subject
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
from broker.text import printable

INPUT_LIMIT = 4 * RESPONSE_LIMIT  # bytes: an ID token and userinfo at a sign-in's own bounds, however they are encoded

_TOKEN = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*")
_ENCRYPTED = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]*){4}")


class UnusableInput(Exception):
    """The input cannot be used; the text tells the admin why."""


@dataclass(frozen=True, slots=True)
class GivenClaims:
    """The unverified claims about one person, all or some of them.

    Args:
        userinfo: None if the input has no userinfo.
    """

    id_token: JsonObject = field(repr=False)
    userinfo: JsonObject | None = field(repr=False)
    from_token: bool


def pick(kind: str, known: str, wanted: str | None, among: Sequence[str]) -> str:
    """Return a known id.

    Args:
        kind: what the id names, for the message.
        known: what is true of the known ids, for the message, such as `offers okta`.
        wanted: None for the first id.

    Raises:
        UnusableInput: the id is not known, or there is none.
    """
    if not among:
        raise UnusableInput(f"No {kind} {known}.")
    if wanted is not None and wanted not in among:
        raise UnusableInput(f"No {kind} with the id {wanted!r} {known}. Known: {', '.join(among)}.")
    return wanted or among[0]


def read_claims(given: bytes) -> GivenClaims:
    """Read claims, claims of ID token and userinfo, a token response, or a token.

    Args:
        given: in any encoding of JSON, with or without a byte order mark.

    Raises:
        UnusableInput: the content is none of these.
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
    considered, outcome = _decide(provider, given)
    identity, refusal = (None, outcome) if isinstance(outcome, BrokerError) else (outcome, None)
    claims = build_claims(identity, site, now=now) if identity else None
    return Explanation(provider.id, site.id, identity, refusal, claims, considered, _notes(provider, site, given))


def trace_claims(provider: Provider, decision: EmailDecision, refusal: BrokerError | None) -> tuple[ClaimTrace, ...]:
    """Return the claims considered for address and groups, in order, with the policy's verdicts.

    Args:
        refusal: why the person may not enter; None if they may.
    """
    if isinstance(refusal, EmailDomainNotAllowed):
        policy = ClaimTrace(decision.email_from, f"refused: {refusal.code}")
    elif isinstance(refusal, GroupNotAllowed | GroupsOverage):
        policy = ClaimTrace(provider.rules.groups_claim or "", f"refused: {refusal.code}")
    elif refusal is None and provider.rules.allowed_groups:
        policy = ClaimTrace(provider.rules.groups_claim or "", "accepted: one of allowed_groups")
    else:
        return decision.considered
    return (*decision.considered, policy)


def _payload(token: str) -> JsonObject:
    if _ENCRYPTED.fullmatch(token):
        raise UnusableInput("The token is encrypted: its claims cannot be read.")
    if not _TOKEN.fullmatch(token):
        raise UnusableInput("id_token is not a token.")
    payload = token.split(".")[1]
    try:
        claims = base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4))
    except ValueError:
        raise UnusableInput("The token is truncated: its claims cannot be decoded.") from None
    return _object(claims, "The claims of the token are not a JSON object")


def _object(text: bytes | str, complaint: str) -> JsonObject:
    try:
        return read_json_object(text)
    except AnswerUnreadable as error:
        reason = ", have a key twice, or are nested too deep"
        if isinstance(broken := error.__context__, json.JSONDecodeError):
            reason = f": syntax error in line {broken.lineno}, column {broken.colno}"
        raise UnusableInput(f"{complaint}{reason}.") from None


def _decide(provider: Provider, given: GivenClaims) -> tuple[tuple[ClaimTrace, ...], Identity | BrokerError]:
    """Take the steps of `signin.complete` that concern the person, as far as the claims are given."""
    claims, userinfo = given.id_token, None
    checked = "tid (ID token)"  # before iss: the expected issuer may depend on the tenant
    try:
        if "tid" in claims or "iss" in claims:
            expected_issuer = provider.kind.expected_issuer(
                provider.registration, claims, provider.rules, key_issuer=None
            )
            checked = "iss (ID token)"
            if "iss" in claims:
                check_issuer(claims, expected_issuer=expected_issuer)
        checked = "sub (ID token)"
        subject = check_subject(claims) if "sub" in claims else ""
        id_token = UnverifiedIdToken(claims, claims.get("iss", ""), subject)
        required = provider.registration.required_authentication
        checked = f"{required.acr_claim} and amr (ID token)"
        check_authentication(claims, required)
        checked = "sub (userinfo)"
        if given.userinfo is not None and wants_userinfo(provider, id_token):
            userinfo = given.userinfo
            if "sub" in userinfo and subject:
                check_same_subject(userinfo, expected_subject=subject)
    except BrokerError as refusal:
        return (ClaimTrace(checked, f"refused: {refusal.code}"),), refusal
    person = PersonClaims(id_token, userinfo)
    decision = provider.kind.decide_email(person, provider.rules)
    try:
        identity = admit_person(provider, person, decision)
    except BrokerError as refusal:
        return trace_claims(provider, decision, refusal), refusal
    return trace_claims(provider, decision, None), identity


def _notes(provider: Provider, site: Site, given: GivenClaims) -> tuple[str, ...]:
    """Return what else an admin should know."""
    notes = []
    if given.from_token:
        notes.append("The token was only decoded: its signature, audience and times were not verified.")
    if provider.id not in site.provider_ids:
        notes.append("The provider has enabled: false: agents cannot sign in with it yet.")
    if provider.rules.tenants and "tid" not in given.id_token and "iss" not in given.id_token:
        notes.append("The claims name no tenant (tid, iss), so the tenant was not checked. A sign-in needs a tenant.")
    names = (provider.registration.required_authentication.acr_claim, "amr", "auth_time")
    said = [f"{name}: {printable(given.id_token[name])}" for name in names if given.id_token.get(name) is not None]
    if said:
        notes.append(f"The claims say how the person signed in: {'; '.join(said)}.")
    wanted = wants_userinfo(provider, UnverifiedIdToken(given.id_token))
    if wanted and given.userinfo is None:
        notes.append("A sign-in also requests userinfo if the provider offers it. These claims have no userinfo.")
    if given.userinfo is not None and not wanted:
        notes.append(f"userinfo was ignored: a sign-in does not request userinfo (userinfo: {provider.userinfo}).")
    return tuple(notes)
