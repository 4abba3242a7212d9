"""Okta: the directory of the organisation, with ID tokens that lack e-mail and name.

- An org authorization server and a custom one differ in the issuer only:
  https://developer.okta.com/docs/concepts/auth-servers/
- In the code flow the ID token has base claims only; e-mail and name are at the userinfo endpoint:
  https://developer.okta.com/docs/concepts/api-access-management/
- Registration: https://developer.okta.com/docs/guides/build-sso-integration/openidconnect/main/
- Terraform: https://registry.terraform.io/providers/okta/okta/latest/docs/resources/app_oauth
"""

from __future__ import annotations

import re
from collections.abc import Collection
from urllib.parse import urlsplit

from broker.identity import ClaimRules
from broker.oidc.registration import Registration
from broker.providers.kind import (
    TERRAFORM_NOTE,
    Command,
    ConsolePaths,
    EmailDecision,
    PersonClaims,
    Provider,
    ProviderKind,
    ToRegister,
    Value,
    render_command,
)
from broker.providers.oidc import decide_by_email_verified

_APPLICATION = "Okta: Applications > the application"
_LOGIN = f"{_APPLICATION} > General > Login"
_CREDENTIALS = f"{_APPLICATION} > General > Client Credentials"
_SERVERS = "Security > API > Authorization Servers"
_CONSOLE_PATHS = ConsolePaths(
    issuer="Okta: the Okta domain, without -admin, as in https://acme.okta.com. If you use a custom authorization "
    f"server, the issuer is at {_SERVERS} > Issuer URI",
    client_id=_CREDENTIALS,
    client_secret=f"{_CREDENTIALS} > Client secrets",
    redirect_uri=f"{_LOGIN} > Sign-in redirect URIs",
    sign_out_uri=f"{_LOGIN} > Sign-out redirect URIs",
    scopes=f"Okta: {_SERVERS} > the server > Scopes",
)
# By words in Okta's error_description; the first match counts.
_REMEDIES = {
    "not assigned": f"In {_APPLICATION} > Assignments: assign the person or one of their groups.",
    "invalid value for 'client_id'": (
        f"In {_CREDENTIALS}: copy the Client ID. It must be of the Okta organisation that issuer names."
    ),
    "client secret supplied": f"The client secret is wrong or inactive. In {_CREDENTIALS}: copy it once more.",
    "policy evaluation failed": (
        f"In Okta: {_SERVERS} > Access Policies: let a rule allow this client and the authorization code grant."
    ),
    "policy": (
        f"In {_APPLICATION} > Sign On > User authentication: the app sign-in policy denies this person, device or "
        "network; Reports > System Log names the rule."
    ),
}
# https://help.okta.com: the Admin Console of acme.okta.com is at acme-admin.okta.com, and is not an issuer.
_ADMIN_CONSOLE = re.compile(r"^(https://[a-z0-9-]+)-admin\.(okta(?:preview|-emea)?\.com)(?=/|$).*")


class Okta(ProviderKind):
    """Okta, with an org or a custom authorization server."""

    __slots__ = ()

    name = "okta"
    title = "Okta"
    guide = "docs/admin/guides/okta.md"
    console = _CONSOLE_PATHS
    remedies = _REMEDIES
    registration_note = (
        "Create the application under Applications > Create App Integration > OIDC - OpenID Connect > Web Application. "
        "Afterwards assign the people or a group under Assignments: Okta refuses everybody else."
    )
    page_is_no_issuer = "is the address of Okta's Admin Console: the issuer is the Okta domain without -admin"
    client_secrets_expire = False
    end_session_needs_hint = True  # https://developer.okta.com/docs/guides/sign-users-out/

    def decide_email(self, claims: PersonClaims, rules: ClaimRules) -> EmailDecision:
        """Take the address unless Okta calls it unverified; a missing `email_verified` is accepted.

        The directory belongs to the organisation, and Okta says not to rely on `email_verified`
        (https://developer.okta.com/docs/guides/submit-app-prereq/). The protection is `email_domains`, and that people
        cannot edit their address.
        """
        return decide_by_email_verified(claims, rules, accept_missing_email_verified=True)

    def portal_issuers(self, registration: Registration) -> Collection[str]:
        """Return the issuer and the organisation's own: the dashboard uses the latter for every server."""
        parts = urlsplit(registration.issuer)
        return {registration.issuer, f"{parts.scheme}://{parts.netloc}"}

    def issuer_of_page(self, address: str) -> str:
        """Return the issuer of an address of the Admin Console."""
        issuer = _ADMIN_CONSOLE.sub(r"\1.\2", address)
        return "" if issuer == address else issuer

    def suggest_issuer(self, address: str) -> str:
        """Return the Okta domain, with the path of a custom authorization server if the address has one."""
        parts = urlsplit(address)
        origin = _ADMIN_CONSOLE.sub(r"\1.\2", f"{parts.scheme}://{parts.netloc}")
        server = re.match(r"/oauth2/(?!v1)[A-Za-z0-9]+", parts.path)
        return f"{origin}{server[0] if server else ''}"

    def further_values(self, _provider: Provider, to_register: ToRegister) -> tuple[Value, ...]:
        """Return the sign-out address and the address for a tile."""
        return (
            Value("Sign-out redirect URI", to_register.post_logout_uri, _CONSOLE_PATHS.sign_out_uri),
            Value(
                "Initiate login URI",
                to_register.start_uri,
                f"{_LOGIN} > Initiate login URI",
                "For a tile in the dashboard: Login initiated by Either Okta or App, Login flow Redirect to app to "
                "initiate login (OIDC Compliant).",
            ),
        )

    def claim_values(self, provider: Provider) -> tuple[Value, ...]:
        """Return the groups claim if the policy needs groups."""
        if not (name := provider.needed_groups_claim):
            return ()
        where = f"{_APPLICATION} > Sign On > OpenID Connect ID Token > Groups claim filter"
        return (Value("Groups claim", name, where),)

    def commands(self, provider: Provider, to_register: ToRegister) -> tuple[Command, ...]:
        """Return Terraform's resource for a client with a secret; for other credentials the admin uploads a key."""
        if not provider.has_client_secret:
            return ()
        terraform = render_command("okta.tf.j2", provider, to_register)
        return (Command("Terraform", terraform, f"{TERRAFORM_NOTE}; people still have to be assigned."),)
