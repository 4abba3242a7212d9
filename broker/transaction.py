"""Keeps a sign-in under way in a signed state and in a cookie of one browser; the server stores nothing.

The cookie holds fresh randomness. Its hash is the transaction's id, which the state carries. The nonce and the PKCE
verifier are derived from the randomness and a secret key. So a state is useless without the cookie of its browser. The
provider and its logs see the state; it holds no secret.

The provider's address has a maximum length. The state carries as much of a long redirect_url as fits, and the hash of
the whole; the rest travels in the cookie. The setup link of a test sign-in travels in the cookie, too.

The state of a test sign-in is signed for another purpose: it never opens as the state of a sign-in.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import zlib
from abc import ABC, abstractmethod
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Generic, TypeVar

from broker.errors import CookieMissing, StateInvalid, StateOfAnotherProvider, TransactionExpired
from broker.signing import CLOCK_LEEWAY, decode_base64url, encode_base64url, sign_value, unsign_value

LIFETIME = 600  # seconds from /login to /callback
OVERFLOW_LIFETIME = 3600  # seconds a cookie with overflow stays in the browser
MAX_STATE_CHARACTERS = 1000  # if the length of the provider's address is not known
HEAD_STEP = 16  # characters of a divided redirect_url
MAX_COOKIES = 5  # sign-ins under way in one browser
MAX_COOKIE_CHARACTERS = 2500  # of all cookies of sign-ins, names included; with the other cookies under 4 KB
MAX_OVERFLOW_BYTES = 4096  # decompressed
NAME_PREFIX: Final = "signin_"

_RANDOM_BYTES = 32
_SIGN_IN = b"broker state 1"
_DRY_RUN = b"broker test sign-in state 1"


@dataclass(frozen=True, slots=True)
class SignInTransaction:
    """The facts of a sign-in until the callback.

    Args:
        redirect_url: None if Comm100 sent none; checked again at the callback.
        restarted: the broker restarted this sign-in by itself, which happens once.
    """

    site: str
    provider: str
    redirect_url: str | None
    restarted: bool = False
    trace_id: str = ""


@dataclass(frozen=True, slots=True)
class DryRunTransaction:
    """The facts of a test sign-in until the callback.

    Args:
        provider: id of a provider that may be switched off.
        setup_link: the token of the setup link, which has to be valid at the callback, too.
    """

    provider: str
    setup_link: str = field(repr=False)
    trace_id: str = ""


T = TypeVar("T", bound=SignInTransaction | DryRunTransaction)


@dataclass(frozen=True, slots=True)
class BrowserCookie:
    """The cookie of a sign-in.

    Args:
        name: without the prefix `__Host-`.
        value: unverified if the browser sent it.
    """

    name: str
    value: str = field(repr=False)

    @property
    def lifetime(self) -> int:
        """Seconds in the browser. A cookie with overflow outlives its sign-in, so that the person can start again."""
        return OVERFLOW_LIFETIME if self.has_overflow else LIFETIME

    @property
    def has_overflow(self) -> bool:
        """Whether a part of a text travels in the cookie."""
        return self.value.count(".") == 2

    @property
    def size(self) -> int:
        """Characters that count against `MAX_COOKIE_CHARACTERS`."""
        return len(self.name) + len(self.value)

    @property
    def issued(self) -> int:
        """Seconds since the epoch, unverified: only for choosing the oldest cookie."""
        digits = self.value.partition(".")[0]
        return int(digits, 16) if re.fullmatch(r"[0-9a-f]{1,12}", digits) else 0


@dataclass(frozen=True, slots=True)
class SignedTransaction:
    """A new sign-in: the values for the provider, and the cookie for the browser."""

    state: str = field(repr=False)
    nonce: str = field(repr=False)
    code_verifier: str = field(repr=False)
    cookie: BrowserCookie


@dataclass(frozen=True, slots=True)
class BoundTransaction(Generic[T]):
    """A transaction that this browser began at this provider, at most ten minutes ago.

    Args:
        issued: seconds since the epoch.
    """

    id: str
    issued: int
    transaction: T
    nonce: str = field(repr=False)
    code_verifier: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class _Opened(ABC, Generic[T]):
    """A state that the broker signed, not bound to a browser yet.

    Args:
        id: the hash of the browser's randomness.
        issued: seconds since the epoch.
        overflow_hash: of the text whose end travels in the cookie; None if there is no such text.
        head: the beginning of the text.
        key: the secret key that signed the state.
    """

    id: str
    provider: str
    issued: int
    trace_id: str
    overflow_hash: str | None
    head: str = field(repr=False)
    key: str = field(repr=False)

    @property
    def cookie_name(self) -> str:
        """The name of the cookie that belongs to this state, without the prefix `__Host-`."""
        return _cookie_name(self.id)

    def overflow(self, cookie_value: str | None) -> str | None:
        """Return the text whose end travelled in the cookie; None if the cookie is lost or was changed."""
        _, tail = _unpack(cookie_value or "")
        text = self.head + (tail or "")
        return text if tail is not None and hmac.compare_digest(_text_hash(text), self.overflow_hash or "") else None

    @abstractmethod
    def restore(self, cookie_value: str | None) -> T:
        """Return the transaction with the text that travelled in the cookie."""


@dataclass(frozen=True, slots=True)
class OpenedState(_Opened[SignInTransaction]):
    """The state of a sign-in."""

    site: str
    restarted: bool
    short_redirect_url: str | None

    def redirect_url(self, cookie_value: str | None) -> str | None:
        """Return the redirect_url, not checked again; None if there is none, or if it was lost with the cookie."""
        return self.short_redirect_url if self.overflow_hash is None else self.overflow(cookie_value)

    def restore(self, cookie_value: str | None) -> SignInTransaction:
        """Return the sign-in with its redirect_url."""
        redirect_url = self.redirect_url(cookie_value)
        return SignInTransaction(self.site, self.provider, redirect_url, self.restarted, self.trace_id)


@dataclass(frozen=True, slots=True)
class OpenedDryRun(_Opened[DryRunTransaction]):
    """The state of a test sign-in."""

    def restore(self, cookie_value: str | None) -> DryRunTransaction:
        """Return the test sign-in with its setup link."""
        return DryRunTransaction(self.provider, self.overflow(cookie_value) or "", self.trace_id)


def sign(
    transaction: SignInTransaction | DryRunTransaction,
    *,
    now: float,
    secret_keys: Sequence[str],
    max_state: int = MAX_STATE_CHARACTERS,
) -> SignedTransaction:
    """Begin a sign-in or a test sign-in.

    Args:
        now: seconds since the epoch.
        secret_keys: newest first; the first signs.
        max_state: characters of the state; a long redirect_url is divided accordingly.
    """
    randomness, key, issued = secrets.token_bytes(_RANDOM_BYTES), secret_keys[0], int(now)
    id_ = _id_of(randomness)
    payload = {"i": id_, "p": transaction.provider, "t": issued, "x": transaction.trace_id}
    if isinstance(transaction, SignInTransaction):
        state, overflow = _sign_in_state(transaction, payload, key, max_state)
    else:
        state = sign_value({**payload, "h": _text_hash(transaction.setup_link)}, purpose=_DRY_RUN, key=key)
        overflow = transaction.setup_link
    cookie_value = f"{issued:x}.{encode_base64url(randomness)}"
    if overflow is not None:
        cookie_value += f".{encode_base64url(zlib.compress(overflow.encode(), 9))}"
    return SignedTransaction(
        state=state,
        nonce=_derive(key, randomness, b"nonce"),
        code_verifier=_derive(key, randomness, b"code_verifier"),
        cookie=BrowserCookie(_cookie_name(id_), cookie_value),
    )


def open_any(unverified_state: str, *, secret_keys: Sequence[str]) -> OpenedState | OpenedDryRun:
    """Open the state of a sign-in or of a test sign-in.

    Args:
        secret_keys: any of them may have signed it.

    Raises:
        StateInvalid: the broker did not sign the text, byte for byte.
    """
    if signed := unsign_value(unverified_state, purpose=_SIGN_IN, secret_keys=secret_keys):
        payload, key = signed
        own = {"site": payload["s"], "restarted": bool(payload.get("r")), "short_redirect_url": payload.get("u")}
        return OpenedState(**_opened(payload, key), **own)
    if signed := unsign_value(unverified_state, purpose=_DRY_RUN, secret_keys=secret_keys):
        return OpenedDryRun(**_opened(*signed))
    got = f"{len(unverified_state)} characters that none of them signed"
    raise StateInvalid(expected="a state signed by one of secret_keys", got=got)


def bind(opened: _Opened[T], cookie_value: str | None, *, provider: str, now: float) -> BoundTransaction[T]:
    """Return the transaction if this browser began it at this provider within the last ten minutes.

    Args:
        cookie_value: of the cookie named `opened.cookie_name`, unverified; None if the browser has no such cookie.
        provider: id of the provider whose callback was called.
        now: seconds since the epoch.

    Raises:
        StateOfAnotherProvider: the sign-in began at another provider (RFC 9700, section 4.4.2).
        TransactionExpired: the sign-in began too long ago, or in the future.
        CookieMissing: this browser did not begin the sign-in (RFC 9700, section 4.7).
    """
    if opened.provider != provider:
        raise StateOfAnotherProvider(expected=provider, got=opened.provider)
    age = now - opened.issued
    if not -CLOCK_LEEWAY <= age <= LIFETIME:
        raise TransactionExpired(expected=f"within {LIFETIME} s", got=f"{age:.0f} s")
    randomness, _ = _unpack(cookie_value or "")
    if not hmac.compare_digest(_id_of(randomness), opened.id):
        raise CookieMissing(
            expected=f"the cookie {opened.cookie_name}",
            got="the cookie of another sign-in" if cookie_value else "no such cookie",
        )
    if opened.overflow_hash is not None and opened.overflow(cookie_value) is None:
        raise CookieMissing(expected="the cookie as it was set", got="a cookie that was changed")
    return BoundTransaction(
        opened.id,
        opened.issued,
        opened.restore(cookie_value),
        nonce=_derive(opened.key, randomness, b"nonce"),
        code_verifier=_derive(opened.key, randomness, b"code_verifier"),
    )


def is_cookie_name(name: str) -> bool:
    """Tell whether a cookie name, without the prefix `__Host-`, may be a sign-in's."""
    return re.fullmatch(rf"{NAME_PREFIX}[A-Za-z0-9_-]{{10}}", name) is not None


