"""The JSON Schema of the settings file, for editors and for `broker schema`.

It owns what the model cannot say by itself: that each secret has two keys of which one is needed, and which keys the
preset fills in. The model stays the judge: the schema knows form, not sense.
"""

from __future__ import annotations

from typing import Any

from broker.settings.model import Settings
from broker.settings.presets import PRESETS
from broker.settings.provider import ProviderSettings
from broker.settings.section import IDENTIFIER, Section
from broker.settings.site import SiteSettings

_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_TITLE = "Settings of the Comm100 SSO broker"
_ABOUT = "Every key of the settings file; docs/settings.md explains them."


def settings_schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of the settings file."""
    schema = Settings.model_json_schema(mode="validation")
    sections = schema["$defs"]
    _give_secrets_two_keys(schema, Settings, "secret_keys")
    _give_secrets_two_keys(sections["SiteSettings"], SiteSettings, "shared_secret")
    _give_secrets_two_keys(sections["ProviderSettings"], ProviderSettings, "client_secret")
    _let_the_preset_fill_in(sections["ProviderSettings"])
    for key in ("sites", "identity_providers"):
        schema["properties"][key]["propertyNames"] = {"pattern": f"^{IDENTIFIER}$"}
    described: dict[str, Any] = _without_titles(schema)
    return {"$schema": _DIALECT} | described | {"title": _TITLE, "description": _ABOUT}


def _give_secrets_two_keys(schema: dict[str, Any], section: type[Section], key: str) -> None:
    properties: dict[str, Any] = {}
    for name, value in schema["properties"].items():
        if name != key:
            properties[name] = value
            continue
        described = section.model_fields[key]
        file = {"type": "string", "minLength": 1, "examples": described.examples}
        properties[f"{key}_file"] = {**file, "description": f"The file that holds: {described.description}"}
        properties[key] = {name: part for name, part in value.items() if name != "examples"} | {"writeOnly": True}
    schema["properties"] = properties
    schema["required"] = [name for name in schema.get("required", []) if name != key]
    one = {"oneOf": [{"required": [f"{key}_file"]}, {"required": [key]}]}
    neither = {"properties": {f"{key}_file": False, key: False}}
    if key == "client_secret":
        public = {"properties": {"client_authentication": {"const": "none"}}, "required": ["client_authentication"]}
        schema |= {"if": public, "then": neither, "else": one}
    else:
        schema |= one


def _let_the_preset_fill_in(schema: dict[str, Any]) -> None:
    schema["properties"]["preset"] |= {"enum": list(PRESETS)}
    schema["required"] = [key for key in schema["required"] if all(key in preset.needs for preset in PRESETS.values())]
    only = next(iter(PRESETS.values())) if len(PRESETS) == 1 else None
    for key, default in only.defaults.items() if only else ():
        schema["properties"][key]["default"] = default


def _without_titles(schema: Any) -> Any:
    """Drop the titles the library makes of the names: they say nothing a description does not say better."""
    if isinstance(schema, list):
        return [_without_titles(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        key: _without_titles(value) for key, value in schema.items() if not (key == "title" and isinstance(value, str))
    }
