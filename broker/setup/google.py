"""Google Workspace: the registration in Google's own words; there is no command for it.

`gcloud iam oauth-clients` makes clients for Identity-Aware Proxy, not for signing in with Google:
https://cloud.google.com/iam/docs/workforce-manage-oauth-app
"""

from __future__ import annotations

from broker.providers import Provider
from broker.setup.record import Command, Value, Wanted

NOTE = (
    "Make it in the Google Cloud console: Google Auth Platform > Clients > Create client > Web application, with the "
    "audience Internal, so that only your organisation's people can sign in. Google has no command for this, no "
    "sign-out address and no tile that starts a sign-in."
)


def further_values(_provider: Provider, _wanted: Wanted) -> tuple[Value, ...]:
    """Return nothing: Google neither signs out for us nor starts sign-ins."""
    return ()


def claims(_provider: Provider) -> tuple[Value, ...]:
    """Return nothing: what we judge by comes with the scopes."""
    return ()


def commands(_provider: Provider, _wanted: Wanted) -> tuple[Command, ...]:
    """Return nothing: there is no tool that makes such a client."""
    return ()
