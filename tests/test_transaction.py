"""The sign-in under way: signed in the state, bound to one browser, kept nowhere."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import tracemalloc
import zlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.errors import CookieMissing, StateInvalid, StateOfAnotherProvider, TransactionExpired
from broker.signing import CLOCK_LEEWAY, unsign_value
from broker.transaction import (
    LIFETIME,
    MAX_COOKIE_CHARACTERS,
    MAX_STATE_CHARACTERS,
    BoundTransaction,
    DryRunTransaction,
    OpenedDryRun,
    OpenedState,
    SignedTransaction,
    SignInTransaction,
    bind,
    is_cookie_name,
    open_any,
    sign,
)

KEY = "k1-6f1d0c2b9a8e7f6d5c4b3a2918070605"
OLDER_KEY = "k0-0f1e2d3c4b5a69788796a5b4c3d2e1f0"
NOW = 1_800_000_000.0
SHORT = "https://acme.comm100.com/agent?queue=vip"
REPETITIVE = f"https://acme.comm100.com/agent?filter={'queue=vip&' * 100}"  # packs well: stays in the state
LONG = "https://acme.comm100.com/agent?filter=" + hashlib.shake_256(b"long").hexdigest(1000)


def begun(redirect_url: str | None = SHORT, *, now: float = NOW, keys: tuple[str, ...] = (KEY,)) -> SignedTransaction:
    return sign(SignInTransaction("main", "idp", redirect_url), now=now, secret_keys=keys)


def opened_state(signed: SignedTransaction, *keys: str) -> OpenedState:
    opened = open_any(signed.state, secret_keys=keys or [KEY])
    assert isinstance(opened, OpenedState)
    return opened


def come_back(
    signed: SignedTransaction, cookie_value: str | None, *, keys: tuple[str, ...] = (KEY,), now: float = NOW + 30
) -> BoundTransaction[SignInTransaction]:
    return bind(opened_state(signed, *keys), cookie_value, provider="idp", now=now)


def payload_of(state: str) -> dict[str, Any]:
    """Read what anyone can read of a state: it is signed, not hidden."""
    packed, _, _ = state.rpartition(".")
    raw = base64.urlsafe_b64decode(packed.removeprefix(".") + "==")
    payload: dict[str, Any] = json.loads(zlib.decompress(raw) if packed.startswith(".") else raw)
    return payload


URLS = [
    pytest.param(None, id="no redirect_url"),
    pytest.param(SHORT, id="a short redirect_url"),
    pytest.param(REPETITIVE, id="a redirect_url that packs well"),
    pytest.param(LONG, id="a redirect_url that goes into the cookie"),
    pytest.param(
        "https://acme.comm100.com/" + hashlib.shake_256(b"max").hexdigest(1011), id="the longest redirect_url"
    ),
]


@pytest.mark.parametrize("redirect_url", URLS)
@pytest.mark.parametrize("restarted", [False, True], ids=["the first time", "started again"])
def test_what_was_signed_comes_back_whole(redirect_url: str | None, restarted: bool) -> None:
    transaction = SignInTransaction("emea", "idp", redirect_url, restarted, "trace-1")
    signed = sign(transaction, now=NOW, secret_keys=[KEY])
    bound = come_back(signed, signed.cookie.value)
    assert bound.transaction == transaction
    assert bound.issued == NOW
    assert (bound.nonce, bound.code_verifier) == (signed.nonce, signed.code_verifier)


@pytest.mark.parametrize("redirect_url", URLS)
def test_state_and_cookie_need_no_escaping_and_fit_the_bounds(redirect_url: str | None) -> None:
    signed = begun(redirect_url)
    assert re.fullmatch(r"[A-Za-z0-9._-]+", signed.state)
    assert len(signed.state) <= MAX_STATE_CHARACTERS
    assert re.fullmatch(r"[A-Za-z0-9._-]+", signed.cookie.value)
    assert len(signed.cookie.name) + len(signed.cookie.value) <= MAX_COOKIE_CHARACTERS
    assert is_cookie_name(signed.cookie.name)


@pytest.mark.parametrize("max_state", [0, 200, 400, 1000, 1300])
@pytest.mark.parametrize("redirect_url", URLS[3:])
def test_a_long_redirect_url_is_divided_between_state_and_cookie(redirect_url: str, max_state: int) -> None:
    signed = sign(SignInTransaction("main", "idp", redirect_url), now=NOW, secret_keys=[KEY], max_state=max_state)
    payload = payload_of(signed.state)
    assert "u" not in payload
    assert len(payload["h"]) == 43
    assert redirect_url.startswith(payload["d"])
    assert len(signed.state) <= max(max_state, 300)
    assert bool(payload["d"]) is (max_state > 300)
    assert come_back(signed, signed.cookie.value).transaction.redirect_url == redirect_url


@pytest.mark.parametrize("redirect_url", URLS)
def test_the_state_holds_neither_nonce_nor_verifier_nor_the_browsers_randomness(redirect_url: str | None) -> None:
    signed = begun(redirect_url)
    randomness = signed.cookie.value.split(".")[1]
    public = signed.state + json.dumps(payload_of(signed.state))
    for secret in (signed.nonce, signed.code_verifier, randomness, KEY):
        assert secret not in public
    for shown in (
        signed,
        signed.cookie,
        opened_state(signed),
        come_back(signed, signed.cookie.value),
    ):
        for secret in (signed.nonce, signed.code_verifier, randomness, KEY, signed.state):
            assert secret not in repr(shown)


@pytest.mark.requirement("S-01")
def test_nonce_and_verifier_have_256_bits_and_the_characters_rfc_7636_allows() -> None:
    for signed in (begun() for _ in range(50)):
        assert re.fullmatch(r"[A-Za-z0-9._~-]{43,128}", signed.code_verifier)
        assert len(base64.urlsafe_b64decode(signed.nonce + "==")) == 32
        assert signed.nonce != signed.code_verifier


@pytest.mark.requirement("S-01")
def test_the_cookie_alone_yields_neither_nonce_nor_verifier() -> None:
    signed = begun()
    opened = opened_state(signed)
    ours = bind(opened, signed.cookie.value, provider="idp", now=NOW)
    thiefs = bind(replace(opened, key=OLDER_KEY), signed.cookie.value, provider="idp", now=NOW)
    assert (ours.nonce, ours.code_verifier) == (signed.nonce, signed.code_verifier)
    assert not {thiefs.nonce, thiefs.code_verifier} & {ours.nonce, ours.code_verifier}


@pytest.mark.requirement("S-01")
def test_two_sign_ins_share_nothing() -> None:
    many = [begun() for _ in range(100)]
    for values in zip(
        *((one.state, one.nonce, one.code_verifier, one.cookie.value) for one in many),
        strict=True,
    ):
        assert len(set(values)) == 100


OTHERS = begun()


@pytest.mark.requirement("S-02")
@pytest.mark.parametrize(
    "cookie_value",
    [
        pytest.param(None, id="no cookie"),
        pytest.param("", id="an empty cookie"),
        pytest.param("x", id="something else"),
        pytest.param("....", id="dots"),
        pytest.param(OTHERS.cookie.value, id="the cookie of another sign-in"),
        pytest.param("6b49d200." + "A" * 43, id="made up randomness"),
        pytest.param("6b49d200.ä", id="letters beyond ASCII"),
        pytest.param("6b49d200.\ud800", id="half of a surrogate pair"),
    ],
)
@pytest.mark.parametrize("redirect_url", [SHORT, LONG], ids=["short", "long"])
def test_another_browser_cannot_use_the_state(cookie_value: str | None, redirect_url: str) -> None:
    with pytest.raises(CookieMissing) as refusal:
        come_back(begun(redirect_url), cookie_value)
    assert refusal.value.code == "cookie_missing"
    assert cookie_value is None or len(cookie_value) < 5 or cookie_value not in str(vars(refusal.value))


@pytest.mark.requirement("S-04")
def test_the_time_in_the_cookie_decides_nothing_at_the_callback() -> None:
    signed = begun()
    _, _, rest = signed.cookie.value.partition(".")
    assert come_back(signed, f"0.{rest}") == come_back(signed, signed.cookie.value)


def packed(redirect_url: bytes) -> str:
    return base64.urlsafe_b64encode(zlib.compress(redirect_url)).rstrip(b"=").decode()


@pytest.mark.requirement("S-35")
@pytest.mark.parametrize(
    "part",
    [
        pytest.param("", id="none"),
        pytest.param(packed(b"https://evil.example/"), id="another one"),
        pytest.param(packed(b"\xff"), id="no UTF-8"),
        pytest.param(packed(b"0" * 100_000_000), id="100 MB of one character"),
        pytest.param("AAAA", id="nothing packed"),
        pytest.param("!", id="no base64"),
    ],
)
def test_another_redirect_url_in_the_cookie_is_refused(part: str) -> None:
    signed = begun(LONG)
    changed = f"{signed.cookie.value.rpartition('.')[0]}.{part}"
    with pytest.raises(CookieMissing):
        come_back(signed, changed)
    assert opened_state(signed).redirect_url(changed) is None


@pytest.mark.requirement("S-35")
@pytest.mark.vulnerability("CVE-2024-24814")
def test_a_compressed_address_in_the_cookie_is_unpacked_within_bounds() -> None:
    signed = begun(LONG)
    value = f"{signed.cookie.value.rpartition('.')[0]}.{packed(b'a' * 4_000_000)}"
    tracemalloc.start()
    with pytest.raises(CookieMissing):
        come_back(signed, value)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1_000_000


@pytest.mark.requirement("S-35")
def test_a_redirect_url_put_into_the_cookie_does_not_replace_the_signed_one() -> None:
    signed = begun(SHORT)
    bound = come_back(signed, f"{signed.cookie.value}.{packed(b'https://evil.example/')}")
    assert bound.transaction.redirect_url == SHORT


@pytest.mark.requirement("S-06")
def test_a_state_of_one_provider_is_refused_at_another() -> None:
    signed = begun()
    with pytest.raises(StateOfAnotherProvider) as refusal:
        bind(opened_state(signed), signed.cookie.value, provider="other", now=NOW)
    assert (refusal.value.code, refusal.value.expected, refusal.value.got) == (
        "state_of_another_provider",
        "other",
        "idp",
    )


@pytest.mark.requirement("S-04")
@pytest.mark.parametrize(
    ("seconds", "fits"),
    [
        pytest.param(0, True, id="at once"),
        pytest.param(LIFETIME, True, id="after ten minutes to the second"),
        pytest.param(LIFETIME + 1, False, id="a second later"),
        pytest.param(10**9, False, id="years later"),
        pytest.param(-30, True, id="by a replica whose clock is 30 s behind"),
        pytest.param(-CLOCK_LEEWAY, True, id="by a replica whose clock is 60 s behind"),
        pytest.param(-CLOCK_LEEWAY - 1, False, id="by a clock further behind"),
    ],
)
def test_a_sign_in_takes_ten_minutes_at_most_by_our_own_clock(seconds: float, fits: bool) -> None:
    signed = begun()
    if fits:
        assert come_back(signed, signed.cookie.value, now=NOW + seconds).nonce == signed.nonce
        return
    with pytest.raises(TransactionExpired) as refusal:
        come_back(signed, signed.cookie.value, now=NOW + seconds)
    assert refusal.value.code == "transaction_expired"


@pytest.mark.requirement("S-04")
@pytest.mark.parametrize("redirect_url", URLS)
def test_an_expired_sign_in_still_tells_where_to_start_again(redirect_url: str | None) -> None:
    signed = begun(redirect_url)
    assert opened_state(signed).redirect_url(signed.cookie.value) == redirect_url


@pytest.mark.requirement("S-51")
@pytest.mark.parametrize("redirect_url", [SHORT, LONG], ids=["short", "long"])
def test_a_key_rotated_in_mid_sign_in_costs_nothing(redirect_url: str) -> None:
    signed = begun(redirect_url, keys=(OLDER_KEY,))
    bound = come_back(signed, signed.cookie.value, keys=(KEY, OLDER_KEY))
    assert (bound.nonce, bound.code_verifier) == (signed.nonce, signed.code_verifier)


@pytest.mark.requirement("S-51")
def test_the_first_key_signs_and_all_of_them_open() -> None:
    signed = begun(keys=(KEY, OLDER_KEY))
    assert opened_state(signed, KEY).cookie_name == signed.cookie.name
    with pytest.raises(StateInvalid):
        open_any(signed.state, secret_keys=[OLDER_KEY])
    with pytest.raises(StateInvalid):
        open_any(signed.state, secret_keys=[])


@pytest.mark.requirement("S-02")
@settings(max_examples=400, deadline=None)
@given(value=st.one_of(st.text(max_size=120), st.builds("{}.{}.{}".format, st.text(), st.text(), st.text())))
def test_no_other_cookie_binds_and_none_breaks_anything(value: str) -> None:
    with pytest.raises(CookieMissing):
        come_back(begun(LONG), value)


LINK = "WzE4MDAwMDM2MDAsImh0dHBzOi8vc3NvLmFjbWUuZXhhbXBsZSJd.c2lnbmF0dXJl"


def tried() -> SignedTransaction:
    return sign(DryRunTransaction("idp", LINK, "t1"), now=NOW, secret_keys=[KEY])


def opened_dry_run(signed: SignedTransaction) -> OpenedDryRun:
    opened = open_any(signed.state, secret_keys=[KEY])
    assert isinstance(opened, OpenedDryRun)
    return opened


def test_a_test_sign_in_comes_back_whole_with_its_setup_link() -> None:
    signed = tried()
    opened = opened_dry_run(signed)
    bound = bind(opened, signed.cookie.value, provider="idp", now=NOW + 30)
    assert bound.transaction == DryRunTransaction("idp", LINK, "t1")
    assert (bound.nonce, bound.code_verifier) == (signed.nonce, signed.code_verifier)


def test_the_provider_never_sees_the_setup_link() -> None:
    signed = tried()
    assert LINK not in signed.state + json.dumps(payload_of(signed.state)) + repr(signed)
    assert len(signed.state) < 300


@pytest.mark.requirement("S-35")
def test_the_state_of_a_test_sign_in_never_opens_as_a_sign_in_nor_the_other_way_round() -> None:
    purposes = (b"broker state 1", b"broker test sign-in state 1")
    for state, own, other in ((begun().state, *purposes), (tried().state, *purposes[::-1])):
        assert unsign_value(state, purpose=own, secret_keys=[KEY])
        assert unsign_value(state, purpose=other, secret_keys=[KEY]) is None
    assert isinstance(open_any(begun().state, secret_keys=[KEY]), OpenedState)
    assert isinstance(open_any(tried().state, secret_keys=[KEY]), OpenedDryRun)


@pytest.mark.requirement("S-02")
@pytest.mark.parametrize(
    "cookie_value",
    [
        pytest.param(lambda _: None, id="no cookie"),
        pytest.param(lambda _: OTHERS.cookie.value, id="the cookie of a sign-in"),
        pytest.param(lambda own: own.rpartition(".")[0], id="without the link"),
        pytest.param(lambda own: f"{own.rpartition('.')[0]}.{packed(b'another')}", id="with another link"),
    ],
)
def test_a_test_sign_in_needs_its_own_cookie_with_its_own_link(cookie_value: Callable[[str], str | None]) -> None:
    signed = tried()
    opened = opened_dry_run(signed)
    with pytest.raises(CookieMissing):
        bind(opened, cookie_value(signed.cookie.value), provider="idp", now=NOW)
