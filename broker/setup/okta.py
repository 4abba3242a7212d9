"""Okta: the registration in Okta's own words, and in those of its Terraform provider.

- https://developer.okta.com/docs/guides/build-sso-integration/openidconnect/main/
- https://registry.terraform.io/providers/okta/okta/latest/docs/resources/app_oauth
"""

from __future__ import annotations

from broker.providers import Provider
from broker.setup.quoting import hcl, hcl_list
from broker.setup.record import APPLICATION_NAME, Command, Value, Wanted

NOTE = (
    "Make it under Applications > Create App Integration > OIDC - OpenID Connect > Web Application. Afterwards assign "
    "the people or a group under Assignments: whoever is not assigned is refused by Okta."
)

_GENERAL = "Okta: Applications > the application > General"


def further_values(_provider: Provider, wanted: Wanted) -> tuple[Value, ...]:
    """Return where Okta sends people after signing out, and where its dashboard starts a sign-in.

    Args:
        wanted: the addresses.
    """
    return (
        Value("Sign-out redirect URI", wanted.post_logout_uri, f"{_GENERAL} > Login > Sign-out redirect URIs"),
        Value(
            "Initiate login URI",
            wanted.start_uri,
            f"{_GENERAL} > Login > Initiate login URI",
            "For a tile in the dashboard: Login initiated by Either Okta or App, Login flow Redirect to app to "
            "initiate login (OIDC Compliant).",
        ),
    )


def claims(provider: Provider) -> tuple[Value, ...]:
    """Return the claims that do not come by themselves: groups, where they matter.

    Args:
        provider: with its policy.
    """
    if not (provider.policy.allowed_groups and provider.groups_claim):
        return ()
    where = "Okta: Applications > the application > Sign On > OpenID Connect ID Token > Groups claim filter"
    return (Value("Groups claim", provider.groups_claim, where),)


def commands(provider: Provider, wanted: Wanted) -> tuple[Command, ...]:
    """Return the registration for Terraform, for a client with a secret: another credential needs a key uploaded.

    Args:
        provider: with its registration.
        wanted: the addresses.
    """
    if not wanted.by_secret:
        return ()
    note = (
        "Then: terraform output -raw client_secret > client-secret. Terraform keeps the secret in its state; people "
        "still have to be assigned."
    )
    return (Command("Terraform", _terraform(provider, wanted), note),)


def _terraform(provider: Provider, wanted: Wanted) -> str:
    registration = provider.registration
    groups = ""
    if provider.policy.allowed_groups and provider.groups_claim:
        groups = f"""
  groups_claim {{
    type        = "FILTER"
    filter_type = "REGEX"
    name        = {hcl(provider.groups_claim)}
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
  redirect_uris              = {hcl_list([wanted.redirect_uri])}
  post_logout_redirect_uris  = {hcl_list([wanted.post_logout_uri])}
  login_mode                 = "SPEC"
  login_uri                  = {hcl(wanted.start_uri)}
  login_scopes               = {hcl_list(registration.scopes)}
  hide_web                   = false{groups}
}}

output "client_id" {{ value = okta_app_oauth.comm100.client_id }}
output "client_secret" {{
  value     = okta_app_oauth.comm100.client_secret
  sensitive = true
}}
"""
