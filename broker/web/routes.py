"""Routes the requests of the public port, and turns each error into a page, a log line and a metric."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from broker.errors import (
    BrokerError,
    InternalError,
    MethodNotAllowed,
    NoSuchPage,
    Overloaded,
    RequestTooLarge,
    ResponseModeUnsupported,
)
from broker.signing import SetupLink
from broker.text import redact_path
from broker.web.callback import callback
from broker.web.context import Refused, RequestContext, WebContext
from broker.web.login import initiate, login
from broker.web.logout import logout
from broker.web.middleware import Excess, PlainPaths, RequestBounds, SecurityHeaders
from broker.web.request import continued_trace_id
from broker.web.responses import show_page, show_problem
from broker.web.setup_link import check_visit

Endpoint = Callable[[WebContext, Request, RequestContext], Awaitable[Response]]
"""Returns the response; raises `Refused`, or a `BrokerError` while nothing is known of the request."""

SetupEndpoint = Callable[[WebContext, Request, RequestContext, SetupLink], Awaitable[Response]]

MAX_SECRETS = 5  # codes, and states, of one request that are redacted; more than one of each is refused
TRACE_ID_BYTES = 16  # as in W3C Trace Context
_METHODS = ("GET", "HEAD")  # an endpoint that does not accept HEAD refuses it
_SIGN_IN = ("login", "callback", "initiate", "logout")

_log = logging.getLogger("broker")


@dataclass(frozen=True, slots=True)
class Route:
    """The endpoint of a path, and the ids in the path."""

    endpoint: Endpoint
    ids: Mapping[str, str]


def public_site(web: WebContext) -> ASGIApp:
    """Return the ASGI application of the public port."""
    bounded = RequestBounds(_Pages(web), refuse=partial(_refuse_excess, web), https=web.https)
    return SecurityHeaders(PlainPaths(bounded), https=web.https)


class _Pages:
    """Answers each request by its path. A path has one spelling, and no address is built from Host."""

    def __init__(self, web: WebContext) -> None:
        self._web = web

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the endpoint of the path, or refuse (ASGI)."""
        try:
            response = await self._respond(Request(scope))
        except Exception as defect:  # noqa: BLE001 - while an error was shown
            _log.error("defect", exc_info=defect)
            response = PlainTextResponse("Service Unavailable", 503)
        await response(scope, receive, send)

    async def _respond(self, request: Request) -> Response:
        route = find_route(request.scope["path"])
        if route is None or route.endpoint is not callback:
            try:
                await self._web.broker.wait_behind_callbacks()
            except Overloaded as overloaded:
                return _refuse(self._web, request, overloaded, _new_context(self._web, request.scope))
        if route is None or request.method not in _METHODS:
            return _refuse_without_route(self._web, request, route)
        request.scope["path_params"] = route.ids
        return await handle(route.endpoint, self._web, request)


def find_route(path: str) -> Route | None:
    """Return the route of a path as sent; None if there is none."""
    endpoint = _PAGES.get(path)
    if endpoint is not None:
        return Route(endpoint, {})
    parent, _, identifier = path.rpartition("/")
    if not identifier or parent not in _PAGES_BY_ID:
        return None
    endpoint, parameter = _PAGES_BY_ID[parent]
    return Route(endpoint, {parameter: identifier})


async def handle(endpoint: Endpoint, web: WebContext, request: Request) -> Response:
    """Run an endpoint, and return the page of the error that it raises."""
    context = _new_context(web, request.scope)
    try:
        return await endpoint(web, request, context)
    except Refused as refused:
        return _refuse(web, request, refused.error, refused.context)
    except Exception as error:  # noqa: BLE001 - a person never sees a bare 500
        return _refuse(web, request, error, context)


async def home(web: WebContext, request: Request, _context: RequestContext) -> Response:
    """Show what this service is (`GET /`)."""
    pages = web.pages_for(request.scope)
    return show_page(pages, pages.home())


async def setup(name: str, web: WebContext, request: Request, context: RequestContext) -> Response:
    """Run an endpoint of `web.setup`, which is loaded when an admin first opens a setup page with a valid link.

    Args:
        name: of the endpoint's function.
    """
    link = check_visit(web, request)
    await web.setup.pages()
    from broker.web import setup as endpoints

    endpoint: SetupEndpoint = getattr(endpoints, name)
    return await endpoint(web, request, context, link)


_PAGES: Mapping[str, Endpoint] = {
    "/": home,
    "/login": login,
    "/logout": logout,
    "/setup": partial(setup, "setup"),
    "/setup/check": partial(setup, "setup_check"),
}
_PAGES_BY_ID: Mapping[str, tuple[Endpoint, str]] = {  # below the path, with the parameter that holds the id
    "/login": (login, "site"),
    "/callback": (callback, "idp"),
    "/initiate": (initiate, "idp"),
    "/logout": (logout, "site"),
    "/setup/commands": (partial(setup, "setup_commands"), "idp"),
    "/setup/test": (partial(setup, "setup_test"), "idp"),
}


def _refuse_without_route(web: WebContext, request: Request, route: Route | None) -> Response:
    """Refuse every other address and every other method, without side effects."""
    if route is None:
        error: BrokerError = NoSuchPage(expected="an address of the broker", got=redact_path(request.scope["path"]))
    else:
        error = _error_of_method(request.scope)
    return _refuse(web, request, error, _new_context(web, request.scope))


def _new_context(web: WebContext, scope: Scope) -> RequestContext:
    first = scope["path"].removeprefix("/").partition("/")[0]
    # Browsers sign in by GET; a provider set to form_post uses POST. Scanners and health checks send the rest.
    is_signin = first in _SIGN_IN and scope["method"] == "GET"
    return RequestContext(
        trace_id=continued_trace_id(scope["headers"]) or secrets.token_hex(TRACE_ID_BYTES),
        client=web.client_addresses.address_of(scope),
        is_signin=is_signin or _is_posted_answer(scope),
    )


def _refuse(web: WebContext, request: Request, error: Exception, context: RequestContext) -> Response:
    """Record an error and return its page."""
    if not isinstance(error, BrokerError):
        _log.error("defect", exc_info=error, extra={"facts": {"trace_id": context.trace_id}})
        error = InternalError()
    if request.scope["path"].startswith("/callback/"):
        for name in ("code", "state"):
            error.redact(request.query_params.getlist(name)[:MAX_SECRETS])
    web.record(context.event(error))
    return show_problem(web, request.scope, error, context)


async def _refuse_excess(web: WebContext, scope: Scope, receive: Receive, send: Send, excess: Excess) -> None:
    """Refuse a request beyond the bounds without reading the rest."""
    context = _new_context(web, scope)
    error: BrokerError = RequestTooLarge(expected=excess.expected, got=excess.got)
    status = excess.status
    if status == 413 and _is_posted_answer(scope):
        error = _error_of_method(scope)
        status = error.status
    web.record(context.event(error))
    await show_problem(web, scope, error, context, status=status)(scope, receive, send)


def _is_posted_answer(scope: Scope) -> bool:
    """Return whether a provider posts its answer (OAuth 2.0 Form Post Response Mode); the answer is never read."""
    return bool(scope["method"] == "POST" and scope["path"].startswith("/callback/"))


def _error_of_method(scope: Scope) -> BrokerError:
    if _is_posted_answer(scope):
        return ResponseModeUnsupported(expected="a GET", got="a POST")
    return MethodNotAllowed(expected="GET", got=scope["method"])
