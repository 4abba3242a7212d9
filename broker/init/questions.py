"""What is asked, in words: each answer's name, its option, an example.

It owns the words alone. Which answers a kind of provider needs, and what they must be like, the settings know.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from broker.providers import KINDS, ProviderKind


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


def kind_of(preset: str) -> ProviderKind:
    """Return the kind of provider; any OpenID provider if the kind is not known."""
    return KINDS.get(preset, KINDS["oidc"])


def meant_kind(text: str) -> str:
    """Return the kind that was chosen by its number in the menu, its name or an alias; any other text in lower case."""
    if text.isdecimal() and 1 <= int(text) <= len(KINDS):
        return tuple(KINDS)[int(text) - 1]
    name = text.lower()
    return next((kind.name for kind in KINDS.values() if name in kind.aliases), name)


def finds_the_provider(preset: str) -> tuple[str, ...]:
    """Return the names of the answers that say where a provider is; empty for an unknown kind."""
    kind = KINDS.get(preset)
    return (kind.located_by,) if kind is not None and kind.located_by else ()


def where(key: str, preset: str, issuer: str = "") -> str:
    """Return where an admin finds an answer in the provider's console.

    Args:
        issuer: tells the product; empty if not known.
    """
    place: str = getattr(kind_of(preset).console_paths(issuer), key)
    return place
