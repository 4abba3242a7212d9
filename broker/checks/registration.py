"""Check the client's registration at the provider: redirect URI, sign-out address, client ID and credential.

The authorization and end-session requests are those of a browser without a session; redirects are not followed, and a
code is never redeemed. The token request has an invalid code. If the provider refuses the code, a control request with
an invented client ID shows whether the provider looked at the client at all.
"""

from __future__ import annotations

import asyncio
import json
import re
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Literal
from urllib.parse import parse_qsl, unquote, urlsplit

from broker.checks.finding import CHECK_SECONDS, TEST_SIGN_IN, Finding, Topic, sentence
from broker.checks.provider import OTHER_METHOD_REMEDY, describe_other_method, topic_of
from broker.checks.reach import no_answer, page_request
from broker.errors import (
    BrokerError,
    CallbackIssuer,
    ClientRejected,
    CodeRejected,
    ProviderReportedFailure,
    ProviderUnavailable,
    TokenRequestRefused,
    TokenResponseInvalid,
)
from broker.log import EXPIRY_WARNING_DAYS
from broker.logout import build_end_session_url
from broker.oidc.authorization import INTERACTION_ERRORS, TEMPORARY_ERRORS, build_authorization_url, check_callback
from broker.oidc.messages import ProviderRequest, ProviderResponse, is_failing, safe_error_text
from broker.oidc.metadata import ProviderMetadata
from broker.oidc.registration import Registration
from broker.oidc.tokens import build_token_request, check_token_response
from broker.providers import Provider
from broker.signing import encode_base64url
from broker.text import printable, redact

_CONTROL_ENDS = CHECK_SECONDS - 0.5  # seconds after the check began: a slow control request must not fail the check

# Errors that every sign-in would meet (RFC 6749, sections 4.1.2.1 and 5.2).
_NO_AUTHORIZATION = ("invalid_scope", "unauthorized_client", "unsupported_response_type")
_NO_TOKENS = ("unauthorized_client", "unsupported_grant_type", "invalid_scope")

_NO_VALUE = r"(?!\w|[\"']?\s*[=:]|%3d)"  # a parameter with a value is the request, which error pages repeat
_NAMES_SCOPE = re.compile(r"(?<![a-z])scopes?(?![a-z])", re.IGNORECASE)
_NAMES_SCOPE_ERROR = re.compile(r"invalid[_ ]scopes?(?![a-z])", re.IGNORECASE)
_NAMES_REDIRECT_URI = re.compile(
    rf"redirect[_ ]ur[il]s?{_NO_VALUE}|invalid_redirect_uri|redirect_uri_mismatch|AADSTS50011", re.IGNORECASE
)
_NAMES_SIGN_OUT_URI = re.compile(rf"(log|sign)[_ -]?out[_ -](redirect[_ -])?ur[il]s?{_NO_VALUE}", re.IGNORECASE)
_WANTS_A_HINT = re.compile(rf"id_token_hint{_NO_VALUE}", re.IGNORECASE)
_NAMES_CLIENT_ERROR = re.compile(
    r"invalid_client|deleted_client|client[_ ]?(id )?not found|AADSTS700016", re.IGNORECASE
)
# Words in token errors other than `invalid_grant` and `invalid_client`.
_NAMES_CODE = re.compile(
    r"invalid_(code|grant)|code_(challenge|verifier)|verification_code|authorization code", re.IGNORECASE
)
_NAMES_CLIENT = re.compile(r"client|AADSTS700016", re.IGNORECASE)
_CREDENTIALS: Mapping[str, str] = {
    "none": "Client ID",
    "private_key_jwt": "Client ID and key",
    "federated_credential": "Client ID and federated credential",
}


