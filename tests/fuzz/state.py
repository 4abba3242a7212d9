"""What comes back in `state`, and the cookie that must come with it.

This file owns what must hold of any pair. It can sign, but knows no secret of the one sign-in it holds against them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from broker.errors import CookieMissing, StateInvalid
from broker.transaction import BoundTransaction, OpenedState, SignedTransaction, SignInTransaction, bind, open_any, sign
from tests.fakes.clock import START

KEYS = ("the newest key, of 32 bytes or more", "the one before, of 32 bytes or more")
SHORT = "https://acme.comm100.com/agent"
LONG = f"{SHORT}?" + "".join(f"{number:x}~" for number in range(500))


@dataclass(frozen=True)
class SignIn:
    """One that is under way."""

    signed: SignedTransaction
    redirect_url: str | None


def begin(redirect_url: str | None, *, key: int = 0) -> SignIn:
    """Begin a sign-in, with the newest key or one before."""
    signed = sign(SignInTransaction("main", "idp", redirect_url), now=START, secret_keys=KEYS[key:])
    return SignIn(signed, redirect_url)


def judge(state: str, cookie_value: str | None, under_way: SignIn) -> BoundTransaction[SignInTransaction] | None:
    """Return the sign-in if both are its own, having checked that nothing else ever is."""
    try:
        opened = open_any(state, secret_keys=KEYS)
    except StateInvalid:
        assert state != under_way.signed.state
        return None
    assert state == under_way.signed.state, "no other bytes open"
    assert isinstance(opened, OpenedState)
    try:
        bound = bind(opened, cookie_value, provider="idp", now=START)
    except CookieMissing:
        assert cookie_value != under_way.signed.cookie.value
        return None
    assert bound.transaction.redirect_url == under_way.redirect_url
    assert (bound.nonce, bound.code_verifier) == (under_way.signed.nonce, under_way.signed.code_verifier)
    return bound


@contextmanager
def validation() -> Iterator[Callable[[bytes], None]]:
    """Give what the fuzzer calls: a state and a cookie's value, a line each.

    `{state}`, `{payload}`, `{signature}` and `{cookie}` stand for what the browser really has, which is not twice the
    same.
    """
    sign_ins = (begin(None), begin(SHORT, key=1), begin(LONG))

    def one_input(data: bytes) -> None:
        text = data.decode("utf-8", "surrogateescape")
        for under_way in sign_ins:
            payload, _, signature = under_way.signed.state.rpartition(".")
            state, _, cookie = (
                text.replace("{state}", under_way.signed.state)
                .replace("{payload}", payload)
                .replace("{signature}", signature)
                .replace("{cookie}", under_way.signed.cookie.value)
                .partition("\n")
            )
            judge(state, cookie, under_way)

    yield one_input
