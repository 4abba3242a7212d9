"""What every endpoint of the public site shares, and the addresses it hands out.

Every address begins with `public_url`: no header of a request has a say in it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlencode

from broker.signin import Broker, Outcome
from broker.web.pages import Pages


@dataclass(frozen=True, slots=True)
class Web:
    """The public site's parts.

    Args:
        broker: the sign-ins.
        pages: what people see.
        record: writes an outcome to the log and the counters.
        public_url: where browsers reach us.
    """

    broker: Broker
    pages: Pages
    record: Callable[[Outcome], None]
    public_url: str

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
