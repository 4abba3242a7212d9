"""Another account: the wrong one would be let through by the provider again at once, so another one is asked for."""

from __future__ import annotations

import html
import re
from typing import Any

import httpx
import pytest

from broker.errors import (
    AccessDenied,
    BrokerError,
    CookieMissing,
    EmailDomainNotAllowed,
    EmailUnverified,
    GroupNotAllowed,
    IdTokenNonce,
    ParameterRepeated,
    ProviderError,
    ProviderReportedFailure,
)
from tests.fakes.kinds import use_kind
from tests.fakes.lies import Lies, with_
from tests.fakes.provider import Person
from tests.fakes.world import BROKER, PAGE, World, assert_refused, start_again

STRANGER = {"email": "eve@other.example", "email_verified": True, "xms_edov": True, "name": "Eve", "hd": "acme.example"}
ADA = {**STRANGER, "email": "ada@acme.example", "name": "Ada Lovelace"}
KINDS = [
    pytest.param("oidc", "login", id="oidc"),
    pytest.param("okta", "login", id="Okta"),
    pytest.param("entra", "select_account", id="Entra"),
    pytest.param("google", "select_account", id="Google"),
]


def another_account(page: httpx.Response) -> str | None:
    """Read where the button of an error page leads."""
    found = re.search(r'href="([^"]*)">Use another account<', page.text)
    return html.unescape(found[1]) if found else None


def prompts(answer: httpx.Response) -> list[str]:
    return httpx.URL(answer.headers["location"]).params.get_list("prompt")


@pytest.mark.parametrize(("kind", "prompt"), KINDS)
@pytest.mark.parametrize("why", ["not admitted", "access denied"])
async def test_a_person_with_the_wrong_account_can_use_another_one(
    world: World, kind: str, prompt: str, why: str
) -> None:
    use_kind(world, kind, STRANGER)
    world.provider.refuses = {"error": "access_denied"} if why == "access denied" else None
    async with world.broker() as service:
        browser = world.browser(service)
        page = await browser.sign_in(redirect_url=PAGE)
        assert_refused(page, AccessDenied if why == "access denied" else EmailDomainNotAllowed)
        link = another_account(page)
        assert link is not None
        assert link.startswith(f"{BROKER}/login/main?")
        world.provider.person, world.provider.refuses = Person("ada", ADA), None
        redirect = await browser.open(link)
        assert prompts(redirect) == [prompt]
        end = await browser.follow(redirect)
    assert str(end.url) == PAGE
    assert "Ada Lovelace" in end.text


@pytest.mark.parametrize(("kind", "prompt"), KINDS)
async def test_otherwise_people_are_not_asked(world: World, kind: str, prompt: str) -> None:
    use_kind(world, kind, ADA)
    async with world.broker() as service:
        browser = world.browser(service)
        assert prompts(await browser.open(f"{BROKER}/login")) == []
        assert prompts(await browser.open(f"{BROKER}/login", another_account="1")) == [prompt]
        assert prompts(await browser.open(f"{BROKER}/login", another_account="none")) == [prompt]
        assert prompts(await browser.open(f"{BROKER}/login", another_account="")) == []


async def test_it_goes_before_the_prompt_the_admin_set(world: World) -> None:
    use_kind(world, "google", ADA, authorization_parameters={"prompt": "consent"})
    async with world.broker() as service:
        browser = world.browser(service)
        assert prompts(await browser.open(f"{BROKER}/login")) == ["consent"]
        assert prompts(await browser.open(f"{BROKER}/login", another_account="1")) == ["select_account"]


async def test_asking_twice_is_refused(world: World) -> None:
    async with world.broker() as service:
        answer = await world.browser(service).open(f"{BROKER}/login?another_account=1&another_account=1")
        assert_refused(answer, ParameterRepeated)


async def test_with_several_providers_it_stays_with_the_one_that_refused(world: World) -> None:
    eu = world.add_provider("eu")
    eu.person = Person("eve", STRANGER)
    async with world.broker() as service:
        browser = world.browser(service)
        page = await browser.sign_in(idp="eu", redirect_url=PAGE)
        params = httpx.URL(another_account(page) or "").params
        again = await browser.open(another_account(page) or "")
    assert dict(params) == {"idp": "eu", "redirect_url": PAGE, "another_account": "1"}
    assert httpx.URL(again.headers["location"]).host == "eu.example"


@pytest.mark.parametrize(
    ("claims", "keys", "error"),
    [
        pytest.param({"email_verified": False}, {}, EmailUnverified, id="an unverified address"),
        pytest.param({}, {"groups_claim": "groups", "allowed_groups": ["agents"]}, GroupNotAllowed, id="no group"),
    ],
)
async def test_every_refusal_of_the_person_offers_it(
    world: World, claims: dict[str, Any], keys: dict[str, Any], error: type[BrokerError]
) -> None:
    use_kind(world, "oidc", {**ADA, **claims}, **keys)
    async with world.broker() as service:
        page = await world.browser(service).sign_in()
    assert_refused(page, error)
    assert another_account(page)
    assert start_again(page)


@pytest.mark.parametrize(
    ("refuses", "lies", "error"),
    [
        pytest.param({"error": "invalid_scope"}, Lies(), ProviderError, id="a mistake of the registration"),
        pytest.param({"error": "temporarily_unavailable"}, Lies(), ProviderReportedFailure, id="an outage"),
        pytest.param(None, Lies(claims=with_(nonce="another")), IdTokenNonce, id="a token not believed"),
    ],
)
async def test_where_the_account_is_not_the_matter_it_is_not_offered(
    world: World, refuses: dict[str, str] | None, lies: Lies, error: type[BrokerError]
) -> None:
    world.provider.refuses, world.provider.lies = refuses, lies
    async with world.broker() as service:
        page = await world.browser(service).sign_in(redirect_url=PAGE)
    assert_refused(page, error)
    assert another_account(page) is None


async def test_a_stranger_without_the_cookie_is_not_offered_it(world: World) -> None:
    world.provider.refuses = {"error": "access_denied"}
    async with world.broker() as service:
        browser = world.browser(service)
        callback = await browser.to_callback()
        page = await world.browser(service).open(callback)
    assert_refused(page, CookieMissing)
    assert another_account(page) is None
