"""The time inside which a schedule has slots: the sessions of an exchange, or hours of weekdays.

A window is a row of spans ``[start, end)``: a slot exactly at the open or at 08:00 is inside, one exactly at the close
or at 18:00 is not. Sessions are without their breaks: over lunch, Tokyo is closed. Hours are what the wall clock
shows: a skipped hour is no part of a window, a repeated one is all of it, both times.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from difflib import get_close_matches
from functools import cached_property
from typing import Any, NamedTuple, Protocol, TypeAlias

from scheduler_service.clock import DAY, HOUR, MINUTE, Instant, Micros
from scheduler_service.exchanges import find_exchange
from scheduler_service.local_time import END_OF_TIME, EPOCH_ORDINAL, WEEKDAYS, constant_offsets, parse_zone
from scheduler_service.market_calendar import Calendar, weekday_fallback

Calendars: TypeAlias = Callable[[str], Calendar]
"""The calendar of an exchange, by the name ``find_exchange`` gives it."""

_DAYS = tuple(day[:3].lower() for day in WEEKDAYS)
_DAY_NUMBERS = {name: n for n, day in enumerate(WEEKDAYS) for name in (day[:3].lower(), day.lower())}
_FORMS = 'a window is {market: XNYS} or {days: mon-fri, hours: "08:00-18:00"}'
_HOURS = re.compile(r"(\d{1,2}):(\d{2}) ?- ?(\d{1,2}):(\d{2})")
_LONGEST_PAUSE: Micros = 45 * DAY  # of hours of weekdays two weeks, where a whole day was skipped; of sessions five


class Span(NamedTuple):
    """``[start, end)``."""

    start: Instant
    end: Instant


class Window(Protocol):
    """Spans of time, ascending, without overlap."""

    def spans(self, start: Instant, end: Instant) -> Iterator[Span]:
        """The spans that share some time with ``[start, end)``; they may be cut to it, and where the clocks change."""

    def describe(self) -> str:
        """In words, as in "on Monday through Friday from 08:00 to 18:00"."""

    def said(self) -> dict[str, str]:
        """One value per meaning; ``parse_window`` reads it."""


def first_span(window: Window, instant: Instant) -> Span | None:
    """The span that is on at this instant, or the next one."""
    return next(window.spans(instant, min(instant + _LONGEST_PAUSE, END_OF_TIME)), None)


def last_span(window: Window, instant: Instant) -> Span | None:
    """The span that is on at this instant, or the one before."""
    for back in (2 * DAY, 9 * DAY, _LONGEST_PAUSE):
        if found := list(window.spans(instant - back, instant + 1)):
            return found[-1]
    return None


@dataclass(frozen=True)
class SessionsWindow:
    """While an exchange is open."""

    calendar: Calendar

    def spans(self, start: Instant, end: Instant) -> Iterator[Span]:
        for session in self.calendar.sessions_between(start, end):
            yield from (Span(a, b) for a, b in session.spans() if b > start and a < end)

    def describe(self) -> str:
        exchange = self.calendar.exchange
        return f"during the sessions of {exchange.name} (usually {exchange.hours()}, {exchange.timezone})"

    def said(self) -> dict[str, str]:
        return {"market": self.calendar.name}


@dataclass(frozen=True)
class HoursWindow:
    """``days``: weekdays, 0 is Monday. ``start``, ``end``: local times from midnight; an end that is not after the
    start is one of the next day, and the day that counts is that of the start.
    """

    days: frozenset[int]
    start: Micros
    end: Micros
    timezone: str

    @cached_property
    def _length(self) -> Micros:
        return self.end - self.start + (DAY if self.end <= self.start else 0)

    def spans(self, start: Instant, end: Instant) -> Iterator[Span]:
        if start >= end:
            return
        for begin, stop, offset in constant_offsets(self.timezone, start, end):
            for day in range((begin + offset) // DAY - 1, (stop + offset) // DAY + 1):
                if date.fromordinal(EPOCH_ORDINAL + day).weekday() in self.days:
                    opens = day * DAY + self.start - offset
                    span = Span(max(opens, begin), min(opens + self._length, stop))
                    if span.start < span.end:
                        yield span

    def describe(self) -> str:
        days = "every day" if len(self.days) == len(_DAYS) else f"on {_days_in_words(self.days)}"
        return f"{days} from {_clock(self.start)} to {_clock(self.end)}, {self.timezone}"

    def said(self) -> dict[str, str]:
        days = ",".join(_DAYS[day] for day in sorted(self.days))
        return {"days": days, "hours": f"{_clock(self.start)}-{_clock(self.end)}", "timezone": self.timezone}


def parse_window(spec: Mapping[str, Any], timezone: str, calendars: Calendars | None = None) -> Window:
    """The window a configuration names; ``timezone`` holds where the spec gives none.

    Raises ``ValueError`` with a sentence that says what would be right.
    """
    if not isinstance(spec, Mapping) or not spec:
        raise ValueError(f"{spec!r} is not a window; {_FORMS}")
    refuse_unknown_keys(spec, ("market", "days", "hours", "timezone"), "a window", _FORMS)
    allowed = ("market",) if "market" in spec else ("days", "hours", "timezone")
    for key in spec:
        if key not in allowed:
            beside = " with 'market'" if "market" in spec else ""
            raise ValueError(f"{key!r} does not belong in a window{beside}; {_FORMS}")
    if "market" in spec:
        return SessionsWindow(calendar_of(spec["market"], calendars))
    days = _parse_days(spec["days"]) if "days" in spec else frozenset(range(len(_DAYS)))
    start, end = _parse_hours(spec["hours"]) if "hours" in spec else (0, DAY)
    return HoursWindow(days, start, end, parse_zone(spec.get("timezone", timezone)))


def refuse_unknown_keys(spec: Mapping[str, Any], known: Collection[str], what: str, forms: str) -> None:
    """Raises ``ValueError`` with the key that was probably meant, else with the ``forms`` there are."""
    for key in spec:
        if key not in known:
            close = get_close_matches(str(key).lower(), known, n=1)
            right = f"did you mean {close[0]}?" if close else forms
            raise ValueError(f"{key}: {key!r} does not belong in {what}; {right}")


def calendar_of(exchange: object, calendars: Calendars | None) -> Calendar:
    """The calendar of an exchange, of which nothing but the usual hours is known without ``calendars``.

    Raises ``ValueError``.
    """
    try:
        found = find_exchange(exchange)
    except ValueError as error:
        raise ValueError(f"market: {error}") from None
    return (calendars or usual_hours)(found.name)


def usual_hours(exchange: str) -> Calendar:
    """The calendar of an exchange of which nothing else is known."""
    return weekday_fallback(find_exchange(exchange))


def _parse_days(value: object) -> frozenset[int]:
    text = ",".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
    days: set[int] = set()
    for part in text.lower().replace(" ", "").split(","):
        first, dash, last = part.partition("-")
        if first not in _DAY_NUMBERS or (dash and last not in _DAY_NUMBERS):
            raise ValueError(f"days: {value!r} are not weekdays; write mon-fri, sat-sun or mon,wed,fri")
        begin, end = _DAY_NUMBERS[first], _DAY_NUMBERS[last or first]
        days.update(day % len(_DAYS) for day in range(begin, (end if end >= begin else end + len(_DAYS)) + 1))
    return frozenset(days)


def _parse_hours(value: object) -> tuple[Micros, Micros]:
    match = _HOURS.fullmatch(value.strip()) if isinstance(value, str) else None
    numbers = [int(number) for number in match.groups()] if match else [99] * 4
    start, end = (numbers[i] * HOUR + numbers[i + 1] * MINUTE for i in (0, 2))
    if start >= DAY or end > DAY or numbers[1] > 59 or numbers[3] > 59:
        raise ValueError(
            f'hours: {value!r} are not hours of a day; write "08:00-18:00", or "22:00-02:00" over midnight'
        )
    if start == end:
        raise ValueError(f'hours: {value!r} begin where they end; write "00:00-24:00" for all day')
    return start, end or DAY


def _clock(time: Micros) -> str:
    return f"{time // HOUR:02}:{time % HOUR // MINUTE:02}"


def _days_in_words(days: frozenset[int]) -> str:
    names = [WEEKDAYS[day] for day in sorted(days)]
    if len(names) > 2 and max(days) - min(days) == len(days) - 1:
        return f"{names[0]} through {names[-1]}"
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))
