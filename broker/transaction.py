"""One sign-in under way: signed in `state`, bound to one browser by one cookie, kept nowhere.

The cookie holds fresh randomness and nothing else of worth. From it and our secret key come the nonce and the PKCE
verifier; its hash is the transaction's id, which the signed state carries. So a state is worth nothing without the
cookie of the browser it was made for, and the state, which the provider and its logs see, holds no secret.

Of a redirect_url too long for the provider's bound on the address, the state carries as much as there is room for, and
the hash of the whole; the rest travels in the cookie. So does the setup link of a test sign-in, which is
none of the provider's business.

A test sign-in's state is signed for another purpose: it opens as no sign-in, here or on any other replica.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from broker import base64url
from broker.errors import (
    CookieMissing,
    StateInvalid,
    StateOfAnotherProvider,
    TransactionExpired,
)
from broker.signing import CLOCK_LEEWAY, sign_value, unsign_value
from broker.transaction_cookie import LIFETIME, BrowserCookie, cookie_name, make_cookie, unpack

HEAD_STEP = 16  # characters of a divided redirect_url
MAX_STATE_CHARACTERS = 1000  # where the address it goes into is not known

_RANDOM_BYTES = 32
_SIGN_IN = b"broker state 1"
_DRY_RUN = b"broker test sign-in state 1"


@dataclass(frozen=True, slots=True)
class Transaction:
    """What a sign-in, or a test sign-in of one, remembers until the callback.

    Args:
        id: the hash of the browser's randomness, 256 bits.
        site: id of the Comm100 site; empty for a test sign-in.
        provider: id of the identity provider.
        redirect_url: checked at /login; None if none came, or if it went away with the cookie.
        issued: seconds since the epoch.
        restarted: the sign-in was started again by itself once; not a second time.
        trace_id: under which the log has the whole sign-in.
        setup_link: a test sign-in's leave to show anything; None for a sign-in, or if it went away with the cookie.
    """

    id: str
    site: str
    provider: str
    redirect_url: str | None
    issued: int
    restarted: bool
    trace_id: str = ""
    setup_link: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class SignedTransaction:
    """A sign-in that begins: what goes to the provider and what stays with the browser."""

    transaction: Transaction
    state: str = field(repr=False)
    nonce: str = field(repr=False)
    code_verifier: str = field(repr=False)
    cookie: BrowserCookie


@dataclass(frozen=True, slots=True)
class _Opened:
    """A state of ours; whether this browser may use it is not yet known.

    Args:
        transaction: what the state had room for.
        overflow_hash: of the text whose end travels in the cookie; None if nothing does.
        head: the beginning of that text, which the state had room for.
        key: the secret key that signed it, which the nonce and the verifier need.
    """

    transaction: Transaction
    overflow_hash: str | None
    head: str
    key: str = field(repr=False)

    @property
    def cookie_name(self) -> str:
        """The name of the cookie that this sign-in needs."""
        return cookie_name(self.transaction.id)

    def overflow(self, cookie_value: str | None) -> str | None:
        """Return the text whose end travelled in the cookie, if it is what was put there."""
        _, tail = unpack(cookie_value or "")
        text = self.head + (tail or "")
        return text if tail is not None and hmac.compare_digest(_text_hash(text), self.overflow_hash or "") else None


class OpenedState(_Opened):
    """The state of a sign-in."""

    __slots__ = ()


class OpenedDryRun(_Opened):
    """The state of a test sign-in."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class BoundTransaction:
    """A sign-in that this very browser began, at this provider, not long ago."""

    transaction: Transaction
    nonce: str = field(repr=False)
    code_verifier: str = field(repr=False)


def sign(
    *,
    site: str,
    provider: str,
    redirect_url: str | None,
    restarted: bool,
    now: float,
    secret_keys: Sequence[str],
    trace_id: str = "",
    max_state: int = MAX_STATE_CHARACTERS,
) -> SignedTransaction:
    """Begin a sign-in.

    Args:
        site: id of the Comm100 site.
        provider: id of the identity provider.
        redirect_url: checked; None if none came.
        restarted: this sign-in replaces one that was lost.
        now: seconds since the epoch.
        secret_keys: newest first; the first signs.
        trace_id: under which the log has the whole sign-in.
        max_state: characters the state may have; a long redirect_url is divided accordingly.
    """
    randomness, key = secrets.token_bytes(_RANDOM_BYTES), secret_keys[0]
    transaction = Transaction(_id_of(randomness), site, provider, redirect_url, int(now), restarted, trace_id)
    payload = {**_payload(transaction), "s": site}
    if restarted:
        payload["r"] = 1
    if redirect_url is None:
        return _signed(transaction, sign_value(payload, purpose=_SIGN_IN, key=key), key, randomness, None)
    state = sign_value({**payload, "u": redirect_url}, purpose=_SIGN_IN, key=key)
    if len(state) <= max_state:
        return _signed(transaction, state, key, randomness, None)

    def with_head(length: int) -> str:
        divided = {**payload, "h": _text_hash(redirect_url), "d": redirect_url[:length]}
        return sign_value(divided, purpose=_SIGN_IN, key=key)

    # The state is compressed, so that its length is found by trying, in steps that cost little room.
    lengths = range(0, len(redirect_url), HEAD_STEP)
    head = lengths[max(0, bisect_right(lengths, max_state, key=lambda length: len(with_head(length))) - 1)]
    return _signed(transaction, with_head(head), key, randomness, redirect_url[head:])


