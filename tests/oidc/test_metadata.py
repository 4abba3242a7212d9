"""The discovery document: the members we use are checked, nothing else in it changes anything."""

from __future__ import annotations

import json

import pytest

from broker.errors import (
    AnswerUnexpected,
    AnswerUnreadable,
    BrokerError,
    MetadataInvalid,
    MetadataIssuer,
    ProviderFailing,
)
from broker.oidc.messages import DOCUMENT_LIMIT
from broker.oidc.metadata import (
    ProviderMetadata,
    build_discovery_request,
    check_discovery,
)
from broker.oidc.network import is_loopback
from tests.oidc.samples import ISSUER, METADATA, answer

DOCUMENT = {
    "issuer": ISSUER,
    "authorization_endpoint": f"{ISSUER}/authorize",
    "token_endpoint": f"{ISSUER}/token",
    "jwks_uri": f"{ISSUER}/keys",
    "userinfo_endpoint": f"{ISSUER}/userinfo",
}


def check(changes: dict[str, object], *, allow_loopback: bool = False) -> ProviderMetadata:
    """Check the honest document with changes; `...` leaves a member out."""
    document = {name: value for name, value in {**DOCUMENT, **changes}.items() if value is not ...}
    return check_discovery(answer(document), expected_issuer=ISSUER, allow_loopback=allow_loopback)


@pytest.mark.parametrize(
    ("issuer", "url"),
    [
        pytest.param("https://idp.example", "https://idp.example/.well-known/openid-configuration", id="a host"),
        pytest.param("https://idp.example/", "https://idp.example/.well-known/openid-configuration", id="a slash"),
        pytest.param(
            "https://idp.example/t/v2.0", "https://idp.example/t/v2.0/.well-known/openid-configuration", id="a path"
        ),
    ],
)
def test_the_document_is_asked_for_below_the_issuer(issuer: str, url: str) -> None:
    request = build_discovery_request(issuer)
    assert (request.method, request.url, request.limit, request.body) == ("GET", url, DOCUMENT_LIMIT, None)


def test_an_honest_document_is_taken() -> None:
    assert check({}) == METADATA


@pytest.mark.requirement("S-40")
@pytest.mark.parametrize(
    "issuer",
    [
        pytest.param(..., id="missing"),
        pytest.param(None, id="null"),
        pytest.param([ISSUER], id="a list"),
        pytest.param("https://other.example", id="another host"),
        pytest.param(f"{ISSUER}/", id="a slash more"),
        pytest.param("https://IDP.example", id="another case"),
        pytest.param("https://idp.example:443", id="the default port spelled out"),
        pytest.param("http://idp.example", id="http"),
        pytest.param(f"{ISSUER}/tenant", id="a path more"),
        pytest.param(f" {ISSUER}", id="white space"),
    ],
)
def test_another_issuer_is_refused(issuer: object) -> None:
    """OpenID Connect Discovery, section 4.3."""
    with pytest.raises(MetadataIssuer):
        check({"issuer": issuer})


@pytest.mark.requirement("S-40")
@pytest.mark.parametrize("member", ["authorization_endpoint", "token_endpoint", "jwks_uri"])
@pytest.mark.parametrize(
    "value",
    [
        pytest.param(..., id="missing"),
        pytest.param(None, id="null"),
        pytest.param("", id="empty"),
        pytest.param(7, id="a number"),
        pytest.param([f"{ISSUER}/x"], id="a list"),
        pytest.param({"url": f"{ISSUER}/x"}, id="an object"),
    ],
)
def test_a_member_we_need_must_be_a_text(member: str, value: object) -> None:
    with pytest.raises(MetadataInvalid):
        check({member: value})


UNUSABLE_ADDRESSES = [
    pytest.param("http://idp.example/x", id="plain http"),
    pytest.param("http://127.0.0.1/x", id="http on loopback"),
    pytest.param("ftp://idp.example/x", id="another scheme"),
    pytest.param("javascript:alert(1)", id="a script"),
    pytest.param("data:text/html,x", id="a data address"),
    pytest.param("/token", id="a path alone"),
    pytest.param("//idp.example/x", id="no scheme"),
    pytest.param("https:///x", id="no host"),
    pytest.param("https://ada:pw@idp.example/x", id="credentials"),
    pytest.param("https://@idp.example/x", id="empty credentials"),
    pytest.param("https://idp.example/x#y", id="a fragment"),
    pytest.param("https://idp.example/x#", id="an empty fragment"),
    pytest.param("https://idp.example\\@evil.example/x", id="a backslash and an @"),
    pytest.param("https://idp.example\\evil.example", id="a backslash, which a browser reads as a slash"),
    pytest.param("https://idp.example/a\\b", id="a backslash in the path"),
    pytest.param("https://idp.example/x y", id="a space"),
    pytest.param("https://idp.example/x\r\nHost: evil", id="a line break"),
    pytest.param("https://idp.example/\x00", id="a NUL"),
    pytest.param("https://idp.exämple/x", id="no ASCII"),
    pytest.param("https://idp.example:99999/x", id="no port"),
    pytest.param("https://[::1/x", id="half a bracket"),
    pytest.param("https://idp.example/" + "x" * 2048, id="too long"),
]


