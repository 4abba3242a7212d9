"""The sign-ins of one process: `begin` ends at the provider, `complete` at Comm100.

A test sign-in (`dry_run`) takes the same steps. Replicas share nothing: the state, the browser's cookie and the
provider's one-time code hold across them.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from broker.comm100 import (
    build_claims,
    build_delivery_url,
    build_token,
    check_redirect_url,
)
from broker.errors import (
    BrokerError,
    ClientRejected,
    CodeRejected,
    IdTokenKeyUnknown,
    IdTokenSignature,
    NoSuchPage,
    NotAdmitted,
    ProviderAddressRefused,
    ProviderCertificate,
    ProviderRefused,
    ProviderReported,
    ProviderUnavailable,
    TokenRequestRefused,
)
from broker.identity import Identity
from broker.logout import LogoutHint
from broker.oidc.authorization import (
    OWN_CHARACTERS,
    build_common_address,
    check_callback,
    check_issuer_of_callback,
    complete_address,
)
from broker.oidc.id_token import SignedClaims, VerifiedIdToken, check_claims, verify_signature
from broker.oidc.messages import ProviderRequest, ProviderResponse, without_echo
from broker.oidc.metadata import ProviderMetadata
from broker.oidc.tokens import TokenResponse, build_token_request, check_token_response
from broker.oidc.userinfo import build_userinfo_request, check_userinfo
from broker.providers import Provider, VerifiedClaims, admit_person, wants_userinfo
from broker.rejected_codes import Origin, Verdict
from broker.replica import Broker
from broker.transaction import (
    BoundTransaction,
    BrowserCookie,
    DryRunTransaction,
    OpenedState,
    SignInTransaction,
    bind,
    sign,
)

SECOND_TRY_SECONDS = 0.1  # and up to twice that, before userinfo is requested again
MAX_REFETCHES = 2  # of the keys, for one sign-in
MAX_ADDRESS_CHARACTERS = 1750  # of the whole authorization request: Entra refuses about 1,800 (AADSTS90015)
FORGEABLE = "The words came through the browser: anybody can write them."


@dataclass(frozen=True, slots=True)
class AuthorizationRedirect:
    """The provider's address for the browser, and the cookie to set."""

    location: str = field(repr=False)
    cookie: BrowserCookie


@dataclass(frozen=True, slots=True)
class SignedIn:
    """The address that delivers the token, the person, and the hint for signing out at the provider."""

    location: str = field(repr=False)
    identity: Identity
    logout_hint: LogoutHint | None


async def begin(
    broker: Broker,
    provider: Provider,
    transaction: SignInTransaction | DryRunTransaction,
    *,
    hints: Mapping[str, str] | None = None,
) -> AuthorizationRedirect:
    """Begin a sign-in or a test sign-in: return the provider's address for the browser.

    Args:
        transaction: with a `redirect_url` that was checked for the site.
        hints: for the provider (`prompt`, `login_hint`), made or bounded by the broker.

    Raises:
        ProviderUnavailable, InvalidProviderResponse, Overloaded: there is no usable metadata of the provider.
    """
    metadata = provider.discovery.metadata.fresh()
    if metadata is None:
        metadata = await _newer_metadata(broker, provider)
    address = build_common_address(metadata, provider.registration, hints)
    room = MAX_ADDRESS_CHARACTERS - len(address) - OWN_CHARACTERS
    signed = sign(transaction, now=broker.clock(), secret_keys=broker.secret_keys(), max_state=room)
    location = complete_address(address, state=signed.state, nonce=signed.nonce, code_verifier=signed.code_verifier)
    return AuthorizationRedirect(location, signed.cookie)


async def _newer_metadata(broker: Broker, provider: Provider) -> ProviderMetadata:
    """Fetch metadata; without an older document, the login waits for a place and has a deadline."""
    metadata = provider.discovery.metadata
    if metadata.peek() is not None:
        return await metadata.get()  # waits at most a second for the newer document
    async with broker.in_flight(provider.id, "login"):
        return await metadata.get()


