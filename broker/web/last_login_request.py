"""What Comm100 last sent to each site's Remote Login URL, for the admin who sets it up.

Kept in memory, one call a site: names of parameters, host and path, no values. Anybody can call the address, so what
is kept is bounded and visible, and means no more than that somebody sent it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from broker.text import mask_emails, printable

MAX_NAMES = 20  # of parameters
MAX_CHARACTERS = 200  # of host or path
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,39}")


@dataclass(frozen=True, slots=True)
class LastLoginRequest:
    """One call of a Remote Login URL.

    Args:
        site: id of the Comm100 site.
        at: seconds since the epoch.
        redirect_url_host: where the agent was to go; empty if there was no redirect_url, or no host in it.
        redirect_url_path: likewise.
        redirect_url_parameters: the names in its query.
        parameters: the names in the query of the Remote Login URL.
        code: of the error it was refused with; `none` if it was not.
    """

    site: str
    at: float
    redirect_url_host: str
    redirect_url_path: str
    redirect_url_parameters: tuple[str, ...]
    parameters: tuple[str, ...]
    code: str


class LastCalls:
    """The last call of each site."""

    def __init__(self) -> None:
        self._calls: dict[str, LastLoginRequest] = {}

    def keep(self, site: str, query: str, redirect_url: str, *, code: str, at: float) -> None:
        """Keep a call in the place of the one before.

        Args:
            site: id of one of the configured sites, so that there are never more of them.
            query: of the Remote Login URL, as it came.
            redirect_url: in it, of whatever form; empty if none came.
            code: of the error it was refused with; `none` if it was not.
            at: seconds since the epoch.
        """
        host, path, wanted = _parts(redirect_url)
        self._calls[site] = LastLoginRequest(site, at, host, path, names(wanted), names(query), code)

    def by_site(self) -> Mapping[str, LastLoginRequest]:
        """Return what is kept, by the site's id."""
        return dict(self._calls)


def names(query: str) -> tuple[str, ...]:
    """Return the names of parameters, as far as they look like names: anything else may be a value that stands alone.

    Args:
        query: of an address, as it came.
    """
    named = [pair.partition("=")[0] for pair in query.split("&") if "=" in pair]
    return tuple(sorted({name for name in named if _NAME.fullmatch(name)})[:MAX_NAMES])


def _parts(redirect_url: str) -> tuple[str, str, str]:
    """Return host, path and query of an address that nobody has checked; empty where there is none."""
    try:
        parts = urlsplit(redirect_url)
        shown = (parts.hostname or "", mask_emails(parts.path))
        host, path = (printable(part, MAX_CHARACTERS, ascii_only=True) for part in shown)
        return host, path, parts.query
    except ValueError:
        return "", "", ""
