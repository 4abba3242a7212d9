"""Google Workspace: an account belongs to an organisation only if the signed `hd` claim says so.

- https://developers.google.com/identity/openid-connect/openid-connect
- https://developers.google.com/identity/gsi/web/guides/verify-google-id-token
- `gcloud iam oauth-clients` creates clients for Identity-Aware Proxy, not for signing in with Google:
  https://cloud.google.com/iam/docs/workforce-manage-oauth-app
"""

from __future__ import annotations

import base64
import re
from collections.abc import Collection, Mapping
from urllib.parse import unquote

from broker.errors import HostedDomainNotAllowed
from broker.identity import ClaimRules
from broker.oidc.registration import Registration
from broker.providers.kind import (
    ClaimTrace,
    ConsolePaths,
    Document,
    EmailDecision,
    PersonClaims,
    ProviderKind,
    defaults_with,
)
from broker.providers.oidc import decide_by_email_verified

_CONSOLE = "Google Cloud console: Google Auth Platform"
_CLIENT = f"{_CONSOLE} > Clients > the client"
_CONSOLE_PATHS = ConsolePaths(
    issuer="Google has one issuer, https://accounts.google.com: leave issuer out",
    client_id=f"{_CLIENT} > Client ID",
    client_secret=f"{_CLIENT} > Client secrets",
    redirect_uri=f"{_CLIENT} > Authorized redirect URIs",
    sign_out_uri=f"{_CLIENT} > Authorized redirect URIs",
    scopes=f"{_CONSOLE} > Data Access",
)
_REMEDIES = {
    "client was not found": f"Google knows no such client id: compare it with {_CLIENT} > Client ID.",
    "client secret is invalid": (
        f"The client secret is wrong or disabled: add one at {_CLIENT} > Client secrets, and put it into the file."
    ),
    "org_internal": (
        f"In the {_CONSOLE} > Audience: the application is internal, and the account belongs to another "
        "organisation than the project."
    ),
    "admin_policy_enforced": (
        "In the Google Admin console: Security > Access and data control > API controls: trust the application's "
        "client ID."
    ),
    "access_denied": (
        f"The person cancelled, or the application is in testing and the person is not a test user. In the "
        f"{_CONSOLE} > Audience."
    ),
}


class Google(ProviderKind):
    """Google Workspace; consumer accounts are refused."""

    __slots__ = ()

    name = "google"
    title = "Google Workspace"
    guide = "docs/admin/guides/google.md"
    console = _CONSOLE_PATHS
    remedies = _REMEDIES
    registration_note = (
        "Create it in the Google Cloud console: Google Auth Platform > Clients > Create client > Web application, with "
        "the audience Internal, so that only your organisation's people can sign in. Google has no command for this, "
        "no sign-out address and no tile that starts a sign-in."
    )
    needs = ("client_id", "email_domains")
    defaults = defaults_with(
        issuer="https://accounts.google.com", client_authentication="client_secret_post", userinfo="when_needed"
    )
    client_secrets_expire = False
    prompt_for_another_account = "select_account"

    def decide_email(self, claims: PersonClaims, rules: ClaimRules) -> EmailDecision:
        """Take a verified address of an account that a configured organisation manages.

        Only `hd` in the ID token counts: the request parameter `hd` is a hint, and the domain of the address does not
        say who manages the account.
        """
        hosted_domain = claims.signed.get("hd")
        # isascii: str.lower() turns the Kelvin sign into a plain k.
        known = isinstance(hosted_domain, str) and hosted_domain.isascii() and hosted_domain.lower()
        if known not in rules.email_domains:
            named = isinstance(hosted_domain, str)
            got = hosted_domain if named else "no hd"
            verdict = "not in email_domains" if named else "absent: no Workspace account"
            refusal = HostedDomainNotAllowed(expected=sorted(rules.email_domains), got=got)
            return EmailDecision(None, "", refusal, (ClaimTrace("hd (ID token)", verdict),))
        decision = decide_by_email_verified(claims, rules, accept_missing_email_verified=False)
        considered = (ClaimTrace("hd (ID token)", "in email_domains"), *decision.considered)
        return EmailDecision(decision.email, decision.email_from, decision.refusal, considered)

    def expected_issuer(
        self,
        registration: Registration,
        claims: Document,
        _rules: ClaimRules,
        *,
        key_issuer: str | None,  # noqa: ARG002
    ) -> str:
        """Return the issuer in the spelling of the token: Google documents it with and without the scheme."""
        bare = registration.issuer.removeprefix("https://")
        return bare if claims.get("iss") == bare else registration.issuer

    def callback_issuers(self, registration: Registration, _rules: ClaimRules) -> Mapping[str, str]:
        """Return both spellings of the issuer."""
        issuer = registration.issuer
        return {issuer: issuer, issuer.removeprefix("https://"): issuer}

    def parameters(self, email_domains: frozenset[str]) -> Mapping[str, str]:
        """Return the `hd` hint, with which the account chooser offers the right accounts; it protects nothing."""
        return {"hd": next(iter(email_domains)) if len(email_domains) == 1 else "*"}

    def parse_error_page(self, text: str) -> str | None:
        """Return the error code from the page's address, which contains it in Base64."""
        found = re.search(r"[?&]authError=([A-Za-z0-9_%-]{8,2000})", text)
        encoded = unquote(found[1]) if found else ""
        try:
            said = base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4)).decode("utf-8", "replace")
        except ValueError:
            return None
        code = re.search(r"redirect_uri_mismatch|invalid_client|deleted_client|invalid_scope|org_internal", said)
        return code[0] if code else None

    def check_email_domain(self, domain: str) -> str:
        """Refuse the domains of consumer accounts."""
        if domain in {"gmail.com", "googlemail.com"}:
            return f"must not name {domain}: consumer accounts cannot be used, only those of Google Workspace"
        return ""

    def check_required_authentication(self, claim: str, names: Collection[str]) -> str:  # noqa: ARG002
        """Refuse every demand: Google's ID tokens do not say how the person signed in."""
        return (
            f"must not be given: Google sends no {claim}, so every sign-in would be refused. Enforce 2-Step "
            "Verification in the Admin console, Security > Authentication"
        )

    def doubt_client_id(self, client_id: str, *, tenant: str) -> str:  # noqa: ARG002
        """Doubt an id without Google's ending."""
        if client_id.endswith(".apps.googleusercontent.com"):
            return ""
        return "A client ID of Google ends with .apps.googleusercontent.com."
