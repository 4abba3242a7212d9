"""What each kind takes for granted, and how a tenant of Entra is named."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from broker.errors import SettingsError
from broker.providers import KINDS
from broker.settings import ProviderSettings, describe
from tests.settings.admin import Admin
from tests.settings.pem import certificate_of, pem_of, platform_token, rsa_key

TENANT = "7a0c1b2d-3e4f-4a5b-8c6d-7e8f9a0b1c2d"
OTHER = "0b9a8f7e-6d5c-4b4a-9f3e-2d1c0b9a8f7e"
DOCUMENT = (Path(__file__).parents[2] / "docs" / "admin" / "settings.md").read_text(encoding="utf-8")
COMMON = {"client_id": "abc", "client_secret_file": "client-secret", "email_domains": ["acme.example"]}
EXAMPLES = [
    "Okta", "Okta", "Entra ID, one tenant", "Entra ID, several tenants", "Entra ID with a certificate",
    "Entra ID with workload identity", "Google Workspace",
]  # fmt: skip
# The three providers most organisations have, in one file.
WHOLE = f"""
public_url: https://sso.acme.example       # required: where browsers reach the broker
secret_keys_file: keys
listen: 0.0.0.0:8000                       # public port
operations_listen: 127.0.0.1:9000          # health, readiness, metrics: never on the public port
trusted_proxies: []
trusted_ca_file: null
outbound_proxy: null
shared_email_domains: false
log_email: hashed
support_email: null
site_name: Acme sign-in
logo_file: null

sites:
  main:
    endpoint: https://acme.comm100.com/AdminWebService/SSO/SSOJWTConsumer.aspx
    shared_secret_file: shared-secret
    delivery: endpoint
    redirect_hosts: [dash11.comm100.io]
    token_lifetime: 60
    claims: {{iss: jwt server, aud: Comm100, sub: comm100}}
    identity_providers: [okta, entra]
    start_url: https://secure.comm100.io/signin

identity_providers:
  okta:
    preset: okta
    issuer: https://acme.okta.com
    client_id: 0oa1...
    client_secret_file: client-secret
    email_domains: [acme.example]
    label: Acme Okta
  entra:
    preset: entra
    tenant: {TENANT}
    client_id: ...
    client_secret_file: client-secret
    email_domains: [acme-eu.example]
  google:
    preset: google
    client_id: ...
    client_secret_file: client-secret
    email_domains: [acme-labs.example]
