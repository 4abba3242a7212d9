"""A test sign-in: the way of a sign-in with a provider, step by step, that ends with a report instead of a token.

It goes the very steps of a sign-in, and what it ends with is a report for the admin. It knows no page, builds no token
and no address of Comm100's, and its state is signed for a purpose of its own, so that no sign-in can come of it.
"""

from broker.rehearsal.record import Preview, Rehearsal, Step, StepStatus
from broker.rehearsal.rehearse import begin_rehearsal, rehearse, report_failed_start

__all__ = ["Preview", "Rehearsal", "Step", "StepStatus", "begin_rehearsal", "rehearse", "report_failed_start"]
