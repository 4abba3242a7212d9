"""The doctor: looks at each identity provider and site as it is now, and says what is wrong and what to do about it.

It owns the checks, their order and their sentences; each judges by the functions a sign-in uses. It reads no settings,
changes nothing anywhere, and shows no secret.
"""

from broker.doctor.examination import Patients, examine
from broker.doctor.finding import (
    CHECKS,
    WORST_FIRST,
    Begin,
    Finding,
    Status,
    all_good,
    as_json,
    merged,
    unusable_settings,
)
from broker.doctor.provider import ProviderPatient
from broker.doctor.report import print_report, watching
from broker.doctor.site import Asker, SitePatient, fingerprint, judge_shared_secret

__all__ = [
    "CHECKS",
    "WORST_FIRST",
    "Asker",
    "Begin",
    "Finding",
    "Patients",
    "ProviderPatient",
    "SitePatient",
    "Status",
    "all_good",
    "as_json",
    "examine",
    "fingerprint",
    "judge_shared_secret",
    "merged",
    "print_report",
    "unusable_settings",
    "watching",
]
