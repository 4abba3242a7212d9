"""Every mistake at once, in words an admin can act on; and what was weakened, by name."""

from typing import Any

import pytest
import yaml

from broker.errors import SettingsError
from broker.settings import describe, insecure_options, load_settings
from tests.settings.admin import Admin


def test_four_mistakes_in_one_file_are_told_at_once(admin: Admin) -> None:
    admin.secret("shared-secret", "short")
    tree = admin.settings(
        public_url="http://sso.acme.example",
        sites__main__identity_providers=["entra"],
        identity_providers__okta__email_domain=["acme.example"],
    )

    mistakes = admin.refused(tree)

    assert {mistake.path for mistake in mistakes} == {
        "public_url",
        "sites.main.shared_secret_file",
        "sites.main.identity_providers[0]",
        "identity_providers.okta.email_domain",
    }


def test_rules_between_sections_speak_even_when_a_section_is_wrong(admin: Admin) -> None:
    okta = admin.settings()["identity_providers"]["okta"]
    tree = admin.settings(identity_providers={"okta": okta | {"client_id": 5}, "entra": okta | {"userinfo": 5}})

    paths = [mistake.path for mistake in admin.refused(tree)]

    assert paths == [
        "identity_providers.okta.client_id",
        "identity_providers.entra.userinfo",
        "identity_providers.entra.email_domains",
    ]


def test_a_near_miss_is_answered_with_the_right_key(admin: Admin) -> None:
    (mistake,) = admin.refused(admin.settings(identity_providers__okta__allowed_group=["a"]))

    assert mistake.problem == "is no setting here; did you mean allowed_groups?"
    assert mistake.example == "allowed_groups: [agents]"


def test_a_key_of_another_section_is_refused(admin: Admin) -> None:
    (mistake,) = admin.refused(admin.settings(sites__main__issuer="https://id.acme.example"))

    assert (mistake.path, mistake.problem) == ("sites.main.issuer", "is no setting here")


def test_a_key_that_is_not_shown_is_found_by_its_line(admin: Admin) -> None:
    file = admin.write(admin.settings())
    file.write_text(file.read_text().replace("  okta:\n", "  Acme-Corp:\n").replace("client_id:", "Client-Id:"))

    with pytest.raises(SettingsError) as refusal:
        load_settings(file, {})

    lines = file.read_text().splitlines()
    section, key = (lines.index(line) + 1 for line in ("  Acme-Corp:", "    Client-Id: 0oa1b2c3"))
    hidden = "identity_providers.(unreadable key)"
    told = {mistake.path: mistake.problem for mistake in refusal.value.mistakes}
    assert list(told) == [hidden, f"{hidden}.(unreadable key)"]
    assert told[hidden].endswith(f"(in line {section})")
    assert told[f"{hidden}.(unreadable key)"] == f"is no setting here; did you mean client_id? (in line {key})"
    assert "Acme" not in describe(refusal.value)


@pytest.mark.parametrize(
    ("path", "value", "example"),
    [
        pytest.param("identity_providers__okta__client_id", 12345, 'client_id: "0oa1b2c3"', id="a text"),
        pytest.param("identity_providers__okta__email_domains", [5], 'email_domains: ["acme.example"]', id="a list"),
        pytest.param("public_url", 5, 'public_url: "https://sso.acme.example"', id="a text at the top"),
        pytest.param("listen", 8000, "listen: 0.0.0.0:8000", id="no quotes help here"),
    ],
)
def test_an_example_follows_the_advice_beside_it(admin: Admin, path: str, value: Any, example: str) -> None:
    (mistake,) = admin.refused(admin.settings(**{path: value}))

    assert mistake.example == example
    assert ("in quotes" in mistake.problem) == ('"' in example)


@pytest.mark.parametrize("section", ["sites", "identity_providers"])
def test_the_example_of_a_section_is_right_but_for_its_files(admin: Admin, section: str) -> None:
    (mistake,) = admin.refused(admin.settings(without=section))
    example = yaml.safe_load(mistake.example.replace("/run/secrets/", ""))
    admin.secret("comm100-main")
    admin.secret("idp")

    assert list(example) == [section]
    assert list(admin.load(admin.settings() | example).sites) == ["main"]


def test_the_description_fits_a_terminal(admin: Admin) -> None:
    tree = admin.settings(public_url="http://sso.acme.example", identity_providers__okta__email_domains=["Acme"])

    text = describe(SettingsError(admin.refused(tree)))

    assert text == (
        "The settings cannot be used: 2 mistakes.\n"
        "\n"
        "  public_url\n"
        "    must begin with https://: http is accepted on loopback only\n"
        "    for example: public_url: https://sso.acme.example\n"
        "\n"
        "  identity_providers.okta.email_domains[0]\n"
        "    must be a mail domain in lower-case ASCII, without @ and wildcard\n"
        "    (subdomains are not implied)\n"
        "    for example: email_domains: [acme.example]\n"
    )


def test_the_description_of_an_empty_file_keeps_to_80_columns(admin: Admin) -> None:
    lines = describe(SettingsError(admin.refused(""))).splitlines()

    assert lines[0] == "The settings cannot be used: 4 mistakes."
    assert max(len(line) for line in lines) <= 80


def test_strict_settings_have_no_weakenings(admin: Admin) -> None:
    assert insecure_options(admin.load(admin.settings())) == ()


@pytest.mark.requirement("S-58")
def test_every_weakening_is_named(admin: Admin) -> None:
    settings = admin.load(
        admin.settings(
            public_url="http://127.0.0.1:8000",
            shared_email_domains=True,
            log_email="plain",
            identity_providers__okta__allow_private_network=True,
            identity_providers__okta__trust_unverified_email=True,
        )
    )

    assert insecure_options(settings) == (
        "public_url_without_tls",
        "shared_email_domains",
        "log_email_plain",
        "allow_private_network:identity_providers.okta",
        "trust_unverified_email:identity_providers.okta",
    )


@pytest.mark.requirement("S-58")
def test_a_secret_that_two_sites_share_and_groups_that_do_not_matter_are_named(admin: Admin) -> None:
    tree = admin.settings(identity_providers__okta__groups_claim="groups")
    tree["sites"]["second"] = {**tree["sites"]["main"], "endpoint": "https://eu.comm100.com/sso"}

    assert insecure_options(admin.load(tree)) == (
        "same_shared_secret_for_several_sites:sites.main",
        "same_shared_secret_for_several_sites:sites.second",
        "groups_claim_without_allowed_groups:identity_providers.okta",
    )
