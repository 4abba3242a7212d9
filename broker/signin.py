"""The sign-ins of one process: `begin` ends at the provider, `complete` at Comm100.

A test sign-in (`dry_run`) takes the same steps. Replicas share nothing: the state, the browser's cookie and the
provider's one-time code hold across them.
"""

from __future__ import annotations

import asyncio
import random
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from copy import copy
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from broker.capacity import (
    BUSY_SHARE,
    MAX_AT_WORK,
    MAX_WAITING,
    MAX_WAITING_IN_ALL,
    WAIT_SECONDS,
    Kind,
    Lap,
    LoopLateness,
    Places,
    WaitingRoom,
)
from broker.comm100 import (
    Site,
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
    Overloaded,
    OverloadedByProvider,
    ProviderAddressRefused,
    ProviderCertificate,
    ProviderRefused,
    ProviderReported,
    ProviderTimedOut,
    ProviderUnavailable,
    TokenRequestRefused,
    TransactionSpent,
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
from broker.oidc.discovery import Clock
from broker.oidc.id_token import SignedClaims, VerifiedIdToken, check_claims, verify_signature
from broker.oidc.messages import ProviderRequest, ProviderResponse, without_echo
from broker.oidc.metadata import ProviderMetadata
from broker.oidc.tokens import TokenResponse, build_token_request, check_token_response
from broker.oidc.userinfo import build_userinfo_request, check_userinfo
from broker.providers import Provider, VerifiedClaims, admit_person, wants_userinfo
from broker.rejected_codes import Origin, RejectedCodes, Verdict
from broker.signing import CLOCK_LEEWAY
from broker.transaction import (
    LIFETIME,
    BoundTransaction,
    BrowserCookie,
    DryRunTransaction,
    OpenedState,
    SignInTransaction,
    bind,
    sign,
)

DEADLINE_SECONDS = 8.0  # of /login and of /callback, however many calls to the provider they need
MAX_REFUSED = 20_000  # refused sign-ins remembered
RETRY_AFTER_SECONDS = 5  # told to a person who got no place
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
                self._broker.replays.mark_refused(self._bound.id)

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
    """Check issuer, audience, times, nonce and subject of the ID token (OpenID Connect Core, section 3.1.3.7).

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


class Broker:
    """Holds what all sign-ins of this process share.

    Args:
        sites: by id; the first is the default.
        providers: by id; those that are enabled.
        secret_keys: returns the current keys, newest first.
        clock: seconds since the epoch.
        max_at_work: sign-ins with one provider.
        max_waiting: sign-ins that wait for a place with one provider.
        max_waiting_in_all: sign-ins that wait for a turn or a place.
        wait: seconds for a turn and a place.
        deadline: seconds for `begin` or `complete`, after the wait.
    """

    def __init__(
        self,
        *,
        sites: Mapping[str, Site],
        providers: Mapping[str, Provider],
        secret_keys: Callable[[], Sequence[str]],
        clock: Clock,
        max_at_work: int = MAX_AT_WORK,
        max_waiting: int = MAX_WAITING,
        max_waiting_in_all: int = MAX_WAITING_IN_ALL,
        max_refused: int = MAX_REFUSED,
        wait: float = WAIT_SECONDS,
        deadline: float = DEADLINE_SECONDS,
    ) -> None:
        self.sites = sites
        self.providers = providers
        self.secret_keys = secret_keys
        self.clock = clock
        self.replays = ReplayCache(max_refused)
        room = WaitingRoom(max_waiting_in_all)
        self.rejected_codes = RejectedCodes(clock, room=room)
        self._new_places = partial(Places, max_at_work, max_waiting, room)
        self._places: dict[str, Places] = {}
        self._wait = wait
        self._deadline = deadline
        self._lateness = LoopLateness()

    def with_settings(
        self, *, sites: Mapping[str, Site], providers: Mapping[str, Provider], secret_keys: Callable[[], Sequence[str]]
    ) -> Broker:
        """Return a broker with new settings that shares the memory of this broker.

        Consumed states, rejected codes and places are shared, so a reload gives no state a second use.
        """
        successor = copy(self)
        successor.sites, successor.providers, successor.secret_keys = sites, providers, secret_keys
        return successor

    def places_of(self, provider_id: str) -> Places:
        """Return the places for sign-ins with a provider, enabled or not: no provider takes places from another."""
        return self._places.setdefault(provider_id, self._new_places())

    @asynccontextmanager
    async def in_flight(
        self, provider_id: str, kind: Kind, turn: AbstractAsyncContextManager[None] | None = None
    ) -> AsyncIterator[None]:
        """Wait for a place among a provider's sign-ins, and hold the place at most until the deadline.

        The deadline begins with the place. A timeout is the provider's, unless the event loop was late for at least
        `BUSY_SHARE` of that time: then the process had too much work to read the answers in time. The same rule says
        why there was no place.

        Args:
            turn: entered before the wait for a place; both waits together end after `wait` seconds.

        Raises:
            Overloaded: no place became free, or the process had too much work.
            ProviderTimedOut: the deadline passed, and the provider took the time.
        """
        places, at_work = self.places_of(provider_id), False
        with self._lateness:
            lap = self._lateness.lap()
            try:
                async with asyncio.timeout(self._wait) as limit, turn or nullcontext():
                    if places.is_full:
                        raise self._no_place(places, lap)
                    await places.take(kind, lap)
                    try:
                        at_work, lap = True, self._lateness.lap()
                        limit.reschedule(lap.began + self._deadline)
                        yield
                    finally:
                        places.give_back()
            except TimeoutError:
                raise (self._too_late(lap) if at_work else self._no_place(places, lap)) from None
            except ProviderTimedOut as error:
                if self._lateness.is_busy_since(lap):
                    raise self._too_late(lap) from error
                raise

    def _no_place(self, places: Places, lap: Lap) -> Overloaded:
        """Return the refusal of a sign-in without a place: its own wait, or the longest wait, tells the cause."""
        is_queue_full = places.is_full
        since = (places.longest_wait or lap) if is_queue_full else lap
        waited = self._lateness.lap().began - lap.began
        cause = Overloaded if self._lateness.is_busy_since(since) else OverloadedByProvider
        return cause(
            expected=f"a place within {self._wait:g} s; there are {places.limit} with this provider",
            got=f"{places.at_work} at work, {places.waiting} waiting; waited {waited:.1f} s",
            retry_after=RETRY_AFTER_SECONDS,
        )

    def _too_late(self, lap: Lap) -> BrokerError:
        if self._lateness.is_busy_since(lap):
            now = self._lateness.lap()
            return Overloaded(
                expected=f"an event loop that is late for less than {BUSY_SHARE:.0%} of the time",
                got=f"late for {now.late - lap.late:.1f} of {now.began - lap.began:.1f} s",
                retry_after=RETRY_AFTER_SECONDS,
            )
        return ProviderTimedOut(expected=f"all answers within {self._deadline:g} s", got="not all")


class ReplayCache:
    """Remembers the sign-ins that are over: each state is consumed once, for as long as it is valid.

    Args:
        max_refused: refused sign-ins remembered. Those that got tokens are forgotten by age only.
    """

    def __init__(self, max_refused: int = MAX_REFUSED) -> None:
        self._max_refused = max_refused
        self._consumed: OrderedDict[str, float] = OrderedDict()
        self._refused: OrderedDict[str, float] = OrderedDict()

    def consume(self, transaction_id: str, now: float) -> None:
        """Mark a sign-in as over, however it ends.

        Args:
            now: seconds since the epoch.

        Raises:
            TransactionSpent: the sign-in was over already.
        """
        if transaction_id in self._consumed or transaction_id in self._refused:
            raise TransactionSpent(expected="a sign-in under way", got="a sign-in that is over")
        for remembered in (self._consumed, self._refused):
            while remembered and next(iter(remembered.values())) < now - LIFETIME - CLOCK_LEEWAY:
                remembered.popitem(last=False)
        self._consumed[transaction_id] = now

    def mark_refused(self, transaction_id: str) -> None:
        """Move a consumed sign-in that got no tokens to the refused sign-ins; forget the oldest beyond the limit.

        Strangers can cause many refused sign-ins. They must not push out sign-ins that got tokens.
        """
        consumed_at = self._consumed.pop(transaction_id, None)
        if consumed_at is None:
            return  # the clock was set forward: the sign-in was forgotten while it was under way
        self._refused[transaction_id] = consumed_at
        if len(self._refused) > self._max_refused:
            self._refused.popitem(last=False)
