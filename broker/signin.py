"""One sign-in, from Comm100's redirect to the token Comm100 accepts: the whole story, on one screen.

`begin` ends at the provider, `complete` at Comm100. In between, `verify` goes the steps of the protocol; a test sign-in
goes the same ones. This file owns the order of the steps; each step is judged where its message is known. It knows no
web framework.
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
from broker.oidc.authorization import build_authorization_url, check_callback, check_issuer_of_callback
from broker.oidc.discovery import Clock
from broker.oidc.id_token import VerifiedIdToken, check_claims
from broker.oidc.messages import JsonObject, ProviderRequest, without_echo
from broker.oidc.metadata import ProviderMetadata
from broker.oidc.signature import SignedClaims, verify_signature
from broker.oidc.tokens import TokenResponse, build_token_request, check_token_response
from broker.oidc.userinfo import build_userinfo_request, check_userinfo
from broker.providers import Provider, VerifiedClaims, admit_person, wants_userinfo
from broker.rejected_codes import Origin, Verdict
from broker.remembrance import Remembrance
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

MAX_REFETCHES = 2  # of the keys, for one sign-in
FORGEABLE = "The words came through the browser: anybody can write them."
MAX_ADDRESS_CHARACTERS = 1750  # of the provider's, in all: Entra refuses about 1,800 (AADSTS90015)
_AS_LONG_AS_A_NONCE = "x" * 43


@dataclass(frozen=True, slots=True)
class AuthorizationRedirect:
    """Where the browser goes to sign in, and the cookie it takes along."""

    location: str = field(repr=False)
    cookie: BrowserCookie


@dataclass(frozen=True, slots=True)
class SignedIn:
    """Where the browser takes the token, who it is for, and what signing out at the provider will need."""

    location: str = field(repr=False)
    identity: Identity
    remembrance: Remembrance | None


@dataclass(frozen=True, slots=True)
class Verified:
    """What the provider vouches for, every message of its having been checked."""

    metadata: ProviderMetadata
    tokens: TokenResponse
    verified: VerifiedClaims


@dataclass(slots=True)
class Progress:
    """How far `verify` came: what it found is noted as soon as it may be believed, and stays None until then.

    Args:
        secrets: what must never be written down or shown, whoever says it; more come on the way.
        verdict: what the provider said about the code.
    """

    secrets: list[str] = field(repr=False)
    metadata: ProviderMetadata | None = None
    code: str | None = field(default=None, repr=False)
    verdict: Verdict = "not asked"
    tokens: TokenResponse | None = None
    signed: SignedClaims | None = None
    id_token: VerifiedIdToken | None = None
    verified: VerifiedClaims | None = None


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
    """Send the browser to the provider.

    Args:
        broker: what all sign-ins share.
        site: whose Remote Login URL was called.
        provider: chosen for this sign-in.
        redirect_url: checked for this site; None if Comm100 sent none.
        restarted: this sign-in replaces one that was lost.
        trace_id: under which the log has the whole sign-in.
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
    """Sign a sign-in or a test sign-in, and return the provider's address with it.

    Args:
        hints: for the provider (`prompt`, `login_hint`), made or bounded by us.

    Raises:
        ProviderUnavailable, InvalidProviderResponse: there is no usable metadata of the provider.
    """
    async with broker.place(provider.id):
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
    parameters: Mapping[str, str],
    origins: Sequence[Origin],
) -> SignedIn:
    """Take the provider's answer, and send the browser to Comm100 with the token.

    Args:
        broker: what all sign-ins share.
        provider: whose callback was called.
        opened: the state, signed by us.
        cookie_value: of the cookie this sign-in left with the browser, if it is there.
        parameters: of the callback, each of them once; a redirect_url among them is nobody's.
        origins: of the callback, by which rejected codes are counted.

    Raises:
        BrokerError: at the first check that fails; nothing that follows it is asked or done.
    """
    bound = bind(opened, cookie_value, provider=provider.id, now=broker.clock())
    broker.consume(bound.id, broker.clock())
    site = broker.sites.get(bound.transaction.site)
    if site is None or provider.id not in site.provider_ids:
        raise NoSuchPage(expected="a site that offers this provider", got=bound.transaction.site)
    kept = bound.transaction.redirect_url
    redirect_url = None if kept is None else check_redirect_url(kept, site)  # the settings may have changed

    progress = Progress(secrets_of(provider, bound))
    async with redeeming(broker, provider, bound, progress, origins):
        verified = await verify(provider, bound, parameters, progress, clock=broker.clock)
        identity = admit_person(provider, verified.verified)
        token = build_token(build_claims(identity, site, now=broker.clock()), site)
        return SignedIn(build_delivery_url(token, redirect_url, site), identity, _remember(provider, verified))


