"""Misconfigurations that the settings or `broker check` bring to light."""

from __future__ import annotations

import base64

from broker.checks import PAGE_MARK
from tests.checks.diagnosis import NOWHERE
from tests.fakes.kinds import OTHER, TENANT
from tests.fakes.lies import Document, Lies
from tests.fakes.world import SHARED_SECRET
from tests.misconfigurations.bench import Bench, Said
from tests.misconfigurations.record import Change, Row, as_it_was, as_the_remedy_says, put
from tests.misconfigurations.vendors import SECRET
from tests.oidc.servers import ok

_SECRET_ID = "0f1e2d3c-4b5a-4697-8877-665544332211"
_PERSONAL = "9188040d-6c67-4c5b-b112-36a304b66dad"


def _second_provider(bench: Bench, _: Said) -> None:
    bench.settings["identity_providers"]["acme"] = {**bench.idp}


def _to_tenant(tenant: str) -> Change:
    def change(bench: Bench, _: Said) -> None:
        bench.idp.update(tenant=tenant, issuer=bench.idp["issuer"].replace(TENANT, tenant))

    return change


def _with_a_slash(document: Document) -> Document:
    return {**document, "issuer": f"{document['issuer']}/"}


def _tab(text: str) -> str:
    return text.replace("    client_id:", "\tclient_id:")


SETTINGS = [
    Row("issuer with http", "issuer: must begin with https://", "issuer: https://",
        put(production=True, idp={"issuer": "http://acme.okta.com"}), put(idp={"issuer": "https://acme.okta.com"})),
    Row("endpoint with http", "endpoint: must begin with https://", "endpoint: https://acme.comm100.com",
        put(production=True, site={"endpoint": "http://acme.comm100.com/AdminWebService/SSO/SSOJWTConsumer.aspx"}),
        as_the_remedy_says),
    Row("the address of the discovery document as issuer", "is the address of the discovery document",
        "issuer: https://acme.okta.com",
        put(production=True, idp={"issuer": "https://acme.okta.com/.well-known/openid-configuration"}),
        as_the_remedy_says),
    Row("the Admin Console's address as issuer", "is the address of Okta's Admin Console",
        "issuer: https://acme.okta.com",
        put(production=True, idp={"issuer": "https://acme-admin.okta.com/admin/dashboard"}), as_the_remedy_says,
        kind="okta"),
    Row("`common` as tenant", "must name one organisation, not all", "tenant: ",
        put(production=True, idp={"tenant": "common"}), put(idp={"tenant": TENANT}), kind="entra"),
    Row("the tenant of personal accounts", "must not name personal Microsoft accounts", "tenant: ",
        put(production=True, idp={"tenant": _PERSONAL}), put(idp={"tenant": TENANT}), kind="entra"),
    Row("the tenant's domain instead of its id", "must be the tenant's id, not its domain name", "tenant: ",
        put(production=True, idp={"tenant": "acme.onmicrosoft.com"}), put(idp={"tenant": TENANT}), kind="entra"),
    Row("a domain at two providers", "names acme.example, which belongs to idp", "name each domain at one provider",
        _second_provider, put(idp={"email_domains": ["acme-eu.example"]}, provider={"redirect_uris": None})),
    Row("a public mail domain", "must not name gmail.com: anyone can get an address there", "email_domains: [",
        put(idp={"email_domains": ["gmail.com"]}), put(idp={"email_domains": ["acme.example"]})),
    Row("a misspelt key", "clientid: is no setting here; did you mean client_id?", "client_id: ",
        put(idp={"client_id": None, "clientid": "client-1"}), put(idp={"clientid": None, "client_id": "client-1"})),
    Row("a tab in the settings file", "begins with a tab; indent with spaces", "spaces in its place",
        put(bench={"rewrite": _tab}), put(bench={"rewrite": str})),
    Row("a secret file that is not there", "client_secret_file: names a file that cannot be read", "client_secret_file",
        put(idp={"client_secret_file": "client-secrets"}), put(idp={"client_secret_file": "client-secret"})),
    Row("an empty secret file", "client_secret_file: names a file that is empty", "the secret alone",
        put(files={"client-secret": ""}), as_it_was),
    Row("a secret file with the variable's name in it", "begins with a name, such as CLIENT_SECRET=",
        "the secret alone", put(files={"client-secret": f"OKTA_CLIENT_SECRET={SECRET}"}), as_it_was),
    Row("a secret in quotes", "is in quotes", "the secret alone",
        put(files={"comm100-secret": f'"{SHARED_SECRET}"'}), as_it_was),
]  # fmt: skip

