"""Whether the provider knows our client id, our redirect URI, and the address people come back to after signing out.

The checks ask as a browser would, without a session, and follow no redirect. A code they get is never redeemed.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from urllib.parse import parse_qsl, unquote, urlsplit

from broker.checks.documents import fetch
from broker.checks.finding import CheckFailed, Verdict, failed, ok, sentence, unknown, warning
from broker.errors import BrokerError, CallbackIssuer, ProviderRefused, ProviderReportedFailure
from broker.oidc.authorization import build_authorization_url, check_callback
from broker.oidc.client import NetworkPolicy
from broker.oidc.logout import build_end_session_url
from broker.oidc.messages import DOCUMENT_LIMIT, ProviderRequest, ProviderResponse, is_failing, safe_error_text
from broker.oidc.metadata import ProviderMetadata
from broker.providers import Provider
from broker.text import printable

# What a provider says when it would have had to show a page, or to ask the person: the request itself was fine.
_WANTS_A_PERSON = {
    "login_required", "interaction_required", "consent_required", "account_selection_required", "access_denied",
}  # fmt: skip
# What a provider says when no sign-in can begin like this (RFC 6749, section 4.1.2.1).
_NO_SIGN_IN = {"invalid_scope", "unauthorized_client", "unsupported_response_type"}
_MAY_PASS = {"temporarily_unavailable", "server_error"}

_NAMES_SCOPE = re.compile(r"(?<![a-z])scopes?(?![a-z])", re.IGNORECASE)
_NAMES_REDIRECT_URI = re.compile(r"redirect[_ ]ur[il]s?(?!_?\w|[\"']?\s*[=:]|%3d)", re.IGNORECASE)
_NAMES_REDIRECT_ERROR = re.compile(r"(invalid_redirect_uri|redirect_uri_mismatch|AADSTS50011)", re.IGNORECASE)
_NAMES_CLIENT_ERROR = re.compile(
    r"invalid_client|deleted_client|client[_ ]?(id )?not found|AADSTS700016", re.IGNORECASE
)
_NAMES_SCOPE_ERROR = re.compile(r"invalid[_ ]scopes?(?![a-z])", re.IGNORECASE)
_NAMES_SIGN_OUT_URI = re.compile(
    r"(log|sign)[_ -]?out[_ -](redirect[_ -])?ur[il]s?(?!_?\w|[\"']?\s*[=:]|%3d)", re.IGNORECASE
)
_WANTS_A_HINT = re.compile(r"id_token_hint(?!\w|[\"']?\s*[=:]|%3d)", re.IGNORECASE)


async def check_redirect_uri(
    provider: Provider, network: NetworkPolicy, metadata: ProviderMetadata
) -> tuple[bool | None, Verdict]:
    """Ask for an authorization that must not show a page: the answer comes to our redirect URI if it is registered.

    The answer also tells whether the provider knows our client id; None if it does not tell. Where the answer may be
    about `prompt=none` alone, the check asks again without it, as a sign-in does.

    Args:
        provider: with our registration.
        network: how far requests go.
        metadata: says where to ask.
    """
    try:
        answer = await _authorize(provider, network, metadata, {"prompt": "none"})
        again = await _authorize(provider, network, metadata, {}) if _is_odd(provider, answer) else None
    except BrokerError as error:
        return None, failed(f"No request can be made: {printable(error.expected)}.", error.remedy)
    except CheckFailed as trouble:
        return None, unknown(trouble.verdict.message, trouble.verdict.remedy)
    if again is not None:
        return _judge_second(provider, metadata, answer, again)
    if _comes_back(answer, provider.registration.redirect_uri):
        return True, _judge_return(provider, metadata, answer)
    return _judge_page(provider, answer)


async def check_sign_out_uri(
    provider: Provider, network: NetworkPolicy, end_session_endpoint: str
) -> tuple[None, Verdict]:
    """Ask to sign out without a session: a registered address gets the answer (RP-Initiated Logout, section 3).

    Args:
        provider: with our registration.
        network: how far requests go.
        end_session_endpoint: from the metadata.
    """
    ours = sign_out_uri(provider)
    url = build_end_session_url(
        end_session_endpoint,
        client_id=provider.registration.client_id,
        post_logout_redirect_uri=ours,
        state=secrets.token_urlsafe(16),
        id_token_hint="",
        logout_hint="",
    )
    by_eye = f"Compare by eye: {ours} has to stand at {provider.console_paths.sign_out_uri}."
    try:
        answer = await _get(provider, network, url)
    except CheckFailed as trouble:
        return None, unknown(f"Sign-out address {ours}: {trouble.verdict.message}", by_eye, optional=True)
    if _comes_back(answer, ours):
        return None, ok(f"After signing out, the provider comes back to {ours}.")
    text = _text_of(answer)
    code = provider.preset.parse_error_page(text)
    told = code or text
    names = _NAMES_SIGN_OUT_URI.search(told) or _NAMES_REDIRECT_URI.search(told) or _NAMES_REDIRECT_ERROR.search(told)
    refuses = code is not None or (answer.status >= 400 and not is_failing(answer))
    if refuses and names and not _WANTS_A_HINT.search(told):
        return None, failed(
            f"The sign-out address {ours} is not registered at the provider: signing out ends on its error page.",
            f"Add exactly this address at {provider.console_paths.sign_out_uri}.",
        )
    shows = "shows a page or leads elsewhere" if answer.status < 400 else "shows an error page"
    return None, unknown(
        f"Whether the sign-out address {ours} is registered is not known: the provider {shows} ({answer.status}).",
        by_eye,
        optional=True,
    )


def sign_out_uri(provider: Provider) -> str:
    """Return where a person comes back to after signing out at the provider."""
    return f"{provider.registration.redirect_uri.removesuffix(f'/callback/{provider.id}')}/logout"


async def _authorize(
    provider: Provider, network: NetworkPolicy, metadata: ProviderMetadata, hints: Mapping[str, str]
) -> ProviderResponse:
    url = build_authorization_url(
        metadata,
        provider.registration,
        state=secrets.token_urlsafe(16),
        nonce=secrets.token_urlsafe(16),
        code_verifier=secrets.token_urlsafe(32),
        hints=hints,
    )
    return await _get(provider, network, url)


async def _get(provider: Provider, network: NetworkPolicy, url: str) -> ProviderResponse:
    return await fetch(provider, network, ProviderRequest("GET", url, DOCUMENT_LIMIT, {"Accept": "text/html"}))


def _comes_back(answer: ProviderResponse, ours: str) -> bool:
    return answer.location is not None and re.split(r"[?#]", answer.location)[0] == ours


def _is_odd(provider: Provider, answer: ProviderResponse) -> bool:
    """Whether `prompt=none` may be what the provider does not like."""
    if not _comes_back(answer, provider.registration.redirect_uri):
        return is_failing(answer)
    error, said = _refusal_in(provider, answer)
    return bool(error) and error not in _WANTS_A_PERSON | _NO_SIGN_IN and not _NAMES_SCOPE.search(said)


def _refusal_in(provider: Provider, answer: ProviderResponse) -> tuple[str, str]:
    """Return the error the provider comes back with, and its words; both empty if there is none."""
    parts = urlsplit(answer.location or "")
    parameters = dict(parse_qsl(parts.query) + parse_qsl(parts.fragment))
    error = parameters.get("error", "")
    refusal = ProviderRefused(expected="a code", got=safe_error_text(error, parameters.get("error_description")))
    refusal.redact([secret()] if (secret := provider.registration.client_secret) else [])
    return error, str(refusal.got)


def _judge_issuer(provider: Provider, metadata: ProviderMetadata, answer: ProviderResponse) -> Verdict | None:
    """Say that a sign-in would refuse the answer because of `iss` (RFC 9207, section 2.4); None if it would not."""
    parameters = dict(parse_qsl(urlsplit(answer.location or "").query))
    issuers = provider.preset.callback_issuers(provider.registration, provider.rules)
    try:
        check_callback(parameters, metadata, issuers=issuers)
    except CallbackIssuer as error:
        judge = failed if parameters.get("iss") else warning  # some providers leave it out of errors alone
        message = f"The provider comes back to {provider.registration.redirect_uri}, but with {sentence(error.got)}"
        return judge(f"{message} A sign-in expects iss {printable(' or '.join(issuers))}.", error.remedy)
    except BrokerError:
        pass
    return None


def _judge_return(provider: Provider, metadata: ProviderMetadata, answer: ProviderResponse) -> Verdict:
    if (misnamed := _judge_issuer(provider, metadata, answer)) is not None:
        return misnamed
    error, said = _refusal_in(provider, answer)
    ours = provider.registration.redirect_uri
    names_scope = error == "invalid_scope" or (error != "" and _NAMES_SCOPE.search(said) is not None)
    if not error or (error in _WANTS_A_PERSON and not (error == "access_denied" and names_scope)):
        return ok(f"The provider comes back to {ours}.")
    scopes = f"Compare scopes with {provider.console_paths.scopes}." if names_scope else ""
    flow = "Allow the authorization code flow and our scopes there."
    passes = ProviderReportedFailure.remedy if error in _MAY_PASS else ""
    remedy = provider.preset.remedy(said) or scopes or passes or flow
    message = f"{ours} is registered, but the provider refuses the request: {sentence(said)}"
    return warning(message, remedy) if error in _MAY_PASS else failed(message, remedy)


def _judge_second(
    provider: Provider, metadata: ProviderMetadata, first: ProviderResponse, second: ProviderResponse
) -> tuple[bool | None, Verdict]:
    registration = provider.registration
    came_back = _comes_back(first, registration.redirect_uri)
    if _comes_back(second, registration.redirect_uri):
        return True, _judge_return(provider, metadata, second)
    if second.status >= 400 and not is_failing(second):
        return _judge_page(provider, second)
    if came_back and second.status < 400:
        return True, ok(f"The provider comes back to {registration.redirect_uri}. It refuses prompt=none alone.")
    failing = f"at prompt=none ({first.status})" if is_failing(first) else f"at a sign-in request ({second.status})"
    return (True if came_back else None), unknown(
        f"The provider fails {failing}, which tells nothing of the registration.",
        f"Compare by eye: {registration.redirect_uri} has to stand at {provider.console_paths.redirect_uri}.",
    )


def _text_of(answer: ProviderResponse) -> str:
    return f"{unquote(answer.location or '')}\n{answer.body.decode('utf-8', 'replace')}"


def _judge_page(provider: Provider, answer: ProviderResponse) -> tuple[bool | None, Verdict]:
    console_paths, registration = provider.console_paths, provider.registration
    text = _text_of(answer)
    code = provider.preset.parse_error_page(text)
    if code is None and answer.status < 400:
        return None, unknown(
            f"The provider shows a page or leads elsewhere (status {answer.status}), which tells nothing.",
            f"Compare by eye: {registration.redirect_uri} has to stand at {console_paths.redirect_uri}.",
        )
    told = code or text
    if _NAMES_CLIENT_ERROR.search(told):
        return False, failed(
            f"The provider does not know the client id {printable(registration.client_id)}.",
            f"Compare client_id with {console_paths.client_id}.",
        )
    if _NAMES_REDIRECT_ERROR.search(told) or _NAMES_REDIRECT_URI.search(told):
        return None, failed(
            f"{registration.redirect_uri} is not registered at the provider.",
            f"Add exactly this address at {console_paths.redirect_uri}.",
        )
    if code is not None and (remedy := provider.preset.remedy(code)) is not None:
        return None, failed(f"The provider shows an error page: {sentence(code)}", remedy)
    if _NAMES_SCOPE_ERROR.search(told):
        return None, failed(
            f"The provider refuses the scopes {' '.join(registration.scopes)} (status {answer.status}).",
            f"Compare scopes with {console_paths.scopes}.",
        )
    return None, unknown(
        f"The provider shows an error page (status {answer.status}) that does not say why.",
        f"Most often the redirect URI: {registration.redirect_uri} has to stand at {console_paths.redirect_uri}. "
        f"Compare client_id, too, with {console_paths.client_id}.",
    )
