"""The registration of the broker as a client of a provider, as the admin entered it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

# RFC 7518, section 3.1 and RFC 8037, without `none` and without symmetric algorithms.
SignatureAlgorithm = Literal["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"]
SIGNATURE_ALGORITHMS: frozenset[str] = frozenset(get_args(SignatureAlgorithm))

_SENT = {
    "response_type", "client_id", "redirect_uri", "scope", "state", "nonce", "code_challenge", "code_challenge_method",
    "max_age",
}  # fmt: skip
PROTOCOL_PARAMETERS = frozenset(_SENT | {"prompt", "login_hint"})
"""Of the authorization request, whatever the admin adds."""
RESERVED_PARAMETERS = frozenset(
    _SENT | {
        "response_mode", "client_secret", "code", "code_verifier", "request", "request_uri", "id_token_hint",
        "grant_type", "client_assertion", "client_assertion_type", "registration", "iss", "dpop_jkt",
    }
)  # fmt: skip
"""Parameters that an admin cannot add: the protocol sends them, or they would change how the provider answers."""


@dataclass(frozen=True, slots=True)
class RequiredAuthentication:
    """How the person has to sign in at the provider (OpenID Connect Core, section 2); empty: that does not matter.

    Args:
        acr: authentication contexts; the ID token has to name one.
        amr: authentication methods; the ID token has to list one.
        acr_claim: `acr`, a text; or the vendor's claim that lists several contexts.
    """

    acr: tuple[str, ...] = ()
    amr: tuple[str, ...] = ()
    acr_claim: str = "acr"


@dataclass(frozen=True, slots=True)
class Registration:
    """One client registration at one issuer.

    Args:
        issuer: the metadata is looked up below it.
        metadata_issuer: `issuer` in the metadata, character by character; differs from `issuer` only if a provider
            serves many tenants from one address.
        client_assertion: makes the assertion for an audience; None for other client authentication.
        assertion_for_issuer: the audience of the assertion is the issuer, not the token endpoint (RFC 7523, section 3).
        client_secret: returns the current secret, which may change; None for a public client.
        client_authentication: OpenID Connect Core, section 9.
        redirect_uri: different for each provider (RFC 9700, section 4.4.2).
        scopes: `openid` among them.
        signing_algorithms: accepted for ID tokens; never taken from discovery or from the token.
        max_age: seconds since the person last gave credentials; None for no limit.
        allow_loopback: accept plain http and loopback addresses, in development.
        metadata_url: None if the metadata is below the issuer.
        credential: returns the secret, key or token of the client authentication, which may change; None without one.
        reread_credential: the same, after a look at its file.
        required_authentication: of each person, in the ID token.
        trusted_audiences: accepted in `aud` beside the client ID (OpenID Connect Core, section 3.1.3.7, 3).
    """

    issuer: str
    metadata_issuer: str
    client_id: str
    client_secret: Callable[[], str] | None = field(repr=False)
    client_assertion: Callable[[str], str] | None = field(repr=False)
    client_authentication: str
    redirect_uri: str
    scopes: tuple[str, ...]
    signing_algorithms: frozenset[str]
    authorization_parameters: Mapping[str, str]
    max_age: int | None
    allow_loopback: bool
    metadata_url: str | None = None
    required_authentication: RequiredAuthentication = RequiredAuthentication()
    trusted_audiences: frozenset[str] = frozenset()
    assertion_for_issuer: bool = False
    credential: Callable[[], object] | None = field(default=None, repr=False)
    reread_credential: Callable[[], object] | None = field(default=None, repr=False)
