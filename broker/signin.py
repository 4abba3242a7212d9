"""One sign-in, from Comm100's redirect to the token Comm100 accepts, told on one screen.

`begin` ends at the provider, `complete` at Comm100. A test sign-in (`dry_run`) takes the same steps as `complete`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from broker.comm100 import (
    CheckedRedirectUrl,
    Site,
    build_claims,
    build_delivery_url,
    build_token,
    check_redirect_url,
)
from broker.errors import (
    BrokerError,
    ClientRejected,
    IdTokenKeyUnknown,
    IdTokenSignature,
    NoSuchPage,
    Overloaded,
    ProviderRefused,
    ProviderReported,
    ProviderUnavailable,
    TokenRequestRefused,
)
from broker.identity import Identity
from broker.in_flight import Broker
from broker.logout import LogoutHint
from broker.oidc.authorization import build_authorization_url, check_callback, check_issuer_of_callback
from broker.oidc.id_token import VerifiedIdToken, check_claims
from broker.oidc.messages import without_echo
from broker.oidc.metadata import ProviderMetadata
from broker.oidc.signature import SignedClaims, verify_signature
from broker.oidc.tokens import TokenResponse, build_token_request, check_token_response
from broker.oidc.userinfo import build_userinfo_request, check_userinfo
from broker.providers import Provider, VerifiedClaims, admit_person, wants_userinfo
from broker.rejected_codes import Origin, Verdict
from broker.transaction import (
    BoundTransaction,
    BrowserCookie,
    DryRunTransaction,
    OpenedState,
    SignInTransaction,
    bind,
    sign,
)

MAX_REFETCHES = 2  # of the keys, for one sign-in
MAX_ADDRESS_CHARACTERS = 1750  # of the provider's, in all: Entra refuses about 1,800 (AADSTS90015)
FORGEABLE = "The words came through the browser: anybody can write them."
_AS_LONG_AS_A_NONCE = "x" * 43


@dataclass(frozen=True, slots=True)
class AuthorizationRedirect:
    """The provider's address for the browser, and the cookie to set."""

    location: str = field(repr=False)
    cookie: BrowserCookie


@dataclass(frozen=True, slots=True)
class SignedIn:
    """The address that delivers the token, the person, and what signing out at the provider will need."""

    location: str = field(repr=False)
    identity: Identity
    logout_hint: LogoutHint | None


async def begin(
    broker: Broker,
    site: Site,
    provider: Provider,
    *,
    redirect_url: CheckedRedirectUrl | None,
    restarted: bool,
    trace_id: str,
    hints: Mapping[str, str] | None = None,
) -> AuthorizationRedirect:
    """Begin a sign-in: return the provider's address for the browser.

    Args:
        redirect_url: checked for this site; None if Comm100 sent none.
        restarted: this sign-in replaces one that was lost.
        trace_id: the log has the whole sign-in under this id.
        hints: for the provider (`prompt`, `login_hint`), made or bounded by us.

    Raises:
        ProviderUnavailable, InvalidProviderResponse: there is no usable metadata of the provider.
    """
    transaction = SignInTransaction(site.id, provider.id, redirect_url, restarted, trace_id)
    return await redirect_to_provider(broker, provider, transaction, hints=hints)


async def redirect_to_provider(
    broker: Broker,
    provider: Provider,
    transaction: SignInTransaction | DryRunTransaction,
    *,
    hints: Mapping[str, str] | None = None,
) -> AuthorizationRedirect:
    """Sign a sign-in or a test sign-in, and return the provider's address with its state.

    Args:
        hints: for the provider, made or bounded by us.

    Raises:
        ProviderUnavailable, InvalidProviderResponse: there is no usable metadata of the provider.
    """
    async with broker.in_flight(provider.id):
        metadata = await provider.discovery.metadata.get()
    address = partial(build_authorization_url, metadata, provider.registration, hints=hints)
    without_state = address(state="", nonce=_AS_LONG_AS_A_NONCE, code_verifier=_AS_LONG_AS_A_NONCE)
    room = MAX_ADDRESS_CHARACTERS - len(without_state)
    signed = sign(transaction, now=broker.clock(), secret_keys=broker.secret_keys(), max_state=room)
    location = address(state=signed.state, nonce=signed.nonce, code_verifier=signed.code_verifier)
    return AuthorizationRedirect(location, signed.cookie)


