"""The OpenID Foundation's modules for a relying party that uses the code flow, run through the whole broker.

The names of the rows are those of the conformance suite (oidcc-client-test-...), with our own after them. After a bad
ID token nobody asks for userinfo, and nobody reaches Comm100 (S-11 to S-19, S-40, S-43).
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import secrets
from urllib.parse import parse_qs, urlsplit

import pytest

from broker.errors import (
    BrokerError,
    IdTokenAccessTokenHash,
    IdTokenAlgorithm,
    IdTokenAudience,
    IdTokenAuthTime,
    IdTokenIssuer,
    IdTokenKeyUnknown,
    IdTokenMalformed,
    IdTokenNonce,
    IdTokenSignature,
    IdTokenSubject,
    IdTokenTime,
    MetadataIssuer,
    TokenResponseInvalid,
    UserinfoInvalid,
    UserinfoSubject,
)
from tests.fakes.clock import START, Clock
from tests.fakes.lies import Document, Lies, says, status, with_, without
from tests.fakes.provider import FakeProvider, new_key
from tests.fakes.world import PAGE, World, assert_refused, settings_for
from tests.oidc.samples import b64, published, sign, signing_key

SOMEONE_ELSES_KEY = signing_key("RS256", "key-1")
NEVER_A_NONCE = "nonce-of-another-sign-in"


def forge(header: Document, claims: Document) -> str:
    """Sign with a key of the right kid that is not the provider's."""
    return sign(header, claims, SOMEONE_ELSES_KEY)


def unsigned(alg: str) -> Lies:
    return Lies(
        sign=lambda header, claims: (
            f"{b64(json.dumps({**header, 'alg': alg}).encode())}.{b64(json.dumps(claims).encode())}."
        )
    )


def symmetric(secret: bytes) -> Lies:
    def by_secret(header: Document, claims: Document) -> str:
        signed = f"{b64(json.dumps({**header, 'alg': 'HS256'}).encode())}.{b64(json.dumps(claims).encode())}"
        return f"{signed}.{b64(hmac.digest(secret, signed.encode(), hashlib.sha256))}"

    return Lies(sign=by_secret)


BAD_ID_TOKENS = [
    pytest.param(Lies(claims=with_(iss="https://evil.example")), IdTokenIssuer, id="invalid-iss"),
    pytest.param(Lies(claims=without("sub")), IdTokenSubject, id="missing-sub"),
    pytest.param(Lies(claims=with_(aud="client-2")), IdTokenAudience, id="invalid-aud"),
    pytest.param(Lies(claims=without("iat")), IdTokenTime, id="missing-iat"),
    pytest.param(unsigned("none"), IdTokenAlgorithm, id="idtoken-sig-none"),
    pytest.param(Lies(sign=forge), IdTokenSignature, id="invalid-sig-rs256"),
    pytest.param(symmetric(b"s3cret:with %odd+chars"), IdTokenAlgorithm, id="invalid-sig-hs256"),
    pytest.param(Lies(claims=with_(nonce=NEVER_A_NONCE)), IdTokenNonce, id="nonce-invalid"),
    pytest.param(Lies(claims=without("nonce")), IdTokenNonce, id="our own: nonce missing"),
    pytest.param(Lies(claims=without("iss")), IdTokenIssuer, id="our own: iss missing"),
    pytest.param(Lies(claims=without("aud")), IdTokenAudience, id="our own: aud missing"),
    pytest.param(Lies(claims=without("exp")), IdTokenTime, id="our own: exp missing"),
    pytest.param(Lies(claims=with_(exp=START - 60)), IdTokenTime, id="our own: expired"),
    pytest.param(Lies(claims=with_(aud=["client-1", "client-2"])), IdTokenAudience, id="our own: two audiences"),
    pytest.param(Lies(claims=with_(aud="client-2", azp="client-1")), IdTokenAudience, id="our own: azp for aud"),
    pytest.param(Lies(claims=with_(at_hash="AAAA")), IdTokenAccessTokenHash, id="our own: wrong at_hash"),
    pytest.param(unsigned("nOnE"), IdTokenAlgorithm, id="our own: none in another spelling"),
    pytest.param(symmetric(b""), IdTokenAlgorithm, id="our own: HS256 with nothing"),
    pytest.param(Lies(header=with_(kid="unknown")), IdTokenKeyUnknown, id="our own: an unknown kid"),
    pytest.param(Lies(header=with_(typ="at+jwt")), IdTokenMalformed, id="our own: an access token"),
    pytest.param(Lies(header=with_(typ="logout+jwt")), IdTokenMalformed, id="our own: a logout token"),
    pytest.param(Lies(id_token=lambda token: f"{token}.x.y"), IdTokenMalformed, id="our own: five parts"),
    pytest.param(Lies(id_token=lambda token: token[:-8] + "AAAAAAAA"), IdTokenSignature, id="our own: altered"),
    pytest.param(Lies(token_response=without("id_token")), TokenResponseInvalid, id="our own: no ID token"),
    pytest.param(Lies(token_response=with_(id_token=7)), TokenResponseInvalid, id="our own: ID token is a number"),
]


