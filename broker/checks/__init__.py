"""Check each identity provider and site with the functions of a sign-in; say what is wrong and what to do.

The checks change nothing, and no finding has a secret.
"""

from broker.checks.finding import (
    CHECKS,
    WORST_FIRST,
    Begin,
    Finding,
    Status,
    all_good,
    as_json,
    first_inconclusive,
    merged,
    unusable_settings,
)
from broker.checks.provider import check_documents
from broker.checks.registration import check_client_authentication
from broker.checks.run import ProviderTarget, Targets, run_all
from broker.checks.site import PAGE_MARK, PublicClient, check_shared_secret, fingerprint

__all__ = [
    "CHECKS",
    "PAGE_MARK",
    "WORST_FIRST",
    "Begin",
    "Finding",
    "ProviderTarget",
    "PublicClient",
    "Status",
    "Targets",
    "all_good",
    "as_json",
    "check_client_authentication",
    "check_documents",
    "check_shared_secret",
    "fingerprint",
    "first_inconclusive",
    "merged",
    "run_all",
    "unusable_settings",
]
