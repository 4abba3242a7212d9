"""The setup page, its checks and its test sign-in: for whoever has a signed link, and for nobody else.

Each address judges the link first, and the page at the end of a test sign-in judges it again. Here, and nowhere else,
a page may show what a provider said; it can never lead to Comm100.
"""

from __future__ import annotations

import logging
from contextlib import suppress
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from broker.dry_run import DryRun, begin_dry_run, report_failed_start, run_dry_run
from broker.errors import BrokerError, NotANavigation, SetupLinkRefused
from broker.providers import Provider
from broker.registration import ProviderSetup, setup_of_provider, setup_of_site
from broker.setup_link import SetupLink, build_setup_url, check_link
from broker.transaction import OpenedDryRun
from broker.web.context import WebContext
from broker.web.cookies import read_cookies
from broker.web.departing import redirect_to_provider
from broker.web.headers import HAS_SCRIPT, IS_SETUP_PAGE
from broker.web.problems import RequestContext
from broker.web.reading import check_navigation, each_once, find_provider, is_framed, once
from broker.web.setup_pages import SetupLinks

_log = logging.getLogger("broker")


async def setup(web: WebContext, request: Request, attempt: RequestContext) -> Response:
    """`GET /setup`: what to copy and where it goes, what Comm100 last sent, and the way to everything else."""
    link = _check_visit(web, request)
    now, parts = web.broker.clock(), web.setup
    page = parts.pages.overview(
        providers=[_setup_of(web, provider) for provider in parts.providers.values()],
        sites=[
            setup_of_site(site, public_url=web.public_url, only=len(web.broker.sites) == 1)
            for site in web.broker.sites.values()
        ],
        last_seen=parts.last_calls.by_site(),
        links=_links(web, link.token),
        expires=link.expires,
        now=now,
    )
    _log.info("setup page opened", extra={"facts": {"trace_id": attempt.trace_id, "client": attempt.client}})
    return _show(request, page, has_script=True)


async def setup_commands(web: WebContext, request: Request, attempt: RequestContext) -> Response:
    """`GET /setup/commands/{idp}`: what registers the broker at one provider without clicking."""
    link = _check_visit(web, request)
    provider = _provider_of(web, request, attempt)
    page = web.setup.pages.commands(_setup_of(web, provider), links=_links(web, link.token))
    return _show(request, page, has_script=True)


async def setup_check(web: WebContext, request: Request, attempt: RequestContext) -> Response:
    """`GET /setup/check`: what `broker check` says, asked from here."""
    link = _check_visit(web, request)
    _log.info("setup page checks", extra={"facts": {"trace_id": attempt.trace_id, "client": attempt.client}})
    return _show(request, web.setup.pages.checks(await web.setup.checks(), links=_links(web, link.token)))


async def setup_test(web: WebContext, request: Request, attempt: RequestContext) -> Response:
    """`GET /setup/test/{idp}`: a test sign-in begins; ends at the identity provider."""
    link = _check_visit(web, request)
    provider = _provider_of(web, request, attempt)
    attempt.is_dry_run = True
    attempt.start_again = build_setup_url(web.public_url, link.token)
    try:
        redirect = await begin_dry_run(
            web.broker,
            provider,
            setup_link=link.token,
            trace_id=attempt.trace_id,
            another_account=once(request, "another_account") is not None,
        )
    except BrokerError as refusal:
        report = report_failed_start(web.broker, provider, refusal, trace_id=attempt.trace_id)
        return _show_report(web, request, attempt, report, link.token)
    facts = {"trace_id": attempt.trace_id, "client": attempt.client, "provider": provider.id}
    _log.info("test sign-in begins", extra={"facts": facts})
    return redirect_to_provider(web, request, attempt, redirect)


async def conclude(web: WebContext, request: Request, attempt: RequestContext, opened: OpenedDryRun) -> Response:
    """Answer the callback of a test sign-in: with a report, to the browser that began it, while its link is good.

    Args:
        web: what all endpoints share.
        request: the browser's.
        attempt: what is known of it.
        opened: the state, signed by us for a test sign-in.

    Raises:
        TransactionError, SetupLinkRefused: whoever this is, there is nothing to report to them.
    """
    attempt.trace_id = opened.trace_id or attempt.trace_id
    attempt.drop_cookies.append(opened.cookie_name)
    provider = _provider_of(web, request, attempt)
    attempt.is_dry_run = True
    cookie = read_cookies(request.headers.raw, https=web.https).get(opened.cookie_name)
    cookie_value = cookie.value if cookie else None
    token = opened.overflow(cookie_value) or ""
    with suppress(SetupLinkRefused):
        attempt.start_again = build_setup_url(web.public_url, _check_link(web, request, token).token)
    report = await run_dry_run(
        web.broker,
        provider,
        web.setup.offered_at[provider.id],
        opened=opened,
        cookie_value=cookie_value,
        check_setup_link=lambda unverified: _check_link(web, request, unverified),
        parameters=each_once(request),
        origins=web.origins.of(request.scope, attempt.client),
    )
    return _show_report(web, request, attempt, report, token)


def _check_visit(web: WebContext, request: Request) -> SetupLink:
    """Return the link, if a person opens the page in a tab of its own with a good one."""
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
    hosts = request.headers.getlist("host")
    own = urlsplit(web.public_url).netloc
    if len(hosts) != 1 or not _is_same_host(hosts[0], own, https=web.https):
        raise SetupLinkRefused(expected=f"Host: {own}", got=hosts)
    keys = web.broker.secret_keys()
    return check_link(unverified_token, public_url=web.public_url, now=web.broker.clock(), secret_keys=keys)


def _is_same_host(one: str, other: str, *, https: bool) -> bool:
    port = ":443" if https else ":80"
    return one.lower().removesuffix(port) == other.lower().removesuffix(port)


def _provider_of(web: WebContext, request: Request, attempt: RequestContext) -> Provider:
    """Return the identity provider in the address, switched on or not."""
    return find_provider(web.setup.providers, request, attempt)


def _setup_of(web: WebContext, provider: Provider) -> ProviderSetup:
    return setup_of_provider(
        provider,
        enabled=provider.id in web.broker.providers,
        public_url=web.public_url,
        site_ids=tuple(site.id for site in web.setup.offered_at[provider.id]),
        now=web.broker.clock(),
    )


def _links(web: WebContext, token: str) -> SetupLinks:
    def address(path: str) -> str:
        return f"{web.public_url}/setup{path}?link={token}"

    return SetupLinks(
        overview=build_setup_url(web.public_url, token),
        checks=address("/check"),
        commands={id_: address(f"/commands/{id_}") for id_ in web.setup.providers},
        test={id_: address(f"/test/{id_}") for id_ in web.setup.providers},
    )


def _show_report(web: WebContext, request: Request, attempt: RequestContext, report: DryRun, token: str) -> Response:
    """Show how a test sign-in went; with 200 however it went, for a proxy may replace the page of a 502."""
    web.record_dry_run(attempt.event(report.refusal, report.identity))
    return _show(request, web.setup.pages.dry_run(report, links=_links(web, token)))


def _show(request: Request, page: str, *, has_script: bool = False) -> Response:
    request.scope[IS_SETUP_PAGE] = True
    request.scope[HAS_SCRIPT] = has_script
    return HTMLResponse(page, headers={"Content-Language": "en"})