@pytest.mark.requirement("S-19")
@pytest.mark.parametrize(("lies", "error"), BAD_ID_TOKENS)
async def test_a_bad_id_token_ends_the_sign_in_before_userinfo(
    world: World, lies: Lies, error: type[BrokerError]
) -> None:
    world.provider.lies = lies
    async with world.broker() as service:
        assert_refused(await world.browser(service).sign_in(redirect_url=PAGE), error)
    assert world.provider.count("/token") == 1
    assert world.provider.count("/userinfo") == 0
    assert world.received == []


def with_at_hash(world: World) -> None:
    """Say the right hash: of an access token the fake makes up as it goes."""
    access_token = "access-token-of-the-row"
    digest = hashlib.sha256(access_token.encode()).digest()[:16]
    world.provider.access_tokens[access_token] = world.provider.person
    world.provider.lies = Lies(
        claims=with_(at_hash=base64.urlsafe_b64encode(digest).decode().rstrip("=")),
        token_response=with_(access_token=access_token),
    )


@pytest.mark.parametrize(
    "lies",
    [
        pytest.param(Lies(), id="(happy path), idtoken-sig-rs256, userinfo-bearer-header, scope-userinfo-claims"),
        pytest.param(Lies(header=without("kid")), id="kid-absent-single-jwks"),
        pytest.param(Lies(header=without("typ")), id="our own: typ absent"),
        pytest.param(Lies(claims=with_(aud=["client-1"], azp="client-1")), id="our own: aud is a list, azp is us"),
        pytest.param(
            Lies(claims=with_(groups=["g" * 36] * 200, _claim_names={"groups": "src1"})), id="our own: 200 groups"
        ),
        pytest.param(Lies(header=with_(jku="https://evil.example", x5t="AA")), id="our own: jku is not fetched"),
        pytest.param(
            Lies(jwks=lambda jwks: {"keys": [{"kty": "oct", "k": "AA"}, None, *jwks["keys"]]}), id="our own: odd keys"
        ),
        pytest.param(
            Lies(discovery=with_(id_token_signing_alg_values_supported=["none"])), id="our own: odd algorithms"
        ),
    ],
)
async def test_an_honest_answer_signs_the_person_in(world: World, lies: Lies) -> None:
    world.provider.lies = lies
    async with world.broker() as service:
        browser = world.browser(service)
        assert str((await browser.sign_in(redirect_url=PAGE)).url) == PAGE
    asked = parse_qs(urlsplit(str(browser.steps[1].url)).query)
    assert {"openid", "email", "profile"} <= set(asked["scope"][0].split())
    assert world.provider.count("/userinfo") == 1


async def test_a_right_at_hash_is_taken(world: World) -> None:
    with_at_hash(world)
    async with world.broker() as service:
        assert str((await world.browser(service).sign_in(redirect_url=PAGE)).url) == PAGE


