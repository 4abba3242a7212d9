"""What a provider's documents can do: its metadata, its keys, its token response, its userinfo.

This file owns what must hold of any answer's body: a fault of a known name, or a record whose every part is right.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

from broker.comm100 import Site, build_claims, build_token
from broker.errors import BrokerError, CodeRejected, InvalidProviderResponse, NotAdmitted, ProviderUnavailable
from broker.identity import ClaimRules, Identity, admit
from broker.oidc.authorization import build_authorization_url
from broker.oidc.id_token import verify_signature
from broker.oidc.keys import check_keys
from broker.oidc.messages import ProviderResponse
from broker.oidc.metadata import ProviderMetadata, check_discovery
from broker.oidc.registration import SIGNATURE_ALGORITHMS, Registration
from broker.oidc.tokens import TokenResponse, build_token_request, check_token_response
from broker.oidc.userinfo import build_userinfo_request, check_userinfo
from broker.providers import KINDS, PersonClaims, UnverifiedIdToken, decide_identity
from tests.fakes.clock import START
from tests.fuzz.id_token import CLIENT_ID, ISSUER, encode
from tests.fuzz.person import judge_email, judge_name
from tests.fuzz.redirect_url import ENDPOINT

SUBJECT = "00u-ada"
DOMAIN = "acme.example"
REGISTRATION = Registration(
    issuer=ISSUER,
    metadata_issuer=ISSUER,
    client_id=CLIENT_ID,
    client_secret=lambda: "s3cret",
    client_assertion=None,
    client_authentication="client_secret_basic",
    redirect_uri="https://sso.acme.example/callback/idp",
    scopes=("openid",),
    signing_algorithms=SIGNATURE_ALGORITHMS,
    authorization_parameters={},
    max_age=None,
    allow_loopback=False,
)
SITE = Site(
    id="main",
    endpoint=ENDPOINT,
    shared_secret=lambda: "s" * 40,
    delivery="endpoint",
    redirect_hosts=frozenset(),
    token_lifetime=60,
    claims={},
    provider_ids=("idp",),
    start_url=None,
)


def judge_discovery(answer: ProviderResponse) -> ProviderMetadata | None:
    """Return the metadata if they are taken, having checked that nobody is sent anywhere but by https."""
    try:
        metadata = check_discovery(answer, expected_issuer=ISSUER, allow_loopback=False)
    except BrokerError as error:
        _known(error)
        return None
    assert metadata.issuer == ISSUER
    endpoints = [metadata.authorization_endpoint, metadata.token_endpoint, metadata.jwks_uri]
    endpoints += filter(None, [metadata.userinfo_endpoint, metadata.end_session_endpoint])
    for endpoint in endpoints:
        parts = urlsplit(endpoint)
        assert (parts.scheme, parts.fragment, parts.username) == ("https", "", None)
        assert parts.hostname
        assert endpoint.isascii()
        assert endpoint.isprintable()
        assert len(endpoint) <= 2048
    url = build_authorization_url(metadata, REGISTRATION, state="s", nonce="n", code_verifier="v" * 43)
    assert url.startswith(metadata.authorization_endpoint)
    assert build_token_request(metadata, REGISTRATION, code="c", code_verifier="v").url == metadata.token_endpoint
    return metadata


def judge_keys(answer: ProviderResponse) -> int:
    """Return how many keys are taken, having checked that none of them lets a made-up signature pass or stumbles."""
    try:
        keys, lifetime = check_keys(answer)
    except BrokerError as error:
        _known(error)
        return 0
    assert 300 <= lifetime <= 86400
    assert 0 < len(keys.keys) <= 100
    for key in keys.keys[:3]:
        for algorithm in sorted(algorithm for algorithm in SIGNATURE_ALGORITHMS if key.fits(algorithm)):
            header = encode(json.dumps({"alg": algorithm, "kid": key.kid}).encode())
            for signature in (bytes(64), b"\x01" * 256, b""):
                try:
                    verify_signature(f"{header}.e30.{encode(signature)}", keys, algorithms={algorithm})
                except BrokerError as error:
                    _known(error)
                else:
                    raise AssertionError("a signature nobody made")
    return len(keys.keys)


def judge_token_response(answer: ProviderResponse) -> TokenResponse | None:
    """Return the tokens if they are taken, having checked that they can go into a header as they are."""
    try:
        tokens = check_token_response(answer)
    except BrokerError as error:
        _known(error)
        return None
    assert answer.status == 200
    assert tokens.access_token
    assert tokens.unverified_id_token
    authorization = build_userinfo_request("https://idp.example/userinfo", tokens.access_token).headers["Authorization"]
    assert authorization.encode("ascii").split() == [b"Bearer", tokens.access_token.encode()]
    return tokens


def judge_userinfo(answer: ProviderResponse) -> Identity | None:
    """Return the person if one is let in, having checked subject, address and name by other means."""
    try:
        claims = check_userinfo(answer, expected_subject=SUBJECT)
        assert claims["sub"] == SUBJECT
        verified = PersonClaims(UnverifiedIdToken({"sub": SUBJECT}, ISSUER, SUBJECT), claims)
        identity = decide_identity(KINDS["oidc"], verified, ClaimRules())
        admit(identity, ClaimRules(email_domains=frozenset({DOMAIN})), groups=None)
    except BrokerError as error:
        _known(error)
        return None
    assert answer.status == 200
    assert claims["email_verified"] is True or claims["email_verified"] == "true"
    assert identity.email == judge_email(claims["email"])
    assert identity.email.endswith(f"@{DOMAIN}")
    assert identity.name == judge_name(identity.name) != ""
    assert build_token(build_claims(identity, SITE, now=START), SITE).count(".") == 2
    return identity


@contextmanager
def validation() -> Iterator[Callable[[bytes], None]]:
    """Give what the fuzzer calls: the bytes are the body of each kind of answer, good and bad."""

    def one_input(data: bytes) -> None:
        judge_keys(ProviderResponse(200, "application/json", data))
        for status in (200, 400):
            answer = ProviderResponse(status, "application/json", data)
            judge_discovery(answer)
            judge_token_response(answer)
            judge_userinfo(answer)

    yield one_input


def _known(error: BrokerError) -> None:
    """Check that a fault has a name, and is laid at the provider's door or the person's account."""
    assert error.code
    assert isinstance(error, InvalidProviderResponse | ProviderUnavailable | CodeRejected | NotAdmitted)
