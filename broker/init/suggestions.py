"""What people paste by accident, and what they meant.

It owns the mistakes that are easy to make and easy to see: an admin console's address, the id of a secret instead of
the secret. It asks nobody; whether what is proposed can be used is for the settings to say.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping
from urllib.parse import SplitResult, urlsplit

from broker.checks import judge_shared_secret
from broker.init.answers import Answers
from broker.init.questions import kind_of
from broker.providers import KINDS
from broker.settings.addresses import is_loopback

_INVISIBLE = " \t\r\n\v\f\xa0\u200b\u200e\u2060\ufeff"


def tidy(text: str) -> str:
    """Drop the white space around what was pasted, the invisible kinds as well."""
    return text.strip(_INVISIBLE)


def correct(key: str, text: str, answers: Answers) -> str:
    """Return what was probably meant; empty if nothing can be guessed.

    Args:
        key: the name of the answer.
        text: as given.
        answers: the others so far.
    """
    meant = _MEANT.get(key)
    better = meant(text, answers) if meant else ""
    return "" if better == text else better


def doubt(key: str, answers: Answers) -> str:
    """Return why an answer that can be used is probably not the one meant; empty if it may be.

    Args:
        key: the name of the answer.
        answers: with this one.
    """
    doubts = _DOUBTS.get(key)
    return doubts(answers) if doubts else ""


def _public_url(text: str, _: Answers) -> str:
    parts = _address(text)
    return f"{parts.scheme}://{parts.netloc}" if parts else ""


def _endpoint(text: str, _: Answers) -> str:
    parts = _address(text)
    return parts._replace(query="", fragment="").geturl() if parts else ""


def _issuer(text: str, answers: Answers) -> str:
    parts = _address(text)
    if parts is None:
        return ""
    issuer = kind_of(answers.preset).suggest_issuer(f"{parts.scheme}://{parts.netloc}{parts.path}")
    mistaken = (kind.mistaken_issuer(issuer) for kind in KINDS.values())
    return next((invalid.meant for invalid in mistaken if invalid is not None), issuer)


def _tenant(text: str, answers: Answers) -> str:
    return kind_of(answers.preset).tenant_in(text)


def _identifier(text: str, _: Answers) -> str:
    parts = unicodedata.normalize("NFKD", text.lower())
    plain = "".join(one for one in parts if not unicodedata.combining(one))  # acmé is acme
    return re.sub(r"[^a-z0-9]+", "_", plain).strip("_")


def _domains(text: str, _: Answers) -> str:
    each = [re.sub(r"^.*[@/]|^\*?\.|\.$", "", one.rstrip("/")).lower() for one in re.split(r"[,;\s]+", text)]
    return ", ".join(dict.fromkeys(one for one in each if one))


def _address(text: str) -> SplitResult | None:
    """Read an address as a browser's address bar would: https, host in lower case, no default port."""
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


def _doubt_client_id(answers: Answers) -> str:
    return kind_of(answers.preset).doubt_client_id(answers.client_id, tenant=answers.tenant)


def _doubt_client_secret(answers: Answers) -> str:
    if answers.client_secret == answers.client_id:
        return "This is the client ID again."
    return kind_of(answers.preset).doubt_client_secret(answers.client_secret)


def _doubt_endpoint(answers: Answers) -> str:
    if urlsplit(answers.endpoint).path in ("", "/"):
        return "This is a host alone. The JWT SSO endpoint goes on behind it: copy it whole."
    return ""


def _doubt_shared_secret(answers: Answers) -> str:
    verdict = judge_shared_secret(answers.shared_secret)
    return "" if verdict.status == "ok" else f"{verdict.message} {verdict.remedy}"


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
