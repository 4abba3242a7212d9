"""A signature counts only with an algorithm from our settings and a key from the provider's set (S-12, S-13)."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Callable

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given, settings
from hypothesis import strategies as st
from joserfc.jwk import RSAKey

from broker.errors import (
    BrokerError,
    IdTokenAlgorithm,
    IdTokenKeyUnknown,
    IdTokenMalformed,
    IdTokenSignature,
    InvalidProviderResponse,
)
from broker.oidc.id_token import MAX_HEADER_BYTES, SignedClaims, verify_signature
from broker.oidc.registration import SIGNATURE_ALGORITHMS
from tests.oidc.samples import SECRET, b64, claims, key_set, published, sign, signing_key

HEADER = {"alg": "RS256", "typ": "JWT", "kid": "key-1"}
KEY = signing_key()
KEYS = key_set(published(KEY))


def verify(token: str, *algorithms: str) -> SignedClaims:
    return verify_signature(token, KEYS, algorithms=algorithms or ["RS256"])


def token(*, payload: object = None, **header: object) -> str:
    """Return a token with an honest signature and this header; `...` leaves a member out."""
    altered = {name: value for name, value in {**HEADER, **header}.items() if value is not ...}
    return sign(altered, claims() if payload is None else payload, KEY)


@pytest.mark.parametrize("algorithm", sorted(SIGNATURE_ALGORITHMS))
def test_every_algorithm_an_admin_can_choose_verifies(algorithm: str) -> None:
    key = signing_key(algorithm, "k")
    signed = sign({"alg": algorithm, "kid": "k"}, claims(), key)
    assert verify_signature(signed, key_set(published(key)), algorithms=[algorithm]).claims == claims()
    with pytest.raises(IdTokenSignature):
        verify_signature(altered_payload(signed), key_set(published(key)), algorithms=[algorithm])


def altered_payload(signed: str) -> str:
    header, _, signature = signed.split(".")
    return f"{header}.{b64(json.dumps(claims(sub='00u-eve')).encode())}.{signature}"


@pytest.mark.parametrize(
    "kind", [..., "JWT", "jwt", "application/jwt"], ids=["absent", "JWT", "lower case", "media type"]
)
def test_the_usual_types_are_taken(kind: object) -> None:
    assert verify(token(typ=kind)).claims == claims()


@pytest.mark.requirement("S-13")
@pytest.mark.parametrize(
    "header",
    [
        pytest.param({"jku": "https://evil.example/keys"}, id="jku"),
        pytest.param({"x5u": "https://evil.example/cert", "x5c": ["MIIB"], "x5t": "AA"}, id="x5u, x5c, x5t"),
        pytest.param({"jwk": published(signing_key("RS256", "evil"))}, id="jwk, CVE-2018-0114, CVE-2026-27962"),
        pytest.param({"nonce": "of Microsoft", "cty": "JWT", "zip": "DEF"}, id="unknown members"),
        pytest.param({"x5t": 5, "x5c": "MIIB", "jku": 5, "x5u": [], "jwk": 7, "cty": 5}, id="of odd types"),
        pytest.param({"x5t": None, "x5c": None, "jku": None, "jwk": None, "cty": None}, id="null"),
        pytest.param({"typ": None, "crit": None, "b64": None}, id="null, where a value would be refused"),
    ],
)
def test_what_the_header_says_of_keys_is_not_heard(header: dict[str, object]) -> None:
    """A good token stays good, and a key brought along makes no bad one good."""
    assert verify(token(**header)).claims == claims()
    with pytest.raises(IdTokenSignature):
        verify(sign({**HEADER, **header}, claims(), signing_key("RS256", "evil")))


@pytest.mark.requirement("S-13")
@pytest.mark.parametrize(
    "header",
    [
        pytest.param({"typ": "at+jwt"}, id="an access token"),
        pytest.param({"typ": "application/at+jwt"}, id="an access token, in full"),
        pytest.param({"typ": "logout+jwt"}, id="a logout token"),
        pytest.param({"typ": "dpop+jwt"}, id="a proof of possession"),
        pytest.param({"typ": "JOSE"}, id="another type"),
        pytest.param({"typ": ""}, id="an empty type"),
        pytest.param({"typ": ["JWT"]}, id="a list of types"),
        pytest.param({"crit": ["exp"], "exp": 1}, id="an unknown critical member, CVE-2025-59420, CVE-2026-32597"),
        pytest.param({"crit": []}, id="an empty crit"),
        pytest.param({"crit": ["b64"], "b64": False}, id="an unencoded payload"),
        pytest.param({"b64": False}, id="an unencoded payload, not critical"),
        pytest.param({"b64": True}, id="b64 although true"),
        pytest.param({"kid": 7}, id="kid is a number"),
        pytest.param({"kid": ["key-1"]}, id="kid is a list"),
        pytest.param({"kid": {"a": 1}}, id="kid is an object"),
        pytest.param({"padding": "x" * MAX_HEADER_BYTES}, id="a header far too long"),
    ],
)
def test_a_header_that_asks_for_something_special_is_refused(header: dict[str, object]) -> None:
    """RFC 8725, sections 3.10 and 3.11; RFC 7515, section 4.1.11."""
    with pytest.raises(IdTokenMalformed):
        verify(token(**header))


@pytest.mark.parametrize(
    ("header", "got"),
    [
        pytest.param({"typ": 5}, "typ: a number", id="typ is a number"),
        pytest.param({"typ": "at+jwt"}, "typ: at+jwt", id="an access token"),
        pytest.param({"crit": ["exp"]}, "crit: an array", id="crit"),
        pytest.param({"b64": False}, "b64: false", id="b64"),
        pytest.param({"kid": 7}, "kid: a number", id="kid is a number"),
    ],
)
def test_a_header_that_is_refused_is_refused_by_the_name_of_its_member(header: dict[str, object], got: str) -> None:
    with pytest.raises(IdTokenMalformed) as refusal:
        verify(token(**header))
    assert refusal.value.got == got


@pytest.mark.parametrize("kid", [..., None], ids=["missing", "null"])
def test_a_null_kid_is_no_kid(kid: object) -> None:
    assert verify(token(kid=kid)).claims == claims()


GOOD = token()
HEAD, BODY, SIGNATURE = GOOD.split(".")
TWO_ALGORITHMS = b64(b'{"alg":"none","alg":"RS256","kid":"key-1"}')
BEYOND_NUMBERS = b64(b'{"alg":"RS256","kid":"key-1","x":1e400}')


@pytest.mark.requirement("S-13")
@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="nothing"),
        pytest.param("..", id="two dots"),
        pytest.param(HEAD, id="one part"),
        pytest.param(f"{HEAD}.{BODY}", id="two parts"),
        pytest.param(f"{GOOD}.", id="four parts"),
        pytest.param(f"{HEAD}.a.{BODY}.{SIGNATURE}.b", id="five parts, as an encrypted token has, CVE-2024-33664"),
        pytest.param(f" {GOOD}", id="white space before"),
        pytest.param(f"{HEAD}*.{BODY}.{SIGNATURE}", id="no base64url in the header"),
        pytest.param(f"{HEAD}\u200b.{BODY}.{SIGNATURE}", id="no ASCII in the header"),
        pytest.param(f"{HEAD}.{BODY}ä.{SIGNATURE}", id="no ASCII in the payload"),
        pytest.param(f"{b64(b'[]')}.{BODY}.{SIGNATURE}", id="a header that is an array"),
        pytest.param(f"{b64(b'RS256')}.{BODY}.{SIGNATURE}", id="a header that is no JSON"),
        pytest.param(f"{b64(bytes([255, 254]))}.{BODY}.{SIGNATURE}", id="a header that is no UTF-8"),
        pytest.param(f"{TWO_ALGORITHMS}.{BODY}.{SIGNATURE}", id="two algorithms"),
        pytest.param(f"{BEYOND_NUMBERS}.{BODY}.{SIGNATURE}", id="a header beyond numbers"),
        pytest.param(f"{b64(b'[' * 9000)}.{BODY}.{SIGNATURE}", id="a header nested too deep"),
        pytest.param(json.dumps({"payload": BODY, "signatures": []}), id="the JSON serialisation"),
    ],
)
def test_what_is_no_compact_signed_token_is_refused(text: str) -> None:
    with pytest.raises(IdTokenMalformed):
        verify(text)


@pytest.mark.parametrize(
    "payload",
    [
        pytest.param(b"[]", id="an array"),
        pytest.param(b"", id="nothing"),
        pytest.param(b"\xff", id="no UTF-8"),
        pytest.param(b'{"sub": "00u-ada", "sub": "00u-eve"}', id="a claim twice"),
        pytest.param(b'{"exp": NaN}', id="NaN"),
        pytest.param(b'{"exp": 1e400}', id="a number beyond bounds"),
        pytest.param(b'{"exp": ' + b"9" * 5000 + b"}", id="an integer of 5,000 digits"),
        pytest.param(b'{"a":' * 9000, id="nested too deep"),
    ],
)
def test_signed_claims_that_are_no_plain_json_object_are_refused(payload: bytes) -> None:
    with pytest.raises(IdTokenMalformed):
        verify(token(payload=payload))


@pytest.mark.requirement("S-12")
@pytest.mark.parametrize("name", ["none", "None", "NONE", "nOnE", "NoNe", "none ", ""])
@pytest.mark.parametrize("signature", ["", SIGNATURE], ids=["unsigned", "signed"])
def test_none_in_any_spelling_is_refused(name: str, signature: str) -> None:
    """RFC 8725, section 3.2."""
    with pytest.raises(IdTokenAlgorithm):
        verify(f"{b64(json.dumps({**HEADER, 'alg': name}).encode())}.{BODY}.{signature}")


@pytest.mark.requirement("S-12")
@pytest.mark.parametrize(
    "alg",
    [
        pytest.param(..., id="missing"),
        pytest.param(None, id="null"),
        pytest.param(["RS256"], id="a list"),
        pytest.param(256, id="a number"),
        pytest.param({"RS256": 1}, id="an object"),
        pytest.param("rs256", id="lower case"),
        pytest.param("RS512", id="one we did not choose"),
        pytest.param("ES256", id="another type's"),
        pytest.param("RSA1_5", id="one for encryption"),
        pytest.param("dir", id="direct encryption"),
        pytest.param("XX256", id="unknown to everyone, CVE-2026-28498"),
    ],
)
def test_an_algorithm_that_was_not_configured_is_refused(alg: object) -> None:
    header = {name: value for name, value in {**HEADER, "alg": alg}.items() if value is not ...}
    with pytest.raises(IdTokenAlgorithm):
        verify(f"{b64(json.dumps(header).encode())}.{BODY}.{SIGNATURE}")


@pytest.mark.parametrize(
    ("alg", "remedy"),
    [
        pytest.param("HS256", "at the provider to RS256. HS256 is never accepted", id="HS256"),
        pytest.param("HS512", "at the provider to RS256. HS512 is never accepted", id="HS512"),
        pytest.param("RS512", "Set signing_algorithms: [RS512]", id="one the settings know"),
        pytest.param("RSA-SHA256", "at the provider to RS256", id="no name of an algorithm"),
        pytest.param("none", "at the provider to RS256", id="none"),
        pytest.param(None, "at the provider to RS256", id="null"),
    ],
)
def test_the_remedy_for_an_algorithm_can_be_followed(alg: object, remedy: str) -> None:
    with pytest.raises(IdTokenAlgorithm) as refusal:
        verify(f"{b64(json.dumps({**HEADER, 'alg': alg}).encode())}.{BODY}.{SIGNATURE}")
    assert remedy in refusal.value.remedy
    assert refusal.value.got == (alg or "nothing")


def test_the_remedy_for_hs256_names_an_algorithm_of_the_settings() -> None:
    with pytest.raises(IdTokenAlgorithm) as refusal:
        verify(f"{b64(json.dumps({**HEADER, 'alg': 'HS256'}).encode())}.{BODY}.{SIGNATURE}", "ES256")
    assert "at the provider to ES256. HS256 is never accepted" in refusal.value.remedy


PEM = KEY.public_key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


@pytest.mark.requirement("S-12")
@pytest.mark.parametrize(
    "material",
    [
        pytest.param(PEM, id="the public key as PEM, CVE-2016-10555"),
        pytest.param(PEM.strip(), id="the public key as PEM, without line break"),
        pytest.param(
            KEY.public_key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo), id="the public key as DER"
        ),
        pytest.param(
            KEY.public_key.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH),
            id="the public key in OpenSSH's form, CVE-2022-29217",
        ),
        pytest.param(json.dumps(published(KEY)).encode(), id="the JWK, CVE-2026-48526"),
        pytest.param(str(published(KEY)["n"]).encode(), id="the modulus"),
        pytest.param(SECRET.encode(), id="the client secret"),
        pytest.param(b"", id="nothing"),
    ],
)
def test_a_symmetric_signature_with_anything_known_is_refused(material: bytes) -> None:
    """RFC 8725, section 2.1."""
    signed = f"{b64(json.dumps({**HEADER, 'alg': 'HS256'}).encode())}.{BODY}"
    forged = f"{signed}.{b64(hmac.digest(material, signed.encode(), hashlib.sha256))}"
    with pytest.raises(IdTokenAlgorithm):
        verify(forged)
    with pytest.raises(BrokerError):  # even if someone let HS256 through the settings
        verify(forged, "RS256", "HS256")


@pytest.mark.requirement("S-12")
@pytest.mark.parametrize(
    ("algorithm", "size"), [("ES256", 64), ("ES384", 96), ("ES512", 132), ("EdDSA", 64), ("RS256", 256), ("PS256", 256)]
)
@pytest.mark.parametrize(
    "make",
    [
        pytest.param(bytes, id="all zero, CVE-2022-21449"),
        pytest.param(lambda size: b"\xff" * size, id="all ones"),
        pytest.param(lambda size: b"\x00" * (size - 1) + b"\x01", id="one"),
        pytest.param(lambda _: b"", id="empty"),
        pytest.param(lambda size: b"\x01" * (size - 1), id="a byte short"),
        pytest.param(lambda size: b"\x01" * (size + 1), id="a byte long"),
        pytest.param(lambda _: b"\x01" * 5000, id="far too long"),
    ],
)
def test_a_made_up_signature_is_refused(algorithm: str, size: int, make: Callable[[int], bytes]) -> None:
    key = signing_key(algorithm, "k")
    head, body, _ = sign({"alg": algorithm, "kid": "k"}, claims(), key).split(".")
    with pytest.raises(IdTokenSignature):
        verify_signature(f"{head}.{body}.{b64(make(size))}", key_set(published(key)), algorithms=[algorithm])


@pytest.mark.requirement("S-12")
def test_a_signature_of_another_algorithm_of_the_same_key_is_refused() -> None:
    _, _, pss = sign({**HEADER, "alg": "PS256"}, claims(), KEY).split(".")
    with pytest.raises(IdTokenSignature):
        verify(f"{HEAD}.{BODY}.{pss}", "RS256", "PS256")


@pytest.mark.requirement("S-13")
@pytest.mark.parametrize(
    "published_as", ["use", "key_ops", "alg", pytest.param("another alg", id="another alg, CVE-2026-48523")]
)
def test_a_key_published_for_another_purpose_does_not_verify(published_as: str) -> None:
    purpose: dict[str, dict[str, object]] = {
        "use": {"use": "enc"},
        "key_ops": {"key_ops": ["encrypt"]},
        "alg": {"alg": "RSA-OAEP", "use": None},
        "another alg": {"alg": "RS512"},
    }
    keys = key_set(published(KEY, **purpose[published_as]), published(signing_key("RS256", "other")))
    with pytest.raises(IdTokenKeyUnknown):
        verify_signature(GOOD, keys, algorithms=["RS256"])


@pytest.mark.parametrize(
    ("kid", "others"),
    [
        pytest.param(..., [], id="a token without kid, one key"),
        pytest.param(..., ["other"], id="a token without kid, two keys"),
        pytest.param("k9", [], id="a kid that no key has, one key without"),
        pytest.param("k9", ["other", None, None], id="a kid that no key has, three keys without"),
    ],
)
def test_a_few_keys_are_tried_where_an_id_is_missing(kid: object, others: list[str | None]) -> None:
    """RFC 7515, section 4.1.4 and RFC 7517, section 4.5: ids are optional."""
    published_keys = [published(signing_key("RS256", f"other {n}"), kid=other) for n, other in enumerate(others)]
    keys = key_set(*published_keys, published(KEY, kid=None))
    assert verify_signature(token(kid=kid), keys, algorithms=["RS256"]).claims == claims()
    with pytest.raises(IdTokenSignature):
        verify_signature(sign({"alg": "RS256"}, claims(), signing_key("RS256", "evil")), keys, algorithms=["RS256"])


def test_too_many_keys_without_an_id_are_not_tried() -> None:
    keys = key_set(*[published(KEY, kid=None)] * 5)
    with pytest.raises(IdTokenKeyUnknown) as refusal:
        verify_signature(token(kid=...), keys, algorithms=["RS256"])
    assert refusal.value.got == "a token without kid: 5 keys fit RS256, and 4 are tried at most"
    assert "out of date" not in refusal.value.remedy


def test_of_two_keys_with_one_kid_the_one_that_signed_verifies() -> None:
    other = published(signing_key("RS256", "other"), kid="key-1")
    assert verify_signature(GOOD, key_set(other, published(KEY)), algorithms=["RS256"]).claims == claims()
    with pytest.raises(IdTokenSignature):
        verify_signature(GOOD, key_set(other, other), algorithms=["RS256"])


def test_a_longer_rsa_key_verifies() -> None:
    key = RSAKey.generate_key(4096, {"kid": "key-1"}, auto_kid=False)
    signed = verify_signature(sign(HEADER, claims(), key), key_set(published(key)), algorithms=["RS256"])
    assert signed.claims == claims()


def test_a_token_as_large_as_an_answer_may_be_is_verified() -> None:
    """Entra lists up to 200 groups; a custom claim can be larger."""
    payload = {**claims(), "groups": ["g" * 36] * 4000}
    assert verify(token(payload=payload)).claims == payload


@settings(deadline=None, max_examples=200)
@given(st.text(max_size=60) | st.from_regex(r"[A-Za-z0-9_-]{0,20}\.[A-Za-z0-9_-]{0,20}\.[A-Za-z0-9_-]{0,20}"))
def test_any_text_is_refused_with_a_reason_of_ours(text: str) -> None:
    with pytest.raises(InvalidProviderResponse):
        verify(text)
