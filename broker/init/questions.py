"""What is asked, in words: each answer's name, its option, an example.

It owns the words alone. Which answers a kind of provider needs, and what they must be like, the settings know.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from broker import providers
from broker.settings import PRESETS


@dataclass(frozen=True, slots=True)
class Question:
    """One answer to be had.

    Args:
        key: its name.
        asks: as it is asked for.
        option: of the command line; secrets come from the file it names.
        example: a right answer; of a secret, a file.
        hidden: it is a secret.
    """

    key: str
    asks: str
    option: str
    example: str
    hidden: bool = False


QUESTIONS: Mapping[str, Question] = {
    one.key: one
    for one in (
        Question("public_url", "Public URL", "--public-url", "https://sso.acme.example"),
        Question("preset", "Provider", "--provider", "okta"),
        Question("id", "Short name", "--id", "acme"),
        Question("issuer", "Issuer", "--issuer", "https://id.acme.example"),
        Question("tenant", "Tenant ID", "--tenant", "7a0c1b2d-3e4f-4a5b-8c6d-7e8f9a0b1c2d"),
        Question("client_id", "Client ID", "--client-id", "0oa1b2c3"),
        Question("client_secret", "Client secret", "--client-secret-file", "client-secret.txt", hidden=True),
        Question("client_secret_expires", "Expires on", "--client-secret-expires", "2027-03-31"),
        Question("email_domains", "E-mail domains", "--email-domain", "acme.example"),
        Question(
            "endpoint",
            "JWT SSO endpoint",
            "--endpoint",
            "https://acme.comm100.com/AdminWebService/SSO/SSOJWTConsumer.aspx",
        ),
        Question("shared_secret", "Shared secret", "--shared-secret-file", "comm100-secret.txt", hidden=True),
        Question("trusted_ca_file", "CA certificate file", "--trusted-ca-file", "acme-ca.pem"),
        Question("outbound_proxy", "Outbound proxy", "--outbound-proxy", "http://proxy.acme.example:3128"),
        Question("allow_private_network", "Allow the private network", "--allow-private-network", ""),
        Question("scopes", "Scopes", "--scope", "openid"),
    )
}

ON_THE_WAY = ("trusted_ca_file", "outbound_proxy", "allow_private_network", "scopes")
"""Optional answers, for providers that cannot be reached or asked without them."""

PROVIDERS: Mapping[str, str] = {
    "okta": "Okta",
    "entra": "Microsoft Entra ID",
    "google": "Google Workspace",
    "oidc": "another OpenID Connect provider, such as Keycloak or Auth0",
}
OTHER_NAMES = {"other": "oidc", "keycloak": "oidc", "auth0": "oidc", "microsoft": "entra", "azure": "entra"}


def finds_the_provider(preset: str) -> tuple[str, ...]:
    """Return the names of the answers by which a provider of this kind is found.

    Args:
        preset: the kind; of one there is not, nothing.
    """
    kind = PRESETS.get(preset)
    if kind is None:
        return ()
    if kind.has_tenants:
        return ("tenant",)
    return ("issuer",) if "issuer" in kind.needs else ()


def where(key: str, preset: str, issuer: str = "") -> str:
    """Return where at the provider an answer is found, in its own menu names; empty if there is nothing to say.

    Args:
        key: the name of the answer.
        preset: the kind of provider.
        issuer: of the provider, if it is known: it tells the product.
    """
    console_paths = providers.PRESETS[preset].console_paths(issuer)
    places = {
        "issuer": console_paths.issuer,
        "client_id": console_paths.client_id,
        "client_secret": console_paths.client_secret,
    }
    if key == "tenant":
        return "Entra: Overview > Tenant ID; a domain of the tenant, such as acme.example, will do, too"
    return places.get(key, "")
