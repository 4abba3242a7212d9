"""Where the provider sends the browser back: the redirect URI."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from starlette.requests import Request
from starlette.responses import Response

from broker.errors import (
    AccessDenied,
    BrokerError,
    CookieMissing,
    NotAdmitted,
    StateInvalid,
    StateMissing,
    TransactionExpired,
    TransactionSpent,
)
from broker.oidc.messages import safe_error_text
from broker.providers import Provider
from broker.remembrance import COOKIE_NAME, LIFETIME, encrypt_remembrance
from broker.signin import SignedIn, complete
from broker.transaction import BrowserCookie, OpenedDryRun, OpenedState, open_any
from broker.web.context import WebContext
from broker.web.cookies import read_cookie, read_cookies, set_cookie
from broker.web.last_login_request import names
from broker.web.problems import RequestContext
from broker.web.reading import check_navigation, each_once, given, once, provider_of
from broker.web.setup import conclude

MAX_STATES = 5  # looked at where one is allowed

# A sign-in that came back too late, twice or without its cookie can simply be started again.
_RESTARTABLE = (TransactionExpired, TransactionSpent, CookieMissing)
# The provider would let the same account in again at once: another one has to be asked for.
_WRONG_ACCOUNT = (NotAdmitted, AccessDenied)


async def callback(web: WebContext, request: Request, attempt: RequestContext) -> Response:
    """`GET /callback/{idp}`: the redirect URI; ends at Comm100, or, if it was a test sign-in, with a report."""
    check_navigation(request)
    try:
        dry_run = _open_dry_run(web, request)
        if dry_run is not None:
            return await conclude(web, request, attempt, dry_run)
        provider = provider_of(web, request, attempt)
        attempt.start_again = web.login_url()
        signed_in = await _complete(web, request, attempt, provider)
    except BrokerError as error:
        error.redact(request.query_params.getlist("code") + request.query_params.getlist("state"))
        raise
    web.record(attempt.event(None, signed_in.identity))
    return _arrive(web, request, attempt, signed_in)


def _open_dry_run(web: WebContext, request: Request) -> OpenedDryRun | None:
    """Return the state of a test sign-in, if it is one; whatever else came is judged as a sign-in's answer."""
    states = given(request, "state")
    with suppress(StateInvalid):
        opened = open_any(states[0], secret_keys=web.broker.secret_keys()) if len(states) == 1 else None
        return opened if isinstance(opened, OpenedDryRun) else None
    return None


async def _complete(web: WebContext, request: Request, attempt: RequestContext, provider: Provider) -> SignedIn:
    opened = _open_state(web, request, attempt)
    attempt.trace_id = opened.trace_id or attempt.trace_id
    cookie = read_cookies(request.headers.raw, https=web.https).get(opened.cookie_name)
    cookie_value = cookie.value if cookie else None
    again = _prepare_restart(web, attempt, opened, cookie_value)
    try:
        return await complete(
            web.broker,
            provider,
            opened=opened,
            cookie_value=cookie_value,
            parameters=each_once(request),
            origins=web.origins.of(request.scope, attempt.client),
        )
    except _RESTARTABLE:
        # start_url may lead back here by itself, without the flag: a browser that keeps no cookies would loop.
        may_loop = attempt.start_again != again("restarted") and "cookie" not in request.headers
        attempt.restarts = not opened.restarted and not may_loop
        raise
    except _WRONG_ACCOUNT:
        attempt.use_another_account = again("another_account")
        raise


def _open_state(web: WebContext, request: Request, attempt: RequestContext) -> OpenedState:
    """Open the state before anything else is judged; every sign-in named here has had its one answer."""
    states = given(request, "state")
    if not states:
        raise StateMissing(expected="state", got=_what_came_instead(request))
    opened: list[OpenedState] = []
    for state in states[:MAX_STATES]:
        with suppress(StateInvalid):
            one = open_any(state, secret_keys=web.broker.secret_keys())
            attempt.drop_cookies.append(one.cookie_name)
            opened += [one] if isinstance(one, OpenedState) else []
    if not opened:
        raise StateInvalid(
            expected="a state signed by one of secret_keys", got=f"{len(states)} that none of them signed"
        )
    once(request, "state")
    return opened[0]


def _what_came_instead(request: Request) -> str:
    """Say what a callback without state has: the provider's own words, where it refuses, are what an admin needs."""
    error = request.query_params.get("error")
    if error is not None:
        return safe_error_text(error, request.query_params.get("error_description", ""))
    came = names(request.scope["query_string"].decode("latin-1"))
    return f"only {', '.join(came)}" if came else "an address without parameters"


def _arrive(web: WebContext, request: Request, attempt: RequestContext, signed_in: SignedIn) -> Response:
    response = web.see_other(signed_in.location)
    if signed_in.remembrance is None:
        if read_cookie(request.headers.raw, COOKIE_NAME, https=web.https) is not None:
            attempt.drop_cookies.append(COOKIE_NAME)  # of an earlier sign-in, at a provider that can end it
        return response
    value = encrypt_remembrance(signed_in.remembrance, now=web.broker.clock(), secret_keys=web.broker.secret_keys())
    cookie = BrowserCookie(COOKIE_NAME, value)
    response.headers.append("Set-Cookie", set_cookie(cookie, https=web.https, max_age=LIFETIME))
    return response


def _prepare_restart(
    web: WebContext, attempt: RequestContext, opened: OpenedState, cookie_value: str | None
) -> Callable[..., str]:
    """Return what names the address of the same sign-in anew; the flag `restarted` keeps it from looping."""
    site = web.broker.sites.get(opened.site)
    if site is None:
        return lambda *_: web.login_url()
    attempt.site = site.id
    provider = opened.provider if opened.provider in site.provider_ids else None
    redirect_url = opened.redirect_url(cookie_value)
    attempt.page_lost = opened.overflow_hash is not None and redirect_url is None

    def again(*flags: str) -> str:
        return web.login_url(site.id, idp=provider, redirect_url=redirect_url, **dict.fromkeys(flags, "1"))

    attempt.start_again = again() if opened.restarted else again("restarted")
    if attempt.page_lost and site.start_url is not None:
        attempt.start_again = site.start_url  # from there, Comm100 names a page again
    return again
