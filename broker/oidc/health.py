"""The health of one provider: how its calls ended, whether it is down, and how its clock differs from the broker's.

Only calls of the broker count. A stranger with invented codes gets a 4xx from the token endpoint: that is no failure,
and it does not prove that the provider can make tokens.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from broker.capacity import Lap, LoopLateness
from broker.errors import BrokerError, ProviderFailing, ProviderTimedOut
from broker.oidc.messages import ProviderRequest, ProviderResponse, is_failing

if TYPE_CHECKING:
    from broker.oidc.discovery import Clock, Send

FAILURES = 3  # of one kind of call in a row, after which the provider is down
FORGET_SECONDS = 600.0  # after the last failure of a call that only sign-ins make: it may work again
SLOW_SECONDS = 2.5  # of a call that the deadline of its sign-in ends: two calls of 4 s are an outage, too
DATES = 5  # of the newest answers: their median is the difference of the clocks
CLOCK_WARNING_SECONDS = 30.0  # of difference
CLOCK_AGREES_SECONDS = 15.0  # of difference, below which a warning ends
OWN_CLOCK_REMEDY = "Synchronise this machine's clock (NTP: timedatectl set-ntp true; in a container: the node's clock)."
THEIR_CLOCK_REMEDY = (
    "The clocks of the other providers agree with this machine's: report the difference to this provider."
)

Call = Literal["metadata", "keys", "token", "userinfo", "client_authentication"]

_DOCUMENTS: tuple[Call, ...] = ("metadata", "keys")
_CALLS: tuple[Call, ...] = ("token", "client_authentication", "userinfo", *_DOCUMENTS)  # the most telling first


@dataclass(frozen=True, slots=True)
class Failure:
    """A call that failed, in the words of its error.

    Args:
        at: by the monotonic clock.
    """

    call: Call
    code: str
    expected: object
    got: object
    remedy: str
    at: float


@dataclass(slots=True)
class _Calls:
    """How the calls of one kind ended; the times are by the monotonic clock, and None before the first."""

    failures_in_row: int = 0
    row_began: float = 0.0
    last_failure: Failure | None = None
    last_success: float | None = None


class ProviderHealth:
    """How the calls to one provider ended, by the kind of call.

    Args:
        clock: seconds since the epoch, compared with the Date of answers.
        monotonic: seconds.
        lateness: tells the provider's slowness from the broker's own.
        slow_seconds: as `SLOW_SECONDS`.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        monotonic: Clock = time.monotonic,
        lateness: LoopLateness | None = None,
        slow_seconds: float = SLOW_SECONDS,
    ) -> None:
        self._clock = clock
        self._monotonic = monotonic
        self._lateness = lateness or LoopLateness()
        self._slow_seconds = slow_seconds
        self._calls: dict[Call, _Calls] = {call: _Calls() for call in _CALLS}
        self._ahead: deque[float] = deque(maxlen=DATES)

    def adopt(self, other: ProviderHealth) -> None:
        """Continue with what is known of the same provider; calls under way are noted for both."""
        self._calls, self._ahead = other._calls, other._ahead

    # --------------------------------------------------------------------------------------------------- noting calls

    def watched(self, send: Send) -> Send:
        """Return a `send` that notes token and userinfo calls, and the Date of every answer.

        A timeout does not count while the event loop is late: then the broker reads answers too late. What became of
        a document is noted by `discovery`, which also reads it.
        """

        async def send_watched(request: ProviderRequest) -> ProviderResponse:
            with self._lateness:
                began = self._lateness.lap()
                try:
                    answer = await send(request)
                except BrokerError as error:
                    if not (isinstance(error, ProviderTimedOut) and self._lateness.is_busy_since(began)):
                        self._note(request, error)
                    raise
                except asyncio.CancelledError:
                    self._note_cancelled(request, began)
                    raise
            self._note_answer(request, answer)
            if answer.date is not None:
                self._ahead.append(self._clock() - answer.date)
            return answer

        return send_watched

    def _note_answer(self, request: ProviderRequest, answer: ProviderResponse) -> None:
        """Note an answer. A refused code does not end a row of server errors: a stranger could hide an outage."""
        if is_failing(answer):
            self._note(request, ProviderFailing(expected=200, got=answer.status))
        elif not (request.kind == "token" and answer.status >= 400 and self._fails_with_server_errors("token")):
            self._note(request, None)

    def _fails_with_server_errors(self, call: Call) -> bool:
        failure = self._calls[call].last_failure
        return self.is_failing(call) and failure is not None and failure.code == ProviderFailing.code

    def _note_cancelled(self, request: ProviderRequest, began: Lap) -> None:
        """Note a timeout if the deadline of a sign-in ended a call that was slow itself."""
        seconds = self._lateness.lap().began - began.began
        if seconds >= self._slow_seconds and not self._lateness.is_busy_since(began):
            expected = "an answer before the deadline of the sign-in"
            self._note(request, ProviderTimedOut(expected=expected, got=f"no answer within {seconds:.1f} s"))

    def _note(self, request: ProviderRequest, error: BrokerError | None) -> None:
        if error is not None:
            error.redact(request.secrets)
        match request.kind:
            case "token" | "userinfo" as call:
                self.note(call, error)

    def note(self, call: Call, error: BrokerError | None) -> None:
        """Note how a call ended; None for a success."""
        calls, now = self._calls[call], self._monotonic()
        if error is None:
            calls.failures_in_row, calls.last_success = 0, now
            return
        if calls.failures_in_row == 0 or self._is_forgotten(call, now):
            calls.failures_in_row, calls.row_began = 0, now
        calls.failures_in_row += 1
        calls.last_failure = Failure(call, error.code, error.expected, error.got, error.remedy, now)

    # ------------------------------------------------------------------------------------------------ telling outages

    def problem(self) -> Failure | None:
        """Return the last failure of a call that keeps failing; None if there is no such call.

        A call keeps failing after `FAILURES` failures in a row, or after one if a document was never there.
        """
        now = self._monotonic()
        return next((self._calls[call].last_failure for call in _CALLS if self._keeps_failing(call, now)), None)

    def is_down(self) -> bool:
        """Tell whether sign-ins fail: a call keeps failing, and the stored documents do not make up for it."""
        problem = self.problem()
        if problem is None:
            return False
        if problem.call not in _DOCUMENTS:
            return True
        token = self._calls["token"].last_success
        return token is None or token < self._calls[problem.call].row_began

    def is_failing(self, call: Call) -> bool:
        """Tell whether the last call of a kind failed."""
        return self._calls[call].failures_in_row > 0

    def last_failure(self) -> Failure | None:
        """Return the newest failure of any call, also if the call works again."""
        failures = [calls.last_failure for calls in self._calls.values() if calls.last_failure is not None]
        return max(failures, key=lambda failure: failure.at, default=None)

    def seconds_since(self, moment: float) -> float:
        """Return how long ago a moment of the monotonic clock was."""
        return max(self._monotonic() - moment, 0.0)

    def seconds_since_success(self) -> float | None:
        """Return how long ago the newest success of any call was; None before the first."""
        successes = [calls.last_success for calls in self._calls.values() if calls.last_success is not None]
        return self.seconds_since(max(successes)) if successes else None

    def _keeps_failing(self, call: Call, now: float) -> bool:
        calls = self._calls[call]
        enough = 1 if call in _DOCUMENTS and calls.last_success is None else FAILURES
        return calls.failures_in_row >= enough and not self._is_forgotten(call, now)

    def _is_forgotten(self, call: Call, now: float) -> bool:
        """Tell whether a row of failures is too old; documents are fetched again until they come."""
        failure = self._calls[call].last_failure
        return call not in _DOCUMENTS and failure is not None and now - failure.at > FORGET_SECONDS

    # ------------------------------------------------------------------------------------------------------- the clock

    def clock_ahead(self) -> float | None:
        """Return the seconds by which the broker's clock is ahead of the provider's; None without a Date."""
        return (
            sorted(self._ahead)[len(self._ahead) // 2] if self._ahead else None
        )  # the median: `statistics` takes 1 MB


def describe_clock(ahead: float) -> str:
    """Say how the clock of this machine differs from the provider's.

    Args:
        ahead: seconds; negative if this machine's clock is behind.
    """
    seconds = round(abs(ahead))
    size = f"{seconds} seconds" if seconds < 120 else f"{round(seconds / 60)} minutes"
    return f"This machine's clock is {size} {'ahead of' if ahead > 0 else 'behind'} the provider's."


def clock_remedy(others: Sequence[float]) -> str:
    """Return what to do about a clock that differs: the other providers tell whose clock is wrong.

    Args:
        others: seconds by which this machine's clock is ahead of each other provider's.
    """
    agree = [other for other in others if abs(other) < CLOCK_AGREES_SECONDS]
    return THEIR_CLOCK_REMEDY if len(agree) * 2 > len(others) else OWN_CLOCK_REMEDY
