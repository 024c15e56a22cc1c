"""Triggers against an oracle that shares no code with them: a walk over the minutes of three years in UTC, each with
what ``zoneinfo`` shows on the wall, and a reading of cron fields of its own.
"""

from __future__ import annotations

import random
from bisect import bisect_right
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from zoneinfo import ZoneInfo

import pytest

from scheduler_service.clock import MINUTE, SECOND
from scheduler_service.triggers import Trigger, parse_during, parse_trigger
from tests.market_support import NEW_YORK_CLOSED, NEW_YORK_EARLY, calendars, computed

EXPRESSIONS = (
    # of every hour: every real minute that matches, also of a repeated hour
    "* * * * *",
    "30 * * * *",
    "*/25 * * 3,4,10,11 *",
    "5,35 * * * mon-fri",
    "59 * L * *",
    "0-10/5 * 13 * fri",
    "0 0-23 * * *",
    "10 12-23,0-11 * * sat,sun",
    "45 */1 * * *",
    # of some hours: each local time once
    "*/5 0-3 * * *",
    "*/15 9-16 * * mon-fri",
    "*/7 1-3 * * *",
    "*/20 2 * * *",
    "*/59 23 * * *",
    "0 */2 * * *",
    "0 */24 * * *",
    "30 0-22 * * *",
    "17 */5 1-7 * *",
    "0 */6 * 3,4,10,11 *",
    "* 2 * * sun",
    "* 0 29 2 *",
    "0 0 * * *",
    "30 0 * * *",
    "1 0 1 * *",
    "0 1 * * *",
    "30 1 * * *",
    "59 1 * * sun",
    "0 2 * * *",
    "15 2 * * *",
    "30 2 * * 7",
    "45 2 * * 0",
    "0,30 2 * * *",
    "0 3 * * *",
    "0,30 1-3 * * sun",
    "59 23 * * *",
    "30 23 * * 6",
    "59 23,0 * * *",
    "0 23,0,1,2,3 * * sat,sun",
    "0 7 * * mon-fri",
    "0 7 * * 1-5",
    "0 9,15 * * tue,thu",
    "30 6 1,15 * *",
    "0 12 13 * fri",
    "0 6 L * *",
    "45 5 28-31 * *",
    "0 0 1 1 *",
    "30 2 29 2 *",
    "15 2,3 * * 7",
    "0 8 * jan-mar mon",
    "0 8 */10 * *",
    "10-50/20 4 * * wed",
    "0 10 * * fri#2",
    "0 2 8-14 3 sun",
    "30 1 1-7 11 sun",
)
ZONES = (
    "America/New_York",
    "Europe/Berlin",
    "Australia/Lord_Howe",  # half an hour
    "America/Nuuk",  # 23:00 to 24:00 is skipped
    "Africa/Cairo",  # 00:00 to 01:00 is skipped
    "Africa/Casablanca",  # goes back first, for Ramadan
)
START, END = datetime(2025, 6, 1, tzinfo=UTC), datetime(2028, 6, 1, tzinfo=UTC)
WEEKDAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
DAY_MINUTES = 1440
SKIPPED = -1

Minute = int
"""Minutes since 1970 in UTC; local ones count what the wall shows."""


@dataclass(frozen=True)
class Walls:
    """``local[n]``: what the wall shows n minutes after ``start``. ``first``, ``second``: when a local time is shown
    the first and the second time; the first is ``SKIPPED`` where it never does.
    """

    start: Minute
    local: list[Minute]
    first: list[Minute]
    second: dict[Minute, Minute]

    def first_time(self, local: Minute) -> Minute:
        """The minute of a local time; of a skipped one the minute after the gap."""
        index = local - self.local[0]
        while self.first[index] == SKIPPED:
            index += 1
        return self.first[index]