def sign_dry_run(
    *, provider: str, setup_link: str, now: float, secret_keys: Sequence[str], trace_id: str
) -> SignedTransaction:
    """Begin a test sign-in.

    Args:
        provider: id of the identity provider, enabled or not.
        setup_link: valid now; it has to be valid at the callback, too.
        now: seconds since the epoch.
        secret_keys: newest first; the first signs.
        trace_id: under which the log has the whole test sign-in.
    """
    randomness, key = secrets.token_bytes(_RANDOM_BYTES), secret_keys[0]
    transaction = Transaction(_id_of(randomness), "", provider, None, int(now), False, trace_id, setup_link)
    payload = {**_payload(transaction), "h": _text_hash(setup_link)}
    state = sign_value(payload, purpose=_DRY_RUN, key=key)
    return _signed(transaction, state, key, randomness, setup_link)


def open_state(unverified_state: str, *, secret_keys: Sequence[str]) -> OpenedState:
    """Return what the state of a sign-in says.

    Args:
        unverified_state: from the callback.
        secret_keys: any of them may have signed it.

    Raises:
        StateInvalid: none of them did, it is not byte for byte what we signed, or it is no sign-in's.
    """
    payload, key = _open(unverified_state, _SIGN_IN, secret_keys)
    transaction = Transaction(
        id=payload["i"],
        site=payload["s"],
        provider=payload["p"],
        redirect_url=payload.get("u"),
        issued=payload["t"],
        restarted=bool(payload.get("r")),
        trace_id=payload["x"],
    )
    return OpenedState(transaction, payload.get("h"), payload.get("d", ""), key)


def open_dry_run(unverified_state: str, *, secret_keys: Sequence[str]) -> OpenedDryRun:
    """Return what the state of a test sign-in says.

    Args:
        unverified_state: from the callback.
        secret_keys: any of them may have signed it.

    Raises:
        StateInvalid: none of them did, it is not byte for byte what we signed, or it is no test sign-in's.
    """
    payload, key = _open(unverified_state, _DRY_RUN, secret_keys)
    transaction = Transaction(payload["i"], "", payload["p"], None, payload["t"], False, payload["x"])
    return OpenedDryRun(transaction, payload["h"], "", key)


def bind(
    opened: OpenedState | OpenedDryRun, cookie_value: str | None, *, provider: str, now: float
) -> BoundTransaction:
    """Return the sign-in or test sign-in, if it is this browser's, of this provider, and not too old.

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
    if not hmac.compare_digest(_id_of(randomness), transaction.id):
        raise CookieMissing(
            expected=f"the cookie {opened.cookie_name}",
            got="one of another sign-in" if cookie_value else "no such cookie",
        )
    if opened.overflow_hash is not None and opened.overflow(cookie_value) is None:
        raise CookieMissing(expected="in the cookie, what was put there", got="a cookie that was altered")
    if isinstance(opened, OpenedDryRun):
        transaction = replace(transaction, setup_link=opened.overflow(cookie_value))
    else:
        transaction = replace(transaction, redirect_url=recover_redirect_url(opened, cookie_value))
    return BoundTransaction(
        transaction,
        nonce=_derive(opened.key, randomness, b"nonce"),
        code_verifier=_derive(opened.key, randomness, b"code_verifier"),
    )


def recover_redirect_url(opened: OpenedState, cookie_value: str | None) -> str | None:
    """Return the redirect_url of a sign-in that can only be started again, if state or cookie still has it.

    Args:
        opened: the state.
        cookie_value: of the cookie named `opened.cookie_name`, if the browser has it.
    """
    return opened.transaction.redirect_url if opened.overflow_hash is None else opened.overflow(cookie_value)


def _payload(transaction: Transaction) -> dict[str, Any]:
    return {"i": transaction.id, "p": transaction.provider, "t": transaction.issued, "x": transaction.trace_id}


def _signed(
    transaction: Transaction, state: str, key: str, randomness: bytes, overflow: str | None
) -> SignedTransaction:
    return SignedTransaction(
        transaction=transaction,
        state=state,
        nonce=_derive(key, randomness, b"nonce"),
        code_verifier=_derive(key, randomness, b"code_verifier"),
        cookie=make_cookie(transaction.id, randomness, issued=transaction.issued, overflow=overflow),
    )


def _open(unverified_state: str, purpose: bytes, secret_keys: Sequence[str]) -> tuple[dict[str, Any], str]:
    unsigned = unsign_value(unverified_state, purpose=purpose, secret_keys=secret_keys)
    if unsigned is None:
        got = f"{len(unverified_state)} characters that none of them signed"
        raise StateInvalid(expected="a state signed by one of secret_keys", got=got)
    return unsigned


def _id_of(randomness: bytes) -> str:
    return base64url.encode(hashlib.sha256(randomness).digest())


def _derive(key: str, randomness: bytes, label: bytes) -> str:
    return base64url.encode(hmac.digest(key.encode(), label + b"\0" + randomness, "sha256"))


def _text_hash(text: str) -> str:
    return base64url.encode(hashlib.sha256(text.encode()).digest())
