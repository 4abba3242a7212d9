"""Every check of a sign-in by name, what each found, and where a sign-in stopped.

The steps come in the order in which a sign-in goes them. This file judges nothing: how far the sign-in came is in its
`Progress`, and which of a message's checks it failed at is in the error.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from broker.dry_run.record import Step, StepStatus
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
from broker.providers import Provider
from broker.signin import Progress
from broker.text import printable


@dataclass(frozen=True, slots=True)
class Way:
    """How far a test sign-in came.

    Args:
        provider: that it was begun at.
        parameters: of the callback.
        progress: in the protocol.
        seconds: from the setup page to the callback; None if it never began.
        identity: the person, if admitted.
        refusal: where it stopped; None if it did not.
        now: seconds since the epoch.
    """

    provider: Provider
    parameters: Mapping[str, str]
    progress: Progress
    seconds: float | None
    identity: Identity | None
    refusal: BrokerError | None
    now: float

    @property
    def claims(self) -> Mapping[str, Any]:
        """Those of the ID token, once it is known who signed it."""
        return self.progress.signed.claims if self.progress.signed else {}


Found = str | tuple[StepStatus, str]


@dataclass(frozen=True, slots=True)
class _Check:
    """One check.

    Args:
        name: in plain words.
        done: whether its message passed all of its checks.
        found: says what was found, once it is done; `not_needed` where there was nothing to check.
        fails_by: the errors that mean this check of a message; none for the first check of a message, which stands
            for all errors that mean no other.
    """

    name: str
    done: Callable[[Way], bool]
    found: Callable[[Way], Found]
    fails_by: tuple[type[BrokerError], ...] = ()


def describe_steps(way: Way) -> tuple[Step, ...]:
    """Return every check of a sign-in with how it ended, in order.

    Args:
        way: how far it came.
    """
    pending = [check for check in _CHECKS if not check.done(way)]
    message = [check for check in pending if check.done is pending[0].done]  # whose checks did not all pass
    failed = next((check for check in message if isinstance(way.refusal, check.fails_by or ())), None)
    failed = failed or next(iter(message), None)
    return tuple(_step(check, way, failed) for check in _CHECKS)


def _step(check: _Check, way: Way, failed: _Check | None) -> Step:
    if check is failed and way.refusal is not None:
        expected, got = printable(way.refusal.expected), printable(way.refusal.got)
        return Step(check.name, "failed", f"Expected: {expected}. Got: {got}.")
    before = failed is not None and check.done is failed.done and _CHECKS.index(check) < _CHECKS.index(failed)
    if not check.done(way) and not before:
        return Step(check.name, "not_reached")
    found = check.found(way)
    return Step(check.name, "passed", found) if isinstance(found, str) else Step(check.name, *found)


def _metadata_came(way: Way) -> bool:
    return way.progress.metadata is not None


def _is_back(way: Way) -> bool:
    return way.seconds is not None


def _code_came(way: Way) -> bool:
    return way.progress.code is not None


def _tokens_came(way: Way) -> bool:
    return way.progress.tokens is not None


def _is_signed(way: Way) -> bool:
    return way.progress.signed is not None


def _is_ours(way: Way) -> bool:
    return way.progress.id_token is not None


def _is_vouched_for(way: Way) -> bool:
    return way.progress.verified is not None


def _is_admitted(way: Way) -> bool:
    return way.identity is not None


def _issuer_of_answer(way: Way) -> Found:
    return "iss is the provider's." if "iss" in way.parameters else ("not_needed", "The provider does not send iss.")


def _proof(way: Way) -> str:
    registration = way.provider.registration
    method = registration.client_authentication if registration.client_assertion is None else "a signed assertion"
    return f"The code was accepted once, with {method} and PKCE (S256)."


def _times(way: Way) -> str:
    issued, expires = way.claims.get("iat", 0), way.claims.get("exp", 0)
    return f"Issued {way.now - issued:.0f} s ago by this machine's clock, good for {expires - issued:.0f} s."


def _auth_time(way: Way) -> Found:
    if way.provider.registration.max_age is None:
        return "not_needed", "max_age is not set."
    return f"The person signed in {way.now - way.claims.get('auth_time', 0):.0f} s ago."


def _access_token_hash(way: Way) -> Found:
    return "It fits." if "at_hash" in way.claims else ("not_needed", "The token has no at_hash.")


def _userinfo(way: Way) -> Found:
    if way.progress.verified is not None and way.progress.verified.userinfo is not None:
        return "About the same person (sub)."
    metadata = way.progress.metadata
    if metadata is not None and metadata.userinfo_endpoint is None:
        return "not_needed", "The provider has no userinfo endpoint."
    return "not_needed", f"Not asked (userinfo: {way.provider.userinfo})."


def _email(way: Way) -> str:
    if way.progress.verified is None:
        return ""
    decision = way.provider.preset.decide_email(way.progress.verified, way.provider.rules)
    return f"{decision.email}, from {decision.email_from}."


def _domain(way: Way) -> str:
    return f"One of {printable(sorted(way.provider.policy.email_domains))}."


def _groups(way: Way) -> Found:
    if not way.provider.policy.allowed_groups:
        return "not_needed", "allowed_groups is not set."
    return "One of allowed_groups."


_CHECKS = (
    _Check("Metadata of the provider", _metadata_came, lambda way: f"Issuer {way.provider.registration.issuer}."),
    _Check("Back in the same browser", _is_back, lambda way: f"state and cookie fit, after {way.seconds or 0:.0f} s."),
    _Check("Answer: who sent it (iss)", _code_came, _issuer_of_answer, (CallbackIssuer,)),
    _Check("Answer: the provider said yes", _code_came, lambda _: "A code came.", (BrokerError,)),
    _Check("Code exchanged for tokens", _tokens_came, _proof),
    _Check("ID token: signature", _is_signed, lambda way: f"By a key of the provider, {_algorithm(way)}."),
    _Check("ID token: issuer (iss)", _is_ours, lambda way: printable(way.claims.get("iss"))),
    _Check("ID token: audience (aud)", _is_ours, lambda _: "This client id, and no other.", (IdTokenAudience,)),
    _Check("ID token: times (exp, iat, nbf)", _is_ours, _times, (IdTokenTime,)),
    _Check("ID token: nonce", _is_ours, lambda _: "That of this very sign-in.", (IdTokenNonce,)),
    _Check("ID token: when the person signed in (auth_time)", _is_ours, _auth_time, (IdTokenAuthTime,)),
    _Check("ID token: access token (at_hash)", _is_ours, _access_token_hash, (IdTokenAccessTokenHash,)),
    _Check("ID token: subject (sub)", _is_ours, lambda way: printable(way.claims.get("sub")), (IdTokenSubject,)),
    _Check("userinfo", _is_vouched_for, _userinfo),
    _Check("E-mail address", _is_admitted, _email),
    _Check("E-mail domain allowed", _is_admitted, _domain, (EmailDomainNotAllowed,)),
    _Check("Group allowed", _is_admitted, _groups, (GroupNotAllowed, GroupsOverage)),
)


def _algorithm(way: Way) -> str:
    return way.progress.signed.algorithm if way.progress.signed else ""