async def complete(
    broker: Broker,
    provider: Provider,
    *,
    opened: OpenedState,
    cookie_value: str | None,
    unverified_parameters: Mapping[str, str],
    origins: Sequence[Origin],
) -> SignedIn:
    """Complete a sign-in: return the address that delivers the token to Comm100.

    Args:
        cookie_value: of the cookie named `opened.cookie_name`, unverified; None if the browser has no such cookie.
        unverified_parameters: of the callback, each given once. A redirect_url parameter here is ignored.
        origins: of the callback; rejected codes are counted for them.

    Raises:
        BrokerError: at the first check that fails. No later step runs.
    """
    # The broker signed the state for this provider and this browser; it is used once (RFC 9700, 4.4.2 and 4.7).
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
        identity = _admit(provider, claims)
        token = build_token(build_claims(identity, site, now=broker.clock()), site)
        return SignedIn(
            build_delivery_url(token, checked_url, site), identity, _remember(provider, metadata, tokens, id_token)
        )


class Redemption:
    """Redeems the code of a sign-in; keeps the provider's verdict about the code, and the secrets.

    Attributes:
        secrets: never logged or shown, even if the provider repeats them.
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

        The turn comes before the place: codes of one address, which may be invented, cannot take all places. The turn
        of a sign-in without a place counts as a call in flight; it is never counted as a rejected code.

        Raises:
            TooManyRejectedCodes, Overloaded, ProviderTimedOut: there is no turn, no place, or no time left.
        """
        turn = self._broker.rejected_codes.turns(origins, lambda: self._verdict)
        try:
            async with self._broker.in_flight(self._provider.id, "callback", turn):
                try:
                    yield
                except BrokerError as error:
                    error.redact(self.secrets)
                    _advise(self._provider, error)
                    raise
        finally:
            if self._verdict != "accepted":
                self._broker.replays.mark_refused(self._bound.id, self._broker.clock())

    async def redeem(self, metadata: ProviderMetadata, code: str) -> TokenResponse:
        """Exchange the code for tokens (RFC 6749, section 4.1.3), with the PKCE verifier (RFC 7636, section 4.5).

        Raises:
            BrokerError: the provider did not give usable tokens.
        """
        self._verdict, health = "unanswered", self._provider.health
        try:
            tokens = await self._request_tokens(metadata, code)
        except ProviderUnavailable:
            raise  # the answer says nothing about the code
        except ClientRejected as error:  # nor does this answer
            health.note("client_authentication", error)
            raise
        except BrokerError as error:
            self._verdict = "rejected"  # RFC 6749, section 5.2 requires invalid_grant; providers send many other errors
            if isinstance(error, CodeRejected):
                health.note("client_authentication", None)
            raise
        self._verdict = "accepted"
        health.note("client_authentication", None)
        self.secrets += [tokens.access_token, tokens.unverified_id_token]
        return tokens

    async def _request_tokens(self, metadata: ProviderMetadata, code: str) -> TokenResponse:
        """Request tokens, once more if the provider refuses a credential that was replaced meanwhile.

        The file of a credential is looked at once a second: a sign-in may come between its change and the next look.
        """
        registration = self._provider.registration
        used = registration.credential() if registration.credential else None
        try:
            return await self._request_tokens_once(metadata, code)
        except ClientRejected:
            if registration.reread_credential is None or registration.reread_credential() == used:
                raise
        return await self._request_tokens_once(metadata, code)

    async def _request_tokens_once(self, metadata: ProviderMetadata, code: str) -> TokenResponse:
        registration, verifier = self._provider.registration, self._bound.code_verifier
        request = build_token_request(metadata, registration, code=code, code_verifier=verifier)
        self.secrets += request.secrets
        return check_token_response(without_echo(await self._provider.send(request), code))


