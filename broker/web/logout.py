"""Signs out: deletes the broker's cookies, and redirects to the provider's sign-out if there is one."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import replace

from starlette.requests import Request
from starlette.responses import Response

from broker.comm100 import Site
from broker.errors import BrokerError
from broker.logout import COOKIE_NAME, build_end_session_url, decrypt_logout_hint
from broker.signing import encode_base64url, sign_value, unsign_value
from broker.web.context import Refused, RequestContext, Restart, WebContext
from broker.web.request import check_navigation, read_cookie, read_cookies, single, site_of
from broker.web.responses import drop_cookies, see_other, show_page

STATE_LIFETIME = 600  # seconds from /logout to the provider and back

_PURPOSE = b"broker logout state 2"


async def logout(web: WebContext, request: Request, context: RequestContext) -> Response:
    """Sign out (`GET /logout[/{site}]`, Comm100's Remote Logout URL), or answer a browser back from the provider."""
    check_navigation(request)
    site = site_of(request, web.broker.sites)
    remembered = read_cookie(request.headers.raw, COOKIE_NAME, https=web.https)
    used_cookies = [*read_cookies(request.headers.raw, https=web.https), *([COOKIE_NAME] if remembered else [])]
    context = replace(
        context,
        site=site.id,
        restart=Restart(address=site.start_url) if site.start_url else None,
        used_cookies=tuple(used_cookies),
    )
    try:
        response = await _sign_out(web, request, site, remembered)
    except Exception as error:
        raise Refused(error, context) from error
    return drop_cookies(web, response, used_cookies)


async def _sign_out(web: WebContext, request: Request, site: Site, remembered: str | None) -> Response:
    pages = web.pages_for(request.scope)
    back_from = _site_of_state(web, single(request, "state"), remembered)
    if back_from is not None:  # back from the provider: do not redirect there again
        return show_page(pages, pages.signed_out(back_from.start_url))
    elsewhere = await _end_session_url(web, remembered, site)
    return see_other(elsewhere) if elsewhere else show_page(pages, pages.signed_out(site.start_url))


async def _end_session_url(web: WebContext, remembered: str | None, site: Site) -> str | None:
    """Return the provider's address for signing out; None without a sign-in there or without such an address."""
    keys = web.broker.secret_keys()
    hint = decrypt_logout_hint(remembered or "", now=web.broker.clock(), secret_keys=keys)
    provider = web.broker.providers.get(hint.provider) if hint else None
    if hint is None or provider is None:
        return None
    try:
        metadata = await provider.discovery.metadata.get()
    except BrokerError:
        return None  # the provider is down: show the broker's own page
    hints = hint.id_token or hint.logout_hint
    if metadata.end_session_endpoint is None or (provider.kind.end_session_needs_hint and not hints):
        return None
    return build_end_session_url(
        metadata.end_session_endpoint,
        client_id=provider.registration.client_id,
        post_logout_redirect_uri=f"{web.public_url}/logout",
        state=sign_value([site.id, int(web.broker.clock()), _hash(remembered or "")], purpose=_PURPOSE, key=keys[0]),
        id_token_hint=hint.id_token,
        logout_hint=hint.logout_hint,
    )


def _site_of_state(web: WebContext, state: str | None, remembered: str | None) -> Site | None:
    """Return the site in the state, if this browser's sign-out made the state; None starts a sign-out.

    The state of another browser does not count: the page would say that the person is signed out, but at the provider
    the person would still be signed in.

    Args:
        state: unverified.
        remembered: the cookie that the sign-out deleted; a browser that still sends the cookie sends the same value.
    """
    unsigned = unsign_value(state or "", purpose=_PURPOSE, secret_keys=web.broker.secret_keys())
    if unsigned is None:
        return None
    (site_id, signed_at, remembered_hash), _ = unsigned
    if remembered is not None and not hmac.compare_digest(_hash(remembered), remembered_hash):
        return None
    return web.broker.sites.get(site_id) if web.broker.clock() - signed_at <= STATE_LIFETIME else None


def _hash(cookie_value: str) -> str:
    """Return a hash of 128 bits: short in an address, and long enough to tell cookies apart."""
    return encode_base64url(hashlib.sha256(cookie_value.encode()).digest()[:16])
