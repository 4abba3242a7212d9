"""The token request and its response: the code for an ID token (RFC 6749, section 4.1.3)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NoReturn
from urllib.parse import quote_plus, urlencode

from authlib.oauth2.auth import ClientAuth

from broker.errors import (
    AnswerUnexpected,
    AnswerUnreadable,
    ClientRejected,
    CodeRejected,
    ProviderFailing,
    TokenRequestRefused,
    TokenResponseInvalid,
)
from broker.oidc.messages import (
    RESPONSE_LIMIT,
    Answer,
    JsonObject,
    ProviderRequest,
    check_available,
    provider_text,
    read_json_object,
    text_member,
)
from broker.oidc.metadata import ProviderMetadata
from broker.oidc.registration import Registration

CLIENT_ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


@dataclass(frozen=True, slots=True)
class TokenResponse:
    """What the token endpoint gave; the ID token is not verified yet."""

    access_token: str = field(repr=False)
    unverified_id_token: str = field(repr=False)


def build_token_request(
    metadata: ProviderMetadata, registration: Registration, *, code: str, code_verifier: str
) -> ProviderRequest:
    """Return the request that redeems the code, once.

    Args:
        metadata: the provider's.
        registration: ours there, with the way it authenticates us (OpenID Connect Core, section 9).
        code: from the callback.
        code_verifier: proves that the sign-in began here (RFC 7636, section 4.5).
    """
    parameters = {
        "grant_type": "authorization_code",
        "code": code,
        "redirect_uri": registration.redirect_uri,
        "code_verifier": code_verifier,
    }
    method = registration.client_authentication
    if registration.client_assertion is not None:
        # RFC 7523, section 2.2; the client id beside it is what Entra wants and others take.
        parameters["client_assertion_type"] = CLIENT_ASSERTION_TYPE
        parameters["client_assertion"] = registration.client_assertion(metadata.token_endpoint)
        method = "none"
    form = urlencode(parameters)
    headers = {"Accept": "application/json", "Content-Type": "application/x-www-form-urlencoded"}
    client_id, secret = registration.client_id, registration.client_secret() if registration.client_secret else None
    credentials = [secret for secret in (secret, parameters.get("client_assertion")) if secret]
    if method == "client_secret_basic":
        # RFC 6749, section 2.3.1 wants both form-encoded before they become a user name and a password.
        client_id, secret = quote_plus(client_id), quote_plus(secret or "")
    client = ClientAuth(client_id, secret, method)
    url, headers, form = client.prepare("POST", metadata.token_endpoint, headers, form)
    return ProviderRequest("POST", url, RESPONSE_LIMIT, headers, form, tuple(credentials), asked="token")


def check_token_response(answer: Answer) -> TokenResponse:
    """Return the tokens, if the answer is as OpenID Connect Core, section 3.1.3.3 demands.

    Args:
        answer: what the token endpoint said.

    Raises:
        ProviderFailing: for a 5xx or 429.
        CodeRejected, ClientRejected, TokenRequestRefused: an error of RFC 6749, section 5.2.
        TokenResponseInvalid: a member missing or of the wrong type.
        AnswerUnexpected, AnswerUnreadable: no answer of a token endpoint.
    """
    check_available(answer)
    if 400 <= answer.status < 500:
        _raise_error(answer)
    if answer.status != 200:
        raise AnswerUnexpected(expected=200, got=answer.status)
    document = read_json_object(answer.body)
    # token_type and access_token: RFC 6749, section 5.1; id_token: OpenID Connect Core, section 3.1.3.3.
    if text_member(document, "token_type", TokenResponseInvalid).lower() != "bearer":
        raise TokenResponseInvalid(expected="token_type: Bearer", got="another")
    access_token = text_member(document, "access_token", TokenResponseInvalid)
    # It goes into a header as it is (RFC 6750, section 2.1): nothing that could end or split one.
    if not access_token.isascii() or not access_token.isprintable() or " " in access_token:
        raise TokenResponseInvalid(expected="access_token: printable ASCII", got="other characters")
    return TokenResponse(access_token, text_member(document, "id_token", TokenResponseInvalid))


def _raise_error(answer: Answer) -> NoReturn:
    try:
        document: JsonObject = read_json_object(answer.body)
    except AnswerUnreadable:
        raise AnswerUnexpected(expected="an OAuth error", got=f"status {answer.status} without JSON") from None
    error = document.get("error")
    said = provider_text(error, document.get("error_description"))
    # RFC 6749, section 5.2. A 401 without an error is what some providers say instead of invalid_client.
    if error == "invalid_grant":
        raise CodeRejected(expected="tokens", got=said)
    if error == "invalid_client" or (answer.status == 401 and not isinstance(error, str)):
        raise ClientRejected(expected="tokens", got=said)
    if error in ("temporarily_unavailable", "server_error"):
        raise ProviderFailing(expected="tokens", got=said, retry_after=answer.retry_after)
    raise TokenRequestRefused(expected="tokens", got=said)
