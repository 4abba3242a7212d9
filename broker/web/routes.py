"""The public site on one screen."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from broker.errors import BrokerError, RequestTooLarge
from broker.web import endpoints
from broker.web.callback import callback
from broker.web.context import WebContext
from broker.web.headers import Excess, RequestBounds, SecurityHeaders
from broker.web.languages import ENGLISH
from broker.web.login import initiate, login
from broker.web.logout import logout
from broker.web.paths import PlainPaths
from broker.web.problems import render_problem
from broker.web.setup import setup, setup_check, setup_commands, setup_test


def public_site(web: WebContext) -> ASGIApp:
    """Return the ASGI application of the public port.

    Args:
        web: what all endpoints share.
    """

    def page(endpoint: endpoints.Endpoint) -> Callable[[Request], Awaitable[Response]]:
        return partial(endpoints.answer, endpoint, web)

    def instead(endpoint: endpoints.Endpoint) -> Callable[[Request, Exception], Awaitable[Response]]:
        async def answer(request: Request, _: Exception) -> Response:  # no lambda: those run in a thread
            return await endpoints.answer(endpoint, web, request)

        return answer

    application = Starlette(
        routes=[
            Route("/", page(endpoints.home)),
            Route("/login", page(login)),
            Route("/login/{site}", page(login)),
            Route("/callback/{idp}", page(callback)),
            Route("/initiate/{idp}", page(initiate)),
            Route("/setup", page(setup)),
            Route("/setup/check", page(setup_check)),
            Route("/setup/commands/{idp}", page(setup_commands)),
            Route("/setup/test/{idp}", page(setup_test)),
            Route("/logout", page(logout)),
            Route("/logout/{site}", page(logout)),
        ],
        exception_handlers={
            404: instead(endpoints.no_such_page),
            405: instead(endpoints.method_not_allowed),
        },
    )
    application.router.redirect_slashes = False  # a redirect nobody asked for, to an address built from Host
    return SecurityHeaders(
        PlainPaths(RequestBounds(application, refuse=partial(_refuse, web), https=web.https)),
        style_sha256=web.pages[ENGLISH].style_sha256,
        https=web.https,
        setup_style_sha256=web.setup.pages.style_sha256,
        setup_script_sha256=web.setup.pages.script_sha256,
    )


async def _refuse(web: WebContext, scope: Scope, receive: Receive, send: Send, excess: Excess) -> None:
    """Answer a request beyond the bounds, without reading any more of it."""
    attempt = endpoints.begin_attempt(web, scope)
    error: BrokerError = RequestTooLarge(expected=excess.expected, got=excess.got)
    status = excess.status
    if status == 413 and endpoints.is_posted_answer(scope):
        error = endpoints.refuse_method(scope)
        status = error.status
    web.record(attempt.event(error))
    await render_problem(error, attempt, status=status)(scope, receive, send)
