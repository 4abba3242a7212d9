"""Sign-ins with the preset `okta` at the certified provider, which answers as Okta's org and custom servers do."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from broker.errors import AccessDenied, BrokerError, EmailDomainNotAllowed, EmailMissing, EmailUnverified
from tests.providers_real import person, vendors
from tests.providers_real.scene import Scene, assert_admitted, assert_refused, started

ACCOUNTS: dict[str, dict[str, Any]] = {
    "ada": {"email": "ada@acme.example", "email_verified": True, "name": "Ada Lovelace"},
    "uma": {"email": "Uma@Acme.Example", "name": "Uma Unsaid"},
    "eve": {"email": "eve@acme.example", "email_verified": False, "name": "Eve Unverified"},
    "nil": {"name": "Nil Without"},
    "mallory": {"email": "mallory@elsewhere.example", "email_verified": True, "name": "Mallory"},
    "nora": {"email": "nora@acme.example", "email_verified": True, "name": "Nora Not Assigned"},
    "paul": {"email": "paul@acme.example", "email_verified": True, "name": "Paul Policy"},
}
DENIED = {
    "nora": "User is not assigned to the client application.",
    "paul": "Policy evaluation failed for this request, please check the policy configurations.",
}


@pytest.fixture(
    scope="module",
    params=[pytest.param("", id="the org server"), pytest.param("default", id="a custom server")],
)
def scene(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    def vendor(origin: str) -> vendors.Vendor:
        return vendors.okta(origin, server=request.param).saying(denied=DENIED)

    with started(tmp_path_factory.mktemp("okta"), vendor, accounts=ACCOUNTS) as it:
        yield it


@pytest.fixture
def browser() -> Iterator[httpx.Client]:
    with person.browser() as it:
        yield it


@pytest.mark.parametrize(
    ("login", "email", "name"),
    [
        pytest.param("ada", "ada@acme.example", "Ada Lovelace", id="an address Okta calls verified"),
        pytest.param("uma", "uma@acme.example", "Uma Unsaid", id="an address Okta says nothing about"),
    ],
)
def test_a_person_with_a_thin_id_token_is_admitted(
    login: str, email: str, name: str, scene: Scene, browser: httpx.Client
) -> None:
    answer = scene.come_back(browser, login)
    assert_admitted(answer, scene, email=email, name=name, email_from="email (userinfo)")


@pytest.mark.parametrize(
    ("login", "error", "got", "remedy"),
    [
        pytest.param("eve", EmailUnverified, "email_verified: false", None, id="an address Okta calls unverified"),
        pytest.param("nil", EmailMissing, "no such claim", None, id="no address at all"),
        pytest.param("mallory", EmailDomainNotAllowed, "elsewhere.example", None, id="an address of another domain"),
        pytest.param(
            "nora",
            AccessDenied,
            "access_denied: User is not assigned to the client application.",
            "In Okta: Applications > the application > Assignments",
            id="a person who is not assigned",
        ),
        pytest.param(
            "paul",
            AccessDenied,
            "access_denied: Policy evaluation failed for this request",
            "In Okta: Security > API > Authorization Servers > Access Policies",
            id="a person whom a policy denies",
        ),
    ],
)
def test_a_person_who_may_not_enter_is_refused(
    login: str, error: type[BrokerError], got: str, remedy: str | None, scene: Scene, browser: httpx.Client
) -> None:
    assert_refused(scene.come_back(browser, login), scene, error, got=got, remedy=remedy)


def test_a_person_who_was_refused_can_use_another_account(scene: Scene, browser: httpx.Client) -> None:
    """Okta still knows the first account, and would come straight back with it."""
    refused = scene.come_back(browser, "eve")
    assert_refused(refused, scene, EmailUnverified, got="email_verified: false")
    link = re.search(r'href="([^"]*)">Use another account<', refused.text)
    assert link
    location = person.redirected_to(browser.get(html.unescape(link[1])))
    assert httpx.URL(location).params["prompt"] == "login"
    answer = browser.get(person.sign_in_at_the_provider(browser, location, login="ada"))
    assert_admitted(answer, scene, email="ada@acme.example", name="Ada Lovelace", email_from="email (userinfo)")
