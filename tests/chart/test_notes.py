"""What is printed after an install: values to paste, the next commands, and a warning for each risk."""

from __future__ import annotations

from typing import Any

import pytest

from tests.chart.helm import NAMESPACE, RELEASE, Helm4
from tests.chart.test_refusals import changed
from tests.chart.tools import EXAMPLES, values_of

PROVIDER = "config/identity_providers/acme"


def test_the_notes_hold_what_is_to_be_pasted(helm_4: Helm4) -> None:
    notes = helm_4.notes(values_of("minimal"))
    for line in (
        "Remote Login URL:   https://sso.acme.example/login",
        "Remote Logout URL:  https://sso.acme.example/logout",
        "Redirect URI:           https://sso.acme.example/callback/acme",
        f"helm test {RELEASE} --namespace {NAMESPACE} --logs",
        f"kubectl exec --namespace {NAMESPACE} deployment/{RELEASE}-comm100-sso-broker -- broker setup-link",
    ):
        assert line in [one.strip() for one in notes.splitlines()], notes


def test_each_of_several_sites_and_providers_has_its_own(helm_4: Helm4) -> None:
    notes = helm_4.notes(values_of("several-sites"))
    for path in ("login/europe", "login/main", "logout/europe", "callback/entra", "callback/okta", "callback/partner"):
        assert f"https://sso.acme.example/{path}\n" in notes


def test_the_subject_of_a_federated_credential_is_told(helm_4: Helm4) -> None:
    notes = helm_4.notes(values_of("entra-workload-identity"))
    assert f"Subject:   system:serviceaccount:{NAMESPACE}:{RELEASE}-comm100-sso-broker\n" in notes
    assert "Audience:  api://AzureADTokenExchange\n" in notes


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        pytest.param("replicaCount", 1, "one replica", id="one replica"),
        pytest.param("ingress", {}, "neither an Ingress nor an HTTPRoute", id="no way in"),
        pytest.param("ingress/tls", {"enabled": False}, "no TLS", id="no TLS"),
        pytest.param("image", {"tag": "latest"}, "latest", id="latest"),
        pytest.param("config/shared_email_domains", True, "shared_email_domains", id="shared domains"),
        pytest.param("config/log_email", "plain", "log_email: plain", id="addresses in the log"),
        pytest.param(f"{PROVIDER}/trust_unverified_email", True, "trust_unverified_email at acme", id="unverified"),
        pytest.param(f"{PROVIDER}/groups_claim", "groups", "groups_claim at acme without", id="groups"),
        pytest.param(f"{PROVIDER}/allow_private_network", True, "allow_private_network at acme", id="private network"),
    ],
)
def test_a_risk_is_warned_of(helm_4: Helm4, path: str, value: Any, words: str) -> None:
    assert words in _warnings(helm_4.notes(changed(path, value)))


def test_secrets_in_the_values_are_warned_of(helm_4: Helm4) -> None:
    values = values_of("minimal")
    del values["existingSecret"]
    keys = ("secret_keys", "sites.main.shared_secret", "identity_providers.acme.client_secret")
    values["secrets"] = {key: f"not-to-be-printed-{number}" for number, key in enumerate(keys)}
    notes = helm_4.notes(values)
    assert "for trials only" in _warnings(notes)
    assert "not-to-be-printed" not in notes


@pytest.mark.parametrize("example", [pytest.param(one.stem, id=one.stem) for one in EXAMPLES])
def test_an_example_is_warned_of_its_example_host_and_of_a_policy_it_leaves_out(helm_4: Helm4, example: str) -> None:
    values = values_of(example)
    warnings = _warnings(helm_4.notes(values)).splitlines()
    assert "ends in .example" in warnings.pop()
    assert ["there is no NetworkPolicy" in one for one in warnings] == [True] * ("networkPolicy" not in values)


def _warnings(notes: str) -> str:
    return "\n".join(line for line in notes.splitlines() if line.startswith("WARNING: "))
