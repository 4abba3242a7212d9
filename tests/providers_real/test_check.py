"""The check at the certified provider: what is wrong is named, what is right is known."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.checks.diagnosis import REDIRECT_URI, assert_first, diagnose, of, settings_on_loopback
from tests.fakes.provider import FakeProvider
from tests.providers_real.programs import oidc_provider

CLIENT = {
    "client_id": "comm100-broker",
    "client_secret": "a:b%2Bc d+e/f&g=h",
    "redirect_uris": [REDIRECT_URI],
    "post_logout_redirect_uris": ["http://127.0.0.1:8000/logout"],
    "grant_types": ["authorization_code"],
    "response_types": ["code"],
    "token_endpoint_auth_method": "client_secret_basic",
    "id_token_signed_response_alg": "RS256",
}


@pytest.fixture(scope="module")
def issuer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    log = tmp_path_factory.mktemp("provider") / "log"
    with oidc_provider(log, {"client": CLIENT, "accounts": {}, "claims_in_id_token": True}) as issuer:
        yield issuer


def settings_for(issuer: str, **keys: Any) -> dict[str, Any]:
    provider = FakeProvider(issuer, float, client_id="comm100-broker", client_secret="a:b%2Bc d+e/f&g=h")
    return settings_on_loopback(provider, client_secret_expires="2099-01-01", **keys)


async def test_nothing_is_wrong(tmp_path: Path, issuer: str) -> None:
    findings = await diagnose(tmp_path, settings_for(issuer))
    # The provider asks on a page whether a person wants to sign out.
    [page] = [one for one in of(findings) if one.status != "ok"]
    assert (page.check, page.status) == ("redirect_uri", "unknown")
    assert "Sign-out: whether http://127.0.0.1:8000/logout" in page.message


@pytest.mark.parametrize(
    ("keys", "check", "message"),
    [
        pytest.param({"client_secret": "another-one"}, "client_authentication", "invalid_client", id="another secret"),
        pytest.param({"client_id": "broker"}, "client_authentication", "invalid_client", id="another client id"),
        pytest.param({"signing_algorithms": ["EdDSA"]}, "keys", "EdDSA", id="an algorithm without a key"),
    ],
)
async def test_what_is_wrong_is_named(
    tmp_path: Path, issuer: str, keys: dict[str, Any], check: str, message: str
) -> None:
    assert_first(await diagnose(tmp_path, settings_for(issuer, **keys)), check, "failed", message)


async def test_a_sign_out_address_that_is_not_registered_is_named(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    log = tmp_path_factory.mktemp("forgetful-provider") / "log"
    client = {**CLIENT, "post_logout_redirect_uris": []}
    with oidc_provider(log, {"client": client, "accounts": {}, "claims_in_id_token": True}) as forgetful:
        findings = await diagnose(tmp_path, settings_for(forgetful))
    assert_first(findings, "redirect_uri", "failed", "Sign-out: http://127.0.0.1:8000/logout")


async def test_a_redirect_uri_that_is_not_registered_is_named(tmp_path: Path, issuer: str) -> None:
    settings = settings_for(issuer) | {"public_url": "http://127.0.0.1:8001"}
    findings = await diagnose(tmp_path, settings)
    assert_first(findings, "redirect_uri", "failed", "http://127.0.0.1:8001/callback/idp is not registered")