def surplus(cookies: Sequence[BrowserCookie], new: BrowserCookie) -> list[BrowserCookie]:
    """Return the cookies to delete so that a new cookie fits by number and by size, the oldest first.

    Only cookies with overflow are deleted because of their size: a long redirect_url, which any link can bring, must
    not end other sign-ins.

    Args:
        cookies: of the sign-ins under way in this browser, in the order that the browser sent.
    """
    # Of cookies made in the same second, a browser sends the older cookies first (RFC 6265, section 5.4).
    newest_first = sorted(cookies, key=lambda cookie: cookie.issued)[::-1]
    leaving = newest_first[MAX_COOKIES - 1 :]
    room = MAX_COOKIE_CHARACTERS - new.size
    for cookie in sorted(newest_first[: MAX_COOKIES - 1], key=lambda cookie: cookie.has_overflow):
        if cookie.size <= room:
            room -= cookie.size
        else:
            leaving.append(cookie)
    return leaving


def _sign_in_state(
    transaction: SignInTransaction, payload: dict[str, Any], key: str, max_state: int
) -> tuple[str, str | None]:
    """Return the state, and the end of redirect_url if the state has no room for it."""
    redirect_url = transaction.redirect_url
    payload = {**payload, "s": transaction.site, **({"r": 1} if transaction.restarted else {})}
    whole = payload if redirect_url is None else {**payload, "u": redirect_url}
    state = sign_value(whole, purpose=_SIGN_IN, key=key)
    if len(state) > max_state:
        state = sign_value(whole, purpose=_SIGN_IN, key=key, compresses=True)
    if redirect_url is None or len(state) <= max_state:
        return state, None

    def with_head(length: int) -> str:
        divided = {**payload, "h": _text_hash(redirect_url), "d": redirect_url[:length]}
        return sign_value(divided, purpose=_SIGN_IN, key=key, compresses=True)

    # The state is compressed: how much fits is found by trying.
    lengths = range(0, len(redirect_url), HEAD_STEP)
    head = lengths[max(0, bisect_right(lengths, max_state, key=lambda length: len(with_head(length))) - 1)]
    return with_head(head), redirect_url[head:]


