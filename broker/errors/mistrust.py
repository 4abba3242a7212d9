"""Answers of the identity provider that must not be believed."""

from __future__ import annotations

from broker.errors.root import BrokerError


class InvalidProviderResponse(
    BrokerError,
    status=502,
    user_message="The answer of your organisation's sign-in service could not be verified.",
):
    """An answer that must not be believed: nothing in it was used."""


class AnswerUnreadable(
    InvalidProviderResponse,
    code="answer_unreadable",
    remedy="The provider's answer is no JSON object within bounds. A proxy may have answered in its place.",
):
    """Not a JSON object: broken, nested too deep, with repeated members, not UTF-8."""


class AnswerTooLarge(
    InvalidProviderResponse,
    code="answer_too_large",
    remedy="Have the provider, or a proxy between, send a smaller answer and no Content-Encoding.",
):
    """More bytes than the bound for this kind of message, or a content encoding we declined."""


class AnswerUnexpected(
    InvalidProviderResponse,
    code="answer_unexpected",
    remedy="The provider answered with a status or type this step does not know. Check the issuer and a proxy between.",
):
    """A redirect, an unknown status or another media type."""


class MetadataInvalid(
    InvalidProviderResponse,
    code="metadata_invalid",
    remedy="Open the provider's /.well-known/openid-configuration: the member named is missing or not usable.",
):
    """A member of the discovery document is missing, of the wrong type, or no usable URL."""


class MetadataIssuer(
    InvalidProviderResponse,
    code="metadata_issuer",
    remedy="Set issuer to exactly what the provider's discovery document says, slash by slash. If the document is not "
    "below that address, set metadata_url to the document's.",
):
    """The discovery document names another issuer (OpenID Connect Discovery, section 4.3)."""


class CallbackIssuer(
    InvalidProviderResponse,
    code="callback_issuer",
    status=400,
    remedy="The answer has to name the provider in iss. Give each provider its own redirect URI, and let no proxy drop "
    "parameters.",
):
    """`iss` at the callback is wrong, or missing although announced (RFC 9207, section 2.4)."""


class CodeMissing(
    InvalidProviderResponse,
    code="code_missing",
    status=400,
    remedy="The provider came back with neither code nor error. Allow the authorization code flow for the application.",
):
    """Neither `code` nor `error` at the callback."""


class ClientRejected(
    InvalidProviderResponse,
    code="client_rejected",
    user_message="Your organisation's sign-in service does not accept requests from here.",
    remedy="Client ID or credential is wrong or expired, or client_authentication is not what the provider expects.",
):
    """The token endpoint does not take our credentials (`invalid_client`; RFC 6749, section 5.2)."""


class TokenResponseInvalid(
    InvalidProviderResponse,
    code="token_response_invalid",
    remedy="The provider has to correct the member named. If it is id_token, openid must be in scopes, and granted.",
):
    """The token response is not as OpenID Connect Core, section 3.1.3.3 demands."""


class TokenRequestRefused(
    InvalidProviderResponse,
    code="token_request_refused",
    user_message="Your organisation's sign-in service does not accept requests from here.",
    remedy="The token endpoint refused the request: got says why. Check grant types, redirect URI and client secret.",
):
    """Any other error of the token endpoint (RFC 6749, section 5.2)."""


class KeysInvalid(
    InvalidProviderResponse,
    code="keys_invalid",
    remedy="The provider has to publish a signing key at its jwks_uri: RSA of 2048 bits or more, or EC.",
):
    """No usable key in the provider's JWK Set (RFC 7517, section 5)."""


class IdTokenMalformed(
    InvalidProviderResponse,
    code="id_token_malformed",
    remedy="The provider has to correct what got names. Switch encryption of ID tokens off: it is not supported.",
):
    """Not a signed, compact JWT with a header we accept (RFC 7515; RFC 8725, section 3)."""


class IdTokenAlgorithm(
    InvalidProviderResponse,
    code="id_token_algorithm",
    remedy="Change the client's ID token algorithm at the provider to RS256. Unsigned ID tokens are never accepted.",
):
    """`alg` is not one of the configured algorithms (RFC 8725, section 3.1)."""


class IdTokenKeyUnknown(
    InvalidProviderResponse,
    code="id_token_key_unknown",
    remedy="No key of the provider fits the token. If it lasts, the provider's jwks_uri is out of date.",
):
    """No published key fits `kid` and `alg`."""


class IdTokenSignature(
    InvalidProviderResponse,
    code="id_token_signature",
    remedy="The signature is wrong: someone altered the token, or the provider publishes the wrong keys.",
):
    """The signature does not verify."""


class IdTokenIssuer(
    InvalidProviderResponse,
    code="id_token_issuer",
    remedy="The token is of another issuer than the one configured. Compare issuer, tenant and authorization server.",
):
    """`iss` is not the configured issuer (OpenID Connect Core, section 3.1.3.7, 2)."""


class IdTokenAudience(
    InvalidProviderResponse,
    code="id_token_audience",
    remedy="The token was made for another client. Compare client_id with the application at the provider.",
):
    """`aud` or `azp` is not us alone (OpenID Connect Core, section 3.1.3.7, 3 to 5)."""


class IdTokenTime(
    InvalidProviderResponse,
    code="id_token_time",
    remedy="The token is expired or not yet valid. Compare the clocks of this machine and of the provider.",
):
    """`exp`, `iat` or `nbf` missing, of the wrong type, or outside the leeway."""


class IdTokenNonce(
    InvalidProviderResponse,
    code="id_token_nonce",
    remedy="The token does not belong to this sign-in. If it lasts, the provider drops nonce.",
):
    """`nonce` missing or of another sign-in (OpenID Connect Core, section 3.1.3.7, 11)."""


class IdTokenSubject(
    InvalidProviderResponse,
    code="id_token_subject",
    remedy="The provider has to send a usable sub in the ID token: a short, stable identifier in ASCII.",
):
    """`sub` missing, empty, or longer than 255 ASCII characters (OpenID Connect Core, section 2)."""


class IdTokenAccessTokenHash(
    InvalidProviderResponse,
    code="id_token_access_token_hash",
    remedy="The access token was exchanged on the way; the provider or a proxy is at fault.",
):
    """`at_hash` does not fit the access token (OpenID Connect Core, section 3.1.3.8)."""


class IdTokenAuthTime(
    InvalidProviderResponse,
    code="id_token_auth_time",
    remedy="The provider did not ask for a fresh sign-in although max_age demands it. Raise or remove max_age.",
):
    """`auth_time` missing or too old under `max_age` (OpenID Connect Core, section 3.1.3.7, 13)."""


class UserinfoInvalid(
    InvalidProviderResponse,
    code="userinfo_invalid",
    remedy="The userinfo endpoint has to answer with a JSON object: switch signed userinfo off. If the ID token has "
    "e-mail and name, set userinfo: never.",
):
    """The userinfo response is not as OpenID Connect Core, section 5.3.2 demands."""


class UserinfoSubject(
    InvalidProviderResponse,
    code="userinfo_subject",
    remedy="Userinfo speaks of another person than the ID token: the provider has to name the same sub in both. If the "
    "ID token has everything, set userinfo: never.",
):
    """`sub` of userinfo missing or not the ID token's (OpenID Connect Core, section 5.3.2)."""


class EmailContradicts(
    InvalidProviderResponse,
    code="email_contradicts",
    user_message="Your organisation's sign-in service names two different e-mail addresses for you.",
    remedy="ID token and userinfo name different addresses. Set userinfo: never, or correct the claim mapping there.",
):
    """ID token and userinfo name different e-mail addresses."""
