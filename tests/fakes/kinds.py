"""The one provider of a small world as one of the kinds the broker knows by name."""

from __future__ import annotations

from typing import Any

from tests.fakes.lies import Lies, with_
from tests.fakes.provider import FakeProvider, Person
from tests.fakes.world import World, section_for

TENANT = "7a0c1b2d-3e4f-4a5b-8c6d-7e8f9a0b1c2d"
OTHER = "0b9a8f7e-6d5c-4b4a-9f3e-2d1c0b9a8f7e"
_NEEDS: dict[str, dict[str, Any]] = {"entra": {"tenant": TENANT}}


def use_kind(world: World, kind: str, claims: dict[str, Any], **keys: Any) -> None:
    """Make the provider of this kind, with one person, whom it says this of; `keys` go to its settings.

    Okta alone has thin ID tokens.
    """
    world.provider.claims_in_id_token = kind != "okta"
    world.provider.person = Person("person-1", claims)
    world.settings["identity_providers"]["idp"] = section_for(
        world.provider, preset=kind, **{**_NEEDS.get(kind, {}), **keys}
    )


def use_several_tenants(world: World, tenant: str, **claims: Any) -> None:
    """Make the one provider Entra's common address, and the person one of this tenant."""
    world.provider = FakeProvider("https://entra.example/organizations/v2.0", world.clock)
    world.providers = [world.provider]
    use_kind(world, "entra", {"name": "Ada Lovelace", **claims})
    section = world.settings["identity_providers"]["idp"]
    del section["tenant"]
    section["tenants"] = [TENANT, OTHER]
    world.provider.lies = Lies(
        discovery=with_(issuer="https://entra.example/{tenantid}/v2.0"),
        claims=with_(iss=f"https://entra.example/{tenant}/v2.0", tid=tenant),
    )