def check_answer(provider: Provider, metadata: ProviderMetadata, unverified_parameters: Mapping[str, str]) -> str:
    """Return the code in the provider's answer (RFC 9207; RFC 6749, section 4.1.2).

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
    """Check who made the ID token, for whom, when, and how the person signed in (OpenID Connect Core, 3.1.3.7).

    Args:
        unverified_parameters: of the callback; their `iss` has to name the issuer of the token.
        now: seconds since the epoch.

    Raises:
        BrokerError: at the first check that fails.
    """
    registration = provider.registration
    id_token = check_claims(
        signed,
        expected_issuer=provider.kind.expected_issuer(
            registration, signed.claims, provider.rules, key_issuer=signed.key_issuer
        ),
        expected_audience=registration.client_id,
        expected_nonce=bound.nonce,
        access_token=tokens.access_token,
        max_age=registration.max_age,
        now=now,
        required_authentication=registration.required_authentication,
        trusted_audiences=registration.trusted_audiences,
    )
    check_issuer_of_callback(unverified_parameters, id_token.issuer, issuers=_callback_issuers(provider))
    return id_token


async def ask_userinfo(
    provider: Provider, metadata: ProviderMetadata, tokens: TokenResponse, id_token: VerifiedIdToken
) -> VerifiedClaims:
    """Return the claims of the ID token, and of userinfo if the settings ask for it (Core, section 5.3).

    Raises:
        BrokerError: userinfo is not available, or is about another person.
    """
    if metadata.userinfo_endpoint is None or not wants_userinfo(provider, id_token):
        return VerifiedClaims(id_token, None)
    request = build_userinfo_request(metadata.userinfo_endpoint, tokens.access_token)
    answer = await _send_twice(provider, request)
    return VerifiedClaims(id_token, check_userinfo(answer, expected_subject=id_token.subject))


async def _send_twice(provider: Provider, request: ProviderRequest) -> ProviderResponse:
    """Send a GET once more after a moment if no usable answer came, unless the provider is down or asks to wait.

    The deadline of the sign-in holds for both.

    Raises:
        BrokerError: no answer came at the second attempt, or another attempt cannot help.
    """
    try:
        answer = await provider.send(request)
        if answer.status < 500 or answer.retry_after is not None or provider.health.is_down():
            return answer
    except (ProviderCertificate, ProviderAddressRefused):
        raise
    except ProviderUnavailable:
        if provider.health.is_down():
            raise
    await asyncio.sleep(SECOND_TRY_SECONDS * (1 + random.random()))  # noqa: S311
    return await provider.send(request)


def _callback_issuers(provider: Provider) -> Mapping[str, str]:
    return provider.kind.callback_issuers(provider.registration, provider.rules)


def _advise(provider: Provider, error: BrokerError) -> None:
    """Give the remedy that the provider's words ask for; warn if the words came through the browser."""
    if isinstance(error, ProviderRefused | ProviderUnavailable | ClientRejected | TokenRequestRefused):
        error.remedy = provider.kind.remedy(str(error.got)) or error.remedy
    if isinstance(error, ProviderReported):
        error.remedy = f"{error.remedy} {FORGEABLE}"


def _admit(provider: Provider, claims: VerifiedClaims) -> Identity:
    """Return the person, if they may enter; a refusal keeps the verified subject."""
    try:
        return admit_person(provider, claims)
    except NotAdmitted as error:
        error.subject = claims.id_token.subject
        raise


def _remember(
    provider: Provider, metadata: ProviderMetadata, tokens: TokenResponse, id_token: VerifiedIdToken
) -> LogoutHint | None:
    """Return the hint for signing out at the provider; None if the provider has no sign-out."""
    if metadata.end_session_endpoint is None:
        return None
    hint = id_token.claims.get("login_hint")  # Entra: the value for logout_hint
    return LogoutHint(provider.id, tokens.unverified_id_token, hint if isinstance(hint, str) else "")
