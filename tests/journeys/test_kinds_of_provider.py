"""Providers that want to be talked to in another way, or sign with another algorithm."""

from __future__ import annotations

import httpx
import pytest

from broker.errors import ClientRejected, IdTokenAlgorithm
from tests.fakes.lies import with_
from tests.fakes.provider import FakeProvider
from tests.fakes.world import BROKER, PAGE, World, assert_refused, settings_for


def replace_provider(world: World, algorithm: str = "RS256", secret: str | None = "secret", **keys: str) -> None:
    world.provider = FakeProvider(
        "https://idp.example", world.clock, client_secret=secret, algorithm=algorithm, client_id="client id:+%/é"
    )
    world.providers = [world.provider]
    world.settings = settings_for(world.provider, **keys)


@pytest.mark.parametrize("algorithm", ["RS256", "RS512", "PS256", "ES256", "ES384", "ES512", "EdDSA"])
async def test_a_provider_may_sign_with_any_algorithm_configured(world: World, algorithm: str) -> None:
    replace_provider(world, algorithm)
    async with world.broker() as service:
        assert str((await world.browser(service).sign_in(redirect_url=PAGE)).url) == PAGE


@pytest.mark.requirement("S-12")
@pytest.mark.parametrize("algorithm", ["PS256", "ES256", "EdDSA"])
async def test_an_algorithm_not_configured_is_refused_whatever_the_metadata_says(world: World, algorithm: str) -> None:
    replace_provider(world, algorithm)
    world.settings["identity_providers"]["idp"]["signing_algorithms"] = ["RS256"]
    async with world.broker() as service:
        assert_refused(await world.browser(service).sign_in(), IdTokenAlgorithm)
    assert world.provider.count("/userinfo") == 0


@pytest.mark.parametrize(
    ("secret", "keys"),
    [
        pytest.param("s3cret:with %odd+chars&=é", {}, id="by basic authentication, both parts form-encoded"),
        pytest.param("s3cret:with %odd+chars&=é", {"client_authentication": "client_secret_post"}, id="in the form"),
        pytest.param(None, {}, id="a public client, by PKCE alone"),
    ],
)
async def test_a_provider_may_want_to_know_us_in_several_ways(
    world: World, secret: str | None, keys: dict[str, str]
) -> None:
    replace_provider(world, secret=secret, **keys)
    async with world.broker() as service:
        assert str((await world.browser(service).sign_in(redirect_url=PAGE)).url) == PAGE


async def test_a_secret_that_is_no_longer_right_is_the_admins_to_fix(world: World) -> None:
    async with world.broker() as service:
        world.provider.client_secret = "another one"
        assert_refused(await world.browser(service).sign_in(), ClientRejected)


async def test_the_authorization_endpoint_may_have_a_query_of_its_own(world: World) -> None:
    world.provider.lies = type(world.provider.lies)(
        discovery=with_(authorization_endpoint=f"{world.provider.issuer}/authorize?tenant=7&p=policy")
    )
    async with world.broker() as service:
        browser = world.browser(service)
        redirect = await browser.open(f"{BROKER}/login", redirect_url=PAGE)
        parameters = httpx.URL(redirect.headers["location"]).params
        assert (parameters["tenant"], parameters["p"]) == ("7", "policy")
        assert str((await browser.follow(redirect)).url) == PAGE


async def test_without_a_userinfo_endpoint_the_id_token_has_to_do(world: World) -> None:
    world.provider.lies = type(world.provider.lies)(
        discovery=lambda document: {key: value for key, value in document.items() if key != "userinfo_endpoint"}
    )
    world.provider.claims_in_id_token = True
    async with world.broker() as service:
        assert str((await world.browser(service).sign_in(redirect_url=PAGE)).url) == PAGE
    assert world.provider.count("/userinfo") == 0


@pytest.mark.parametrize(
    ("setting", "in_id_token", "asked"),
    [
        pytest.param("always", True, 1, id="always, although the ID token says it all"),
        pytest.param("when_needed", True, 0, id="when needed, and it is not"),
        pytest.param("when_needed", False, 1, id="when needed, and it is"),
        pytest.param("never", True, 0, id="never"),
    ],
)
async def test_userinfo_is_asked_as_the_admin_wants(world: World, setting: str, in_id_token: bool, asked: int) -> None:
    world.settings["identity_providers"]["idp"]["userinfo"] = setting
    world.provider.claims_in_id_token = in_id_token
    async with world.broker() as service:
        assert str((await world.browser(service).sign_in(redirect_url=PAGE)).url) == PAGE
    assert world.provider.count("/userinfo") == asked
