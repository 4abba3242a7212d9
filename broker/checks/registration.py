"""Whether the token endpoint accepts our client id and credential, and for how long the credential is valid.

The check sends a token request with an invalid code. Where the provider refuses the code, a control request with an
invented client id shows whether the provider looked at the client at all.
"""

from __future__ import annotations

import asyncio
import json
import re
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime

from broker import base64url
from broker.checks.documents import announces, fetch
from broker.checks.finding import (
    CHECK_SECONDS,
    TEST_SIGN_IN,
    CheckFailed,
    Verdict,
    failed,
    ok,
    sentence,
    unknown,
    warning,
)
from broker.errors import (
    BrokerError,
    ClientRejected,
    CodeRejected,
    ProviderUnavailable,
    TokenRequestRefused,
    TokenResponseInvalid,
)
from broker.oidc.client import NetworkPolicy
from broker.oidc.metadata import ProviderMetadata
from broker.oidc.registration import Registration
from broker.oidc.tokens import build_token_request, check_token_response
from broker.providers import Provider
from broker.text import printable

EXPIRY_WARNING_DAYS = 30
_CONTROL_ENDS = CHECK_SECONDS - 0.5  # seconds after the check began: a slow control request must not fail the check

# Errors that every sign-in would meet (RFC 6749, section 5.2).
_NO_SIGN_IN = ("unauthorized_client", "unsupported_grant_type", "invalid_scope")
# Words about the code in refusals that are not `invalid_grant`.
_NAMES_CODE = re.compile(
    r"invalid_(code|grant)|code_(challenge|verifier)|verification_code|authorization code", re.IGNORECASE
)
_NAMES_CLIENT = re.compile(r"client|AADSTS700016", re.IGNORECASE)
_CREDENTIALS: Mapping[str, str] = {
    "none": "Client ID",
    "private_key_jwt": "Client ID and key",
    "federated_credential": "Client ID and federated credential",
}


@dataclass(frozen=True, slots=True)
class _Refusal:
    """What a token endpoint answered to an invalid code.

    Args:
        error: as a sign-in would get it; None for tokens.
        said: the provider's words, without our credentials.
    """

    error: BrokerError | None
    said: str

    @property
    def is_about_the_code(self) -> bool:
        """Whether the provider refused the code."""
        refused = isinstance(self.error, TokenRequestRefused) and not self.said.startswith(_NO_SIGN_IN)
        return isinstance(self.error, CodeRejected) or (refused and _NAMES_CODE.search(self.said) is not None)

    @property
    def is_about_the_client(self) -> bool:
        """Whether the provider refused the client."""
        refused = isinstance(self.error, TokenRequestRefused) and not self.is_about_the_code
        return isinstance(self.error, ClientRejected) or (refused and _NAMES_CLIENT.search(self.said) is not None)


async def check_client_authentication(
    provider: Provider,
    network: NetworkPolicy,
    metadata: ProviderMetadata,
    announced: list[str],
    *,
    knows_client_id: bool | None = None,
) -> tuple[None, Verdict]:
    """Ask for tokens with an invalid code: who refuses the code, and an invented client otherwise, has accepted us.

    Args:
        provider: with our registration and credential.
        network: how far requests go.
        metadata: of the right issuer, or the credential must not go there.
        announced: the ways of client authentication its document names; none if it is silent.
        knows_client_id: what the authorization endpoint told: a token endpoint refuses a wrong id and a wrong secret
            alike (RFC 6749, section 5.2).
    """
    began = asyncio.get_running_loop().time()
    try:
        refusal = await _refusal(provider, provider.registration, network, metadata)
    except BrokerError as error:
        return None, failed(f"The token request cannot be made: {sentence(error.got)}", error.remedy)
    except ValueError:
        return None, failed("The token request cannot be made: the credential is unusable.", "Check the credential.")
    if not refusal.is_about_the_code:
        return None, _judge_refusal(provider, refusal, announced, knows_client_id)
    try:
        async with asyncio.timeout_at(began + _CONTROL_ENDS):
            control = await _refusal(provider, _invented(provider.registration), network, metadata)
    except (CheckFailed, TimeoutError):
        return None, unknown("The provider refuses the invalid code, but does not answer an invented client ID.")
    return None, _judge_control(provider, control)


