"""How a browser is sent to a provider: the redirect, and the cookie it takes along."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from broker.signin import AuthorizationRedirect
from broker.transaction import surplus
from broker.web.context import WebContext
from broker.web.cookies import read_cookies, set_cookie
from broker.web.problems import RequestContext


def redirect_to_provider(
    web: WebContext, request: Request, attempt: RequestContext, redirect: AuthorizationRedirect
) -> Response:
    """Return the answer that sends the browser to the provider.

    Args:
        web: what all endpoints share.
        request: the browser's, with the cookies of other sign-ins under way.
        attempt: is told which of them have to go.
        redirect: where to, and the cookie.
    """
    under_way = read_cookies(request.headers.raw, https=web.https)
    attempt.drop_cookies += [cookie.name for cookie in surplus(list(under_way.values()), redirect.cookie)]
    response = web.see_other(redirect.location)
    response.headers.append(
        "Set-Cookie", set_cookie(redirect.cookie, https=web.https, max_age=redirect.cookie.lifetime)
    )
    return response
