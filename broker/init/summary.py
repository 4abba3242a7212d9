"""What goes out: the values to register at the identity provider, and the two addresses to enter in Comm100.

It owns nothing but the way there: the values are those of the setup page.
"""

from __future__ import annotations

import time
from collections.abc import Iterable

from broker.init.answers import SITE, Answers, draft_settings
from broker.providers.kind import Value
from broker.registration import ProviderSetup, setup_of_provider, setup_of_site
from broker.wiring import wire_provider, wire_site

Row = tuple[str, str]


def registration_of(answers: Answers) -> ProviderSetup:
    """Return what to register at the provider, before it gives a client id.

    Args:
        answers: with the public URL, the provider's kind and id, and where it is.
    """
    settings = draft_settings(answers)
    provider = wire_provider(settings, answers.id)
    return setup_of_provider(
        provider,
        enabled=True,
        public_url=settings.public_url,
        site_ids=(SITE,),
        now=time.time(),
    )


def to_register(setup: ProviderSetup) -> list[Row]:
    """Return the values by name, but for the client id, which one gets, and what only a tile in a portal needs.

    Args:
        setup: of the provider.
    """
    return _rows(one for one in setup.values if one.label != "Client ID" and "/initiate/" not in one.value)


def for_comm100(answers: Answers) -> list[Row]:
    """Return the two addresses by their names in the Control Panel.

    Args:
        answers: all of them.
    """
    settings = draft_settings(answers)
    return _rows(setup_of_site(wire_site(settings, SITE), public_url=settings.public_url, only=True).values)


def lined_up(rows: list[Row]) -> list[str]:
    """Return a line for each row, the values below each other.

    Args:
        rows: at least one.
    """
    width = max(len(name) for name, _ in rows)
    return [f"{name:<{width}}  {value}" for name, value in rows]


def _rows(values: Iterable[Value]) -> list[Row]:
    return [(value.label, value.value) for value in values]
