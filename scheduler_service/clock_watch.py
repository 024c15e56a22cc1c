"""Whether the wall clock can be believed: set before this program was made, or stepped since the last look."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scheduler_service.clock import BUILT_AT, DAY, HOUR, MINUTE, SECOND, to_iso_seconds
from scheduler_service.errors import SchedulerServiceError
from scheduler_service.models import Event

if TYPE_CHECKING:
    from scheduler_service.clock import Clock, Micros
    from scheduler_service.models import Publish

SMALLEST_STEP: Micros = 2 * SECOND
"""Less is a clock that is being adjusted."""
LONGEST_STALL: Micros = 5 * SECOND
"""Less is a busy machine."""


class ClockWatch:
    """Says what it notices, once."""

    def __init__(self, clock: Clock, publish: Publish) -> None:
        self._clock = clock
        self._publish = publish
        self._ahead = self._ahead_of_monotonic()
        self._said = False

    @property
    def problem(self) -> str | None:
        """Why nothing is planned at all."""
        now = self._clock.now()
        if now >= BUILT_AT:
            return None
        shown, built = to_iso_seconds(now), to_iso_seconds(BUILT_AT)[:10]
        return f"the clock shows {shown}, and this program is of {built}; nothing is done until the clock is right"

    def is_impossible(self) -> bool:
        """Whether the clock is before this program was made."""
        problem = self.problem
        if problem is not None and not self._said:
            self._publish(Event("clock.implausible", problem, {}, "ERROR"))
        self._said = problem is not None
        return self._said

    def refuse_impossible(self) -> None:
        """Raises ``SchedulerServiceError``."""
        if self.is_impossible():
            raise SchedulerServiceError(str(self.problem))

    def stepped(self) -> bool:
        """Whether the clock was set, or the machine slept, since this was last asked."""
        before, self._ahead = self._ahead, self._ahead_of_monotonic()
        step = self._ahead - before
        if abs(step) <= SMALLEST_STEP:
            return False
        way = "forward" if step > 0 else "back"
        why = "it was set, or the machine slept" if step > 0 else "it was set"
        message = f"the clock went {way} by {_in_words(abs(step))} ({why}); every schedule is looked at anew"
        self._publish(Event("clock.jumped", message, {"step_ms": step // 1000}, "WARNING"))
        return True

    def rested(self, seconds: float, *, since: float) -> None:
        """Says so where a rest of ``seconds`` took much longer. ``since``: its beginning, by the monotonic clock."""
        late = int((self._clock.monotonic() - since - seconds) * SECOND)
        if late > LONGEST_STALL:
            message = f"nothing was done for {_in_words(late)}: the process was stopped, or the machine was busy"
            self._publish(Event("service.stalled", f"{message}; every schedule is looked at anew", {}, "WARNING"))

    def _ahead_of_monotonic(self) -> Micros:
        return self._clock.now() - int(self._clock.monotonic() * SECOND)


def _in_words(micros: Micros) -> str:
    for unit, name in ((DAY, "d"), (HOUR, "h"), (MINUTE, "min")):
        if micros >= 2 * unit:
            return f"{micros / unit:.1f} {name}".replace(".0 ", " ")
    return f"{micros / SECOND:.1f} s"