REACHING = [
    Row("a typing error in the issuer's host", "The name nowhere.invalid cannot be resolved", "Compare its spelling",
        put(idp={"issuer": NOWHERE}), put(idp={"issuer": "{issuer}"})),
    Row("the issuer with a wrong port", "No connection to id.acme.example, port", "Compare host and port",
        put(idp={"issuer": "http://127.0.0.1:1"}), put(idp={"issuer": "{issuer}"})),
    Row("a provider on a private address", "is on a private network (10.255.255.1)", "allow_private_network: true",
        put(production=True, idp={"issuer": "https://10.255.255.1:9"}, bench={"offline": False}),
        put(idp={"allow_private_network": True}, bench={"offline": True}),  # nobody is at home there
        leaves="An insecure option is on: allow_private_network"),
    Row("a private certificate authority that nobody named", "unknown authority", "trusted_ca_file",
        put(), put(top={"trusted_ca_file": "ca.pem"}), tls=True),
    Row("a proxy that is down", "cannot be reached through outbound_proxy", "Check outbound_proxy",
        put(top={"outbound_proxy": "http://127.0.0.1:1"}), put(top={"outbound_proxy": None})),
    Row("this machine's clock ten minutes behind", "10 minutes behind the provider's", "Synchronise this machine's",
        put(bench={"clock_behind": 600}), put(bench={"clock_behind": 0})),
    Row("this machine's clock ten minutes ahead", "10 minutes ahead of the provider's", "Synchronise this machine's",
        put(bench={"clock_behind": -600}), put(bench={"clock_behind": 0})),
]  # fmt: skip

