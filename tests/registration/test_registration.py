"""What an admin copies fits what the broker does, and a command says it in words its program knows."""

from __future__ import annotations

import itertools
import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from broker.registration import ProviderSetup
from tests.registration.scene import CLIENT_SECRET, ENDPOINT, SHARED_SECRET, TENANT, settings, setups

ROOT = Path(__file__).parents[2]
URL = "https://sso.acme.example"
NASTY = "x'; touch /tmp/pwned; echo '${path.module}%{if true}\"`$(id)`\\"


@pytest.fixture
def setup_of(tmp_path: Path) -> Any:
    def of(identifier: str, **keys: Any) -> ProviderSetup:
        return setups(tmp_path, settings(**{identifier: keys}))[0][identifier]

    return of


def values_of(setup: ProviderSetup) -> dict[str, str]:
    return {one.label: one.value for one in setup.values}


def command_of(setup: ProviderSetup, title: str) -> str:
    return next(one.text for one in setup.commands if one.title == title)


def words_of(script: str) -> list[list[str]]:
    """Return the words of each command in a script of ours, as a shell would split them."""
    lines = script.replace("\\\n", " ").replace("APP_ID=$(", "").replace("ID=$(", "").splitlines()
    return [shlex.split(line.removesuffix(")"), comments=True) for line in lines]


def options_of(words: list[str]) -> dict[str, list[str]]:
    options: dict[str, list[str]] = {}
    for word in words:
        if word.startswith("--"):
            options[word] = []
        elif options:
            options[list(options)[-1]].append(word)
    return options


@pytest.mark.parametrize(
    ("identifier", "expected"),
    [
        pytest.param(
            "okta",
            {
                "Redirect URI": f"{URL}/callback/okta",
                "Sign-out redirect URI": f"{URL}/logout",
                "Initiate login URI": f"{URL}/initiate/okta",
                "Scopes": "openid email profile",
                "Client ID": "0oa1b2c3",
            },
            id="okta",
        ),
        pytest.param(
            "entra",
            {
                "Redirect URI": f"{URL}/callback/entra",
                "Redirect URI for signing out": f"{URL}/logout",
                "Home page URL": f"{URL}/initiate/entra?iss=https%3A%2F%2Flogin.microsoftonline.com%2F{TENANT}%2Fv2.0",
                "Scopes": "openid email profile",
                "Optional claims of the ID token": "email xms_edov verified_primary_email",
                "Client ID": "1f2e3d4c-5b6a-4978-8695-a4b3c2d1e0f9",
            },
            id="entra",
        ),
        pytest.param(
            "google",
            {
                "Redirect URI": f"{URL}/callback/google",
                "Scopes": "openid email profile",
                "Client ID": "1234567890-abc.apps.googleusercontent.com",
            },
            id="google",
        ),
        pytest.param(
            "keycloak",
            {
                "Redirect URI": f"{URL}/callback/keycloak",
                "Post logout redirect URI": f"{URL}/logout",
                "Home URL": f"{URL}/initiate/keycloak?iss=https%3A%2F%2Fid.acme.example%2Frealms%2Facme",
                "Scopes": "openid email profile",
                "Claims": "email email_verified name",
                "Client ID": "comm100-sso",
            },
            id="keycloak",
        ),
    ],
)
def test_each_kind_of_provider_asks_for_its_own_values(
    setup_of: Any, identifier: str, expected: dict[str, str]
) -> None:
    setup = setup_of(identifier)
    assert values_of(setup) == expected
    assert all(one.where for one in setup.values)
    assert (ROOT / setup.guide).exists()


def test_a_provider_that_is_not_keycloak_gets_the_plain_address_and_no_command(setup_of: Any) -> None:
    setup = setup_of("keycloak", issuer="https://id.acme.example")
    assert values_of(setup)["Initiate login URI"] == f"{URL}/initiate/keycloak"
    assert setup.commands == ()


