"""What endpoints read from a request: a navigation, parameters, the site and the provider in the path."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import islice

from starlette.requests import Request

from broker.comm100 import Site
from broker.errors import MethodNotAllowed, NoSuchPage, NotANavigation, ParameterRepeated
from broker.providers import Provider
from broker.text import redact_path

MAX_LISTED_IDS = 10


def check_navigation(request: Request) -> None:
    """Refuse a request that is not a person's own navigation (Fetch Metadata; RFC 9110, section 9.2.1).

    Raises:
        MethodNotAllowed: HEAD, which the framework treats as GET.
        NotANavigation: a prefetch, or a script's fetch.
    """
    if request.method != "GET":
        raise MethodNotAllowed(expected="GET", got=request.method)
    for name in ("sec-purpose", "purpose", "x-moz", "sec-fetch-mode"):
        for value in request.headers.getlist(name):
            if value != "navigate" if name == "sec-fetch-mode" else "prefetch" in value.lower():
                raise NotANavigation(expected="a navigation", got=f"{name}: {value}")


def is_framed(request: Request) -> bool:
    """Return whether the browser loads this into a frame, where providers refuse to be shown."""
    return request.headers.get("sec-fetch-dest") in {"iframe", "frame", "embed", "object", "fencedframe"}


def given(request: Request, name: str) -> list[str]:
    """Return each value of a parameter; a parameter with only empty values counts as absent (RFC 6749, section 3.1)."""
    values = request.query_params.getlist(name)
    return values if any(values) else []


def single(request: Request, name: str) -> str | None:
    """Return a parameter that may come once; None if it is absent or empty.

    Raises:
        ParameterRepeated: the parameter came more often (RFC 6749, section 3.1).
    """
    values = given(request, name)
    return _single(name, values) if values else None


def read_unverified_parameters(request: Request) -> dict[str, str]:
    """Return every parameter that is not empty.

    Raises:
        ParameterRepeated: a parameter came more than once (RFC 6749, section 3.1).
    """
    values: dict[str, list[str]] = {}
    for name, value in request.query_params.multi_items():
        values.setdefault(name, []).append(value)
    return {name: _single(name, several) for name, several in values.items() if any(several)}


def _single(name: str, values: list[str]) -> str:
    if len(values) > 1:
        raise ParameterRepeated(expected=f"{name} once", got=f"{len(values)} times")
    return values[0]


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
        NoSuchPage: none of these providers has that id.
    """
    wanted = request.path_params["idp"]
    provider = providers.get(wanted)
    if provider is None:
        raise NoSuchPage(expected=f"the id of an identity provider: {listed(providers)}", got=redact_path(wanted))
    return provider


def listed(ids: Iterable[str]) -> str:
    """Return ids of the settings for the log, at most `MAX_LISTED_IDS`."""
    *named, beyond = [*islice(ids, MAX_LISTED_IDS + 1), ""][: MAX_LISTED_IDS + 1]
    return ", ".join(named) + (", …" if beyond else "")
