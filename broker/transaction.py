"""One sign-in under way: sealed in `state`, bound to one browser by one cookie, kept nowhere.

The cookie holds fresh randomness and nothing else of worth. From it and our secret key come the nonce and the PKCE
verifier; its hash is the transaction's id, which the sealed state carries. So a state is worth nothing without the
cookie of the browser it was made for, and the state, which the provider and its logs see, holds no secret.

A redirect_url too long for the provider's bound on the address travels in the cookie; the state keeps its hash.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from itsdangerous import BadData

from broker import base64url
from broker.errors import (
    CookieMissing,
    StateInvalid,
    StateOfAnotherProvider,
    TransactionExpired,
)
from broker.sealing import sealer

LIFETIME = 600  # seconds from /login to /callback
REDIRECT_URL_LIFETIME = 3600  # seconds a redirect_url too long for the state stays in the browser
CLOCK_LEEWAY = 60  # seconds the clocks of two replicas may differ
MAX_STATE_CHARACTERS = 1000  # Entra refuses addresses of about 1,800 characters in all (AADSTS90015)
MAX_COOKIES = 5  # sign-ins under way in one browser
MAX_COOKIE_CHARACTERS = 2500  # of all of them together, names included; with the other cookies under 4 KB
MAX_REDIRECT_URL_BYTES = 4096  # unpacked from a cookie

_RANDOM_BYTES = 32
_NAME_PREFIX: Final = "signin_"
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
class BrowserCookie:
    """The cookie of one sign-in.

    Args:
        name: without the prefix that the web floor puts before it.
        value: randomness, the time it was made, and a long redirect_url if there is one.
    """

    name: str
    value: str = field(repr=False)

    @property
    def lifetime(self) -> int:
        """Seconds the browser keeps it; a long redirect_url outlives its sign-in, which can then be started again."""
        return REDIRECT_URL_LIFETIME if self.value.count(".") == 2 else LIFETIME

    @property
    def issued(self) -> int:
        """Seconds since the epoch; for choosing the oldest alone, the browser could write anything here."""
        digits = self.value.partition(".")[0]
        return int(digits, 16) if re.fullmatch(r"[0-9a-f]{1,12}", digits) else 0


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
        redirect_url_hash: of the one in the cookie, otherwise.
        key: the secret key that sealed it, which the nonce and the verifier need.
    """

    transaction: Transaction
    redirect_url_hash: str | None
    key: str = field(repr=False)

    @property
    def cookie_name(self) -> str:
        """The name of the cookie that this sign-in needs."""
        return _cookie_name(self.transaction.id)


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
    value = f"{transaction.issued:x}.{base64url.encode(randomness)}"
    if redirect_url is not None:
        payload["u"] = redirect_url
    state = sealer(key, purpose=_PURPOSE).dumps(payload)
    if redirect_url is not None and len(state) > MAX_STATE_CHARACTERS:
        payload["h"] = _url_hash(payload.pop("u"))
        state = sealer(key, purpose=_PURPOSE).dumps(payload)
        value += f".{base64url.encode(zlib.compress(redirect_url.encode(), 9))}"
    return SealedTransaction(
        transaction=transaction,
        state=state,
        nonce=_derive(key, randomness, b"nonce"),
        code_verifier=_derive(key, randomness, b"code_verifier"),
        cookie=BrowserCookie(_cookie_name(transaction.id), value),
    )


def open_state(unverified_state: str, *, secret_keys: Sequence[str]) -> OpenedState:
    """Return what a state of ours says.

    Args:
        unverified_state: from the callback.
        secret_keys: any of them may have sealed it.

    Raises:
        StateInvalid: none of them did, or it is not byte for byte what we sealed.
    """
    for key in secret_keys:
        try:
            payload = sealer(key, purpose=_PURPOSE).loads(unverified_state)
        except (BadData, ValueError, RecursionError):
            continue
        # base64 has several spellings of the same bytes; only ours is accepted.
        if base64url.encode(_bytes(unverified_state.rpartition(".")[2])) != unverified_state.rpartition(".")[2]:
            break
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
    raise StateInvalid(expected="a state sealed by one of secret_keys", got="another")


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
    randomness, _ = _read_cookie(cookie_value or "")
    if not hmac.compare_digest(base64url.encode(hashlib.sha256(randomness).digest()), transaction.id):
        raise CookieMissing(expected=f"the cookie {opened.cookie_name}", got="none" if not cookie_value else "another")
    redirect_url = recover_redirect_url(opened, cookie_value)
    if redirect_url is None and opened.redirect_url_hash is not None:
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
    if opened.redirect_url_hash is None:
        return opened.transaction.redirect_url
    _, redirect_url = _read_cookie(cookie_value or "")
    if redirect_url is None or not hmac.compare_digest(_url_hash(redirect_url), opened.redirect_url_hash):
        return None
    return redirect_url


def surplus(cookies: Sequence[BrowserCookie], newcomer: BrowserCookie) -> list[BrowserCookie]:
    """Return the oldest cookies that have to go so that a new one fits: by number and by size.

    Args:
        cookies: of the sign-ins under way in this browser, in the order it sent them.
        newcomer: about to be set.
    """
    room = MAX_COOKIE_CHARACTERS - len(newcomer.name) - len(newcomer.value)
    leaving = []
    # Of those made in the same second, a browser sends the older ones first (RFC 6265, section 5.4).
    newest_first = sorted(cookies, key=lambda one: one.issued)[::-1]
    for place, cookie in enumerate(newest_first):
        room -= len(cookie.name) + len(cookie.value)
        if place >= MAX_COOKIES - 1 or room < 0:
            leaving.append(cookie)
    return leaving


def is_cookie_name(name: str) -> bool:
    """Whether a cookie of this name, without the web floor's prefix, may be a sign-in's."""
    return re.fullmatch(rf"{_NAME_PREFIX}[A-Za-z0-9_-]{{10}}", name) is not None


def _derive(key: str, randomness: bytes, label: bytes) -> str:
    return base64url.encode(hmac.digest(key.encode(), label + b"\0" + randomness, "sha256"))


def _cookie_name(transaction_id: str) -> str:
    return f"{_NAME_PREFIX}{transaction_id[:10]}"


def _url_hash(redirect_url: str) -> str:
    return base64url.encode(hashlib.sha256(redirect_url.encode()).digest())


def _read_cookie(value: str) -> tuple[bytes, str | None]:
    """Unpack randomness and redirect_url; what cannot be unpacked is empty and will not match."""
    _, _, rest = value.partition(".")
    randomness, _, packed = rest.partition(".")
    if not packed:
        return _bytes(randomness), None
    unpacker = zlib.decompressobj()
    try:
        return _bytes(randomness), unpacker.decompress(_bytes(packed), MAX_REDIRECT_URL_BYTES).decode()
    except (zlib.error, ValueError):
        return _bytes(randomness), None


def _bytes(text: str) -> bytes:
    try:
        return base64url.decode(text)
    except ValueError:
        return b""
