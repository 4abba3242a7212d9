"""Shows the setup page, its checks and its test sign-in to an admin with a valid setup link.

Only these pages may show what a provider said; none of them leads to Comm100.
"""

from __future__ import annotations

import logging
from contextlib import suppress
from dataclasses import replace
from functools import partial

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from broker.dry_run import DryRun, begin_dry_run, report_failed_start, run_dry_run
from broker.errors import BrokerError, SetupLinkRefused
from broker.providers import Provider
from broker.registration import ProviderSetup, setup_of_provider, setup_of_site
from broker.signing import SetupLink, build_setup_url
from broker.transaction import OpenedDryRun
from broker.web.context import Refused, RequestContext, Restart, WebContext
from broker.web.middleware import build_content_security_policy
from broker.web.request import (
    provider_of,
    read_cookie,
    read_unverified_parameters,
    single,
)
from broker.web.responses import drop_cookies, redirect_to_provider
from broker.web.setup_link import check_setup_link
from broker.web.setup_pages import SetupLinks, SetupPages

_log = logging.getLogger("broker")


async def setup(web: WebContext, _request: Request, context: RequestContext, link: SetupLink) -> Response:
    """Show the setup page (`GET /setup`): what to register, the last login requests, and links to all other pages."""
    sites = web.broker.sites
    pages = await web.setup.pages()
    page = pages.overview(
        providers=[_setup_of(web, provider) for provider in web.setup.providers.values()],
        sites=[setup_of_site(site, public_url=web.public_url, only=len(sites) == 1) for site in sites.values()],
        last_seen=web.setup.last_login_requests,
        last_check=web.setup.run_checks.last,
        links=SetupLinks(web.public_url, link.token),
        expires=link.expires,
        now=web.broker.clock(),
    )
    _log.info("setup page opened", extra={"facts": {"trace_id": context.trace_id, "client": context.client}})
    return _show(pages, page, has_script=True)


async def setup_commands(web: WebContext, request: Request, _context: RequestContext, link: SetupLink) -> Response:
    """Show the commands that register the broker at a provider (`GET /setup/commands/{idp}`)."""
    provider = provider_of(request, web.setup.providers)
    pages = await web.setup.pages()
    page = pages.commands(_setup_of(web, provider), links=SetupLinks(web.public_url, link.token))
    return _show(pages, page, has_script=True)


async def setup_check(web: WebContext, request: Request, context: RequestContext, link: SetupLink) -> Response:
    """Run `broker check` inside the service and show the findings (`GET /setup/check`); with `last`, the last run's."""
    run = web.setup.run_checks.last if single(request, "last") is not None else None
    if run is None:
        _log.info("setup page checks", extra={"facts": {"trace_id": context.trace_id, "client": context.client}})
        run = await web.setup.run_checks()
    pages = await web.setup.pages()
    page = pages.checks(run, links=SetupLinks(web.public_url, link.token), now=web.broker.clock())
    return _show(pages, page)


async def setup_test(web: WebContext, request: Request, context: RequestContext, link: SetupLink) -> Response:
    """Begin a test sign-in and redirect to the provider (`GET /setup/test/{idp}`)."""
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
        return await _show_report(web, context, report, link.token)
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
            check_setup_link=partial(check_setup_link, web, request),
            unverified_parameters=read_unverified_parameters(request),
            origins=web.client_addresses.origins_of(request.scope, context.client),
        )
        return drop_cookies(web, await _show_report(web, context, report, token), context.used_cookies)
    except Exception as error:
        raise Refused(error, context) from error


def _restart_of_dry_run(web: WebContext, request: Request, unverified_token: str) -> Restart | None:
    """Return the way back to the setup page, if the link is still valid."""
    with suppress(SetupLinkRefused):
        return Restart(address=build_setup_url(web.public_url, check_setup_link(web, request, unverified_token).token))
    return None


def _setup_of(web: WebContext, provider: Provider) -> ProviderSetup:
    return setup_of_provider(
        provider,
        enabled=provider.id in web.broker.providers,
        public_url=web.public_url,
        site_ids=tuple(site.id for site in web.setup.offered_at[provider.id]),
        now=web.broker.clock(),
    )


async def _show_report(web: WebContext, context: RequestContext, report: DryRun, token: str) -> Response:
    """Show the report of a test sign-in, always with status 200: a proxy may replace the page of a 502."""
    web.record(context.event(report.refusal, report.identity))
    pages = await web.setup.pages()
    return _show(pages, pages.dry_run(report, links=SetupLinks(web.public_url, token)))


def _show(pages: SetupPages, page: str, *, has_script: bool = False) -> Response:
    """Return a setup page. A page that shows the provider's words has no script."""
    policy = build_content_security_policy(
        style_sha256=pages.style_sha256, script_sha256=pages.script_sha256 if has_script else ""
    )
    return HTMLResponse(page, headers={"Content-Language": "en", "Content-Security-Policy": policy})
