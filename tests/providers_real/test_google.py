"""Sign-ins with the preset `google` at the certified provider, which answers as Google does, over https."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

from broker.errors import (
    AccessDenied,
    BrokerError,
    EmailDomainNotAllowed,
    EmailUnverified,
    HostedDomainNotAllowed,
    IdTokenIssuer,
)
from tests.oidc.servers import new_authority
from tests.providers_real import person, vendors
from tests.providers_real.scene import CLIENT_ID, START_URL, Scene, assert_admitted, assert_refused, started

WORKSPACE = {"email_verified": True, "hd": "acme-labs.example"}
ACCOUNTS: dict[str, dict[str, Any]] = {
    "ada": {**WORKSPACE, "email": "ada@acme-labs.example", "name": "Ada Lovelace"},
    "bob": {**WORKSPACE, "email": "bob@acme-labs.example", "name": "Bob of the Older Spelling"},
    "ivy": {**WORKSPACE, "email": "ivy@acme-labs.example", "name": "Ivy of an Odd Spelling"},
    "pat": {"email": "pat@gmail.example", "email_verified": True, "name": "Pat at Home"},
    "rob": {"email": "rob@acme-labs.example", "email_verified": True, "name": "Rob With a Consumer Account"},
    "max": {**WORKSPACE, "email": "max@acme-labs.example", "hd": "globex.example", "name": "Max of Globex"},
    "eve": {**WORKSPACE, "email": "eve@acme-labs.example", "email_verified": False, "name": "Eve Unverified"},
    "sid": {**WORKSPACE, "email": "sid@second.example", "name": "Sid of a Second Domain"},
    "dan": {**WORKSPACE, "email": "dan@acme-labs.example", "name": "Dan Denied"},
}


def vendor(origin: str, *, pem: str) -> vendors.Vendor:
    authority = origin.removeprefix("http://")
    id_tokens: dict[str, dict[str, Any]] = {login: {"azp": CLIENT_ID} for login in ACCOUNTS}
    id_tokens["bob"]["iss"] = authority
    id_tokens["ivy"]["iss"] = f"http://{authority}"
    denied = {"dan": "The developer hasn't given you access to this app."}
    return vendors.google(origin, tls={"key": pem, "cert": pem}).saying(id_tokens=id_tokens, denied=denied)


@pytest.fixture(scope="module")
def trusted_ca_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The authority that vouches for `server.pem` beside it."""
    folder = tmp_path_factory.mktemp("authority")
    authority = new_authority()
    authority.context(folder, "127.0.0.1")
    return authority.write(folder / "authority.pem")


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory, trusted_ca_file: Path) -> Iterator[Scene]:
    https = partial(vendor, pem=trusted_ca_file.with_name("server.pem").read_text())
    settings = {"trusted_ca_file": str(trusted_ca_file)}
    with started(tmp_path_factory.mktemp("google"), https, accounts=ACCOUNTS, settings=settings) as it:
        yield it


@pytest.fixture
def browser(trusted_ca_file: Path) -> Iterator[httpx.Client]:
    with person.browser(ssl.create_default_context(cafile=str(trusted_ca_file))) as it:
        yield it


@pytest.mark.parametrize(
    ("login", "email"),
    [
        pytest.param("ada", "ada@acme-labs.example", id="the issuer with its scheme"),
        pytest.param("bob", "bob@acme-labs.example", id="the issuer without it"),
    ],
)
def test_a_person_of_the_organisation_is_admitted(login: str, email: str, scene: Scene, browser: httpx.Client) -> None:
    name = ACCOUNTS[login]["name"]
    assert_admitted(scene.come_back(browser, login), scene, email=email, name=name, email_from="email (ID token)")


@pytest.mark.parametrize(
    ("login", "error", "got", "remedy"),
    [
        pytest.param("pat", HostedDomainNotAllowed, "no hd", None, id="a consumer account"),
        pytest.param(
            "rob", HostedDomainNotAllowed, "no hd", None, id="a consumer account with the organisation's address"
        ),
        pytest.param("max", HostedDomainNotAllowed, "globex.example", None, id="an account of another organisation"),
        pytest.param("eve", EmailUnverified, "email_verified: false", None, id="an address that is not verified"),
        pytest.param("sid", EmailDomainNotAllowed, "second.example", None, id="an address of a domain not listed"),
        pytest.param("ivy", IdTokenIssuer, "http://127.0.0.1:", None, id="a third spelling of the issuer"),
        pytest.param(
            "dan",
            AccessDenied,
            "access_denied: The developer hasn't given you access",
            "The person cancelled, or the application is in testing and the person is not a test user",
            id="no test user",
        ),
    ],
)
def test_a_person_who_may_not_enter_is_refused(
    login: str, error: type[BrokerError], got: str, remedy: str | None, scene: Scene, browser: httpx.Client
) -> None:
    assert_refused(scene.come_back(browser, login), scene, error, got=got, remedy=remedy)


def test_the_account_chooser_is_told_the_organisation(scene: Scene, browser: httpx.Client) -> None:
    asked = httpx.URL(scene.begin(browser)).params
    assert asked["hd"] == "acme-labs.example"


def test_signing_out_is_local_where_the_provider_has_no_such_place(scene: Scene, browser: httpx.Client) -> None:
    assert scene.come_back(browser, "ada").has_redirect_location
    assert not [cookie.name for cookie in browser.cookies.jar if cookie.name == "signed_in"]
    page = browser.get(f"{scene.public_url}/logout")
    assert page.status_code == httpx.codes.OK
    assert "You are signed out" in page.text
    assert START_URL in page.text
