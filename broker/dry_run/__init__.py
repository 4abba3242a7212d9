"""A test sign-in: the way of a sign-in with a provider, step by step, that ends with a report instead of a token.

It goes the very steps of a sign-in, and what it ends with is a report for the admin. It knows no page, builds no token
and no address of Comm100's, and its state is signed for a purpose of its own, so that no sign-in can come of it.
"""

from broker.dry_run.record import DryRun, Preview, Step, StepStatus
from broker.dry_run.run import begin_dry_run, report_failed_start, run_dry_run

__all__ = ["DryRun", "Preview", "Step", "StepStatus", "begin_dry_run", "report_failed_start", "run_dry_run"]
