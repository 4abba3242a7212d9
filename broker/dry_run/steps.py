"""Every check of a sign-in by name, what each check found, and where the sign-in stopped."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from broker.dry_run.report import Step, StepStatus
from broker.errors import (
    BrokerError,
    CallbackIssuer,
    EmailDomainNotAllowed,
    GroupNotAllowed,
    GroupsOverage,
    IdTokenAccessTokenHash,
    IdTokenAudience,
    IdTokenAuthTime,
    IdTokenNonce,
    IdTokenSubject,
    IdTokenTime,
)
from broker.identity import Identity
from broker.oidc.id_token import SignedClaims, VerifiedIdToken
from broker.oidc.metadata import ProviderMetadata
from broker.oidc.tokens import TokenResponse
from broker.providers import EmailDecision, Provider, VerifiedClaims
from broker.text import printable


@dataclass(frozen=True, slots=True)
class Established:
    """What a test sign-in established before it ended; None for what it did not reach.

    Args:
        seconds: from the setup page to the callback.
        identity: the admitted person.
    """

    seconds: float | None = None
    metadata: ProviderMetadata | None = None
    code: str | None = field(default=None, repr=False)
    tokens: TokenResponse | None = None
    signed: SignedClaims | None = None
    id_token: VerifiedIdToken | None = None
    claims: VerifiedClaims | None = None
    decision: EmailDecision | None = None
    identity: Identity | None = None


@dataclass(frozen=True, slots=True)
class _Way:
    """A test sign-in that ended, with what a check needs to say what it found."""

    provider: Provider
    established: Established
    unverified_parameters: Mapping[str, str]
    now: float

    @property
    def signed_claims(self) -> Mapping[str, Any]:
        return self.established.signed.claims if self.established.signed else {}


Found = str | tuple[StepStatus, str]


@dataclass(frozen=True, slots=True)
class _Check:
    """One check.

    Args:
        by: what is established once the check passed; checks of one message share it.
        found: says what was found; `not_needed` where there was nothing to check.
        fails_by: the errors of this check. The first check of a message has none: it stands for all other errors.
    """

    name: str
    by: Literal["metadata", "seconds", "code", "tokens", "signed", "id_token", "claims", "identity"]
    found: Callable[[_Way], Found]
    fails_by: tuple[type[BrokerError], ...] = ()


def describe_steps(
    provider: Provider,
    established: Established,
    refusal: BrokerError | None,
    unverified_parameters: Mapping[str, str],
    *,
    now: float,
) -> tuple[Step, ...]:
    """Return every check of a sign-in with how it ended, in the order of a sign-in.

    Args:
        refusal: where the test sign-in stopped; None if it did not.
        unverified_parameters: of the callback.
        now: seconds since the epoch.
    """
    way = _Way(provider, established, unverified_parameters, now)
    pending = [check for check in _CHECKS if getattr(established, check.by) is None]
    message = [check for check in pending if check.by == pending[0].by]  # its checks did not all pass
    failed = next((check for check in message if isinstance(refusal, check.fails_by)), next(iter(message), None))
    return tuple(_step(check, way, refusal, failed) for check in _CHECKS)


def _step(check: _Check, way: _Way, refusal: BrokerError | None, failed: _Check | None) -> Step:
    if check is failed and refusal is not None:
        expected, got = printable(refusal.expected), printable(refusal.got)
        return Step(check.name, "failed", f"Expected: {expected}. Got: {got}.")
    is_before = failed is not None and check.by == failed.by and _CHECKS.index(check) < _CHECKS.index(failed)
    if getattr(way.established, check.by) is None and not is_before:
        return Step(check.name, "not_reached")
    found = check.found(way)
    return Step(check.name, "passed", found) if isinstance(found, str) else Step(check.name, *found)


def _callback_issuer(way: _Way) -> Found:
    if "iss" in way.unverified_parameters:
        return "iss is the provider's."
    return "not_needed", "The provider does not send iss."


def _proof(way: _Way) -> str:
    registration = way.provider.registration
    method = registration.client_authentication if registration.client_assertion is None else "a signed assertion"
    return f"The code was accepted once, with {method} and PKCE (S256)."


def _algorithm(way: _Way) -> str:
    return f"By a key of the provider, {way.established.signed.algorithm if way.established.signed else ''}."


def _times(way: _Way) -> str:
    issued, expires = way.signed_claims.get("iat", 0), way.signed_claims.get("exp", 0)
    return f"Issued {way.now - issued:.0f} s ago by this machine's clock, valid for {expires - issued:.0f} s."


def _auth_time(way: _Way) -> Found:
    if way.provider.registration.max_age is None:
        return "not_needed", "max_age is not set."
    return f"The person signed in {way.now - way.signed_claims.get('auth_time', 0):.0f} s ago."


def _access_token_hash(way: _Way) -> Found:
    return "It fits." if "at_hash" in way.signed_claims else ("not_needed", "The token has no at_hash.")


def _userinfo(way: _Way) -> Found:
    claims, metadata = way.established.claims, way.established.metadata
    if claims is not None and claims.userinfo is not None:
        return "About the same person (sub)."
    if metadata is not None and metadata.userinfo_endpoint is None:
        return "not_needed", "The provider has no userinfo endpoint."
    return "not_needed", f"Not requested (userinfo: {way.provider.userinfo})."


def _email(way: _Way) -> str:
    decision = way.established.decision
    return f"{decision.email}, from {decision.email_from}." if decision else ""


def _groups(way: _Way) -> Found:
    if not way.provider.policy.allowed_groups:
        return "not_needed", "allowed_groups is not set."
    return "One of allowed_groups."


_CHECKS = (
    _Check("Metadata of the provider", "metadata", lambda way: f"Issuer {way.provider.registration.issuer}."),
    _Check(
        "Back in the same browser",
        "seconds",
        lambda way: f"state and cookie fit, after {way.established.seconds or 0:.0f} s.",
    ),
    _Check("Answer: who sent it (iss)", "code", _callback_issuer, (CallbackIssuer,)),
    _Check("Answer: the provider said yes", "code", lambda _: "A code came.", (BrokerError,)),
    _Check("Code exchanged for tokens", "tokens", _proof),
    _Check("ID token: signature", "signed", _algorithm),
    _Check("ID token: issuer (iss)", "id_token", lambda way: printable(way.signed_claims.get("iss"))),
    _Check("ID token: audience (aud)", "id_token", lambda _: "This client id, and no other.", (IdTokenAudience,)),
    _Check("ID token: times (exp, iat, nbf)", "id_token", _times, (IdTokenTime,)),
    _Check("ID token: nonce", "id_token", lambda _: "The nonce of this sign-in.", (IdTokenNonce,)),
    _Check("ID token: when the person signed in (auth_time)", "id_token", _auth_time, (IdTokenAuthTime,)),
    _Check("ID token: access token (at_hash)", "id_token", _access_token_hash, (IdTokenAccessTokenHash,)),
    _Check(
        "ID token: subject (sub)", "id_token", lambda way: printable(way.signed_claims.get("sub")), (IdTokenSubject,)
    ),
    _Check("userinfo", "claims", _userinfo),
    _Check("E-mail address", "identity", _email),
    _Check(
        "E-mail domain allowed",
        "identity",
        lambda way: f"One of {printable(sorted(way.provider.policy.email_domains))}.",
        (EmailDomainNotAllowed,),
    ),
    _Check("Group allowed", "identity", _groups, (GroupNotAllowed, GroupsOverage)),
)
