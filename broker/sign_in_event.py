"""How a sign-in ended: what the web floor knows at the end, and what the log and the counters may know of it."""

from __future__ import annotations

from dataclasses import dataclass

from broker.errors import BrokerError
from broker.identity import Identity


@dataclass(frozen=True, slots=True)
class SignInEvent:
    """How a sign-in, or a refused request, ended.

    Args:
        trace_id: the same as on the page the person sees.
        client: the browser's address, as far as it can be known.
        site: id of the Comm100 site; empty if it is not known.
        provider: id of the identity provider; empty if it is not known.
        error: what went wrong; None after a success.
        identity: the person; None if there is none to speak of.
        seconds: from the request to the answer.
        is_signin: the request belongs to a sign-in.
    """

    trace_id: str
    client: str
    site: str
    provider: str
    error: BrokerError | None
    identity: Identity | None
    seconds: float
    is_signin: bool = True
