"""The token request and its response: the code for an ID token (RFC 6749, section 4.1.3)."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import lru_cache
from urllib.parse import quote_plus, urlencode

from authlib.oauth2.auth import ClientAuth

from broker.errors import (
    AnswerUnexpected,
    AnswerUnreadable,
    BrokerError,
    ClientRejected,
    CodeRejected,
    ProviderFailing,
    TokenRequestRefused,
    TokenResponseInvalid,
)
from broker.oidc.messages import (
    RESPONSE_LIMIT,
    JsonObject,
    ProviderRequest,
    ProviderResponse,
    Said,
    character_at,
    describe_refusal,
    is_failing,
    read_json_object,
    read_refusal,
    read_refusal_members,
    short_text,
    text_member,
)
from broker.oidc.metadata import ProviderMetadata
from broker.oidc.registration import Registration

CLIENT_ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

_NOT_VISIBLE = re.compile(r"[^!-~]")
# Codes without case and separators.
_ABOUT_THE_CODE = re.compile(
    "invalidgrant|(invalid|bad|wrong|expired|used|unknown)(authorization|verification)?code|code(invalid|expired|used)"
)
# `invalid_client` and `bad_client_secret`, but not `unauthorized_client`.
_ABOUT_THE_CREDENTIAL = re.compile(
    "client(id|secret|credential|assertion|auth|notfound|unknown|disabled)|(invalid|incorrect|bad|wrong|unknown)client"
)
# https://learn.microsoft.com/en-us/entra/identity-platform/reference-error-codes: the application is unknown or
# disabled, or its secret, certificate, assertion or federated credential is missing, wrong or expired.
_ENTRA_CREDENTIAL = re.compile(
    r"AADSTS(700016|7000112|7000114|70001|7000215|7000216|7000218|7000222|700023|700024|700027|700030|700211|700212|"
    r"700213|70021|50012)(?!\d)|AADB2C90081(?!\d)"
)
_INVALID_CLIENT = re.compile(r"(?<!\w)invalid_client(?!\w)", re.IGNORECASE | re.ASCII)
_NAMES_CREDENTIAL = re.compile(
    r"(invalid|incorrect|wrong|bad|unknown|expired|missing)\s(or\s\w+\s)?client\s(or\b|secret|credential|id\b|assertion|"
    r"authentication)|client\s(secret|credentials?|assertion|authentication)\s(is|was|has|failed|invalid|expired|not)|"
    r"client\s(is\s)?(not found|unknown|disabled)",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class TokenResponse:
    """The tokens of a response; the ID token is not verified."""

    access_token: str = field(repr=False)
    unverified_id_token: str = field(repr=False)


def build_token_request(
    metadata: ProviderMetadata, registration: Registration, *, code: str, code_verifier: str
) -> ProviderRequest:
    """Return the request that redeems the code, once.

    Args:
        code_verifier: proves that the sign-in began here (RFC 7636, section 4.5).
    """
    parameters = {"code": code, "code_verifier": code_verifier}
    method = registration.client_authentication
    if registration.client_assertion is not None:
        # RFC 7523, section 2.2; Entra requires client_id, too, and other providers accept it.
        parameters["client_assertion_type"] = CLIENT_ASSERTION_TYPE
        audience = metadata.issuer if registration.assertion_for_issuer else metadata.token_endpoint
        parameters["client_assertion"] = registration.client_assertion(audience)
        method = "none"
    form = f"{_fixed_parameters(registration.redirect_uri)}&{urlencode(parameters)}"
    headers = {"Accept": "application/json", "Content-Type": "application/x-www-form-urlencoded"}
    client_id, secret = registration.client_id, registration.client_secret() if registration.client_secret else None
    credentials = [text for text in (secret, parameters.get("client_assertion")) if text]
    if method == "client_secret_basic":
        # RFC 6749, section 2.3.1 requires both form-encoded before they become a user name and a password.
        client_id, secret = _form_encoded(client_id), _form_encoded(secret or "")
    client = ClientAuth(client_id, secret, method)
    url, headers, form = client.prepare("POST", metadata.token_endpoint, headers, form)
    if method == "client_secret_basic":
        credentials.append(headers["Authorization"].partition(" ")[2])  # the pair in base64, as a provider may echo it
    return ProviderRequest("POST", url, RESPONSE_LIMIT, headers, form, tuple(credentials), kind="token")


@lru_cache(maxsize=1024)  # one a provider
def _fixed_parameters(redirect_uri: str) -> str:
    return urlencode({"grant_type": "authorization_code", "redirect_uri": redirect_uri})


_form_encoded = lru_cache(maxsize=64)(quote_plus)  # of credentials


def check_token_response(answer: ProviderResponse) -> TokenResponse:
    """Return the tokens of a valid response (OpenID Connect Core, section 3.1.3.3).

    Raises:
        ProviderFailing: for a 5xx or 429.
        CodeRejected, ClientRejected, TokenRequestRefused: a refusal, in any form.
        TokenResponseInvalid: a member missing or of the wrong type.
        AnswerUnexpected, AnswerUnreadable: not the answer of a token endpoint.
    """
    if answer.status != 200:
        raise _judge(answer, read_refusal(answer))
    document = _read_tokens(answer)
    # token_type and access_token: RFC 6749, section 5.1; id_token: OpenID Connect Core, section 3.1.3.3.
    token_type = text_member(document, "token_type", TokenResponseInvalid)
    if token_type.lower() != "bearer":
        got = f"token_type: {short_text(token_type)}"
        raise TokenResponseInvalid(expected="token_type: Bearer", got=got)
    access_token = text_member(document, "access_token", TokenResponseInvalid)
    # The token goes into a header unchanged (RFC 6750, section 2.1): no character may end or split the header.
    if odd := _NOT_VISIBLE.search(access_token):
        raise TokenResponseInvalid(expected="access_token: visible ASCII", got=f"access_token: {character_at(odd)}")
    return TokenResponse(access_token, text_member(document, "id_token", TokenResponseInvalid))


def _read_tokens(answer: ProviderResponse) -> JsonObject:
    """Read a 200, which some providers use for an error, too."""
    try:
        document = read_json_object(answer.body)
    except AnswerUnreadable:
        said = read_refusal(answer)
        if said.code:
            raise _judge(answer, said) from None
        raise
    if document.get("error") or ("access_token" not in document and "id_token" not in document):
        said = read_refusal_members(document)
        if said.code or document.get("error"):
            raise _judge(answer, said)
    return document


def _judge(answer: ProviderResponse, said: Said) -> BrokerError:
    status, described = answer.status, describe_refusal(answer, said)
    if is_failing(answer):
        return ProviderFailing(expected=200, got=described, retry_after=answer.retry_after)
    if status != 200 and not 400 <= status < 500:
        return AnswerUnexpected(expected=200, got=described)
    return _judge_error(answer, said, said.words if said.code else described)


def _judge_error(answer: ProviderResponse, said: Said, got: str) -> BrokerError:
    code = re.sub(r"[\s_-]", "", said.code).lower()  # `InvalidClient` is `invalid_client`
    if _ABOUT_THE_CODE.search(code):
        return CodeRejected(expected="tokens", got=got)
    if _rejects_credential(answer.status, code, said.words):
        return ClientRejected(expected="tokens", got=got)
    if code in ("temporarilyunavailable", "servererror"):
        return ProviderFailing(expected="tokens", got=got, retry_after=answer.retry_after)
    if said.code or said.in_json:
        return TokenRequestRefused(expected="tokens", got=got)
    return AnswerUnexpected(expected="an OAuth error", got=got)


def _rejects_credential(status: int, code: str, words: str) -> bool:
    """Tell whether the credential is refused: by the error, by a 401, or by `unauthorized_client` as explained below.

    By RFC 6749, section 5.2, `invalid_client` comes with 400 or 401. Providers differ in the status and in the error.
    """
    if status == 401 or _ABOUT_THE_CREDENTIAL.search(code) or _ENTRA_CREDENTIAL.search(words):
        return True
    if code == "unauthorizedclient":
        # A 400 is mostly a grant type that is not allowed (RFC 6749, section 5.2). Keycloak and Glewlwyd say it of a
        # wrong secret, with 401, 403, or a 400 that names the credential.
        return status == 403 or _NAMES_CREDENTIAL.search(words) is not None
    return not code and _INVALID_CLIENT.search(words) is not None
