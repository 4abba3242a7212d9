"""One sign-in under way: sealed in `state`, bound to one browser by one cookie, kept nowhere.

The cookie holds fresh randomness and nothing else of worth. From it and our secret key come the nonce and the PKCE
verifier; its hash is the transaction's id, which the sealed state carries. So a state is worth nothing without the
cookie of the browser it was made for, and the state, which the provider and its logs see, holds no secret.

A redirect_url too long for the provider's bound on the address travels in the cookie; the state keeps its hash.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from broker import base64url
from broker.browser_cookie import LIFETIME, BrowserCookie, cookie_name, make_cookie, unpack
from broker.errors import (
    CookieMissing,
    StateInvalid,
    StateOfAnotherProvider,
    TransactionExpired,
)
from broker.sealing import seal_value, unseal_value

CLOCK_LEEWAY = 60  # seconds the clocks of two replicas may differ
MAX_STATE_CHARACTERS = 1000  # Entra refuses addresses of about 1,800 characters in all (AADSTS90015)

_RANDOM_BYTES = 32
_PURPOSE = b"broker state 1"


@dataclass(frozen=True, slots=True)
class Transaction:
    """What a sign-in remembers between /login and /callback.

    Args:
        id: the hash of the browser's randomness, 256 bits.
        site: id of the Comm100 site.
        provider: id of the identity provider.
        redirect_url: checked at /login; None if none came, or if it went away with the cookie.
        issued: seconds since the epoch.
        restarted: the sign-in was started again by itself once; not a second time.
        trace_id: under which the log has the whole sign-in.
    """

    id: str
    site: str
    provider: str
    redirect_url: str | None
    issued: int
    restarted: bool
    trace_id: str = ""


@dataclass(frozen=True, slots=True)
class SealedTransaction:
    """A sign-in that begins: what goes to the provider and what stays with the browser."""

    transaction: Transaction
    state: str = field(repr=False)
    nonce: str = field(repr=False)
    code_verifier: str = field(repr=False)
    cookie: BrowserCookie


@dataclass(frozen=True, slots=True)
class OpenedState:
    """A state of ours; whether this browser may use it is not yet known.

    Args:
        transaction: with the redirect_url if the state had room for it.
        luggage_hash: of the one in the cookie, otherwise.
        key: the secret key that sealed it, which the nonce and the verifier need.
    """

    transaction: Transaction
    luggage_hash: str | None
    key: str = field(repr=False)

    @property
    def cookie_name(self) -> str:
        """The name of the cookie that this sign-in needs."""
        return cookie_name(self.transaction.id)


@dataclass(frozen=True, slots=True)
class BoundTransaction:
    """A sign-in that this very browser began, at this provider, not long ago."""

    transaction: Transaction
    nonce: str = field(repr=False)
    code_verifier: str = field(repr=False)


def seal(
    *,
    site: str,
    provider: str,
    redirect_url: str | None,
    restarted: bool,
    now: float,
    secret_keys: Sequence[str],
    trace_id: str = "",
) -> SealedTransaction:
    """Begin a sign-in.

    Args:
        site: id of the Comm100 site.
        provider: id of the identity provider.
        redirect_url: checked; None if none came.
        restarted: this sign-in replaces one that was lost.
        now: seconds since the epoch.
        secret_keys: newest first; the first seals.
        trace_id: under which the log has the whole sign-in.
    """
    randomness = secrets.token_bytes(_RANDOM_BYTES)
    key = secret_keys[0]
    transaction = Transaction(
        base64url.encode(hashlib.sha256(randomness).digest()),
        site,
        provider,
        redirect_url,
        int(now),
        restarted,
        trace_id,
    )
    payload: dict[str, Any] = {"i": transaction.id, "s": site, "p": provider, "t": transaction.issued, "x": trace_id}
    if restarted:
        payload["r"] = 1
    luggage = None
    if redirect_url is not None:
        payload["u"] = redirect_url
    state = seal_value(payload, purpose=_PURPOSE, key=key)
    if redirect_url is not None and len(state) > MAX_STATE_CHARACTERS:
        payload["h"] = _text_hash(payload.pop("u"))
        state = seal_value(payload, purpose=_PURPOSE, key=key)
        luggage = redirect_url
    return SealedTransaction(
        transaction=transaction,
        state=state,
        nonce=_derive(key, randomness, b"nonce"),
        code_verifier=_derive(key, randomness, b"code_verifier"),
        cookie=make_cookie(transaction.id, randomness, issued=transaction.issued, luggage=luggage),
    )


def open_state(unverified_state: str, *, secret_keys: Sequence[str]) -> OpenedState:
    """Return what a state of ours says.

    Args:
        unverified_state: from the callback.
        secret_keys: any of them may have sealed it.

    Raises:
        StateInvalid: none of them did, or it is not byte for byte what we sealed.
    """
    unsealed = unseal_value(unverified_state, purpose=_PURPOSE, secret_keys=secret_keys)
    if unsealed is None:
        raise StateInvalid(expected="a state sealed by one of secret_keys", got="another")
    payload, key = unsealed
    transaction = Transaction(
        id=payload["i"],
        site=payload["s"],
        provider=payload["p"],
        redirect_url=payload.get("u"),
        issued=payload["t"],
        restarted=bool(payload.get("r")),
        trace_id=payload["x"],
    )
    return OpenedState(transaction, payload.get("h"), key)


def bind(opened: OpenedState, cookie_value: str | None, *, provider: str, now: float) -> BoundTransaction:
    """Return the sign-in, if it is this browser's, of this provider, and not too old.

    Args:
        opened: the state.
        cookie_value: of the cookie named `opened.cookie_name`, if the browser has it.
        provider: whose callback was called.
        now: seconds since the epoch.

    Raises:
        StateOfAnotherProvider: it began at another provider (RFC 9700, section 4.4.2).
        TransactionExpired: it began too long ago, or in the future.
        CookieMissing: this browser did not begin it (RFC 9700, section 4.7).
    """
    transaction = opened.transaction
    if transaction.provider != provider:
        raise StateOfAnotherProvider(expected=provider, got=transaction.provider)
    age = now - transaction.issued
    if not -CLOCK_LEEWAY <= age <= LIFETIME:
        raise TransactionExpired(expected=f"within {LIFETIME} s", got=f"{age:.0f} s")
    randomness, _ = unpack(cookie_value or "")
    if not hmac.compare_digest(base64url.encode(hashlib.sha256(randomness).digest()), transaction.id):
        raise CookieMissing(expected=f"the cookie {opened.cookie_name}", got="none" if not cookie_value else "another")
    redirect_url = recover_redirect_url(opened, cookie_value)
    if redirect_url is None and opened.luggage_hash is not None:
        raise CookieMissing(expected="the redirect_url in the cookie", got="another")
    return BoundTransaction(
        replace(transaction, redirect_url=redirect_url),
        nonce=_derive(opened.key, randomness, b"nonce"),
        code_verifier=_derive(opened.key, randomness, b"code_verifier"),
    )


def recover_redirect_url(opened: OpenedState, cookie_value: str | None) -> str | None:
    """Return the redirect_url of a sign-in that can only be started again, if state or cookie still has it.

    Args:
        opened: the state.
        cookie_value: of the cookie named `opened.cookie_name`, if the browser has it.
    """
    if opened.luggage_hash is None:
        return opened.transaction.redirect_url
    _, redirect_url = unpack(cookie_value or "")
    if redirect_url is None or not hmac.compare_digest(_text_hash(redirect_url), opened.luggage_hash):
        return None
    return redirect_url


def _derive(key: str, randomness: bytes, label: bytes) -> str:
    return base64url.encode(hmac.digest(key.encode(), label + b"\0" + randomness, "sha256"))


def _text_hash(text: str) -> str:
    return base64url.encode(hashlib.sha256(text.encode()).digest())
