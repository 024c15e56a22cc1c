"""What is special about a slot, in words: where the clocks change, after holidays, on half days."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta
from zoneinfo import ZoneInfo

from scheduler_service.clock import DAY, HOUR, MINUTE, Instant, Micros, to_datetime
from scheduler_service.cron import CronTrigger
from scheduler_service.local_time import constant_offsets
from scheduler_service.market_calendar import Calendar, Session
from scheduler_service.market_trigger import MarketTrigger
from scheduler_service.triggers import Trigger, Windowed, timezone_of
from scheduler_service.windows import SessionsWindow

_LOOKED_BACK = 14
"""Days: no row of holidays is longer."""


def marks(trigger: Trigger, due_at: Instant, timezone: str) -> list[str]:
    """What a reader of the slot's local time should know; ``timezone`` is that of slots that have none of their own."""
    return [*_clock_marks(trigger, due_at, timezone_of(trigger, timezone)), *_market_marks(trigger, due_at)]


def _clock_marks(trigger: Trigger, due_at: Instant, timezone: str) -> Iterator[str]:
    inner = trigger.trigger if isinstance(trigger, Windowed) else trigger
    shown = to_datetime(due_at).astimezone(ZoneInfo(timezone))
    if isinstance(inner, CronTrigger) and (skipped := inner.made_good(due_at)):
        times, verb = _and([_clock(local) for local in skipped]), "does" if len(skipped) == 1 else "do"
        yield f"clocks go forward: {times} {verb} not exist, runs at {shown:%H:%M}"
    if shown.fold:
        yield f"clocks go back: the second {shown:%H:%M} of the day"
    elif _comes_again(due_at, timezone):
        yield f"clocks go back: the first {shown:%H:%M} of the day"


def _comes_again(due_at: Instant, timezone: str) -> bool:
    """Whether the same local time follows once more."""
    offsets = list(constant_offsets(timezone, due_at, due_at + 3 * HOUR))
    return len(offsets) > 1 and offsets[1][0] + offsets[1][2] <= due_at + offsets[0][2]


def _market_marks(trigger: Trigger, due_at: Instant) -> Iterator[str]:
    calendar = calendar_behind(trigger)
    if calendar is None:
        return
    session = _session_behind(trigger, calendar, due_at)
    if session is None or session.assumed:
        yield f"the calendar of {calendar.name} is not known for this day: usual hours are assumed"
        return
    zone = ZoneInfo(calendar.timezone)
    if session.early:
        yield f"half day: {calendar.name} closes at {to_datetime(session.close).astimezone(zone):%H:%M}"
    if session.late:
        yield f"late start: {calendar.name} opens at {to_datetime(session.open).astimezone(zone):%H:%M}"
    is_first = trigger.last(session.open - 1, due_at - 1) is None
    if is_first and (holidays := holidays_before(calendar, session.day)):
        yield f"first session after {_and([f'{day:%a} {day.day} {day:%b}' for day in holidays])}, when it was closed"


def calendar_behind(trigger: Trigger) -> Calendar | None:
    """The calendar that decides on a trigger's slots."""
    if isinstance(trigger, MarketTrigger):
        return trigger.calendar
    if isinstance(trigger, Windowed):
        return (
            trigger.window.calendar if isinstance(trigger.window, SessionsWindow) else calendar_behind(trigger.trigger)
        )
    return None


def _session_behind(trigger: Trigger, calendar: Calendar, due_at: Instant) -> Session | None:
    inner = trigger.trigger if isinstance(trigger, Windowed) else trigger
    if isinstance(inner, MarketTrigger) and inner.calendar is calendar:
        moment = due_at - inner.offset
        return calendar.session_at(moment if inner.moment == "open" else moment - 1)
    return calendar.session_at(due_at)


def holidays_before(calendar: Calendar, day: date) -> list[date]:
    """The days since the session before that usually have one, ascending."""
    found: list[date] = []
    for back in range(1, _LOOKED_BACK + 1):
        earlier = day - timedelta(days=back)
        if calendar.session_of(earlier) is not None:
            break
        if calendar.is_holiday(earlier):
            found.append(earlier)
    return found[::-1]


def _clock(local: Micros) -> str:
    return f"{local % DAY // HOUR:02}:{local % HOUR // MINUTE:02}"


def _and(words: list[str]) -> str:
    return " and ".join(filter(None, (", ".join(words[:-1]), words[-1])))