async def verify(
    provider: Provider, bound: BoundTransaction[Any], parameters: Mapping[str, str], progress: Progress, *, clock: Clock
) -> Verified:
    """Go from the provider's answer to what it vouches for: every step of the protocol, in order.

    Args:
        provider: whose callback was called.
        bound: this browser's.
        parameters: of the callback, each of them once.
        progress: is told each step that succeeds, and each secret that comes up.
        clock: seconds since the epoch.

    Raises:
        BrokerError: at the first check that fails; nothing that follows it is asked or done.
    """
    progress.metadata = metadata = await provider.discovery.metadata.get()
    issuers = provider.preset.callback_issuers(provider.registration, provider.rules)
    progress.code = code = check_callback(parameters, metadata, issuers=issuers)
    token_request = build_token_request(metadata, provider.registration, code=code, code_verifier=bound.code_verifier)
    progress.secrets += token_request.secrets
    progress.tokens = tokens = await _redeem(provider, token_request, progress)
    progress.secrets += [tokens.access_token, tokens.unverified_id_token]
    progress.signed = signed = await _verify_with_newest_keys(provider, tokens.unverified_id_token)
    id_token = check_claims(
        signed,
        expected_issuer=provider.preset.expected_issuer(provider.registration, signed, provider.rules),
        expected_audience=provider.registration.client_id,
        expected_nonce=bound.nonce,
        access_token=tokens.access_token,
        max_age=provider.registration.max_age,
        now=clock(),
        trusted_audiences=provider.registration.trusted_audiences,
    )
    check_issuer_of_callback(parameters, id_token.issuer, issuers=issuers)
    progress.id_token = id_token
    userinfo = await _ask_userinfo(provider, metadata, tokens, id_token)
    progress.verified = verified = VerifiedClaims(id_token, userinfo)
    return Verified(metadata, tokens, verified)


@asynccontextmanager
async def redeeming(
    broker: Broker, provider: Provider, bound: BoundTransaction[Any], progress: Progress, origins: Sequence[Origin]
) -> AsyncIterator[None]:
    """Hold a place and a turn of these origins while `verify` runs, and make its errors fit for the log.

    Args:
        broker: what all sign-ins share.
        provider: whose callback was called.
        bound: the sign-in, spent before.
        progress: of `verify`; its verdict counts for the origins.
        origins: of the callback.

    Raises:
        TooManyRejectedCodes, Overloaded, ProviderTimedOut: there is no turn, no place, or no time left.
    """
    turn = broker.rejected_codes.turns(origins, lambda: progress.verdict)
    try:
        async with broker.place(provider.id, turn), redact_and_advise(provider, progress.secrets):
            yield
    finally:
        if progress.verdict != "accepted":
            broker.remember_as_refused(bound.id)


def secrets_of(provider: Provider, bound: BoundTransaction[Any]) -> list[str]:
    """Return what must not be written down, even if the provider says it.

    Args:
        provider: with our credentials there.
        bound: the sign-in, with its nonce and verifier.
    """
    client_secret = provider.registration.client_secret
    return [bound.nonce, bound.code_verifier, client_secret() if client_secret else ""]


@asynccontextmanager
async def redact_and_advise(provider: Provider, secrets: Sequence[str]) -> AsyncIterator[None]:
    """Leave out of an error what a provider echoed, and give the preset's advice where its words tell more.

    Args:
        provider: whose preset advises.
        secrets: all that came up when the error is raised.
    """
    try:
        yield
    except BrokerError as error:
        error.redact(secrets)
        if isinstance(error, ProviderRefused | ProviderUnavailable | ClientRejected | TokenRequestRefused):
            error.remedy = provider.preset.remedy(str(error.got)) or error.remedy
        if isinstance(error, ProviderReported):
            error.remedy = f"{error.remedy} {FORGEABLE}"
        raise


async def _redeem(provider: Provider, token_request: ProviderRequest, progress: Progress) -> TokenResponse:
    """Exchange the code, and note the verdict of the provider; an answer that is neither yes nor no is none."""
    progress.verdict = "unanswered"
    try:
        tokens = check_token_response(without_echo(await provider.send(token_request), progress.code or ""))
    except Overloaded:
        progress.verdict = "not asked"
        raise
    except (ProviderUnavailable, ClientRejected):
        raise
    except BrokerError:
        progress.verdict = "rejected"  # RFC 6749, section 5.2 wants invalid_grant; providers say many other things
        raise
    progress.verdict = "accepted"
    return tokens


def _remember(provider: Provider, verified: Verified) -> Remembrance | None:
    """What signing out at the provider will need; nothing where that is not possible."""
    if verified.metadata.end_session_endpoint is None:
        return None
    hint = verified.verified.id_token.claims.get("login_hint")  # Entra: what its logout_hint wants
    return Remembrance(provider.id, verified.tokens.unverified_id_token, hint if isinstance(hint, str) else "")


async def _verify_with_newest_keys(provider: Provider, unverified_id_token: str) -> SignedClaims:
    """Verify with the keys at hand; if they do not fit, with newer ones (OpenID Connect Core, 10.1.1).

    A provider's key document may lag behind its signer, so newer keys are asked for twice, about a second apart.
    """
    algorithms, kept = provider.registration.signing_algorithms, provider.discovery.keys
    keys, refetches = await kept.get(), 0
    while True:
        try:
            signed = verify_signature(unverified_id_token, keys, algorithms=algorithms)
        except (IdTokenKeyUnknown, IdTokenSignature):
            newer_keys = await kept.refetch(keys) if refetches < MAX_REFETCHES else None
            if newer_keys is None:
                raise
            keys, refetches = newer_keys, refetches + 1
            continue
        if refetches:
            kept.refetch_helped()
        return signed


async def _ask_userinfo(
    provider: Provider, metadata: ProviderMetadata, tokens: TokenResponse, id_token: VerifiedIdToken
) -> JsonObject | None:
    """Ask for further claims where the provider's setting wants it; only ever after a good ID token."""
    if metadata.userinfo_endpoint is None or not wants_userinfo(provider, id_token):
        return None
    request = build_userinfo_request(metadata.userinfo_endpoint, tokens.access_token)
    return check_userinfo(await provider.send(request), expected_subject=id_token.subject)
