"""One sign-in, from Comm100's redirect to the token Comm100 accepts: the whole story, on one screen.

`begin` ends at the provider, `complete` at Comm100. This file owns the order of the steps; each step is judged where
its message is known. It knows no web framework.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from broker.comm100 import Site, build_claims, build_delivery_url, build_token, check_redirect_url
from broker.errors import (
    BrokerError,
    ClientRejected,
    IdTokenKeyUnknown,
    IdTokenSignature,
    NoSuchPage,
    Overloaded,
    ProviderRefused,
    ProviderTimedOut,
    ProviderUnavailable,
    TokenRequestRefused,
    TransactionSpent,
)
from broker.identity import Identity
from broker.oidc.authorization import build_authorization_url, check_callback
from broker.oidc.cached import Clock
from broker.oidc.id_token import SignedClaims, VerifiedIdToken, check_claims, verify_signature
from broker.oidc.messages import JsonObject
from broker.oidc.metadata import ProviderMetadata
from broker.oidc.tokens import TokenResponse, build_token_request, check_token_response
from broker.oidc.userinfo import build_userinfo_request, check_userinfo
from broker.providers import Provider, Vouched, admit_person, wants_userinfo
from broker.remembrance import Remembrance
from broker.transaction import LIFETIME, BrowserCookie, OpenedState, bind, seal

DEADLINE_SECONDS = 9.0  # of /login and of /callback, however many calls to the provider they need
MAX_IN_FLIGHT = 2000  # sign-ins being begun or completed at once, of this process
MAX_SPENT = 20_000  # completed sign-ins remembered, of this process


@dataclass(frozen=True, slots=True)
class Departure:
    """Where the browser goes to sign in, and the cookie it takes along."""

    location: str = field(repr=False)
    cookie: BrowserCookie


@dataclass(frozen=True, slots=True)
class Arrival:
    """Where the browser takes the token, who it is for, and what signing out at the provider will need."""

    location: str = field(repr=False)
    identity: Identity
    remembrance: Remembrance | None


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a sign-in ended, for the log and the counter.

    Args:
        trace_id: the same as on the page the person sees.
        client: the browser's address, as far as it can be known.
        site: id of the Comm100 site; empty if it is not known.
        provider: id of the identity provider; empty if it is not known.
        error: what went wrong; None after a success.
        identity: the person; None if there is none to speak of.
        seconds: from the callback, or from the refused request, to the answer.
    """

    trace_id: str
    client: str
    site: str
    provider: str
    error: BrokerError | None
    identity: Identity | None
    seconds: float


class Broker:
    """What all sign-ins share: the configured sites and providers, and which sign-ins are over.

    Args:
        sites: by id; the first is the default.
        providers: by id.
        secret_keys: gives the keys of the moment, newest first.
        clock: seconds since the epoch.
    """

    def __init__(
        self,
        *,
        sites: Mapping[str, Site],
        providers: Mapping[str, Provider],
        secret_keys: Callable[[], Sequence[str]],
        clock: Clock,
    ) -> None:
        self.sites = sites
        self.providers = providers
        self.secret_keys = secret_keys
        self.clock = clock
        self._in_flight = 0
        self._spent: OrderedDict[str, float] = OrderedDict()

    @asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        """Hold one of the places for sign-ins in flight, for no longer than the deadline.

        Raises:
            Overloaded: all are taken.
            ProviderTimedOut: the deadline passed.
        """
        if self._in_flight >= MAX_IN_FLIGHT:
            raise Overloaded(expected=f"at most {MAX_IN_FLIGHT} sign-ins in flight", got="more", retry_after=5)
        self._in_flight += 1
        try:
            async with asyncio.timeout(DEADLINE_SECONDS):
                yield
        except TimeoutError:
            raise ProviderTimedOut(expected=f"all answers within {DEADLINE_SECONDS:.0f} s", got="not all") from None
        finally:
            self._in_flight -= 1

    def spend(self, transaction_id: str, now: float) -> None:
        """Mark a sign-in as over, whatever comes of it.

        This replica remembers it here; across replicas, the provider's one-time code and the deleted cookie do.

        Raises:
            TransactionSpent: it was over already.
        """
        while self._spent and (len(self._spent) >= MAX_SPENT or next(iter(self._spent.values())) < now - 2 * LIFETIME):
            self._spent.popitem(last=False)
        if transaction_id in self._spent:
            raise TransactionSpent(expected="a sign-in under way", got="one that is over")
        self._spent[transaction_id] = now


