"""Completes sign-ins at the redirect URI, where the provider sends the browser back."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace

from starlette.requests import Request
from starlette.responses import Response

from broker.errors import StateInvalid, StateMissing
from broker.logout import COOKIE_NAME, LIFETIME, encrypt_logout_hint
from broker.oidc.messages import safe_error_text
from broker.signin import SignedIn, complete
from broker.transaction import BrowserCookie, OpenedDryRun, OpenedState, open_any
from broker.web.context import Refused, RequestContext, Restart, WebContext
from broker.web.request import (
    check_navigation,
    given,
    parameter_names,
    provider_of,
    read_unverified_parameters,
    read_values,
    single,
)
from broker.web.responses import drop_cookies, see_other, set_cookie

MAX_STATES = 5  # that are opened, to delete their cookies; a valid callback has a single state


async def callback(web: WebContext, request: Request, context: RequestContext) -> Response:
    """Complete a sign-in and redirect to Comm100, or report a test sign-in (`GET /callback/{idp}`)."""
    check_navigation(request)
    states = given(request, "state")
    opened = _open_states(web, states)
    if len(states) == 1 and opened and isinstance(opened[0], OpenedDryRun):
        await web.setup.pages()  # loads the test sign-in, if nobody opened a setup page in this process
        from broker.web.setup import finish_dry_run

        return await finish_dry_run(web, request, context, opened[0])
    provider = provider_of(request, web.broker.providers)
    # Each sign-in named here is over: its cookie is deleted.
    cookie_names = tuple(state.cookie_name for state in opened)
    context = replace(context, provider=provider.id, restart=Restart(), used_cookies=cookie_names)
    try:
        state = _choose_state(request, states, opened)
        names = frozenset({state.cookie_name, COOKIE_NAME})
        cookies = read_values(request.scope["headers"], names, https=web.https)
        cookie_value = cookies.get(state.cookie_name)
        context = replace(
            context,
            trace_id=state.trace_id or context.trace_id,
            site=state.site if state.site in web.broker.sites else "",
            restart=_restart_of(web, request, state, cookie_value),
        )
        signed_in = await complete(
            web.broker,
            provider,
            opened=state,
            cookie_value=cookie_value,
            unverified_parameters=read_unverified_parameters(request),
            origins=web.client_addresses.origins_of(request.scope, context.client),
        )
        web.record(context.event(None, signed_in.identity))
        return drop_cookies(web, _deliver(web, signed_in, has_older=COOKIE_NAME in cookies), cookie_names)
    except Exception as error:
        raise Refused(error, context) from error


def _open_states(web: WebContext, unverified_states: Sequence[str]) -> list[OpenedState | OpenedDryRun]:
    """Return the states that the broker signed."""
    secret_keys = web.broker.secret_keys()
    opened: list[OpenedState | OpenedDryRun] = []
    for state in unverified_states[:MAX_STATES]:
        with suppress(StateInvalid):
            opened.append(open_any(state, secret_keys=secret_keys))
    return opened


def _choose_state(
    request: Request, unverified_states: Sequence[str], opened: Sequence[OpenedState | OpenedDryRun]
) -> OpenedState:
    if not unverified_states:
        raise StateMissing(expected="state", got=_describe_query(request))
    sign_ins = [state for state in opened if isinstance(state, OpenedState)]
    if not sign_ins:
        got = f"{len(unverified_states)} that none of them signed"
        raise StateInvalid(expected="a state signed by one of secret_keys", got=got)
    single(request, "state")
    return sign_ins[0]


def _describe_query(request: Request) -> str:
    """Return the provider's refusal in a callback without state, or else the names of its parameters."""
    error = request.query_params.get("error")
    if error is not None:
        return safe_error_text(error, request.query_params.get("error_description", ""))
    came = parameter_names(request.scope["query_string"].decode("latin-1"))
    return f"only {', '.join(came)}" if came else "an address without parameters"


def _restart_of(web: WebContext, request: Request, state: OpenedState, cookie_value: str | None) -> Restart:
    """Return how to start the same sign-in again: without a click, unless this sign-in is itself a restart."""
    site = web.broker.sites.get(state.site)
    if site is None:
        return Restart(automatic=not state.restarted)
    redirect_url = state.redirect_url(cookie_value)
    page_lost = state.overflow_hash is not None and redirect_url is None
    address = site.start_url if page_lost else None  # from there, Comm100 sends a redirect_url again
    # start_url may lead back here without the mark of a restart: a browser that keeps no cookies would loop.
    may_loop = address is not None and "cookie" not in request.headers
    return Restart(
        site=site.id,
        provider=state.provider if state.provider in site.provider_ids else None,
        redirect_url=redirect_url,
        address=address,
        automatic=not (state.restarted or may_loop),
        page_lost=page_lost,
    )


def _deliver(web: WebContext, signed_in: SignedIn, *, has_older: bool) -> Response:
    """Redirect to Comm100 with the token, and set the cookie for signing out at the provider.

    Args:
        has_older: the browser has such a cookie, of an earlier sign-in.
    """
    response = see_other(signed_in.location)
    if signed_in.logout_hint is None:
        return drop_cookies(web, response, [COOKIE_NAME] if has_older else [])
    value = encrypt_logout_hint(signed_in.logout_hint, now=web.broker.clock(), secret_keys=web.broker.secret_keys())
    cookie = BrowserCookie(COOKIE_NAME, value)
    response.headers.append("Set-Cookie", set_cookie(cookie, https=web.https, max_age=LIFETIME))
    return response
