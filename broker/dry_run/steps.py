"""Every check of a sign-in by name, what each check found, and where the sign-in stopped."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from broker.dry_run.report import Step, StepStatus
from broker.errors import (
    AuthenticationTooWeak,
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
class Progress:
    """How far a test sign-in came; None for what it did not reach.

    Args:
        now: seconds since the epoch, like `issued`.
        unverified_parameters: of the callback.
        issued: when the test sign-in began.
    """

    provider: Provider
    now: float
    unverified_parameters: Mapping[str, str] = field(default_factory=dict, repr=False)
    issued: int | None = None
    metadata: ProviderMetadata | None = None
    code: str | None = field(default=None, repr=False)
    tokens: TokenResponse | None = None
    signed: SignedClaims | None = None
    id_token: VerifiedIdToken | None = None
    claims: VerifiedClaims | None = None
    decision: EmailDecision | None = None
    identity: Identity | None = None

    @property
    def signed_claims(self) -> Mapping[str, Any]:
        """The claims of the ID token; empty before its signature is verified."""
        return self.signed.claims if self.signed else {}


Found = str | tuple[StepStatus, str]


@dataclass(frozen=True, slots=True)
class _Check:
    """One check.

    Args:
        by: what the sign-in has once the check passed; checks of one message share it.
        found: says what was found; `not_needed` if there was nothing to check.
        fails_by: the errors of this check. The first check of a message has none: it stands for all other errors.
    """

    name: str
    by: Literal["metadata", "issued", "code", "tokens", "signed", "id_token", "claims", "identity"]
    found: Callable[[Progress], Found] | str
    fails_by: tuple[type[BrokerError], ...] = ()


def describe_steps(progress: Progress, refusal: BrokerError | None) -> tuple[Step, ...]:
    """Return every check of a sign-in with its result, in the order of a sign-in.

    Args:
        refusal: why the test sign-in stopped; None if it did not stop.
    """
    pending = [check for check in _CHECKS if getattr(progress, check.by) is None]
    message = [check for check in pending if check.by == pending[0].by]  # its checks did not all pass
    failed = next((check for check in message if isinstance(refusal, check.fails_by)), next(iter(message), None))
    stop = _CHECKS.index(failed) if failed else len(_CHECKS)
    steps = []
    for index, check in enumerate(_CHECKS):
        if index == stop and refusal is not None:
            detail = f"Expected: {printable(refusal.expected)}. Got: {printable(refusal.got)}."
            steps.append(Step(check.name, "failed", detail))
        elif index > stop and getattr(progress, check.by) is None:
            steps.append(Step(check.name, "not_reached"))
        else:
            found = check.found if isinstance(check.found, str) else check.found(progress)
            steps.append(Step(check.name, "passed", found) if isinstance(found, str) else Step(check.name, *found))
    return tuple(steps)


def _metadata(progress: Progress) -> str:
    return f"Issuer {progress.provider.registration.issuer}."


def _same_browser(progress: Progress) -> str:
    return f"State and cookie belong together; {progress.now - (progress.issued or 0):.0f} s after the start."


def _callback_issuer(progress: Progress) -> Found:
    if "iss" in progress.unverified_parameters:
        return "iss names the provider."
    return "not_needed", "The provider does not send iss."


def _code_exchange(progress: Progress) -> str:
    registration = progress.provider.registration
    method = registration.client_authentication if registration.client_assertion is None else "a signed assertion"
    return f"The code was accepted once, with {method} and PKCE (S256)."


def _signature(progress: Progress) -> str:
    return f"By a key of the provider, {progress.signed.algorithm if progress.signed else ''}."


def _issuer(progress: Progress) -> str:
    return printable(progress.signed_claims.get("iss"))


def _times(progress: Progress) -> str:
    issued, expires = progress.signed_claims.get("iat", 0), progress.signed_claims.get("exp", 0)
    return f"Issued {progress.now - issued:.0f} s ago by this machine's clock, valid for {expires - issued:.0f} s."


def _auth_time(progress: Progress) -> Found:
    auth_time = progress.signed_claims.get("auth_time")
    if progress.provider.registration.max_age is None:
        return "not_needed", f"max_age is not set. auth_time: {printable(auth_time)}."
    return f"The person signed in {progress.now - (auth_time or 0):.0f} s ago."


def _authentication(progress: Progress) -> Found:
    said = "; ".join(f"{name}: {printable(value)}" for name, value in authentication_of(progress).items())
    required = progress.provider.registration.required_authentication
    if not required.acr and not required.amr:
        return "not_needed", f"require_acr and require_amr are not set. {said}."
    return f"{said}."


def authentication_of(progress: Progress) -> Mapping[str, object]:
    """Return the claims that say how the person signed in at the provider; None for an absent claim."""
    names = (progress.provider.registration.required_authentication.acr_claim, "amr")
    return {name: progress.signed_claims.get(name) for name in names}


def _access_token_hash(progress: Progress) -> Found:
    if "at_hash" in progress.signed_claims:
        return "The hash is that of the access token."
    return "not_needed", "The token has no at_hash."


def _subject(progress: Progress) -> str:
    return printable(progress.signed_claims.get("sub"))


def _userinfo(progress: Progress) -> Found:
    if progress.claims is not None and progress.claims.userinfo is not None:
        return "About the same person (sub)."
    if progress.metadata is not None and progress.metadata.userinfo_endpoint is None:
        return "not_needed", "The provider has no userinfo endpoint."
    return "not_needed", f"Not requested (userinfo: {progress.provider.userinfo})."


def _email(progress: Progress) -> str:
    return f"{progress.decision.email}, from {progress.decision.email_from}." if progress.decision else ""


def _email_domain(progress: Progress) -> str:
    return f"One of {printable(sorted(progress.provider.rules.email_domains))}."


def _groups(progress: Progress) -> Found:
    if not progress.provider.rules.allowed_groups:
        return "not_needed", "allowed_groups is not set."
    return "One of allowed_groups."


_CHECKS = (
    _Check("Metadata of the provider", "metadata", _metadata),
    _Check("Back in the same browser", "issued", _same_browser),
    _Check("Callback: issuer (iss)", "code", _callback_issuer, (CallbackIssuer,)),
    _Check("Callback: authorization code", "code", "The provider sent a code.", (BrokerError,)),
    _Check("Code exchanged for tokens", "tokens", _code_exchange),
    _Check("ID token: signature", "signed", _signature),
    _Check("ID token: issuer (iss)", "id_token", _issuer),
    _Check("ID token: audience (aud)", "id_token", "This client ID, and no other.", (IdTokenAudience,)),
    _Check("ID token: times (exp, iat, nbf)", "id_token", _times, (IdTokenTime,)),
    _Check("ID token: nonce", "id_token", "The nonce of this sign-in.", (IdTokenNonce,)),
    _Check("ID token: time of authentication (auth_time)", "id_token", _auth_time, (IdTokenAuthTime,)),
    _Check("ID token: access token (at_hash)", "id_token", _access_token_hash, (IdTokenAccessTokenHash,)),
    _Check("ID token: subject (sub)", "id_token", _subject, (IdTokenSubject,)),
    _Check("ID token: strength of the sign-in (acr, amr)", "id_token", _authentication, (AuthenticationTooWeak,)),
    _Check("userinfo", "claims", _userinfo),
    _Check("E-mail address", "identity", _email),
    _Check("E-mail domain allowed", "identity", _email_domain, (EmailDomainNotAllowed,)),
    _Check("Group allowed", "identity", _groups, (GroupNotAllowed, GroupsOverage)),
)
