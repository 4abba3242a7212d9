"""One function per address: Request in, Response out, no rule inside.

An endpoint reads parameters, calls the use case, and turns its result into an answer. Errors are rendered in
`problems`, for all of them alike.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Awaitable, Callable
from urllib.parse import parse_qsl, urlsplit

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from broker.comm100 import Site, check_redirect_url
from broker.errors import (
    BrokerError,
    CookieMissing,
    MethodNotAllowed,
    NoSuchPage,
    NotANavigation,
    ParameterRepeated,
    StateMissing,
    TransactionExpired,
    TransactionSpent,
    Unexpected,
)
from broker.providers import Provider
from broker.signin import begin, complete
from broker.transaction import OpenedState, open_state, recover_redirect_url, surplus
from broker.web.cookies import delete_cookie, read_cookies, set_cookie
from broker.web.pages import Choice
from broker.web.problems import Attempt, render_problem
from broker.web.site import Web

Endpoint = Callable[[Web, Request, Attempt], Awaitable[Response]]

_log = logging.getLogger("broker")

# A sign-in that came back too late, twice or without its cookie can simply be started again.
_RESTARTABLE = (TransactionExpired, TransactionSpent, CookieMissing)


async def answer(endpoint: Endpoint, web: Web, request: Request) -> Response:
    """Run an endpoint; whatever goes wrong ends in a page, a log line and a counted reason.

    Args:
        endpoint: one of the functions below.
        web: what all endpoints share.
        request: the browser's.
    """
    attempt = Attempt(trace_id=secrets.token_hex(8), client=web.client_address(request.scope))
    try:
        response = await endpoint(web, request, attempt)
    except BrokerError as error:
        web.record(attempt.outcome(error))
        response = render_problem(web, error, attempt)
    except Exception as defect:  # noqa: BLE001 - the last net: a person never sees a bare 500
        _log.error("defect", exc_info=defect, extra={"facts": {"trace_id": attempt.trace_id}})
        unexpected = Unexpected()
        web.record(attempt.outcome(unexpected))
        response = render_problem(web, unexpected, attempt)
    for name in attempt.drop_cookies:
        response.headers.append("Set-Cookie", delete_cookie(name, https=web.https))
    return response


async def home(web: Web, _request: Request, _attempt: Attempt) -> Response:
    """`GET /`: what this is, and nothing secret."""
    return HTMLResponse(web.pages.home())


async def login(web: Web, request: Request, attempt: Attempt) -> Response:
    """`GET /login[/{site}]`: Comm100's Remote Login URL; ends at the identity provider."""
    _check_navigation(request)
    site = _site(web, request, attempt)
    redirect_url = _once(request, "redirect_url") or None  # an empty one counts as none
    if redirect_url is not None:
        check_redirect_url(redirect_url, site)
    attempt.start_again = web.login_url(site.id, redirect_url=redirect_url)
    provider = _chosen_provider(web, site, _once(request, "idp"))
    if provider is None:
        return HTMLResponse(web.pages.choose("Comm100", _choices(web, site, redirect_url)))
    attempt.provider = provider.id
    departure = await begin(
        web.broker,
        site,
        provider,
        unverified_redirect_url=redirect_url,
        restarted=_once(request, "restarted") is not None,
    )
    _log.info("sign-in begins", extra={"facts": _what_came(attempt, request, redirect_url)})
    under_way = read_cookies(request.headers.raw, https=web.https)
    attempt.drop_cookies += [cookie.name for cookie in surplus(list(under_way.values()), departure.cookie)]
    response = _see_other(departure.location)
    response.headers.append("Set-Cookie", set_cookie(departure.cookie, https=web.https))
    return response


async def callback(web: Web, request: Request, attempt: Attempt) -> Response:
    """`GET /callback/{idp}`: the redirect URI; ends at Comm100."""
    _check_navigation(request)
    provider = web.broker.providers.get(request.path_params["idp"])
    if provider is None:
        raise NoSuchPage(expected="the id of an identity provider", got="another")
    attempt.provider = provider.id
    attempt.start_again = web.login_url()
    states = request.query_params.getlist("state")
    if not states:
        raise StateMissing(expected="state", got="nothing")
    opened = open_state(states[0], secret_keys=web.broker.secret_keys())
    cookie = read_cookies(request.headers.raw, https=web.https).get(opened.cookie_name)
    cookie_value = cookie.value if cookie else None
    attempt.drop_cookies.append(opened.cookie_name)
    _prepare_restart(web, attempt, opened, cookie_value)
    try:
        parameters = {name: _once(request, name) or "" for name in request.query_params}
        arrival = await complete(web.broker, provider, opened=opened, cookie_value=cookie_value, parameters=parameters)
    except _RESTARTABLE:
        attempt.restarts = not opened.transaction.restarted
        raise
    web.record(attempt.outcome(None, arrival.identity))
    return _see_other(arrival.location)