async def check_redirect_uri(provider: Provider, metadata: ProviderMetadata) -> tuple[bool | None, Finding]:
    """Send an authorization request with `prompt=none`: a registered redirect URI gets the answer.

    If the answer may be about `prompt=none` only, the check sends the request again without it, as a sign-in does.
    The first value says whether the provider knows the client ID; None if the provider does not tell.
    """
    topic = topic_of(provider, "redirect_uri")
    try:
        first_url = _authorization_url(provider, metadata, {"prompt": "none"})
        second_url = _authorization_url(provider, metadata, {})
    except BrokerError as error:
        return None, topic.failed(f"No request can be made: {printable(error.expected)}.", error.remedy)
    try:
        async with asyncio.timeout(CHECK_SECONDS):
            first, second = await provider.send(page_request(first_url)), None
            if _may_be_about_prompt(provider, first):
                second = await provider.send(page_request(second_url))
    except BrokerError as error:
        return None, replace(no_answer(topic, first_url, error), status="unknown", setting="")
    except TimeoutError:
        return None, topic.unknown(f"No answer within {CHECK_SECONDS:.0f} seconds.")
    return _evaluate_authorization(provider, metadata, first, second)


async def check_sign_out_uri(provider: Provider, end_session_endpoint: str) -> Finding:
    """Ask to sign out without a session: a registered address gets the answer (RP-Initiated Logout, section 3)."""
    topic, console_paths = topic_of(provider, "redirect_uri"), provider.console_paths
    address = f"{provider.registration.redirect_uri.removesuffix(f'/callback/{provider.id}')}/logout"
    by_eye = f"Make sure that {address} is registered at {console_paths.sign_out_uri}."
    url = build_end_session_url(
        end_session_endpoint,
        client_id=provider.registration.client_id,
        post_logout_redirect_uri=address,
        state=secrets.token_urlsafe(16),
        id_token_hint="",
        logout_hint="",
    )
    try:
        answer = await provider.send(page_request(url))
    except BrokerError as error:
        message = no_answer(topic, url, error).message
        return topic.unknown(f"Sign-out: {address} cannot be checked. {message}", by_eye, optional=True)
    if _comes_back(answer, address):
        return topic.ok(f"Sign-out: the provider comes back to {address}.")
    code, text = _read_page(provider, answer)
    told = code or text
    names = (_NAMES_SIGN_OUT_URI.search(told) or _NAMES_REDIRECT_URI.search(told)) and not _WANTS_A_HINT.search(told)
    if names and (code is not None or (answer.status >= 400 and not is_failing(answer))):
        return topic.failed(
            f"Sign-out: {address} is not registered at the provider, so that signing out ends on its error page.",
            f"Add exactly this address at {console_paths.sign_out_uri}.",
        )
    shows = "shows a page or leads elsewhere" if answer.status < 400 else "shows an error page"
    return topic.unknown(
        f"Sign-out: whether {address} is registered is not known: the provider {shows} ({answer.status}).",
        by_eye,
        optional=True,
    )


async def check_client_authentication(
    provider: Provider,
    metadata: ProviderMetadata,
    announced: list[str],
    *,
    knows_client_id: bool | None = None,
) -> Finding:
    """Send a token request with an invalid code, and a control request if the provider refuses the code.

    The credential is accepted if the provider refuses the code, but refuses the invented client as a client.

    Args:
        metadata: of the right issuer: the request has the credential.
        announced: the methods of client authentication in the discovery document; empty if it names none.
        knows_client_id: what the authorization endpoint told: a token endpoint refuses a wrong ID and a wrong secret
            with the same error (RFC 6749, section 5.2).

    Raises:
        BrokerError: no answer came to the first request.
    """
    topic = topic_of(provider, "client_authentication")
    began = asyncio.get_running_loop().time()
    try:
        request = _token_request(provider.registration, metadata)
    except BrokerError as error:
        return topic.failed(f"The token request cannot be made: {sentence(error.got)}", error.remedy)
    except ValueError:
        return topic.failed("The token request cannot be made: the credential is unusable.", "Check the credential.")
    refusal = await _refusal_of(provider, request)
    if _refused_part(refusal) != "code":
        return _evaluate_refusal(provider, topic, refusal, announced, knows_client_id)
    request = _token_request(_invented(provider.registration), metadata)
    try:
        async with asyncio.timeout_at(began + _CONTROL_ENDS):
            control = await _refusal_of(provider, request)
    except (BrokerError, TimeoutError):
        return topic.unknown("The provider refuses the invalid code, but does not answer an invented client ID.")
    return _evaluate_control(provider, topic, control)


