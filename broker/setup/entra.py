"""Microsoft Entra ID: the registration in Entra's own words, for the Azure CLI and for Terraform.

- https://learn.microsoft.com/en-us/cli/azure/ad/app
- https://learn.microsoft.com/en-us/entra/identity-platform/optional-claims-reference
- https://registry.terraform.io/providers/hashicorp/azuread/latest/docs/resources/application
"""

from __future__ import annotations

import json
from urllib.parse import urlsplit

from broker.providers import Provider
from broker.setup.quoting import hcl, hcl_list, shell
from broker.setup.record import APPLICATION_NAME, Command, Value, Wanted

OPTIONAL_CLAIMS = ("email", "xms_edov", "verified_primary_email")
NOTE = (
    "Make it under App registrations > New registration, with a redirect URI of the platform Web. Let only those sign "
    "in who should: Enterprise applications > the application > Properties > Assignment required."
)

_APPLICATION = "Entra: App registrations > the application"


def further_values(provider: Provider, wanted: Wanted) -> tuple[Value, ...]:
    """Return where Entra sends people after signing out, and what its portal opens.

    Args:
        provider: with Entra's own words.
        wanted: the addresses.
    """
    return (
        Value(
            "Redirect URI for signing out",
            wanted.post_logout_uri,
            provider.console_paths.redirect_uri,
            "A second redirect URI. Not the Front-channel logout URL.",
        ),
        Value(
            "Home page URL",
            wanted.home_page,
            f"{_APPLICATION} > Branding & properties > Home page URL",
            "For a tile in My Apps.",
        ),
    )


def claims(provider: Provider) -> tuple[Value, ...]:
    """Return the optional claims that say which address is verified, and groups where they matter.

    Args:
        provider: with its policy.
    """
    values = [
        Value(
            "Optional claims of the ID token",
            " ".join(OPTIONAL_CLAIMS),
            f"{_APPLICATION} > Token configuration > Add optional claim > ID",
            "xms_edov is not in that list: add it under Manifest, in optionalClaims > idToken, beside email.",
        )
    ]
    if provider.policy.allowed_groups and provider.groups_claim:
        where = f"{_APPLICATION} > Token configuration > Add groups claim"
        values.append(
            Value("Groups claim", provider.groups_claim, where, "Groups assigned to the application, as Group ID.")
        )
    return tuple(values)


def commands(provider: Provider, wanted: Wanted) -> tuple[Command, ...]:
    """Return the registration for the Azure CLI and for Terraform.

    Args:
        provider: with its registration.
        wanted: the addresses, and the last day of a new client secret.
    """
    if not wanted.by_secret:
        note = "Then add the certificate or the federated credential under Certificates & secrets."
        return (
            Command("Azure CLI", _azure_cli(provider, wanted, ""), note),
            Command("Terraform", _terraform(provider, wanted, ""), note),
        )
    expires = f"In broker.yaml: client_secret_expires: {wanted.client_secret_end}"
    return (
        Command(
            "Azure CLI",
            _azure_cli(provider, wanted, _CREDENTIAL_BY_CLI.format(end=wanted.client_secret_end)),
            "For a Unix shell, such as Azure Cloud Shell. It prints the client ID, and writes the secret into the "
            f"file client-secret. {expires}",
        ),
        Command(
            "Terraform",
            _terraform(provider, wanted, _CREDENTIAL_BY_TERRAFORM.format(end=wanted.client_secret_end)),
            "Then: terraform output -raw client_secret > client-secret. Terraform keeps the secret in its state. "
            f"{expires}",
        ),
    )


_CREDENTIAL_BY_CLI = """\
umask 077
az ad app credential reset --id "$APP_ID" --append --display-name broker --end-date {end} \\
  --query password --output tsv > client-secret
"""
_CREDENTIAL_BY_TERRAFORM = """
resource "azuread_application_password" "comm100" {{
  application_id = azuread_application.comm100.id
  display_name   = "broker"
  end_date       = "{end}T00:00:00Z"
}}

output "client_secret" {{
  value     = azuread_application_password.comm100.value
  sensitive = true
}}
"""


def _azure_cli(provider: Provider, wanted: Wanted, secret: str) -> str:
    tenant = _tenant(provider)
    optional_claims = json.dumps({"idToken": [{"name": name} for name in OPTIONAL_CLAIMS]})
    groups = 'az ad app update --id "$APP_ID" --set groupMembershipClaims=ApplicationGroup\n'
    return f"""\
az login --allow-no-subscriptions{f" --tenant {shell(tenant)}" if tenant else ""}
APP_ID=$(az ad app create --display-name {shell(APPLICATION_NAME)} --sign-in-audience {_audience(provider)} \\
  --web-redirect-uris {shell(wanted.redirect_uri)} {shell(wanted.post_logout_uri)} \\
  --web-home-page-url {shell(wanted.home_page)} \\
  --optional-claims {shell(optional_claims)} \\
  --query appId --output tsv)
az ad sp create --id "$APP_ID" --output none
{groups if provider.policy.allowed_groups else ""}{secret}echo "client_id: $APP_ID"
"""


def _terraform(provider: Provider, wanted: Wanted, secret: str) -> str:
    optional_claims = "".join(f"\n    id_token {{ name = {hcl(name)} }}" for name in OPTIONAL_CLAIMS)
    groups = '\n  group_membership_claims = ["ApplicationGroup"]' if provider.policy.allowed_groups else ""
    return f"""\
terraform {{
  required_providers {{
    azuread = {{ source = "hashicorp/azuread", version = "~> 3.0" }}
  }}
}}

resource "azuread_application" "comm100" {{
  display_name     = {hcl(APPLICATION_NAME)}
  sign_in_audience = {hcl(_audience(provider))}{groups}

  web {{
    homepage_url  = {hcl(wanted.home_page)}
    redirect_uris = {hcl_list([wanted.redirect_uri, wanted.post_logout_uri])}
  }}

  optional_claims {{{optional_claims}
  }}
}}

resource "azuread_service_principal" "comm100" {{
  client_id = azuread_application.comm100.client_id
}}

output "client_id" {{ value = azuread_application.comm100.client_id }}
{secret}"""


def _audience(provider: Provider) -> str:
    return "AzureADMultipleOrgs" if provider.rules.tenants else "AzureADMyOrg"


def _tenant(provider: Provider) -> str:
    """Return the tenant the issuer names; of several tenants nobody here knows which one has the application."""
    return "" if provider.rules.tenants else urlsplit(provider.registration.issuer).path.split("/")[1]
