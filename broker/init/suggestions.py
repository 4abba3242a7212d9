"""Guesses about answers: what a pasted text was meant to be, what is probably wrong, and what to propose.

A suggestion may itself be invalid: callers validate it.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping
from urllib.parse import SplitResult, urlsplit

from broker.checks import judge_shared_secret
from broker.init.questions import Answers, find_mistake, kind_of, with_answer
from broker.oidc.network import is_loopback
from broker.providers import KINDS

_INVISIBLE = " \t\r\n\v\f\xa0\u200b\u200e\u2060\ufeff"


def tidy(key: str, text: str) -> str:
    """Drop white space around a pasted text, invisible characters included; replace the number or name of a kind."""
    text = text.strip(_INVISIBLE)
    if key != "preset":
        return text
    if text.isdecimal() and 1 <= int(text) <= len(KINDS):
        return tuple(KINDS)[int(text) - 1]
    name = text.lower()
    return next((kind.name for kind in KINDS.values() if name in kind.aliases), name)


def correct(key: str, text: str, answers: Answers) -> str:
    """Return the valid answer that a refused text was probably meant to be; empty if there is none.

    Args:
        answers: with the refused answer.
    """
    meant = _MEANT[key](text, answers) if key in _MEANT else ""
    if meant in ("", text) or find_mistake(with_answer(answers, key, meant), key) is not None:
        return ""
    return meant


def doubt(key: str, answers: Answers) -> str:
    """Return why a valid answer is probably not the right one; empty if nothing speaks against it."""
    return _DOUBTS[key](answers) if key in _DOUBTS else ""


def propose(key: str, answers: Answers) -> str:
    """Return a likely answer to a question that has not been asked yet; empty if there is none."""
    return _PROPOSALS[key](answers) if key in _PROPOSALS else ""


def _issuer(text: str, answers: Answers) -> str:
    parts = _address(text)
    if parts is None:
        return ""
    issuer = kind_of(answers).suggest_issuer(f"{parts.scheme}://{parts.netloc}{parts.path}")
    return next(filter(None, (kind.issuer_of_page(issuer) for kind in KINDS.values())), issuer)


def _tenant(text: str, answers: Answers) -> str:
    return kind_of(answers).tenant_in(text)


def _doubt_client_id(answers: Answers) -> str:
    return kind_of(answers).doubt_client_id(answers.client_id, tenant=answers.tenant)


def _doubt_client_secret(answers: Answers) -> str:
    if answers.client_secret == answers.client_id:
        return "This is the client ID, not the client secret."
    return kind_of(answers).doubt_client_secret(answers.client_secret)


def _public_url(text: str, _: Answers) -> str:
    parts = _address(text)
    return f"{parts.scheme}://{parts.netloc}" if parts else ""


def _endpoint(text: str, _: Answers) -> str:
    parts = _address(text)
    return parts._replace(query="", fragment="").geturl() if parts else ""


def _identifier(text: str, _: Answers) -> str:
    decomposed = unicodedata.normalize("NFKD", text.lower())
    plain = "".join(character for character in decomposed if not unicodedata.combining(character))  # acmé is acme
    return re.sub(r"[^a-z0-9]+", "_", plain).strip("_")


def _domains(text: str, _: Answers) -> str:
    domains = (re.sub(r"^.*[@/]|^\*?\.|\.$", "", part.rstrip("/")).lower() for part in re.split(r"[,;\s]+", text))
    return ", ".join(dict.fromkeys(domain for domain in domains if domain))


def _address(text: str) -> SplitResult | None:
    """Read an address as a browser's address bar does: https, host in lower case, no default port."""
    try:
        parts = urlsplit(text if "://" in text else f"https://{text}")
        host = parts.hostname or ""
        port = parts.port
    except ValueError:
        return None
    if not host or parts.scheme not in ("http", "https"):
        return None
    scheme = parts.scheme if is_loopback(host) else "https"
    shown = f"[{host}]" if ":" in host else host
    netloc = shown if port in (None, {"http": 80, "https": 443}[parts.scheme]) else f"{shown}:{port}"
    return parts._replace(scheme=scheme, netloc=netloc)


def _doubt_endpoint(answers: Answers) -> str:
    if urlsplit(answers.endpoint).path in ("", "/"):
        return "This address has no path. Copy the complete JWT SSO endpoint."
    return ""


def _doubt_shared_secret(answers: Answers) -> str:
    verdict = judge_shared_secret(answers.shared_secret)
    return "" if verdict.status == "ok" else f"{verdict.message} {verdict.remedy}"


def _likely_name(answers: Answers) -> str:
    """Return the name of the issuer's organisation: acme for id.acme.example and for id.acme.co.uk."""
    labels = (urlsplit(answers.issuer).hostname or "").split(".")
    short = len(labels) > 2 and len(labels[-2]) <= 3
    name = labels[-3 if short else -2] if len(labels) > 1 else ""
    usable = name and not name.isdecimal() and find_mistake(with_answer(answers, "id", name), "id") is None
    return name if usable else answers.preset


def _likely_domain(answers: Answers) -> str:
    """Return the likely domain of agents' addresses: of the tenant, or of the broker's host."""
    host = urlsplit(answers.public_url).hostname or ""
    for domain in (answers.domain, host.partition(".")[2]):
        usable = "." in domain and not domain.endswith(".onmicrosoft.com")
        if usable and find_mistake(with_answer(answers, "email_domains", domain), "email_domains") is None:
            return domain
    return ""


_MEANT: Mapping[str, Callable[[str, Answers], str]] = {
    "public_url": _public_url,
    "issuer": _issuer,
    "tenant": _tenant,
    "id": _identifier,
    "email_domains": _domains,
    "endpoint": _endpoint,
}
_DOUBTS: Mapping[str, Callable[[Answers], str]] = {
    "client_id": _doubt_client_id,
    "client_secret": _doubt_client_secret,
    "endpoint": _doubt_endpoint,
    "shared_secret": _doubt_shared_secret,
}
_PROPOSALS: Mapping[str, Callable[[Answers], str]] = {"id": _likely_name, "email_domains": _likely_domain}
