"""Refusals of Okta, Entra ID and Google: `error` decides the code, their words decide what the admin is told to do."""

from __future__ import annotations

import io
import json

import httpx
import pytest

from broker.errors import (
    AccessDenied,
    BrokerError,
    ClientRejected,
    CodeRejected,
    ProviderError,
    ProviderFailing,
    ProviderReportedFailure,
    TokenRequestRefused,
)
from tests.fakes.kinds import use_kind
from tests.fakes.lies import Lies, says, status
from tests.fakes.world import World, assert_refused

Log = io.StringIO


def remedy(log: Log) -> str:
    """Read what the one line about a sign-in's end tells the admin to do."""
    [told] = [line["remedy"] for line in map(json.loads, log.getvalue().splitlines()) if line["event"] == "sign-in"]
    return str(told)


CALLBACK_REFUSALS = [
    pytest.param("entra", "access_denied", "AADSTS65004: declined", AccessDenied, "declined consent", id="Entra 65004"),
    pytest.param("entra", "access_denied", "AADSTS50105:\r\n x", AccessDenied, "Users and groups", id="Entra 50105"),
    pytest.param("entra", "invalid_request", "AADSTS50020: x", ProviderError, "another tenant", id="Entra 50020"),
    pytest.param(
        "entra", "temporarily_unavailable", "AADSTS7000222: x", ProviderReportedFailure, "expired", id="error decides"
    ),
    pytest.param("entra", "access_denied", "nothing known", AccessDenied, AccessDenied.remedy, id="Entra, unknown"),
    pytest.param("okta", "access_denied", "User is not assigned to the client application.", AccessDenied,
                 "Assignments", id="Okta, not assigned"),
    pytest.param("okta", "access_denied", "Policy evaluation failed for this request, please check the policy.",
                 AccessDenied, "Access Policies", id="Okta, policy"),
    pytest.param("okta", "temporarily_unavailable", "User is not assigned", ProviderReportedFailure, "Assignments",
                 id="a lying description"),
    pytest.param("google", "access_denied", "", AccessDenied, "test user", id="Google, cancelled"),
    pytest.param("google", "admin_policy_enforced", "", ProviderError, "API controls", id="Google, forbidden"),
    pytest.param("google", "org_internal", "", ProviderError, "internal", id="Google, another organisation"),
    pytest.param("oidc", "access_denied", "AADSTS65004: x", AccessDenied, AccessDenied.remedy, id="no words of oidc"),
]  # fmt: skip


@pytest.mark.requirement("S-54")
@pytest.mark.parametrize(("kind", "error", "description", "refusal", "words"), CALLBACK_REFUSALS)
async def test_a_refusal_at_the_callback_tells_the_admin_what_to_do(
    world: World, log: Log, kind: str, error: str, description: str, refusal: type[BrokerError], words: str
) -> None:
    use_kind(world, kind, {})
    world.provider.refuses = {"error": error, "error_description": description}
    async with world.broker() as service:
        page = await world.browser(service).sign_in()
    assert_refused(page, refusal)
    assert words in remedy(log)
    assert remedy(log).endswith("The words came through the browser: anybody can write them.")
    assert "AADSTS" not in page.text
    assert words not in page.text


@pytest.mark.requirement("S-54")
@pytest.mark.parametrize(
    ("answer", "refusal", "words"),
    [
        pytest.param(("invalid_client", "AADSTS7000215: x"), ClientRejected, "secret is wrong", id="7000215"),
        pytest.param(("invalid_client", "AADSTS7000222: x"), ClientRejected, "secret expired", id="7000222"),
        pytest.param(("unauthorized_client", "AADSTS700016: x"), ClientRejected, "no application", id="700016"),
        pytest.param(("invalid_grant", "AADSTS501481: x"), CodeRejected, "PKCE", id="501481"),
        pytest.param(("invalid_grant", "AADSTS54005: x"), CodeRejected, "used twice", id="54005"),
        pytest.param(("invalid_grant", "AADSTS70008: x"), CodeRejected, "expired", id="70008"),
        pytest.param(("invalid_grant", "AADSTS65001: x"), CodeRejected, "admin consent", id="65001"),
        pytest.param(("invalid_client", "AADSTS50011: x"), ClientRejected, "redirect URI", id="50011"),
        pytest.param(("interaction_required", "AADSTS90094"), TokenRequestRefused, "administrator", id="90094"),
    ],
)
async def test_a_refusal_of_entras_token_endpoint_tells_the_admin_what_to_do(
    world: World, log: Log, answer: tuple[str, str], refusal: type[BrokerError], words: str
) -> None:
    use_kind(world, "entra", {})
    body = json.dumps({"error": answer[0], "error_description": answer[1], "error_codes": [1]}).encode()
    world.provider.lies = Lies(answers={"/token": lambda _: status(400)(says(body)(httpx.Response(400)))})
    async with world.broker() as service:
        assert_refused(await world.browser(service).sign_in(), refusal)
    assert words in remedy(log)


@pytest.mark.parametrize("kind", ["okta", "entra", "google"])
@pytest.mark.parametrize("path", ["/token", "/userinfo"])
async def test_asked_to_wait_the_broker_says_how_long(world: World, kind: str, path: str) -> None:
    use_kind(world, kind, {}, userinfo="always")
    world.provider.lies = Lies(answers={path: status(429, **{"Retry-After": "17"})})
    async with world.broker() as service:
        page = await world.browser(service).sign_in()
    assert_refused(page, ProviderFailing)
    assert page.headers["retry-after"] == "17"
