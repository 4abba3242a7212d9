"""Comm100's side: which redirect_url is acceptable, the token's claims, and the address that delivers the token."""

from __future__ import annotations

import json
import re
import secrets
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import chain
from typing import Literal, NewType, NoReturn
from urllib.parse import quote, urlsplit

import jwt
from jwt.algorithms import HMACAlgorithm

from broker.errors import RedirectUrlRefused
from broker.identity import Identity

MAX_REDIRECT_URL_CHARACTERS = 2048
NOT_BEFORE_LEEWAY = 60  # seconds that the broker's clock may be ahead of Comm100's
CONTROL_PANEL_MENU = "Global Settings > Security > Agent Single Sign-On > JWT SSO"
"""Where Comm100's Control Panel shows the endpoint and the shared secret, and takes the broker's two addresses."""

_NEWER_PLATFORM = ".comm100.io"
PLATFORM_HOSTS = ", ".join(f"dash{number}{_NEWER_PLATFORM}" for number in (11, 12, 13, 15, 17))
"""Hosts of the agents' pages seen on the newer platform; examples, never a default."""

MAX_ENCODINGS = 4  # inside one another, in a redirect_url; no program encodes that often
MAX_PARAMETERS = 100  # of a redirect_url in `append` delivery, where each parameter is checked
MAX_TARGETS = 20  # further addresses in a redirect_url, in all readings
MAX_QUOTED_CHARACTERS = 80  # of a refused value in the log

# No URI contains these characters, or a browser drops them (controls), replaces them by / (backslash) or encodes them
# (RFC 3986, section 2; the rest of its list, { } | ^, occurs in real addresses). Two parsers could read them
# differently, so they are refused. The host ends at the first / ? # or the end.
_NO_URL_CHARACTER = re.compile(r"[^!#-;=?-\[\]-_a-~]")
_ORIGIN = re.compile(r"https://(?P<host>[A-Za-z0-9.-]+)(?::443)?(?=[/?#]|\Z)")
_SCHEME = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*):(?P<rest>.*)", re.DOTALL)
_ENCODED = re.compile(r"(?:%[0-9A-Fa-f]{2})+")
_CODE_UNIT = re.compile(r"%u([0-9a-f]{4})", re.IGNORECASE)
_AS_BROWSERS_READ = str.maketrans({"\t": None, "\n": None, "\r": None, "\\": "/"})
# Some readers strip these: controls, every white space of Unicode (.NET's Trim), and invisible characters.
_LEADING_BLANKS = re.compile(r"[\s\x00-\x20\x7f-\xa0\xad\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff]*+")
# After them two slashes or a scheme, as a browser reads it: with tabs and line ends anywhere.
_LEADS_AWAY = re.compile(r"(?:[/\\][\t\n\r]*+[/\\]|[A-Za-z][A-Za-z0-9+.\-\t\n\r]*+:)")

_PARAMETER = re.compile(r"(?:^|[?&;#])(?P<name>[^?&;#=]+)[?&;#]*=")
_NAMES_A_TARGET = re.compile(
    "redir|return|next|ur[il]|target|dest|forward|continue|goto|relaystate|callback"
    "|^(?:back|to|go|href|link|location|service|page|view|out)$"
)  # of the letters of a parameter's name

Claim = str | int | float | bool
CheckedRedirectUrl = NewType("CheckedRedirectUrl", str)
"""A redirect_url that `check_redirect_url` accepted for a site."""

_HS256 = HMACAlgorithm(HMACAlgorithm.SHA256)
_encode_json = json.JSONEncoder(separators=(",", ":")).encode


@lru_cache(maxsize=64)
def _prepare_key(key: bytes) -> bytes:
    """Check once that the key is not of another kind: the library's check takes as long as the whole token."""
    return _HS256.prepare_key(key)


