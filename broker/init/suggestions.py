"""What people paste by accident, and what they meant.

It owns the mistakes that are easy to make and easy to see: an admin console's address, the id of a secret instead of
the secret. It asks nobody; whether what is proposed can be used is for the settings to say.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping
from urllib.parse import SplitResult, urlsplit

from broker.checks import check_shared_secret
from broker.init.answers import Answers
from broker.settings.addresses import is_loopback
from broker.settings.issuer import without_admin_console
from broker.settings.tenant import tenant_named_in

_GUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_ID_INSTEAD = (
    "This looks like the Secret ID. The secret itself stands in the column Value, and is shown only right after it was "
    "made."
)
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
    origin = without_admin_console(f"{parts.scheme}://{parts.netloc}")
    path = re.sub(r"/\.well-known/.*", "", parts.path)
    if answers.preset == "okta":
        server = re.match(r"/oauth2/[A-Za-z0-9]+", path)
        path = server[0] if server and not path.startswith("/oauth2/v1") else ""
    return f"{origin}{path}"


def _tenant(text: str, _: Answers) -> str:
    return tenant_named_in(text) or ""


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
    text = answers.client_id
    if answers.preset == "entra" and text == answers.tenant:
        return "This is the tenant ID again, not the application's."
    if answers.preset == "entra" and not _GUID.fullmatch(text):
        return "At Entra this is an id such as 1f2e3d4c-5b6a-4978-8695-a4b3c2d1e0f9."
    if answers.preset == "google" and not text.endswith(".apps.googleusercontent.com"):
        return "At Google this ends with .apps.googleusercontent.com."
    return ""


def _doubt_client_secret(answers: Answers) -> str:
    if answers.client_secret == answers.client_id:
        return "This is the client ID again."
    if answers.preset == "entra" and _GUID.fullmatch(answers.client_secret):
        return _ID_INSTEAD
    return ""


def _doubt_endpoint(answers: Answers) -> str:
    if urlsplit(answers.endpoint).path in ("", "/"):
        return "This is a host alone. The JWT SSO endpoint goes on behind it: copy it whole."
    return ""


def _doubt_shared_secret(answers: Answers) -> str:
    verdict = check_shared_secret(answers.shared_secret)
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