async def logout(web: Web, request: Request, attempt: Attempt) -> Response:
    """`GET /logout[/{site}]`: Comm100's Remote Logout URL; forgets the sign-ins under way."""
    site = _site(web, request, attempt)
    attempt.drop_cookies += read_cookies(request.headers.raw, https=web.https)
    return HTMLResponse(web.pages.signed_out(site.start_url))


async def no_such_page(_web: Web, _request: Request, _attempt: Attempt) -> Response:
    """Every other address."""
    raise NoSuchPage(expected="an address of ours", got="another")


async def method_not_allowed(_web: Web, _request: Request, _attempt: Attempt) -> Response:
    """Every other method: nothing is started, nothing consumed."""
    raise MethodNotAllowed(expected="GET", got="another method")


def _see_other(location: str) -> Response:
    """Return a 303, so that nothing is ever sent on; the address goes out byte for byte as it was built."""
    return Response(status_code=303, headers={"Location": location})


def _check_navigation(request: Request) -> None:
    """Let only a person's own navigation start or consume something (Fetch Metadata; RFC 9110, section 9.2.1)."""
    if request.method != "GET":
        raise MethodNotAllowed(expected="GET", got="another method")
    purpose = request.headers.get("sec-purpose", "") + request.headers.get("purpose", "")
    if "prefetch" in purpose.lower() or request.headers.get("sec-fetch-mode", "navigate") != "navigate":
        raise NotANavigation(expected="a navigation", got="a prefetch or a fetch")


def _once(request: Request, name: str) -> str | None:
    values = request.query_params.getlist(name)
    if len(values) > 1:
        raise ParameterRepeated(expected=f"{name} once", got=f"{len(values)} times")
    return values[0] if values else None


def _site(web: Web, request: Request, attempt: Attempt) -> Site:
    sites = web.broker.sites
    site = sites.get(request.path_params.get("site") or next(iter(sites)))
    if site is None:
        raise NoSuchPage(expected="the id of a site", got="another")
    attempt.site = site.id
    attempt.start_again = site.start_url
    return site


def _chosen_provider(web: Web, site: Site, wanted: str | None) -> Provider | None:
    """The provider asked for, else the only one, else nobody: the person has to choose."""
    if not wanted and len(site.provider_ids) > 1:
        return None
    wanted = wanted or next(iter(site.provider_ids), "")  # none at all, when every one is disabled
    if wanted not in site.provider_ids:
        raise NoSuchPage(expected="an identity provider of this site", got="another")
    return web.broker.providers[wanted]


def _what_came(attempt: Attempt, request: Request, redirect_url: str | None) -> dict[str, object]:
    """Say what Comm100 sent, by which an admin can tell which delivery applies; never a value that names a person."""
    wanted = urlsplit(redirect_url or "")
    return {
        "trace_id": attempt.trace_id,
        "client": attempt.client,
        "site": attempt.site,
        "provider": attempt.provider,
        "parameters": _names(request.scope["query_string"].decode("latin-1")),
        "redirect_url_host": wanted.hostname,
        "redirect_url_path": wanted.path,
        "redirect_url_parameters": _names(wanted.query),
    }


def _names(query: str) -> list[str]:
    return sorted({name[:40] for name, _ in parse_qsl(query, keep_blank_values=True)})[:20]


def _choices(web: Web, site: Site, redirect_url: str | None) -> list[Choice]:
    return [
        Choice(web.broker.providers[provider].label, web.login_url(site.id, idp=provider, redirect_url=redirect_url))
        for provider in site.provider_ids
    ]


def _prepare_restart(web: Web, attempt: Attempt, opened: OpenedState, cookie_value: str | None) -> None:
    """Name the address that begins the same sign-in anew; `restarted` keeps it from doing so by itself twice."""
    transaction = opened.transaction
    site = web.broker.sites.get(transaction.site)
    if site is None:
        return
    attempt.site = site.id
    attempt.start_again = web.login_url(
        site.id,
        idp=transaction.provider if transaction.provider in site.provider_ids else None,
        redirect_url=recover_redirect_url(opened, cookie_value),
        restarted=None if transaction.restarted else "1",
    )