class _CheckedOnce(HMACAlgorithm):
    """HS256, with each key checked once."""

    def prepare_key(self, key: str | bytes) -> bytes:
        """Return the key to sign with."""
        return _prepare_key(key if isinstance(key, bytes) else key.encode())


_SIGNER = jwt.PyJWS(algorithms=[], options={"enforce_minimum_key_length": True})
_SIGNER.register_algorithm("HS256", _CheckedOnce(HMACAlgorithm.SHA256))


@dataclass(frozen=True, slots=True)
class Site:
    """One Comm100 site.

    Args:
        endpoint: "JWT SSO endpoint" of the Control Panel.
        shared_secret: returns the current secret as displayed; its UTF-8 bytes are the key, never decoded.
        redirect_hosts: accepted in redirect_url besides the endpoint's host, in lower case.
        token_lifetime: seconds, at most 300.
        provider_ids: of the enabled identity providers.
        on_loopback: for development: accept the endpoint's own origin, even with http and a port.
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


def is_on_newer_platform(endpoint: str) -> bool:
    """Tell whether agents probably work at another host than the endpoint's."""
    return f".{urlsplit(endpoint).hostname or ''}".endswith(_NEWER_PLATFORM)


def check_redirect_url(unverified_url: str, site: Site) -> CheckedRedirectUrl:
    """Return the redirect_url unchanged, if it is an address of this site's Comm100.

    Args:
        unverified_url: from Comm100's redirect, decoded once.

    Raises:
        RedirectUrlRefused: for any other address; a redirect_url is never repaired.
    """
    if len(unverified_url) > MAX_REDIRECT_URL_CHARACTERS:
        raise RedirectUrlRefused(expected=f"at most {MAX_REDIRECT_URL_CHARACTERS} characters", got=len(unverified_url))
    if refused := _NO_URL_CHARACTER.search(unverified_url):
        got = f"U+{ord(refused[0]):04X} as character {refused.start() + 1}"
        raise RedirectUrlRefused(expected="the characters of a URL (RFC 3986), in ASCII", got=got)
    if not _is_of_site(unverified_url, site):
        _refuse_origin(unverified_url, site)
    path = urlsplit(unverified_url).path
    if any(map(_begins_with_two_slashes, _readings(path))):
        raise RedirectUrlRefused(expected="a path that begins with one slash", got=path[:MAX_QUOTED_CHARACTERS])
    if site.delivery == "append":
        _check_token_destination(unverified_url, site)
    return CheckedRedirectUrl(unverified_url)


def build_claims(identity: Identity, site: Site, *, now: float) -> dict[str, Claim]:
    """Return the claims of Comm100's token.

    Args:
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
    """Sign the claims with HS256; the key is the UTF-8 bytes of the site's shared secret."""
    return _SIGNER.encode(
        _encode_json(claims).encode(), site.shared_secret().encode(), algorithm="HS256", sort_headers=True
    )


def build_delivery_url(token: str, redirect_url: CheckedRedirectUrl | None, site: Site) -> str:
    """Return the address that brings the token to the configured endpoint, and nowhere else.

    Args:
        redirect_url: checked for the same site; None if Comm100 sent none.
    """
    if redirect_url is None:
        return f"{site.endpoint}?jwt={token}"
    if site.delivery == "endpoint":
        return f"{site.endpoint}?jwt={token}&redirect_url={quote(redirect_url, safe='')}"
    address, hash_mark, fragment = redirect_url.partition("#")
    _, question_mark, query = address.partition("?")
    separator = "?" if not question_mark else "" if query == "" or query.endswith("&") else "&"
    return f"{address}{separator}jwt={token}{hash_mark}{fragment}"


def _is_of_site(url: str, site: Site) -> bool:
    """Tell whether the URL's origin belongs to the site's Comm100, in the reading of two parsers."""
    hosts = _hosts(site)
    matched = _ORIGIN.match(url)
    if matched is None:
        return site.on_loopback and _is_of_origin(url, site.endpoint)
    return matched["host"].lower() in hosts and urlsplit(urlsplit(url).geturl()).hostname in hosts


