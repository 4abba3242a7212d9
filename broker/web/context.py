"""The parts that all endpoints share, and the context of a request.

Every address begins with `public_url`, never with a header of the request.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from urllib.parse import urlencode

from starlette.types import Scope

from broker.comm100 import Site
from broker.errors import BrokerError
from broker.identity import Identity
from broker.log import SignInEvent
from broker.providers import Provider
from broker.signin import Broker
from broker.web.cooldown import Cooldown
from broker.web.pages import Pages, choose_language
from broker.web.request import ClientAddresses, LastLoginRequest
from broker.web.setup_loader import SetupLoader


@dataclass(frozen=True, slots=True)
class Setup:
    """The parts of the setup page.

    Args:
        providers: by id; providers that are switched off, for test sign-ins only, are included.
        offered_at: by the provider's id, the sites that offer the provider, or will once it is switched on.
        last_login_requests: by the site's id; each login request replaces the last.
    """

    pages: SetupLoader
    providers: Mapping[str, Provider]
    offered_at: Mapping[str, tuple[Site, ...]]
    run_checks: Cooldown
    last_login_requests: dict[str, LastLoginRequest]


@dataclass(frozen=True, slots=True)
class WebContext:
    """The parts of the public site.

    Args:
        pages: by language.
    """

    broker: Broker
    pages: Mapping[str, Pages]
    record: Callable[[SignInEvent], None]
    setup: Setup
    public_url: str
    client_addresses: ClientAddresses

    @property
    def https(self) -> bool:
        """Whether browsers use https, which decides the prefix of the cookies."""
        return self.public_url.startswith("https://")

    def login_url(self, site: str = "", **parameters: str | None) -> str:
        """Return the address where a sign-in starts.

        Args:
            site: empty for the default site.
            parameters: None leaves a parameter out.
        """
        query = urlencode({name: value for name, value in parameters.items() if value is not None})
        return f"{self.public_url}/login{f'/{site}' if site else ''}{f'?{query}' if query else ''}"

    def pages_for(self, scope: Scope) -> Pages:
        """Return the pages in the language that the browser prefers."""
        wanted = [value.decode("latin-1") for name, value in scope["headers"] if name == b"accept-language"]
        return self.pages[choose_language(",".join(wanted))]


@dataclass(frozen=True, slots=True)
class Restart:
    """The way to start again after an error.

    Args:
        site: empty for the default site.
        provider: None if the person has to choose again.
        redirect_url: checked; None if there is none.
        address: replaces the address of /login: the site's `start_url`, or the setup page.
        automatic: the browser may start again without a click. Such a sign-in does not restart a second time.
        page_lost: the browser no longer has the `redirect_url`.
    """

    site: str = ""
    provider: str | None = None
    redirect_url: str | None = None
    address: str | None = None
    automatic: bool = False
    page_lost: bool = False


@dataclass(frozen=True, slots=True)
class RequestContext:
    """The known facts of a request; an endpoint replaces the context when it learns more.

    Args:
        is_signin: the path and method are those of a sign-in; refusals of other requests are logged as info.
        site: empty until the site is known to exist.
        provider: empty until the provider is known to exist.
        is_dry_run: the request belongs to a test sign-in, which does not count as a sign-in.
        restart: how a person can start again; None if a page offers no link.
        used_cookies: names of cookies that are deleted, also when the request fails.
        started: seconds of the machine's monotonic clock.
    """

    trace_id: str
    client: str
    is_signin: bool
    site: str = ""
    provider: str = ""
    is_dry_run: bool = False
    restart: Restart | None = None
    used_cookies: tuple[str, ...] = ()
    started: float = field(default_factory=time.perf_counter)

    def event(self, error: BrokerError | None, identity: Identity | None = None) -> SignInEvent:
        """Return how the request ended, for the log and the metrics."""
        seconds = time.perf_counter() - self.started
        return SignInEvent(
            trace_id=self.trace_id,
            client=self.client,
            site=self.site,
            provider=self.provider,
            error=error,
            identity=identity,
            seconds=seconds,
            is_signin=self.is_signin,
            is_dry_run=self.is_dry_run,
        )


class Refused(Exception):
    """An error, with the context of the request when the error was raised."""

    def __init__(self, error: Exception, context: RequestContext) -> None:
        super().__init__(str(error))
        self.error = error
        self.context = context
