"""What has been answered so far, as the settings it will become.

It owns which setting each answer is. What a value must be like is asked of the settings themselves: no rule of theirs
is repeated here. It knows neither terminal nor options nor network.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from broker.errors import Mistake, SettingsError
from broker.settings import Settings, check_settings

SITE = "main"
_AT_THE_TOP = ("public_url", "trusted_ca_file", "outbound_proxy")
_LISTS = ("email_domains", "scopes")
_OF_THE_SITE = ("endpoint", "shared_secret")
_OF_THE_PROVIDER = (
    "preset", "tenant", "issuer", "client_id", "client_secret", "client_secret_expires", "email_domains", "scopes",
    "allow_private_network",
)  # fmt: skip

# Stands in for what is not answered yet, where only other values are looked at; nothing of it is written or sent.
_MEANWHILE = {
    "public_url": "https://sso.acme.example",
    "client_id": "not-asked-yet",
    "client_secret": "not-asked-yet",
    "email_domains": ("acme.example",),
    "endpoint": "https://acme.comm100.com/AdminWebService/SSO/SSOJWTConsumer.aspx",
    "shared_secret": "4f0c1be27a9d4e8db35a6f21c7e09d84",
}


@dataclass(frozen=True, slots=True)
class Answers:
    """The values of the settings to be written; empty where nobody has answered yet.

    Args:
        id: the provider's, part of the redirect URI.
        trusted_ca_file: an absolute path.
        fitted: further keys of the provider, because its own document asks for them.
        domain: the one a tenant was found by.
    """

    public_url: str = ""
    preset: str = ""
    id: str = ""
    issuer: str = ""
    tenant: str = ""
    client_id: str = ""
    client_secret: str = field(default="", repr=False)
    client_secret_expires: str = ""
    email_domains: tuple[str, ...] = ()
    endpoint: str = ""
    shared_secret: str = field(default="", repr=False)
    trusted_ca_file: str = ""
    outbound_proxy: str = ""
    allow_private_network: bool = False
    scopes: tuple[str, ...] = ()
    fitted: Mapping[str, Any] = field(default_factory=dict)
    domain: str = ""


def answered(answers: Answers, key: str, text: str) -> Answers:
    """Return the answers with one more.

    Args:
        answers: so far.
        key: the name of an answer.
        text: as given; domains and scopes are joined by commas or spaces.
    """
    value: Any = text
    if key in _LISTS:
        value = tuple(dict.fromkeys(re.split(r"[,;\s]+", text.strip(" ,;"))))
    elif key == "trusted_ca_file":
        value = str(Path(text).expanduser().absolute())  # the settings file may be written to another folder
    elif key == "allow_private_network":
        value = True
    return replace(answers, **{key: value})


def tree_of(answers: Answers) -> dict[str, Any]:
    """Return the answers as the tree of a settings file."""
    site = {key: getattr(answers, key) for key in _OF_THE_SITE if getattr(answers, key)}
    provider = {key: getattr(answers, key) for key in _OF_THE_PROVIDER if getattr(answers, key)}
    provider |= {key: list(provider[key]) for key in _LISTS if key in provider}
    return {
        **{key: getattr(answers, key) for key in _AT_THE_TOP if getattr(answers, key)},
        "sites": {SITE: site},
        "identity_providers": {_identifier(answers): {**provider, **answers.fitted}},
    }


def find_mistake(answers: Answers, key: str) -> Mistake | None:
    """Return what the settings refuse about one answer, by the rules `broker serve` begins with.

    Args:
        answers: with this one.
        key: its name.
    """
    try:
        check_settings(tree_of(answers), Path())
    except SettingsError as error:
        return next((one for one in error.mistakes if _is_about(one.path, answers, key)), None)
    return None


def draft_settings(answers: Answers) -> Settings:
    """Return usable settings with the answers so far and something in place of the others, to look at a provider with.

    Args:
        answers: those given are right.
    """
    missing: dict[str, Any] = {key: value for key, value in _MEANWHILE.items() if not getattr(answers, key)}
    keys = {"secret_keys": ["9b1d6a40c2f84e7fa5360d18be72c94f"]}
    return check_settings({**tree_of(replace(answers, **missing)), **keys}, Path())


def _is_about(path: str, answers: Answers, key: str) -> bool:
    if key == "id":
        return re.fullmatch(r"identity_providers\.[^.]+", path) is not None
    section = ""
    if key in _OF_THE_SITE:
        section = f"sites.{SITE}."
    elif key in _OF_THE_PROVIDER:
        section = f"identity_providers.{_identifier(answers)}."
    return re.fullmatch(re.escape(section + key) + r"(\[\d+\])?", path) is not None


def _identifier(answers: Answers) -> str:
    return answers.id or "provider"
