"""Rules that look at more than one section at a time.

They read the tree as written, so that they can speak even when something else in it is wrong; what has a wrong form
they pass over, for the model reports that.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from broker.errors import Mistake
from broker.settings import addresses
from broker.settings.sources import shown_key


def mistakes_between_sections(tree: Mapping[str, Any]) -> tuple[Mistake, ...]:
    """Find what does not fit together in a tree of settings as the admin wrote it."""
    return (*_domains_claimed_twice(tree), *_unknown_providers(tree))


def _domains_claimed_twice(tree: Mapping[str, Any]) -> Iterator[Mistake]:
    if tree.get("shared_email_domains") is True:
        return
    owners: dict[str, str] = {}
    for identifier, provider in _sections(tree, "identity_providers"):
        for domain in filter(addresses.is_host_name, dict.fromkeys(_texts(provider.get("email_domains")))):
            owner = owners.setdefault(domain, identifier)
            if owner != identifier:
                yield Mistake(
                    f"identity_providers.{identifier}.email_domains",
                    f"names {domain}, which belongs to {owner}: either could sign in as the other's people",
                    "name each domain at one provider, or set shared_email_domains: true",
                )


def _unknown_providers(tree: Mapping[str, Any]) -> Iterator[Mistake]:
    known = [identifier for identifier, _ in _sections(tree, "identity_providers") if identifier[0] != "("]
    for identifier, site in _sections(tree, "sites"):
        for index, provider in enumerate(_texts(site.get("identity_providers"))):
            if provider not in known:
                yield Mistake(
                    f"sites.{identifier}.identity_providers[{index}]",
                    "names no identity provider of these settings",
                    f"identity_providers: [{', '.join(known) or 'okta'}]",
                )


def _sections(tree: Mapping[str, Any], key: str) -> list[tuple[str, Mapping[str, Any]]]:
    sections = tree.get(key)
    if not isinstance(sections, Mapping):
        return []
    return [(shown_key(key), section) for key, section in sections.items() if isinstance(section, Mapping)]


def _texts(values: Any) -> list[str]:
    return [value for value in values if isinstance(value, str)] if isinstance(values, list) else []