@pytest.mark.requirement("S-41", "S-40")
@pytest.mark.parametrize("member", ["authorization_endpoint", "token_endpoint", "jwks_uri"])
@pytest.mark.parametrize("url", UNUSABLE_ADDRESSES)
def test_an_endpoint_that_is_no_plain_https_address_is_refused(member: str, url: str) -> None:
    with pytest.raises(MetadataInvalid) as refusal:
        check({member: url})
    assert str(refusal.value.got).startswith(f"{member}: ")
    assert "ada:pw" not in str(refusal.value.got)


@pytest.mark.parametrize("member", ["userinfo_endpoint", "end_session_endpoint"])
@pytest.mark.parametrize("value", [pytest.param(..., id="missing"), pytest.param(None, id="null")])
def test_an_endpoint_we_can_do_without_may_be_missing(member: str, value: object) -> None:
    assert getattr(check({member: value}), member) is None
    assert check({member: value}).ignored == ()


@pytest.mark.requirement("S-40")
@pytest.mark.parametrize("member", ["userinfo_endpoint", "end_session_endpoint"])
@pytest.mark.parametrize(
    "value",
    [
        *UNUSABLE_ADDRESSES,
        pytest.param("", id="empty"),
        pytest.param(False, id="false"),
        pytest.param(7, id="a number"),
        pytest.param([f"{ISSUER}/x"], id="a list"),
        pytest.param({}, id="an object"),
    ],
)
def test_an_unusable_endpoint_we_can_do_without_counts_as_absent_and_is_named(member: str, value: object) -> None:
    metadata = check({member: value})
    assert getattr(metadata, member) is None
    assert metadata.token_endpoint == METADATA.token_endpoint
    assert [one.partition(":")[0] for one in metadata.ignored] == [member]


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.1", "localhost", "[::1]"])
def test_plain_http_is_for_loopback_in_development_alone(host: str) -> None:
    url = f"http://{host}:8080/token"
    assert check({"token_endpoint": url}, allow_loopback=True).token_endpoint == url
    with pytest.raises(MetadataInvalid):
        check({"token_endpoint": url}, allow_loopback=False)


@pytest.mark.parametrize(
    "host",
    [
        pytest.param("127.0.0.1.evil.example", id="a name that begins like one"),
        pytest.param("localhost.evil.example", id="a name that begins with localhost"),
        pytest.param("10.0.0.1", id="a private address"),
        pytest.param("idp.example", id="a public name"),
        pytest.param("0.0.0.0", id="any address"),
        pytest.param("127.0.0.999", id="no address"),
        pytest.param("127.1", id="an address in short"),
        pytest.param("[::ffff:127.0.0.1]", id="inside IPv6"),
    ],
)
def test_plain_http_elsewhere_is_refused_in_development_too(host: str) -> None:
    assert not is_loopback(host.strip("[]"))
    with pytest.raises(MetadataInvalid):
        check({"token_endpoint": f"http://{host}/token"}, allow_loopback=True)


def test_endpoints_may_be_on_other_hosts() -> None:
    """Google and Entra spread theirs over several."""
    url = "https://graph.other.example/oidc/userinfo?v=1"
    assert check({"userinfo_endpoint": url}).userinfo_endpoint == url


@pytest.mark.parametrize(
    ("value", "announced"),
    [
        pytest.param(..., False, id="missing"),
        pytest.param(None, False, id="null"),
        pytest.param(False, False, id="false"),
        pytest.param(True, True, id="true"),
    ],
)
def test_the_announcement_of_iss_is_read(value: object, announced: bool) -> None:
    assert (
        check({"authorization_response_iss_parameter_supported": value}).authorization_response_iss_parameter_supported
        is announced
    )


@pytest.mark.requirement("S-40")
@pytest.mark.parametrize(
    "value", [pytest.param("true", id="text"), pytest.param(1, id="one"), pytest.param([], id="[]")]
)
def test_an_announcement_of_another_type_counts_as_absent_and_is_named(value: object) -> None:
    metadata = check({"authorization_response_iss_parameter_supported": value})
    assert not metadata.authorization_response_iss_parameter_supported
    assert [one.partition(":")[0] for one in metadata.ignored] == ["authorization_response_iss_parameter_supported"]


