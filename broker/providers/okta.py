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
    APPLICATION_NAME,
    Command,
    ConsolePaths,
    EmailDecision,
    InvalidSetting,
    PersonClaims,
    Provider,
    ProviderKind,
    ToRegister,
    Value,
    hcl,
    hcl_list,
)
from broker.providers.oidc import decide_by_email_verified

_APPLICATION = "Okta: Applications > the application"
_LOGIN = f"{_APPLICATION} > General > Login"
_CREDENTIALS = f"{_APPLICATION} > General > Client Credentials"
_SERVERS = "Security > API > Authorization Servers"
_CONSOLE_PATHS = ConsolePaths(
    issuer="Okta: the Okta domain alone, without -admin, as in https://acme.okta.com; of a custom authorization "
    f"server {_SERVERS} > Issuer URI",
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
    registration_note = (
        "Create it under Applications > Create App Integration > OIDC - OpenID Connect > Web Application. Afterwards "
        "assign the people or a group under Assignments: Okta refuses everybody else."
    )
    client_secrets_expire = False
    end_session_needs_hint = True  # https://developer.okta.com/docs/guides/sign-users-out/

    def decide_email(self, claims: PersonClaims, rules: ClaimRules) -> EmailDecision:
        """Take the address unless Okta calls it unverified; a missing `email_verified` is accepted.

        The directory belongs to the organisation, and Okta says not to rely on `email_verified`
        (https://developer.okta.com/docs/guides/submit-app-prereq/). The protection is `email_domains`, and that people
        cannot edit their address.
        """
        return decide_by_email_verified(claims, rules, accept_missing_email_verified=True)

    def console_paths(self, _issuer: str) -> ConsolePaths:
        """Return the menus of the Okta Admin Console."""
        return _CONSOLE_PATHS

    def portal_issuers(self, registration: Registration) -> Collection[str]:
        """Return the issuer and the organisation's own: the dashboard uses the latter for every server."""
        parts = urlsplit(registration.issuer)
        return {registration.issuer, f"{parts.scheme}://{parts.netloc}"}

    def remedy(self, said: str) -> str | None:
        """Return what to do about a refusal, by Okta's words."""
        lowered = said.lower()
        return next((advice for words, advice in _REMEDIES.items() if words in lowered), None)

    def mistaken_issuer(self, address: str) -> InvalidSetting | None:
        """Refuse the address of the Admin Console."""
        if (issuer := _ADMIN_CONSOLE.sub(r"\1.\2", address)) == address:
            return None
        return InvalidSetting(
            "is the address of Okta's Admin Console: the issuer is the Okta domain without -admin", meant=issuer
        )

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
        if not (provider.rules.allowed_groups and provider.rules.groups_claim):
            return ()
        where = f"{_APPLICATION} > Sign On > OpenID Connect ID Token > Groups claim filter"
        return (Value("Groups claim", provider.rules.groups_claim, where),)

    def commands(self, provider: Provider, to_register: ToRegister) -> tuple[Command, ...]:
        """Return Terraform's resource for a client with a secret; for other credentials the admin uploads a key."""
        if not provider.has_client_secret:
            return ()
        note = (
            "Then: terraform output -raw client_secret > client-secret. Terraform keeps the secret in its state; "
            "people still have to be assigned."
        )
        return (Command("Terraform", _terraform(provider, to_register), note),)


def _terraform(provider: Provider, to_register: ToRegister) -> str:
    registration = provider.registration
    groups = ""
    if provider.rules.allowed_groups and provider.rules.groups_claim:
        groups = f"""
  groups_claim {{
    type        = "FILTER"
    filter_type = "REGEX"
    name        = {hcl(provider.rules.groups_claim)}
    value       = ".*"
  }}"""
    return f"""\
terraform {{
  required_providers {{
    okta = {{ source = "okta/okta" }}
  }}
}}

resource "okta_app_oauth" "comm100" {{
  label                      = {hcl(APPLICATION_NAME)}
  type                       = "web"
  grant_types                = ["authorization_code"]
  response_types             = ["code"]
  pkce_required              = true
  token_endpoint_auth_method = {hcl(registration.client_authentication)}
  redirect_uris              = {hcl_list([to_register.redirect_uri])}
  post_logout_redirect_uris  = {hcl_list([to_register.post_logout_uri])}
  login_mode                 = "SPEC"
  login_uri                  = {hcl(to_register.start_uri)}
  login_scopes               = {hcl_list(registration.scopes)}
  hide_web                   = false{groups}
}}

output "client_id" {{ value = okta_app_oauth.comm100.client_id }}
output "client_secret" {{
  value     = okta_app_oauth.comm100.client_secret
  sensitive = true
}}
"""
