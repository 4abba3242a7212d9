"""Test sign-ins and `broker explain`: the steps and rules of a sign-in, ending with a report instead of a token.

Nothing here can build a token or an address of Comm100. The state of a test sign-in is signed for a purpose of its own.
"""

from broker.dry_run.claims import INPUT_LIMIT, GivenClaims, UnusableInput, explain, pick, read_claims
from broker.dry_run.report import Admitted, DryRun, Explanation, Step, StepStatus, to_json, to_text
from broker.dry_run.run import begin_dry_run, report_failed_start, run_dry_run

__all__ = [
    "INPUT_LIMIT",
    "Admitted",
    "DryRun",
    "Explanation",
    "GivenClaims",
    "Step",
    "StepStatus",
    "UnusableInput",
    "begin_dry_run",
    "explain",
    "pick",
    "read_claims",
    "report_failed_start",
    "run_dry_run",
    "to_json",
    "to_text",
]
