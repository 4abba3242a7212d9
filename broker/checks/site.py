"""Where people come from and go to: a Comm100 site's endpoint and shared secret, and our own public address.

It owns what can be said about them from here. The broker itself never calls them, browsers do: that this machine
reaches them or does not is a sign, no proof.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from broker.checks.connection import Way, look_up, shake_hands
from broker.checks.finding import (
    Begin,
    CheckFailed,
    CheckRun,
    Finding,
    Verdict,
    failed,
    ok,
    sentence,
    unknown,
    warning,
    worst_first,
)
from broker.comm100 import CONTROL_PANEL_MENU, Site
from broker.errors import AnswerTooLarge, BrokerError
from broker.oidc.client import NetworkPolicy
from broker.oidc.discovery import Send
from broker.oidc.messages import DOCUMENT_LIMIT, ProviderRequest, ProviderResponse
from broker.text import printable

SHARED_SECRET_CHARACTERS = 48  # of the form Comm100 shows: Base64 of a GUID's text
OUR_MARK = b'<meta name="application-name" content="comm100-sso-broker">'

_BASE64 = re.compile(r"[A-Za-z0-9+/]+={0,2}")
_GUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_INSECURE = "Switch it off, unless you know why it has to be on."
_INSECURE_BY = {
    "public_url_without_tls": "Good enough to try it out on this machine. For agents, set public_url to an https "
    "address.",
    "log_email_plain": "Leave log_email out, unless you know why addresses have to stand in the log.",
}
_CONTROL_PANEL = f"Comm100's Control Panel: {CONTROL_PANEL_MENU}"


@dataclass(frozen=True, slots=True)
class PublicClient:
    """What asks an address that is no provider's.

    Args:
        send: a client.
        network: how far it goes.
    """

    send: Send
    network: NetworkPolicy


@dataclass(frozen=True, slots=True)
class SiteTarget:
    """One Comm100 site to examine."""

    site: Site
    public_client: PublicClient


async def check_site(target: SiteTarget, *, offline: bool, begin: Begin) -> list[Finding]:
    """Examine one site.

    Args:
        target: the site.
        offline: only what needs no network.
        begin: told of each check.
    """
    site, public_client = target.site, target.public_client
    checks = CheckRun(site.id, begin)
    checks.note("shared_secret", judge_shared_secret(site.shared_secret()))
    if not offline:
        try:
            way = await checks.ask("dns", look_up(site.endpoint, public_client.network))
            late = failed if public_client.network.outbound_proxy is None else unknown
            await checks.ask("tls", _shake_hands(way, public_client.network), late=late)
            await checks.ask("endpoint", _ask_endpoint(site, public_client))
        except CheckFailed:
            checks.not_tried(("dns", "tls", "endpoint"))
    return worst_first(checks.findings)


async def check_settings_section(
    public_url: str, public_client: PublicClient, *, insecure_options: tuple[str, ...], offline: bool, begin: Begin
) -> list[Finding]:
    """Say what is weakened in the settings, and whether our public address leads to us.

    Args:
        public_url: where browsers reach the broker.
        public_client: asks it.
        insecure_options: every protection that is switched off, by name.
        offline: only what needs no network.
        begin: told of each check.
    """
    checks = CheckRun("settings", begin)
    checks.note("settings", ok("The settings can be used."))
    for option in insecure_options:
        remedy = _INSECURE_BY.get(option, _INSECURE)
        checks.note("settings", warning(f"An insecure option is on: {option}.", remedy))
    if not offline:
        with contextlib.suppress(CheckFailed):  # noted
            await checks.ask("public_url", _ask_public_url(public_url, public_client), late=unknown)
    return worst_first(checks.findings)


def fingerprint(secret: str) -> str:
    """Return what can be compared without showing a secret: the first 8 hexadecimal digits of its SHA-256."""
    return hashlib.sha256(secret.encode()).hexdigest()[:8]


def judge_shared_secret(secret: str) -> Verdict:
    """Say whether a shared secret looks as Comm100 shows it: text in Base64, used as it stands.

    Args:
        secret: of one site.
    """
    facts = f"{len(secret.encode())} bytes, fingerprint {fingerprint(secret)}"
    again = f"Copy the shared secret once more, as it is displayed in {_CONTROL_PANEL}."
    if _GUID.fullmatch(secret):
        return warning(f"The shared secret looks as if it had been decoded ({facts}).", f"{again} It is not decoded.")
    if _BASE64.fullmatch(secret) and len(secret) < SHARED_SECRET_CHARACTERS:
        usual = f"{SHARED_SECRET_CHARACTERS} characters are usual"
        return warning(f"The shared secret looks as if its end were missing ({facts}; {usual}).", again)
    return ok(f"The shared secret has {facts}.")


async def _shake_hands(way: Way, network: NetworkPolicy) -> tuple[None, Verdict]:
    """Connect as `shake_hands` does; a proxy that keeps this machine from Comm100 keeps no browser from it."""
    try:
        return await shake_hands(way, network)
    except CheckFailed as trouble:
        if network.outbound_proxy is None:
            raise
        said = trouble.verdict
        remedy = f"Sign-ins do not need it: browsers go to Comm100, the broker does not. {said.remedy}"
        raise CheckFailed(unknown(said.message, remedy)) from None


async def _ask_endpoint(site: Site, public_client: PublicClient) -> tuple[None, Verdict]:
    where = f"Compare endpoint with the JWT SSO endpoint in {_CONTROL_PANEL}."
    try:
        answer = await _get(site.endpoint, public_client)
    except BrokerError as error:
        return None, failed(f"{site.endpoint} gives no answer: {sentence(error.got)}", where)
    if answer is None:
        return None, ok(f"{site.endpoint} answers.")
    if answer.status in (404, 410):
        return None, warning(f"{site.endpoint} answers with status {answer.status}: there may be nothing.", where)
    return None, ok(f"{site.endpoint} answers (status {answer.status}, without a token).")


async def _ask_public_url(public_url: str, public_client: PublicClient) -> tuple[None, Verdict]:
    by_eye = f"Open {public_url}/ in a browser: the broker's own page has to come."
    try:
        way, _ = await look_up(public_url, public_client.network)
        await shake_hands(way, public_client.network)
        answer = await _get(f"{public_url}/", public_client)
    except CheckFailed as trouble:
        message = f"This machine does not reach {public_url}: {trouble.verdict.message}"
        return None, unknown(message, f"If the broker does not run yet, start it. {by_eye} {trouble.verdict.remedy}")
    except BrokerError as error:
        return None, unknown(f"This machine gets no answer from {public_url}: {sentence(error.got)}", by_eye)
    if answer is not None and answer.status == 200 and OUR_MARK in answer.body:
        return None, ok(f"{public_url} leads to the broker.")
    if answer is not None and answer.status >= 500:
        return None, unknown(
            f"{public_url} answers with status {answer.status}: a proxy is there, but no broker behind it.",
            "Start the broker, and let the proxy send everything to its public port.",
        )
    said = "something else" if answer is None else f"something else (status {answer.status}){_towards(answer)}"
    return None, failed(
        f"{public_url} answers, but with {said}, not with the broker's page.",
        "Let the proxy send every path of this host to the broker's public port, unchanged and without a sign-in of "
        "its own. Compare public_url.",
    )


async def _get(url: str, public_client: PublicClient) -> ProviderResponse | None:
    """Return the answer; None for one that came, but is too large or packed."""
    try:
        return await public_client.send(ProviderRequest("GET", url, DOCUMENT_LIMIT, {"Accept": "text/html"}))
    except AnswerTooLarge:
        return None


def _towards(answer: ProviderResponse) -> str:
    try:
        host = urlsplit(answer.location or "").hostname
    except ValueError:
        return ""
    return f", leading to {printable(host)}" if host else ""
