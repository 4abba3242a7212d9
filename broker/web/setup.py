"""Shows the setup page, its checks and its test sign-in to an admin with a valid setup link.

Only these pages may show what a provider said; none of them leads to Comm100.
"""

from __future__ import annotations

import logging
from contextlib import suppress
from dataclasses import replace
from functools import partial
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from broker.dry_run import DryRun, begin_dry_run, report_failed_start, run_dry_run
from broker.errors import BrokerError, NotANavigation, SetupLinkRefused
from broker.providers import Provider
from broker.registration import ProviderSetup, setup_of_provider, setup_of_site
from broker.signing import SetupLink, build_setup_url, check_link
from broker.transaction import OpenedDryRun
from broker.web.context import Refused, RequestContext, Restart, WebContext
from broker.web.middleware import build_content_security_policy
from broker.web.request import (
    check_navigation,
    is_framed,
    provider_of,
    read_cookie,
    read_unverified_parameters,
    single,
)
from broker.web.responses import drop_cookies, redirect_to_provider
from broker.web.setup_pages import SetupLinks

_log = logging.getLogger("broker")


async def setup(web: WebContext, request: Request, context: RequestContext) -> Response:
    """Show the setup page (`GET /setup`): what to register, the last login requests, and links to all other pages."""
    link = _check_visit(web, request)
    sites = web.broker.sites
    page = web.setup.pages.overview(
        providers=[_setup_of(web, provider) for provider in web.setup.providers.values()],
        sites=[setup_of_site(site, public_url=web.public_url, only=len(sites) == 1) for site in sites.values()],
        last_seen=web.setup.last_login_requests,
        links=SetupLinks(web.public_url, link.token),
        expires=link.expires,
        now=web.broker.clock(),
    )
    _log.info("setup page opened", extra={"facts": {"trace_id": context.trace_id, "client": context.client}})
    return _show(web, page, has_script=True)


async def setup_commands(web: WebContext, request: Request, _context: RequestContext) -> Response:
    """Show the commands that register the broker at a provider (`GET /setup/commands/{idp}`)."""
    link = _check_visit(web, request)
    provider = provider_of(request, web.setup.providers)
    page = web.setup.pages.commands(_setup_of(web, provider), links=SetupLinks(web.public_url, link.token))
    return _show(web, page, has_script=True)


async def setup_check(web: WebContext, request: Request, context: RequestContext) -> Response:
    """Run `broker check` inside the service and show the findings (`GET /setup/check`)."""
    link = _check_visit(web, request)
    _log.info("setup page checks", extra={"facts": {"trace_id": context.trace_id, "client": context.client}})
    findings = await web.setup.run_checks()
    return _show(web, web.setup.pages.checks(findings, links=SetupLinks(web.public_url, link.token)))


async def setup_test(web: WebContext, request: Request, context: RequestContext) -> Response:
    """Begin a test sign-in and redirect to the provider (`GET /setup/test/{idp}`)."""
    link = _check_visit(web, request)
    provider = provider_of(request, web.setup.providers)
    restart = Restart(address=build_setup_url(web.public_url, link.token))
    context = replace(context, provider=provider.id, is_dry_run=True, restart=restart)
    try:
        redirect = await begin_dry_run(
            web.broker,
            provider,
            setup_link=link.token,
            trace_id=context.trace_id,
            another_account=single(request, "another_account") is not None,
        )
    except BrokerError as refusal:
        report = report_failed_start(web.broker, provider, refusal, trace_id=context.trace_id)
        return _show_report(web, context, report, link.token)
    except Exception as defect:
        raise Refused(defect, context) from defect
    facts = {"trace_id": context.trace_id, "client": context.client, "provider": provider.id}
    _log.info("test sign-in begins", extra={"facts": facts})
    return redirect_to_provider(web, request, redirect)


async def finish_dry_run(web: WebContext, request: Request, context: RequestContext, opened: OpenedDryRun) -> Response:
    """Show the report of a test sign-in to the browser that started it, while the setup link is valid.

    Raises:
        Refused: `TransactionError` or `SetupLinkRefused`: this browser may not see a report.
    """
    cookie_value = read_cookie(request.headers.raw, opened.cookie_name, https=web.https)
    token = opened.overflow(cookie_value) or ""
    context = replace(context, trace_id=opened.trace_id or context.trace_id, used_cookies=(opened.cookie_name,))
    try:
        provider = provider_of(request, web.setup.providers)
        restart = _restart_of_dry_run(web, request, token)
        context = replace(context, provider=provider.id, is_dry_run=True, restart=restart)
        report = await run_dry_run(
            web.broker,
            provider,
            web.setup.offered_at[provider.id],
            opened=opened,
            cookie_value=cookie_value,
            check_setup_link=partial(_check_link, web, request),
            unverified_parameters=read_unverified_parameters(request),
            origins=web.client_addresses.origins_of(request.scope, context.client),
        )
        return drop_cookies(web, _show_report(web, context, report, token), context.used_cookies)
    except Exception as error:
        raise Refused(error, context) from error


def _restart_of_dry_run(web: WebContext, request: Request, unverified_token: str) -> Restart | None:
    """Return the way back to the setup page, if the link is still valid."""
    with suppress(SetupLinkRefused):
        return Restart(address=build_setup_url(web.public_url, _check_link(web, request, unverified_token).token))
    return None


def _check_visit(web: WebContext, request: Request) -> SetupLink:
    """Return the setup link, if it is valid and a person opens the page in a tab."""
    check_navigation(request)
    if is_framed(request):
        raise NotANavigation(
            expected="a tab of its own", got=f"Sec-Fetch-Dest: {request.headers.get('sec-fetch-dest')}"
        )
    links = request.query_params.getlist("link")
    if len(links) != 1:
        raise SetupLinkRefused(expected="one link", got=f"{len(links)} links")
    return _check_link(web, request, links[0])


def _check_link(web: WebContext, request: Request, unverified_token: str) -> SetupLink:
    """Return the setup link if it is valid; the browser must use the host of `public_url`."""
    hosts, own = request.headers.getlist("host"), urlsplit(web.public_url).netloc
    port = ":443" if web.https else ":80"
    if len(hosts) != 1 or hosts[0].lower().removesuffix(port) != own.lower().removesuffix(port):
        raise SetupLinkRefused(expected=f"Host: {own}", got=hosts)
    keys = web.broker.secret_keys()
    return check_link(unverified_token, public_url=web.public_url, now=web.broker.clock(), secret_keys=keys)


def _setup_of(web: WebContext, provider: Provider) -> ProviderSetup:
    return setup_of_provider(
        provider,
        enabled=provider.id in web.broker.providers,
        public_url=web.public_url,
        site_ids=tuple(site.id for site in web.setup.offered_at[provider.id]),
        now=web.broker.clock(),
    )


def _show_report(web: WebContext, context: RequestContext, report: DryRun, token: str) -> Response:
    """Show the report of a test sign-in, always with status 200: a proxy may replace the page of a 502."""
    web.record(context.event(report.refusal, report.identity))
    return _show(web, web.setup.pages.dry_run(report, links=SetupLinks(web.public_url, token)))


def _show(web: WebContext, page: str, *, has_script: bool = False) -> Response:
    """Return a setup page. A page that shows the provider's words has no script."""
    pages = web.setup.pages
    policy = build_content_security_policy(
        style_sha256=pages.style_sha256, script_sha256=pages.script_sha256 if has_script else ""
    )
    return HTMLResponse(page, headers={"Content-Language": "en", "Content-Security-Policy": policy})