def _hosts(site: Site) -> frozenset[str]:
    own = urlsplit(site.endpoint).hostname
    return site.redirect_hosts | {own} if own else site.redirect_hosts


def _is_of_origin(url: str, endpoint: str) -> bool:
    """Tell whether the URL begins with the endpoint's scheme, host and port, letter by letter."""
    parts = urlsplit(endpoint)
    origin = f"{parts.scheme}://{parts.netloc}"
    rest = url.removeprefix(origin)
    return url.startswith(origin) and rest[:1] in ("", "/", "?", "#")


def _refuse_origin(url: str, site: Site) -> NoReturn:
    """Raise an error about the refused part of the origin, without credentials, path or query."""
    matched = _SCHEME.match(url)
    if matched is None or matched["scheme"] != "https":
        scheme = matched["scheme"][:MAX_QUOTED_CHARACTERS] if matched else "none"
        raise RedirectUrlRefused(expected="scheme https", got=f"scheme {scheme}")
    if not re.match("//[^/]", matched["rest"]):
        raise RedirectUrlRefused(expected="https://host/…", got="https: without // and a host")
    authority = re.split("[/?#]", matched["rest"][2:], maxsplit=1)[0]
    host, colon, port = authority.rpartition(":") if re.search(r":\d*$", authority) else (authority, "", "")
    if "@" in authority:
        raise RedirectUrlRefused(expected="a host without credentials", got="credentials before the host")
    if colon and port != "443":
        raise RedirectUrlRefused(expected="the default port", got=f"port {port[:MAX_QUOTED_CHARACTERS] or 'empty'}")
    raise RedirectUrlRefused(expected=sorted(_hosts(site)), got=host[:MAX_QUOTED_CHARACTERS])


def _begins_with_two_slashes(path: str) -> bool:
    """Tell whether a receiver that keeps only the path is led to another host (RFC 3986, sections 3.3 and 4.2).

    Dot segments are removed first, as in every browser (section 5.2.4).
    """
    segments: list[str] = []
    for segment in path.translate(_AS_BROWSERS_READ).split("/")[1:]:
        if segment == "..":
            segments[-1:] = []
        elif segment != ".":
            segments.append(segment)
    return len(segments) > 1 and segments[0] == ""


def _check_token_destination(url: str, site: Site) -> None:
    """Check that `append` delivery sends the token to the endpoint: only query and fragment may differ."""
    address, _, fragment = url.partition("#")
    address, _, query = address.partition("?")
    if address != site.endpoint:
        got = address.partition("://")[2][:MAX_QUOTED_CHARACTERS]
        raise RedirectUrlRefused(expected=site.endpoint, got=got)
    pairs = re.split("[&;]", query)
    if len(pairs) > MAX_PARAMETERS:
        raise RedirectUrlRefused(expected=f"at most {MAX_PARAMETERS} parameters", got=len(pairs))
    for name in {pair.partition("=")[0] for pair in pairs}:
        if _letters(_readings(name)[-1]) == "jwt":
            raise RedirectUrlRefused(expected="no jwt parameter", got=f"parameter {name[:MAX_QUOTED_CHARACTERS]}")
    pieces = {piece for piece in (*query.split("&"), *fragment.split("&")) if "=" in piece or "%" in piece}
    for count, target in enumerate(chain.from_iterable(map(_further_targets, pieces)), start=1):
        if count > MAX_TARGETS:
            raise RedirectUrlRefused(expected=f"at most {MAX_TARGETS} further targets", got=f"{count} or more")
        _check_further_target(target, site)


@dataclass(frozen=True, slots=True)
class _Target:
    """A parameter that leads away from the endpoint.

    Args:
        value: up to the end of the piece.
        as_read: the value as a browser reads it.
        is_relative: the value begins with two slashes, without a scheme.
    """

    name: str
    value: str
    as_read: str
    is_relative: bool