PROVIDER = [
    Row("a slash too many at the issuer's end", "Only the slash differs: the provider's has no slash",
        "Set issuer to exactly", put(idp={"issuer": "{issuer}/"}), as_the_remedy_says),
    Row("the slash at the issuer's end left out", "Only the slash differs: the provider's ends with a slash",
        "Set issuer to exactly", put(provider={"lies": Lies(discovery=_with_a_slash)}), as_the_remedy_says),
    Row("an authorization server that does not exist", "answers with status 404", "Authorization Servers",
        put(idp={"issuer": "{issuer}/oauth2/acme"}), put(idp={"issuer": "{issuer}"}), kind="okta"),
    Row("a tenant that does not exist", "AADSTS90002", "Entra knows no such tenant",
        _to_tenant("7a0c1b2d-3e4f-4a5b-8c6d-7e8f9a0b1c2e"), put(idp={"tenant": TENANT, "issuer": "{issuer}"}),
        kind="entra"),
    Row("another organisation's tenant", "AADSTS700016", "has no application with this client_id",
        _to_tenant(OTHER), put(idp={"tenant": TENANT, "issuer": "{issuer}"}), kind="entra"),
    Row("signing_algorithms without the provider's", "No key of the provider can verify RS256",
        "Set signing_algorithms", put(idp={"signing_algorithms": ["RS256"]}),
        put(idp={"signing_algorithms": ["ES256"]})),
    Row("a wrong client secret, Okta", "The client secret supplied for a confidential client is invalid",
        "The client secret is wrong or inactive", put(files={"client-secret": SECRET[::-1]}), as_it_was, kind="okta"),
    Row("a wrong client secret, Google", "The provided client secret is invalid", "Client secrets",
        put(files={"client-secret": SECRET[::-1]}), as_it_was, kind="google"),
    Row("a wrong client secret, another provider", "refuses the client: invalid_client",
        "knows the client ID, so the credential is wrong or expired",
        put(files={"client-secret": SECRET[::-1]}), as_it_was),
    Row("the Secret ID instead of the secret", "AADSTS7000215", "copy the Value, not the Secret ID",
        put(files={"client-secret": _SECRET_ID}), as_it_was, kind="entra"),
    Row("a client secret that has expired", "AADSTS7000222", "The client secret expired",
        put(provider={"expired": True}), put(provider={"expired": False}), kind="entra"),
    Row("client_secret_expires in the past", "The client secret expired", "set client_secret_expires to its day",
        put(idp={"client_secret_expires": "2020-01-31"}), put(idp={"client_secret_expires": "2099-01-31"})),
    Row("the client id of another application, Okta", "Invalid value for 'client_id' parameter", "copy the Client ID",
        put(idp={"client_id": "0oa9other"}), put(idp={"client_id": "client-1"}), kind="okta"),
    Row("the client id of another application, Entra", "AADSTS700016", "has no application with this client_id",
        put(idp={"client_id": _SECRET_ID}), put(idp={"client_id": "client-1"}), kind="entra"),
    Row("a client id that was deleted, Google", "The OAuth client was not found", "Google knows no such client id",
        put(idp={"client_id": "1234-x.apps.googleusercontent.com"}), put(idp={"client_id": "client-1"}), kind="google"),
    Row("the client id of another application, another provider", "refuses the client: invalid_client",
        "The provider does not know the client ID", put(idp={"client_id": "comm100"}),
        put(idp={"client_id": "client-1"})),
    Row("another client_authentication than the client's", "but client_authentication is client_secret_post",
        "Set client_authentication to an announced method",
        put(idp={"client_authentication": "client_secret_post"}, provider={"takes": "client_secret_basic"}),
        put(idp={"client_authentication": "client_secret_basic"})),
    *(
        Row(f"the redirect URI is not registered, {vendor}", "/callback/idp is not registered at the provider", menu,
            put(provider={"redirect_uris": ["https://sso.acme.example/callback/acme"]}),
            put(provider={"redirect_uris": None}), kind=kind)
        for vendor, kind, menu in (
            ("Okta", "okta", "Sign-in redirect URIs"), ("Entra", "entra", "Authentication, platform Web"),
            ("Google", "google", "Authorized redirect URIs"), ("another provider", "oidc", "under redirect URIs"),
        )
    ),
    Row("a scope that the client may not have", "invalid_scope", "Compare scopes with",
        put(idp={"scopes": ["openid", "email", "profile", "agents"]}),
        put(idp={"scopes": ["openid", "email", "profile"]})),
]  # fmt: skip

COMM100 = [
    Row("the endpoint of something else", "answers with status 404", "JWT SSO endpoint",
        put(site={"endpoint": "{endpoint}.old"}), put(site={"endpoint": "{endpoint}"})),
    Row("a shared secret whose end is missing", "as if its end were missing", "Copy the shared secret once more",
        put(files={"comm100-secret": SHARED_SECRET[:40]}), as_it_was),
    Row("a shared secret that was decoded", "as if it had been decoded", "Do not decode it",
        put(files={"comm100-secret": base64.b64decode(SHARED_SECRET).decode()}), as_it_was),
    Row("something else at public_url", "with the broker's page", "Let the proxy send every path",
        put(bench={"front": ok(b"<h1>It works!</h1>")}), put(bench={"front": ok(PAGE_MARK)})),
    Row("the shared secret of another Comm100 site", "", "",
        put(files={"comm100-secret": base64.b64encode(b"0f1e2d3c-4b5a-4697-8877-665544332211").decode()}), as_it_was),
]  # fmt: skip

ROWS = [*SETTINGS, *REACHING, *PROVIDER, *COMM100]
