"""Our registration at a provider: are we known, is the credential right, is the redirect URI registered?

Each question is asked as a sign-in would ask it, without a person: with a code nobody issued, and with a request that
must not show a page. It owns how the answers are read. A code we got is never redeemed, and no redirect is followed.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime
from urllib.parse import parse_qsl, unquote, urlsplit

from broker.doctor.documents import announces, fetch
from broker.doctor.finding import Trouble, Verdict, failed, ok, plain, sentence, unknown, warning
from broker.errors import BrokerError, ClientRejected, CodeRejected, ProviderRefused, TokenRequestRefused
from broker.oidc.authorization import build_authorization_url
from broker.oidc.client import Reach
from broker.oidc.messages import DOCUMENT_LIMIT, Answer, ProviderRequest, provider_text
from broker.oidc.metadata import ProviderMetadata
from broker.oidc.tokens import build_token_request, check_token_response
from broker.providers import Provider

EXPIRY_WARNING_DAYS = 30

# What a provider says when it would have had to show a page, or to ask the person: the request itself was fine.
_WANTS_A_PERSON = {
    "login_required", "interaction_required", "consent_required", "account_selection_required", "access_denied",
}  # fmt: skip
# What a provider says when no sign-in can begin like this (RFC 6749, section 4.1.2.1).
_NO_SIGN_IN = {"invalid_scope", "unauthorized_client", "unsupported_response_type"}

_NAMES_REDIRECT_URI = re.compile(r"redirect[_ ]ur[il]s?(?!_?\w|[\"']?\s*[=:]|%3d)", re.IGNORECASE)
_NAMES_REDIRECT_ERROR = re.compile(r"(invalid_redirect_uri|redirect_uri_mismatch|AADSTS50011)", re.IGNORECASE)
_NAMES_CLIENT_ERROR = re.compile(
    r"invalid_client|deleted_client|client[_ ]?(id )?not found|AADSTS700016", re.IGNORECASE
)


async def check_client_authentication(
    provider: Provider,
    reach: Reach,
    metadata: ProviderMetadata,
    announced: list[str],
    *,
    knows_client_id: bool | None = None,
) -> tuple[None, Verdict]:
    """Ask for tokens with a code nobody issued: a provider that refuses the code has accepted us.

    Args:
        provider: with our registration and credential.
        reach: how far requests go.
        metadata: of the right issuer, or the credential must not go there.
        announced: the ways of client authentication its document names; none if it is silent.
        knows_client_id: what the authorization endpoint told: a token endpoint refuses a wrong id and a wrong secret
            alike (RFC 6749, section 5.2).
    """
    try:
        request = build_token_request(
            metadata,
            provider.registration,
            code=f"broker-check-{secrets.token_hex(8)}",
            code_verifier=secrets.token_urlsafe(32),
        )
    except (BrokerError, ValueError) as error:
        return None, failed(f"The token request cannot be made ({type(error).__name__}).", "Check the credential.")
    answer = await fetch(provider, reach, request)
    return None, _judge_refusal(provider, answer, request.secrets, announced, knows_client_id)


async def check_redirect_uri(
    provider: Provider, reach: Reach, metadata: ProviderMetadata
) -> tuple[bool | None, Verdict]:
    """Ask for an authorization that must not show a page: the answer comes to our redirect URI if it is registered.

    Besides, the answer tells whether the provider knows our client id; None: it does not tell.

    Args:
        provider: with our registration.
        reach: how far requests go.
        metadata: says where to ask.
    """
    try:
        url = build_authorization_url(
            metadata,
            provider.registration,
            state=secrets.token_urlsafe(16),
            nonce=secrets.token_urlsafe(16),
            code_verifier=secrets.token_urlsafe(32),
            hints={"prompt": "none"},
        )
    except BrokerError as error:
        return None, failed(f"No request can be made: {plain(error.expected)}.", error.remedy)
    try:
        answer = await fetch(provider, reach, ProviderRequest("GET", url, DOCUMENT_LIMIT, {"Accept": "text/html"}))
    except Trouble as trouble:
        return None, unknown(trouble.verdict.message, trouble.verdict.remedy)
    ours = provider.registration.redirect_uri
    if answer.location is not None and re.split(r"[?#]", answer.location)[0] == ours:
        return True, _judge_return(provider, answer.location)
    return _judge_page(provider, answer)


def check_expiry(provider: Provider, expires: date | None, *, clock: Callable[[], float]) -> Verdict:
    """Say how long the client secret is valid, by the admin's word.

    Args:
        provider: with our registration.
        expires: the day, if the admin gave one.
        clock: seconds since the epoch.
    """
    if provider.registration.client_secret is None:
        return ok("No client secret is used.")
    where = provider.preset.menus.client_secret
    if expires is None and not provider.preset.client_secrets_expire:
        return ok("This kind of provider has client secrets that do not expire by themselves.")
    if expires is None:
        return unknown(
            "client_secret_expires is not set, so nobody is warned before the client secret expires.",
            f"If it does expire, set the day: it stands at {where}.",
        )
    days = (expires - datetime.fromtimestamp(clock(), UTC).date()).days
    remedy = f"Make a new one at {where}, put it into the secret file, and set client_secret_expires to its day."
    if days <= 0:
        return failed(f"The client secret expired on {expires.isoformat()}.", remedy)
    if days <= EXPIRY_WARNING_DAYS:
        return warning(f"The client secret expires on {expires.isoformat()}, in {days} days.", remedy)
    return ok(f"The client secret is valid until {expires.isoformat()}, for {days} more days.")


def _judge_refusal(
    provider: Provider, answer: Answer, credentials: Sequence[str], announced: list[str], knows_client_id: bool | None
) -> Verdict:
    try:
        check_token_response(answer)
    except BrokerError as error:
        error.leave_out(credentials)  # a provider may repeat what it was sent, as it was encoded on the way
        refusal, said = error, str(error.got)
    else:
        return failed("The token endpoint gives tokens for a code nobody issued.", "Do not use this provider.")
    if isinstance(refusal, CodeRejected):
        return ok("The provider refuses the made-up code and not us: client id and credential are accepted.")
    if isinstance(refusal, ClientRejected):
        return _rejected(provider, said, announced, knows_client_id)
    if isinstance(refusal, TokenRequestRefused):
        # Keycloak says unauthorized_client where the secret is wrong; by RFC 6749, 5.2 there is no sign-in either way.
        if said.startswith("unauthorized_client") or provider.preset.remedy(said) is not None:
            return _rejected(provider, said, announced, knows_client_id)
        return unknown(f"The token endpoint says something else about a made-up code: {sentence(said)}")
    return unknown(f"The token endpoint does not tell: {sentence(said)}", refusal.remedy)


def _rejected(provider: Provider, said: str, announced: list[str], knows_client_id: bool | None) -> Verdict:
    menus = provider.preset.menus
    method = provider.registration.client_authentication
    message = f"The token endpoint does not accept us: {sentence(said)}"
    if announced and not announces(announced, method):
        return failed(
            f"{message} It announces client authentication by {plain(', '.join(announced))}, but client_authentication "
            f"is {method}.",
            "Set client_authentication to one of those, as the client is registered there.",
        )
    if (remedy := provider.preset.remedy(said)) is not None:
        return failed(message, remedy)
    if knows_client_id is False:
        return failed(message, f"The provider does not know the client id: compare it with {menus.client_id}.")
    which = "The provider knows the client id, so the" if knows_client_id else "Client id or"
    compare = menus.client_secret if knows_client_id else f"{menus.client_id}, and {menus.client_secret}"
    return failed(
        message,
        f"{which} credential is wrong or expired, or client_authentication ({method}) is not what the provider "
        f"expects. Compare with {compare}.",
    )


def _judge_return(provider: Provider, location: str) -> Verdict:
    parts = urlsplit(location)
    answer = dict(parse_qsl(parts.query) + parse_qsl(parts.fragment))
    error = answer.get("error", "")
    ours = provider.registration.redirect_uri
    if not error or error in _WANTS_A_PERSON:
        return ok(f"The provider comes back to {ours}.")
    refusal = ProviderRefused(expected="a code", got=provider_text(error, answer.get("error_description")))
    refusal.leave_out([secret()] if (secret := provider.registration.client_secret) else [])
    said = str(refusal.got)
    scopes = f"Compare scopes with {provider.preset.menus.scopes}." if error == "invalid_scope" else ""
    remedy = provider.preset.remedy(said) or scopes or "Allow the authorization code flow and our scopes there."
    message = f"{ours} is registered, but the provider refuses the request: {sentence(said)}"
    return failed(message, remedy) if error in _NO_SIGN_IN else warning(message, remedy)


def _judge_page(provider: Provider, answer: Answer) -> tuple[bool | None, Verdict]:
    menus, registration = provider.preset.menus, provider.registration
    text = f"{unquote(answer.location or '')}\n{answer.body.decode('utf-8', 'replace')}"
    code = provider.preset.read_page(text)
    if code is None and answer.status < 400:
        return None, unknown(
            f"The provider shows a page or leads elsewhere (status {answer.status}), which tells nothing.",
            f"Compare by eye: {registration.redirect_uri} has to stand at {menus.redirect_uri}.",
        )
    told = code or text
    if _NAMES_CLIENT_ERROR.search(told):
        return False, failed(
            f"The provider does not know the client id {plain(registration.client_id)}.",
            f"Compare client_id with {menus.client_id}.",
        )
    if _NAMES_REDIRECT_ERROR.search(told) or _NAMES_REDIRECT_URI.search(told):
        return None, failed(
            f"{registration.redirect_uri} is not registered at the provider.",
            f"Add exactly this address at {menus.redirect_uri}.",
        )
    if code is not None and (remedy := provider.preset.remedy(code)) is not None:
        return None, failed(f"The provider shows an error page: {sentence(code)}", remedy)
    return None, unknown(
        f"The provider shows an error page (status {answer.status}) that does not say why.",
        f"Most often the redirect URI: {registration.redirect_uri} has to stand at {menus.redirect_uri}. "
        f"Compare client_id, too, with {menus.client_id}.",
    )
