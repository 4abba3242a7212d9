"""Sign-ins with `tenants` at the certified provider, which answers as Entra's `organizations` endpoint does."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

from broker.errors import BrokerError, EmailMissing, EmailUnverified, IdTokenIssuer, TenantNotAllowed
from tests.providers_real import person, vendors
from tests.providers_real.scene import Scene, assert_admitted, assert_refused, started
from tests.providers_real.vendors import NEIGHBOUR, PERSONAL, TENANT

TOKEN_CONFIGURATION = "In Entra: App registrations > the application > Token configuration: add the optional claims"
UNLISTED = "99999999-8888-4777-8666-555555555555"


def account(tenant: str, **claims: Any) -> dict[str, Any]:
    return {"tid": tenant, "oid": "00000000-0000-0000-66f3-3332eca7ea81", "ver": "2.0", "acct": 0, **claims}


ACCOUNTS: dict[str, dict[str, Any]] = {
    "ada": account(TENANT, email="ada@acme.example", xms_edov=True, name="Ada Lovelace"),
    "bea": account(NEIGHBOUR, email="bea@acme.example", xms_edov="1", name="Bea of the Other Tenant"),
    "ben": account(NEIGHBOUR, preferred_username="ben@acme.example", name="Ben Without Mail"),
    "eve": account(
        NEIGHBOUR, email="ada@acme.example", preferred_username="eve@acme.example", name="Eve Nobody Verified"
    ),
    "ulf": account(UNLISTED, email="ada@acme.example", xms_edov=True, name="Ulf of No Tenant of Ours"),
    "pat": account(PERSONAL, email="ada@acme.example", xms_edov=True, name="Pat at Home"),
    "tom": account(TENANT, email="ada@acme.example", xms_edov=True, name="Tom of Two Tenants"),
    "tim": account("", email="ada@acme.example", xms_edov=True, name="Tim of None"),
}
ISSUED_BY = {login: claims["tid"] for login, claims in ACCOUNTS.items()} | {"tom": NEIGHBOUR, "tim": TENANT}


def vendor(origin: str, **members: str) -> vendors.Vendor:
    id_tokens = {login: {"at_hash": None, "iss": f"{origin}/{tenant}/v2.0"} for login, tenant in ISSUED_BY.items()}
    return vendors.entra_of_several(origin, **members).saying(id_tokens=id_tokens)


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    with started(tmp_path_factory.mktemp("entra"), vendor, accounts=ACCOUNTS) as it:
        yield it


@pytest.fixture
def browser() -> Iterator[httpx.Client]:
    with person.browser() as it:
        yield it


@pytest.mark.parametrize(
    ("login", "email"),
    [
        pytest.param("ada", "ada@acme.example", id="of one tenant"),
        pytest.param("bea", "bea@acme.example", id="of the other"),
    ],
)
def test_a_person_with_a_verified_address_is_admitted(
    login: str, email: str, scene: Scene, browser: httpx.Client
) -> None:
    name = ACCOUNTS[login]["name"]
    assert_admitted(scene.come_back(browser, login), scene, email=email, name=name, email_from="email (ID token)")


@pytest.mark.parametrize(
    ("login", "error", "got", "remedy"),
    [
        pytest.param("ulf", TenantNotAllowed, UNLISTED, None, id="a tenant that is not listed"),
        pytest.param("pat", TenantNotAllowed, PERSONAL, None, id="a personal account"),
        pytest.param("eve", EmailUnverified, "xms_edov absent", TOKEN_CONFIGURATION, id="an address nobody verified"),
        pytest.param("ben", EmailMissing, "none that counts", TOKEN_CONFIGURATION, id="a user principal name alone"),
        pytest.param("tom", IdTokenIssuer, "http://127.0.0.1:", None, id="a tid that is not the issuer's"),
        pytest.param("tim", IdTokenIssuer, "tid: an empty string", None, id="no tenant"),
    ],
)
def test_a_person_who_may_not_enter_is_refused(
    login: str, error: type[BrokerError], got: str, remedy: str | None, scene: Scene, browser: httpx.Client
) -> None:
    assert_refused(scene.come_back(browser, login), scene, error, got=got, remedy=remedy)


@pytest.mark.parametrize(
    "key_tenant",
    [
        pytest.param(PERSONAL, id="personal accounts"),
        pytest.param(NEIGHBOUR, id="another tenant"),
    ],
)
def test_a_key_bound_to_others_signs_for_no_tenant(key_tenant: str, tmp_path: Path) -> None:
    bound = partial(vendor, key_tenant=key_tenant)
    with started(tmp_path, bound, accounts=ACCOUNTS) as scene, person.browser() as browser:
        assert_refused(scene.come_back(browser, "ada"), scene, IdTokenIssuer, got="a key of http://127.0.0.1:")
