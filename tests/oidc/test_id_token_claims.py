"""Signed claims are believed only if they were made by this issuer, for us, for this sign-in."""

from __future__ import annotations

import base64
import hashlib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.errors import (
    IdTokenAccessTokenHash,
    IdTokenAudience,
    IdTokenIssuer,
    IdTokenNonce,
    IdTokenSubject,
    InvalidProviderResponse,
)
from tests.fakes.clock import START
from tests.oidc.samples import ACCESS_TOKEN, CLIENT_ID, HUGE, ISSUER, NONCE, check


def test_honest_claims_are_believed() -> None:
    token = check(email="ada@acme.example")
    assert (token.issuer, token.subject) == (ISSUER, "00u-ada")
    assert token.claims["email"] == "ada@acme.example"
    assert "ada@" not in repr(token)


@pytest.mark.requirement("S-14")
@pytest.mark.parametrize(
    "issuer",
    [
        pytest.param(..., id="missing"),
        pytest.param(None, id="null"),
        pytest.param("", id="empty, CVE-2024-53861"),
        pytest.param([ISSUER], id="a list"),
        pytest.param("https://other.example", id="another"),
        pytest.param(f"{ISSUER}/", id="a slash more"),
        pytest.param("https://IDP.example", id="another case"),
        pytest.param("idp.example", id="no scheme, CVE-2024-53861"),
        pytest.param("h", id="a letter of it, CVE-2024-53861"),
        pytest.param(ISSUER[:-1], id="a letter less, CVE-2024-53861"),
        pytest.param(f"{ISSUER}\x00", id="a NUL more"),
    ],
)
def test_another_issuer_is_refused(issuer: object) -> None:
    with pytest.raises(IdTokenIssuer):
        check(iss=issuer)


@pytest.mark.requirement("S-15")
@pytest.mark.parametrize(
    ("audience", "party"),
    [
        pytest.param(CLIENT_ID, ..., id="us"),
        pytest.param([CLIENT_ID], ..., id="us in a list"),
        pytest.param(CLIENT_ID, CLIENT_ID, id="us, and azp says so"),
        pytest.param([CLIENT_ID], CLIENT_ID, id="us in a list, and azp says so"),
        pytest.param([CLIENT_ID], None, id="us in a list, and azp is null"),
    ],
)
def test_a_token_for_us_alone_is_taken(audience: object, party: object) -> None:
    assert check(aud=audience, azp=party).subject == "00u-ada"


@pytest.mark.requirement("S-15")
@pytest.mark.parametrize(
    ("audience", "party"),
    [
        pytest.param(..., ..., id="missing"),
        pytest.param(None, ..., id="null"),
        pytest.param("", ..., id="empty"),
        pytest.param([], ..., id="an empty list"),
        pytest.param("client-2", ..., id="another client"),
        pytest.param("client-2", CLIENT_ID, id="another client, although azp is us"),
        pytest.param(["client-2"], CLIENT_ID, id="another client in a list, although azp is us"),
        pytest.param([CLIENT_ID, "client-2"], CLIENT_ID, id="a second audience"),
        pytest.param([CLIENT_ID, "https://api.example"], ..., id="an API too"),
        pytest.param([[CLIENT_ID]], ..., id="a list in a list"),
        pytest.param({CLIENT_ID: 1}, ..., id="an object"),
        pytest.param("client-1,client-2", ..., id="two in one text"),
        pytest.param("client-12", ..., id="one that begins like us"),
        pytest.param("CLIENT-1", ..., id="another case"),
        pytest.param(CLIENT_ID, "client-2", id="azp is another"),
        pytest.param([CLIENT_ID], "", id="azp is empty"),
        pytest.param([CLIENT_ID], [CLIENT_ID], id="azp is a list"),
    ],
)
def test_a_token_for_others_is_refused(audience: object, party: object) -> None:
    """An azp never replaces aud."""
    with pytest.raises(IdTokenAudience):
        check(aud=audience, azp=party)


PROJECT = "https://project.example"


