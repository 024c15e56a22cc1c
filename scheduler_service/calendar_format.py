"""A calendar as JSON: what ``market_sessions`` prints for an exchange, plus when it was made."""

from __future__ import annotations

import json
from datetime import date
from itertools import pairwise
from typing import Any

import orjson

from scheduler_service.clock import DAY, Instant, from_iso, to_iso
from scheduler_service.exchanges import find_exchange
from scheduler_service.market_calendar import Calendar, Session, longest_pause

FORMAT = 1
LONGEST_PAUSE_DAYS = 45
"""Athens closed for five weeks in 2015. A longer time without sessions is a file that lost some."""


def read_calendar(body: bytes, made_at: Instant | None = None) -> Calendar:
    """The calendar of a file; ``made_at`` where the text does not say it. Raises ``ValueError``."""
    try:
        raw = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise ValueError(f"it is not JSON: {error}") from None
    try:
        if raw["format"] != FORMAT:
            raise ValueError(f"its format is {raw['format']!r}, and only {FORMAT} is understood")
        calendar = Calendar(
            exchange=find_exchange(raw["exchange"]),
            sessions=tuple(map(_session, raw["sessions"])),
            first_day=date.fromisoformat(raw["first_day"]),
            last_day=date.fromisoformat(raw["last_day"]),
            made_at=made_at if "made_at" not in raw else from_iso(raw["made_at"]),
        )
    except KeyError as error:
        raise ValueError(f"it lacks {error}") from None
    except (TypeError, AttributeError, OverflowError) as error:
        raise ValueError(f"it is not a calendar: {error}") from None
    _check(calendar)
    return calendar


def calendar_text(calendar: Calendar) -> bytes:
    """What ``read_calendar`` reads; of a calendar that knows some days."""
    if calendar.first_day is None or calendar.last_day is None:
        raise ValueError(f"nothing is known of {calendar.name}")
    head: dict[str, Any] = {
        "format": FORMAT,
        "exchange": calendar.name,
        "first_day": calendar.first_day.isoformat(),
        "last_day": calendar.last_day.isoformat(),
    }
    if calendar.made_at is not None:
        head["made_at"] = to_iso(calendar.made_at)
    rows = ",\n".join(json.dumps(_row(session)) for session in calendar.sessions)
    return f'{json.dumps(head)[:-1]}, "sessions": [\n{rows}\n]}}\n'.encode()


def _row(session: Session) -> dict[str, Any]:
    row: dict[str, Any] = {
        "day": session.day.isoformat(),
        "open": to_iso(session.open),
        "close": to_iso(session.close),
    }
    if session.breaks:
        row["breaks"] = [[to_iso(start), to_iso(end)] for start, end in session.breaks]
    return row | {name: True for name in ("early", "late") if getattr(session, name)}


def _session(row: dict[str, Any]) -> Session:
    return Session(
        day=date.fromisoformat(row["day"]),
        open=from_iso(row["open"]),
        close=from_iso(row["close"]),
        breaks=tuple((from_iso(start), from_iso(end)) for start, end in row.get("breaks", ())),
        early=row.get("early") is True,
        late=row.get("late") is True,
    )


def _check(calendar: Calendar) -> None:
    """Raises ``ValueError`` where sessions overlap, lie outside their days, or are missing."""
    first_day, last_day = calendar.first_day, calendar.last_day
    assert first_day is not None
    assert last_day is not None
    for session in calendar.sessions:
        times = [session.open, *(time for pause in session.breaks for time in pause), session.close]
        if not all(earlier < later for earlier, later in pairwise(times)):
            raise ValueError(f"the times of its session of {session.day} are out of order")
        if not first_day <= session.day <= last_day:
            raise ValueError(f"its session of {session.day} is not in {first_day} to {last_day}")
        if abs(session.open - calendar.exchange.at(session.day, calendar.exchange.open)) > 2 * DAY:
            raise ValueError(f"its session of {session.day} opens on another day: {to_iso(session.open)}")
        if session.close - session.open > 2 * DAY:
            raise ValueError(f"its session of {session.day} closes days later: {to_iso(session.close)}")
    for earlier, later in pairwise(calendar.sessions):
        if earlier.close > later.open or earlier.day >= later.day:
            raise ValueError(f"its sessions of {earlier.day} and {later.day} overlap")
    start, end = longest_pause(calendar.sessions, first_day, last_day)
    if (end - start).days > LONGEST_PAUSE_DAYS:
        raise ValueError(f"it has no session between {start} and {end}")
