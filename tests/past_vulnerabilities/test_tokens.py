"""Tokens and addresses that others believed, offered to the broker by a lying provider: one row per identifier."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Callable

import httpx
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from joserfc import jwe
from joserfc.jwk import OctKey, RSAKey

from broker.errors import (
    BrokerError,
    EmailDomainNotAllowed,
    EmailMalformed,
    EmailUnverified,
    IdTokenAccessTokenHash,
    IdTokenAlgorithm,
    IdTokenIssuer,
    IdTokenKeyUnknown,
    IdTokenMalformed,
    IdTokenSignature,
)
from tests.fakes.lies import Alter, Document, Lies, status, truth, with_
from tests.fakes.provider import FakeProvider, Person, new_key
from tests.fakes.world import World, assert_refused

Attack = Callable[[FakeProvider], Lies]
FOREIGN = RSAKey.generate_key(2048)
SHA256 = hashes.SHA256()


def sign_in_with(world: World, algorithm: str) -> None:
    """Have the provider sign with this algorithm, and the broker expect it."""
    world.provider.algorithm = algorithm
    world.provider.keys = [new_key(algorithm, "key-1")]
    world.settings["identity_providers"]["idp"]["signing_algorithms"] = [algorithm]


def part(data: bytes | Document) -> str:
    raw = data if isinstance(data, bytes) else json.dumps(data).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def signed_by_hmac(key_of: Callable[[FakeProvider], bytes]) -> Attack:
    """Take public material, or what the provider knows too, for an HMAC key."""

    def attack(provider: FakeProvider) -> Lies:
        def sign(header: Document, claims: Document) -> str:
            signing_input = f"{part({**header, 'alg': 'HS256'})}.{part(claims)}"
            return f"{signing_input}.{part(hmac.digest(key_of(provider), signing_input.encode(), hashlib.sha256))}"

        return Lies(sign=sign)

    return attack


def jwk_of(provider: FakeProvider) -> bytes:
    return json.dumps(provider.keys[0].as_dict(private=False)).encode()


def pem_of(provider: FakeProvider) -> bytes:
    return provider.keys[0].as_pem(private=False)


def openssh_of(provider: FakeProvider) -> bytes:
    public = provider.keys[0].public_key
    assert isinstance(public, RSAPublicKey)
    return public.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)


def signed_by_hand(
    *, key: RSAKey | None = None, digest: hashes.HashAlgorithm = SHA256, jwks: Alter = truth, **members: object
) -> Attack:
    """Sign with an RSA key, the provider's own unless another is given, whatever the header says."""

    def attack(provider: FakeProvider) -> Lies:
        def sign(header: Document, claims: Document) -> str:
            signing_input = f"{part({**header, **members})}.{part(claims)}"
            private = (key or provider.keys[0]).private_key
            assert isinstance(private, RSAPrivateKey)
            return f"{signing_input}.{part(private.sign(signing_input.encode(), PKCS1v15(), digest))}"

        return Lies(sign=sign, jwks=jwks)

    return attack


def published_for(algorithm: str) -> Alter:
    return lambda keys: {"keys": [{**key, "alg": algorithm} for key in keys["keys"]]}


def compressed_and_encrypted(_: FakeProvider) -> Lies:
    registry = jwe.JWERegistry(algorithms=["dir", "A128GCM", "DEF"])
    token = jwe.encrypt_compact(
        {"alg": "dir", "enc": "A128GCM", "zip": "DEF"}, b"a" * 200_000, OctKey.import_key(b"0" * 16), registry=registry
    )
    return Lies(id_token=lambda _: token)


TOKENS = [
    # PyJWT took a public key in JWK form for the secret of an HMAC: anybody could sign.
    pytest.param("RS256", signed_by_hmac(jwk_of), IdTokenAlgorithm, id="CVE-2026-48526"),
    # Years before, it had not recognised public keys in OpenSSH's form.
    pytest.param("RS256", signed_by_hmac(openssh_of), IdTokenAlgorithm, id="CVE-2022-29217"),
    # jwt-simple took the algorithm from the token: a public key in PEM form became the secret of an HMAC.
    pytest.param("RS256", signed_by_hmac(pem_of), IdTokenAlgorithm, id="CVE-2016-10555"),
    # PyJWT compared the header's algorithm with the list allowed, and verified with the one that the key named.
    pytest.param(
        "RS256",
        signed_by_hand(digest=hashes.SHA512(), jwks=published_for("RS512")),
        IdTokenKeyUnknown,
        id="CVE-2026-48523",
    ),
    # Authlib verified with the key that the token itself brought along.
    pytest.param(
        "RS256", signed_by_hand(key=FOREIGN, jwk=FOREIGN.as_dict(private=False)), IdTokenSignature, id="CVE-2026-27962"
    ),
    # So did node-jose before.
    pytest.param(
        "RS256", signed_by_hand(key=FOREIGN, jwk=FOREIGN.as_dict(private=False)), IdTokenSignature, id="CVE-2018-0114"
    ),
    # Authlib passed over header members it had been told are critical and does not know.
    pytest.param("RS256", signed_by_hand(crit=["cnf"], cnf={"jkt": "x"}), IdTokenMalformed, id="CVE-2025-59420"),
    # So did PyJWT.
    pytest.param("RS256", signed_by_hand(crit=["bork"], bork=1), IdTokenMalformed, id="CVE-2026-32597"),
    # Java's ECDSA held a signature of zeroes for one of every message.
    pytest.param(
        "ES256",
        lambda _: Lies(id_token=lambda token: f"{token.rpartition('.')[0]}.{part(bytes(64))}"),
        IdTokenSignature,
        id="CVE-2022-21449",
    ),
    # python-jose unpacked an encrypted token before it judged it, however large it became.
    pytest.param("RS256", compressed_and_encrypted, IdTokenMalformed, id="CVE-2024-33664"),
    # PyJWT looked for the issuer within the expected one, letter by letter, instead of comparing the two.
    *[
        pytest.param(
            "RS256", lambda _, iss=iss: Lies(claims=with_(iss=iss)), IdTokenIssuer, id=f"CVE-2024-53861 {iss!r}"
        )
        for iss in ("", "h", "idp.example", "https://idp.exampl", "https://idp.example/")
    ],
    # Authlib held a wrong at_hash for right when it did not know the algorithm that the token was signed with.
    pytest.param("RS256", signed_by_hand(alg="XX256"), IdTokenAlgorithm, id="CVE-2026-28498 XX256"),
    *[
        pytest.param(
            algorithm,
            lambda _: Lies(claims=with_(at_hash="AAAAAAAAAAAAAAAAAAAAAA")),
            IdTokenAccessTokenHash,
            id=f"CVE-2026-28498 {algorithm}",
        )
        for algorithm in ("RS256", "ES384", "ES512", "EdDSA")
    ],
]