@pytest.mark.requirement("S-15")
def test_a_trusted_audience_is_believed_beside_us() -> None:
    """OpenID Connect Core, section 3.1.3.7, 3: audiences the client does not trust are refused."""
    assert check(trusted=[PROJECT], aud=[PROJECT, CLIENT_ID], azp=CLIENT_ID).subject == "00u-ada"
    assert check(trusted=[PROJECT], aud=CLIENT_ID).subject == "00u-ada"


@pytest.mark.requirement("S-15")
@pytest.mark.parametrize(
    ("audience", "party"),
    [
        pytest.param([CLIENT_ID, PROJECT], ..., id="azp is missing"),
        pytest.param([CLIENT_ID, PROJECT], None, id="azp is null"),
        pytest.param([CLIENT_ID, PROJECT], PROJECT, id="azp is the trusted one"),
        pytest.param([CLIENT_ID, PROJECT], [CLIENT_ID], id="azp is a list"),
        pytest.param([PROJECT], CLIENT_ID, id="aud is the trusted one alone"),
        pytest.param(PROJECT, CLIENT_ID, id="aud is the trusted one as a text"),
        pytest.param([CLIENT_ID, PROJECT, "client-2"], CLIENT_ID, id="a third audience"),
        pytest.param([CLIENT_ID, f"{PROJECT}/"], CLIENT_ID, id="a slash more"),
        pytest.param([CLIENT_ID, [PROJECT]], CLIENT_ID, id="a list in a list"),
        pytest.param([CLIENT_ID, None], CLIENT_ID, id="null in a list"),
    ],
)
def test_a_trusted_audience_replaces_neither_us_nor_azp(audience: object, party: object) -> None:
    with pytest.raises(IdTokenAudience):
        check(trusted=[PROJECT], aud=audience, azp=party)


@pytest.mark.parametrize(
    ("audience", "remedy"),
    [
        pytest.param("client-2", "Compare client_id", id="another client"),
        pytest.param([CLIENT_ID, PROJECT], "trusted_audiences", id="a further audience"),
    ],
)
def test_the_remedy_tells_another_client_from_a_further_audience(audience: object, remedy: str) -> None:
    with pytest.raises(IdTokenAudience) as refusal:
        check(aud=audience, azp=CLIENT_ID)
    assert remedy in refusal.value.remedy
    assert refusal.value.got == audience


@pytest.mark.parametrize(
    ("audience", "party", "remedy"),
    [
        pytest.param(None, CLIENT_ID, "send our client id in aud", id="no aud"),
        pytest.param([CLIENT_ID, PROJECT], None, "send our client id in azp", id="no azp beside a trusted audience"),
        pytest.param([CLIENT_ID, PROJECT], "client-2", "Compare client_id", id="another azp"),
    ],
)
def test_the_remedy_tells_a_claim_that_is_missing_from_another_client(
    audience: object, party: object, remedy: str
) -> None:
    with pytest.raises(IdTokenAudience) as refusal:
        check(trusted=[PROJECT], aud=audience, azp=party)
    assert remedy in refusal.value.remedy


@pytest.mark.parametrize(
    "claim", ["azp", "nbf", "at_hash", "auth_time", "acr", "amr", "name", "email", "email_verified"]
)
def test_an_optional_claim_that_is_null_is_absent(claim: str) -> None:
    null: dict[str, Any] = {claim: None}
    assert check(**null).subject == "00u-ada"


@pytest.mark.requirement("S-17", "S-16")
@pytest.mark.parametrize(
    "nonce",
    [
        pytest.param(..., id="missing"),
        pytest.param(None, id="null"),
        pytest.param("", id="empty"),
        pytest.param("nonce-of-an-earlier-sign-in", id="of an earlier sign-in"),
        pytest.param(NONCE.upper(), id="another case"),
        pytest.param(f"{NONCE} ", id="white space"),
        pytest.param([NONCE], id="a list"),
        pytest.param(7, id="a number"),
        pytest.param("\ud800", id="a lone surrogate"),
        pytest.param("näh", id="no ASCII"),
    ],
)
def test_a_token_of_another_sign_in_is_refused(nonce: object) -> None:
    with pytest.raises(IdTokenNonce) as refusal:
        check(nonce=nonce)
    assert NONCE not in f"{refusal.value.expected} {refusal.value.got}"


