"""What an endpoint reads from a request: a navigation, parameters that come once, a site that exists."""

from __future__ import annotations

from starlette.requests import Request

from broker.comm100 import Site
from broker.errors import MethodNotAllowed, NoSuchPage, NotANavigation, ParameterRepeated
from broker.providers import Provider
from broker.web.problems import Attempt
from broker.web.site import Web


def check_navigation(request: Request) -> None:
    """Let only a person's own navigation start or consume something (Fetch Metadata; RFC 9110, section 9.2.1).

    Args:
        request: the browser's.

    Raises:
        MethodNotAllowed: HEAD, which the framework takes for a GET.
        NotANavigation: a prefetch, or a script's fetch.
    """
    if request.method != "GET":
        raise MethodNotAllowed(expected="GET", got="another method")
    purposes = [word for name in ("sec-purpose", "purpose", "x-moz") for word in request.headers.getlist(name)]
    modes = set(request.headers.getlist("sec-fetch-mode"))
    if any("prefetch" in purpose.lower() for purpose in purposes) or not modes <= {"navigate"}:
        raise NotANavigation(expected="a navigation", got="a prefetch or a fetch")


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
    if len(values) > 1:
        raise ParameterRepeated(expected=f"{name} once", got=f"{len(values)} times")
    return values[0] if values else None


def site_of(web: Web, request: Request, attempt: Attempt) -> Site:
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
        raise NoSuchPage(expected="the id of a site", got="another")
    attempt.site = site.id
    attempt.start_again = site.start_url
    return site


def provider_of(web: Web, request: Request, attempt: Attempt) -> Provider:
    """Return the identity provider in the address.

    Args:
        web: what all endpoints share.
        request: the browser's.
        attempt: is told the provider.

    Raises:
        NoSuchPage: no enabled provider has that id.
    """
    provider = web.broker.providers.get(request.path_params["idp"])
    if provider is None:
        raise NoSuchPage(expected="the id of an identity provider", got="another")
    attempt.provider = provider.id
    return provider
