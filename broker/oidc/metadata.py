"""Reads the discovery document (OpenID Connect Discovery 1.0).

Only the members named here are read. The document cannot switch off PKCE, choose an algorithm, or name another
issuer.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import asdict, dataclass
from urllib.parse import parse_qs, urlsplit

from broker.errors import MetadataInvalid, MetadataIssuer
from broker.oidc.messages import (
    DOCUMENT_LIMIT,
    JsonObject,
    ProviderRequest,
    ProviderResponse,
    check_success,
    read_json_object,
    text_member,
)
from broker.oidc.network import is_loopback
from broker.oidc.registration import PROTOCOL_PARAMETERS
from broker.text import printable, redact_opaque, type_name

MAX_URL_CHARACTERS = 2048
MAX_SHOWN_CHARACTERS = 100
_URL_CHARACTERS = re.compile(r"[!-~]+")


@dataclass(frozen=True, slots=True)
class ProviderMetadata:
    """The members of a provider's metadata that the broker uses.

    Args:
        issuer: equal to the configured issuer.
        userinfo_endpoint: None if the provider has none.
        end_session_endpoint: None if the provider has none.
        authorization_response_iss_parameter_supported: the callback will carry `iss` (RFC 9207, section 3).
        ignored: optional members that cannot be used and count as absent, each with the reason; for the log.
    """

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    userinfo_endpoint: str | None
    end_session_endpoint: str | None
    authorization_response_iss_parameter_supported: bool
    ignored: tuple[str, ...] = ()

    def as_document(self) -> JsonObject:
        """Return the discovery document with these members alone."""
        return {name: value for name, value in asdict(self).items() if name != "ignored" and value is not None}


def build_discovery_request(issuer: str, metadata_url: str | None = None) -> ProviderRequest:
    """Return the request for an issuer's metadata.

    Args:
        issuer: the issuer identifier; a terminating slash is removed (OpenID Connect Discovery, section 4.1).
        metadata_url: None if the metadata is below the issuer.
    """
    url = metadata_url or f"{issuer.removesuffix('/')}/.well-known/openid-configuration"
    return ProviderRequest("GET", url, DOCUMENT_LIMIT, {"Accept": "application/json"}, kind="metadata")


def check_discovery(
    answer: ProviderResponse,
    *,
    expected_issuer: str,
    allow_loopback: bool,
    own_parameters: Collection[str] = PROTOCOL_PARAMETERS,
) -> ProviderMetadata:
    """Return the metadata if it is the expected issuer's and complete.

    Args:
        expected_issuer: the configured issuer, compared character by character.
        allow_loopback: plain http and loopback hosts may appear in endpoints.
        own_parameters: names that the endpoint's own query must not have.

    Raises:
        ProviderFailing: for a 5xx or 429.
        AnswerUnexpected: for any other status than 200.
        MetadataIssuer: another issuer, or none (OpenID Connect Discovery, section 4.3).
        MetadataInvalid: a required member is missing or unusable (section 3).
    """
    check_success(answer)
    document = read_json_object(answer.body)
    issuer = document.get("issuer")
    if issuer != expected_issuer:
        raise MetadataIssuer(expected=expected_issuer, got=issuer if isinstance(issuer, str) else type_name(issuer))
    authorization_endpoint = _endpoint(document, "authorization_endpoint", allow_loopback)
    userinfo_endpoint, no_userinfo = _optional_endpoint(document, "userinfo_endpoint", allow_loopback)
    end_session_endpoint, no_logout = _optional_endpoint(document, "end_session_endpoint", allow_loopback)
    sends_iss, no_flag = _flag(document, "authorization_response_iss_parameter_supported")
    return ProviderMetadata(
        issuer=expected_issuer,
        authorization_endpoint=_check_own_query(authorization_endpoint, own_parameters),
        token_endpoint=_endpoint(document, "token_endpoint", allow_loopback),
        jwks_uri=_endpoint(document, "jwks_uri", allow_loopback),
        userinfo_endpoint=userinfo_endpoint,
        end_session_endpoint=end_session_endpoint,
        authorization_response_iss_parameter_supported=sends_iss,
        ignored=(*no_userinfo, *no_logout, *no_flag),
    )


def _optional_endpoint(document: JsonObject, member: str, allow_loopback: bool) -> tuple[str | None, tuple[str, ...]]:
    """Return an endpoint that section 3 does not require, and the reason if it is unusable and ignored."""
    if document.get(member) is None:
        return None, ()
    try:
        return _endpoint(document, member, allow_loopback), ()
    except MetadataInvalid as unusable:
        return None, (str(unusable.got),)


def _endpoint(document: JsonObject, member: str, allow_loopback: bool) -> str:
    url = text_member(document, member, MetadataInvalid)
    if len(url) > MAX_URL_CHARACTERS or not _URL_CHARACTERS.fullmatch(url) or "\\" in url:
        raise MetadataInvalid(expected=f"{member}: a URL of printable ASCII", got=f"{member}: {_shown(url)}")
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        raise MetadataInvalid(expected=f"{member}: a URL", got=f"{member}: {_shown(url)}") from None
    plain_ok = allow_loopback and parts.scheme == "http" and is_loopback(host)
    if not host or (parts.scheme != "https" and not plain_ok):
        raise MetadataInvalid(expected=f"{member}: an https URL", got=f"{member}: {_shown(url)}")
    if "@" in parts.netloc or "#" in url:
        raise MetadataInvalid(expected=f"{member}: no credentials, no fragment", got=f"{member}: {_shown(url)}")
    return url


def _shown(url: str) -> str:
    """Return an unusable address for the log, without a query and without credentials."""
    bare = re.sub(r"//[^/]*@", "//", url[:MAX_SHOWN_CHARACTERS].partition("?")[0])
    return printable(redact_opaque(bare), ascii_only=True)


def _check_own_query(authorization_endpoint: str, own_parameters: Collection[str]) -> str:
    """Keep the endpoint's own query, which must not repeat a parameter (RFC 6749, section 3.1)."""
    query = parse_qs(urlsplit(authorization_endpoint).query, keep_blank_values=True)
    if taken := sorted(query.keys() & set(own_parameters)):
        raise MetadataInvalid(expected="authorization_endpoint: no parameter of the broker", got=taken)
    return authorization_endpoint


def _flag(document: JsonObject, member: str) -> tuple[bool, tuple[str, ...]]:
    """Return a flag, by default false (RFC 9207, section 3), and the reason if it is unusable and ignored."""
    value = document.get(member)
    if value is None or isinstance(value, bool):
        return value is True, ()
    return False, (f"{member}: {type_name(value)}",)
