"""Make the JSON Schema of the settings file, for editors, for `broker schema` and for the chart.

The model's schema gets two keys for each secret, the required keys and defaults of each provider kind, and the
credential of each client authentication. The model checks more than the schema.
"""

from __future__ import annotations

from typing import Any

from pydantic.json_schema import GenerateJsonSchema

from broker.providers import KINDS, ProviderKind
from broker.settings.model import Settings, SiteSettings
from broker.settings.provider import DEFAULT_PRESET, ProviderSettings
from broker.settings.secrets import CREDENTIAL_DETAILS, CREDENTIALS, Section
from broker.settings.values import IDENTIFIER

_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_TITLE = "Settings of the Comm100 SSO broker"
_METHOD = "client_authentication"
_ABOUT = "Every key of the settings file; docs/admin/settings.md explains them."


def settings_schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of the settings file."""
    schema = Settings.model_json_schema(mode="validation", schema_generator=_WithoutTitles)
    site, provider = schema["$defs"]["SiteSettings"], schema["$defs"]["ProviderSettings"]
    for part, section in ((schema, Settings), (site, SiteSettings), (provider, ProviderSettings)):
        _give_secrets_two_keys(part, section)
    schema |= _one_of(*_pair("secret_keys")) | _not_both("outbound_proxy")
    site |= _one_of(*_pair("shared_secret"))
    provider |= _not_both("outbound_proxy")
    _fill_in_by_kind(provider)
    for key in ("sites", "identity_providers"):
        schema["properties"][key]["propertyNames"] = {"pattern": f"^{IDENTIFIER}$"}
    return {"$schema": _DIALECT} | schema | {"title": _TITLE, "description": _ABOUT}


class _WithoutTitles(GenerateJsonSchema):
    def field_title_should_be_set(self, schema: Any) -> bool:  # noqa: ARG002
        """Return False: descriptions say more than titles made of the keys' names."""
        return False


def _give_secrets_two_keys(schema: dict[str, Any], section: type[Section]) -> None:
    secrets = section.secret_keys_of_section
    properties: dict[str, Any] = {}
    for name, value in schema["properties"].items():
        if name not in secrets:
            properties[name] = value
            continue
        described = section.model_fields[name]
        plainly = name in section.shown_plainly
        examples = [f"/run/secrets/{name}"] if plainly else described.examples
        file = {"type": "string", "minLength": 1, "examples": examples}
        properties[f"{name}_file"] = {**file, "description": f"The file that holds: {described.description}"}
        properties[name] = {key: part for key, part in value.items() if key != "examples" or plainly}
        properties[name] |= {} if plainly else {"writeOnly": True}
    schema["properties"] = properties
    schema["required"] = [name for name in schema.get("required", []) if name not in secrets]


def _fill_in_by_kind(schema: dict[str, Any]) -> None:
    kinds = KINDS.values()
    schema["properties"]["preset"] |= {"enum": list(KINDS)}
    schema["required"] = [key for key in schema["required"] if all(key in kind.needs for kind in kinds)]
    for key in schema["properties"]:
        defaults = [kind.defaults.get(key) for kind in kinds]
        if defaults[0] is not None and all(default == defaults[0] for default in defaults):
            schema["properties"][key]["default"] = defaults[0]
    schema["allOf"] = [
        *({"if": _is_preset(name), "then": _needs_of(kind)} for name, kind in KINDS.items()),
        *({"if": _is_method(method), "then": _credential_of(method)} for method in CREDENTIALS),
    ]


def _is_preset(name: str) -> dict[str, Any]:
    named: dict[str, Any] = {"properties": {"preset": {"const": name}}}
    return named if name == DEFAULT_PRESET else named | {"required": ["preset"]}


def _needs_of(kind: ProviderKind) -> dict[str, Any]:
    needs: dict[str, Any] = {"required": list(kind.needs)}
    return needs | (_one_of("tenant", "tenants") if kind.has_tenants else _none_of("tenant", "tenants"))


def _is_method(method: str) -> dict[str, Any]:
    said = {"properties": {_METHOD: {"const": method}}, "required": [_METHOD]}
    by_preset = [_is_preset(name) for name, kind in KINDS.items() if method == kind.defaults[_METHOD]]
    unsaid = {"not": {"required": [_METHOD]}, "anyOf": by_preset}
    return {"anyOf": [said, unsaid]} if by_preset else said


def _credential_of(method: str) -> dict[str, Any]:
    needed = CREDENTIALS[method]
    others = dict.fromkeys(key for key in CREDENTIALS.values() if key and key != needed)
    foreign = [key for key, credential in CREDENTIAL_DETAILS.items() if credential != needed]
    refused = _none_of(*(name for key in others for name in _pair(key)), *foreign)
    return refused | (_one_of(*_pair(needed)) if needed else {})


def _pair(secret: str) -> tuple[str, str]:
    return f"{secret}_file", secret


def _one_of(*keys: str) -> dict[str, Any]:
    return {"oneOf": [{"required": [key]} for key in keys]}


def _not_both(secret: str) -> dict[str, Any]:
    given = {"type": "string"}  # null counts as not given
    return {"not": {"properties": dict.fromkeys(_pair(secret), given), "required": list(_pair(secret))}}


def _none_of(*keys: str) -> dict[str, Any]:
    return {"properties": dict.fromkeys(keys, False)}
