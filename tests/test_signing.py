"""The link to the setup page: signed, expiring, good at one broker alone."""

from __future__ import annotations

import base64
import json
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.errors import SetupLinkRefused, StateInvalid
from broker.signing import (
    CLOCK_LEEWAY,
    MAX_HOURS,
    SetupLink,
    build_setup_url,
    check_link,
    decode_base64url,
    encode_base64url,
    make_link,
    sign_value,
)
from broker.transaction import DryRunTransaction, SignInTransaction, open_any, sign

KEY = "k1-6f1d0c2b9a8e7f6d5c4b3a2918070605"
OLDER_KEY = "k0-0f1e2d3c4b5a69788796a5b4c3d2e1f0"
NOW = 1_800_000_000.0
HERE = "https://sso.acme.example"


def made(hours: int = 1, *, public_url: str = HERE, keys: tuple[str, ...] = (KEY,)) -> SetupLink:
    return make_link(public_url=public_url, hours=hours, now=NOW, secret_keys=keys)


def checked(token: str, *, now: float = NOW, keys: tuple[str, ...] = (KEY,), public_url: str = HERE) -> SetupLink:
    return check_link(token, public_url=public_url, now=now, secret_keys=keys)


OURS = made().token


@pytest.mark.requirement("S-56")
def test_a_link_is_good_until_it_expires_and_says_when_that_is() -> None:
    link = made(2)
    assert link.expires == NOW + 7200
    assert checked(link.token, now=NOW + 7199) == link
    with pytest.raises(SetupLinkRefused) as refusal:
        checked(link.token, now=NOW + 7200)
    assert (refusal.value.code, refusal.value.status) == ("setup_link_refused", 404)
    assert refusal.value.got == "expired 0 s ago"


@pytest.mark.requirement("S-51", "S-56")
def test_any_of_the_keys_verifies_and_the_first_signs() -> None:
    assert checked(made(keys=(OLDER_KEY,)).token, keys=(KEY, OLDER_KEY)).expires > NOW
    with pytest.raises(SetupLinkRefused):
        checked(made(keys=(KEY, OLDER_KEY)).token, keys=(OLDER_KEY,))


@pytest.mark.requirement("S-56")
def test_another_broker_with_the_same_keys_refuses_it() -> None:
    with pytest.raises(SetupLinkRefused) as refusal:
        checked(OURS, public_url="https://sso.other.example")
    assert (refusal.value.expected, refusal.value.got) == (
        "a link for https://sso.other.example",
        "a link for https://sso.acme.example",
    )


def sealed_for(purpose: bytes) -> str:
    return sign_value([int(NOW) + 3600, HERE], purpose=purpose, key=KEY)


@pytest.mark.requirement("S-56")
@pytest.mark.parametrize(
    "token",
    [
        pytest.param("", id="nothing"),
        pytest.param("x", id="something else"),
        pytest.param(".", id="a dot"),
        pytest.param(OURS[:-1], id="cut"),
        pytest.param(OURS + "=", id="padded"),
        pytest.param(OURS + " ", id="with a space"),
        pytest.param(OURS.upper(), id="in upper case"),
        pytest.param("ä" + OURS, id="letters beyond ASCII"),
        pytest.param(OURS + "\ud800", id="half of a surrogate pair"),
        pytest.param("." + OURS, id="said to be packed"),
        pytest.param("A" * 8000, id="huge"),
        pytest.param(made(MAX_HOURS + 1).token, id="for longer than any is made"),
        pytest.param(sealed_for(b"broker state 1"), id="signed as a sign-in's state"),
        pytest.param(sealed_for(b"broker test sign-in state 1"), id="signed as a test sign-in's state"),
        pytest.param(sealed_for(b"broker logout state 1"), id="signed as a sign-out's state"),
    ],
)
def test_whatever_is_not_a_link_of_ours_is_refused(token: str) -> None:
    with pytest.raises(SetupLinkRefused) as refusal:
        checked(token)
    assert refusal.value.code == "setup_link_refused"
    assert token not in str(vars(refusal.value)) or len(token) < 2


def test_the_longest_link_is_good_for_a_replica_whose_clock_is_behind() -> None:
    assert checked(made(MAX_HOURS).token, now=NOW - CLOCK_LEEWAY).expires > NOW


@pytest.mark.requirement("S-56")
@given(st.integers(0, len(OURS) - 1), st.sampled_from(string.ascii_letters + string.digits + "-_.=+/ "))
def test_no_other_character_may_stand_anywhere_in_it(place: int, character: str) -> None:
    changed = OURS[:place] + character + OURS[place + 1 :]
    if changed != OURS:
        with pytest.raises(SetupLinkRefused):
            checked(changed)


@pytest.mark.requirement("S-56")
def test_a_later_expiry_written_into_it_does_not_count() -> None:
    payload, _, signature = OURS.rpartition(".")
    expires, public_url = json.loads(base64.urlsafe_b64decode(payload + "=="))
    later = base64.urlsafe_b64encode(json.dumps([expires + 3600, public_url]).encode()).rstrip(b"=").decode()
    with pytest.raises(SetupLinkRefused):
        checked(f"{later}.{signature}")


def test_a_link_opens_as_no_state_and_no_state_as_a_link() -> None:
    for transaction in (SignInTransaction("main", "idp", None), DryRunTransaction("idp", OURS)):
        with pytest.raises(SetupLinkRefused):
            checked(sign(transaction, now=NOW, secret_keys=[KEY]).state)
    with pytest.raises(StateInvalid):
        open_any(OURS, secret_keys=[KEY])


def test_the_address_needs_no_escaping_and_the_record_shows_no_link() -> None:
    url = build_setup_url(HERE, OURS)
    assert url.startswith("https://sso.acme.example/setup?link=")
    assert set(OURS) <= set(string.ascii_letters + string.digits + "-_.")
    assert OURS not in repr(made())


@pytest.mark.parametrize("text", ["a+b=", "ab+/", "Y", "Y\u00e9Q", "YQ\n", " YQ", "YR!!"])
def test_only_base64url_is_base64url(text: str) -> None:
    with pytest.raises(ValueError, match=r"ase64|ascii|padding|character|data"):
        decode_base64url(text)


def test_base64url_is_read_as_it_is_written() -> None:
    for length in range(40):
        data = bytes(range(216, 256))[:length]
        assert decode_base64url(encode_base64url(data)) == data