def _opened(payload: dict[str, Any], key: str) -> dict[str, Any]:
    return {
        "id": payload["i"],
        "provider": payload["p"],
        "issued": payload["t"],
        "trace_id": payload["x"],
        "overflow_hash": payload.get("h"),
        "head": payload.get("d", ""),
        "key": key,
    }


def _unpack(cookie_value: str) -> tuple[bytes, str | None]:
    """Return randomness and overflow of an unverified cookie; unreadable randomness is empty and matches nothing."""
    _, _, rest = cookie_value.partition(".")
    randomness, _, packed = rest.partition(".")
    if not packed:
        return _bytes(randomness), None
    unpacker = zlib.decompressobj()
    try:
        return _bytes(randomness), unpacker.decompress(_bytes(packed), MAX_OVERFLOW_BYTES).decode()
    except (zlib.error, ValueError):
        return _bytes(randomness), None


def _bytes(text: str) -> bytes:
    try:
        return decode_base64url(text)
    except ValueError:
        return b""


def _cookie_name(transaction_id: str) -> str:
    return f"{NAME_PREFIX}{transaction_id[:10]}"


def _id_of(randomness: bytes) -> str:
    return encode_base64url(hashlib.sha256(randomness).digest())


def _derive(key: str, randomness: bytes, label: bytes) -> str:
    return encode_base64url(hmac.digest(key.encode(), label + b"\0" + randomness, "sha256"))


def _text_hash(text: str) -> str:
    return encode_base64url(hashlib.sha256(text.encode()).digest())
