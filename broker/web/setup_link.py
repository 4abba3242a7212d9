"""Checks the setup link of a request, before the setup pages are loaded."""

from __future__ import annotations

from urllib.parse import urlsplit

from starlette.requests import Request

from broker.errors import NotANavigation, SetupLinkRefused
from broker.signing import SetupLink, check_link
from broker.web.context import WebContext
from broker.web.request import check_navigation, is_framed


def check_visit(web: WebContext, request: Request) -> SetupLink:
    """Return the setup link, if it is valid and a person opens the page in a tab."""
    check_navigation(request)
    if is_framed(request):
        raise NotANavigation(
            expected="a tab of its own", got=f"Sec-Fetch-Dest: {request.headers.get('sec-fetch-dest')}"
        )
    links = request.query_params.getlist("link")
    if len(links) != 1:
        raise SetupLinkRefused(expected="one link", got=f"{len(links)} links")
    return check_setup_link(web, request, links[0])


def check_setup_link(web: WebContext, request: Request, unverified_token: str) -> SetupLink:
    """Return the setup link if it is valid; the browser must use the host of `public_url`."""
    hosts, own = request.headers.getlist("host"), urlsplit(web.public_url).netloc
    port = ":443" if web.https else ":80"
    if len(hosts) != 1 or hosts[0].lower().removesuffix(port) != own.lower().removesuffix(port):
        raise SetupLinkRefused(expected=f"Host: {own}", got=hosts)
    keys = web.broker.secret_keys()
    return check_link(unverified_token, public_url=web.public_url, now=web.broker.clock(), secret_keys=keys)
