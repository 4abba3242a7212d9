"""Google Workspace: an account belongs to an organisation only if the signed `hd` claim says so.

https://developers.google.com/identity/openid-connect/openid-connect
https://developers.google.com/identity/gsi/web/guides/verify-google-id-token
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from urllib.parse import unquote

from broker.errors import HostedDomainNotAllowed
from broker.oidc.registration import Registration
from broker.oidc.signature import SignedClaims
from broker.providers.oidc import decide_by_email_verified
from broker.providers.record import ClaimRules, ClaimTrace, ConsolePaths, EmailDecision, Preset, VerifiedClaims

_CONSOLE = "Google Cloud console: Google Auth Platform"
_CLIENT = f"{_CONSOLE} > Clients > the client"
_REMEDIES = (
    ("client was not found", f"Google knows no such client id: compare it with {_CLIENT} > Client ID."),
    (
        "client secret is invalid",
        f"The client secret is wrong or disabled: add one at {_CLIENT} > Client secrets, and put it into the file.",
    ),
    (
        "org_internal",
        (
            f"In the {_CONSOLE} > Audience: the application is internal, and the person's account is of another "
            "organisation than the project."
        ),
    ),
    (
        "admin_policy_enforced",
        (
            "In the Google Admin console: Security > Access and data control > API controls: trust the application's "
            "client ID."
        ),
    ),
    (
        "access_denied",
        (
            "The person cancelled, or the application is in testing and they are no test user. In the "
            f"{_CONSOLE} > Audience."
        ),
    ),
)


def decide_email(verified: VerifiedClaims, rules: ClaimRules) -> EmailDecision:
    """Take a verified address of an account that one of the configured organisations manages.

    `hd` counts in the ID token alone; the request parameter of that name is a hint, and the address's own domain says
    nothing about who manages the account.

    Args:
        verified: what Google vouches for.
        rules: what the admin set about its claims.
    """
    hosted_domain = verified.id_token.claims.get("hd")
    # isascii: str.lower() turns the Kelvin sign into a plain k.
    known = isinstance(hosted_domain, str) and hosted_domain.isascii() and hosted_domain.lower() in rules.email_domains
    if not known:
        got = hosted_domain if isinstance(hosted_domain, str) else "no hd"
        refusal = HostedDomainNotAllowed(expected=sorted(rules.email_domains), got=got)
        verdict = "not in email_domains" if isinstance(hosted_domain, str) else "absent: no Workspace account"
        return EmailDecision(None, "", refusal, (ClaimTrace("hd (ID token)", verdict),))
    decision = decide_by_email_verified(verified, rules, accept_missing_email_verified=False)
    considered = (ClaimTrace("hd (ID token)", "in email_domains"), *decision.considered)
    return EmailDecision(decision.email, decision.email_from, decision.refusal, considered)


def expect_either_spelling(registration: Registration, signed: SignedClaims, _rules: ClaimRules) -> str:
    """Return Google's issuer, without its scheme where the token spells it so.

    Google documents both spellings, and no other.

    Args:
        registration: with the issuer configured.
        signed: the token's claims.
    """
    bare = registration.issuer.removeprefix("https://")
    return bare if signed.claims.get("iss") == bare else registration.issuer


def expect_callback_of_either_spelling(registration: Registration, _rules: ClaimRules) -> Mapping[str, str]:
    """Return both spellings of Google's issuer.

    Args:
        registration: with the issuer configured.
    """
    return {registration.issuer: registration.issuer, registration.issuer.removeprefix("https://"): registration.issuer}


def suggest_hosted_domain(email_domains: frozenset[str]) -> Mapping[str, str]:
    """Return the `hd` hint, so that the account chooser offers the right accounts first; it protects nothing.

    Args:
        email_domains: the organisation's domains.
    """
    return {"hd": next(iter(email_domains)) if len(email_domains) == 1 else "*"}


def parse_error_page(text: str) -> str | None:
    """Return the error code that Google's error page is about: it stands, in Base64, in the page's address.

    Args:
        text: of the page and of its address.
    """
    found = re.search(r"[?&]authError=([A-Za-z0-9_%-]{8,2000})", text)
    encoded = unquote(found[1]) if found else ""
    try:
        said = base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4)).decode("utf-8", "replace")
    except ValueError:
        return None
    code = re.search(r"redirect_uri_mismatch|invalid_client|deleted_client|invalid_scope|org_internal", said)
    return code[0] if code else None


def remedy(said: str) -> str | None:
    """Return what to do about a refusal in Google's words.

    Args:
        said: `error` and `error_description`.
    """
    return next((advice for words, advice in _REMEDIES if words in said), None)


_MENUS = ConsolePaths(
    issuer="Google has one issuer, https://accounts.google.com: leave issuer out",
    client_id=f"{_CLIENT} > Client ID",
    client_secret=f"{_CLIENT} > Client secrets",
    redirect_uri=f"{_CLIENT} > Authorized redirect URIs",
    sign_out_uri=f"{_CLIENT} > Authorized redirect URIs",
    scopes=f"{_CONSOLE} > Data Access",
)

PRESET = Preset(
    name="google",
    decide_email=decide_email,
    expected_issuer=expect_either_spelling,
    callback_issuers=expect_callback_of_either_spelling,
    remedy=remedy,
    console_paths=lambda _issuer: _MENUS,
    guide="docs/admin/guides/google.md",
    client_secrets_expire=False,
    parse_error_page=parse_error_page,
    prompt_for_another_account="select_account",
    parameters=suggest_hosted_domain,
)
