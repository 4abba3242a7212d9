"""Begins sign-ins at Comm100's Remote Login URL, and for a provider's portal."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import Response

from broker.comm100 import CheckedRedirectUrl, Site, check_redirect_url
from broker.errors import BrokerError, EmailMalformed, InitiationRefused, NoSuchPage, RedirectUrlRefused, SiteNotOffered
from broker.identity import check_email
from broker.log import write_event
from broker.providers import Provider
from broker.signin import begin
from broker.text import redact_path
from broker.transaction import BrowserCookie, SignInTransaction
from broker.web.context import Refused, RequestContext, Restart, WebContext
from broker.web.pages import Choice
from broker.web.request import (
    LAST_PROVIDER_COOKIE,
    LastLoginRequest,
    check_navigation,
    given,
    is_framed,
    listed,
    provider_of,
    read_cookie,
    read_login_request,
    single,
    site_of,
)
from broker.web.responses import redirect_to_provider, set_cookie, show_page

LAST_PROVIDER_LIFETIME = 180 * 86400  # seconds


async def login(web: WebContext, request: Request, context: RequestContext) -> Response:
    """Begin a sign-in and redirect to the provider (`GET /login[/{site}]`, Comm100's Remote Login URL)."""
    check_navigation(request)
    site = site_of(request, web.broker.sites)
    try:
        redirect_url, came = _redirect_url(web, request, site)
        chosen = single(request, "idp")
    except Exception as error:
        restart = Restart(address=site.start_url) if site.start_url else None
        raise Refused(error, replace(context, site=site.id, restart=restart)) from error
    offered = chosen if chosen in site.provider_ids else None
    context = replace(context, site=site.id, restart=Restart(site.id, offered, redirect_url))
    try:
        if is_framed(request):
            hinted = _provider_of_domain(web, site, given(request, "login_hint"))
            idp = offered or (hinted.id if hinted else None)
            another = "1" if single(request, "another_account") else None
            href = web.login_url(site.id, idp=idp, redirect_url=redirect_url, another_account=another)
            return _offer_new_tab(web, request, href)
        provider = _provider_for(web, site, chosen, given(request, "login_hint"))
        if provider is None:
            return _offer_choice(web, request, site, redirect_url)
        context = replace(context, provider=provider.id)
        hints = _prompt_hint(provider, request)
        restarted = single(request, "restarted") is not None
        transaction = SignInTransaction(site.id, provider.id, redirect_url, restarted, context.trace_id)
        redirect = await begin(web.broker, provider, transaction, hints=hints)
        _log_what_came(context, came, redirect_url)
        response = redirect_to_provider(web, request, redirect)
    except Exception as error:
        raise Refused(error, context) from error
    if chosen is not None:
        cookie = BrowserCookie(LAST_PROVIDER_COOKIE, provider.id)
        response.headers.append("Set-Cookie", set_cookie(cookie, https=web.https, max_age=LAST_PROVIDER_LIFETIME))
    return response


async def initiate(web: WebContext, request: Request, context: RequestContext) -> Response:
    """Begin a sign-in for a provider's portal (`GET /initiate/{idp}`; OpenID Connect Core, section 4)."""
    check_navigation(request)
    provider = provider_of(request, web.broker.providers)
    context = replace(context, provider=provider.id)
    try:
        if (issuer := single(request, "iss")) not in provider.kind.portal_issuers(provider.registration):
            raise InitiationRefused(expected=provider.registration.issuer, got=issuer or "no iss")
        site, redirect_url = _target(web, provider, single(request, "target_link_uri") or "")
        context = replace(context, site=site.id, restart=Restart(site.id, provider.id))
        if is_framed(request):
            return _offer_new_tab(web, request, web.login_url(site.id, idp=provider.id, redirect_url=redirect_url))
        hints = _bounded_hint(single(request, "login_hint"))
        restarted = single(request, "restarted") is not None
        transaction = SignInTransaction(site.id, provider.id, redirect_url, restarted, context.trace_id)
        redirect = await begin(web.broker, provider, transaction, hints=hints)
        came = read_login_request(_query(request), redirect_url or "", at=web.broker.clock())
        _log_what_came(context, came, redirect_url)
        return redirect_to_provider(web, request, redirect)
    except Exception as error:
        raise Refused(error, context) from error


def _prompt_hint(provider: Provider, request: Request) -> dict[str, str]:
    """Return the hint of the page with an error: choose another account, or give credentials again."""
    if single(request, "another_account"):
        return {"prompt": provider.kind.prompt_for_another_account}
    return {"prompt": "login"} if single(request, "credentials_again") else {}


def _redirect_url(web: WebContext, request: Request, site: Site) -> tuple[CheckedRedirectUrl | None, LastLoginRequest]:
    """Return the checked redirect_url, and what came; keep what came for the setup page."""
    wanted = request.query_params.getlist("redirect_url")
    came = read_login_request(_query(request), "".join(wanted[:1]), at=web.broker.clock())
    try:
        redirect_url = single(request, "redirect_url") or None  # empty counts as absent
        return redirect_url if redirect_url is None else check_redirect_url(redirect_url, site), came
    except BrokerError as refusal:
        came = replace(came, code=refusal.code)
        raise
    finally:
        if request.headers.get("sec-fetch-site") != "same-origin":  # else the request comes from the broker's own page
            web.setup.last_login_requests[site.id] = came


def _target(web: WebContext, provider: Provider, target: str) -> tuple[Site, CheckedRedirectUrl | None]:
    """Return the site and redirect_url that a portal names: a page of Comm100, or /login/{site} of the broker."""
    sites = [site for site in web.broker.sites.values() if provider.id in site.provider_ids]
    if not sites:
        raise NoSuchPage(expected=f"a site that offers {provider.id}", got=f"sites: {listed(web.broker.sites)}")
    if not target or target.startswith(f"{web.public_url}/") or target == web.public_url:
        # A portal that requires a target uses an address of the broker.
        named = target.partition("?")[0]
        return next((site for site in sites if named == web.login_url(site.id)), sites[0]), None
    for site in sites:
        with suppress(RedirectUrlRefused):
            return site, check_redirect_url(target, site)
    return sites[0], check_redirect_url(target, sites[0])


def _offer_new_tab(web: WebContext, request: Request, href: str) -> Response:
    """Offer the sign-in in a new tab: providers refuse to be framed, so a redirect would show an empty frame."""
    pages = web.pages_for(request.scope)
    return show_page(pages, pages.new_tab(href), may_be_framed=True)


def _offer_choice(web: WebContext, request: Request, site: Site, redirect_url: str | None) -> Response:
    """Offer the site's providers; the provider chosen last comes first."""
    last = read_cookie(request.headers.raw, LAST_PROVIDER_COOKIE, https=web.https)
    choices = [
        Choice(web.broker.providers[id_].label, web.login_url(site.id, idp=id_, redirect_url=redirect_url))
        for id_ in sorted(site.provider_ids, key=lambda id_: id_ != last)
    ]
    pages = web.pages_for(request.scope)
    return show_page(pages, pages.choose("Comm100", choices))


def _provider_for(web: WebContext, site: Site, wanted: str | None, login_hints: list[str]) -> Provider | None:
    """Return the chosen provider, the only provider, or that of the hint's domain; None lets the person choose."""
    if not site.provider_ids:
        raise SiteNotOffered(expected="an enabled identity provider", got=f"site {site.id}, with none")
    if wanted is None and len(site.provider_ids) == 1:
        wanted = site.provider_ids[0]
    if wanted is None:
        return _provider_of_domain(web, site, login_hints)
    if wanted not in site.provider_ids:
        expected = f"an identity provider of site {site.id}: {listed(site.provider_ids)}"
        raise NoSuchPage(expected=expected, got=redact_path(wanted))
    return web.broker.providers[wanted]


def _provider_of_domain(web: WebContext, site: Site, login_hints: list[str]) -> Provider | None:
    """Return the only provider that may assert the domain of the hint; None if no provider or several may."""
    try:
        domain = check_email(login_hints[0] if len(login_hints) == 1 else None).rpartition("@")[2]
    except EmailMalformed:
        return None
    providers = [web.broker.providers[id_] for id_ in site.provider_ids]
    owners = [provider for provider in providers if domain in provider.rules.email_domains]
    return owners[0] if len(owners) == 1 else None


def _bounded_hint(login_hint: str | None) -> dict[str, str]:
    if login_hint is None or login_hint == "":
        return {}
    if len(login_hint) > 254 or not login_hint.isascii() or not login_hint.isprintable():
        odd = next((f", U+{ord(c):04X} among them" for c in login_hint if not (c.isascii() and c.isprintable())), "")
        got = f"{len(login_hint)} characters{odd}"
        raise InitiationRefused(expected="login_hint: at most 254 printable ASCII characters", got=got)
    return {"login_hint": login_hint}


def _log_what_came(context: RequestContext, came: LastLoginRequest, redirect_url: str | None) -> None:
    """Log what Comm100 sent, without values that name a person; an admin sees which delivery applies."""
    facts = {
        "trace_id": context.trace_id,
        "client": context.client,
        "site": context.site,
        "provider": context.provider,
        "parameters": came.parameters,
        "redirect_url_host": came.redirect_url_host or None,
        "redirect_url_path": urlsplit(redirect_url or "").path,  # the log masks addresses, if the admin wants that
        "redirect_url_parameters": came.redirect_url_parameters,
    }
    write_event("sign-in begins", facts, from_anybody=True)


def _query(request: Request) -> str:
    query: bytes = request.scope["query_string"]
    return query.decode("latin-1")
