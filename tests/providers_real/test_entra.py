"""Sign-ins with the preset `entra` at the certified provider, which answers as Entra does for one tenant."""

from __future__ import annotations

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
    EmailMissing,
    EmailUnverified,
    GuestNotAllowed,
    IdTokenIssuer,
)
from tests.providers_real import person, vendors
from tests.providers_real.scene import Scene, assert_admitted, assert_refused, started
from tests.providers_real.vendors import NEIGHBOUR, TENANT

MEMBER = {"tid": TENANT, "oid": "00000000-0000-0000-66f3-3332eca7ea81", "ver": "2.0", "acct": 0}
ACCOUNTS: dict[str, dict[str, Any]] = {
    "ada": {
        **MEMBER,
        "email": "Ada.Lovelace@acme.example",
        "xms_edov": True,
        "preferred_username": "ada@acme.example",
        "name": "Ada Lovelace",
    },
    "ben": {**MEMBER, "preferred_username": "ben@acme.example", "name": "Ben Without Mail"},
    "una": {**MEMBER, "email": "ceo@acme.example", "preferred_username": "una@acme.example", "name": "Una Unverified"},
    "gus": {
        **MEMBER,
        "acct": 1,
        "email": "gus@acme.example",
        "preferred_username": "gus_partner.example#EXT#@acme.onmicrosoft.com",
        "name": "Gus Guest",
    },
    "gil": {
        **MEMBER,
        "acct": 1,
        "email": "gil@acme.example",
        "xms_edov": "1",
        "preferred_username": "gil_acme.example#EXT#@other.onmicrosoft.com",
        "name": "Gil Verified Guest",
    },
    "eve": {
        **MEMBER,
        "email": "eve@acme.example",
        "xms_edov": False,
        "preferred_username": "eve@acme.onmicrosoft.com",
        "name": "Eve Elsewhere",
    },
    "nil": {**MEMBER, "preferred_username": "+15550100", "name": "Nil Without"},
    "mia": {
        **MEMBER,
        "email": "mia@elsewhere.example",
        "xms_edov": 1,
        "preferred_username": "mia@acme.example",
        "name": "Mia of Another Domain",
    },
    "old": {**MEMBER, "email": "old@acme.example", "xms_edov": True, "name": "Old Version"},
    "out": {**MEMBER, "tid": NEIGHBOUR, "email": "out@acme.example", "xms_edov": True, "name": "Out of Tenant"},
    "dan": {**MEMBER, "preferred_username": "dan@acme.example", "name": "Dan Denied"},
}
DENIED = {
    "dan": "AADSTS65004: User declined to consent to access the app.\r\nTrace ID: 0a1b2c3d-0000-0000-0000-000000000000"
}
TOKEN_CONFIGURATION = "In Entra: App registrations > the application > Token configuration: add the optional claims"
FROM_UPN = "preferred_username (ID token)"


def id_tokens(origin: str) -> dict[str, dict[str, Any]]:
    """What Entra's ID tokens lack, and the two that are of another issuer."""
    tokens: dict[str, dict[str, Any]] = {login: {"at_hash": None} for login in ACCOUNTS}
    tokens["old"]["iss"] = f"https://sts.windows.net/{TENANT}/"
    tokens["out"]["iss"] = f"{origin}/{NEIGHBOUR}/v2.0"
    return tokens


def vendor(origin: str) -> vendors.Vendor:
    return vendors.entra(origin).saying(id_tokens=id_tokens(origin), denied=DENIED)


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    with started(tmp_path_factory.mktemp("entra"), vendor, accounts=ACCOUNTS) as it:
        yield it


@pytest.fixture
def browser() -> Iterator[httpx.Client]:
    with person.browser() as it:
        yield it


@pytest.mark.parametrize(
    ("login", "email", "email_from"),
    [
        pytest.param("ada", "ada.lovelace@acme.example", "email (ID token)", id="a verified address"),
        pytest.param("gil", "gil@acme.example", "email (ID token)", id="a guest with a verified address"),
        pytest.param("ben", "ben@acme.example", FROM_UPN, id="a member without mail, by the user principal name"),
        pytest.param("una", "una@acme.example", FROM_UPN, id="a member who wrote another's address into Mail"),
    ],
)
def test_a_person_of_the_tenant_is_admitted(
    login: str, email: str, email_from: str, scene: Scene, browser: httpx.Client
) -> None:
    name = ACCOUNTS[login]["name"]
    assert_admitted(scene.come_back(browser, login), scene, email=email, name=name, email_from=email_from)


@pytest.mark.parametrize(
    ("login", "error", "got", "remedy"),
    [
        pytest.param("gus", GuestNotAllowed, "a guest", None, id="a guest without a verified address"),
        pytest.param(
            "eve",
            EmailUnverified,
            "xms_edov absent or not true",
            TOKEN_CONFIGURATION,
            id="neither address to be believed",
        ),
        pytest.param("nil", EmailMissing, "none that counts", TOKEN_CONFIGURATION, id="no address at all"),
        pytest.param(
            "mia", EmailDomainNotAllowed, "elsewhere.example", None, id="a verified address of another domain"
        ),
        pytest.param("old", IdTokenIssuer, "https://sts.windows.net/", None, id="a token of version 1.0"),
        pytest.param("out", IdTokenIssuer, "http://127.0.0.1:", None, id="a token of another tenant"),
        pytest.param(
            "dan",
            AccessDenied,
            "access_denied: AADSTS65004",
            "The person declined consent. In Entra: Enterprise applications",
            id="consent declined",
        ),
    ],
)
def test_a_person_who_may_not_enter_is_refused(
    login: str, error: type[BrokerError], got: str, remedy: str | None, scene: Scene, browser: httpx.Client
) -> None:
    assert_refused(scene.come_back(browser, login), scene, error, got=got, remedy=remedy)


def test_a_key_of_personal_accounts_signs_for_no_tenant(tmp_path: Path) -> None:
    vendor = partial(vendors.entra, key_tenant=vendors.PERSONAL)
    with started(tmp_path, vendor, accounts=ACCOUNTS) as scene, person.browser() as browser:
        assert_refused(scene.come_back(browser, "ada"), scene, IdTokenIssuer, got="a key of http://127.0.0.1:")
