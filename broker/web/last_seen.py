"""What Comm100 last sent to each site's Remote Login URL: kept in memory, names of parameters alone, no values."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LastSeen:
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