async def begin(
    broker: Broker,
    site: Site,
    provider: Provider,
    *,
    unverified_redirect_url: str | None,
    restarted: bool,
    trace_id: str,
    hints: Mapping[str, str] | None = None,
) -> Departure:
    """Send the browser to the provider.

    Args:
        broker: what all sign-ins share.
        site: whose Remote Login URL was called.
        provider: chosen for this sign-in.
        unverified_redirect_url: from Comm100's redirect; None if none came.
        restarted: this sign-in replaces one that was lost.
        trace_id: under which the log has the whole sign-in.
        hints: for the provider (`prompt`, `login_hint`), made or bounded by us.

    Raises:
        RequestError: the redirect_url is not this site's.
        ProviderUnavailable, ProviderMistrusted: there is no usable metadata of the provider.
    """
    redirect_url = None if unverified_redirect_url is None else check_redirect_url(unverified_redirect_url, site)
    async with broker.place():
        metadata = await provider.discovery.metadata.get()
    sealed = seal(
        site=site.id,
        provider=provider.id,
        redirect_url=redirect_url,
        restarted=restarted,
        now=broker.clock(),
        secret_keys=broker.secret_keys(),
        trace_id=trace_id,
    )
    location = build_authorization_url(
        metadata,
        provider.registration,
        state=sealed.state,
        nonce=sealed.nonce,
        code_verifier=sealed.code_verifier,
        hints=hints,
    )
    return Departure(location, sealed.cookie)


async def complete(
    broker: Broker, provider: Provider, *, opened: OpenedState, cookie_value: str | None, parameters: Mapping[str, str]
) -> Arrival:
    """Take the provider's answer, and send the browser to Comm100 with the token.

    Args:
        broker: what all sign-ins share.
        provider: whose callback was called.
        opened: the state, sealed by us.
        cookie_value: of the cookie this sign-in left with the browser, if it is there.
        parameters: of the callback, each of them once; a redirect_url among them is nobody's.

    Raises:
        BrokerError: at the first check that fails; nothing that follows it is asked or done.
    """
    bound = bind(opened, cookie_value, provider=provider.id, now=broker.clock())
    broker.spend(bound.transaction.id, broker.clock())
    site = broker.sites.get(bound.transaction.site)
    if site is None or provider.id not in site.provider_ids:
        raise NoSuchPage(expected="a site that offers this provider", got=bound.transaction.site)
    redirect_url = bound.transaction.redirect_url
    if redirect_url is not None:
        check_redirect_url(redirect_url, site)  # once more: the settings may have changed since /login

    async with broker.place(), _provider_remedies(provider):
        metadata = await provider.discovery.metadata.get()
        code = check_callback(parameters, metadata)
        token_request = build_token_request(
            metadata, provider.registration, code=code, code_verifier=bound.code_verifier
        )
        tokens = check_token_response(await provider.send(token_request))
        signed = await _verify_with_newest_keys(provider, tokens.unverified_id_token)
        id_token = check_claims(
            signed,
            expected_issuer=provider.preset.expected_issuer(provider.registration, signed, provider.rules),
            expected_audience=provider.registration.client_id,
            expected_nonce=bound.nonce,
            access_token=tokens.access_token,
            max_age=provider.registration.max_age,
            now=broker.clock(),
        )
        userinfo = await _ask_userinfo(provider, metadata, tokens, id_token)

    identity = admit_person(provider, Vouched(id_token, userinfo))
    token = build_token(build_claims(identity, site, now=broker.clock()), site)
    remembrance = _remember(provider, metadata, tokens, id_token)
    return Arrival(build_delivery_url(token, redirect_url, site), identity, remembrance)


def _remember(
    provider: Provider, metadata: ProviderMetadata, tokens: TokenResponse, id_token: VerifiedIdToken
) -> Remembrance | None:
    """What signing out at the provider will need; nothing where that is not possible."""
    if metadata.end_session_endpoint is None:
        return None
    hint = id_token.claims.get("login_hint")  # Entra: what its logout_hint wants
    return Remembrance(provider.id, tokens.unverified_id_token, hint if isinstance(hint, str) else "")


@asynccontextmanager
async def _provider_remedies(provider: Provider) -> AsyncIterator[None]:
    """Put the preset's advice in place of the general one, where the provider's words tell more."""
    try:
        yield
    except (ProviderRefused, ProviderUnavailable, ClientRejected, TokenRequestRefused) as error:
        error.remedy = provider.preset.remedy(str(error.got)) or error.remedy
        raise


async def _verify_with_newest_keys(provider: Provider, unverified_id_token: str) -> SignedClaims:
    """Verify with the keys at hand; if they do not fit, once more with newer ones (OpenID Connect Core, 10.1.1)."""
    algorithms = provider.registration.signing_algorithms
    keys = await provider.discovery.keys.get()
    try:
        return verify_signature(unverified_id_token, keys, algorithms=algorithms)
    except (IdTokenKeyUnknown, IdTokenSignature):
        newer_keys = await provider.discovery.keys.refetch()
        if newer_keys is keys:
            raise
    return verify_signature(unverified_id_token, newer_keys, algorithms=algorithms)


async def _ask_userinfo(
    provider: Provider, metadata: ProviderMetadata, tokens: TokenResponse, id_token: VerifiedIdToken
) -> JsonObject | None:
    """Ask for further claims where the provider's setting wants it; only ever after a good ID token."""
    if metadata.userinfo_endpoint is None or not wants_userinfo(provider, id_token):
        return None
    request = build_userinfo_request(metadata.userinfo_endpoint, tokens.access_token)
    return check_userinfo(await provider.send(request), expected_subject=id_token.subject)
