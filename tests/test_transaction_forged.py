"""A state that is not ours to the byte does not open: no forgery, no respelling, no change."""

from __future__ import annotations

import base64
import hashlib
import json
import string
import zlib
from typing import Any

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from itsdangerous import URLSafeSerializer, URLSafeTimedSerializer

from broker.errors import StateInvalid
from broker.transaction import SignInTransaction, open_any, sign

KEY = "k1-6f1d0c2b9a8e7f6d5c4b3a2918070605"
OLDER_KEY = "k0-0f1e2d3c4b5a69788796a5b4c3d2e1f0"
SHORT = "https://acme.comm100.com/agent?queue=vip"
REPETITIVE = f"https://acme.comm100.com/agent?filter={'queue=vip&' * 100}"  # is packed
LONG = "https://acme.comm100.com/agent?filter=" + hashlib.shake_256(b"long").hexdigest(1000)  # goes into the cookie


def state_of(redirect_url: str | None) -> str:
    return sign(SignInTransaction("main", "idp", redirect_url), now=1_800_000_000, secret_keys=[KEY]).state


OURS = state_of(SHORT)


def payload() -> dict[str, Any]:
    """Read what anyone can read of a state: it is signed, not hidden."""
    packed, _, _ = OURS.rpartition(".")
    raw = base64.urlsafe_b64decode(packed.removeprefix(".") + "==")
    found: dict[str, Any] = json.loads(zlib.decompress(raw) if packed.startswith(".") else raw)
    return found


def forged(
    serializer: type[URLSafeSerializer] | type[URLSafeTimedSerializer] = URLSafeSerializer,
    *,
    key: str = KEY,
    salt: bytes = b"broker state 1",
    **changes: Any,
) -> str:
    """Sign the right payload; with changes, in a way that is not ours."""
    options = {"key_derivation": "hmac", "digest_method": hashlib.sha256, **changes}
    return str(serializer(key, salt=salt, signer_kwargs=options).dumps(payload()))


def test_signed_our_way_the_right_payload_opens() -> None:
    opened = open_any(forged(), secret_keys=[KEY])
    assert opened == open_any(OURS, secret_keys=[KEY])


HEAD, _, SIGNATURE = OURS.rpartition(".")
BASE64 = string.ascii_uppercase + string.ascii_lowercase + string.digits + "-_"
# 256 bits fill 42 characters and two thirds: the last character has bits that stand for nothing.
RESPELT = SIGNATURE[:-1] + BASE64[BASE64.index(SIGNATURE[-1]) + 1]


def test_the_last_character_can_be_spelt_otherwise() -> None:
    assert base64.urlsafe_b64decode(RESPELT + "=") == base64.urlsafe_b64decode(SIGNATURE + "=")


@pytest.mark.requirement("S-35")
@pytest.mark.parametrize(
    "state",
    [
        pytest.param("", id="nothing"),
        pytest.param(".", id="a dot"),
        pytest.param("a.b.c", id="three parts"),
        pytest.param("null", id="null, CVE-2025-14546"),
        pytest.param("eyJpIjoieCJ9.AAAA", id="a payload of anybody's making, CVE-2025-14546"),
        pytest.param("x" * 100_000, id="100,000 characters"),
        pytest.param(HEAD, id="no signature"),
        pytest.param(f"{HEAD}.", id="an empty signature"),
        pytest.param(f"{OURS}=", id="with padding"),
        pytest.param(f"{HEAD}.{SIGNATURE}\n", id="with a line feed"),
        pytest.param(f"{HEAD}.{RESPELT}", id="the last bits spelt otherwise"),
        pytest.param(f"{HEAD}.{SIGNATURE[:5]} {SIGNATURE[5:]}", id="a space in the signature"),
        pytest.param(f"{OURS}.{SIGNATURE}", id="two signatures"),
        pytest.param(f".{OURS}", id="said to be packed"),
        pytest.param(OURS.swapcase(), id="in the other case"),
        pytest.param("\ud800", id="half of a surrogate pair"),
        pytest.param("ä.ö", id="letters beyond ASCII"),
        pytest.param(forged(salt=b"broker setup link 1"), id="signed for another purpose"),
        pytest.param(forged(salt=b"itsdangerous"), id="signed with the library's own salt"),
        pytest.param(forged(key="k" * 40), id="signed with another key"),
        pytest.param(forged(digest_method=hashlib.sha1), id="signed with SHA-1"),
        pytest.param(forged(key_derivation="django-concat"), id="with another derivation"),
        pytest.param(forged(URLSafeTimedSerializer), id="signed with a time stamp"),
    ],
)
def test_a_state_that_is_not_ours_to_the_byte_does_not_open(state: str) -> None:
    with pytest.raises(StateInvalid) as refusal:
        open_any(state, secret_keys=[OLDER_KEY, KEY])
    assert refusal.value.code == "state_invalid"


SEALED = [state_of(url) for url in (None, SHORT, REPETITIVE, LONG)]


@pytest.mark.requirement("S-35")
@settings(max_examples=600, deadline=None)
@given(state=st.sampled_from(SEALED), place=st.integers(0, 2000), cut=st.integers(0, 3), piece=st.text(max_size=3))
def test_no_change_to_a_state_opens(state: str, place: int, cut: int, piece: str) -> None:
    place %= len(state) + 1
    changed = state[:place] + piece + state[place + cut :]
    assume(changed != state)
    with pytest.raises(StateInvalid):
        open_any(changed, secret_keys=[KEY])


@pytest.mark.requirement("S-35")
@settings(max_examples=300, deadline=None)
@given(state=st.text(max_size=200))
@example(state="..")
def test_no_text_opens_by_chance(state: str) -> None:
    with pytest.raises(StateInvalid):
        open_any(state, secret_keys=[KEY])