async def complete(
    broker: Broker,
    provider: Provider,
    *,
    opened: OpenedState,
    cookie_value: str | None,
    unverified_parameters: Mapping[str, str],
    origins: Sequence[Origin],
) -> SignedIn:
    """Take the provider's answer, and return the address that brings the token to Comm100.

    Args:
        cookie_value: of the cookie named `opened.cookie_name`, unverified; None if the browser has no such cookie.
        unverified_parameters: of the callback, each given once. A redirect_url parameter here is ignored.
        origins: of the callback; rejected codes are counted for them.

    Raises:
        BrokerError: at the first check that fails. No later step runs.
    """
    # The state is ours, of this provider and this browser, and used once (RFC 9700, sections 4.4.2 and 4.7).
    bound = bind(opened, cookie_value, provider=provider.id, now=broker.clock())
    broker.replays.consume(bound.id, broker.clock())
    # The settings may have changed since /login.
    site = broker.sites.get(bound.transaction.site)
    if site is None or provider.id not in site.provider_ids:
        raise NoSuchPage(expected="a site that offers this provider", got=bound.transaction.site)
    redirect_url = bound.transaction.redirect_url
    checked_url = None if redirect_url is None else check_redirect_url(redirect_url, site)

    redemption = Redemption(broker, provider, bound)
    async with redemption.under_way(origins):
        metadata = await provider.discovery.metadata.get()
        code = check_answer(provider, metadata, unverified_parameters)
        tokens = await redemption.redeem(metadata, code)
        signed = await verify_with_newest_keys(provider, tokens)
        id_token = check_id_token(provider, bound, signed, tokens, unverified_parameters, now=broker.clock())
        claims = await ask_userinfo(provider, metadata, tokens, id_token)
        # The person is known. May they enter, and what does Comm100 read?
        identity = admit_person(provider, claims)
        token = build_token(build_claims(identity, site, now=broker.clock()), site)
        return SignedIn(
            build_delivery_url(token, checked_url, site), identity, _remember(provider, metadata, tokens, id_token)
        )


class Redemption:
    """The redemption of a sign-in's one code: the provider's verdict about it, and the secrets that came up.

    Attributes:
        secrets: what must never be logged or shown, even if the provider repeats it.
    """

    def __init__(self, broker: Broker, provider: Provider, bound: BoundTransaction[Any]) -> None:
        client_secret = provider.registration.client_secret
        self._broker = broker
        self._provider = provider
        self._bound = bound
        self._verdict: Verdict = "not asked"
        self.secrets = [bound.nonce, bound.code_verifier, client_secret() if client_secret else ""]

    @asynccontextmanager
    async def under_way(self, origins: Sequence[Origin]) -> AsyncIterator[None]:
        """Hold a turn of these origins and a place at the provider; redact the errors raised meanwhile.

        Raises:
            TooManyRejectedCodes, Overloaded, ProviderTimedOut: there is no turn, no place, or no time left.
        """
        turn = self._broker.rejected_codes.turns(origins, lambda: self._verdict)
        try:
            async with self._broker.in_flight(self._provider.id, turn):
                try:
                    yield
                except BrokerError as error:
                    error.redact(self.secrets)
                    _advise(self._provider, error)
                    raise
        finally:
            if self._verdict != "accepted":
                self._broker.replays.mark_refused(self._bound.id)

    async def redeem(self, metadata: ProviderMetadata, code: str) -> TokenResponse:
        """Exchange the code for tokens (RFC 6749, section 4.1.3), with the PKCE verifier (RFC 7636, section 4.5).

        Raises:
            BrokerError: the provider did not give usable tokens.
        """
        registration, verifier = self._provider.registration, self._bound.code_verifier
        request = build_token_request(metadata, registration, code=code, code_verifier=verifier)
        self.secrets += request.secrets
        self._verdict = "unanswered"
        try:
            tokens = check_token_response(without_echo(await self._provider.send(request), code))
        except Overloaded:
            self._verdict = "not asked"
            raise
        except (ProviderUnavailable, ClientRejected):
            raise  # the answer says nothing about the code
        except BrokerError:
            self._verdict = "rejected"  # RFC 6749, section 5.2 wants invalid_grant; providers say many other things
            raise
        self._verdict = "accepted"
        self.secrets += [tokens.access_token, tokens.unverified_id_token]
        return tokens


