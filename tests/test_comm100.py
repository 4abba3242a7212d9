"""Comm100's token to the letter, and the address that takes it there."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from typing import Any, Literal

import pytest
from jwt.exceptions import InvalidKeyError

from broker.comm100 import CheckedRedirectUrl, Site, build_claims, build_delivery_url, build_token
from broker.identity import Identity

ENDPOINT = "https://acme.comm100.com/AdminWebService/SSO/SSOJWTConsumer.aspx"
NOW = 1_800_000_000.9
ADA = Identity("ada@acme.example", "email", "Ada Lovelace", "name", "00u-ada", "https://idp.example")
GUID_IN_BASE64 = base64.b64encode(b"578d96c4-2552-4c1a-94f4-0a7d922d5f17").decode()


def site(
    *,
    secret: str = GUID_IN_BASE64,
    delivery: Literal["endpoint", "append"] = "endpoint",
    lifetime: int = 60,
    **claims: str | int | bool,
) -> Site:
    return Site(
        id="main",
        endpoint=ENDPOINT,
        shared_secret=lambda: secret,
        delivery=delivery,
        redirect_hosts=frozenset({"dash11.comm100.io"}),
        token_lifetime=lifetime,
        claims={"iss": "jwt server", "aud": "Comm100", "sub": "comm100", **claims},
        provider_ids=("idp",),
        start_url=None,
    )


def parts(token: str) -> tuple[bytes, dict[str, Any], bytes]:
    """Return header, claims and signature, read by hand: no JWT library judges itself here."""
    header, payload, signature = (base64.urlsafe_b64decode(part + "==") for part in token.split("."))
    return header, json.loads(payload), signature


@pytest.mark.requirement("S-31")
def test_the_header_is_comm100s_to_the_byte() -> None:
    token = build_token(build_claims(ADA, site(), now=NOW), site())
    assert parts(token)[0] == b'{"alg":"HS256","typ":"JWT"}'


@pytest.mark.requirement("S-31")
def test_the_claims_are_comm100s_and_no_others() -> None:
    claims = build_claims(ADA, site(), now=NOW)
    jti = claims.pop("jti")
    assert isinstance(jti, str)
    assert len(jti) >= 20
    assert claims == {
        "iss": "jwt server",
        "aud": "Comm100",
        "sub": "comm100",
        "iat": 1_800_000_000,
        "nbf": 1_799_999_940,
        "exp": 1_800_000_060,
        "email": "ada@acme.example",
        "name": "Ada Lovelace",
    }
    assert all(type(claims[time]) is int for time in ("iat", "nbf", "exp")), "whole seconds"


@pytest.mark.requirement("S-30")
@pytest.mark.parametrize(
    "secret",
    [
        pytest.param(GUID_IN_BASE64, id="a secret that looks like base64 is not decoded"),
        pytest.param("0123456789abcdef" * 4, id="a secret that looks like hex is not decoded"),
        pytest.param("grün-und-weiß-und-noch-viel-länger", id="a secret beyond ASCII is taken as UTF-8"),
        pytest.param("-----BEGIN PRIVATE KEY, it only looks like one", id="a secret that looks like PEM is text"),
    ],
)
def test_the_key_is_the_utf8_of_the_secret_as_displayed(secret: str) -> None:
    token = build_token(build_claims(ADA, site(), now=NOW), site(secret=secret))
    signed, _, _ = token.rpartition(".")
    assert parts(token)[2] == hmac.digest(secret.encode(), signed.encode(), hashlib.sha256)


@pytest.mark.requirement("S-30")
def test_a_secret_too_short_for_hs256_signs_nothing() -> None:
    short = site(secret="x" * 31)
    with pytest.raises(InvalidKeyError):
        build_token(build_claims(ADA, short, now=NOW), short)


def test_the_secret_of_the_moment_signs() -> None:
    secrets = iter(["a" * 40, "b" * 40])
    rotating = Site(
        **{name: getattr(site(), name) for name in Site.__slots__} | {"shared_secret": lambda: next(secrets)}
    )
    claims = build_claims(ADA, rotating, now=NOW)
    first, second = build_token(claims, rotating), build_token(claims, rotating)
    assert first.rpartition(".")[0] == second.rpartition(".")[0]
    assert parts(first)[2] != parts(second)[2]


@pytest.mark.requirement("S-31")
def test_no_two_tokens_have_the_same_jti() -> None:
    assert len({build_claims(ADA, site(), now=NOW)["jti"] for _ in range(1000)}) == 1000


@pytest.mark.requirement("S-31")
@pytest.mark.parametrize("lifetime", [1, 60, 300], ids=lambda seconds: f"{seconds} s")
def test_the_token_lives_as_long_as_the_site_says(lifetime: int) -> None:
    claims = build_claims(ADA, site(lifetime=lifetime), now=NOW)
    assert claims["exp"] == 1_800_000_000 + lifetime


@pytest.mark.requirement("S-31")
def test_constant_claims_of_the_site_are_added_but_never_replace_the_persons() -> None:
    claims = build_claims(ADA, site(tenant=7, email="root@acme.example", exp=2**40, jti="1"), now=NOW)
    assert claims["tenant"] == 7
    assert claims["email"] == "ada@acme.example"
    assert claims["exp"] == 1_800_000_060
    assert claims["jti"] != "1"


@pytest.mark.requirement("S-26")
def test_a_name_in_any_script_arrives_as_it_is() -> None:
    person = Identity("ada@acme.example", "email", 'Zoë "Ada" 李\u202c', "name", "1", "https://idp.example")
    token = build_token(build_claims(person, site(), now=NOW), site())
    assert parts(token)[1]["name"] == person.name


def test_neither_the_site_nor_its_secret_shows_itself() -> None:
    assert GUID_IN_BASE64 not in repr(site())
    assert "shared_secret" not in repr(site())


@pytest.mark.requirement("S-34")
@pytest.mark.parametrize(
    ("redirect_url", "expected"),
    [
        pytest.param(None, f"{ENDPOINT}?jwt=T", id="without redirect_url the endpoint gets the token alone"),
        pytest.param(
            "https://dash11.comm100.io/agent",
            f"{ENDPOINT}?jwt=T&redirect_url=https%3A%2F%2Fdash11.comm100.io%2Fagent",
            id="a plain one is percent-encoded whole",
        ),
        pytest.param(
            "https://dash11.comm100.io/a?b=c&jwt=x%20y+z;q#/home?tab=1",
            f"{ENDPOINT}?jwt=T&redirect_url="
            "https%3A%2F%2Fdash11.comm100.io%2Fa%3Fb%3Dc%26jwt%3Dx%2520y%2Bz%3Bq%23%2Fhome%3Ftab%3D1",
            id="its own query and fragment do not leak into ours",
        ),
    ],
)
def test_in_endpoint_delivery_the_redirect_url_is_one_parameter(redirect_url: str | None, expected: str) -> None:
    checked = None if redirect_url is None else CheckedRedirectUrl(redirect_url)
    assert build_delivery_url("T", checked, site()) == expected


@pytest.mark.requirement("S-34")
@pytest.mark.parametrize(
    ("behind", "expected"),
    [
        pytest.param("", "?jwt=T", id="without a query a ? joins"),
        pytest.param("?", "?jwt=T", id="behind a bare ? nothing joins"),
        pytest.param("?a=b", "?a=b&jwt=T", id="behind a query an & joins"),
        pytest.param("?a=b&", "?a=b&jwt=T", id="behind an & nothing joins"),
        pytest.param("?a=%2f%2F+b&&c;d=%41", "?a=%2f%2F+b&&c;d=%41&jwt=T", id="the query is kept byte for byte"),
        pytest.param("??", "??&jwt=T", id="behind a query that is a ? an & joins"),
        pytest.param("?a=?", "?a=?&jwt=T", id="behind a value that ends in ? an & joins"),
        pytest.param("#top", "?jwt=T#top", id="before the fragment"),
        pytest.param("?a=b#/home?x=1&y#z", "?a=b&jwt=T#/home?x=1&y#z", id="a ? in the fragment does not count"),
        pytest.param("#?", "?jwt=T#?", id="a ? in the fragment alone does not count"),
    ],
)
def test_in_append_delivery_the_token_joins_the_query(behind: str, expected: str) -> None:
    checked = CheckedRedirectUrl(ENDPOINT + behind)
    assert build_delivery_url("T", checked, site(delivery="append")) == ENDPOINT + expected


def test_in_append_delivery_without_redirect_url_the_endpoint_gets_the_token_alone() -> None:
    assert build_delivery_url("T", None, site(delivery="append")) == f"{ENDPOINT}?jwt=T"
