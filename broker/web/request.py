"""Reads a request: navigation, parameters, ids in the path, cookies, and the browser's address.

The cookie parser is strict: some browsers and most frameworks accept a name after white space, or a repeated name, as a
`__Host-` cookie.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from itertools import islice
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.types import Scope

from broker.comm100 import Site
from broker.errors import MethodNotAllowed, NoSuchPage, NotANavigation, ParameterRepeated
from broker.logout import COOKIE_NAME
from broker.providers import Provider
from broker.rejected_codes import Origin
from broker.text import redact_emails, redact_path
from broker.transaction import NAME_PREFIX, BrowserCookie, is_cookie_name

LAST_PROVIDER_COOKIE = "last_provider"
MAX_LISTED_IDS = 10
MAX_PART_CHARACTERS = 200  # of host or path of a redirect_url, for the setup page
MAX_NAMES = 20  # of parameters
MAX_HOP_CHARACTERS = 100  # of one hop; an IPv6 address with zone, brackets, port, quotes and `for=` has fewer
MAX_HOPS = 100  # of X-Forwarded-For that are read, the nearest first

_PARAMETER_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,39}")
_NAMES = "|".join(map(re.escape, (NAME_PREFIX, COOKIE_NAME, LAST_PROVIDER_COOKIE)))
_BEGINS = {https: re.compile(f"{'__Host-' if https else ''}(?:{_NAMES})") for https in (True, False)}
_COOKIE_VALUE = re.compile(r"[A-Za-z0-9_.-]+")
_PORT = re.compile(r"\[(?P<v6>[^\]]*)\](?::\d+)?|(?P<v4>[^:]*):\d+")
_TELLS_NO_NAVIGATION = (b"sec-purpose", b"purpose", b"x-moz", b"sec-fetch-mode")
_TRACEPARENT = re.compile(rb"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(-.*)?")
_FORWARDING = (b"x-forwarded-for", b"forwarded", b"x-real-ip")
_UNTRUSTED_PROXY = (
    "If this peer is your proxy, add its address to trusted_proxies. If not, a stranger sent the header: you do not "
    "have to do anything."
)

Headers = Iterable[tuple[bytes, bytes]]
Network = IPv4Network | IPv6Network
Address = IPv4Address | IPv6Address

_log = logging.getLogger("broker")


@dataclass(frozen=True, slots=True)
class LastLoginRequest:
    """The last request to a site's Remote Login URL, for the setup page; without the values of parameters.

    Args:
        at: seconds since the epoch.
        redirect_url_host: unverified; empty if there is none.
        redirect_url_path: unverified, without e-mail addresses; empty if there is none.
        code: of the error; `none` if the request was accepted.
    """

    at: float
    redirect_url_host: str
    redirect_url_path: str = field(repr=False)
    redirect_url_parameters: tuple[str, ...]
    parameters: tuple[str, ...]
    code: str


def check_navigation(request: Request) -> None:
    """Refuse a request that is not a person's own navigation (Fetch Metadata; RFC 9110, section 9.2.1).

    Raises:
        MethodNotAllowed: HEAD, which the framework treats as GET.
        NotANavigation: a prefetch, or a script's fetch.
    """
    if request.method != "GET":
        raise MethodNotAllowed(expected="GET", got=request.method)
    for name, content in request.scope["headers"]:
        if name in _TELLS_NO_NAVIGATION:
            value = content.decode("latin-1")
            if value != "navigate" if name == b"sec-fetch-mode" else "prefetch" in value.lower():
                raise NotANavigation(expected="a navigation", got=f"{name.decode()}: {value}")


def is_framed(request: Request) -> bool:
    """Return whether the browser loads the response into a frame, where providers refuse to be shown."""
    return request.headers.get("sec-fetch-dest") in {"iframe", "frame", "embed", "object", "fencedframe"}


def continued_trace_id(headers: Headers) -> str | None:
    """Return the trace id that a proxy began; None without a usable `traceparent` (W3C Trace Context, section 3.2)."""
    values = [value for name, value in headers if name == b"traceparent"]
    matched = _TRACEPARENT.fullmatch(values[0]) if len(values) == 1 else None
    # Version 00 ends after the flags; a later version may go on.
    return None if matched is None or (matched[2] and values[0].startswith(b"00")) else matched[1].decode()


def given(request: Request, name: str) -> list[str]:
    """Return each value of a parameter; a parameter with only empty values counts as absent (RFC 6749, section 3.1)."""
    return _present(request.query_params.getlist(name))


def single(request: Request, name: str) -> str | None:
    """Return a parameter that may come only once; None if it is absent or empty.

    Raises:
        ParameterRepeated: the parameter came more than once (RFC 6749, section 3.1).
    """
    return _only(name, request.query_params.getlist(name))


def read_unverified_parameters(request: Request) -> dict[str, str]:
    """Return every parameter that is not empty.

    Raises:
        ParameterRepeated: a parameter came more than once (RFC 6749, section 3.1).
    """
    values: dict[str, list[str]] = {}
    for name, value in request.query_params.multi_items():  # one pass: a look-up by name walks through all of them
        values.setdefault(name, []).append(value)
    return {name: text for name, each in values.items() if (text := _only(name, each))}


def _present(values: list[str]) -> list[str]:
    return values if any(values) else []


def _only(name: str, values: list[str]) -> str | None:
    present = _present(values)
    if len(present) > 1:
        raise ParameterRepeated(expected=f"{name} once", got=f"{len(present)} times")
    return present[0] if present else None


def site_of(request: Request, sites: Mapping[str, Site]) -> Site:
    """Return the site in the path, or the first site if the path has none.

    Raises:
        NoSuchPage: no site has that id.
    """
    site = sites.get(request.path_params.get("site") or next(iter(sites)))
    if site is None:
        raise NoSuchPage(expected=f"the id of a site: {listed(sites)}", got=redact_path(request.path_params["site"]))
    return site


def provider_of(request: Request, providers: Mapping[str, Provider]) -> Provider:
    """Return the identity provider in the path.

    Raises:
        NoSuchPage: no provider has that id.
    """
    wanted = request.path_params["idp"]
    provider = providers.get(wanted)
    if provider is None:
        raise NoSuchPage(expected=f"the id of an identity provider: {listed(providers)}", got=redact_path(wanted))
    return provider


def listed(ids: Iterable[str]) -> str:
    """Return ids of the settings for the log, at most `MAX_LISTED_IDS` of them."""
    *named, beyond = [*islice(ids, MAX_LISTED_IDS + 1), ""][: MAX_LISTED_IDS + 1]
    return ", ".join(named) + (", …" if beyond else "")


def read_login_request(query: str, unverified_redirect_url: str, *, at: float, code: str = "none") -> LastLoginRequest:
    """Return the record of a request to the Remote Login URL.

    Args:
        query: as sent.
        unverified_redirect_url: empty if there is none.
        at: seconds since the epoch.
        code: of the error; `none` if the request was accepted.
    """
    try:
        parts = urlsplit(unverified_redirect_url)
        host, path, names = parts.hostname or "", parts.path, parameter_names(parts.query)
    except ValueError:
        host, path, names = "", "", ()
    kept = redact_emails(path)[:MAX_PART_CHARACTERS]
    return LastLoginRequest(at, host[:MAX_PART_CHARACTERS], kept, names, parameter_names(query), code)


def parameter_names(query: str) -> tuple[str, ...]:
    """Return the names of parameters in a query; text that does not look like a name may be a value and is dropped."""
    if "=" not in query:
        return ()
    named = [pair.partition("=")[0] for pair in query.split("&") if "=" in pair]
    return tuple(sorted({name for name in named if _PARAMETER_NAME.fullmatch(name)})[:MAX_NAMES])


# ------------------------------------------------------------------------------------------------------------- cookies


def prefix(*, https: bool) -> str:
    """Return the prefix of cookie names: `__Host-` ties a cookie to https and to this host (RFC 6265bis, 4.1.3.2)."""
    return "__Host-" if https else ""


def read_cookies(headers: Headers, *, https: bool) -> dict[str, BrowserCookie]:
    """Return the transaction cookies by name, without the prefix."""
    return _read(headers, is_cookie_name, https=https)


def read_values(headers: Headers, names: frozenset[str], *, https: bool) -> dict[str, str]:
    """Return the values of cookies of the broker by name; those that are absent or repeated are left out.

    Args:
        names: without the prefix.
    """
    found = _read(headers, names.__contains__, https=https)
    return {name: cookie.value for name, cookie in found.items()}


def read_cookie(headers: Headers, name: str, *, https: bool) -> str | None:
    """Return the value of a cookie of the broker; None if it is absent or repeated.

    Args:
        name: without the prefix.
    """
    cookie = _read(headers, name.__eq__, https=https).get(name)
    return cookie.value if cookie else None


def _read(headers: Headers, is_wanted: Callable[[str], bool], *, https: bool) -> dict[str, BrowserCookie]:
    found: dict[str, BrowserCookie] = {}
    seen: set[str] = set()
    repeated: set[str] = set()
    start = prefix(https=https)
    for pair in broker_cookies(headers, https=https):
        name, equals, value = pair.partition("=")
        if not equals or not name.startswith(start) or not is_wanted(name.removeprefix(start)):
            continue
        name = name.removeprefix(start)
        (repeated if name in seen else seen).add(name)
        if _COOKIE_VALUE.fullmatch(value):
            found[name] = BrowserCookie(name, value)
    return {name: cookie for name, cookie in found.items() if name not in repeated}


def broker_cookies(headers: Headers, *, https: bool) -> Iterable[str]:
    """Yield the cookies whose name begins like a name of the broker's, also after white space, unverified.

    Other cookies are not parsed: another host of the domain may have set thousands, and a stranger may send as many.
    """
    for name, value in headers:
        if name == b"cookie":
            text = value.decode("latin-1")
            for name_start in _BEGINS[https].finditer(text):
                start = text.rfind(";", 0, name_start.start()) + 1
                before = text[start : name_start.start()]
                if before == "" or before.isspace():
                    pair = text[start:].partition(";")[0]
                    # One space follows the semicolon (RFC 6265, section 4.2.1). Any further space is part of the name.
                    yield pair.removeprefix(" ")


# --------------------------------------------------------------------------------------------------- browser's address


class ClientAddresses:
    """Tells browsers apart by their address, and warns once of a proxy that is not trusted."""

    def __init__(self, trusted_proxies: tuple[Network, ...]) -> None:
        self._trusted_proxies = trusted_proxies
        self._has_warned = False
        self._find_cached = lru_cache(maxsize=1024)(self._find)  # each request asks twice, and agents come again

    def address_of(self, scope: Scope) -> str:
        """Return the browser's address for the log; empty if there is none."""
        return self._address(scope, unbroken=False)

    def _address(self, scope: Scope, *, unbroken: bool) -> str:
        forwarded = _forwarded_for(scope)
        find = self._find_cached if sum(map(len, forwarded)) <= MAX_HOP_CHARACTERS else self._find
        return find(_peer(scope), tuple(forwarded), unbroken)

    def _find(self, peer: str, forwarded: tuple[str, ...], unbroken: bool) -> str:
        return find_client_address(peer, forwarded, self._trusted_proxies, unbroken=unbroken)

    def origins_of(self, scope: Scope, client: str) -> tuple[Origin, ...]:
        """Return the origins for which the rejected codes of a request are counted, the widest first.

        An address from a trusted proxy is a browser's, and so is a public peer's without a forwarding header. Any other
        peer may stand for many people; an address that such a peer claims only adds a bound.

        Args:
            client: from `address_of`.
        """
        peer, browser = read_hop(_peer(scope)), read_hop(client)
        if browser is not None and browser != peer and not self._is_trusted(browser) and self._is_vouched_for(scope):
            return _origins_of(browser)
        is_forwarded = any(name in _FORWARDING for name, _ in scope["headers"])
        if peer is not None and peer.is_global and not is_forwarded and not self._is_trusted(peer):
            return _origins_of(peer)
        wide = Origin(_network(peer), shared=True)
        if not is_forwarded or (peer is not None and self._is_trusted(peer)):
            return (wide,)
        self._warn_once(wide.network)
        claimed = _claimed(scope)
        return (wide,) if claimed is None else (wide, Origin(_network(claimed), shared=False, claimed_by=wide.network))

    def _is_trusted(self, address: Address) -> bool:
        return _is_in(address, self._trusted_proxies)

    def _is_vouched_for(self, scope: Scope) -> bool:
        """Return whether trusted proxies wrote every hop up to the browser; otherwise a stranger may have done so."""
        last = read_hop(self._address(scope, unbroken=True))
        return last is not None and not self._is_trusted(last)

    def _warn_once(self, peer: str) -> None:
        if not self._has_warned:
            self._has_warned = True
            _log.warning("a proxy is not trusted", extra={"facts": {"peer": peer, "remedy": _UNTRUSTED_PROXY}})


