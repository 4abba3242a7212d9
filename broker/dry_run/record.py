"""The report of a test sign-in: what the admin sees of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from broker.comm100 import Claim
from broker.errors import BrokerError
from broker.identity import Identity
from broker.providers import ClaimTrace

StepStatus = Literal["passed", "failed", "not_reached", "not_needed"]


@dataclass(frozen=True, slots=True)
class Step:
    """One check of a sign-in.

    Args:
        name: in plain words.
        status: how it ended; `not_reached` behind the first that failed.
        detail: what was found; never a secret, a token or a code. May hold the provider's own words.
    """

    name: str
    status: StepStatus
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Preview:
    """What Comm100 would get: claims, unsigned.

    Args:
        site: id of the Comm100 site.
        claims: of the token; `jti` and times are new each time.
    """

    site: str
    claims: Mapping[str, Claim]


@dataclass(frozen=True, slots=True)
class DryRun:
    """How a test sign-in went, for the admin alone: unlike an agent's page it may show claims.

    Args:
        provider: id of the identity provider.
        label: its label.
        enabled: whether agents are offered it.
        steps: every check of a sign-in, in order.
        refusal: where it stopped; None if it did not.
        documents: the claims received, each under the name of its document; none if it never came so far.
        considered: the claims looked at for address and groups, in order.
        identity: the person, if admitted.
        previews: one for each site that offers the provider, or will once it is enabled.
        trace_id: under which the log has it.
    """

    provider: str
    label: str
    enabled: bool
    steps: tuple[Step, ...]
    refusal: BrokerError | None
    documents: tuple[tuple[str, Mapping[str, Any]], ...] = field(repr=False)
    considered: tuple[ClaimTrace, ...]
    identity: Identity | None
    previews: tuple[Preview, ...]
    trace_id: str