def check_expiry(provider: Provider, expires: date | None, *, clock: Callable[[], float]) -> Finding:
    """Compare the day on which the client secret expires with today.

    Args:
        expires: as set by the admin; None if not set.
        clock: seconds since the epoch.
    """
    topic = topic_of(provider, "client_secret_expiry")
    if provider.registration.client_secret is None:
        return topic.ok("No client secret is used.")
    where = provider.console_paths.client_secret
    if expires is None and not provider.kind.client_secrets_expire:
        return topic.ok("Client secrets of this kind of provider do not expire.")
    if expires is None:
        return topic.unknown(
            "client_secret_expires is not set, so there is no warning before the client secret expires.",
            f"If the secret expires, set client_secret_expires to the day that the provider shows at {where}.",
        )
    days = (expires - datetime.fromtimestamp(clock(), UTC).date()).days
    remedy = f"Make a new one at {where}, put it into the secret file, and set client_secret_expires to its day."
    if days <= 0:
        return topic.failed(f"The client secret expired on {expires.isoformat()}.", remedy)
    if days <= EXPIRY_WARNING_DAYS:
        return topic.warning(f"The client secret expires on {expires.isoformat()}, in {days} days.", remedy)
    return topic.ok(f"The client secret is valid until {expires.isoformat()}, for {days} more days.")


# -------------------- the answers to a browser


def _authorization_url(provider: Provider, metadata: ProviderMetadata, hints: Mapping[str, str]) -> str:
    return build_authorization_url(
        metadata,
        provider.registration,
        state=secrets.token_urlsafe(16),
        nonce=secrets.token_urlsafe(16),
        code_verifier=secrets.token_urlsafe(32),
        hints=hints,
    )


def _comes_back(answer: ProviderResponse, address: str) -> bool:
    return answer.location is not None and re.split(r"[?#]", answer.location)[0] == address


def _compare_by_eye(provider: Provider) -> str:
    return (
        f"Make sure that {provider.registration.redirect_uri} is registered at {provider.console_paths.redirect_uri}."
    )


def _may_be_about_prompt(provider: Provider, answer: ProviderResponse) -> bool:
    """Return whether the provider may refuse `prompt=none` and nothing else."""
    if not _comes_back(answer, provider.registration.redirect_uri):
        return is_failing(answer)
    error, said = _error_in(provider, answer)
    return bool(error) and error not in (*INTERACTION_ERRORS, *_NO_AUTHORIZATION) and not _NAMES_SCOPE.search(said)


def _error_in(provider: Provider, answer: ProviderResponse) -> tuple[str, str]:
    """Return the error in a redirect to the redirect URI, and its words; both empty if there is none."""
    parts = urlsplit(answer.location or "")
    parameters = dict(parse_qsl(parts.query) + parse_qsl(parts.fragment))
    error, secret = parameters.get("error", ""), provider.registration.client_secret
    said = safe_error_text(error, parameters.get("error_description"))
    return error, redact(said, [secret()] if secret else [])


def _evaluate_authorization(
    provider: Provider, metadata: ProviderMetadata, first: ProviderResponse, second: ProviderResponse | None
) -> tuple[bool | None, Finding]:
    topic, redirect_uri = topic_of(provider, "redirect_uri"), provider.registration.redirect_uri
    answer = second or first
    if _comes_back(answer, redirect_uri):
        return True, _evaluate_return(provider, metadata, answer)
    if second is None or (second.status >= 400 and not is_failing(second)):
        return _evaluate_page(provider, answer)
    came_back = _comes_back(first, redirect_uri)
    if came_back and second.status < 400:
        return True, topic.ok(f"The provider comes back to {redirect_uri}. It refuses prompt=none only.")
    failing = f"at prompt=none ({first.status})" if is_failing(first) else f"at a sign-in request ({second.status})"
    return (True if came_back else None), topic.unknown(
        f"The provider fails {failing}, which tells nothing about the registration.", _compare_by_eye(provider)
    )


