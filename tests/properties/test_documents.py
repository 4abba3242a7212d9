"""S-11, S-19, S-40: whatever JSON a provider answers, and its good documents with a few members gone wrong."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from joserfc.jwk import ECKey, OKPKey, RSAKey

from broker.oidc.messages import ProviderResponse
from tests.fuzz.documents import SUBJECT, judge_discovery, judge_keys, judge_token_response, judge_userinfo
from tests.fuzz.id_token import ISSUER

JUDGES = {
    "discovery": judge_discovery,
    "keys": judge_keys,
    "token response": judge_token_response,
    "userinfo": judge_userinfo,
}
KEYS = [
    RSAKey.generate_key(2048, {"kid": "rsa", "use": "sig"}).as_dict(private=False),
    ECKey.generate_key("P-256", {"kid": "ec", "alg": "ES256"}).as_dict(private=False),
    OKPKey.generate_key("Ed25519", {"kid": "okp"}).as_dict(private=False),
]
HONEST: dict[str, dict[str, Any]] = {
    "discovery": {
        "issuer": ISSUER,
        "authorization_endpoint": f"{ISSUER}/authorize",
        "token_endpoint": f"{ISSUER}/token",
        "jwks_uri": f"{ISSUER}/keys",
        "userinfo_endpoint": f"{ISSUER}/userinfo",
        "end_session_endpoint": f"{ISSUER}/logout",
        "authorization_response_iss_parameter_supported": True,
    },
    "keys": {"keys": KEYS},
    "token response": {"access_token": "at-1", "token_type": "Bearer", "expires_in": 3600, "id_token": "a.b.c"},
    "userinfo": {"sub": SUBJECT, "email": "ada@acme.example", "email_verified": True, "name": "Ada Lovelace"},
}
TEXTS = st.sampled_from(
    ["", ISSUER, f"{ISSUER}/", "https://", "http://idp.example/", "https://[::1", "https://a:b@idp.example", "//x", "#",
     "https://idp.example:99999/", "https://127.0.0.1/", "https://idp.example\\@x/", "javascript:x", "Bearer", "bearer",
     "none", "RS256", "HS256", "oct", "RSA", "EC", "P-256", "AQAB", "AA", "!", "\ud800", "true", SUBJECT, "a\r\nb: c"]
)  # fmt: skip
JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS | st.text(max_size=10) | st.just(10**400),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS | st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)
ODD_BYTES = st.sampled_from([b"\xef\xbb\xbf", b"1e999", b"NaN", b"[" * 5000, b"\\ud800", b"\0"])
STATUSES = st.sampled_from([200, 200, 200, 201, 204, 302, 400, 401, 403, 429, 500, 503])
MEDIA_TYPES = st.sampled_from(["application/json", "application/jwt", "text/html", ""])


@pytest.mark.parametrize("kind", JUDGES)
def test_the_honest_document_is_taken(kind: str) -> None:
    """Otherwise the properties below would hold of nothing."""
    assert JUDGES[kind](answer(HONEST[kind]))


@pytest.mark.parametrize("kind", JUDGES)
@settings(max_examples=100, deadline=None)
@given(document=JSON, status=STATUSES, media_type=MEDIA_TYPES)
def test_any_json_is_taken_whole_or_refused_by_name(kind: str, document: object, status: int, media_type: str) -> None:
    JUDGES[kind](answer(document, status, media_type))


@pytest.mark.parametrize("kind", JUDGES)
@settings(max_examples=120, deadline=None)
@given(data=st.data())
def test_a_good_document_with_odd_members_is_taken_whole_or_refused_by_name(kind: str, data: st.DataObject) -> None:
    document = dict(HONEST[kind])
    for member in data.draw(st.sets(st.sampled_from(sorted(document)), max_size=3)):
        document[member] = data.draw(JSON)
    document |= data.draw(st.dictionaries(st.text(max_size=8), JSON, max_size=2))
    JUDGES[kind](answer(document))


@settings(max_examples=120, deadline=None)
@given(data=st.data())
def test_a_key_with_odd_members_makes_no_signature_pass(data: st.DataObject) -> None:
    keys = []
    for honest in data.draw(st.lists(st.sampled_from(KEYS), min_size=1, max_size=3)):
        names = st.sampled_from([*sorted(honest), "use", "key_ops", "alg", "d", "k", "x5c"])
        keys.append({**honest, **data.draw(st.dictionaries(names, JSON, max_size=2))})
    judge_keys(answer({"keys": keys}))


@pytest.mark.parametrize("kind", JUDGES)
@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_a_good_document_with_odd_bytes_is_taken_whole_or_refused_by_name(kind: str, data: st.DataObject) -> None:
    body = json.dumps(HONEST[kind]).encode()
    start = data.draw(st.integers(0, len(body)))
    stop = start + data.draw(st.integers(0, 3))
    piece = data.draw(st.binary(max_size=4) | ODD_BYTES)
    JUDGES[kind](ProviderResponse(200, "application/json", body[:start] + piece + body[stop:]))


def answer(document: object, status: int = 200, media_type: str = "application/json") -> ProviderResponse:
    return ProviderResponse(status, media_type, json.dumps(document).encode())