def check_answer(provider: Provider, metadata: ProviderMetadata, unverified_parameters: Mapping[str, str]) -> str:
    """Return the code, if this provider sends one (RFC 9207; RFC 6749, section 4.1.2).

    Args:
        unverified_parameters: of the callback, each given once.

    Raises:
        BrokerError: another provider answered, or the provider reports an error.
    """
    return check_callback(unverified_parameters, metadata, issuers=_callback_issuers(provider))


async def verify_with_newest_keys(provider: Provider, tokens: TokenResponse) -> SignedClaims:
    """Verify the ID token's signature, with newer keys if the cached keys do not fit (OpenID Connect Core, 10.1.1).

    A provider's key document may lag behind its signer: newer keys are requested twice, about a second apart.

    Raises:
        BrokerError: there are no keys, or none of them made the signature.
    """
    algorithms, cached = provider.registration.signing_algorithms, provider.discovery.keys
    keys, refetches = await cached.get(), 0
    while True:
        try:
            signed = verify_signature(tokens.unverified_id_token, keys, algorithms=algorithms)
        except (IdTokenKeyUnknown, IdTokenSignature):
            newer_keys = await cached.refetch(keys) if refetches < MAX_REFETCHES else None
            if newer_keys is None:
                raise
            keys, refetches = newer_keys, refetches + 1
            continue
        if refetches:
            cached.refetch_helped()
        return signed


def check_id_token(
    provider: Provider,
    bound: BoundTransaction[Any],
    signed: SignedClaims,
    tokens: TokenResponse,
    unverified_parameters: Mapping[str, str],
    *,
    now: float,
) -> VerifiedIdToken:
    """Check that the ID token is the provider's, for us, for this sign-in, now (OpenID Connect Core, 3.1.3.7).

    Args:
        unverified_parameters: of the callback; their `iss` has to name the issuer of the token.
        now: seconds since the epoch.

    Raises:
        BrokerError: at the first check that fails.
    """
    registration = provider.registration
    id_token = check_claims(
        signed,
        expected_issuer=provider.preset.expected_issuer(
            registration, signed.claims, provider.rules, key_issuer=signed.key_issuer
        ),
        expected_audience=registration.client_id,
        expected_nonce=bound.nonce,
        access_token=tokens.access_token,
        max_age=registration.max_age,
        now=now,
        trusted_audiences=registration.trusted_audiences,
    )
    check_issuer_of_callback(unverified_parameters, id_token.issuer, issuers=_callback_issuers(provider))
    return id_token


async def ask_userinfo(
    provider: Provider, metadata: ProviderMetadata, tokens: TokenResponse, id_token: VerifiedIdToken
) -> VerifiedClaims:
    """Return the claims of the ID token, and of userinfo where the provider's setting wants it (Core, section 5.3).

    Raises:
        BrokerError: userinfo is not available, or is about another person.
    """
    if metadata.userinfo_endpoint is None or not wants_userinfo(provider, id_token):
        return VerifiedClaims(id_token, None)
    request = build_userinfo_request(metadata.userinfo_endpoint, tokens.access_token)
    return VerifiedClaims(id_token, check_userinfo(await provider.send(request), expected_subject=id_token.subject))


def _callback_issuers(provider: Provider) -> Mapping[str, str]:
    return provider.preset.callback_issuers(provider.registration, provider.rules)


def _advise(provider: Provider, error: BrokerError) -> None:
    """Replace the remedy where the provider's own words say more; warn where the words came through the browser."""
    if isinstance(error, ProviderRefused | ProviderUnavailable | ClientRejected | TokenRequestRefused):
        error.remedy = provider.preset.remedy(str(error.got)) or error.remedy
    if isinstance(error, ProviderReported):
        error.remedy = f"{error.remedy} {FORGEABLE}"


def _remember(
    provider: Provider, metadata: ProviderMetadata, tokens: TokenResponse, id_token: VerifiedIdToken
) -> LogoutHint | None:
    """Return what signing out at the provider will need; None where the provider does not offer it."""
    if metadata.end_session_endpoint is None:
        return None
    hint = id_token.claims.get("login_hint")  # Entra: what its logout_hint wants
    return LogoutHint(provider.id, tokens.unverified_id_token, hint if isinstance(hint, str) else "")
