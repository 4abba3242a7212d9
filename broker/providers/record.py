"""The records of one identity provider: what the admin set, what a preset knows, what was vouched for and decided."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from broker.errors import BrokerError
from broker.oidc.discovery import Discovery, Send
from broker.oidc.id_token import VerifiedIdToken
from broker.oidc.registration import Registration
from broker.oidc.signature import SignedClaims
from broker.policy import Policy

Userinfo = Literal["always", "when_needed", "never"]
Claims = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ClaimRules:
    """What the admin set about the claims of one provider.

    Args:
        email_claim: the claim that holds the address.
        name_claim: the claim that holds the display name.
        trust_unverified_email: `email_verified` is not demanded; loud at every start.
        email_domains: the domains the provider may assert; presets that choose between addresses look at them.
        tenants: Entra: the tenants admitted, where there are several; empty for a single one.
    """

    email_claim: str = "email"
    name_claim: str = "name"
    trust_unverified_email: bool = False
    email_domains: frozenset[str] = frozenset()
    tenants: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class VerifiedClaims:
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


@dataclass(frozen=True, slots=True)
class ClaimTrace:
    """One claim that was looked at for the address.

    Args:
        claim: its name and the document it is in.
        verdict: why it was taken, or why not; never the value.
    """

    claim: str
    verdict: str


@dataclass(frozen=True, slots=True)
class EmailDecision:
    """Which address was chosen, and how.

    Args:
        email: checked; None if there is none to believe in.
        email_from: the claim it came from.
        refusal: why there is none.
        considered: every claim looked at, in order.
    """

    email: str | None
    email_from: str
    refusal: BrokerError | None
    considered: tuple[ClaimTrace, ...]


@dataclass(frozen=True, slots=True)
class ConsolePaths:
    """Where an admin finds things at this kind of provider, in its own words; each a place, without a verb.

    Args:
        issuer: the issuer, or what it is made of.
        client_id: our client id.
        client_secret: our client secret, or the public half of our key.
        redirect_uri: the redirect URIs registered.
        sign_out_uri: the addresses people may come back to after signing out.
        scopes: which scopes we may ask for.
    """

    issuer: str
    client_id: str
    client_secret: str
    redirect_uri: str
    sign_out_uri: str
    scopes: str


@dataclass(frozen=True, slots=True)
class Preset:
    """What is known of one kind of provider.

    Args:
        name: of the kind, as in the settings.
        decide_email: which claim is the address, and whether it may be believed.
        expected_issuer: what `iss` of this token has to be.
        remedy: what an admin can do about a refusal, by what the provider said; None if nothing special is known.
        console_paths: where an admin finds what has to agree on both sides, by the issuer.
        guide: the document that leads through setting up this kind of provider.
        parse_error_page: what an authorization page that did not come back to us says about our request, in
            the provider's own codes, by its text and by where it redirects; None if it says nothing.
        client_secrets_expire: the provider gives a client secret an end, which it tells nobody.
        prompt_for_another_account: the value of `prompt` that lets a person choose another account.
        end_session_needs_hint: signing out without a hint ends on an error page of the provider.
        name_falls_back_to_username: `preferred_username` may stand in for a name.
        callback_issuers: what `iss` at the callback may be (RFC 9207), each with the issuer it is a spelling of.
        portal_issuers: what a portal may call itself where it starts a sign-in.
        parameters: authorization parameters of its own, by the domains configured.
    """

    name: str
    decide_email: Callable[[VerifiedClaims, ClaimRules], EmailDecision]
    expected_issuer: Callable[[Registration, SignedClaims, ClaimRules], str]
    remedy: Callable[[str], str | None]
    console_paths: Callable[[str], ConsolePaths]
    guide: str
    prompt_for_another_account: str
    parse_error_page: Callable[[str], str | None] = field(default=lambda _: None)
    client_secrets_expire: bool = True
    end_session_needs_hint: bool = False
    name_falls_back_to_username: bool = False
    callback_issuers: Callable[[Registration, ClaimRules], Mapping[str, str]] = field(
        default=lambda registration, _: {registration.metadata_issuer: registration.metadata_issuer}
    )
    portal_issuers: Callable[[Registration], Collection[str]] = field(
        default=lambda registration: {registration.issuer, registration.metadata_issuer}
    )
    parameters: Callable[[frozenset[str]], Mapping[str, str]] = field(default=lambda _: {})


@dataclass(frozen=True, slots=True)
class Provider:
    """One identity provider as the admin configured it.

    Args:
        id: its name in settings, addresses and logs.
        label: the text on the chooser's button.
        preset: what is known of its kind.
        registration: ours there.
        policy: what it may vouch for.
        rules: what the admin set about its claims.
        userinfo: when the userinfo endpoint is asked.
        groups_claim: where the groups are, if they matter.
        discovery: its metadata and keys.
        send: its client.
    """

    id: str
    label: str
    preset: Preset
    registration: Registration
    policy: Policy
    rules: ClaimRules
    userinfo: Userinfo
    groups_claim: str | None
    discovery: Discovery
    send: Send

    @property
    def console_paths(self) -> ConsolePaths:
        """Where an admin finds things at this very provider."""
        return self.preset.console_paths(self.registration.issuer)