"""


def entra(**keys: Any) -> dict[str, Any]:
    return {"preset": "entra", "tenant": TENANT} | COMMON | keys


def _load(admin: Admin, section: dict[str, Any], **changes: Any) -> ProviderSettings:
    return admin.load(admin.settings(identity_providers={"idp": section}, **changes)).identity_providers["idp"]


def _refused(admin: Admin, section: dict[str, Any]) -> dict[str, str]:
    mistakes = admin.refused(admin.settings(identity_providers={"idp": section}))
    return {mistake.path.removeprefix("identity_providers.idp."): mistake.problem for mistake in mistakes}


def test_okta_entra_and_google_stand_in_one_file(admin: Admin) -> None:
    found = admin.load(WHOLE).identity_providers

    assert {name: (each.issuer, each.client_authentication, each.userinfo) for name, each in found.items()} == {
        "okta": ("https://acme.okta.com", "client_secret_basic", "always"),
        "entra": (f"https://login.microsoftonline.com/{TENANT}/v2.0", "client_secret_post", "when_needed"),
        "google": ("https://accounts.google.com", "client_secret_post", "when_needed"),
    }
    for provider in found.values():
        assert provider.scopes == ("openid", "email", "profile")
        assert provider.signing_algorithms == ("RS256",)
        assert provider.metadata_issuer == provider.issuer


def test_what_is_given_goes_before_what_a_kind_takes_for_granted(admin: Admin) -> None:
    provider = _load(admin, entra(client_authentication="client_secret_basic", userinfo="never", scopes=["openid"]))

    assert (provider.client_authentication, provider.userinfo) == ("client_secret_basic", "never")
    assert provider.scopes == ("openid",)


@pytest.mark.parametrize(
    ("kind", "missing"),
    [
        pytest.param("oidc", {"issuer", "client_id", "email_domains", "client_secret_file"}, id="oidc"),
        pytest.param("okta", {"issuer", "client_id", "email_domains", "client_secret_file"}, id="okta"),
        pytest.param("entra", {"tenant", "client_id", "email_domains", "client_secret_file"}, id="entra"),
        pytest.param("google", {"client_id", "email_domains", "client_secret_file"}, id="google"),
    ],
)
def test_a_kind_misses_what_it_needs_by_name(admin: Admin, kind: str, missing: set[str]) -> None:
    found = _refused(admin, {"preset": kind})

    assert set(found) == missing
    assert all("is required" in problem for problem in found.values())
    assert set(KINDS[kind].needs) <= missing


@pytest.mark.parametrize(
    ("value", "words"),
    [
        pytest.param("acme.onmicrosoft.com", "not its domain name", id="domain name"),
        pytest.param("acme.example", "not its domain name", id="custom domain"),
        pytest.param("common", "one organisation, not all", id="common"),
        pytest.param("organizations", "one organisation, not all", id="organizations"),
        pytest.param("consumers", "personal Microsoft accounts", id="consumers"),
        pytest.param("9188040d-6c67-4c5b-b112-36a304b66dad", "personal Microsoft accounts", id="personal accounts"),
        pytest.param("9188040D-6C67-4C5B-B112-36A304B66DAD", "personal Microsoft accounts", id="also in upper case"),
        pytest.param(TENANT.upper(), "lower case", id="upper case"),
        pytest.param(TENANT[:-1], "of the form in the example", id="too short"),
        pytest.param(TENANT.replace("-", ""), "of the form in the example", id="no hyphens"),
        pytest.param(f"{{{TENANT}}}", "of the form in the example", id="braces"),
        pytest.param("", "of the form in the example", id="empty"),
        pytest.param(5, "must be text", id="number"),
    ],
)
def test_a_tenant_is_named_by_its_id_alone(admin: Admin, value: Any, words: str) -> None:
    one = _refused(admin, entra(tenant=value))
    several = _refused(admin, entra(tenant=None, tenants=[TENANT, value]))

    assert list(one) == ["tenant"]
    assert list(several) == ["tenants[1]"]
    for problem in (one["tenant"], several["tenants[1]"]):
        assert words in problem
        assert "Entra > Overview > Tenant ID" in problem or words in {"lower case", "must be text"}


@pytest.mark.parametrize(
    ("section", "where", "words"),
    [
        pytest.param(entra(tenants=[OTHER]), "tenants", "beside tenant", id="both"),
        pytest.param(entra(tenant=None), "tenant", "or tenants", id="neither"),
        pytest.param(entra(tenant=None, tenants=[]), "tenants", "an empty list", id="no tenants"),
        pytest.param(
            entra(tenant=None, tenants=[OTHER], metadata_url="https://x.example/y"),
            "metadata_url",
            "beside tenants",
            id="a discovery document of their own",
        ),
        pytest.param(entra(tenant=None, tenants=[OTHER, OTHER]), "tenants", "twice", id="one twice"),
        pytest.param(entra(tenant=None, tenants=TENANT), "tenants", "must be a list", id="no list"),
        pytest.param(
            entra(issuer=f"https://login.microsoftonline.com/{OTHER}/v2.0"), "issuer", "another tenant", id="other"
        ),
        pytest.param(
            entra(issuer="https://login.microsoftonline.us/organizations/v2.0"), "issuer", "another tenant", id="all"
        ),
        pytest.param(
            entra(tenant=None, tenants=[TENANT], issuer=f"https://login.microsoftonline.us/{TENANT}/v2.0"),
            "issuer",
            "must contain /organizations/",
            id="issuer of one",
        ),
        pytest.param(
            entra(tenant=None, tenants=[TENANT, OTHER], trust_unverified_email=True),
            "trust_unverified_email",
            "must not be true beside tenants",
            id="unverified addresses of several tenants",
        ),
        pytest.param({"preset": "google", "tenant": TENANT} | COMMON, "tenant", "preset entra", id="tenant of Google"),
        pytest.param(
            {"preset": "okta", "issuer": "https://acme.okta.com", "tenants": [TENANT]} | COMMON,
            "tenants",
            "preset entra",
            id="tenants of Okta",
        ),
        pytest.param({"tenant": TENANT, "issuer": "https://a.example"} | COMMON, "tenant", "preset entra", id="oidc"),
        pytest.param({"preset": "google"} | COMMON | {"email_domains": ["gmail.com"]}, "email_domains[0]",
                     "consumer accounts cannot be used", id="gmail.com"),
        pytest.param({"preset": "google"} | COMMON | {"email_domains": ["yahoo.com"]}, "email_domains[0]",
                     "anyone can get an address there", id="other public mail"),
        pytest.param({"preset": "google", "require_acr": ["phr"]} | COMMON, "require_acr",
                     "Google sends no acr", id="a context of Google"),
        pytest.param({"preset": "google", "require_amr": ["mfa"]} | COMMON, "require_amr",
                     "2-Step Verification", id="a method of Google"),
        pytest.param({"preset": "oidc", "issuer": "https://accounts.google.com", "require_amr": ["mfa"]} | COMMON,
                     "require_amr", "Google sends no amr", id="a method of Google under another preset"),
        pytest.param({"preset": "oidc", "issuer": "https://Accounts.Google.com/", "require_amr": ["mfa"]} | COMMON,
                     "require_amr", "Google sends no amr", id="Google's issuer in another spelling"),
        pytest.param(entra(require_acr=["c1", "mfa"]), "require_acr", "c1 to c99", id="no context of Entra"),
    ],
)  # fmt: skip
def test_what_does_not_fit_a_kind_is_refused(admin: Admin, section: dict[str, Any], where: str, words: str) -> None:
    found = _refused(admin, section)

    assert list(found) == [where]
    assert words in found[where]


@pytest.mark.parametrize(
    ("keys", "issuer", "metadata_issuer"),
    [
        pytest.param(
            {"tenant": TENANT},
            f"https://login.microsoftonline.com/{TENANT}/v2.0",
            f"https://login.microsoftonline.com/{TENANT}/v2.0",
            id="one tenant",
        ),
        pytest.param(
            {"tenant": None, "tenants": [TENANT, OTHER]},
            "https://login.microsoftonline.com/organizations/v2.0",
            "https://login.microsoftonline.com/{tenantid}/v2.0",
            id="several tenants",
        ),
        pytest.param(
            {"tenant": TENANT, "issuer": f"https://login.microsoftonline.us/{TENANT}/v2.0"},
            f"https://login.microsoftonline.us/{TENANT}/v2.0",
            f"https://login.microsoftonline.us/{TENANT}/v2.0",
            id="one tenant in a national cloud",
        ),
        pytest.param(
            {"tenant": None, "tenants": [TENANT], "issuer": "https://login.partner.microsoftonline.cn/organizations/v2.0"},
            "https://login.partner.microsoftonline.cn/organizations/v2.0",
            "https://login.partner.microsoftonline.cn/{tenantid}/v2.0",
            id="several tenants in a national cloud",
        ),
    ],
)  # fmt: skip
def test_the_issuer_follows_from_the_tenant(
    admin: Admin, keys: dict[str, Any], issuer: str, metadata_issuer: str
) -> None:
    provider = _load(admin, entra(**keys))

    assert (provider.issuer, provider.metadata_issuer) == (issuer, metadata_issuer)
    assert provider.tenant == keys["tenant"]
    assert provider.tenants == (tuple(keys["tenants"]) if "tenants" in keys else None)


def test_unverified_addresses_of_one_tenant_may_be_trusted(admin: Admin) -> None:
    assert _load(admin, entra(trust_unverified_email=True)).trust_unverified_email


def test_a_tenant_may_come_from_the_environment(admin: Admin) -> None:
    settings = admin.load(
        admin.settings(identity_providers={"idp": entra()}),
        BROKER_IDENTITY_PROVIDERS__IDP__TENANT="",
        BROKER_IDENTITY_PROVIDERS__IDP__TENANTS=f"[{OTHER}]",
    )

    provider = settings.identity_providers["idp"]
    assert (provider.tenant, provider.tenants) == (None, (OTHER,))


@pytest.mark.parametrize("number", range(len(EXAMPLES)), ids=[f"{n}: {name}" for n, name in enumerate(EXAMPLES)])
def test_every_example_of_the_document_loads(admin: Admin, number: int) -> None:
    part = DOCUMENT.partition("\n## Presets\n")[2].partition("\n## ")[0]
    blocks = re.findall(r"```yaml\n(.*?)```", part, re.DOTALL)
    for name, secret in {"okta": None, "entra": None, "google": None, "azure-identity-token": platform_token()}.items():
        admin.secret(name, secret)
    admin.secret("entra.pem", pem_of(rsa_key()) + certificate_of(rsa_key()))

    tree = yaml.safe_load(re.sub(r"/(var/run/secrets/azure/tokens|run/secrets)/", "", blocks[number]))

    assert len(blocks) == len(EXAMPLES)
    settings = admin.load(admin.settings(identity_providers=tree["identity_providers"]))
    assert len(settings.identity_providers) == 1


def test_the_document_shows_mistakes_as_they_are_told(admin: Admin) -> None:
    admin.secret("entra.pem", pem_of(rsa_key()))
    section = entra(tenant="common", client_authentication="private_key_jwt", private_key_file="entra.pem")
    tree = admin.settings(identity_providers={"entra": section})

    told = describe(SettingsError(admin.refused(tree)))

    assert f"```\n{told}```" in DOCUMENT
