"""Any OpenID provider, with Keycloak as the example: the words of its console, and its command line.

- https://www.keycloak.org/docs/latest/server_admin/#_oidc_clients
- https://www.keycloak.org/docs/latest/server_admin/#admin-cli
"""

from __future__ import annotations

import json

from broker.providers import Provider
from broker.setup.quoting import shell
from broker.setup.record import Command, Value, Wanted

NOTE = (
    "Register a confidential web client with the authorization code flow. The provider must send email_verified: true; "
    "in Keycloak that is Users > the person > Email verified."
)


def further_values(provider: Provider, wanted: Wanted) -> tuple[Value, ...]:
    """Return where the provider sends people after signing out, and what its portal opens.

    Args:
        provider: with the issuer, by which Keycloak is told.
        wanted: the addresses.
    """
    start = Value("Initiate login URI", wanted.start_uri, "the client's registration, if it has such a field")
    if _realm(provider):
        where = "Keycloak: Clients > the client > Settings > Home URL"
        start = Value("Home URL", wanted.home_page, where, "For the account console's list of applications.")
    return (
        Value("Post logout redirect URI", wanted.post_logout_uri, provider.console_paths.sign_out_uri),
        start,
    )


def claims(provider: Provider) -> tuple[Value, ...]:
    """Return the claims that must come, in the ID token or from userinfo.

    Args:
        provider: with the admin's rules.
    """
    rules = provider.rules
    wanted = dict.fromkeys((rules.email_claim, "email_verified", rules.name_claim))
    if provider.policy.allowed_groups and provider.groups_claim:
        wanted[provider.groups_claim] = None
    return (Value("Claims", " ".join(wanted), provider.console_paths.scopes, "In the ID token, or from userinfo."),)


def commands(provider: Provider, wanted: Wanted) -> tuple[Command, ...]:
    """Return the registration for Keycloak's command line, if the issuer is a realm of Keycloak's.

    Args:
        provider: with its registration.
        wanted: the addresses.
    """
    realm = _realm(provider)
    if not realm:
        return ()
    server = provider.registration.issuer.removesuffix(f"/realms/{realm}")
    client = [f"-s {shell(f'{key}={value}')}" for key, value in _client(provider, wanted).items()]
    made = " \\\n  ".join([f"kcadm.sh create clients -r {shell(realm)} -i", *client])
    lines = [
        f"kcadm.sh config credentials --server {shell(server)} --realm master --user admin",
        f"ID=$({made})",
    ]
    note = ""
    if wanted.by_secret:
        lines += [
            "umask 077",
            f'kcadm.sh get "clients/$ID/client-secret" -r {shell(realm)} --fields value --format csv --noquotes \\',
            "  > client-secret",
        ]
        note = "It writes the secret into the file client-secret."
    return (Command("Keycloak's kcadm.sh", "\n".join(lines) + "\n", note),)


def _client(provider: Provider, wanted: Wanted) -> dict[str, str]:
    """Return the client's representation, member by member; what is no plain text is JSON."""
    registration = provider.registration
    return {
        "clientId": registration.client_id,
        "enabled": "true",
        "publicClient": json.dumps(registration.client_authentication == "none"),
        "standardFlowEnabled": "true",
        "directAccessGrantsEnabled": "false",
        "redirectUris": json.dumps([wanted.redirect_uri]),
        "baseUrl": wanted.home_page,
        'attributes."post.logout.redirect.uris"': wanted.post_logout_uri,
        'attributes."pkce.code.challenge.method"': "S256",
    }


def _realm(provider: Provider) -> str:
    """Return Keycloak's realm, as its issuers name it; empty if this is another product."""
    _, found, realm = provider.registration.issuer.rpartition("/realms/")
    return realm if found and "/" not in realm else ""
