"""The settings file that is written: every key it holds explained, and the ones people look for next shown.

It owns the text. What the keys mean is told at length in docs/admin/settings.md.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from urllib.parse import urlsplit

from broker.comm100 import CONTROL_PANEL_MENU
from broker.init.answers import SITE, Answers, draft_settings
from broker.init.questions import kind_of
from broker.settings.addresses import is_loopback

SECRETS_FOLDER = "secrets"
OWN_KEYS, SHARED_SECRET, CLIENT_SECRET = "broker-keys", "comm100-shared-secret", "client-secret"

_PLAIN = re.compile(r"(?=.*[a-z])(https?://)?[a-z0-9]([A-Za-z0-9._/:-]*[A-Za-z0-9/])?")

_WORDS = {"null", "true", "false", "yes", "no", "on", "off", "y", "n"}  # YAML's own

_HEAD = """\
# Settings of the Comm100 SSO broker, written by `broker init`.
#
# Every key is explained in docs/admin/settings.md. Lines that begin with # are comments. Remove the # to enable a
# setting. Afterwards run `broker check`, and start the broker again.
# Paths begin at the folder of this file. A secret's file may be replaced at any time, without a restart.

# Where browsers reach the broker: scheme and host, no path. Every address it gives out begins with this.
public_url: {public_url}

# The broker's own keys, made just now; nobody else needs them. They sign what a browser carries during a sign-in.
secret_keys_file: {own_keys}

# Where the broker listens: on this machine alone, for a proxy that ends TLS. For a proxy elsewhere, or in a container,
# 0.0.0.0 in place of 127.0.0.1. The second port has health and metrics; keep it from the outside.
listen: {listen}
operations_listen: {operations_listen}

# site_name: Acme sign-in                        # what pages call this site
# support_email: it-desk@acme.example            # the IT desk, offered on error pages
{outbound_proxy} # if this machine reaches the internet through a proxy only
{trusted_ca_file} # certificates of your own authority, or of a firewall that opens TLS

# Comm100, from its Control Panel: {menu}.
# Enter there:  Remote Login URL   {public_url}/login
#               Remote Logout URL  {public_url}/logout
sites:
  {site}:
    endpoint: {endpoint}
    shared_secret_file: {shared_secret}
    # redirect_hosts: [dash11.comm100.io]         # further hosts agents come from; the log of a refusal names the host
    # start_url: https://secure.comm100.io/signin # where pages lead people back to

"""
_PROVIDER = """\
# Who signs agents in. Registered there: redirect URI {public_url}/callback/{id}
identity_providers:
  {id}:
    preset: {preset}
"""
_PROVIDER_END = """\
    client_id: {client_id}
    client_secret_file: {client_secret}
    # The domains whose addresses this provider may assert. People with any other address are refused.
    email_domains: [{email_domains}]
{expires}          # the day it expires, if it does: `broker check` warns in time
    # label: Acme staff                          # the name on the button, where there are several providers
    # enabled: false                             # true, or left out, once agents may use it
    # groups_claim: groups                       # with allowed_groups: only people in these groups
    # allowed_groups: [agents]
"""
_PRIVATE = "    # allow_private_network: true                # if the provider is on a private address\n"


def settings_text(answers: Answers) -> str:
    """Return the text of the settings file.

    Args:
        answers: all of them.
    """
    public_url = draft_settings(answers).public_url  # without the slash it may have been typed with
    listen, operations_listen = _sockets(public_url)
    values = {
        "public_url": _scalar(public_url),
        "own_keys": f"{SECRETS_FOLDER}/{OWN_KEYS}",
        "listen": listen,
        "operations_listen": operations_listen,
        "outbound_proxy": f"outbound_proxy: {_scalar(answers.outbound_proxy)}"
        if answers.outbound_proxy
        else "# outbound_proxy: http://proxy.acme.example:3128",
        "trusted_ca_file": f"trusted_ca_file: {_scalar(answers.trusted_ca_file)}"
        if answers.trusted_ca_file
        else "# trusted_ca_file: acme-ca.pem                  ",
        "menu": CONTROL_PANEL_MENU,
        "site": SITE,
        "endpoint": _scalar(answers.endpoint),
        "shared_secret": f"{SECRETS_FOLDER}/{SHARED_SECRET}",
        "id": answers.id if answers.id[:1].isalpha() and answers.id not in _WORDS else json.dumps(answers.id),
        "preset": answers.preset,
        "client_id": json.dumps(answers.client_id, ensure_ascii=False),
        "client_secret": f"{SECRETS_FOLDER}/{CLIENT_SECRET}",
        "expires": f"    {'' if answers.client_secret_expires else '# '}client_secret_expires: "
        f"{answers.client_secret_expires or '2027-03-31'}",
        "email_domains": ", ".join(map(_scalar, answers.email_domains)),
    }
    lines = "".join(f"    {line}\n" for line in _place(answers))
    private = _PRIVATE if kind_of(answers.preset).any_product and not answers.allow_private_network else ""
    return f"{_HEAD}{_PROVIDER}".format_map(values) + lines + _PROVIDER_END.format_map(values) + private


def _place(answers: Answers) -> Iterable[str]:
    if answers.tenant:
        yield f"tenant: {_scalar(answers.tenant)}"
    if answers.issuer:
        yield f"issuer: {_scalar(answers.issuer)}"
    if answers.allow_private_network:
        yield "allow_private_network: true # the provider is on a private address"
    if answers.scopes:
        yield f"scopes: [{', '.join(map(_scalar, answers.scopes))}]"
    for key, value in answers.fitted.items():
        yield f"{key}: {json.dumps(value)}"


def _sockets(public_url: str) -> tuple[str, str]:
    """Where to listen: to try it out there is no proxy, so the public port is the one browsers are sent to."""
    parts = urlsplit(public_url)
    direct = parts.scheme == "http" and parts.port is not None and is_loopback(parts.hostname or "")
    port = parts.port if direct and parts.port else 8000
    return f"127.0.0.1:{port}", f"127.0.0.1:{9000 if port != 9000 else 9001}"


def _scalar(text: str) -> str:
    """Write a text for YAML: in quotes, which it shares with JSON, where it could be read as anything else."""
    return text if _PLAIN.fullmatch(text) else json.dumps(text, ensure_ascii=False)
