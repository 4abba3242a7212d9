"""Check Comm100 sites and the broker's public address.

Browsers use these addresses, the broker does not: a request from this machine is a hint only.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

from broker.checks.finding import Begin, Finding, Topic, not_tried, sentence
from broker.checks.reach import check_certificate, failed_step, no_answer, note_certificates, page_request, reach
from broker.comm100 import CONTROL_PANEL_MENU, Site, is_on_newer_platform
from broker.errors import AnswerTooLarge, BrokerError
from broker.oidc.discovery import Send
from broker.oidc.messages import Peer, ProviderResponse
from broker.text import GUID, printable

SHARED_SECRET_CHARACTERS = 48  # of the form Comm100 shows: Base64 of a GUID's text
PAGE_MARK = b'<meta name="application-name" content="comm100-sso-broker">'

_BASE64 = re.compile(r"[A-Za-z0-9+/]+={0,2}")
_GUID = re.compile(GUID, re.IGNORECASE)
_INSECURE = "Switch it off, unless you need it."
_INSECURE_BY = {
    "public_url_without_tls": "Good enough to try it out on this machine. For agents, set public_url to an https "
    "address.",
    "log_email_plain": "Leave log_email out, unless you know why addresses must be in the log.",
}
_CONTROL_PANEL = f"Comm100's Control Panel: {CONTROL_PANEL_MENU}"


@dataclass(frozen=True, slots=True)
class PublicClient:
    """A client for addresses that browsers reach."""

    send: Send
    proxied: bool


async def check_site(site: Site, client: PublicClient, *, offline: bool, begin: Begin) -> list[Finding]:
    """Check the shared secret of a Comm100 site, and its endpoint unless offline."""
    findings = [check_shared_secret(site.shared_secret(), site.id)]
    hosts = _check_redirect_hosts(site)
    if offline:
        return findings + ([hosts] if hosts else [])
    begin(site.id, "endpoint")
    findings += await _check_endpoint(site, client)
    if hosts and findings[-1].status == "ok":
        findings[-1] = hosts
    return findings


async def check_settings_section(
    public_url: str, client: PublicClient, *, insecure_options: tuple[str, ...], offline: bool, begin: Begin
) -> list[Finding]:
    """Return the insecure options that are on, and unless offline whether the public address leads to the broker."""
    topic = Topic("settings", "settings")
    findings = [topic.ok("The settings can be used.")]
    for option in insecure_options:
        remedy = _INSECURE_BY.get(option, _INSECURE)
        findings.append(topic.warning(f"An insecure option is on: {option}.", remedy))
    if not offline:
        begin("settings", "public_url")
        findings += await _check_public_url(public_url, client)
    return findings


def fingerprint(secret: str) -> str:
    """Return the first 8 hexadecimal digits of a secret's SHA-256, for comparing copies without showing them."""
    return hashlib.sha256(secret.encode()).hexdigest()[:8]


def check_shared_secret(secret: str, site: str = "") -> Finding:
    """Check that a shared secret has the form that Comm100 shows: Base64 text, which is not decoded.

    Args:
        site: its id; empty if there is no site yet.
    """
    topic = Topic(site, "shared_secret")
    facts = f"{len(secret.encode())} bytes, fingerprint {fingerprint(secret)}"
    again = f"Copy the shared secret once more, exactly as displayed in {_CONTROL_PANEL}."
    if _GUID.fullmatch(secret):
        message = f"The shared secret looks as if it had been decoded ({facts})."
        return topic.warning(message, f"{again} Do not decode it.")
    if _BASE64.fullmatch(secret) and len(secret) < SHARED_SECRET_CHARACTERS:
        usual = f"{SHARED_SECRET_CHARACTERS} characters are usual"
        return topic.warning(f"The shared secret looks as if its end were missing ({facts}; {usual}).", again)
    return topic.ok(f"The shared secret has {facts}.")


