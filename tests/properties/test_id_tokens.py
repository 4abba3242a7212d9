"""S-12 and S-13: no token verifies that was not signed, however it is made from ones that were."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.oidc.keys import KeySet
from tests.fakes.provider import FakeProvider, new_key
from tests.fuzz.id_token import ISSUER, encode, judge_signature, key_set

ALGORITHMS = ("RS256", "PS256", "ES256", "EdDSA")
PIECES = st.sampled_from(
    ["", ".", "..", "=", "A", "AA", "-", "_", "+", "/", "\n", " ", "\0", "%2e", "e30", "\u0430", "!"]
)


def signed_by(algorithm: str, kid: str) -> tuple[dict[str, Any], list[str]]:
    """Return a public key, and two tokens its owner really signed."""
    provider = FakeProvider(ISSUER, lambda: 0.0, algorithm=algorithm)
    key = new_key(algorithm, kid)
    header = {"alg": algorithm, "kid": kid}
    tokens = [provider.sign(header, {"sub": subject, "iss": ISSUER}, key) for subject in ("ada", "grace")]
    return key.as_dict(private=False), tokens


SIGNED = {algorithm: signed_by(algorithm, f"key-{algorithm}") for algorithm in ALGORITHMS}
KEYS: KeySet = key_set(*(public for public, _ in SIGNED.values()))
GENUINE = [token for _, tokens in SIGNED.values() for token in tokens]
PARTS = [part for token in GENUINE for part in token.split(".")]
HEADERS = st.dictionaries(
    st.sampled_from(["alg", "kid", "typ", "crit", "b64", "jwk", "jku", "x5c", "enc", "zip", "cty"]),
    st.sampled_from([*ALGORITHMS, *(f"key-{algorithm}" for algorithm in ALGORITHMS)])
    | st.sampled_from(["none", "None", "nOnE", "HS256", "HS512", "RSA-OAEP", ""])
    | st.sampled_from([None, True, 0, 1.5, [], ["b64"], {}, SIGNED["RS256"][0], SIGNED["EdDSA"][0]]),
    max_size=5,
)


@pytest.mark.parametrize(
    "token",
    [
        pytest.param(token, id=f"{algorithm} {number}")
        for algorithm, (_, tokens) in SIGNED.items()
        for number, token in enumerate(tokens, 1)
    ],
)
def test_what_was_signed_verifies(token: str) -> None:
    """Otherwise the properties below would hold of nothing."""
    assert judge_signature(token, KEYS, GENUINE) is not None


@pytest.mark.requirement("S-13")
@settings(max_examples=400, deadline=None)
@given(data=st.data())
def test_no_mutated_token_verifies(data: st.DataObject) -> None:
    token = data.draw(st.sampled_from(GENUINE))
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(token)))
        stop = start + data.draw(st.sampled_from([0, 0, 1, 1, 2, 4, 43]))
        token = token[:start] + data.draw(PIECES | st.text(max_size=2)) + token[stop:]
    judge_signature(token, KEYS, GENUINE)


@pytest.mark.requirement("S-13")
@settings(max_examples=200, deadline=None)
@given(parts=st.lists(st.sampled_from([*PARTS, "", "e30"]), min_size=1, max_size=5))
def test_no_token_made_of_parts_of_others_verifies(parts: list[str]) -> None:
    judge_signature(".".join(parts), KEYS, GENUINE)


@pytest.mark.requirement("S-13")
@settings(max_examples=200, deadline=None)
@given(
    header=HEADERS,
    rest=st.sampled_from(GENUINE),
    signature=st.sampled_from(["", "AA", *PARTS[2::3]]),
)
def test_no_other_header_makes_a_signature_pass(header: dict[str, object], rest: str, signature: str) -> None:
    claims = rest.split(".")[1]
    for chosen in (signature, rest.split(".")[2]):
        judge_signature(f"{encode(json.dumps(header).encode())}.{claims}.{chosen}", KEYS, GENUINE)
