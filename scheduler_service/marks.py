"""What is special about a slot, in words: where the clocks change, after holidays, on half days."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import date, time, timedelta
from zoneinfo import ZoneInfo

from scheduler_service.clock import DAY, HOUR, MINUTE, Instant, Micros, to_datetime
from scheduler_service.cron import CronTrigger
from scheduler_service.local_time import shown_again
from scheduler_service.market_calendar import Calendar, Session
from scheduler_service.market_trigger import MarketTrigger
from scheduler_service.stores.pause_store import EVERYTHING, PauseRow
from scheduler_service.triggers import Trigger, Windowed, timezone_of, without_window
from scheduler_service.windows import SessionsWindow

_LOOKED_BACK = 14
"""Days: no row of holidays is longer."""
_NAMED_ONE_BY_ONE = 3


def marks(trigger: Trigger, due_at: Instant, timezone: str) -> list[str]:
    """What a reader of the slot's local time should know; ``timezone`` is that of slots that have none of their own."""
    return [*_clock_marks(trigger, due_at, timezone_of(trigger, timezone)), *_market_marks(trigger, due_at)]


def note(trigger: Trigger, schedule_id: str, due_at: Instant, timezone: str, pauses: Iterable[PauseRow] = ()) -> str:
    """The same in one, with the pause that the slot falls into; empty where nothing is special."""
    mine = (pause for pause in pauses if pause.scope in (EVERYTHING, schedule_id))
    paused = ["paused: it will be skipped"] if any(pause.holds_at(due_at) for pause in mine) else []
    return "; ".join([*marks(trigger, due_at, timezone), *paused])


def _clock_marks(trigger: Trigger, due_at: Instant, timezone: str) -> Iterator[str]:
    inner = without_window(trigger)
    shown = to_datetime(due_at).astimezone(ZoneInfo(timezone))
    if isinstance(inner, CronTrigger) and (skipped := inner.made_good(due_at)):
        times, verb = _times(skipped), "does" if len(skipped) == 1 else "do"
        yield f"clocks go forward: {times} {verb} not exist, runs at {shown:%H:%M}"
    if shown.fold:
        yield f"clocks go back: the second {shown:%H:%M} of the day"
    elif isinstance(inner, CronTrigger) and inner.is_left_out_again(due_at):
        yield f"clocks go back: {shown:%H:%M} comes twice, runs the first time"
    elif shown_again(timezone, due_at):
        yield f"clocks go back: the first {shown:%H:%M} of the day"


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


def window_warnings(triggers: Mapping[str, Trigger]) -> list[str]:
    """A sentence for each schedule (by its id) whose window lets no slot through on the days that are known."""
    found = ((schedule_id, _excluded(trigger)) for schedule_id, trigger in triggers.items())
    return [f"schedule {schedule_id}: {sentence}" for schedule_id, sentence in found if sentence is not None]


def _excluded(trigger: Trigger) -> str | None:
    calendar = calendar_behind(trigger)
    if calendar is None or not isinstance(trigger, Windowed) or not (calendar.first_day and calendar.last_day):
        return None
    start = calendar.exchange.at(calendar.first_day, time.min)
    end = calendar.exchange.at(calendar.last_day + timedelta(days=1), time.min)
    slot, inside = trigger.trigger.next(start - 1), trigger.next(start - 1)
    if slot is None or slot >= end or (inside is not None and inside < end):
        return None
    assumed = "" if inside is None else "; those to come are on days of which only the usual hours are assumed"
    return (
        f"no slot of {trigger.trigger.describe()!r} is inside {trigger.window.describe()!r} on any day that the "
        f"calendar of {calendar.name} knows, {calendar.first_day} to {calendar.last_day}{assumed}; change the trigger "
        "or the window"
    )


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
    inner = without_window(trigger)
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


def _times(local: list[Micros]) -> str:
    if len(local) > _NAMED_ONE_BY_ONE:
        return f"{_clock(local[0])} to {_clock(local[-1])}"
    return _and([_clock(shown) for shown in local])


def _clock(local: Micros) -> str:
    return f"{local % DAY // HOUR:02}:{local % HOUR // MINUTE:02}"


def _and(words: list[str]) -> str:
    return " and ".join(filter(None, (", ".join(words[:-1]), words[-1])))