@cache
def walls(timezone: str) -> Walls:
    zone = ZoneInfo(timezone)
    start, minutes = int(START.timestamp()) // 60, int((END - START).total_seconds()) // 60
    epoch, one_day = datetime(1970, 1, 1), DAY_MINUTES
    base = epoch.toordinal() * one_day
    local = []
    for minute in range(start, start + minutes):
        shown = datetime.fromtimestamp(minute * 60, zone)
        local.append(shown.toordinal() * one_day + shown.hour * 60 + shown.minute - base)
    first = [SKIPPED] * (max(local) - local[0] + 1)
    second: dict[Minute, Minute] = {}
    for minute, shown_minute in enumerate(local, start):
        index = shown_minute - local[0]
        if first[index] == SKIPPED:
            first[index] = minute
        else:
            second[shown_minute] = minute
    return Walls(start, local, first, second)


def numbers(field: str, low: int, high: int, names: tuple[str, ...] = (), first_name: int = 0) -> set[int]:
    for index, name in enumerate(names, first_name):
        field = field.replace(name, str(index))
    found: set[int] = set()
    for term in field.split(","):
        span, _, step = term.partition("/")
        begin, _, end = (f"{low}-{high}" if span == "*" else span).partition("-")
        found.update(range(int(begin), int(end or begin) + 1, int(step or 1)))
    return found


