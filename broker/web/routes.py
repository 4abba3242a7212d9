"""Routes the requests of the public port, and turns each error into a page, a log line and a metric."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Awaitable, Callable
from functools import partial

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from broker.errors import (
    BrokerError,
    InternalError,
    MethodNotAllowed,
    NoSuchPage,
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
from broker.web.responses import show_page, show_problem
from broker.web.setup_link import check_visit

Endpoint = Callable[[WebContext, Request, RequestContext], Awaitable[Response]]
"""Returns the response; raises `Refused`, or a `BrokerError` while nothing is known of the request."""

SetupEndpoint = Callable[[WebContext, Request, RequestContext, SetupLink], Awaitable[Response]]

MAX_SECRETS = 5  # codes, and states, of one request that are redacted; more than one of each is refused
_SIGN_IN = ("login", "callback", "initiate", "logout")

_log = logging.getLogger("broker")


def public_site(web: WebContext) -> ASGIApp:
    """Return the ASGI application of the public port."""

    def page(endpoint: Endpoint) -> Callable[[Request], Awaitable[Response]]:
        return partial(handle, endpoint, web)

    no_route = partial(_refuse_without_route, web)
    application = Starlette(
        routes=[
            Route("/", page(home)),
            Route("/login", page(login)),
            Route("/login/{site}", page(login)),
            Route("/callback/{idp}", page(callback)),
            Route("/initiate/{idp}", page(initiate)),
            Route("/setup", page(partial(setup, "setup"))),
            Route("/setup/check", page(partial(setup, "setup_check"))),
            Route("/setup/commands/{idp}", page(partial(setup, "setup_commands"))),
            Route("/setup/test/{idp}", page(partial(setup, "setup_test"))),
            Route("/logout", page(logout)),
            Route("/logout/{site}", page(logout)),
        ],
        exception_handlers={404: no_route, 405: no_route},
    )
    application.router.redirect_slashes = False  # it would build an address from Host
    bounded = RequestBounds(application, refuse=partial(_refuse_excess, web), https=web.https)
    return SecurityHeaders(PlainPaths(bounded), https=web.https)


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


async def _refuse_without_route(web: WebContext, request: Request, reason: Exception) -> Response:
    """Refuse every other address and every other method, without side effects."""
    error = _error_of_method(request.scope)
    if isinstance(reason, HTTPException) and reason.status_code == 404:
        error = NoSuchPage(expected="an address of the broker", got=redact_path(request.scope["path"]))
    return _refuse(web, request, error, _new_context(web, request.scope))


def _new_context(web: WebContext, scope: Scope) -> RequestContext:
    first = scope["path"].removeprefix("/").partition("/")[0]
    # Browsers sign in by GET; a provider set to form_post uses POST. Scanners and health checks send the rest.
    is_signin = first in _SIGN_IN and scope["method"] == "GET"
    return RequestContext(
        trace_id=secrets.token_hex(8),
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
