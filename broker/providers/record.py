"""The record of one identity provider, and what an admin may say about its claims."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from broker.identity import Identity
from broker.oidc.discovery import Discovery, Send
from broker.oidc.id_token import VerifiedIdToken
from broker.oidc.registration import Registration
from broker.policy import Policy

Userinfo = Literal["always", "when_needed", "never"]
Claims = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ClaimRules:
    """What the admin set about the claims of one provider.

    Args:
        email_claim: the claim to take the address from, where the preset's own choice is not wanted.
        name_claim: likewise for the display name.
        trust_unverified_email: `email_verified` is not demanded; loud at every start.
    """

    email_claim: str | None = None
    name_claim: str | None = None
    trust_unverified_email: bool = False


@dataclass(frozen=True, slots=True)
class Vouched:
    """What a provider vouches for after every check of the protocol.

    Args:
        id_token: verified.
        userinfo: claims about the same subject; None if they were not asked for.
    """

    id_token: VerifiedIdToken
    userinfo: Claims | None

    def documents(self) -> tuple[tuple[str, Claims], ...]:
        """The places a claim can come from, by name; the signed one first."""
        signed = ("ID token", self.id_token.claims)
        return (signed,) if self.userinfo is None else (signed, ("userinfo", self.userinfo))

    def claim(self, name: str) -> object:
        """Return a claim from the first document that has it; None if neither does."""
        return next((claims[name] for _, claims in self.documents() if claims.get(name) is not None), None)


IdentityDecision = Callable[[Vouched, ClaimRules], Identity]


@dataclass(frozen=True, slots=True)
class Provider:
    """One identity provider as the admin configured it.

    Args:
        id: its name in settings, addresses and logs.
        label: the text on the chooser's button.
        registration: ours there.
        policy: what it may vouch for.
        rules: what the admin set about its claims.
        userinfo: when the userinfo endpoint is asked.
        groups_claim: where the groups are, if they matter.
        decide: the preset's decision from claims to identity.
        discovery: its metadata and keys.
        send: its client.
    """

    id: str
    label: str
    registration: Registration
    policy: Policy
    rules: ClaimRules
    userinfo: Userinfo
    groups_claim: str | None
    decide: IdentityDecision
    discovery: Discovery
    send: Send