def day_matches(expression: str, day: date) -> bool:
    _, _, dom, month, dow = expression.split()
    if day.month not in numbers(month, 1, 12, MONTHS, 1):
        return False
    on_day = (day + timedelta(days=1)).day == 1 if dom == "L" else day.day in numbers(dom, 1, 31)
    weekday, _, nth = dow.partition("#")
    on_weekday = bool({day.isoweekday() % 7, day.isoweekday()} & numbers(weekday, 0, 7, WEEKDAYS))
    on_weekday = on_weekday and (not nth or (day.day - 1) // 7 + 1 == int(nth))
    either = not dom.startswith("*") and not dow.startswith("*")
    return on_day or on_weekday if either else on_day and on_weekday


def expected(expression: str, timezone: str) -> list[Minute]:
    wall = walls(timezone)
    minute, hour, *_ = expression.split()
    times = [h * 60 + m for h in sorted(numbers(hour, 0, 23)) for m in sorted(numbers(minute, 0, 59))]
    real = all(any(h * 60 <= time < h * 60 + 60 for time in times) for h in range(24))  # no hour goes without
    due: set[Minute] = set()
    low, high = wall.local[0], wall.local[0] + len(wall.first) - 1
    for day in range(low // DAY_MINUTES, high // DAY_MINUTES + 1):
        if not day_matches(expression, date.fromordinal(date(1970, 1, 1).toordinal() + day)):
            continue
        for local in (day * DAY_MINUTES + shown for shown in times):
            if not low <= local <= high:
                continue
            if not real:
                due.add(wall.first_time(local))
            elif wall.first[local - low] != SKIPPED:
                due.update(filter(None, (wall.first[local - low], wall.second.get(local))))
    return sorted(due)


def agree(trigger: Trigger, due: list[Minute], start: Minute, end: Minute) -> None:
    """All of ``[start, end)`` at once, and then stretches of it and single questions, drawn by chance."""
    slots = [minute * MINUTE for minute in due if start <= minute < end]
    before, until = start * MINUTE - 1, end * MINUTE - 1
    assert trigger.between(before, until, 10**7) == slots
    assert trigger.count(before, until) == len(slots)
    assert trigger.last(before, until) == (slots[-1] if slots else None)
    chance = random.Random(7)
    for _ in range(60):
        after = chance.randrange(before, until)
        near = chance.choice(slots) + chance.choice((-1, 0, 1)) if slots else after
        for moment in (after, min(max(near, before), until)):
            index = bisect_right(slots, moment)
            if index < len(slots):
                assert trigger.next(moment) == slots[index]
            later = min(moment + chance.choice((1, MINUTE, 90 * MINUTE, 10**12, 10**14)), until)
            inside = slots[index : bisect_right(slots, later)]
            assert trigger.count(moment, later) == len(inside)
            assert trigger.last(moment, later) == (inside[-1] if inside else None)
            assert trigger.between(moment, later, 5) == inside[:5]


@pytest.mark.timeout(180)
@pytest.mark.parametrize("timezone", ZONES)
def test_cron_slots_of_three_years_are_those_of_a_walk_through_every_minute(timezone: str) -> None:
    wall = walls(timezone)
    for expression in EXPRESSIONS:
        trigger = parse_trigger({"cron": expression, "timezone": timezone}, "UTC")
        agree(trigger, expected(expression, timezone), wall.start, wall.start + len(wall.local))


@pytest.mark.parametrize("timezone", ZONES)
@pytest.mark.parametrize("expression", ["0 */24 * * *", "30 2 * * *", "15 1 * * *", "59 23 * * *"])
def test_a_daily_schedule_runs_once_for_every_local_date_however_it_is_written(expression: str, timezone: str) -> None:
    """The last of a date that ends in a skipped hour runs as the next one begins, so it is dates that are counted."""
    days = (END - START).days - 2
    first = int(datetime(2025, 6, 2, 0, 0, tzinfo=ZoneInfo(timezone)).timestamp()) * SECOND
    last = datetime(2025, 6, 2, 0, 0, tzinfo=ZoneInfo(timezone)) + timedelta(days=days)  # on the wall
    trigger = parse_trigger({"cron": expression, "timezone": timezone}, "UTC")
    assert trigger.count(first - 1, int(last.timestamp()) * SECOND - 1) == days


@pytest.mark.parametrize("timezone", ZONES)
def test_an_hourly_schedule_runs_every_real_hour_however_it_is_written(timezone: str) -> None:
    hourly, listed = (
        parse_trigger({"cron": cron, "timezone": timezone}, "UTC") for cron in ("0 * * * *", "0 0-23 * * *")
    )
    start, end = (int(moment.timestamp()) * SECOND for moment in (START, END))
    assert listed.between(start, end, 10**6) == hourly.between(start, end, 10**6)


@pytest.mark.parametrize("timezone", ZONES)
def test_elapsed_time_is_counted_from_the_first_midnight_of_1970(timezone: str) -> None:
    wall = walls(timezone)
    anchor = int(datetime(1970, 1, 1, tzinfo=ZoneInfo(timezone)).timestamp()) // 60
    for minutes in (7, 30, 90, 1440, 10_080):
        due = [minute for minute in range(wall.start, wall.start + len(wall.local)) if (minute - anchor) % minutes == 0]
        trigger = parse_trigger({"every": f"{minutes}m", "timezone": timezone}, "UTC")
        agree(trigger, due, wall.start, wall.start + len(wall.local))


def wall_minute(day: date, shown: time) -> Minute:
    """A local time as ``Walls`` counts it."""
    return (day.toordinal() - date(1970, 1, 1).toordinal()) * DAY_MINUTES + shown.hour * 60 + shown.minute


def new_york_hours(year: int) -> list[tuple[Minute, Minute]]:
    """From open to close of each session of a year, by the published holidays and half days."""
    wall = walls("America/New_York")
    days = (date(year, 1, 1) + timedelta(days=n) for n in range((date(year + 1, 1, 1) - date(year, 1, 1)).days))
    trading = [day for day in days if day.weekday() < 5 and day not in NEW_YORK_CLOSED]
    hours = [(wall_minute(d, time(9, 30)), wall_minute(d, NEW_YORK_EARLY.get(d, time(16)))) for d in trading]
    return [(wall.first_time(opens), wall.first_time(closes)) for opens, closes in hours]


YEAR_2026 = (
    int(datetime(2026, 1, 1, 5, tzinfo=UTC).timestamp()) // 60,
    int(datetime(2027, 1, 1, 5, tzinfo=UTC).timestamp()) // 60,
)


@pytest.mark.parametrize(
    ("at", "side", "offset"), [("open", 0, 0), ("open-30m", 0, -30), ("close+5m", 1, 5), ("close-3h", 1, -180)]
)
def test_market_slots_are_those_of_the_published_hours_of_new_york(at: str, side: int, offset: int) -> None:
    due = [hours[side] + offset for hours in new_york_hours(2026)]
    agree(parse_trigger({"market": "XNYS", "at": at}, "UTC", calendars), due, *YEAR_2026)


@pytest.mark.timeout(120)
def test_market_slots_are_those_that_exchange_calendars_has() -> None:
    names = ("24/7", "BVMF", "CMES", "XHKG", "XLON", "XNYS", "XSAU", "XTAE", "XTKS")
    known = computed(*names)
    for name in names:
        for at, offset in {"open-30m": -30, "close": 0, "close+12h": 720}.items():
            moments = [s.open if at.startswith("open") else s.close for s in known[name].sessions]
            due = [moment // MINUTE + offset for moment in moments]
            inside = (due[0], due[-1] + 1)
            agree(parse_trigger({"market": name, "at": at}, "UTC", known.__getitem__), due, *inside)


@cache
def inner(spec: str, timezone: str) -> tuple[Trigger, list[Minute]]:
    """A trigger and its slots by the walk."""
    if spec != "7m":
        return parse_trigger({"cron": spec, "timezone": timezone}, "UTC"), expected(spec, timezone)
    wall = walls(timezone)
    anchor = int(datetime(1970, 1, 1, tzinfo=ZoneInfo(timezone)).timestamp()) // 60
    due = [minute for minute in range(wall.start, wall.start + len(wall.local)) if (minute - anchor) % 7 == 0]
    return parse_trigger({"every": "7m", "timezone": timezone}, "UTC"), due


@pytest.mark.parametrize("spec", ["7m", "*/15 * * * *", "0,30 1-3,12 * * *"])
def test_inside_sessions_there_are_the_slots_from_open_to_before_close(spec: str) -> None:
    trigger, due = inner(spec, "America/New_York")
    opened = {minute for opens, closes in new_york_hours(2026) for minute in range(opens, closes)}
    within = parse_during(trigger, {"market": "XNYS"}, "UTC", calendars)
    agree(within, [minute for minute in due if minute in opened], *YEAR_2026)


def test_inside_sessions_with_a_break_there_are_the_slots_outside_of_it() -> None:
    known = computed("XTKS", "XHKG")
    for name, calendar in known.items():
        trigger, due = inner("7m", "Europe/Berlin")
        opened = set()
        for session in calendar.sessions:
            paused = {minute for start, end in session.breaks for minute in range(start // MINUTE, end // MINUTE)}
            opened |= set(range(session.open // MINUTE, session.close // MINUTE)) - paused
        within = parse_during(trigger, {"market": name}, "UTC", known.__getitem__)
        agree(within, [minute for minute in due if minute in opened], *YEAR_2026)


@pytest.mark.parametrize("timezone", ZONES)
@pytest.mark.parametrize(
    ("days", "weekdays", "hours", "start", "end"),
    [
        ("mon-fri", range(5), "08:00-18:00", 480, 1080),
        ("sat-sun", (5, 6), "00:00-24:00", 0, 1440),
        ("fri-sun", (4, 5, 6), "22:00-02:30", 1320, 150),
        ("mon-sun", range(7), "01:30-03:00", 90, 180),
        ("sun", (6,), "00:30-00:15", 30, 15),
    ],
)
def test_inside_hours_there_are_the_slots_at_which_the_wall_shows_them(
    timezone: str, days: str, weekdays: tuple[int, ...], hours: str, start: int, end: int
) -> None:
    wall = walls(timezone)

    def shows(local: Minute) -> bool:
        weekday, shown = (local // DAY_MINUTES + 3) % 7, local % DAY_MINUTES  # 1970 began on a Thursday
        if start < end:
            return weekday in weekdays and start <= shown < end
        return (weekday in weekdays and shown >= start) or ((weekday - 1) % 7 in weekdays and shown < end)

    for spec in ("7m", "0,30 1-3,12 * * *", "*/20 0-4,9,23 * * *"):
        trigger, due = inner(spec, timezone)
        within = parse_during(trigger, {"days": days, "hours": hours}, "UTC")
        agree(within, [minute for minute in due if shows(wall.local[minute - wall.start])], *YEAR_2026)
