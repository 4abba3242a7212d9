"""What an endpoint reads from a request: a navigation, parameters that come once, a site that exists."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import islice

from starlette.requests import Request

from broker.comm100 import Site
from broker.errors import MethodNotAllowed, NoSuchPage, NotANavigation, ParameterRepeated
from broker.providers import Provider
from broker.text import redact_path
from broker.web.context import WebContext
from broker.web.problems import RequestContext

MAX_LISTED_IDS = 10


def check_navigation(request: Request) -> None:
    """Let only a person's own navigation start or consume something (Fetch Metadata; RFC 9110, section 9.2.1).

    Args:
        request: the browser's.

    Raises:
        MethodNotAllowed: HEAD, which the framework takes for a GET.
        NotANavigation: a prefetch, or a script's fetch.
    """
    if request.method != "GET":
        raise MethodNotAllowed(expected="GET", got=request.method)
    for name in ("sec-purpose", "purpose", "x-moz", "sec-fetch-mode"):
        for value in request.headers.getlist(name):
            if value != "navigate" if name == "sec-fetch-mode" else "prefetch" in value.lower():
                raise NotANavigation(expected="a navigation", got=f"{name}: {value}")


def is_framed(request: Request) -> bool:
    """Whether the browser says that it loads this into a frame, where providers refuse to be shown.

    Args:
        request: the browser's.
    """
    return request.headers.get("sec-fetch-dest") in {"iframe", "frame", "embed", "object", "fencedframe"}


def given(request: Request, name: str) -> list[str]:
    """Return each value of a parameter; empty ones alone are none (RFC 6749, section 3.1).

    Args:
        request: the browser's.
        name: of the parameter.
    """
    values = request.query_params.getlist(name)
    return values if any(values) else []


def once(request: Request, name: str) -> str | None:
    """Return a parameter that may come once; None if it did not come, or was empty.

    Args:
        request: the browser's.
        name: of the parameter.

    Raises:
        ParameterRepeated: it came more often (RFC 6749, section 3.1).
    """
    values = given(request, name)
    return _single(name, values) if values else None


def each_once(request: Request) -> dict[str, str]:
    """Return every parameter, each of which may come once; an empty one is left out.

    Args:
        request: the browser's.

    Raises:
        ParameterRepeated: one came more often (RFC 6749, section 3.1).
    """
    values: dict[str, list[str]] = {}
    for name, value in request.query_params.multi_items():
        values.setdefault(name, []).append(value)
    return {name: _single(name, several) for name, several in values.items() if any(several)}


def _single(name: str, values: list[str]) -> str:
    if len(values) > 1:
        raise ParameterRepeated(expected=f"{name} once", got=f"{len(values)} times")
    return values[0]


def site_of(web: WebContext, request: Request, attempt: RequestContext) -> Site:
    """Return the site in the address, the first one if there is none in it.

    Args:
        web: what all endpoints share.
        request: the browser's.
        attempt: is told the site.

    Raises:
        NoSuchPage: no site has that id.
    """
    sites = web.broker.sites
    site = sites.get(request.path_params.get("site") or next(iter(sites)))
    if site is None:
        raise NoSuchPage(expected=f"the id of a site: {listed(sites)}", got=redact_path(request.path_params["site"]))
    attempt.site = site.id
    attempt.start_again = site.start_url
    return site


def provider_of(web: WebContext, request: Request, attempt: RequestContext) -> Provider:
    """Return the identity provider in the address.

    Args:
        web: what all endpoints share.
        request: the browser's.
        attempt: is told the provider.

    Raises:
        NoSuchPage: no enabled provider has that id.
    """
    return find_provider(web.broker.providers, request, attempt)


def find_provider(providers: Mapping[str, Provider], request: Request, attempt: RequestContext) -> Provider:
    """Return the one of these providers that is in the address.

    Args:
        providers: by id.
        request: the browser's.
        attempt: is told the provider.

    Raises:
        NoSuchPage: none of them has that id.
    """
    wanted = request.path_params["idp"]
    provider = providers.get(wanted)
    if provider is None:
        raise NoSuchPage(expected=f"the id of an identity provider: {listed(providers)}", got=redact_path(wanted))
    attempt.provider = provider.id
    return provider


def listed(ids: Iterable[str]) -> str:
    """Name ids for the log, as many as a line can bear.

    Args:
        ids: of the settings.
    """
    *named, beyond = [*islice(ids, MAX_LISTED_IDS + 1), ""][: MAX_LISTED_IDS + 1]
    return ", ".join(named) + (", …" if beyond else "")