@pytest.mark.requirement("S-12", "S-13")
@pytest.mark.parametrize(("algorithm", "attack", "error"), TOKENS)
async def test_a_token_that_others_believed_is_refused(
    world: World, algorithm: str, attack: Attack, error: type[BrokerError]
) -> None:
    sign_in_with(world, algorithm)
    async with world.broker() as service:
        assert (await world.browser(service).sign_in()).status_code == 200
        world.received.clear()
        world.provider.requests.clear()
        world.provider.lies = attack(world.provider)
        if error is IdTokenKeyUnknown:
            world.clock.advance(86_400)  # until the keys are asked for again
        assert_refused(await world.browser(service).sign_in(), error)
    assert world.provider.count("/userinfo") == 0
    assert not world.received


@pytest.mark.requirement("S-43")
async def test_a_flood_of_unknown_keys_leaves_the_known_ones_alone(world: World) -> None:
    """CVE-2026-48524: PyJWT forgot all keys when a token with an unknown one made it ask, and the answer failed."""
    async with world.broker() as service:
        assert (await world.browser(service).sign_in()).status_code == 200
        world.provider.requests.clear()
        for number in range(5):
            world.provider.lies = Lies(header=with_(kid=f"unknown-{number}"), answers={"/keys": status(500)})
            assert_refused(await world.browser(service).sign_in(), IdTokenKeyUnknown)
        world.provider.lies = Lies(answers={"/keys": status(500)})
        assert (await world.browser(service).sign_in()).status_code == 200
    assert world.provider.count("/keys") == 2  # at once and a second later


@pytest.mark.requirement("S-21", "S-22", "S-23")
@pytest.mark.parametrize(
    ("claims", "error"),
    [
        # oauth2-proxy compared what follows the last @ with the domains allowed, and let anything stand before it.
        pytest.param({"email": "ada@evil.example@acme.example"}, EmailMalformed, id="CVE-2026-40574"),
        pytest.param({"email": '"ada@evil.example"@acme.example'}, EmailMalformed, id="CVE-2026-40574 quoted"),
        pytest.param({"email": "ada@evil.example,x@acme.example"}, EmailMalformed, id="CVE-2026-40574 a list"),
        # Grafana knew people by the e-mail claim of Entra, which any tenant's admin can set to any address.
        pytest.param({"email_verified": None}, EmailUnverified, id="CVE-2023-3128 nothing said of it"),
        pytest.param({"email_verified": False}, EmailUnverified, id="CVE-2023-3128 not verified"),
        pytest.param({"email_verified": "yes"}, EmailUnverified, id="CVE-2023-3128 verified as another string"),
        # Django sent mail to an address that only equals the known one after Unicode's change of case.
        pytest.param({"email": "\u212aay@acme.example"}, EmailMalformed, id="CVE-2019-19844 Kelvin sign"),
        pytest.param({"email": "ada@\uff41cme.example"}, EmailMalformed, id="CVE-2019-19844 a wide letter"),
    ],
)
async def test_an_address_that_others_took_for_an_agents_is_refused(
    world: World, claims: Document, error: type[BrokerError]
) -> None:
    person = world.provider.person
    world.provider.person = Person(person.sub, {**person.claims, **claims})
    async with world.broker() as service:
        assert_refused(await world.browser(service).sign_in(), error)
    assert not world.received


@pytest.mark.requirement("S-20")
async def test_another_organisations_provider_cannot_assert_an_agents_address(world: World) -> None:
    """CVE-2023-3128, by a provider whose admin does say that the address is verified."""
    world.add_provider("eu").person = Person("00u-mallory", world.provider.person.claims)
    async with world.broker() as service:
        assert_refused(await world.browser(service).sign_in(idp="eu"), EmailDomainNotAllowed)
        page = await world.browser(service).sign_in(idp="idp")
    assert page.status_code == httpx.codes.OK
    assert [one.refusal for one in world.received] == [None]
