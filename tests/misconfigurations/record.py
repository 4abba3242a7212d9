"""One misconfiguration as a record: how it comes about, what must be said first, and how its remedy is carried out."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import yaml

from tests.fakes.world import SHARED_SECRET
from tests.misconfigurations.bench import Bench, Said, SignIn
from tests.misconfigurations.vendors import SECRET

SetUp = Bench | SignIn
Change = Callable[[Any, Said], None]
NOTHING_SAID = Said("", "", "")


@dataclass(frozen=True)
class Row:
    """One misconfiguration.

    Args:
        cause: what is injected, for the table.
        names: words of what is said first that name this cause and no other; none where nothing names it.
        remedy: words of the remedy that lead to `mend`.
        inject: breaks the set-up.
        mend: does what the remedy says.
        kind: of provider.
        at: what brings it to light.
        tls: the provider speaks TLS.
        leaves: what is still said after the remedy, where a network would be needed to go on.
    """

    cause: str
    names: str
    remedy: str
    inject: Change
    mend: Change
    kind: str = "oidc"
    at: Literal["check", "sign-in"] = "check"
    tls: bool = False
    leaves: str = ""


def put(
    *,
    production: bool = False,
    idp: Mapping[str, Any] | None = None,
    site: Mapping[str, Any] | None = None,
    top: Mapping[str, Any] | None = None,
    files: Mapping[str, str] | None = None,
    provider: Mapping[str, Any] | None = None,
    bench: Mapping[str, Any] | None = None,
) -> Change:
    """Return a change of a set-up.

    Args:
        production: addresses as an admin has them, first.
        idp: keys of the provider; None takes one away, `{issuer}` and `{endpoint}` in a text are the right ones.
        site: keys of the site, likewise.
        top: other keys, likewise.
        files: secrets, by the file they are in.
        provider: what is otherwise at the provider.
        bench: what is otherwise around.
    """

    def change(set_up: SetUp, _: Said) -> None:
        if isinstance(set_up, Bench):
            if production:
                set_up.in_production()
            for name, text in (files or {}).items():
                set_up.write(name, text)
            _lay(set_up.site, site, set_up)
            _lay(set_up.settings, top, set_up)
        else:
            _lay(set_up.world.settings["sites"]["main"], site, set_up)
        _lay(set_up.idp, idp, set_up)
        for name, value in (provider or {}).items():
            setattr(_provider(set_up), name, value)
        for name, value in (bench or {}).items():
            setattr(set_up, name, value)

    return change


def as_it_was(set_up: SetUp, _: Said) -> None:
    """Copy the secrets once more: the right ones."""
    assert isinstance(set_up, Bench)
    set_up.write("comm100-secret", SHARED_SECRET)
    set_up.write("client-secret", SECRET)


def as_the_remedy_says(set_up: SetUp, said: Said) -> None:
    """Take the very line or value that the remedy shows."""
    if shown := re.search(r"Set issuer to exactly (\S+?),", said.remedy):
        set_up.idp["issuer"] = shown[1]
        return
    line = yaml.safe_load(said.remedy.removeprefix("For example: "))
    *path, wrong = said.text.partition(":")[0].split(".")
    section: Any = set_up.settings if isinstance(set_up, Bench) else set_up.world.settings
    for step in path:
        section = section[step]
    section.pop(wrong)
    section.update(line)


def _provider(set_up: SetUp) -> Any:
    return set_up.provider if isinstance(set_up, Bench) else set_up.world.provider


def _lay(section: dict[str, Any], keys: Mapping[str, Any] | None, set_up: SetUp) -> None:
    for key, value in (keys or {}).items():
        if value is None:
            section.pop(key, None)
        else:
            section[key] = _filled(value, set_up) if isinstance(value, str) else value


def _filled(value: str, set_up: SetUp) -> str:
    endpoint = set_up.endpoint if isinstance(set_up, Bench) else ""
    return value.replace("{issuer}", _provider(set_up).issuer).replace("{endpoint}", endpoint)
