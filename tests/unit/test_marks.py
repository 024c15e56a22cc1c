from __future__ import annotations

from typing import Any

import pytest

from scheduler_service.clock import from_iso
from scheduler_service.marks import marks
from scheduler_service.triggers import parse_during, parse_trigger
from tests.market_support import calendars

NEW_YORK = "America/New_York"
MARKET_CLOSE = {"market": "XNYS", "at": "close"}
AFTER_THANKSGIVING = "first session after Thu 26 Nov, when it was closed"


def marked(spec: dict[str, str], after: str, during: Any = None, timezone: str = NEW_YORK) -> list[str]:
    """What is said of the first slot after this time."""
    trigger = parse_trigger(spec, timezone, calendars)
    if during is not None:
        trigger = parse_during(trigger, during, timezone, calendars)
    slot = trigger.next(from_iso(after))
    assert slot is not None
    return marks(trigger, slot, "UTC")


@pytest.mark.parametrize(
    ("spec", "after", "said"),
    [
        ({"cron": "30 2 * * *"}, "2027-03-14T06:00:00Z", ["clocks go forward: 02:30 does not exist, runs at 03:00"]),
        (
            {"cron": "0,30 2 * * *"},
            "2027-03-14T06:00:00Z",
            ["clocks go forward: 02:00 and 02:30 do not exist, runs at 03:00"],
        ),
        ({"cron": "0 3 * * *"}, "2027-03-14T06:00:00Z", []),
        ({"cron": "30 * * * *"}, "2027-03-14T06:45:00Z", []),
        ({"cron": "*/30 * * * *"}, "2027-03-14T06:45:00Z", []),
        ({"cron": "30 2 * * *"}, "2027-03-15T06:00:00Z", []),
        ({"cron": "30 1 * * *"}, "2026-11-01T05:00:00Z", ["clocks go back: 01:30 comes twice, runs the first time"]),
        (
            {"cron": "*/30 0-4 * * *"},
            "2026-11-01T05:00:00Z",
            ["clocks go back: 01:30 comes twice, runs the first time"],
        ),
        ({"cron": "30 0-23 * * *"}, "2026-11-01T05:00:00Z", ["clocks go back: the first 01:30 of the day"]),
        (
            {"cron": "*/10 0-4 * * *"},
            "2027-03-14T06:50:00Z",
            ["clocks go forward: 02:00 to 02:50 do not exist, runs at 03:00"],
        ),
        ({"cron": "30 * * * *"}, "2026-11-01T05:45:00Z", ["clocks go back: the second 01:30 of the day"]),
        ({"every": "1h"}, "2026-11-01T05:45:00Z", ["clocks go back: the second 01:00 of the day"]),
        ({"every": "1h"}, "2026-11-01T06:45:00Z", []),
        ({"every": "1h"}, "2026-11-01T03:45:00Z", []),
        ({"at": "2026-11-01T06:30:00Z"}, "2026-11-01T00:00:00Z", []),
    ],
)
def test_where_the_clocks_change_a_slot_is_marked(spec: dict[str, str], after: str, said: list[str]) -> None:
    assert marked(spec, after) == said


def test_a_skipped_half_hour_and_a_skipped_midnight_are_named() -> None:
    lord_howe = marked({"cron": "15 2 * * *"}, "2026-10-03T12:00:00Z", timezone="Australia/Lord_Howe")
    assert lord_howe == ["clocks go forward: 02:15 does not exist, runs at 02:30"]
    nuuk = marked({"cron": "30 23 * * 6"}, "2026-03-28T12:00:00Z", timezone="America/Nuuk")
    assert nuuk == ["clocks go forward: 23:30 does not exist, runs at 00:00"]


def test_half_days_and_the_first_session_after_holidays_are_marked() -> None:
    assert marked(MARKET_CLOSE, "2026-11-24T22:00:00Z") == []
    assert marked(MARKET_CLOSE, "2026-11-26T00:00:00Z") == ["half day: XNYS closes at 13:00", AFTER_THANKSGIVING]
    assert marked({"market": "XNYS", "at": "open-2h"}, "2026-12-27T00:00:00Z") == [
        "first session after Fri 25 Dec, when it was closed"
    ]
    assert marked({"market": "XNYS", "at": "open+1h"}, "2026-11-30T00:00:00Z") == []


def test_inside_a_session_only_the_first_slot_tells_of_the_holiday() -> None:
    assert AFTER_THANKSGIVING in marked({"every": "30m"}, "2026-11-26T00:00:00Z", {"market": "XNYS"})
    later = marked({"every": "30m"}, "2026-11-27T14:30:00Z", {"market": "XNYS"})
    assert later == ["half day: XNYS closes at 13:00"]
    assert AFTER_THANKSGIVING in marked(MARKET_CLOSE, "2026-11-26T00:00:00Z", {"hours": "08:00-18:00"})


def test_a_day_that_no_calendar_knows_is_marked() -> None:
    said = "the calendar of {} is not known for this day: usual hours are assumed"
    assert marked(MARKET_CLOSE, "2028-11-22T00:00:00Z") == [said.format("XNYS")]
    assert marked({"every": "30m"}, "2026-11-22T00:00:00Z", {"market": "XLON"}) == [said.format("XLON")]
    assert marked(MARKET_CLOSE, "2027-12-28T00:00:00Z") == []