@pytest.mark.requirement("S-18")
@pytest.mark.parametrize(
    "subject",
    [
        pytest.param(..., id="missing"),
        pytest.param(None, id="null"),
        pytest.param("", id="empty"),
        pytest.param(7, id="a number"),
        pytest.param(["00u-ada"], id="a list"),
        pytest.param("x" * 256, id="too long"),
        pytest.param("ädä", id="no ASCII"),
        pytest.param("\ud800", id="a lone surrogate"),
    ],
)
def test_a_token_about_nobody_is_refused(subject: object) -> None:
    """OpenID Connect Core, section 2."""
    with pytest.raises(IdTokenSubject):
        check(sub=subject)


def test_a_subject_may_be_as_long_as_the_specification_allows() -> None:
    assert check(sub="x" * 255).subject == "x" * 255


def left_half(digest: bytes) -> str:
    return base64.urlsafe_b64encode(digest[: len(digest) // 2]).rstrip(b"=").decode()


@pytest.mark.vulnerability("CVE-2026-28498")
@pytest.mark.parametrize(
    ("algorithm", "hashed"),
    [
        pytest.param("RS256", hashlib.sha256, id="RS256"),
        pytest.param("PS384", hashlib.sha384, id="PS384"),
        pytest.param("ES384", hashlib.sha384, id="ES384"),
        pytest.param("ES512", hashlib.sha512, id="ES512"),
        pytest.param("EdDSA", hashlib.sha512, id="EdDSA with Ed25519"),
    ],
)
def test_the_hash_of_the_access_token_fits(algorithm: str, hashed: type) -> None:
    """OpenID Connect Core, section 3.1.3.6."""
    right = left_half(hashed(ACCESS_TOKEN.encode()).digest())
    wrong = left_half(hashed(b"another").digest())
    assert check(algorithm=algorithm, at_hash=right).subject == "00u-ada"
    with pytest.raises(IdTokenAccessTokenHash):
        check(algorithm=algorithm, at_hash=wrong)


@pytest.mark.requirement("S-18")
@pytest.mark.parametrize(
    "value",
    [
        pytest.param("", id="empty"),
        pytest.param(7, id="a number"),
        pytest.param([], id="a list"),
        pytest.param(left_half(hashlib.sha512(ACCESS_TOKEN.encode()).digest()), id="of another hash"),
        pytest.param(left_half(hashlib.sha256(ACCESS_TOKEN.encode()).digest()) + "==", id="padded"),
        pytest.param(hashlib.sha256(ACCESS_TOKEN.encode()).hexdigest(), id="in hexadecimal"),
    ],
)
def test_a_wrong_hash_of_the_access_token_is_refused(value: object) -> None:
    with pytest.raises(IdTokenAccessTokenHash):
        check(at_hash=value)


_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([HUGE, -HUGE, START, ISSUER, CLIENT_ID, NONCE])
    | st.floats()
    | st.text(st.characters(), max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)


@settings(deadline=None, max_examples=300)
@given(
    st.dictionaries(
        st.sampled_from(["iss", "sub", "aud", "azp", "exp", "iat", "nbf", "nonce", "at_hash", "auth_time"]), _VALUES
    )
)
def test_odd_claims_are_refused_with_a_reason_or_believed_for_what_they_are(odd: dict[str, Any]) -> None:
    try:
        token = check(max_age=300, **odd)
    except InvalidProviderResponse:
        return
    assert token.claims["iss"] == ISSUER
    assert token.claims["nonce"] == NONCE
    assert token.claims["aud"] in (CLIENT_ID, [CLIENT_ID], [CLIENT_ID] * 2, [CLIENT_ID] * 3)
