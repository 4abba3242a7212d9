"""The one place where an error becomes what a person sees and what an admin can find again.

An error page, one recorded outcome, the same code and trace id in both. Nothing from the request is reflected.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from starlette.responses import HTMLResponse, Response

from broker.errors import BrokerError
from broker.identity import Identity
from broker.log import SignInEvent
from broker.web.pages import Pages

RETRY_AFTER = 10  # seconds, where the other side named none
RESTART_DELAY = 1  # seconds a person has to see why the page changes
RESTART_DELAY_PAGE_LOST = 10  # seconds to read that the page they wanted is lost, too


@dataclass(slots=True)
class RequestContext:
    """What is known so far of the request being answered; grows as its steps succeed.

    Args:
        trace_id: on the page and in the log.
        client: the browser's address.
        pages: what a person sees, in the language of this request.
        site: id of the Comm100 site, once it is known to exist.
        provider: id of the identity provider, once it is known to exist.
        start_again: where a person can start again, once that is known.
        use_another_account: where a person can choose another account, once that makes sense.
        restarts: start again without being asked.
        is_signin: it belongs to a sign-in, by its path and method; refusals of other requests are logged as info.
        page_lost: starting again does not lead to the page the person wanted: the browser no longer has its address.
        is_dry_run: it belongs to a test sign-in, and counts as none.
        drop_cookies: names of cookies that have done their duty.
        started: of the request, by the machine's own clock.
    """

    trace_id: str
    client: str
    pages: Pages
    site: str = ""
    provider: str = ""
    start_again: str | None = None
    use_another_account: str | None = None
    restarts: bool = False
    is_signin: bool = True
    page_lost: bool = False
    is_dry_run: bool = False
    drop_cookies: list[str] = field(default_factory=list)
    started: float = field(default_factory=time.perf_counter)

    def event(self, error: BrokerError | None, identity: Identity | None = None) -> SignInEvent:
        """Return how the request ended, for the log and the counter."""
        seconds = time.perf_counter() - self.started
        return SignInEvent(
            self.trace_id, self.client, self.site, self.provider, error, identity, seconds, self.is_signin
        )

    def show(self, page: str, status: int = 200) -> Response:
        """Return a page made of `pages`, and say which language it has and what decided it (RFC 9110, 8.5, 12.5.5).

        Args:
            page: the HTML document.
            status: of the answer.
        """
        headers = {"Content-Language": self.pages.language, "Vary": "Accept-Language"}
        return HTMLResponse(page, status, headers)


def render_problem(error: BrokerError, attempt: RequestContext, *, status: int | None = None) -> Response:
    """Return the page for an error.

    Args:
        error: what went wrong.
        attempt: what is known of the request.
        status: where it differs from the error's own.
    """
    page = attempt.pages.problem(
        error,
        trace_id=attempt.trace_id,
        start_again=attempt.start_again,
        use_another_account=attempt.use_another_account,
        refreshes=attempt.restarts,
        page_lost=attempt.page_lost,
    )
    response = attempt.show(page, status or error.status)
    if attempt.restarts:
        delay = RESTART_DELAY_PAGE_LOST if attempt.page_lost else RESTART_DELAY
        response.headers["Refresh"] = f"{delay};url={attempt.start_again}"
    if error.status == 405:
        response.headers["Allow"] = "GET"
    if error.retry_after is not None:
        response.headers["Retry-After"] = str(error.retry_after)
    elif error.status == 503:
        response.headers["Retry-After"] = str(RETRY_AFTER)
    return response