def find_client_address(
    peer: str, forwarded: Iterable[str], trusted: Sequence[Network], *, unbroken: bool = False
) -> str:
    """Return the nearest address in the chain of hops that is not a trusted proxy's; empty if there is none.

    A hop that cannot be read ends the chain: the address before is returned.

    Args:
        forwarded: the values of X-Forwarded-For, unverified.
        unbroken: an empty or unknown hop ends the chain, too. The log may show an address beyond such a hop; a limit
            must not use the address, because a stranger may have written it.
    """
    address = read_hop(peer)
    hops = [hop for value in forwarded for hop in value.split(",")]
    unread = len(hops)
    while address is not None and unread and len(hops) - unread < MAX_HOPS and _is_in(address, trusted):
        unread -= 1
        hop = read_hop(hops[unread])
        if hop is None and (unbroken or not _names_no_address(hops[unread])):
            break
        address = hop or address
    return "" if address is None else str(address)


def read_hop(unverified_hop: str) -> Address | None:
    """Return the address of a hop, with or without port, brackets, quotes or `for=` (RFC 7239, section 6).

    An IPv4 address written as IPv6 is returned as IPv4.
    """
    text = unverified_hop.strip()
    return _read_hop(text) if len(text) <= MAX_HOP_CHARACTERS else None


