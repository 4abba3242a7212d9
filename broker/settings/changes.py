"""Compares two readings of the settings. A change is named by its key; no value is shown."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from broker.oidc.client_assertion import AssertionKey
from broker.settings.model import Settings
from broker.settings.secrets import Secret, Section

_SECTIONS = ("sites", "identity_providers")


@dataclass(frozen=True, slots=True)
class Changes:
    """The difference between two readings of the settings.

    Args:
        added: sites and providers, such as `sites.eu`.
        removed: sites and providers.
        changed: keys, such as `log_email` or `identity_providers.okta.label`.
    """

    added: tuple[str, ...]
    removed: tuple[str, ...]
    changed: tuple[str, ...]

    def __bool__(self) -> bool:
        """Return whether anything changed."""
        return bool(self.added or self.removed or self.changed)

    def facts(self) -> dict[str, tuple[str, ...]]:
        """Return the changes for the log."""
        return {"added": self.added, "removed": self.removed, "changed": self.changed}


def changes_between(before: Settings, after: Settings) -> Changes:
    """Return what differs between two readings. A secret that only moved to another file did not change."""
    old, new = dict(_sections(before)), dict(_sections(after))
    changed = [key for path in new if path in old for key in _changed_keys(old[path], new[path], path)]
    reordered = [
        name
        for name in _SECTIONS
        if not old.keys() ^ new.keys() and [*getattr(before, name)] != [*getattr(after, name)]
    ]
    return Changes(
        added=tuple(path for path in new if path not in old),
        removed=tuple(path for path in old if path not in new),
        changed=(*changed, *reordered),
    )


def digests_of(settings: Settings) -> tuple[str, ...]:
    """Return a digest of each section, such as `sites.main 1a2b3c4d`, and first one of all of them.

    Two starts with different digests had different settings there. Secrets are excluded: a digest would let a reader
    test guesses.
    """
    digests = [f"{path or 'top'} {_digest(_texts_of(section, path))}" for path, section in _sections(settings)]
    return f"all {_digest(digests)}", *digests


def _texts_of(section: Section, path: str) -> list[str]:
    values = {name: getattr(section, name) for name in type(section).model_fields}
    return [f"{name}={_text_of(value)}" for name, value in values.items() if path or name not in _SECTIONS]


def _text_of(value: object) -> str:
    if isinstance(value, Secret | AssertionKey):
        return "given"
    return repr(sorted(value.items())) if isinstance(value, Mapping) else repr(value)


def _digest(texts: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()[:8]


def _sections(settings: Settings) -> Iterator[tuple[str, Section]]:
    yield "", settings
    for name in _SECTIONS:
        for identifier, section in getattr(settings, name).items():
            yield f"{name}.{identifier}", section


def _changed_keys(before: Section, after: Section, path: str) -> Iterator[str]:
    for name in type(after).model_fields:
        if not (path == "" and name in _SECTIONS) and _value(getattr(before, name)) != _value(getattr(after, name)):
            yield f"{path}.{name}" if path else name


def _value(value: Any) -> Any:
    """Return a value that can be compared."""
    if isinstance(value, Secret):
        value = value.reveal()
    if isinstance(value, AssertionKey):
        return value.algorithm, value.header, value.key.as_dict(private=False)
    return dict(value) if isinstance(value, Mapping) else value