def test_the_claims_follow_the_settings(setup_of: Any) -> None:
    setup = setup_of("keycloak", email_claim="mail", name_claim="cn", groups_claim="roles", allowed_groups=["agents"])
    assert values_of(setup)["Claims"] == "mail email_verified cn roles"


def test_the_azure_cli_registers_what_is_to_be_copied(setup_of: Any) -> None:
    setup = setup_of("entra")
    login, create, principal, _umask, secret, _echo = words_of(command_of(setup, "Azure CLI"))
    values = values_of(setup)
    assert options_of(login) == {"--allow-no-subscriptions": [], "--tenant": [TENANT]}
    assert create[:4] == ["az", "ad", "app", "create"]
    options = options_of(create)
    claims = json.loads(options["--optional-claims"][0])
    assert options["--web-redirect-uris"] == [values["Redirect URI"], values["Redirect URI for signing out"]]
    assert options["--web-home-page-url"] == [values["Home page URL"]]
    assert options["--sign-in-audience"] == ["AzureADMyOrg"]
    assert " ".join(one["name"] for one in claims["idToken"]) == values["Optional claims of the ID token"]
    assert principal[:4] == ["az", "ad", "sp", "create"]
    assert secret[:5] == ["az", "ad", "app", "credential", "reset"]
    assert options_of(secret)["--end-date"] == ["2027-07-14"]
    assert "--append" in secret  # without it the secrets that are there are deleted
    assert secret[-2:] == [">", "client-secret"]


def test_an_application_of_several_tenants_is_open_to_all_of_them(setup_of: Any) -> None:
    setup = setup_of("entra", tenant=None, tenants=[TENANT, "0b9a8f7e-6d5c-4b4a-9f3e-2d1c0b9a8f7e"])
    login, create, *_ = words_of(command_of(setup, "Azure CLI"))
    assert "--tenant" not in login
    assert options_of(create)["--sign-in-audience"] == ["AzureADMultipleOrgs"]
    assert values_of(setup)["Home page URL"].endswith("%2Forganizations%2Fv2.0")


def test_groups_are_asked_of_entra_only_where_they_matter(setup_of: Any) -> None:
    plain, with_groups = setup_of("entra"), setup_of("entra", groups_claim="groups", allowed_groups=["2f6c1d0e"])
    for title, word in [("Azure CLI", "groupMembershipClaims=ApplicationGroup"), ("Terraform", '["ApplicationGroup"]')]:
        assert word not in command_of(plain, title)
        assert word in command_of(with_groups, title)
    assert "Groups claim" not in values_of(plain)
    assert values_of(with_groups)["Groups claim"] == "groups"


def test_an_application_without_a_client_secret_gets_none(setup_of: Any) -> None:
    setup = setup_of(
        "entra",
        client_authentication="federated_credential",
        client_secret=None,
        federated_token="eyJhbGciOiJSUzI1NiJ9.e30.c2ln",
    )
    assert "client_secret" not in command_of(setup, "Terraform")
    assert "credential reset" not in command_of(setup, "Azure CLI")
    assert all("Certificates & secrets" in one.note for one in setup.commands)


@pytest.mark.parametrize(
    ("identifier", "argument", "value"),
    [
        pytest.param("okta", "redirect_uris", f'["{URL}/callback/okta"]', id="okta_redirect_uri"),
        pytest.param("okta", "post_logout_redirect_uris", f'["{URL}/logout"]', id="okta_sign_out"),
        pytest.param("okta", "login_uri", f'"{URL}/initiate/okta"', id="okta_tile"),
        pytest.param("okta", "login_scopes", '["openid", "email", "profile"]', id="okta_scopes"),
        pytest.param("okta", "token_endpoint_auth_method", '"client_secret_basic"', id="okta_authentication"),
        pytest.param("entra", "redirect_uris", f'["{URL}/callback/entra", "{URL}/logout"]', id="entra_redirect_uris"),
        pytest.param("entra", "end_date", '"2027-07-14T00:00:00Z"', id="entra_end_of_the_secret"),
        pytest.param("entra", "sign_in_audience", '"AzureADMyOrg"', id="entra_audience"),
    ],
)
def test_terraform_registers_what_is_to_be_copied(setup_of: Any, identifier: str, argument: str, value: str) -> None:
    text = command_of(setup_of(identifier), "Terraform")
    assert re.findall(rf"^ +{argument} += (.+)$", text, flags=re.MULTILINE) == [value]
    assert text.count("{") == text.count("}")