async def test_kid_absent_multiple_jwks(world: World) -> None:
    """The suite allows to refuse, or to try each: four at most are tried."""
    world.provider.keys.append(new_key("RS256", "key-2"))
    world.provider.lies = Lies(header=without("kid"))
    async with world.broker() as service:
        assert str((await world.browser(service).sign_in(redirect_url=PAGE)).url) == PAGE
        world.provider.lies = Lies(header=without("kid"), jwks=lambda jwks: {"keys": jwks["keys"] * 3})
    async with world.broker() as service:
        assert_refused(await world.browser(service).sign_in(redirect_url=PAGE), IdTokenKeyUnknown)
    assert world.provider.count("/userinfo") == 1


async def test_keys_without_kid_serve_tokens_with_one(world: World) -> None:
    world.provider.lies = Lies(jwks=lambda jwks: {"keys": [without("kid")(key) for key in jwks["keys"]]})
    async with world.broker() as service:
        assert str((await world.browser(service).sign_in(redirect_url=PAGE)).url) == PAGE


@pytest.mark.parametrize("algorithm", ["ES256", "EdDSA", "PS256", "RS512"])
async def test_idtoken_sig_with_another_algorithm_the_admin_chose(world: World, algorithm: str) -> None:
    provider = FakeProvider("https://idp.example", world.clock, algorithm=algorithm)
    world.provider, world.providers, world.settings = provider, [provider], settings_for(provider)
    async with world.broker() as service:
        assert str((await world.browser(service).sign_in(redirect_url=PAGE)).url) == PAGE


@pytest.mark.requirement("S-19")
@pytest.mark.parametrize(
    ("lies", "error"),
    [
        pytest.param(Lies(userinfo=with_(sub="00u-eve")), UserinfoSubject, id="userinfo-invalid-sub"),
        pytest.param(Lies(userinfo=without("sub")), UserinfoSubject, id="our own: no sub"),
        pytest.param(Lies(answers={"/userinfo": status(401)}), UserinfoInvalid, id="our own: refused"),
        pytest.param(Lies(answers={"/userinfo": says(b"[]")}), UserinfoInvalid, id="our own: an array"),
        pytest.param(
            Lies(answers={"/userinfo": says(b"e30.e30.", "application/jwt")}), UserinfoInvalid, id="our own: a JWT"
        ),
    ],
)
async def test_bad_userinfo_ends_the_sign_in(world: World, lies: Lies, error: type[BrokerError]) -> None:
    world.provider.lies = lies
    async with world.broker() as service:
        assert_refused(await world.browser(service).sign_in(redirect_url=PAGE), error)
    assert world.received == []


@pytest.mark.requirement("S-18")
@pytest.mark.parametrize(
    ("max_age_claims", "error"),
    [
        pytest.param(Lies(), IdTokenAuthTime, id="missing"),
        pytest.param(Lies(claims=with_(auth_time=START - 1000)), IdTokenAuthTime, id="stale"),
        pytest.param(Lies(claims=with_(auth_time=10**400)), IdTokenAuthTime, id="beyond a float"),
    ],
)
async def test_max_age_demands_a_fresh_auth_time(world: World, max_age_claims: Lies, error: type[BrokerError]) -> None:
    world.settings = settings_for(world.provider, max_age=300)
    world.provider.lies = max_age_claims
    async with world.broker() as service:
        assert_refused(await world.browser(service).sign_in(redirect_url=PAGE), error)
        world.provider.lies = Lies(claims=with_(auth_time=START - 100))
        assert str((await world.browser(service).sign_in(redirect_url=PAGE)).url) == PAGE


@pytest.mark.requirement("S-40")
@pytest.mark.parametrize(
    "lies",
    [
        pytest.param(Lies(discovery=with_(issuer="https://idp.example/")), id="discovery-issuer-mismatch"),
        pytest.param(Lies(discovery=without("issuer")), id="our own: no issuer"),
    ],
)
async def test_a_provider_that_names_another_issuer_is_out_of_service_and_others_work(world: World, lies: Lies) -> None:
    world.provider.lies = lies
    world.add_provider("eu")
    async with world.broker() as service:
        browser = world.browser(service)
        assert_refused(await browser.sign_in(redirect_url=PAGE, idp="idp"), MetadataIssuer)
        assert str((await browser.sign_in(redirect_url=PAGE, idp="eu")).url) == PAGE
    assert world.provider.requests == ["/.well-known/openid-configuration"]


