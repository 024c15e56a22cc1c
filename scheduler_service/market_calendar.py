"""When an exchange is open: the sessions that are known, and around them the usual hours of its weekdays.

Beyond the known days a calendar does not say "closed": it assumes the usual hours, and marks such sessions
``assumed``. A session lasts from its open to before its close.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cached_property
from itertools import pairwise
from typing import Literal, NamedTuple, TypeAlias
from zoneinfo import ZoneInfo

from scheduler_service.clock import DAY, Instant, Micros, to_datetime
from scheduler_service.exchanges import Exchange
from scheduler_service.local_time import END_OF_TIME

Moment: TypeAlias = Literal["open", "close"]

REFRESH_AHEAD: Micros = 60 * DAY
"""A calendar that knows less than this of what is to come is computed anew, ..."""
REFRESH_AFTER: Micros = 30 * DAY
"""... and so is one this old, for exchanges announce changes; ..."""
REFRESH_AT_MOST_EVERY: Micros = DAY
"""... but not at every look, where no more is known to anybody."""

_FIRST_YEAR, _LAST_YEAR = 1900, to_datetime(END_OF_TIME).year


class Session(NamedTuple):
    """``day``: the one it belongs to. ``early``, ``late``: it closes before, or opens after, its usual time."""

    day: date
    open: Instant
    close: Instant
    breaks: tuple[tuple[Instant, Instant], ...] = ()
    early: bool = False
    late: bool = False
    assumed: bool = False

    def spans(self) -> Iterator[tuple[Instant, Instant]]:
        """From open to close without its breaks, each ``[start, end)``."""
        start = self.open
        for pause, resumed in self.breaks:
            yield start, pause
            start = resumed
        yield start, self.close

    def break_at(self, instant: Instant) -> tuple[Instant, Instant] | None:
        """The break that is on, ``[start, end)``."""
        return next((pause for pause in self.breaks if pause[0] <= instant < pause[1]), None)


class _Year(NamedTuple):
    sessions: tuple[Session, ...]
    opens: tuple[Instant, ...]
    closes: tuple[Instant, ...]

    def times(self, moment: Moment) -> tuple[Instant, ...]:
        return self.opens if moment == "open" else self.closes


@dataclass(frozen=True)
class Calendar:
    """``sessions`` are those of the days from ``first_day`` to ``last_day``, ascending; without them nothing is known.

    ``made_at``: when they were computed. Answers take a bisection within a year, whose sessions are laid out once.
    """

    exchange: Exchange
    sessions: tuple[Session, ...] = ()
    first_day: date | None = None
    last_day: date | None = None
    made_at: Instant | None = None

    @property
    def name(self) -> str:
        return self.exchange.name

    @property
    def timezone(self) -> str:
        return self.exchange.timezone

    def next(self, moment: Moment, after: Instant) -> Instant | None:
        """The first open or close after this instant."""
        for year in self._years(after, END_OF_TIME):
            times = year.times(moment)
            if (index := bisect_right(times, after)) < len(times):
                return times[index]
        return None

    def last(self, moment: Moment, after: Instant, until: Instant) -> Instant | None:
        """The newest open or close in ``(after, until]``."""
        for year in reversed(list(self._years(max(after, until - 400 * DAY), until))):
            times = year.times(moment)
            if index := bisect_right(times, until):
                return times[index - 1] if times[index - 1] > after else None
        return None

    def count(self, moment: Moment, after: Instant, until: Instant) -> int:
        """How many opens or closes lie in ``(after, until]``."""
        if until <= after:
            return 0
        years = (year.times(moment) for year in self._years(after, until))
        return sum(bisect_right(times, until) - bisect_right(times, after) for times in years)

    def sessions_between(self, start: Instant, end: Instant) -> Iterator[Session]:
        """The sessions that share some time with ``[start, end)``, ascending."""
        if start >= end:
            return
        for year in self._years(start, end):
            yield from year.sessions[bisect_right(year.closes, start) : bisect_left(year.opens, end)]

    def session_at(self, instant: Instant) -> Session | None:
        """The session that is on, its breaks included."""
        return next(self.sessions_between(instant, instant + 1), None)

    def session_of(self, day: date) -> Session | None:
        """The session that belongs to this day."""
        sessions = self._year(day.year).sessions
        index = bisect_left(sessions, day, key=lambda session: session.day)
        return sessions[index] if index < len(sessions) and sessions[index].day == day else None

    def is_known(self, instant: Instant) -> bool:
        """Whether the sessions of this local day were computed, not assumed."""
        day = to_datetime(instant).astimezone(ZoneInfo(self.timezone)).date()
        return self._knows(day)

    def is_holiday(self, day: date) -> bool:
        """Whether there is no session on this day although there usually is one on its weekday."""
        return self._knows(day) and day.weekday() in self.exchange.weekdays and self.session_of(day) is None

    def _knows(self, day: date) -> bool:
        return self.first_day is not None and self.last_day is not None and self.first_day <= day <= self.last_day

    def _years(self, start: Instant, end: Instant) -> Iterator[_Year]:
        """The years whose sessions may lie in ``[start, end]``: near its ends one may begin in another year."""
        first, last = to_datetime(start - 3 * DAY).year, to_datetime(end + 3 * DAY).year
        for number in range(max(first, _FIRST_YEAR), min(last, _LAST_YEAR) + 1):
            yield self._year(number)

    def _year(self, number: int) -> _Year:
        year = self._laid_out.get(number)
        if year is None:
            sessions = tuple(self._sessions_of(number))
            year = _Year(sessions, tuple(s.open for s in sessions), tuple(s.close for s in sessions))
            self._laid_out[number] = year
        return year

    @cached_property
    def _laid_out(self) -> dict[int, _Year]:
        return {}

    @cached_property
    def _known(self) -> dict[date, Session]:
        return {session.day: session for session in self.sessions}

    def _sessions_of(self, year: int) -> Iterator[Session]:
        first = date(year, 1, 1)
        for day in (first + timedelta(days=n) for n in range((date(year + 1, 1, 1) - first).days)):
            if self._knows(day):
                if (session := self._known.get(day)) is not None:
                    yield session
            elif day.weekday() in self.exchange.weekdays:
                yield _assumed(self.exchange, day)


def _assumed(exchange: Exchange, day: date) -> Session:
    start, end = exchange.usual_open(day), exchange.usual_close(day)
    return Session(day, start, end, exchange.usual_breaks(day), assumed=True)


def weekday_fallback(exchange: Exchange) -> Calendar:
    """The calendar of an exchange of which nothing is known but its usual hours: it has no holidays."""
    return Calendar(exchange)


def needs_refresh(calendar: Calendar, now: Instant) -> bool:
    """Whether to compute it anew. One made in the future was made by a wrong clock."""
    if calendar.last_day is None or calendar.made_at is None or calendar.made_at > now:
        return True
    age = now - calendar.made_at
    return age >= REFRESH_AFTER or (age >= REFRESH_AT_MOST_EVERY and known_ahead(calendar, now) < REFRESH_AHEAD)


def known_ahead(calendar: Calendar, now: Instant) -> Micros:
    """How far from now sessions are known; 0 where not even today's are."""
    if calendar.last_day is None or not calendar.is_known(now):
        return 0
    return max(0, calendar.exchange.at(calendar.last_day, calendar.exchange.close) - now)


def longest_pause(sessions: tuple[Session, ...], first_day: date, last_day: date) -> tuple[date, date]:
    """The days around the longest time without a session."""
    days = [first_day, *(session.day for session in sessions), last_day]
    return max(pairwise(days), key=lambda pair: pair[1] - pair[0])
