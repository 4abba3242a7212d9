"""What every address has in common, and the addresses that are only a page.

An endpoint is Request in, Response out, no rule inside: `login`, `callback` and `logout` have a file each. Errors are
rendered in `problems`, for all of them alike.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Scope

from broker.errors import BrokerError, InternalError, MethodNotAllowed, NoSuchPage, ResponseModeUnsupported
from broker.text import redact_path
from broker.web.context import WebContext
from broker.web.cookies import delete_cookie
from broker.web.problems import RequestContext, render_problem

Endpoint = Callable[[WebContext, Request, RequestContext], Awaitable[Response]]


_SIGN_IN = ("login", "callback", "initiate", "logout")

_log = logging.getLogger("broker")


def begin_attempt(web: WebContext, scope: Scope) -> RequestContext:
    """Return what is known of a request before anything is read from it.

    Args:
        web: what all endpoints share.
        scope: of the request.
    """
    first = scope["path"].removeprefix("/").partition("/")[0]
    # Browsers sign in by GET; a provider set to form_post sends them by POST. The rest is scanners and health checks.
    is_signin = first in _SIGN_IN and scope["method"] == "GET"
    return RequestContext(
        secrets.token_hex(8),
        web.client_address(scope),
        web.pages_for(scope),
        is_signin=is_signin or is_posted_answer(scope),
    )


def is_posted_answer(scope: Scope) -> bool:
    """Whether a provider posts its answer (OAuth 2.0 Form Post Response Mode), which is never read.

    Args:
        scope: of the request.
    """
    return bool(scope["method"] == "POST" and scope["path"].startswith("/callback/"))


def refuse_method(scope: Scope) -> BrokerError:
    """Return the error for a method that no address takes.

    Args:
        scope: of the request.
    """
    if is_posted_answer(scope):
        return ResponseModeUnsupported(expected="a GET", got="a POST")
    return MethodNotAllowed(expected="GET", got=scope["method"])


async def answer(endpoint: Endpoint, web: WebContext, request: Request) -> Response:
    """Run an endpoint; whatever goes wrong ends in a page, a log line and a counted reason.

    Args:
        endpoint: one of the functions of this floor.
        web: what all endpoints share.
        request: the browser's.
    """
    attempt = begin_attempt(web, request.scope)
    try:
        response = await endpoint(web, request, attempt)
    except BrokerError as error:
        _record(web, attempt, error)
        response = render_problem(error, attempt)
    except Exception as defect:  # noqa: BLE001 - the last net: a person never sees a bare 500
        _log.error("defect", exc_info=defect, extra={"facts": {"trace_id": attempt.trace_id}})
        unexpected = InternalError()
        _record(web, attempt, unexpected)
        response = render_problem(unexpected, attempt)
    for name in attempt.drop_cookies:
        response.headers.append("Set-Cookie", delete_cookie(name, https=web.https))
    return response


def _record(web: WebContext, attempt: RequestContext, error: BrokerError) -> None:
    record = web.record_dry_run if attempt.is_dry_run else web.record
    record(attempt.event(error))


async def home(_web: WebContext, _request: Request, attempt: RequestContext) -> Response:
    """`GET /`: what this is, and nothing secret."""
    return attempt.show(attempt.pages.home())


async def no_such_page(_web: WebContext, request: Request, _attempt: RequestContext) -> Response:
    """Every other address."""
    raise NoSuchPage(expected="an address of ours", got=redact_path(request.scope["path"]))


async def method_not_allowed(_web: WebContext, request: Request, _attempt: RequestContext) -> Response:
    """Every other method: nothing is started, nothing consumed."""
    raise refuse_method(request.scope)