def test_keycloaks_command_registers_what_is_to_be_copied(setup_of: Any) -> None:
    setup = setup_of("keycloak")
    login, create, _umask, secret = words_of(command_of(setup, "Keycloak's kcadm.sh"))
    values = values_of(setup)
    client = dict(word.split("=", 1) for flag, word in itertools.pairwise(create) if flag == "-s")
    assert options_of(login)["--server"] == ["https://id.acme.example"]
    assert create[:6] == ["kcadm.sh", "create", "clients", "-r", "acme", "-i"]
    assert client["clientId"] == "comm100-sso"
    assert client["publicClient"] == "false"
    assert json.loads(client["redirectUris"]) == [values["Redirect URI"]]
    assert client['attributes."post.logout.redirect.uris"'] == values["Post logout redirect URI"]
    assert client["baseUrl"] == values["Home URL"]
    assert secret[-2:] == [">", "client-secret"]


def test_a_public_client_is_registered_as_one(setup_of: Any) -> None:
    setup = setup_of("keycloak", client_authentication="none", client_secret=None)
    text = command_of(setup, "Keycloak's kcadm.sh")
    assert "-s publicClient=true" in text
    assert "client-secret" not in text


def test_a_value_is_taken_by_the_shell_as_it_stands(setup_of: Any) -> None:
    create = words_of(command_of(setup_of("keycloak", client_id=NASTY), "Keycloak's kcadm.sh"))[1]
    assert f"clientId={NASTY}" in create


def test_a_value_is_taken_by_terraform_as_it_stands(setup_of: Any) -> None:
    text = command_of(setup_of("okta", groups_claim=NASTY, allowed_groups=["agents"]), "Terraform")
    (name,) = re.findall(r"^ +name +=(.+)$", text, flags=re.MULTILINE)
    assert json.loads(name.replace("$${", "${").replace("%%{", "%{")) == NASTY
    assert not re.search(r"(?<!\$)\$\{|(?<!%)%\{", text)


def test_google_says_that_there_is_no_command(setup_of: Any) -> None:
    setup = setup_of("google")
    assert setup.commands == ()
    assert "no command" in setup.note
    assert not setup.enabled


def test_addresses_name_the_site_only_where_there_are_several(tmp_path: Path) -> None:
    tree = settings()
    several = setups(tmp_path, tree)[1]
    del tree["sites"]["europe"]
    (single,) = setups(tmp_path, tree)[1]
    assert [one.value for one in single.values] == [f"{URL}/login", f"{URL}/logout"]
    assert [[one.value for one in site.values] for site in several] == [
        [f"{URL}/login/main", f"{URL}/logout/main"],
        [f"{URL}/login/europe", f"{URL}/logout/europe"],
    ]


def test_a_site_shows_what_has_to_agree_with_comm100_and_no_secret(tmp_path: Path) -> None:
    providers, (main, _) = setups(tmp_path, settings())
    assert (main.endpoint, main.delivery, main.secret_length) == (ENDPOINT, "endpoint", len(SHARED_SECRET))
    assert re.fullmatch("[0-9a-f]{8}", main.secret_fingerprint)
    assert SHARED_SECRET not in repr(main)
    assert CLIENT_SECRET not in repr(providers)
