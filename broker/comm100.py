"""Comm100's side: which redirect_url is acceptable, the token's claims, and the address that delivers it.

This file owns everything Comm100 reads. It knows an `Identity` and nothing of how it came about.
"""

from __future__ import annotations

import re
import secrets
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import parse_qsl, quote, unquote_plus, urlsplit

import jwt

from broker.errors import RedirectUrlRefused
from broker.identity import Identity

MAX_REDIRECT_URL_CHARACTERS = 2048
MAX_REDIRECT_URL_PARAMETERS = 50  # in `append` delivery, where the name of each is decoded
MAX_ENCODINGS = 10  # one inside the other, of a parameter's name
NOT_BEFORE_LEEWAY = 60  # seconds our clock may be ahead of Comm100's
CONTROL_PANEL_MENU = "Global Settings > Security > Agent Single Sign-On > JWT SSO"
"""Where Comm100's Control Panel has the endpoint and the shared secret, and wants our two addresses."""

# What a browser's parser would drop (controls), turn into / (backslash) or encode (space, non-ASCII) is refused, so
# that there is nothing two parsers could read differently. The host ends at the first / ? # or the end.
_REDIRECT_URL = re.compile(
    r"https://(?P<host>[A-Za-z0-9.-]+)(?::443)?(?P<path>/[!\"$->@-\[\]-~]*)?(?:[?#][!-\[\]-~]*)?"
)
_VISIBLE = re.compile(r"[!-\[\]-~]+")
_CODE_UNIT = re.compile(r"%u([0-9a-f]{4})", re.IGNORECASE)

Claim = str | int | float | bool

_SIGNER = jwt.PyJWT({"enforce_minimum_key_length": True})


@dataclass(frozen=True, slots=True)
class Site:
    """One Comm100 site.

    Args:
        id: its name in settings, addresses and logs.
        endpoint: "JWT SSO endpoint" of the Control Panel.
        shared_secret: gives the secret of the moment, as displayed: its UTF-8 bytes are the key, never decoded.
        delivery: where the token goes: to the endpoint, or appended to redirect_url.
        redirect_hosts: hosts accepted in redirect_url besides the endpoint's own, in lower case.
        token_lifetime: seconds, at most 300.
        claims: constant claims of the token.
        provider_ids: the identity providers offered here.
        start_url: where a sign-in starts; None when the admin named none.
        on_loopback: development: the endpoint's own origin is accepted as it stands.
    """

    id: str
    endpoint: str
    shared_secret: Callable[[], str] = field(repr=False)
    delivery: Literal["endpoint", "append"]
    redirect_hosts: frozenset[str]
    token_lifetime: int
    claims: Mapping[str, Claim]
    provider_ids: tuple[str, ...]
    start_url: str | None
    on_loopback: bool = False


def check_redirect_url(unverified_url: str, site: Site) -> str:
    """Return the redirect_url as it came, if it is an address of this site's Comm100.

    Args:
        unverified_url: from Comm100's redirect, decoded once.
        site: whose hosts are accepted.

    Raises:
        RedirectUrlRefused: it is not; the value itself is never repaired.
    """
    if len(unverified_url) > MAX_REDIRECT_URL_CHARACTERS:
        raise RedirectUrlRefused(expected=f"at most {MAX_REDIRECT_URL_CHARACTERS} characters", got=len(unverified_url))
    hosts = site.redirect_hosts | {urlsplit(site.endpoint).hostname}
    matched = _REDIRECT_URL.fullmatch(unverified_url)
    if matched is None:
        if not (site.on_loopback and _is_of_origin(unverified_url, site.endpoint)):
            raise RedirectUrlRefused(expected="https://host/… in plain ASCII", got="another form")
    elif matched["host"].lower() not in hosts or urlsplit(urlsplit(unverified_url).geturl()).hostname not in hosts:
        raise RedirectUrlRefused(expected=sorted(filter(None, hosts)), got=matched["host"])
    if site.delivery == "append":
        _check_token_destination(unverified_url, site.endpoint)
    return unverified_url


def build_claims(identity: Identity, site: Site, *, now: float) -> dict[str, Claim]:
    """Return the claims of Comm100's token.

    Args:
        identity: the person admitted.
        site: with its constant claims.
        now: seconds since the epoch.
    """
    issued = int(now)
    return {
        **site.claims,
        "jti": secrets.token_urlsafe(16),
        "iat": issued,
        "nbf": issued - NOT_BEFORE_LEEWAY,
        "exp": issued + site.token_lifetime,
        "email": identity.email,
        "name": identity.name,
    }


def build_token(claims: Mapping[str, Claim], site: Site) -> str:
    """Sign the claims with the site's shared secret: HS256 over its UTF-8 bytes.

    Args:
        claims: from `build_claims`.
        site: whose secret signs.
    """
    return _SIGNER.encode(dict(claims), site.shared_secret().encode(), algorithm="HS256", sort_headers=True)


def build_delivery_url(token: str, redirect_url: str | None, site: Site) -> str:
    """Return where the browser takes the token: to the configured endpoint, and nowhere else.

    Args:
        token: for Comm100.
        redirect_url: checked by `check_redirect_url` for the same site; None if none came.
        site: with its endpoint and the way of delivery.
    """
    if redirect_url is None:
        return f"{site.endpoint}?jwt={token}"
    if site.delivery == "endpoint":
        return f"{site.endpoint}?jwt={token}&redirect_url={quote(redirect_url, safe='')}"
    address, hash_mark, fragment = redirect_url.partition("#")
    _, question_mark, query = address.partition("?")
    separator = "?" if not question_mark else "" if query == "" or query.endswith("&") else "&"
    return f"{address}{separator}jwt={token}{hash_mark}{fragment}"


def _is_of_origin(url: str, endpoint: str) -> bool:
    """Whether the URL begins with the endpoint's own scheme, host and port, to the letter."""
    parts = urlsplit(endpoint)
    origin = f"{parts.scheme}://{parts.netloc}"
    rest = url.removeprefix(origin)
    return _VISIBLE.fullmatch(url) is not None and url.startswith(origin) and rest[:1] in ("", "/", "?", "#")


def _check_token_destination(url: str, endpoint: str) -> None:
    """In `append` delivery the token goes to this very address: it must be the endpoint but for query and fragment."""
    address, _, query = url.partition("#")[0].partition("?")
    if address != endpoint:
        raise RedirectUrlRefused(expected=endpoint, got="another address")
    query = query.replace(";", "&")
    if query.count("&") >= MAX_REDIRECT_URL_PARAMETERS:
        raise RedirectUrlRefused(expected=f"at most {MAX_REDIRECT_URL_PARAMETERS} parameters", got=query.count("&") + 1)
    for name, _ in parse_qsl(query, keep_blank_values=True):
        if _letters(_fully_decoded(name)) == "jwt":
            raise RedirectUrlRefused(expected="no jwt parameter", got="one")


def _letters(name: str) -> str:
    """Leave of a name what no reader passes over: other spellings of a letter folded, everything else dropped."""
    return "".join(c for c in unicodedata.normalize("NFKC", name).casefold() if c.isalnum())


def _fully_decoded(text: str) -> str:
    """Decode until nothing is left to decode; `%uXXXX` is ASP.NET's own spelling, and the endpoint runs on ASP.NET."""
    for _ in range(MAX_ENCODINGS):
        decoded = _CODE_UNIT.sub(lambda unit: chr(int(unit[1], 16)), unquote_plus(text))
        if decoded == text:
            return text
        text = decoded
    raise RedirectUrlRefused(expected=f"at most {MAX_ENCODINGS} encodings inside each other", got="more")
