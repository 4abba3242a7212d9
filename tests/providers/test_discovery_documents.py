"""What Okta, Entra ID and Google really publish (tests/data): taken from the right issuer, refused from a neighbour."""

from __future__ import annotations

from pathlib import Path

import pytest

from broker.errors import IdTokenIssuer, MetadataIssuer
from broker.oidc.keys import VerificationKey, check_keys
from broker.oidc.messages import ProviderResponse
from broker.oidc.metadata import ProviderMetadata, check_discovery
from broker.providers import KINDS, ClaimRules
from broker.providers.entra import PERSONAL_ACCOUNTS_TENANT
from tests.oidc.samples import registration

DATA = Path(__file__).parents[1] / "data"
TENANT = "9a95fd9e-005d-487a-9a01-d08c1eab2757"
NEIGHBOUR = "0b9a8f7e-6d5c-4b4a-9f3e-2d1c0b9a8f7e"
MICROSOFT = "https://login.microsoftonline.com"
ISSUERS = {
    "okta_org": "https://dev-120913.okta.com",
    "okta_custom": "https://dev-69785679.okta.com/oauth2/default",
    "entra_tenant": f"{MICROSOFT}/{TENANT}/v2.0",
    "entra_organizations": f"{MICROSOFT}/{{tenantid}}/v2.0",
    "google": "https://accounts.google.com",
}


def recorded(name: str) -> ProviderResponse:
    return ProviderResponse(200, "application/json", (DATA / f"{name}.json").read_bytes())


def check(name: str, issuer: str) -> ProviderMetadata:
    return check_discovery(recorded(name), expected_issuer=issuer, allow_loopback=False)


@pytest.mark.parametrize("name", ISSUERS)
def test_a_recorded_document_is_taken_from_its_issuer(name: str) -> None:
    metadata = check(name, ISSUERS[name])
    assert metadata.issuer == ISSUERS[name]
    assert metadata.authorization_response_iss_parameter_supported is False


@pytest.mark.requirement("S-40")
@pytest.mark.parametrize(
    ("name", "neighbour"),
    [
        pytest.param("okta_org", "https://dev-120914.okta.com", id="Okta: another organisation"),
        pytest.param("okta_org", "https://dev-120913.okta.com/", id="Okta: a slash more"),
        pytest.param("okta_org", "https://dev-120913.okta.com/oauth2/default", id="Okta: the custom server"),
        pytest.param("okta_custom", "https://dev-69785679.okta.com", id="Okta: the org server"),
        pytest.param("okta_custom", "https://dev-69785679.okta.com/oauth2/aus1", id="Okta: another custom server"),
        pytest.param("entra_tenant", f"{MICROSOFT}/{NEIGHBOUR}/v2.0", id="Entra: another tenant"),
        pytest.param("entra_tenant", f"{MICROSOFT}/{{tenantid}}/v2.0", id="Entra: all tenants"),
        pytest.param("entra_tenant", f"https://sts.windows.net/{TENANT}/", id="Entra: version 1.0"),
        pytest.param("entra_organizations", f"{MICROSOFT}/{TENANT}/v2.0", id="Entra: one tenant's, of all"),
        pytest.param("entra_organizations", f"{MICROSOFT}/organizations/v2.0", id="Entra: the address asked"),
        pytest.param("google", "accounts.google.com", id="Google: the spelling of tokens alone"),
        pytest.param("google", "https://accounts.google.com/", id="Google: a slash more"),
    ],
)
def test_a_neighbours_document_is_refused(name: str, neighbour: str) -> None:
    with pytest.raises(MetadataIssuer):
        check(name, neighbour)


@pytest.mark.parametrize(
    ("name", "hosts"),
    [
        pytest.param("okta_org", {"dev-120913.okta.com"}, id="Okta, org server"),
        pytest.param("okta_custom", {"dev-69785679.okta.com"}, id="Okta, custom server"),
        pytest.param("entra_tenant", {"login.microsoftonline.com", "graph.microsoft.com"}, id="Entra"),
        pytest.param(
            "google",
            {
                "accounts.google.com",
                "oauth2.googleapis.com",
                "openidconnect.googleapis.com",
                "www.googleapis.com",
            },
            id="Google, on four hosts",
        ),
    ],
)
def test_endpoints_may_be_on_other_hosts(name: str, hosts: set[str]) -> None:
    metadata = check(name, ISSUERS[name])
    endpoints = [
        metadata.authorization_endpoint,
        metadata.token_endpoint,
        metadata.userinfo_endpoint,
        metadata.jwks_uri,
    ]
    assert {str(endpoint).split("/")[2] for endpoint in endpoints} == hosts


@pytest.mark.parametrize("name", ISSUERS)
def test_all_but_google_can_sign_people_out(name: str) -> None:
    assert (check(name, ISSUERS[name]).end_session_endpoint is None) == (name == "google")


def entra_keys() -> tuple[VerificationKey, ...]:
    return check_keys(recorded("entra_keys"))[0].keys


def test_entras_keys_have_no_algorithm_and_an_issuer_each() -> None:
    assert [(key.algorithm, key.issuer) for key in entra_keys()] == [
        (None, f"{MICROSOFT}/{{tenantid}}/v2.0"),
        (None, f"{MICROSOFT}/{{tenantid}}/v2.0"),
        (None, f"{MICROSOFT}/{PERSONAL_ACCOUNTS_TENANT}/v2.0"),
    ]
    assert all(key.fits("RS256") and not key.fits("ES256") for key in entra_keys())


@pytest.mark.requirement("S-14")
@pytest.mark.parametrize("several", [False, True], ids=["one tenant", "several tenants"])
def test_entras_keys_of_organisations_count_and_the_one_of_personal_accounts_does_not(several: bool) -> None:
    issuer = ISSUERS["entra_organizations"] if several else ISSUERS["entra_tenant"]
    entra = registration(issuer=issuer, metadata_issuer=issuer)
    rules = ClaimRules(tenants=frozenset({TENANT} if several else ()))

    def expected_issuer(key: VerificationKey) -> str:
        return KINDS["entra"].expected_issuer(entra, {"tid": TENANT}, rules, key_issuer=key.issuer)

    *organisations, personal = entra_keys()
    assert {expected_issuer(key) for key in organisations} == {ISSUERS["entra_tenant"]}
    with pytest.raises(IdTokenIssuer):
        expected_issuer(personal)
