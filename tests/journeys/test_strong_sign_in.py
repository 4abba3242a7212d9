"""require_acr and require_amr: what is demanded of the provider is checked in the ID token."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from broker.errors import AuthenticationTooWeak
from tests.fakes.kinds import use_kind
from tests.fakes.lies import Document, Lies, with_
from tests.fakes.world import BROKER, PAGE, World, assert_refused, refresh, start_again

ADA = "ada@acme.example"
PERSON = {"email": ADA, "email_verified": True, "preferred_username": ADA, "name": "Ada Lovelace"}
ANY_SECOND_FACTOR = "urn:okta:loa:2fa:any"

Demand = dict[str, list[str]]
SHAPES: dict[str, tuple[str, Demand, Document]] = {
    "Okta, any second factor": ("okta", {"require_acr": [ANY_SECOND_FACTOR]}, {"acr": ANY_SECOND_FACTOR}),
    "Okta, one that resists phishing": ("okta", {"require_acr": ["phr", "phrh"]}, {"acr": "phrh"}),
    "Okta, by method": ("okta", {"require_amr": ["mfa"]}, {"amr": ["pwd", "mfa", "otp"]}),
    "Entra, an authentication context": ("entra", {"require_acr": ["c1"]}, {"acrs": ["c3", "c1"]}),
    "Keycloak, a level": ("oidc", {"require_acr": ["2", "gold"]}, {"acr": "2"}),
    "context and method": (
        "oidc",
        {"require_acr": ["gold"], "require_amr": ["hwk", "swk"]},
        {"acr": "gold", "amr": ["swk"]},
    ),
}
ODD: dict[str, object] = {
    "missing": None,
    "of the wrong name": "urn:okta:loa:1fa:any",
    "empty": "",
    "a number": 2,
    "true": True,
    "an object": {"value": "phr"},
    "a list of the wrong name": ["pwd"],
    "an empty list": [],
    "a list in a list": [["mfa", "c1", "2", "gold", "phrh", ANY_SECOND_FACTOR, "swk"]],
    "a list of a number": [1],
}


def claims_of(shape: str) -> Document:
    return SHAPES[shape][2]


def use_shape(world: World, shape: str, said: Document) -> None:
    kind, demand, _ = SHAPES[shape]
    use_kind(world, kind, PERSON, **demand)
    world.provider.lies = Lies(claims=with_(**said))


@pytest.mark.requirement("S-63")
@pytest.mark.parametrize("shape", SHAPES)
async def test_a_person_who_signed_in_as_demanded_gets_in(world: World, shape: str) -> None:
    use_shape(world, shape, claims_of(shape))
    async with world.broker() as service:
        end = await world.browser(service).sign_in(redirect_url=PAGE)
    assert str(end.url) == PAGE


@pytest.mark.requirement("S-63")
@pytest.mark.parametrize("odd", ODD)
@pytest.mark.parametrize(
    ("shape", "claim"), [(shape, claim) for shape, (_, _, said) in SHAPES.items() for claim in said]
)
async def test_a_claim_that_does_not_say_so_never_leads_to_a_token(
    world: World, shape: str, claim: str, odd: str
) -> None:
    use_shape(world, shape, {**claims_of(shape), claim: ODD[odd]})
    async with world.broker() as service:
        end = await world.browser(service).sign_in(redirect_url=PAGE)
    assert_refused(end, AuthenticationTooWeak)
    assert world.received == []


@pytest.mark.requirement("S-63")
@pytest.mark.parametrize(("claim", "as_other_type"), [("acr", ["phrh"]), ("amr", "mfa"), ("acrs", "c1")])
async def test_the_right_name_in_another_type_does_not_count(world: World, claim: str, as_other_type: object) -> None:
    shape = {"acr": "Okta, one that resists phishing", "amr": "Okta, by method"}.get(
        claim, "Entra, an authentication context"
    )
    use_shape(world, shape, {claim: as_other_type})
    async with world.broker() as service:
        end = await world.browser(service).sign_in(redirect_url=PAGE)
    assert_refused(end, AuthenticationTooWeak)
    assert world.received == []


def asked_at_last(world: World) -> Document:
    """Return the parameters of the last authorization request."""
    return list(world.provider.grants.values())[-1].request


def as_asked(world: World) -> Lies:
    """Let the provider sign people in as weakly as the address allows."""

    def claims(given: Document) -> Document:
        asked = asked_at_last(world).get("acr_values")
        return {**given, "acr": asked} if asked else given

    return Lies(claims=claims)


@pytest.mark.requirement("S-63")
@pytest.mark.parametrize("tampered", ["without", "emptied", "weaker"])
async def test_a_person_who_takes_the_demand_out_of_the_address_gets_no_token(world: World, tampered: str) -> None:
    use_shape(world, "Okta, any second factor", {})
    world.provider.lies = as_asked(world)
    async with world.broker() as service:
        browser = world.browser(service)
        redirect = await browser.open(f"{BROKER}/login", redirect_url=PAGE)
        address = httpx.URL(redirect.headers["location"])
        assert address.params["acr_values"] == ANY_SECOND_FACTOR
        changed = address.copy_remove_param("acr_values")
        if tampered != "without":
            changed = changed.copy_set_param("acr_values", "" if tampered == "emptied" else "urn:okta:loa:1fa:any")
        end = await browser.follow(await browser.open(str(changed)))
        assert_refused(end, AuthenticationTooWeak)
        assert world.received == []
        again = await browser.follow(await browser.open(refresh(end) or ""))
    assert str(again.url) == PAGE


@pytest.mark.requirement("S-63")
async def test_the_stronger_sign_in_is_requested_once_more_and_then_the_person_decides(world: World) -> None:
    use_shape(world, "Okta, any second factor", {})
    async with world.broker() as service:
        browser = world.browser(service)
        first = await browser.sign_in(redirect_url=PAGE)
        assert_refused(first, AuthenticationTooWeak)
        assert "prompt" not in asked_at_last(world)
        assert "Use another account" not in first.text
        second = await browser.follow(await browser.open(refresh(first) or ""))
        assert_refused(second, AuthenticationTooWeak)
        assert {name: asked_at_last(world)[name] for name in ("prompt", "acr_values")} == {
            "prompt": "login",
            "acr_values": ANY_SECOND_FACTOR,
        }
        assert refresh(second) is None
        world.provider.lies = Lies(claims=with_(acr=ANY_SECOND_FACTOR))
        end = await browser.follow(await browser.open(start_again(second) or ""))
    assert str(end.url) == PAGE


@pytest.mark.requirement("S-63")
async def test_userinfo_cannot_say_how_the_person_signed_in(world: World) -> None:
    use_kind(world, "okta", {**PERSON, "acr": "2"}, require_acr=["2"])  # claims are in userinfo only
    async with world.broker() as service:
        assert_refused(await world.browser(service).sign_in(redirect_url=PAGE), AuthenticationTooWeak)
    assert world.received == []


async def test_without_a_demand_the_claims_do_not_matter(world: World) -> None:
    use_kind(world, "oidc", PERSON)
    said: dict[str, Any] = {"acr": 5, "amr": "none"}
    world.provider.lies = Lies(claims=with_(**said))
    async with world.broker() as service:
        assert str((await world.browser(service).sign_in(redirect_url=PAGE)).url) == PAGE
