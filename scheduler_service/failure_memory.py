"""What the failures of a stock at a source mean for its next slot: asked again, left alone for a while, quarantined.

What holds every stock of a provider (a refused key, a rate, an outage) is its gate's to remember, not the stock's. A
failure in the future was noted by a wrong clock: void. Pure.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from scheduler_service.clock import DAY, HOUR, MINUTE, to_iso_seconds
from scheduler_service.models import Reason
from scheduler_service.settings.model import good_for_slots

if TYPE_CHECKING:
    from scheduler_service.clock import Instant, Micros
    from scheduler_service.models import StockState

FIRST_PAUSE = 15 * MINUTE
LONGEST_PAUSE_AFTER_PASSING = HOUR
"""What had nothing to do with the stock is over within hours; then it shall not be missing for half a day more."""
FIRST_PAUSE_AFTER_DOUBT = 6 * HOUR
"""An upstream that serves something wrong goes on doing so for a while."""
FIRST_QUARANTINE = 7 * DAY
LONGEST_QUARANTINE = 28 * DAY
UNKNOWN_FOR_GOOD = 3
"""So often in a row a stock is unknown before that is believed: a list of tickers may lack half its rows once, ..."""
LONGER_THAN_A_LIST_IS_KEPT = 26 * HOUR
"""... and is kept for a day: from the second time on, another list is waited for."""
MOST_DOUBLINGS = 20

PASSING = frozenset({Reason.PROVIDER_DOWN, Reason.TIMEOUT, Reason.DEADLINE, Reason.LOST})
OF_THE_PROVIDER = frozenset(
    {
        Reason.REFUSED,
        Reason.ENDPOINT_GONE,
        Reason.RATE_LIMITED,
        Reason.BUDGET_EXHAUSTED,
        Reason.PROVIDER_OFF,
        Reason.DISK_LOW,
        Reason.DISK_FAILED,
        Reason.CANCELLED,
    }
)


class Pause(NamedTuple):
    """Why a source is not asked for a stock, ``BACKING_OFF`` or ``QUARANTINED``, and until when."""

    reason: Reason
    until: Instant
    failures: int
    after: Reason

    @property
    def is_passing(self) -> bool:
        """Whether a person, who knows that it is over, may have it asked at once."""
        return self.after in PASSING

    def in_words(self) -> str:
        often = f" {self.failures} times" if self.failures > 1 else ""
        if self.reason is Reason.QUARANTINED:
            return f"unknown there{often} in a row, left alone until {to_iso_seconds(self.until)}"
        return f"asked again from {to_iso_seconds(self.until)} on: it failed{often} ({self.after})"


def pause_of(state: StockState, fresh_for: Micros, now: Instant) -> Pause | None:
    """None: it may be asked. Each failure doubles the pause, up to ``fresh_for``; of what is unknown for good, and of
    what is soon over, up to limits of their own.
    """
    tried_at, after = state.tried_at, state.reason
    if state.failures < 1 or after is None or after in OF_THE_PROVIDER or tried_at is None or tried_at > now:
        return None
    quarantined = quarantined_until(state)
    if quarantined is not None:
        return Pause(Reason.QUARANTINED, quarantined, state.failures, after) if now < quarantined else None
    until = tried_at + good_for_slots(_pause(after, state.failures, fresh_for))
    return Pause(Reason.BACKING_OFF, until, state.failures, after) if now < until else None


def _pause(after: Reason, failures: int, fresh_for: Micros) -> Micros:
    if after is Reason.UNKNOWN_SYMBOL and failures > 1:
        return LONGER_THAN_A_LIST_IS_KEPT
    longest = min(fresh_for, LONGEST_PAUSE_AFTER_PASSING) if after in PASSING else fresh_for
    first = FIRST_PAUSE_AFTER_DOUBT if after is Reason.DOUBTFUL else FIRST_PAUSE
    return _doubled(first, failures - 1, longest)


def quarantined_until(state: StockState) -> Instant | None:
    """The end of its quarantine, past or to come; None for what is not known to be unknown."""
    if state.reason is not Reason.UNKNOWN_SYMBOL or state.failures < UNKNOWN_FOR_GOOD or state.tried_at is None:
        return None
    return state.tried_at + _doubled(FIRST_QUARANTINE, state.failures - UNKNOWN_FOR_GOOD, LONGEST_QUARANTINE)


def _doubled(first: Micros, times: int, longest: Micros) -> Micros:
    return min(longest, first << min(times, MOST_DOUBLINGS))
