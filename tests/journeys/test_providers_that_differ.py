"""Providers that bend the standards, or use what they allow: people sign in all the same."""

from __future__ import annotations

import httpx
import pytest

from broker.errors import ClientRejected, IdTokenAudience, MetadataIssuer
from tests.fakes.lies import AlterAnswer, Document, Lies, says, status, with_
from tests.fakes.provider import FakeProvider
from tests.fakes.world import PAGE, World, assert_refused, metrics, settings_for
from tests.oidc.samples import sign

BOM = b"\xef\xbb\xbf"
TENANT = "https://idcs-1.example"
ISSUER = "https://identity.example/"
NULLS = {"azp": None, "nbf": None, "at_hash": None, "auth_time": None, "acr": None, "amr": None, "name": None}


def behind_a_mark(response: httpx.Response) -> httpx.Response:
    return says(BOM + response.content)(response)


def like_idcs(world: World, **keys: object) -> None:
    """Let the issuer be the same for all tenants, the documents be the tenant's, and the tenant be an audience."""
    provider = FakeProvider(TENANT, world.clock)
    provider.lies = Lies(
        discovery=with_(issuer=ISSUER),
        claims=with_(iss=ISSUER, aud=[provider.client_id, f"{TENANT}/"], azp=provider.client_id),
    )
    world.provider, world.providers = provider, [provider]
    world.settings = settings_for(
        provider,
        **{
            "issuer": ISSUER,
            "metadata_url": f"{TENANT}/.well-known/openid-configuration",
            "trusted_audiences": [f"{TENANT}/"],
            **keys,
        },
    )


@pytest.mark.parametrize(
    "lies",
    [
        pytest.param(
            Lies(
                answers=dict.fromkeys(
                    ["/.well-known/openid-configuration", "/keys", "/token", "/userinfo"], behind_a_mark
                )
            ),
            id="a byte order mark in every document",
        ),
        pytest.param(Lies(claims=with_(**NULLS)), id="optional claims that are null"),
        pytest.param(Lies(userinfo=with_(email_verified="true")), id="Cognito: the text true"),
        pytest.param(
            Lies(discovery=with_(end_session_endpoint="", authorization_response_iss_parameter_supported="no")),
            id="unusable optional members of the metadata",
        ),
        pytest.param(
            Lies(discovery=with_(end_session_endpoint=None, scopes_supported=None)), id="optional members that are null"
        ),
        pytest.param(
            Lies(token_response=with_(expires_in=None, scope=None, refresh_token=None, error=None)),
            id="members of the token response that are null",
        ),
    ],
)
async def test_people_sign_in_all_the_same(world: World, lies: Lies) -> None:
    world.provider.lies = lies
    async with world.broker() as service:
        assert str((await world.browser(service).sign_in(redirect_url=PAGE)).url) == PAGE


@pytest.mark.parametrize(
    "members",
    [
        pytest.param({"x5t": 5, "x5c": "x", "jku": 7}, id="of odd types"),
        pytest.param({"kid": None, "typ": None, "cty": None, "x5t": None, "jku": None, "crit": None}, id="null"),
    ],
)
async def test_header_members_that_mean_nothing_are_ignored(world: World, members: Document) -> None:
    honest = world.provider
    honest.lies = Lies(sign=lambda header, claims: sign({**header, **members}, claims, honest.keys[0]))
    async with world.broker() as service:
        assert str((await world.browser(service).sign_in(redirect_url=PAGE)).url) == PAGE


@pytest.mark.parametrize("value", ["", "http://idp.example/userinfo", 7], ids=["empty", "plain http", "a number"])
async def test_an_unusable_userinfo_endpoint_is_as_good_as_none(world: World, value: object) -> None:
    world.provider.claims_in_id_token = True
    world.provider.lies = Lies(discovery=with_(userinfo_endpoint=value))
    async with world.broker() as service:
        assert str((await world.browser(service).sign_in(redirect_url=PAGE)).url) == PAGE
    assert world.provider.count("/userinfo") == 0


async def test_the_metadata_may_be_elsewhere_and_a_trusted_audience_beside_us(world: World) -> None:
    like_idcs(world)
    async with world.broker() as service:
        assert str((await world.browser(service).sign_in(redirect_url=PAGE)).url) == PAGE


async def test_an_audience_that_is_not_trusted_is_refused(world: World) -> None:
    like_idcs(world, trusted_audiences=["https://idcs-2.example/"])
    async with world.broker() as service:
        assert_refused(await world.browser(service).sign_in(redirect_url=PAGE), IdTokenAudience)
    assert world.provider.count("/userinfo") == 0


@pytest.mark.requirement("S-40")
async def test_metadata_from_elsewhere_still_has_to_name_the_issuer(world: World) -> None:
    like_idcs(world, issuer="https://identity.example")
    async with world.broker() as service:
        assert_refused(await world.browser(service).sign_in(redirect_url=PAGE), MetadataIssuer)
    assert world.provider.count("/token") == 0


@pytest.mark.parametrize(
    ("answer", "got"),
    [
        pytest.param(status(401, **{"WWW-Authenticate": "Basic"}), "401: WWW-Authenticate: Basic", id="401 alone"),
        pytest.param(says(b'{"error": "invalid_client"}'), "invalid_client", id="200 with an error"),
    ],
)
async def test_a_rejected_credential_rings_the_alert_in_every_form(
    world: World, caplog: pytest.LogCaptureFixture, answer: AlterAnswer, got: str
) -> None:
    world.provider.lies = Lies(answers={"/token": lambda response: answer(httpx.Response(response.status_code))})
    async with world.broker() as service:
        assert_refused(await world.browser(service).sign_in(redirect_url=PAGE), ClientRejected)
        assert 'reason="client_rejected",result="failed",site="main"} 1.0' in await metrics(service)
    (line,) = [vars(record)["facts"] for record in caplog.records if record.getMessage() == "sign-in"]
    assert (line["code"], line["got"]) == ("client_rejected", got)
