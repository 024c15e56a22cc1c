"""How old something is: by the clock, or by the sessions of an exchange, for what does not age while it is closed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from scheduler_service.local_time import END_OF_TIME

if TYPE_CHECKING:
    from scheduler_service.clock import Instant, Micros
    from scheduler_service.market_calendar import Calendar


class Ageing(Protocol):
    """Counts time."""

    def between(self, start: Instant, end: Instant) -> Micros:
        """How much older something is at ``end`` than at ``start``; not above 0 where the end comes first."""

    def after(self, start: Instant, span: Micros) -> Instant:
        """The first instant at which what was new at ``start`` is that old."""


class Elapsed:
    """Every hour counts."""

    def between(self, start: Instant, end: Instant) -> Micros:
        return end - start

    def after(self, start: Instant, span: Micros) -> Instant:
        return start + span


ELAPSED = Elapsed()


@dataclass(frozen=True)
class MarketTime:
    """Only the sessions of an exchange count, without their breaks: Friday's close is as good on Sunday."""

    calendar: Calendar

    def between(self, start: Instant, end: Instant) -> Micros:
        sessions = self.calendar.sessions_between(start, end)
        return sum(max(0, min(stop, end) - max(begin, start)) for one in sessions for begin, stop in one.spans())

    def after(self, start: Instant, span: Micros) -> Instant:
        left = span
        for session in self.calendar.sessions_between(start, END_OF_TIME):
            for begin, stop in session.spans():
                begins = max(begin, start)
                if begins + left <= stop:
                    return begins + left
                left -= max(0, stop - begins)
        return END_OF_TIME
