"""Guesses about answers: what a pasted text was meant to be, what is probably wrong, and what to propose."""

from __future__ import annotations

import re
import unicodedata
from urllib.parse import SplitResult, urlsplit

from broker.checks import check_shared_secret
from broker.init.questions import Answers, find_mistake, with_answer
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
    meant = _meant(key, text, answers)
    return meant if meant != text and _is_valid(key, meant, answers) else ""


def doubt(key: str, answers: Answers) -> str:
    """Return why a valid answer is probably not the right one; empty if nothing speaks against it."""
    match key:
        case "client_id":
            return answers.kind.doubt_client_id(answers.client_id, tenant=answers.tenant)
        case "client_secret" if answers.client_secret == answers.client_id:
            return "This is the client ID, not the client secret."
        case "client_secret":
            return answers.kind.doubt_client_secret(answers.client_secret)
        case "endpoint" if urlsplit(answers.endpoint).path in ("", "/"):
            return "This address has no path. Copy the complete JWT SSO endpoint."
        case "shared_secret":
            finding = check_shared_secret(answers.shared_secret)
            return "" if finding.status == "ok" else f"{finding.message} {finding.remedy}"
        case _:
            return ""


def propose(key: str, answers: Answers) -> str:
    """Return a likely answer to a question that has not been asked yet; empty if there is none."""
    if key == "id":
        name = _organisation(answers.issuer)
        return name if not name.isdecimal() and _is_valid(key, name, answers) else answers.preset
    if key == "email_domains":  # the tenant's domain, or the parent of the broker's host
        host = urlsplit(answers.public_url).hostname or ""
        for domain in (answers.domain, host.partition(".")[2]):
            if "." in domain and not domain.endswith(".onmicrosoft.com") and _is_valid(key, domain, answers):
                return domain
    return ""


def _is_valid(key: str, text: str, answers: Answers) -> bool:
    return text != "" and find_mistake(with_answer(answers, key, text), key) is None


def _meant(key: str, text: str, answers: Answers) -> str:
    """Return a guess that may itself be invalid."""
    match key:
        case "tenant":
            return answers.kind.tenant_in(text)
        case "id":
            decomposed = unicodedata.normalize("NFKD", text.lower())
            plain = "".join(char for char in decomposed if not unicodedata.combining(char))  # acmé is acme
            return re.sub(r"[^a-z0-9]+", "_", plain).strip("_")
        case "email_domains":
            parts = re.split(r"[,;\s]+", text)
            domains = (re.sub(r"^.*[@/]|^\*?\.|\.$", "", part.rstrip("/")).lower() for part in parts)
            return ", ".join(dict.fromkeys(domain for domain in domains if domain))
        case "public_url" | "issuer" | "endpoint" if address := _address(text):
            return _meant_address(key, address, answers)
        case _:
            return ""


def _meant_address(key: str, address: SplitResult, answers: Answers) -> str:
    if key == "public_url":
        return f"{address.scheme}://{address.netloc}"
    address = address._replace(query="", fragment="")
    if key == "endpoint":
        return address.geturl()
    issuer = answers.kind.suggest_issuer(address.geturl())
    return next(filter(None, (kind.issuer_of_page(issuer) for kind in KINDS.values())), issuer)


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


def _organisation(issuer: str) -> str:
    """Return the name of the issuer's organisation: acme for id.acme.example and for id.acme.co.uk."""
    labels = (urlsplit(issuer).hostname or "").split(".")
    if len(labels) < 2:
        return ""
    has_short_suffix = len(labels) > 2 and len(labels[-2]) <= 3
    return labels[-3 if has_short_suffix else -2]
