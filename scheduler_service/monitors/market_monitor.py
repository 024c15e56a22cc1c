"""Openings and closings of exchanges, each told once: also over restarts, and late where the service was down.

A session is one, over its lunch break too: the exchange is not open then, but it has not closed.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from typing import TYPE_CHECKING, Final
from zoneinfo import ZoneInfo

from scheduler_service.clock import DAY, HOUR, MINUTE, to_datetime, to_iso_seconds
from scheduler_service.models import Notice
from scheduler_service.monitors.base import Change
from scheduler_service.stores.monitor_store import MonitorState

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from scheduler_service.clock import Instant, Micros
    from scheduler_service.market_calendar import Calendar, Session

OPEN: Final = "open"
CLOSED: Final = "closed"
LATE: Micros = 2 * MINUTE
FAR: Micros = 14 * DAY
LONGEST_REST: Micros = 5 * MINUTE
UNKNOWN_REST: Micros = MINUTE // 4


@dataclass(frozen=True, slots=True)
class MarketState:
    """How an exchange is at an instant. ``until``: when that ends; ``note``: what is special about the session that is,
    or comes next. ``open`` is None where its calendar does not reach, and False with ``on_break`` over lunch.
    """

    exchange: str
    open: bool | None
    until: Instant | None = None
    note: str = ""
    on_break: bool = False


class MarketMonitor:
    """Of some exchanges."""

    name = "market"
    is_timeless = False

    def __init__(
        self, exchanges: Collection[str], calendar: Callable[[str], Calendar], longest_rest: Micros = LONGEST_REST
    ) -> None:
        self._longest_rest = longest_rest
        self._exchanges = sorted(exchanges)
        self._calendar = calendar

    def rest(self, now: Instant) -> Micros:
        """Until the next of them opens or closes; a clock that is set is noticed within minutes."""
        markets = self.markets(now)
        if any(state.open is None for state in markets):
            return UNKNOWN_REST  # its calendar is being made
        ends = [state.until for state in markets if state.until is not None and state.until > now]
        return min([self._longest_rest, *(end - now for end in ends)])

    async def observe(self) -> None:
        """It goes by the calendars alone."""

    def judge(self, before: Mapping[str, MonitorState], seen: None, now: Instant) -> Sequence[Change]:
        del seen
        return [
            change
            for exchange in self._exchanges
            if (change := _change(exchange, before.get(exchange), self._calendar(exchange), now)) is not None
        ]

    def markets(self, now: Instant) -> list[MarketState]:
        return [market(exchange, self._calendar(exchange), now) for exchange in self._exchanges]


def market(exchange: str, calendar: Calendar, now: Instant) -> MarketState:
    """How an exchange is, and what comes next."""
    if not calendar.is_known(now):
        return MarketState(exchange, None, note="its calendar does not reach so far")
    session = calendar.session_at(now)
    if session is not None:
        half = ["half day"] * session.early
        if (pause := session.break_at(now)) is not None:
            return MarketState(exchange, False, pause[1], ", ".join(half), on_break=True)
        ends = next(end for _, end in session.spans() if now < end)
        return MarketState(exchange, True, ends, ", ".join([*half, *["then its break"] * (ends < session.close)]))
    coming = next(iter(s for s in calendar.sessions_between(now, now + FAR) if s.open > now), None)
    if coming is None:
        return MarketState(exchange, False)
    today = to_datetime(now).astimezone(ZoneInfo(calendar.timezone)).date()
    days = [today + timedelta(days=n) for n in range((coming.day - today).days)]
    notes = [f"holiday on {day}" for day in days if calendar.is_holiday(day)] + ["then a half day"] * coming.early
    return MarketState(exchange, False, coming.open, ", ".join(notes))


def _change(exchange: str, before: MonitorState | None, calendar: Calendar, now: Instant) -> Change | None:
    if not calendar.is_known(now):
        return None
    session = calendar.session_at(now)
    was_open = before is not None and before.state == OPEN
    told = None if before is None else date.fromisoformat(before.body["day"])
    if session is not None:
        if was_open and told == session.day:
            return None
        notices = (*_closing(exchange, told if was_open else None, calendar, now), _opened(exchange, session, now))
        return Change(exchange, MonitorState(OPEN, now, now, {"day": session.day.isoformat()}), notices)
    if not was_open or told is None:
        return None
    return Change(
        exchange, MonitorState(CLOSED, now, now, {"day": told.isoformat()}), _closing(exchange, told, calendar, now)
    )


def _opened(exchange: str, session: Session, now: Instant) -> Notice:
    late = _late(now - session.open)
    half = " (a half day)" if session.early else ""
    breaks = [f"{to_iso_seconds(start)} to {to_iso_seconds(end)}" for start, end in session.breaks]
    but = f", but for its break from {' and '.join(breaks)}" if breaks else ""
    said = f"{exchange} is open{half} until {to_iso_seconds(session.close)}{but}{late}"
    facts = {"exchange": exchange, "open": to_iso_seconds(session.open), "close": to_iso_seconds(session.close)}
    return Notice(f"market.opened:{exchange}:{session.day}", "market.opened", said, facts)


def _closing(exchange: str, day: date | None, calendar: Calendar, now: Instant) -> tuple[Notice, ...]:
    """Of the session that was told to be open."""
    session = None if day is None else calendar.session_of(day)
    if session is None or not session.close <= now < session.close + FAR:
        return ()  # what was so long ago helps nobody to understand the rest
    late = _late(now - session.close)
    coming = market(exchange, calendar, now)
    then = "" if coming.open or coming.until is None else f"; it opens {to_iso_seconds(coming.until)}"
    said = f"{exchange} has closed{late}{then}{f' ({coming.note})' if then and coming.note else ''}"
    facts = {"exchange": exchange, "close": to_iso_seconds(session.close)}
    return (Notice(f"market.closed:{exchange}:{day}", "market.closed", said, facts),)


def _late(by: Micros) -> str:
    if by <= LATE:
        return ""
    return f", told {by // MINUTE} min late" if by < 2 * HOUR else f", told {by // HOUR} h late"
