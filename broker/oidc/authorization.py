"""The authorization request and its response: the two trips of the browser (RFC 6749, section 4.1)."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from functools import lru_cache
from typing import NoReturn
from urllib.parse import quote_plus, urlencode

from authlib.oauth2.rfc7636 import create_s256_code_challenge

from broker.errors import (
    AccessDenied,
    CallbackIssuer,
    CodeMissing,
    InteractionRequired,
    ParametersContradict,
    ProviderError,
    ProviderReportedFailure,
)
from broker.oidc.messages import character_at, safe_error_text
from broker.oidc.metadata import ProviderMetadata
from broker.oidc.registration import RESERVED_PARAMETERS, Registration

_NO_CODE_CHARACTER = re.compile(r"[^ -~]")

INTERACTION_ERRORS = ("interaction_required", "login_required", "account_selection_required", "consent_required")
"""The provider would have to show a page (OpenID Connect Core, section 3.1.2.6)."""
TEMPORARY_ERRORS = ("temporarily_unavailable", "server_error")
"""The provider fails (RFC 6749, section 4.1.2.1)."""


def build_authorization_url(
    metadata: ProviderMetadata,
    registration: Registration,
    *,
    state: str,
    nonce: str,
    code_verifier: str,
    hints: Mapping[str, str] | None = None,
) -> str:
    """Return the address at which the person signs in.

    Args:
        nonce: comes back in the ID token (OpenID Connect Core, section 3.1.2.1).
        code_verifier: only its hash travels (RFC 7636, section 4.2).
        hints: of this sign-in (`prompt`, `login_hint`); they cannot replace parameters of the protocol.
    """
    address = build_common_address(metadata, registration, hints)
    return complete_address(address, state=state, nonce=nonce, code_verifier=code_verifier)


def build_common_address(
    metadata: ProviderMetadata, registration: Registration, hints: Mapping[str, str] | None = None
) -> str:
    """Return the address without the values that are new in each sign-in; `complete_address` adds them."""
    hints = hints or {}
    parameters = {
        name: value
        for name, value in registration.authorization_parameters.items()
        if name not in RESERVED_PARAMETERS and name not in hints
    }
    if registration.max_age is not None:
        parameters["max_age"] = str(registration.max_age)
    parameters |= {
        "response_type": "code",
        "client_id": registration.client_id,
        "redirect_uri": registration.redirect_uri,
        "scope": " ".join(registration.scopes),
    }
    endpoint = metadata.authorization_endpoint
    address = f"{endpoint}{'&' if '?' in endpoint else '?'}{_encode(tuple(parameters.items()))}"
    # Not cached: a hint may be a person's address.
    further = urlencode([hint for hint in hints.items() if hint[0] not in RESERVED_PARAMETERS]) if hints else ""
    return f"{address}&{further}" if further else address


def complete_address(address: str, *, state: str, nonce: str, code_verifier: str) -> str:
    """Return the address with the values of one sign-in.

    PKCE is used always, whether or not the metadata mentions it (RFC 9700, section 2.1.1): a provider that does not
    know it ignores it.
    """
    own = f"&state={quote_plus(state)}&nonce={quote_plus(nonce)}"
    return f"{address}{own}&code_challenge={create_s256_code_challenge(code_verifier)}&code_challenge_method=S256"


@lru_cache(maxsize=1024)
def _encode(parameters: tuple[tuple[str, str], ...]) -> str:
    return urlencode(parameters)


OWN_CHARACTERS = len(complete_address("", state="", nonce="x" * 43, code_verifier=""))
"""Characters that `complete_address` adds, besides the state. A nonce is a SHA-256 in base64url."""


def check_callback(
    parameters: Mapping[str, str], metadata: ProviderMetadata, *, issuers: Collection[str] | None = None
) -> str:
    """Return the code of a callback from the expected provider.

    The state was opened before: an error without a sign-in of the broker is ignored.

    Args:
        parameters: of the callback, unverified; each name once.
        issuers: what `iss` may be; None for the metadata's issuer alone.

    Raises:
        CallbackIssuer: `iss` names another issuer, or is missing although announced (RFC 9207, section 2.4).
        ParametersContradict: a code and an error at once.
        ProviderRefused: the callback has an error; it came through the browser, so a stranger can write it.
        CodeMissing: neither code nor error, or a code that no provider may send.
    """
    parameters = {name: value for name, value in parameters.items() if value}  # RFC 6749, section 3.1: empty is absent
    issuer = parameters.get("iss")  # RFC 9207, section 2.4: against mix-up, before all other checks
    fitting = {metadata.issuer} if issuers is None else issuers
    if (issuer is None and metadata.authorization_response_iss_parameter_supported) or (
        issuer is not None and issuer not in fitting
    ):
        raise CallbackIssuer(expected=sorted(fitting), got="no iss" if issuer is None else f"iss {issuer}")
    # RFC 6749, sections 4.1.2 and 4.1.2.1: either a code or an error.
    code, error = parameters.get("code"), parameters.get("error")
    if code is not None and error is not None:
        raise ParametersContradict(expected="code or error", got="both")
    if error is not None:
        _raise_refusal(error, parameters.get("error_description", ""))
    if code is None:
        raise CodeMissing(expected="code", got="neither code nor error")
    if odd := _NO_CODE_CHARACTER.search(code):
        # Not sent: many token endpoints answer such a code with a 500, and strangers would raise an alert.
        got = f"code: {character_at(odd)}"
        raise CodeMissing(expected="code: printable ASCII (RFC 6749, appendix A.11)", got=got)
    return code


def check_issuer_of_callback(parameters: Mapping[str, str], issuer: str, *, issuers: Mapping[str, str]) -> None:
    """Check that the issuer at the callback also made the ID token (RFC 9207, section 2.4).

    Args:
        parameters: of the callback, checked by `check_callback`.
        issuers: each spelling with the issuer it stands for.

    Raises:
        CallbackIssuer: two admitted issuers took part in one sign-in (mix-up; RFC 9700, section 4.4).
    """
    answered = parameters.get("iss")
    if answered and issuers.get(answered, answered) != issuers.get(issuer, issuer):
        raise CallbackIssuer(expected=f"an ID token of {answered}", got=issuer)


def _raise_refusal(error: str, description: str) -> NoReturn:
    # RFC 6749, section 4.1.2.1; OpenID Connect Core, section 3.1.2.6. The description decides nothing.
    said = safe_error_text(error, description)
    if error in TEMPORARY_ERRORS:
        raise ProviderReportedFailure(expected="a code", got=said)
    if error == "access_denied":
        raise AccessDenied(expected="a code", got=said)
    if error in INTERACTION_ERRORS:
        raise InteractionRequired(expected="a code", got=said)
    raise ProviderError(expected="a code", got=said)