@pytest.mark.requirement("S-40")
def test_nothing_else_in_the_document_changes_anything() -> None:
    """Neither TLS, PKCE, algorithms nor client authentication are the document's to choose."""
    noise: dict[str, object] = {
        "verify": False,
        "tls_client_certificate_bound_access_tokens": True,
        "code_challenge_methods_supported": ["plain"],
        "id_token_signing_alg_values_supported": ["none", "HS256"],
        "token_endpoint_auth_methods_supported": ["none"],
        "response_types_supported": 5,
        "scopes_supported": None,
        "claims_supported": "email",
        "mtls_endpoint_aliases": {"token_endpoint": "https://evil.example/token"},
        "client_kwargs": {"code_challenge_method": None},
        "jwks": {"keys": []},
    }
    assert check(noise) == METADATA


@pytest.mark.parametrize(
    ("status", "error"),
    [
        pytest.param(201, AnswerUnexpected, id="created"),
        pytest.param(204, AnswerUnexpected, id="no content"),
        pytest.param(302, AnswerUnexpected, id="a redirect"),
        pytest.param(404, AnswerUnexpected, id="not found"),
        pytest.param(429, ProviderFailing, id="too many requests"),
        pytest.param(500, ProviderFailing, id="a server error"),
        pytest.param(503, ProviderFailing, id="unavailable"),
    ],
)
def test_another_status_than_200_is_refused(status: int, error: type[BrokerError]) -> None:
    with pytest.raises(error):
        check_discovery(answer(DOCUMENT, status), expected_issuer=ISSUER, allow_loopback=False)


def test_how_long_the_provider_wants_us_to_wait_is_kept() -> None:
    with pytest.raises(ProviderFailing) as failure:
        check_discovery(answer(DOCUMENT, 429, retry_after=7), expected_issuer=ISSUER, allow_loopback=False)
    assert failure.value.retry_after == 7


def test_a_document_that_is_no_json_object_is_refused() -> None:
    with pytest.raises(AnswerUnreadable):
        check_discovery(answer(b"<html>"), expected_issuer=ISSUER, allow_loopback=False)


@pytest.mark.requirement("S-01")
@pytest.mark.parametrize("query", ["response_type=token", "p=x&state=fixed", "nonce", "scope=&p=x", "stat%65=fixed"])
def test_a_query_of_the_endpoint_with_one_of_our_parameters_is_refused(query: str) -> None:
    with pytest.raises(MetadataInvalid):
        check({"authorization_endpoint": f"{ISSUER}/authorize?{query}"})


def test_a_query_of_the_endpoint_with_one_of_the_admins_parameters_is_refused() -> None:
    document = answer({**DOCUMENT, "authorization_endpoint": f"{ISSUER}/authorize?hd=x"})
    with pytest.raises(MetadataInvalid):
        check_discovery(document, expected_issuer=ISSUER, allow_loopback=False, own_parameters={"hd"})


def test_a_document_behind_a_byte_order_mark_is_taken() -> None:
    body = b"\xef\xbb\xbf" + json.dumps(DOCUMENT).encode()
    assert check_discovery(answer(body), expected_issuer=ISSUER, allow_loopback=False) == METADATA


@pytest.mark.parametrize(
    ("status", "body", "more", "got"),
    [
        pytest.param(302, b"", {"location": "https://login.example/x?a=b"}, "302 to login.example/x", id="a redirect"),
        pytest.param(301, b"", {"location": "/x"}, "301 to /x", id="a redirect on the same host"),
        pytest.param(404, b'{"error": "Realm does not exist"}', {}, "404: Realm does not exist", id="Keycloak"),
        pytest.param(401, b"", {"www_authenticate": 'Bearer error="invalid_token"'}, "401: invalid_token", id="a 401"),
        pytest.param(503, b"<title>Maintenance</title>", {}, "503: Maintenance", id="a page of maintenance"),
        pytest.param(404, b"", {}, "404", id="nothing is said"),
    ],
)
def test_a_refusal_has_the_destination_or_the_providers_words(
    status: int, body: bytes, more: dict[str, str], got: str
) -> None:
    with pytest.raises(BrokerError) as refusal:
        check_discovery(answer(body, status, **more), expected_issuer=ISSUER, allow_loopback=False)
    assert refusal.value.got == got


def test_the_document_is_asked_for_where_the_admin_says() -> None:
    url = "https://idcs-1.identity.example/.well-known/openid-configuration"
    assert build_discovery_request(ISSUER, url).url == url