def _check_iss(provider: Provider, metadata: ProviderMetadata, answer: ProviderResponse) -> Finding | None:
    """Return a finding if a sign-in would refuse `iss` (RFC 9207, section 2.4)."""
    topic = topic_of(provider, "redirect_uri")
    parameters = dict(parse_qsl(urlsplit(answer.location or "").query))
    issuers = provider.kind.callback_issuers(provider.registration, provider.rules)
    try:
        check_callback(parameters, metadata, issuers=issuers)
    except CallbackIssuer as error:
        finding = topic.failed if parameters.get("iss") else topic.warning  # some providers omit it in errors only
        message = f"The provider comes back to {provider.registration.redirect_uri}, but with {sentence(error.got)}"
        return finding(f"{message} A sign-in expects iss {printable(' or '.join(issuers))}.", error.remedy)
    except BrokerError:
        pass
    return None


def _evaluate_return(provider: Provider, metadata: ProviderMetadata, answer: ProviderResponse) -> Finding:
    if (finding := _check_iss(provider, metadata, answer)) is not None:
        return finding
    topic, redirect_uri = topic_of(provider, "redirect_uri"), provider.registration.redirect_uri
    error, said = _error_in(provider, answer)
    if not error or error in INTERACTION_ERRORS:  # the request is fine, but the provider would have to show a page
        return topic.ok(f"The provider comes back to {redirect_uri}.")
    message = f"{redirect_uri} is registered, but the provider refuses the request: {sentence(said)}"
    remedy = provider.kind.remedy(said)
    if error in TEMPORARY_ERRORS:
        return topic.warning(message, remedy or ProviderReportedFailure.remedy)
    if _NAMES_SCOPE.search(said):
        return topic.failed(message, remedy or f"Compare scopes with {provider.console_paths.scopes}.")
    if error == "access_denied":  # without asking a person: the reason may be this machine's address
        return topic.unknown(message, f"{remedy} {TEST_SIGN_IN}" if remedy else TEST_SIGN_IN)
    return topic.failed(message, remedy or "Allow the authorization code flow and the broker's scopes there.")


def _read_page(provider: Provider, answer: ProviderResponse) -> tuple[str | None, str]:
    """Return the code of a known error page, or None, and the text of the page and of the address it leads to."""
    text = f"{unquote(answer.location or '')}\n{answer.body.decode('utf-8', 'replace')}"
    return provider.kind.parse_error_page(text), text


def _evaluate_page(provider: Provider, answer: ProviderResponse) -> tuple[bool | None, Finding]:
    topic, console_paths = topic_of(provider, "redirect_uri"), provider.console_paths
    registration = provider.registration
    code, text = _read_page(provider, answer)
    if code is None and answer.status < 400:
        return None, topic.unknown(
            f"The provider shows a page or leads elsewhere (status {answer.status}), which tells nothing.",
            _compare_by_eye(provider),
        )
    told = code or text
    if _NAMES_CLIENT_ERROR.search(told):
        return False, topic.failed(
            f"The provider does not know the client ID {printable(registration.client_id)}.",
            f"Compare client_id with {console_paths.client_id}.",
        )
    if _NAMES_REDIRECT_URI.search(told):
        return None, topic.failed(
            f"{registration.redirect_uri} is not registered at the provider.",
            f"Add exactly this address at {console_paths.redirect_uri}.",
        )
    if code is not None and (remedy := provider.kind.remedy(code)) is not None:
        return None, topic.failed(f"The provider shows an error page: {sentence(code)}", remedy)
    if _NAMES_SCOPE_ERROR.search(told):
        return None, topic.failed(
            f"The provider refuses the scopes {' '.join(registration.scopes)} (status {answer.status}).",
            f"Compare scopes with {console_paths.scopes}.",
        )
    return None, topic.unknown(
        f"The provider shows an error page (status {answer.status}) that does not say why.",
        f"Make sure that {registration.redirect_uri} is registered at {console_paths.redirect_uri}. "
        f"Compare client_id with {console_paths.client_id}, too.",
    )


# -------------------- the answers to an invalid code


def _token_request(registration: Registration, metadata: ProviderMetadata) -> ProviderRequest:
    code, verifier = f"broker-check-{secrets.token_hex(8)}", secrets.token_urlsafe(32)
    return build_token_request(metadata, registration, code=code, code_verifier=verifier)


async def _refusal_of(provider: Provider, request: ProviderRequest) -> BrokerError | None:
    """Send a token request; return the error of a sign-in with the answer, without credentials; None for tokens."""
    answer = await provider.send(request)
    try:
        check_token_response(answer)
    except BrokerError as error:
        error.redact(request.secrets)  # a provider may repeat what it was sent, as it was encoded on the way
        return error
    return None