@lru_cache(maxsize=1024)  # few proxies, and agents who come again
def _read_hop(text: str) -> Address | None:
    text = text.strip('"').strip()
    if text[:4].lower() == "for=":
        text = text[4:].strip().strip('"')
    with_port = _PORT.fullmatch(text)
    if with_port:
        text = with_port["v6"] if with_port["v6"] is not None else with_port["v4"]
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def _names_no_address(hop: str) -> bool:
    """Return whether a hop is empty, unknown or obfuscated (RFC 7239, sections 6.2 and 6.3)."""
    hop = hop.strip().strip('"').lower()
    return hop in ("", "unknown") or hop.startswith("_")


def _is_in(address: Address, networks: Sequence[Network]) -> bool:
    return any(address in network for network in networks)


def _peer(scope: Scope) -> str:
    peer: str = (scope.get("client") or ("",))[0]
    return peer


def _forwarded_for(scope: Scope) -> list[str]:
    return [value.decode("latin-1") for name, value in scope["headers"] if name == b"x-forwarded-for"]


def _origins_of(browser: Address) -> tuple[Origin, ...]:
    """Return the browser's network, and for IPv6 the /48 around it: a single customer may have a whole /48."""
    own = Origin(_network(browser), shared=False)
    if isinstance(browser, IPv4Address):
        return (own,)
    return Origin(str(ip_network((browser.packed, 48), strict=False)), shared=True), own


def _claimed(scope: Scope) -> Address | None:
    """Return the last address in X-Forwarded-For, which the peer appended."""
    values = _forwarded_for(scope)
    return read_hop(values[-1].rpartition(",")[2]) if values else None


def _network(address: Address | None) -> str:
    """Return the smallest network of a customer: an IPv4 address, or an IPv6 /64."""
    if isinstance(address, IPv6Address):
        return str(ip_network((address.packed, 64), strict=False))
    return str(address or "")
