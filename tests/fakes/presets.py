"""The one provider of a small world as one of the kinds the broker knows by name."""

from __future__ import annotations

from typing import Any

from tests.fakes.provider import Person
from tests.fakes.world import World, section_for

TENANT = "7a0c1b2d-3e4f-4a5b-8c6d-7e8f9a0b1c2d"
_NEEDS: dict[str, dict[str, Any]] = {"entra": {"tenant": TENANT}}


def use_preset(world: World, preset: str, claims: dict[str, Any], **keys: Any) -> None:
    """Make the provider of this kind, with one person, whom it says this of; `keys` go to its settings.

    Okta alone has thin ID tokens.
    """
    world.provider.claims_in_id_token = preset != "okta"
    world.provider.person = Person("person-1", claims)
    world.settings["identity_providers"]["idp"] = section_for(
        world.provider, preset=preset, **{**_NEEDS.get(preset, {}), **keys}
    )