async def test_discovery_openid_config_and_jwks_uri_keys(world: World) -> None:
    async with world.broker() as service:
        await world.browser(service).sign_in(redirect_url=PAGE)
    assert [world.provider.count(path) for path in ("/.well-known/openid-configuration", "/keys")] == [1, 1]


@pytest.mark.requirement("S-43")
@pytest.mark.parametrize("just_before", [False, True], ids=["signing-key-rotation", "signing-key-rotation-just-before"])
async def test_rotation_costs_no_sign_in(world: World, just_before: bool) -> None:
    async with world.broker() as service:
        browser = world.browser(service)
        await browser.sign_in(redirect_url=PAGE)
        if not just_before:
            world.provider.rotate()
        callback = await browser.to_callback(redirect_url=PAGE)
        if just_before:
            world.provider.rotate()
        assert str((await browser.follow(await browser.open(callback))).url) == PAGE
    assert world.provider.count("/keys") == 2


@pytest.mark.requirement("S-43")
async def test_a_new_key_under_the_old_kid_costs_no_sign_in(world: World) -> None:
    """Also after a bad signature under a known kid."""
    async with world.broker() as service:
        browser = world.browser(service)
        await browser.sign_in(redirect_url=PAGE)
        world.provider.keys = [new_key("RS256", "key-1")]
        assert str((await browser.sign_in(redirect_url=PAGE)).url) == PAGE


@pytest.mark.requirement("S-43")
async def test_rp_key_rotation_op_sign_key(world: World) -> None:
    """Two rotations in a row, and the old key is published no more: each sign-in gets through at once."""
    async with world.broker() as service:
        browser = world.browser(service)
        await browser.sign_in(redirect_url=PAGE)
        for _ in range(2):
            world.provider.rotate()
            assert str((await browser.sign_in(redirect_url=PAGE)).url) == PAGE
    assert (world.provider.count("/keys"), world.clock.now) == (3, START)


@pytest.mark.requirement("S-43")
async def test_two_hundred_unknown_kids_cost_two_fetches_more(world: World) -> None:
    """The first fetch, a refetch at once and one a second later; nothing in the two seconds after it."""
    world.provider.lies = Lies(header=lambda header: {**header, "kid": secrets.token_hex(8)})
    async with world.broker() as service:
        for _ in range(200):
            assert_refused(await world.browser(service).sign_in(redirect_url=PAGE), IdTokenKeyUnknown)
        assert world.provider.count("/keys") == 3
        world.provider.lies = Lies()
        assert str((await world.browser(service).sign_in(redirect_url=PAGE)).url) == PAGE
    assert (world.provider.count("/keys"), world.provider.count("/userinfo")) == (3, 1)


@pytest.mark.requirement("S-43")
async def test_fifty_cold_callbacks_at_once_cost_one_fetch(world: World, clock: Clock) -> None:
    """Single flight."""
    world.provider.lies = Lies(answers={"/keys": status(503)})
    async with world.broker() as service:
        browsers = [world.browser(service) for _ in range(50)]
        callbacks = [await browser.to_callback(redirect_url=PAGE) for browser in browsers]
        before = world.provider.count("/keys")
        world.provider.lies = Lies()
        clock.advance(2)
        pages = await asyncio.gather(
            *(browser.open(callback) for browser, callback in zip(browsers, callbacks, strict=True))
        )
    assert {page.status_code for page in pages} == {303}
    assert world.provider.count("/keys") == before + 1
    assert world.provider.count("/token") == 50


@pytest.mark.requirement("S-13")
async def test_keys_of_another_use_never_verify(world: World) -> None:
    """The very key that signs, published for encryption, beside one that signs nothing."""
    other = published(signing_key("RS256", "other"))
    world.provider.lies = Lies(jwks=lambda jwks: {"keys": [{**jwks["keys"][0], "use": "enc"}, other]})
    async with world.broker() as service:
        assert_refused(await world.browser(service).sign_in(redirect_url=PAGE), IdTokenKeyUnknown)
