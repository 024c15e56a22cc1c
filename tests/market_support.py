"""Calendars for tests: of facts everybody can look up, and those the real process computes."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Collection, Mapping
from datetime import date, time, timedelta
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import orjson
import pytest

from scheduler_service import market_calendar
from scheduler_service.calendar_format import read_calendar
from scheduler_service.clock import from_iso
from scheduler_service.exchanges import Exchange, find_exchange
from scheduler_service.market_calendar import Calendar, Session

SCRIPT = Path(market_calendar.__file__).with_name("market_sessions.py")
MADE_AT = from_iso("2026-11-01T00:00:00Z")

# New York Stock Exchange, as published by it. 3 July 2026 and 18 June, 5 July and 24 December 2027 are observed days.
NEW_YORK_CLOSED = tuple(
    map(
        date.fromisoformat,
        [
            "2026-01-01",
            "2026-01-19",
            "2026-02-16",
            "2026-04-03",
            "2026-05-25",
            "2026-06-19",
            "2026-07-03",
            "2026-09-07",
            "2026-11-26",
            "2026-12-25",
            "2027-01-01",
            "2027-01-18",
            "2027-02-15",
            "2027-03-26",
            "2027-05-31",
            "2027-06-18",
            "2027-07-05",
            "2027-09-06",
            "2027-11-25",
            "2027-12-24",
        ],
    )
)
NEW_YORK_EARLY = {date(2026, 11, 27): time(13), date(2026, 12, 24): time(13), date(2027, 11, 26): time(13)}
FIRST_DAY, LAST_DAY = date(2026, 1, 1), date(2027, 12, 31)


@cache
def new_york() -> Calendar:
    """2026 and 2027 in New York."""
    return calendar_of("XNYS", NEW_YORK_CLOSED, NEW_YORK_EARLY)


@cache
def tokyo() -> Calendar:
    """Two years in Tokyo with some of its holidays: what matters is the lunch break."""
    return calendar_of("XTKS", (date(2026, 1, 1), date(2026, 11, 3), date(2026, 11, 23)), {})


def calendars(exchange: str) -> Calendar:
    """Of New York and Tokyo two years are known, of all others nothing."""
    known = {"XNYS": new_york, "XTKS": tokyo}
    return known[exchange]() if exchange in known else Calendar(find_exchange(exchange))


def calendar_of(name: str, closed: Collection[date], early: Mapping[date, time]) -> Calendar:
    """From the usual hours of today, the days without a session and those that end early."""
    exchange = find_exchange(name)
    days = [FIRST_DAY + timedelta(days=n) for n in range((LAST_DAY - FIRST_DAY).days + 1)]
    sessions = [_session(exchange, day, early) for day in days if day.weekday() in exchange.weekdays]
    return Calendar(exchange, tuple(s for s in sessions if s.day not in closed), FIRST_DAY, LAST_DAY, MADE_AT)


def _session(exchange: Exchange, day: date, early: Mapping[date, time]) -> Session:
    close = exchange.at(day, early[day]) if day in early else exchange.usual_close(day)
    breaks = exchange.usual_breaks(day) if close == exchange.usual_close(day) else ()
    return Session(day, exchange.usual_open(day), close, breaks, day in early)


def run_script(*arguments: str) -> bytes:
    """What ``market_sessions`` prints; skips the test where exchange_calendars is not installed."""
    if find_spec("exchange_calendars") is None:
        pytest.skip("exchange_calendars is not installed")
    return subprocess.run([sys.executable, "-P", str(SCRIPT), *arguments], check=True, stdout=subprocess.PIPE).stdout


@cache
def computed(*exchanges: str, first: str = "2026-01-01", last: str = "2027-12-31") -> Mapping[str, Calendar]:
    """What exchange_calendars knows of some exchanges."""
    answers = orjson.loads(run_script(*exchanges, "--from", first, "--to", last))
    return {name: read_calendar(orjson.dumps(answer), MADE_AT) for name, answer in answers.items()}
