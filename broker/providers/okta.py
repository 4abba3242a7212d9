"""Okta: the organisation's own directory, with thin ID tokens.

- Org and custom authorization servers differ in the issuer alone, which is configuration:
  https://developer.okta.com/docs/concepts/auth-servers/
- The code flow's ID token has base claims only; e-mail and name are at the userinfo endpoint:
  https://developer.okta.com/docs/concepts/api-access-management/
- The access token of the org server is for Okta alone; we never look into it.
"""

from __future__ import annotations

from broker.oidc.registration import Registration
from broker.providers.oidc import decide_by_email_verified, expect_configured_issuer
from broker.providers.record import ClaimRules, ConsolePaths, EmailDecision, Preset, VerifiedClaims

# What Okta writes into error_description, and what an admin does about it. The text decides the remedy alone.
_REMEDIES = (
    ("not assigned", "In Okta: Applications > the application > Assignments: assign the person or a group of theirs."),
    (
        "invalid value for 'client_id'",
        (
            "In Okta: Applications > the application > General > Client Credentials: copy the Client ID. It must be of "
            "the Okta organisation that issuer names."
        ),
    ),
    (
        "client secret supplied",
        (
            "The client secret is wrong or inactive. In Okta: Applications > the application > General > Client "
            "Credentials: copy it once more."
        ),
    ),
    (
        "policy evaluation failed",
        (
            "In Okta: Security > API > Authorization Servers > Access Policies: let a rule allow this client and the "
            "authorization code grant."
        ),
    ),
    (
        "policy",
        (
            "In Okta: Applications > the application > Sign On > User authentication: the app sign-in policy denies "
            "this person, device or network; Reports > System Log names the rule."
        ),
    ),
)


def decide_email(verified: VerifiedClaims, rules: ClaimRules) -> EmailDecision:
    """Take the address unless Okta calls it unverified; silence is accepted.

    The directory is the organisation's own, and Okta says not to rely on `email_verified`
    (https://developer.okta.com/docs/guides/submit-app-prereq/): what protects is `email_domains`, and that people
    cannot edit their address.

    Args:
        verified: what Okta vouches for.
        rules: what the admin set about its claims.
    """
    return decide_by_email_verified(verified, rules, accept_missing_email_verified=True)


def remedy(said: str) -> str | None:
    """Return what to do about a refusal in Okta's words.

    Args:
        said: `error` and `error_description`.
    """
    lowered = said.lower()
    return next((advice for words, advice in _REMEDIES if words in lowered), None)


def accept_org_issuer(registration: Registration) -> set[str]:
    """Return what a tile may call itself: the dashboard is the organisation's, whatever server signs the tokens.

    Args:
        registration: with the issuer of the org server, or of a custom one below it.
    """
    origin = "/".join(registration.issuer.split("/", 3)[:3])
    return {registration.issuer, origin}


_MENUS = ConsolePaths(
    issuer="Okta: the Okta domain alone, without -admin, as in https://acme.okta.com; of a custom authorization "
    "server Security > API > Authorization Servers > Issuer URI",
    client_id="Okta: Applications > the application > General > Client Credentials",
    client_secret="Okta: Applications > the application > General > Client Credentials > Client secrets",  # noqa: S106 - a place
    redirect_uri="Okta: Applications > the application > General > Login > Sign-in redirect URIs",
    sign_out_uri="Okta: Applications > the application > General > Login > Sign-out redirect URIs",
    scopes="Okta: Security > API > Authorization Servers > the server > Scopes",
)

PRESET = Preset(
    name="okta",
    decide_email=decide_email,
    expected_issuer=expect_configured_issuer,
    remedy=remedy,
    portal_issuers=accept_org_issuer,
    console_paths=lambda _issuer: _MENUS,
    guide="docs/admin/guides/okta.md",
    client_secrets_expire=False,
    prompt_for_another_account="login",
    end_session_needs_hint=True,  # https://developer.okta.com/docs/guides/sign-users-out/
)
