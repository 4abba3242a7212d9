"""Builds responses: pages, redirects, cookies, and the page for an error.

A page shows the same code and trace id as the log. No response reflects content of a request.
"""

from __future__ import annotations

from collections.abc import Iterable

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.types import Scope

from broker.errors import (
    AccessDenied,
    AuthenticationTooWeak,
    BrokerError,
    CodeRejected,
    CookieMissing,
    NotAdmitted,
    TransactionExpired,
    TransactionSpent,
)
from broker.signin import AuthorizationRedirect
from broker.transaction import LIFETIME, BrowserCookie, surplus
from broker.web.context import RequestContext, Restart, WebContext
from broker.web.middleware import build_content_security_policy
from broker.web.pages import Pages
from broker.web.request import prefix, read_cookies

RETRY_AFTER = 10  # seconds, if the provider sent no Retry-After
RESTART_DELAY = 1  # seconds to see that the page changes
RESTART_DELAY_PAGE_LOST = 10  # seconds to read that the wanted page is lost, too

# A sign-in that came back too late, twice or without its cookie can start again. So can a sign-in whose code the
# provider refuses: another replica may have redeemed the code and ended before it answered.
_RESTARTABLE = (TransactionExpired, TransactionSpent, CookieMissing, CodeRejected, AuthenticationTooWeak)
# The provider would sign in the same account again at once, so the link asks for another account.
_WRONG_ACCOUNT = (NotAdmitted, AccessDenied)


def show_page(pages: Pages, page: str, status: int = 200, *, may_be_framed: bool = False) -> Response:
    """Return a response with a page and its language (RFC 9110, sections 8.5 and 12.5.5)."""
    policy = build_content_security_policy(style_sha256=pages.style_sha256, may_be_framed=may_be_framed)
    headers = {
        "Content-Language": pages.language,
        "Content-Security-Policy": policy,
        "Vary": "Accept-Language",
    }
    return HTMLResponse(page, status, headers)


def see_other(location: str, cookies: Iterable[str] = ()) -> Response:
    """Return a 303, so that a browser never sends a body to `location`, which is not encoded again.

    Args:
        cookies: values of Set-Cookie.
    """
    response = Response(status_code=303, headers={"Location": location})
    response.raw_headers += [(b"set-cookie", cookie.encode("latin-1")) for cookie in cookies]
    return response


def redirect_to_provider(web: WebContext, request: Request, redirect: AuthorizationRedirect) -> Response:
    """Redirect to the provider and set the cookie of this sign-in; delete old cookies that leave no room for it."""
    https, cookie = web.https, redirect.cookie
    under_way = read_cookies(request.scope["headers"], https=https)
    old = surplus(list(under_way.values()), cookie) if under_way else ()
    cookies = [set_cookie(cookie, https=https, max_age=cookie.lifetime)]
    return see_other(redirect.location, cookies + [delete_cookie(one.name, https=https) for one in old])


def set_cookie(cookie: BrowserCookie, *, https: bool, max_age: int = LIFETIME) -> str:
    """Return the Set-Cookie value that sets a cookie for `max_age` seconds."""
    return f"{prefix(https=https)}{cookie.name}={cookie.value}; Max-Age={max_age}; {_attributes(https=https)}"


def delete_cookie(name: str, *, https: bool) -> str:
    """Return the Set-Cookie value that deletes a cookie."""
    return f"{prefix(https=https)}{name}=; Max-Age=0; {_attributes(https=https)}"


def drop_cookies(web: WebContext, response: Response, names: Iterable[str]) -> Response:
    """Delete cookies from the browser, and return the response."""
    for name in names:
        response.headers.append("Set-Cookie", delete_cookie(name, https=web.https))
    return response


def show_problem(
    web: WebContext, scope: Scope, error: BrokerError, context: RequestContext, *, status: int | None = None
) -> Response:
    """Return the page for an error.

    Args:
        status: None for the error's own status.
    """
    pages, restart = web.pages_for(scope), context.restart
    is_too_weak = isinstance(error, AuthenticationTooWeak)
    start_again = _start_again(web, restart, credentials_again=is_too_weak)
    is_wrong_account = isinstance(error, _WRONG_ACCOUNT) and not is_too_weak
    restarts = restart is not None and restart.automatic and isinstance(error, _RESTARTABLE)
    page_lost = restart is not None and restart.page_lost
    page = pages.problem(
        error,
        trace_id=context.trace_id,
        start_again=start_again,
        use_another_account=_use_another_account(web, restart) if is_wrong_account else None,
        refreshes=restarts,
        page_lost=page_lost,
    )
    response = show_page(pages, page, status or error.status)
    if restarts:
        response.headers["Refresh"] = f"{RESTART_DELAY_PAGE_LOST if page_lost else RESTART_DELAY};url={start_again}"
    if error.status == 405:
        response.headers["Allow"] = "GET"
    if error.retry_after is not None:
        response.headers["Retry-After"] = str(error.retry_after)
    elif error.status == 503:
        response.headers["Retry-After"] = str(RETRY_AFTER)
    return drop_cookies(web, response, context.used_cookies)


def _attributes(*, https: bool) -> str:
    return f"Path=/; HttpOnly; SameSite=Lax{'; Secure' if https else ''}"


def _start_again(web: WebContext, restart: Restart | None, *, credentials_again: bool) -> str | None:
    if restart is None:
        return None
    if restart.address is not None:
        return restart.address
    if not restart.site:
        return web.login_url()
    return web.login_url(
        restart.site,
        idp=restart.provider,
        redirect_url=restart.redirect_url,
        restarted="1" if restart.automatic else None,
        credentials_again="1" if credentials_again else None,
    )


def _use_another_account(web: WebContext, restart: Restart | None) -> str | None:
    if restart is None or not restart.site:
        return None
    return web.login_url(restart.site, idp=restart.provider, redirect_url=restart.redirect_url, another_account="1")