def _check_redirect_hosts(site: Site) -> Finding | None:
    """Return a warning if agents probably come from a host that no setting names."""
    if site.redirect_hosts or site.delivery == "append" or not is_on_newer_platform(site.endpoint):
        return None
    host = urlsplit(site.endpoint).hostname
    return Topic(site.id, "endpoint").warning(
        f"The endpoint is at {host}, and redirect_hosts is empty. Agents there usually work at another host, "
        "and the broker would refuse their sign-ins (redirect_url_refused).",
        "Sign in to Comm100 and list the host in the address bar: redirect_hosts: [dash17.comm100.io], with your host.",
    )


async def _check_endpoint(site: Site, client: PublicClient) -> list[Finding]:
    """Return the findings dns, tls and endpoint."""
    topic = Topic(site.id, "endpoint")
    answer, findings = await reach(client.send, page_request(site.endpoint), site.id, proxied=client.proxied)
    if isinstance(answer, BrokerError) and failed_step(answer) != "answer":
        if client.proxied:  # browsers may take another way
            remedy = "Sign-ins do not need it: browsers go to Comm100, the broker does not."
            last = findings[-1]
            findings[-1] = replace(last, status="unknown", remedy=f"{remedy} {last.remedy}")
        return [*findings, *not_tried(site.id, ("tls", "endpoint"), findings)]
    where = f"Compare endpoint with the JWT SSO endpoint in {_CONTROL_PANEL}."
    if isinstance(answer, AnswerTooLarge):
        finding = topic.ok(f"{site.endpoint} answers.")
    elif isinstance(answer, BrokerError):
        finding = topic.failed(f"{site.endpoint} gives no answer: {sentence(answer.got)}", where)
    elif answer.status in (404, 410):
        message = f"{site.endpoint} answers with status {answer.status}: the address may be wrong."
        finding = topic.warning(message, where)
    else:
        finding = topic.ok(f"{site.endpoint} answers (status {answer.status}, without a token).")
    return [*findings, finding]


async def _check_public_url(public_url: str, client: PublicClient) -> list[Finding]:
    """Return the finding public_url, and tls if the certificate of the address can be seen."""
    ends: dict[str, float] = {}
    found = [await _check_leads_here(public_url, replace(client, send=note_certificates(client.send, ends)))]
    return found + [check_certificate(Topic("settings", "tls"), public_url, Peer("", end)) for end in ends.values()]


async def _check_leads_here(public_url: str, client: PublicClient) -> Finding:
    topic = Topic("settings", "public_url")
    by_eye = f"Open {public_url}/ in a browser: the broker's own page must appear."
    answer: ProviderResponse | None
    try:
        answer = await client.send(page_request(f"{public_url}/"))
    except AnswerTooLarge:
        answer = None
    except BrokerError as error:
        if failed_step(error) == "answer":
            return topic.unknown(f"This machine gets no answer from {public_url}: {sentence(error.got)}", by_eye)
        why = no_answer(topic, public_url, error)
        message = f"This machine does not reach {public_url}: {why.message}"
        return topic.unknown(message, f"If the broker does not run yet, start it. {by_eye} {why.remedy}")
    if answer is not None and answer.status == 200 and PAGE_MARK in answer.body:
        return topic.ok(f"{public_url} leads to the broker.")
    if answer is not None and answer.status >= 500:
        return topic.unknown(
            f"{public_url} answers with status {answer.status}: a proxy is there, but no broker behind it.",
            "Start the broker, and let the proxy send everything to its public port.",
        )
    said = "something else" if answer is None else f"something else (status {answer.status}){_towards(answer)}"
    return topic.failed(
        f"{public_url} answers, but with {said}, not with the broker's page.",
        "Let the proxy send every path of this host to the broker's public port, unchanged and without a sign-in of "
        "its own. Compare public_url.",
    )


def _towards(answer: ProviderResponse) -> str:
    try:
        host = urlsplit(answer.location or "").hostname
    except ValueError:
        return ""
    return f", leading to {printable(host)}" if host else ""
