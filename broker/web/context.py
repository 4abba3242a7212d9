"""What every endpoint of the public site shares, and the addresses it hands out.

Every address begins with `public_url`: no header of a request has a say in it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from urllib.parse import urlencode

from starlette.responses import Response
from starlette.types import Scope

from broker.comm100 import Site
from broker.log import SignInEvent
from broker.providers import Provider
from broker.replica import Broker
from broker.web.checks import Checks
from broker.web.client_address import Network, find_client_address, forwarded_for
from broker.web.languages import choose_language
from broker.web.last_login_request import LastCalls
from broker.web.origins import Origins
from broker.web.pages import Pages
from broker.web.setup_pages import SetupPages


@dataclass(frozen=True, slots=True)
class Setup:
    """The setup page's parts.

    Args:
        pages: what an admin sees.
        providers: by id, those that are switched off as well: test sign-ins alone may use these.
        offered_at: the sites that offer a provider, or will once it is enabled, by the provider's id.
        checks: runs the doctor.
        last_calls: what Comm100 last sent.
    """

    pages: SetupPages
    providers: Mapping[str, Provider]
    offered_at: Mapping[str, tuple[Site, ...]]
    checks: Checks
    last_calls: LastCalls


@dataclass(frozen=True, slots=True)
class WebContext:
    """The public site's parts.

    Args:
        broker: the sign-ins.
        pages: what people see, by language.
        record: writes an outcome to the log and the counters.
        record_dry_run: writes that of a test sign-in, which counts apart.
        setup: the setup page.
        public_url: where browsers reach us.
        trusted_proxies: the networks of proxies that may name the browser's address.
        origins: tells the origins of a callback.
    """

    broker: Broker
    pages: Mapping[str, Pages]
    record: Callable[[SignInEvent], None]
    record_dry_run: Callable[[SignInEvent], None]
    setup: Setup
    public_url: str
    trusted_proxies: tuple[Network, ...]
    origins: Origins

    @property
    def https(self) -> bool:
        """Whether browsers reach us by https, which decides about the cookies' prefix."""
        return self.public_url.startswith("https://")

    def login_url(self, site: str = "", **parameters: str | None) -> str:
        """Return the address where a sign-in starts.

        Args:
            site: id of the Comm100 site; empty for the default one.
            parameters: of the query; those that are None are left out.
        """
        query = urlencode({name: value for name, value in parameters.items() if value is not None})
        return f"{self.public_url}/login{f'/{site}' if site else ''}{f'?{query}' if query else ''}"

    @staticmethod
    def see_other(location: str) -> Response:
        """Return a 303, so that nothing is ever sent on; the address goes out byte for byte as it was built.

        Args:
            location: where the browser goes.
        """
        return Response(status_code=303, headers={"Location": location})

    def pages_for(self, scope: Scope) -> Pages:
        """Return the pages in the language the browser wants most.

        Args:
            scope: of the request.
        """
        wanted = [value.decode("latin-1") for name, value in scope["headers"] if name == b"accept-language"]
        return self.pages[choose_language(",".join(wanted))]

    def client_address(self, scope: Scope) -> str:
        """Return the browser's address for the log.

        Args:
            scope: of the request; its peer is believed only to be who it is.
        """
        peer: str = (scope.get("client") or ("",))[0]
        return find_client_address(peer, forwarded_for(scope), self.trusted_proxies)