def _refused_part(refusal: BrokerError | None) -> Literal["code", "client"] | None:
    """Return which part of the request the provider refused; None if the error does not tell."""
    match refusal:
        case CodeRejected():
            return "code"
        case ClientRejected():
            return "client"
        case TokenRequestRefused():
            said = str(refusal.got)
            if _NAMES_CODE.search(said) and not said.startswith(_NO_TOKENS):
                return "code"
            return "client" if _NAMES_CLIENT.search(said) else None
    return None


def _invented(registration: Registration) -> Registration:
    """Return a registration that no provider has, with a random credential of the same kind."""
    client_id = f"broker-check-{secrets.token_hex(8)}"
    secret, assertion = secrets.token_urlsafe(32), _unverifiable_assertion(client_id)
    return replace(
        registration,
        client_id=client_id,
        client_secret=(lambda: secret) if registration.client_secret else None,
        client_assertion=(lambda _audience: assertion) if registration.client_assertion else None,
    )


def _unverifiable_assertion(client_id: str) -> str:
    now = int(time.time())
    claims = {"iss": client_id, "sub": client_id, "jti": secrets.token_urlsafe(16), "iat": now, "exp": now + 60}
    parts = (json.dumps(part).encode() for part in ({"alg": "RS256", "typ": "JWT"}, claims))
    return ".".join(map(encode_base64url, (*parts, secrets.token_bytes(256))))


def _evaluate_control(provider: Provider, topic: Topic, control: BrokerError | None) -> Finding:
    refused = _refused_part(control)
    if refused == "client":
        what = _CREDENTIALS.get(provider.registration.client_authentication, "Client ID and secret")
        return topic.ok(f"{what} accepted (tested with an invalid code).")
    if refused == "code":
        return topic.unknown(
            "This provider looks at the code first, so only a test sign-in tells whether it accepts the broker."
        )
    said = "tokens." if control is None else sentence(control.got)
    return topic.unknown(
        f"The provider refuses the invalid code, but its answer to an invented client ID does not tell: {said}"
    )


def _evaluate_refusal(
    provider: Provider, topic: Topic, refusal: BrokerError | None, announced: list[str], knows_client_id: bool | None
) -> Finding:
    if refusal is None:
        return topic.failed("The token endpoint gives tokens for an invalid code.", "Do not use this provider.")
    said = sentence(refusal.got)
    remedy = provider.kind.remedy(str(refusal.got))
    match refusal:
        case ClientRejected():
            message = f"The token endpoint refuses the client: {said}"
            if other := describe_other_method(provider, announced):
                message, remedy = f"{message} It {other}", OTHER_METHOD_REMEDY
            return topic.failed(message, remedy or _compare_client(provider, knows_client_id))
        case TokenRequestRefused() if remedy is not None or said.startswith(_NO_TOKENS):
            return topic.failed(f"The token endpoint refuses the client: {said}", remedy or refusal.remedy)
        case TokenRequestRefused():
            return topic.unknown(f"The token endpoint refuses an invalid code with an unusual error: {said}")
        case TokenResponseInvalid():
            return topic.unknown(f"The token endpoint answers an invalid code with neither tokens nor an error: {said}")
    remedy = refusal.remedy if isinstance(refusal, ProviderUnavailable) else f"{refusal.remedy} {TEST_SIGN_IN}"
    return topic.unknown(f"The token endpoint does not tell: {said}", remedy)


def _compare_client(provider: Provider, knows_client_id: bool | None) -> str:
    console_paths = provider.console_paths
    if knows_client_id is False:
        return f"The provider does not know the client ID: compare it with {console_paths.client_id}."
    which, places = "Client ID or", [console_paths.client_id, console_paths.client_secret]
    if knows_client_id:
        which, places = "The provider knows the client ID, so the", [console_paths.client_secret]
    method = provider.registration.client_authentication
    return (
        f"{which} credential is wrong or expired, or client_authentication ({method}) is not what the provider "
        f"expects. Compare with {', and '.join(dict.fromkeys(places))}."
    )
