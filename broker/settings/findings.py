"""From the validation library's findings to our own plain sentences.

It owns the wording and the path. It never sees an input value: the library's messages are not used at all.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

import yaml
from pydantic import ValidationError

from broker.errors import Mistake
from broker.settings.model import Settings
from broker.settings.provider import ProviderSettings
from broker.settings.section import Section
from broker.settings.site import SiteSettings
from broker.settings.sources import KeyPath, shown_key
from broker.settings.unusable import Unusable

Location = tuple[int | str, ...]

_SENTENCES = {
    "missing": "is required",
    "string_type": "must be text: put it in quotes",
    "int_type": "must be a whole number",
    "bool_type": "must be true or false",
    "tuple_type": "must be a list",
    "mapping_type": "must be keys with values",
    "dict_type": "must be keys with values",
    "model_type": "must be keys with values",
    "model_attributes_type": "must be keys with values",
    "too_short": "must name at least one",
    "invalid_key": "has a key that is not text",
}
_SECTIONS: Mapping[str, type[Section]] = {"sites": SiteSettings, "identity_providers": ProviderSettings}


def mistakes_found(error: ValidationError, variables: Mapping[KeyPath, str]) -> tuple[Mistake, ...]:
    """Say each finding in a sentence of ours.

    Args:
        error: what the model found.
        variables: the environment variable a value came from, by the value's path.
    """
    findings = error.errors(include_url=False, include_input=False)
    return tuple(_mistake(finding["type"], finding["loc"], finding.get("ctx", {}), variables) for finding in findings)


def _mistake(kind: str, location: Location, context: dict[str, Any], variables: Mapping[KeyPath, str]) -> Mistake:
    reason = context.get("error")
    unusable = reason if isinstance(reason, Unusable) else None
    wrong_key = bool(location) and location[-1] == "[key]"
    location = location[:-1] if wrong_key else location
    if unusable and unusable.key:
        location = (*location[:-1], unusable.key)
    if kind == "extra_forbidden":
        problem, example = _unknown_key(location)
    else:
        problem = unusable.problem if unusable else _sentence(kind, context)
        example = "acme_eu" if wrong_key else _example(location)
    return Mistake(_dotted(location), problem + _origin(location, variables), example)


def _sentence(kind: str, context: dict[str, Any]) -> str:
    match kind:
        case "literal_error":
            return f"must be one of: {str(context['expected']).replace(chr(39), '')}"
        case "greater_than_equal":
            return f"must be {context['ge']} or more"
        case "less_than_equal":
            return f"must be {context['le']} or less"
        case "string_too_long" | "too_long":
            return f"must have {context['max_length']} characters or fewer"
        case _:
            return _SENTENCES.get(kind, "cannot be used")


def _unknown_key(location: Location) -> tuple[str, str]:
    key = str(location[-1])
    section, _ = _section(location)
    near = difflib.get_close_matches(key.lower().replace("-", "_"), known_keys(section), n=1, cutoff=0.7)
    if near:
        return f"is no setting here; did you mean {near[0]}?", _line(section, near[0])
    return "is no setting here", "remove it, or see docs/settings.md"


def known_keys(section: type[Section]) -> tuple[str, ...]:
    """Return every key a section takes, `x_file` beside each secret `x`."""
    return (*section.model_fields, *(f"{key}_file" for key in section.secret_keys_of_section))


def _example(location: Location) -> str:
    section, rest = _section(location)
    if not rest:
        return _line(Settings, str(location[0])) if location else "public_url: https://sso.acme.example"
    return _line(section, str(rest[0]))


def _section(location: Location) -> tuple[type[Section], Location]:
    if location and location[0] in _SECTIONS and len(location) > 1:
        return _SECTIONS[str(location[0])], location[2:]
    return Settings, location


def _line(section: type[Section], key: str) -> str:
    name = key.removesuffix("_file") if key not in section.model_fields else key
    examples = section.model_fields[name].examples if name in section.model_fields else None
    if name in section.secret_keys_of_section:
        key = f"{name}_file"
    if not examples:
        return key
    text = yaml.safe_dump(examples[0], default_flow_style=True, width=1000, sort_keys=False)
    return f"{key}: {text.removesuffix(chr(10)).removesuffix('...').strip()}"


def _dotted(location: Location) -> str:
    path = ""
    for step in location:
        path += f"[{step}]" if isinstance(step, int) else f".{step if _may_be_shown(step) else shown_key(step)}"
    return path.removeprefix(".") or "settings"


def _may_be_shown(step: str) -> bool:
    return shown_key(step) == step or shown_key(step.lower()) == step.lower()


def _origin(location: Location, variables: Mapping[KeyPath, str]) -> str:
    path = tuple(str(step) for step in location)
    for length in range(len(path), 0, -1):
        if name := variables.get(path[:length]):
            return f" (given by {name})"
    return ""
