"""Render what `broker init` writes and prints: the settings file, the values to register, and the next steps."""

from __future__ import annotations

import shlex
import time
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import urlsplit

import jinja2

from broker.comm100 import CONTROL_PANEL_MENU
from broker.init.files import CLIENT_SECRET, OWN_KEYS, SHARED_SECRET
from broker.init.questions import SITE, Answers, draft_settings
from broker.oidc.network import is_loopback
from broker.providers.kind import Value
from broker.registration import CONTROL_PANEL, ProviderSetup, setup_of_provider, setup_of_site
from broker.wiring import wire_provider, wire_site

_ENVIRONMENT = jinja2.Environment(
    loader=jinja2.FileSystemLoader(Path(__file__).parent),
    autoescape=False,  # noqa: S701 - YAML: every value goes through tojson, and JSON is YAML
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    keep_trailing_newline=True,
)
_ENVIRONMENT.policies["json.dumps_kwargs"] = {"ensure_ascii": False}  # YAML joins no surrogate pairs


def settings_text(answers: Answers, secrets_folder: str) -> str:
    """Return the text of the settings file.

    Args:
        answers: all valid.
        secrets_folder: relative to the settings file.
    """
    public_url = draft_settings(answers).public_url  # without the slash that may have been typed at its end
    listen, operations_listen = _sockets(public_url)
    return _ENVIRONMENT.get_template("broker.yaml.j2").render(
        answers=answers,
        any_product=answers.kind.any_product,
        site=SITE,
        menu=CONTROL_PANEL_MENU,
        public_url=public_url,
        listen=listen,
        operations_listen=operations_listen,
        own_keys=f"{secrets_folder}/{OWN_KEYS}",
        shared_secret=f"{secrets_folder}/{SHARED_SECRET}",
        client_secret=f"{secrets_folder}/{CLIENT_SECRET}",
    )


def registration_of(answers: Answers) -> ProviderSetup:
    """Return what to register at the provider.

    Args:
        answers: with at least the public URL, and the provider's kind, id and issuer or tenant.
    """
    settings = draft_settings(answers)
    provider = wire_provider(settings, answers.provider_id)
    return setup_of_provider(provider, enabled=True, public_url=settings.public_url, site_ids=(SITE,), now=time.time())


def to_register(setup: ProviderSetup) -> list[str]:
    """Return a line for each value to register, without the client ID, which is the result, and a portal's tile."""
    return _lines(value for value in setup.values if value.label != "Client ID" and "/initiate/" not in value.value)


def next_steps(answers: Answers, config: Path, *, registered: bool, all_good: bool) -> str:
    """Return the next steps, for a terminal.

    Args:
        registered: the person has read what to register at the provider.
    """
    option = "" if config == Path("broker.yaml") else f" --config {shlex.quote(str(config))}"
    settings = draft_settings(answers)
    site = setup_of_site(wire_site(settings, SITE), public_url=settings.public_url, only=True)
    steps: list[tuple[str, list[str]]] = []
    if not registered:
        steps.append(("Register the broker at the identity provider:", to_register(registration_of(answers))))
    if not all_good:
        steps.append(("Correct what failed above, then check again:", [f"broker check{option}"]))
    steps += [
        ("Start the broker:", [f"broker serve{option}"]),
        ("Open the setup page and test a sign-in:", [f"broker setup-link{option}"]),
        (
            "Make sure that two account admins know their Comm100 passwords:",
            ["after the next step, only account admins can sign in with a password."],
        ),
        (
            "Turn on JWT SSO, enter the two addresses, compare endpoint and secret, then save:",
            [CONTROL_PANEL, *_lines(site.values)],
        ),
    ]
    lines = ["Next steps"]
    for number, (what, details) in enumerate(steps, start=1):
        lines += [f"  {number}. {what}", *(f"     {line}" for line in details)]
    return "\n".join(lines)


def _lines(values: Iterable[Value]) -> list[str]:
    rows = list(values)
    width = max(len(value.label) for value in rows)
    return [f"{value.label:<{width}}  {value.value}" for value in rows]


def _sockets(public_url: str) -> tuple[str, str]:
    """Return both listen addresses: without a proxy, browsers reach the public port at the public URL itself."""
    parts = urlsplit(public_url)
    direct = parts.scheme == "http" and parts.port is not None and is_loopback(parts.hostname or "")
    port = parts.port if direct and parts.port else 8000
    return f"127.0.0.1:{port}", f"127.0.0.1:{9000 if port != 9000 else 9001}"
