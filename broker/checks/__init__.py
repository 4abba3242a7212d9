"""The doctor: looks at each identity provider and site as it is now, and says what is wrong and what to do about it.

It owns the checks, their order and their sentences; each judges by the functions a sign-in uses. It reads no settings,
changes nothing anywhere, and shows no secret.
"""

from broker.checks.finding import (
    CHECKS,
    WORST_FIRST,
    Begin,
    Finding,
    Status,
    all_good,
    as_json,
    first_untold,
    merged,
    unusable_settings,
)
from broker.checks.provider import ProviderTarget
from broker.checks.report import print_report, watching
from broker.checks.run import Targets, run_all
from broker.checks.site import PublicClient, SiteTarget, fingerprint, judge_shared_secret

__all__ = [
    "CHECKS",
    "WORST_FIRST",
    "Begin",
    "Finding",
    "ProviderTarget",
    "PublicClient",
    "SiteTarget",
    "Status",
    "Targets",
    "all_good",
    "as_json",
    "fingerprint",
    "first_untold",
    "judge_shared_secret",
    "merged",
    "print_report",
    "run_all",
    "unusable_settings",
    "watching",
]