async def _refusal(
    provider: Provider, registration: Registration, network: NetworkPolicy, metadata: ProviderMetadata
) -> _Refusal:
    request = build_token_request(
        metadata,
        registration,
        code=f"broker-check-{secrets.token_hex(8)}",
        code_verifier=secrets.token_urlsafe(32),
    )
    answer = await fetch(provider, network, request)
    try:
        check_token_response(answer)
    except BrokerError as error:
        error.redact(request.secrets)  # a provider may repeat what it was sent, as it was encoded on the way
        return _Refusal(error, str(error.got))
    return _Refusal(None, "")


def _invented(registration: Registration) -> Registration:
    """Return a registration that no provider has, with a credential of the same kind: ours cannot be locked by it."""
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
    return ".".join(map(base64url.encode, (*parts, secrets.token_bytes(256))))


def _judge_control(provider: Provider, control: _Refusal) -> Verdict:
    what = _CREDENTIALS.get(provider.registration.client_authentication, "Client ID and secret")
    if control.is_about_the_client:
        return ok(f"{what} accepted (tested with an invalid code).")
    if control.is_about_the_code:
        return unknown("This provider looks at the code first, so only a test sign-in tells whether it accepts us.")
    said = "tokens" if control.error is None else sentence(control.said).rstrip(".")
    return unknown(
        f"The provider refuses the invalid code, but its answer to an invented client ID does not tell: {said}."
    )


def check_expiry(provider: Provider, expires: date | None, *, clock: Callable[[], float]) -> Verdict:
    """Say how long the client secret is valid, by the admin's word.

    Args:
        provider: with our registration.
        expires: the day, if the admin gave one.
        clock: seconds since the epoch.
    """
    if provider.registration.client_secret is None:
        return ok("No client secret is used.")
    where = provider.console_paths.client_secret
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
    provider: Provider, refusal: _Refusal, announced: list[str], knows_client_id: bool | None
) -> Verdict:
    error, said = refusal.error, refusal.said
    if error is None:
        return failed("The token endpoint gives tokens for an invalid code.", "Do not use this provider.")
    if isinstance(error, ClientRejected):
        return _rejected(provider, said, announced, knows_client_id)
    if isinstance(error, TokenRequestRefused):
        remedy = provider.preset.remedy(said)
        if remedy is not None or said.startswith(_NO_SIGN_IN):
            return failed(f"The token endpoint does not accept us: {sentence(said)}", remedy or error.remedy)
        return unknown(f"The token endpoint refuses an invalid code in words of its own: {sentence(said)}")
    if isinstance(error, TokenResponseInvalid):
        return unknown(f"The token endpoint answers an invalid code with neither tokens nor an error: {sentence(said)}")
    remedy = error.remedy if isinstance(error, ProviderUnavailable) else f"{error.remedy} {TEST_SIGN_IN}"
    return unknown(f"The token endpoint does not tell: {sentence(said)}", remedy)


def _rejected(provider: Provider, said: str, announced: list[str], knows_client_id: bool | None) -> Verdict:
    console_paths = provider.console_paths
    method = provider.registration.client_authentication
    message = f"The token endpoint does not accept us: {sentence(said)}"
    if announced and not announces(announced, method):
        return failed(
            f"{message} It announces client authentication by {printable(', '.join(announced))}, but "
            f"client_authentication is {method}.",
            "Set client_authentication to one of those, as the client is registered there.",
        )
    if (remedy := provider.preset.remedy(said)) is not None:
        return failed(message, remedy)
    if knows_client_id is False:
        return failed(message, f"The provider does not know the client id: compare it with {console_paths.client_id}.")
    which = "The provider knows the client id, so the" if knows_client_id else "Client id or"
    places = (
        (console_paths.client_secret,) if knows_client_id else (console_paths.client_id, console_paths.client_secret)
    )
    return failed(
        message,
        f"{which} credential is wrong or expired, or client_authentication ({method}) is not what the provider "
        f"expects. Compare with {', and '.join(dict.fromkeys(places))}.",
    )
