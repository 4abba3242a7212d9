"""Which published keys may verify an ID token: one odd key takes no good one with it (S-12, S-13, S-43)."""

from __future__ import annotations

import json

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed448, rsa, x25519
from hypothesis import given, settings
from hypothesis import strategies as st
from joserfc.jwk import ECKey

from broker.errors import AnswerUnexpected, AnswerUnreadable, BrokerError, KeysInvalid, ProviderFailing
from broker.oidc.keys import MAX_CANDIDATES, MAX_EXPONENT_BITS, MAX_KEYS, build_keys_request, check_keys
from broker.oidc.messages import DOCUMENT_LIMIT
from tests.oidc.samples import METADATA, answer, b64, key_set, published, signing_key

GOOD = published(signing_key("RS256", "good"))
EC = published(signing_key("ES256", "ec"))
ED = published(signing_key("EdDSA", "ed"))


def rsa_jwk(bits: int) -> dict[str, str]:
    numbers = rsa.generate_private_key(65537, bits).public_key().public_numbers()
    return {"kty": "RSA", "kid": "small", "n": b64(numbers.n.to_bytes(bits // 8, "big")), "e": "AQAB"}


def number(value: int) -> str:
    return b64(value.to_bytes((value.bit_length() + 7) // 8, "big"))


def secp256k1() -> dict[str, str]:
    point = ec.generate_private_key(ec.SECP256K1()).public_key().public_numbers()
    x, y = (b64(n.to_bytes(32, "big")) for n in (point.x, point.y))
    return {"kty": "EC", "crv": "secp256k1", "x": x, "y": y}


UNUSABLE = [
    pytest.param(None, id="null"),
    pytest.param("key", id="a text"),
    pytest.param([], id="a list"),
    pytest.param({}, id="an empty object"),
    pytest.param({**GOOD, "kty": None}, id="no kty"),
    pytest.param({**GOOD, "kty": ["RSA"]}, id="kty is a list"),
    pytest.param({**GOOD, "kty": "rsa"}, id="kty in lower case"),
    pytest.param({"kty": "oct", "kid": "k", "k": b64(b"x" * 32)}, id="a symmetric key"),
    pytest.param({"kty": "AKP", "alg": "ML-DSA-44", "pub": "AA"}, id="a type of tomorrow"),
    pytest.param({**GOOD, "use": "enc"}, id="for encryption by use"),
    pytest.param({**GOOD, "use": "SIG"}, id="use in upper case"),
    pytest.param({**GOOD, "use": ["sig"]}, id="use is a list"),
    pytest.param({**GOOD, "key_ops": ["encrypt", "wrapKey"]}, id="for encryption by key_ops"),
    pytest.param({**GOOD, "key_ops": []}, id="for nothing by key_ops"),
    pytest.param({**GOOD, "key_ops": "verify"}, id="key_ops is a text"),
    pytest.param({"kty": "RSA", "kid": "k", "x5c": ["MIIB"], "x5u": "https://evil.example"}, id="a certificate alone"),
    pytest.param({**GOOD, "n": ...}, id="no modulus"),
    pytest.param({**GOOD, "n": ""}, id="an empty modulus"),
    pytest.param({**GOOD, "n": "ä!"}, id="a modulus that is no base64url"),
    pytest.param({**GOOD, "n": "\ud800"}, id="a modulus that is a lone surrogate"),
    pytest.param({**GOOD, "n": 65537}, id="a modulus that is a number"),
    pytest.param({**GOOD, "n": number(2**8200 + 1)}, id="RSA of 8201 bits"),
    pytest.param({**GOOD, "n": number(2**32768 + 1)}, id="RSA of 32769 bits"),
    pytest.param({**GOOD, "e": "AA"}, id="an exponent of zero"),
    pytest.param({**GOOD, "e": "AQ"}, id="an exponent of one"),
    pytest.param({**GOOD, "e": "Ag"}, id="an even exponent"),
    pytest.param({**GOOD, "e": number(2**MAX_EXPONENT_BITS + 1)}, id="an exponent of 33 bits"),
    pytest.param({**GOOD, "e": number(2**2046 + 1)}, id="an exponent of 2047 bits"),
    pytest.param({**GOOD, "e": GOOD["n"]}, id="an exponent as large as the modulus"),
    pytest.param({**EC, "x": b64(b"\x01" * 32)}, id="a point off the curve"),
    pytest.param({**EC, "x": b64(bytes(32)), "y": b64(bytes(32))}, id="the point zero"),
    pytest.param({**EC, "y": b64(b"\x01" * 300)}, id="a coordinate far too long"),
    pytest.param({**EC, "x": ...}, id="half a point"),
    pytest.param({**EC, "crv": "P-384"}, id="a point of another curve"),
    pytest.param({**EC, "crv": "P-999"}, id="an unknown curve"),
    pytest.param(secp256k1(), id="secp256k1"),
    pytest.param({**ED, "crv": "Ed999"}, id="an unknown Edwards curve"),
    pytest.param({**ED, "x": b64(b"\x01" * 31)}, id="an Ed25519 key too short"),
    pytest.param({**ED, "x": b64(b"\x01" * 33)}, id="an Ed25519 key too long"),
    pytest.param(
        {"kty": "OKP", "crv": "Ed448", "x": b64(ed448.Ed448PrivateKey.generate().public_key().public_bytes_raw())},
        id="Ed448, which no configured algorithm uses",
    ),
    pytest.param(
        {"kty": "OKP", "crv": "X25519", "x": b64(x25519.X25519PrivateKey.generate().public_key().public_bytes_raw())},
        id="X25519, which cannot sign",
    ),
]


@pytest.mark.requirement("S-43")
@pytest.mark.parametrize("jwk", UNUSABLE)
def test_an_unusable_key_is_passed_over_and_the_good_one_stays(jwk: object) -> None:
    if isinstance(jwk, dict):
        jwk = {name: value for name, value in jwk.items() if value is not ...}
    assert [key.kid for key in key_set(jwk, GOOD).keys] == ["good"]
    with pytest.raises(KeysInvalid):
        key_set(jwk)


@pytest.mark.requirement("S-12")
@pytest.mark.parametrize("bits", [1024, 2040])
def test_rsa_under_2048_bits_does_not_verify(bits: int) -> None:
    """RFC 7518, section 3.3."""
    with pytest.raises(KeysInvalid):
        key_set(rsa_jwk(bits))


@pytest.mark.parametrize("exponent", [3, 17, 65537, 2**MAX_EXPONENT_BITS - 1])
def test_rsa_keys_with_an_exponent_anyone_uses_verify(exponent: int) -> None:
    assert kids({**GOOD, "e": number(exponent)}, kid="good", algorithm="RS256") == ["good"]


@pytest.mark.parametrize(
    "document",
    [
        pytest.param({}, id="nothing"),
        pytest.param({"keys": None}, id="null"),
        pytest.param({"keys": {}}, id="an object"),
        pytest.param({"keys": "none"}, id="a text"),
        pytest.param({"keys": []}, id="no key"),
        pytest.param({"Keys": [GOOD]}, id="another case"),
        pytest.param(GOOD, id="a key alone"),
    ],
)
def test_a_set_without_a_usable_key_is_refused(document: object) -> None:
    with pytest.raises(KeysInvalid):
        check_keys(answer(document))


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        pytest.param(200, b"<html>", AnswerUnreadable, id="a web page"),
        pytest.param(200, b"[]", AnswerUnreadable, id="an array"),
        pytest.param(302, b"", AnswerUnexpected, id="a redirect"),
        pytest.param(404, b"", AnswerUnexpected, id="not found"),
        pytest.param(429, b"", ProviderFailing, id="too many requests"),
        pytest.param(500, json.dumps({"keys": [GOOD]}).encode(), ProviderFailing, id="keys with a 500"),
    ],
)
def test_what_is_no_key_set_is_refused(status: int, body: bytes, expected: type[BrokerError]) -> None:
    with pytest.raises(expected):
        check_keys(answer(body, status))


def test_the_keys_are_asked_for_at_the_address_of_the_metadata() -> None:
    request = build_keys_request(METADATA.jwks_uri)
    assert (request.method, request.url, request.limit) == ("GET", METADATA.jwks_uri, DOCUMENT_LIMIT)


@pytest.mark.parametrize(
    ("max_age", "seconds"),
    [
        pytest.param(None, 3600, id="an hour where nothing is said"),
        pytest.param(0, 300, id="five minutes at least"),
        pytest.param(900, 900, id="as long as the provider says"),
        pytest.param(999_999_999, 86_400, id="a day at most"),
    ],
)
def test_keys_are_kept_as_long_as_the_provider_says_within_bounds(max_age: int | None, seconds: float) -> None:
    assert check_keys(answer({"keys": [GOOD]}, max_age=max_age))[1] == seconds


def kids(*jwks: object, kid: str | None, algorithm: str) -> list[str | None]:
    return [key.kid for key in key_set(*jwks).candidates(kid=kid, algorithm=algorithm)]


@pytest.mark.parametrize("algorithm", ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"])
def test_an_rsa_key_without_alg_verifies_every_rsa_algorithm(algorithm: str) -> None:
    """Entra's keys name none."""
    assert kids(GOOD, EC, ED, kid="good", algorithm=algorithm) == ["good"]


@pytest.mark.parametrize(("algorithm", "kid"), [("ES256", "ec"), ("EdDSA", "ed"), ("ES384", None), ("ES512", None)])
def test_a_curve_verifies_its_own_algorithm_alone(algorithm: str, kid: str | None) -> None:
    assert kids(GOOD, EC, ED, kid=kid, algorithm=algorithm) == ([kid] if kid else [])


@pytest.mark.parametrize("own", ["RS512", "PS256", "RSA-OAEP", "HS256", "none", ""])
def test_a_keys_own_alg_keeps_it_from_others(own: str) -> None:
    other = {**GOOD, "kid": "other"}
    assert kids({**GOOD, "alg": own}, other, kid="good", algorithm="RS256") == []


@pytest.mark.requirement("S-12")
@pytest.mark.parametrize("algorithm", ["ES256", "ES384", "ES512"])
def test_a_key_is_never_tried_with_another_types_algorithm(algorithm: str) -> None:
    assert kids(GOOD, kid="good", algorithm=algorithm) == []


@pytest.mark.parametrize(
    ("published_keys", "tried"),
    [pytest.param(n, n if n <= MAX_CANDIDATES else 0, id=f"{n} keys") for n in (1, 2, 4, 5, 100)],
)
@pytest.mark.parametrize("kid", [None, "k9"], ids=["a token without kid", "a kid that no key has"])
def test_keys_without_an_id_are_tried_if_they_are_few(kid: str | None, published_keys: int, tried: int) -> None:
    several = key_set(*[{**GOOD, "kid": None}] * published_keys, EC)
    assert several.candidates(kid=kid, algorithm="RS256") == several.keys[:tried]


def test_without_kid_every_fitting_key_is_meant() -> None:
    """OpenID Connect Core, section 10.1."""
    assert kids(GOOD, EC, kid=None, algorithm="RS256") == ["good"]
    assert kids(GOOD, {**GOOD, "kid": "other"}, EC, kid=None, algorithm="RS256") == ["good", "other"]


def test_a_key_with_another_id_is_never_tried() -> None:
    anonymous = {**GOOD, "kid": None}
    assert kids(GOOD, anonymous, kid="k9", algorithm="RS256") == [None]
    assert kids(GOOD, anonymous, kid="good", algorithm="RS256") == ["good"]
    assert kids({**GOOD, "alg": "RS512"}, anonymous, kid="good", algorithm="RS256") == []


@pytest.mark.parametrize("member", ["kid", "use", "alg", "key_ops", "issuer", "x5c", "x5t", "x5u"])
def test_an_optional_member_that_is_null_is_absent(member: str) -> None:
    assert len(key_set({**GOOD, member: None}).candidates(kid=None, algorithm="RS256")) == 1


def test_several_keys_of_one_kid_are_all_tried() -> None:
    other = published(signing_key("RS256", "other"), kid="good")
    assert len(key_set(GOOD, other).candidates(kid="good", algorithm="RS256")) == 2


@pytest.mark.parametrize(
    ("published_keys", "tried"),
    [
        pytest.param(MAX_CANDIDATES, MAX_CANDIDATES, id="four, all of them"),
        pytest.param(MAX_CANDIDATES + 1, MAX_CANDIDATES, id="five, the first four"),
        pytest.param(MAX_KEYS, MAX_CANDIDATES, id="a hundred, the first four"),
    ],
)
def test_of_many_keys_of_one_kid_only_a_few_are_tried(published_keys: int, tried: int) -> None:
    several = key_set(*[GOOD] * published_keys)
    assert several.candidates(kid="good", algorithm="RS256") == several.keys[:tried]
    assert tried == 4


def test_an_unknown_kid_has_no_key_even_if_there_is_only_one() -> None:
    assert kids(GOOD, kid="other", algorithm="RS256") == []


@pytest.mark.parametrize(
    ("jwks", "kid", "why", "lasts"),
    [
        pytest.param([GOOD, EC], "k9", "kid k9; published: good, ec", True, id="an unknown kid"),
        pytest.param(
            [{**GOOD, "alg": "RS512"}], "good", "kid good: a key for RS512", False, id="a key for another algorithm"
        ),
        pytest.param([{**GOOD, "use": "enc"}, EC], "good", "kid good: use: enc", False, id="a key for encryption"),
        pytest.param(
            [EC] * 100 + [GOOD], "good", "kid good: key number 101; 100 are looked at", False, id="key number 101"
        ),
        pytest.param(
            [{**GOOD, "kid": None}] * 5,
            "k9",
            "kid k9: 5 keys without kid fit RS256, and 4 are tried at most",
            False,
            id="five keys without kid",
        ),
        pytest.param([EC], None, "a token without kid; published: keys for P-256", False, id="no key of the type"),
    ],
)
def test_why_no_key_fits_is_said_and_an_old_key_set_blamed_only_where_it_may_be(
    jwks: list[object], kid: str | None, why: str, lasts: bool
) -> None:
    said, remedy = key_set(*jwks).explain_none(kid=kid, algorithm="RS256")
    assert said == why
    assert (remedy is None) is lasts


@pytest.mark.parametrize(
    ("jwk", "why"),
    [
        pytest.param(rsa_jwk(1024), "small: RSA 1024 bits", id="a short key"),
        pytest.param({**GOOD, "use": "enc"}, "good: use: enc", id="for encryption by use"),
        pytest.param({**GOOD, "alg": "RSA-OAEP"}, "good: alg: RSA-OAEP", id="for encryption by alg"),
        pytest.param({**GOOD, "alg": "sha256"}, "good: alg: sha256", id="no name of an algorithm"),
        pytest.param({**GOOD, "key_ops": ["encrypt"]}, "good: key_ops without verify", id="by key_ops"),
        pytest.param({"kty": "oct", "k": "AA"}, "number 1: kty: oct", id="a symmetric key"),
        pytest.param({"kty": "RSA", "kid": "k"}, "k: n: nothing", id="no modulus"),
        pytest.param({**EC, "crv": "P-999"}, "ec: crv: P-999", id="an unknown curve"),
        pytest.param({**EC, "x": b64(b"\x01" * 32)}, "ec: no valid EC key", id="a point off the curve"),
        pytest.param({**GOOD, "e": GOOD["n"]}, "good: an exponent of 2048 bits", id="a long exponent"),
        pytest.param(None, "number 1: nothing", id="null"),
    ],
)
def test_why_the_only_key_cannot_be_used_is_said(jwk: object, why: str) -> None:
    with pytest.raises(KeysInvalid) as refusal:
        key_set(jwk)
    assert refusal.value.got == f"1 keys, none usable: {why}"


def test_no_more_than_five_reasons_are_given() -> None:
    with pytest.raises(KeysInvalid) as refusal:
        key_set(*[{"kty": "oct", "kid": f"k{n}"} for n in range(5000)])
    got = str(refusal.value.got)
    assert got.startswith("5000 keys, none usable: k0: kty: oct; k1: ")
    assert got.endswith("k4: kty: oct; ...")


def test_private_members_published_by_mistake_are_left_behind() -> None:
    jwk = {**signing_key("ES256", "ec").as_dict(private=True), "oth": [], "x5c": ["AA"]}
    key = key_set(jwk).keys[0].key
    assert isinstance(key, ECKey)
    assert not key.is_private


def test_no_more_than_a_hundred_keys_are_looked_at() -> None:
    with pytest.raises(KeysInvalid):
        key_set(*[{"kty": "oct", "k": "AA"}] * MAX_KEYS, GOOD)


_VALUES = st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.lists(st.text(max_size=3), max_size=2)


@settings(deadline=None, max_examples=150)
@given(
    st.sampled_from([GOOD, EC, ED]),
    st.dictionaries(st.sampled_from(["kty", "n", "e", "crv", "x", "y", "use", "alg", "kid", "key_ops"]), _VALUES),
)
def test_no_odd_member_raises_or_takes_the_good_key_along(jwk: dict[str, object], odd: dict[str, object]) -> None:
    assert "still here" in {key.kid for key in key_set({**jwk, **odd}, {**GOOD, "kid": "still here"}).keys}
