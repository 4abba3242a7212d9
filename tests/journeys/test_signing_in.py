"""Whole sign-ins, as a person goes through them."""

from __future__ import annotations

import jwt
import pytest

from tests.fakes.clock import START, Clock
from tests.fakes.world import PAGE, SHARED_SECRET, World

pytestmark = pytest.mark.anyio


async def test_a_person_goes_from_comm100_to_the_provider_and_back_signed_in(world: World) -> None:
    async with world.broker() as service:
        browser = world.browser(service)
        page = await browser.follow(await browser.open("https://acme.comm100.example/signin/sso", site_id="10000"))
    assert page.status_code == 200
    assert "Ada Lovelace" in page.text
    assert "ada@acme.example" in page.text
    assert world.received[0].refusal is None


async def test_the_token_is_exactly_what_comm100_documents(world: World, clock: Clock) -> None:
    async with world.broker() as service:
        await world.browser(service).sign_in(redirect_url=PAGE)
    token = dict(world.received[0].parameters)["jwt"]
    claims = jwt.decode(
        token,
        SHARED_SECRET.encode(),
        ["HS256"],
        options={"verify_exp": False, "verify_iat": False, "verify_nbf": False, "verify_aud": False},
    )
    assert jwt.get_unverified_header(token) == {"alg": "HS256", "typ": "JWT"}
    assert len(claims.pop("jti")) >= 16
    assert claims == {
        "iss": "jwt server",
        "aud": "Comm100",
        "sub": "comm100",
        "iat": START,
        "nbf": START - 60,
        "exp": START + 60,
        "email": "ada@acme.example",
        "name": "Ada Lovelace",
    }