def _further_targets(piece: str) -> Iterator[_Target]:
    """Yield the parameters that would make the endpoint send a person to a host.

    It is not known how often the endpoint decodes, and at which characters it splits. So each reading is checked: a
    value extends to the end of the piece, and its host must end where a path, query or fragment begins.

    Args:
        piece: of the query or the fragment, between two `&`.
    """
    readings = _readings(piece)
    for reading in readings:
        for parameter in _PARAMETER.finditer(reading):
            name, start = _letters(parameter["name"]), parameter.end()
            if not _NAMES_A_TARGET.search(name):
                continue
            begins = start + len(_LEADING_BLANKS.match(reading, start)[0])  # type: ignore[index] # matches always
            # Comm100's own parameter is checked like the redirect_url received: a path alone is refused.
            is_own = name == "redirecturl" and reading is readings[-1] and reading[begins : begins + 1] not in "&;"
            if not is_own and _LEADS_AWAY.match(reading, begins) is None:
                continue  # a path or a text: the person stays at the endpoint's host
            as_read = reading[begins:].translate(_AS_BROWSERS_READ)
            is_relative = as_read.startswith("//") and not is_own
            yield _Target(parameter["name"], reading[start:], as_read, is_relative)


def _check_further_target(target: _Target, site: Site) -> None:
    """Check that a parameter leads to a host of the site."""
    absolute = f"https:{target.value}" if target.is_relative else target.value
    if not _is_of_site(absolute, site) or _begins_with_two_slashes(urlsplit(absolute).path):
        got = f"parameter {target.name[:MAX_QUOTED_CHARACTERS]}, {_place(target.as_read)}"
        raise RedirectUrlRefused(expected=f"further targets at {', '.join(sorted(_hosts(site)))}", got=got)


def _place(target: str) -> str:
    """Return scheme and host of a target as a browser reads it, or that there is no host."""
    matched = _SCHEME.match(target)
    if matched is not None and matched["scheme"].lower() not in ("http", "https"):
        return f"scheme {matched['scheme']}"[:MAX_QUOTED_CHARACTERS]
    rest = matched["rest"] if matched else target
    if matched is None and not rest.startswith("//"):
        return "no host"
    host = re.split("[/?#]", rest.lstrip("/"), maxsplit=1)[0].rpartition("@")[2]
    return f"{matched['scheme'] + ':' if matched else ''}//{host}"[:MAX_QUOTED_CHARACTERS]


def _letters(name: str) -> str:
    """Return the letters and digits of a name, with other spellings of a letter folded: some readers see only these."""
    if name.isascii() and name.isalnum():  # the usual case
        return name.lower()
    return "".join(c for c in unicodedata.normalize("NFKC", name).casefold() if c.isalnum())


def _readings(text: str) -> list[str]:
    """Return a text undecoded, decoded once, twice and so on, until nothing is left to decode.

    `%uXXXX` is a spelling of ASP.NET, on which the endpoint runs.

    Raises:
        RedirectUrlRefused: the text is encoded more than `MAX_ENCODINGS` times.
    """
    readings = [text]
    while "%" in readings[-1] or "+" in readings[-1]:
        # As `urllib.parse.unquote_plus`, which takes five to twelve times as long for texts of `%`.
        decoded = _ENCODED.sub(_decode_run, readings[-1].replace("+", " "))
        decoded = _CODE_UNIT.sub(lambda unit: chr(int(unit[1], 16)), decoded)
        if decoded == readings[-1]:
            break
        if len(readings) > MAX_ENCODINGS:
            raise RedirectUrlRefused(expected=f"at most {MAX_ENCODINGS} encodings", got=f"{MAX_ENCODINGS + 1} or more")
        readings.append(decoded)
    return readings


def _decode_run(encoded: re.Match[str]) -> str:
    return bytes.fromhex(encoded[0].replace("%", "")).decode("utf-8", "replace")
