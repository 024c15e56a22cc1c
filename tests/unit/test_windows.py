from __future__ import annotations

from itertools import pairwise
from time import perf_counter
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scheduler_service.clock import DAY, MINUTE, Instant, from_iso, to_datetime
from scheduler_service.triggers import Trigger, Windowed, parse_during, parse_trigger, restore_trigger, timezone_of
from scheduler_service.windows import parse_window
from tests.market_support import calendars

NEW_YORK = "America/New_York"


def trigger(spec: Any, during: Any = None, timezone: str = NEW_YORK) -> Trigger:
    parsed = parse_trigger(spec, timezone, calendars)
    return parsed if during is None else parse_during(parsed, during, timezone, calendars)


def due(found: Trigger, after: str, until: str) -> list[str]:
    """Slots as ``27 09:30``: day and time in New York."""
    slots = found.between(from_iso(after), from_iso(until), 10_000)
    assert walked(found, from_iso(after), from_iso(until)) == slots
    return [f"{to_datetime(slot).astimezone(ZoneInfo(NEW_YORK)):%d %H:%M}" for slot in slots]


def test_a_market_trigger_has_one_slot_a_session_and_follows_a_half_day() -> None:
    week = ("2026-11-25T05:00:00Z", "2026-12-01T05:00:00Z")
    assert due(trigger({"market": "XNYS", "at": "close+30m"}), *week) == ["25 16:30", "27 13:30", "30 16:30"]
    assert due(trigger({"market": "XNYS", "at": "open-30m"}), *week) == ["25 09:00", "27 09:00", "30 09:00"]
    assert due(trigger({"market": "XNYS", "at": "close+12h"}), *week) == ["25 04:00", "26 04:00", "28 01:00"]
    nasdaq = trigger({"market": "NASDAQ", "at": "Open + 5m"})
    assert nasdaq == trigger({"market": "XNYS", "at": "open+300s"})
    assert nasdaq.canonical() == '{"market": "XNYS", "at": "open+300000ms"}'


def test_elapsed_time_inside_sessions_begins_at_the_open_and_ends_before_the_close() -> None:
    every = trigger({"every": "30m"}, {"market": "XNYS"})
    slots = due(every, "2026-11-25T05:00:00Z", "2026-11-28T05:00:00Z")
    assert (slots[0], slots[12], slots[13], slots[-1]) == ("25 09:30", "25 15:30", "27 09:30", "27 12:30")
    assert len(slots) == 13 + 7


def walked(found: Trigger, after: Instant, until: Instant) -> list[Instant]:
    """The same slots, asked for one by one, from both ends."""
    forward, backward = [], []
    slot = found.next(after)
    while slot is not None and slot <= until:
        forward.append(slot)
        slot = found.next(slot)
    slot = found.last(after, until)
    while slot is not None:
        backward.append(slot)
        slot = found.last(after, slot - 1)
    assert forward == backward[::-1]
    return forward


def test_over_lunch_there_is_no_slot() -> None:
    day = (from_iso("2026-11-23T12:00:00Z"), from_iso("2026-11-24T12:00:00Z"))
    found = trigger({"every": "30m"}, {"market": "XTKS"})
    shown = [f"{to_datetime(slot).astimezone(ZoneInfo('Asia/Tokyo')):%H:%M}" for slot in walked(found, *day)]
    assert shown == ["09:00", "09:30", "10:00", "10:30", "11:00", "12:30", "13:00", "13:30", "14:00", "14:30", "15:00"]
    assert found.between(*day, 99) == walked(found, *day)


def test_hours_of_weekdays_are_read_on_the_clock_of_the_trigger() -> None:
    found = trigger({"every": "6h", "timezone": NEW_YORK}, {"days": "mon-fri", "hours": "08:00-18:00"}, "UTC")
    assert due(found, "2026-11-20T05:00:00Z", "2026-11-24T05:00:00Z") == ["20 12:00", "23 12:00"]
    assert timezone_of(found, "UTC") == NEW_YORK
    other = trigger({"every": "6h"}, {"hours": "08:00-18:00", "timezone": "Asia/Tokyo"})
    assert "Asia/Tokyo" in other.describe()


def test_the_end_of_the_hours_is_outside_and_so_is_the_midnight_after_the_last_day() -> None:
    day = ("2026-11-20T05:00:00Z", "2026-11-21T05:00:01Z")
    assert due(trigger({"every": "1h"}, {"hours": "08:00-10:00"}), *day) == ["20 08:00", "20 09:00"]
    weekdays = trigger({"every": "12h"}, {"days": "mon-fri"})
    assert due(weekdays, "2026-11-20T04:59:59Z", "2026-11-24T04:59:59Z") == [
        "20 00:00",
        "20 12:00",
        "23 00:00",
        "23 12:00",
    ]


def test_hours_over_midnight_belong_to_the_day_they_begin_on() -> None:
    nights = trigger({"every": "1h"}, {"days": "fri", "hours": "22:00-02:00"})
    assert due(nights, "2026-11-16T05:00:00Z", "2026-11-23T05:00:00Z") == [
        "20 22:00",
        "20 23:00",
        "21 00:00",
        "21 01:00",
    ]


def test_a_skipped_hour_is_no_part_of_a_window_and_a_repeated_one_is_both_times() -> None:
    spring, autumn = ("2026-03-08T05:00:00Z", "2026-03-09T04:00:00Z"), ("2026-11-01T04:00:00Z", "2026-11-02T05:00:00Z")
    early = trigger({"every": "30m"}, {"hours": "01:30-03:00"})
    assert due(early, *spring) == ["08 01:30"]
    assert due(early, *autumn) == ["01 01:30", "01 01:30", "01 02:00", "01 02:30"]
    assert trigger({"every": "30m"}, {"hours": "02:00-03:00"}).count(*map(from_iso, spring)) == 0


def test_days_may_be_lists_ranges_or_run_over_the_weekend() -> None:
    for days in (
        "fri-mon",
        "Fri - Mon",
        "sat,sun,mon,fri",
        ["fri", "sat", "sun", "mon"],
        "sat-sun,mon,fri",
        "Friday-Monday",
        "friday,sat-sunday,mon",
    ):
        assert parse_window({"days": days}, "UTC").said()["days"] == "mon,fri,sat,sun"
    assert parse_window({"hours": "18:00-00:00"}, "UTC") == parse_window({"hours": "18:00-24:00"}, "UTC")


@pytest.mark.parametrize(
    ("during", "words"),
    [
        ({"market": "XNYS"}, "every 30 minutes, during the sessions of XNYS (usually 09:30-16:00, America/New_York)"),
        (
            {"days": "mon-fri", "hours": "8:00-18:00"},
            "every 30 minutes, on Monday through Friday from 08:00 to 18:00, America/New_York",
        ),
        ({"days": "sat,sun"}, "every 30 minutes, on Saturday and Sunday from 00:00 to 24:00, America/New_York"),
        ({"hours": "22:00-02:00"}, "every 30 minutes, every day from 22:00 to 02:00, America/New_York"),
    ],
)
def test_a_window_is_said_in_words(during: object, words: str) -> None:
    assert trigger({"every": "30m"}, during).describe() == words


def test_a_market_trigger_is_said_in_words() -> None:
    said = {at: trigger({"market": "XNYS", "at": at}).describe() for at in ("open", "close+30m", "open-1h", "open-90s")}
    assert list(said.values()) == [
        "at the open of XNYS",
        "30 minutes after the close of XNYS",
        "1 hour before the open of XNYS",
        "90 seconds before the open of XNYS",
    ]


@pytest.mark.parametrize(
    ("spec", "during", "said"),
    [
        ({"market": "XNSY", "at": "open"}, None, "market: 'XNSY' is not a known exchange; did you mean XNYS"),
        ({"market": "XNYS"}, None, "needs at; write {market: XNYS, at: open-30m}"),
        ({"market": "XNYS", "at": "noon"}, None, "at: 'noon' is not a moment of a session; write open"),
        ({"market": "XNYS", "at": "open-30"}, None, "write open, close, open-30m"),
        ({"market": "XNYS", "at": 5}, None, "5 is not a moment"),
        ({"market": "XNYS", "at": "open-13h"}, None, "too far from the open; write at most 12h"),
        (
            {"market": "XNYS", "at": "open", "timezone": "UTC"},
            None,
            "'timezone' does not belong in a trigger with 'market'",
        ),
        ({"market": "XNYS", "every": "1h"}, None, "'every' does not belong in a trigger with 'market'"),
        ({"every": "1h"}, "XNYS", "'XNYS' is not a window; a window is {market: XNYS}"),
        ({"every": "1h"}, {}, "is not a window"),
        ({"every": "1h"}, {"market": "XNYS", "days": "mon"}, "'days' does not belong in a window with 'market'"),
        ({"every": "1h"}, {"day": "mon"}, "'day' does not belong in a window; did you mean days?"),
        ({"every": "1h"}, {"market": "XXXX"}, "market: 'XXXX' is not a known exchange"),
        ({"every": "1h"}, {"days": "mo-fr"}, "days: 'mo-fr' are not weekdays; write mon-fri"),
        ({"every": "1h"}, {"days": []}, "are not weekdays"),
        ({"every": "1h"}, {"hours": "8-18"}, "hours: '8-18' are not hours of a day"),
        ({"every": "1h"}, {"hours": "08:00-24:30"}, "are not hours"),
        ({"every": "1h"}, {"hours": "24:00-08:00"}, "are not hours"),
        ({"every": "1h"}, {"hours": "08:60-09:00"}, "are not hours"),
        ({"every": "1h"}, {"hours": 8}, "are not hours"),
        ({"every": "1h"}, {"hours": "08:00-08:00"}, "begin where they end"),
        ({"every": "1h"}, {"hours": "08:00-09:00", "timezone": "Mars"}, "not a known time zone"),
        ({"cron": "0 7 * * mon-fri"}, {"market": "XNYS"}, "no slot is left of 'at 07:00 on Monday through Friday"),
        ({"every": "1d"}, {"hours": "08:00-18:00"}, "no slot is left of 'every day'"),
        ({"market": "XNYS", "at": "close"}, {"market": "XNYS"}, "no slot is left"),
        ({"at": "2026-11-26T15:00:00Z"}, {"market": "XNYS"}, "no slot is left of 'once"),
        ({"cron": "0 12 * * sat"}, {"days": "mon-fri"}, "no slot is left"),
    ],
)
def test_what_cannot_be_is_refused_with_what_would_be_right(spec: object, during: object, said: str) -> None:
    with pytest.raises(ValueError) as refused:
        trigger(spec, during)
    assert said in str(refused.value)


def test_a_rare_slot_that_a_window_lets_through_is_accepted() -> None:
    assert trigger({"cron": "0 12 29 2 *"}, {"days": "sun", "hours": "08:00-18:00"}).next(0) == from_iso(
        "1976-02-29T17:00:00Z"
    )
    assert trigger({"at": "2026-11-27T15:00:00Z"}, {"market": "XNYS"}).next(0) is not None
    assert trigger({"cron": "0 10 25 12 *"}, {"market": "XLON"}).next(0) is not None  # of its holidays nothing is known


def test_without_calendars_an_exchange_keeps_its_usual_hours() -> None:
    found = parse_trigger({"market": "XNYS", "at": "close"}, "UTC")
    assert found.next(from_iso("2026-11-26T00:00:00Z")) == from_iso("2026-11-26T21:00:00Z")
    within = restore_trigger('{"every": "30m", "during": {"market": "XNYS"}}')
    assert isinstance(within, Windowed)
    assert within.next(from_iso("2026-11-26T00:00:00Z")) == from_iso("2026-11-26T14:30:00Z")


def test_a_calendar_is_no_part_of_what_a_trigger_is_known_by() -> None:
    """A refreshed calendar must not make a schedule a new one."""
    for spec, during in (({"market": "XNYS", "at": "close"}, None), ({"every": "1h"}, {"market": "XNYS"})):
        plain = parse_trigger(spec, "UTC")
        assert (
            trigger(spec, during, "UTC").canonical()
            == (parse_during(plain, during, "UTC") if during else plain).canonical()
        )


def test_ten_years_of_a_one_minute_schedule_inside_sessions_are_counted_in_bounded_time() -> None:
    until = from_iso("2026-11-23T14:30:00Z")
    for spec in ({"every": "1m"}, {"cron": "* * * * *"}):
        for during in ({"market": "XNYS"}, {"days": "mon-fri", "hours": "09:30-16:00"}):
            found = trigger(spec, during)
            begin = perf_counter()
            assert 980_000 < found.count(until - 3650 * DAY, until) < 1_020_000
            assert found.last(until - 3650 * DAY, until) == until
            assert found.next(until) == until + MINUTE
            assert perf_counter() - begin < 1.0, (spec, during)


def test_a_trigger_ends_where_time_does() -> None:
    for spec in ({"every": "1h"}, {"cron": "0 12 * * *"}):
        for during in ({"market": "XNYS"}, {"hours": "08:00-18:00"}):
            assert trigger(spec, during).next(from_iso("9997-12-31T23:30:00Z")) is None
    assert trigger({"market": "XNYS", "at": "open"}).next(from_iso("9998-12-31T23:30:00Z")) is None


MOMENTS = st.integers(from_iso("2025-11-01T00:00:00Z"), from_iso("2028-03-01T00:00:00Z"))
ZONES = st.sampled_from(["UTC", NEW_YORK, "Australia/Lord_Howe", "America/Nuuk", "Africa/Cairo"])
MARKETS = st.sampled_from(["XNYS", "XTKS", "XSAU", "CMES", "24/7"])
WINDOWS = st.one_of(
    st.builds(lambda market: {"market": market}, MARKETS),
    st.builds(
        lambda days, hours: {"days": days, "hours": hours},
        st.sampled_from(["mon-fri", "sun", "sat-mon", "wed,thu"]),
        st.sampled_from(["00:00-24:00", "01:30-02:30", "22:00-03:00", "12:00-11:59", "08:00-18:00"]),
    ),
)
INNER = st.one_of(
    st.builds(lambda n: {"every": f"{n}m"}, st.integers(1, 3000)),
    st.builds(
        lambda minute, hour, day: {"cron": f"{minute} {hour} * * {day}"},
        st.sampled_from(["*", "*/7", "0", "30"]),
        st.sampled_from(["*", "2", "1-3", "9,15", "23"]),
        st.sampled_from(["*", "0", "1-5"]),
    ),
    st.builds(
        lambda market, moment, sign, hours: {"market": market, "at": f"{moment}{sign}{hours}h"},
        MARKETS,
        st.sampled_from(["open", "close"]),
        st.sampled_from("+-"),
        st.integers(0, 12),
    ),
)


def _within(spec: dict[str, str], during: dict[str, str] | None, zone: str) -> Trigger:
    inner = parse_trigger(spec, zone, calendars)
    return inner if during is None else Windowed(inner, parse_window(during, zone, calendars))


TRIGGERS = st.builds(_within, INNER, st.none() | WINDOWS, ZONES)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(TRIGGERS, MOMENTS, st.integers(0, 20 * DAY))
def test_next_last_count_and_between_agree(found: Trigger, after: Instant, width: int) -> None:
    until = after + width
    slots = found.between(after, until, 10**6)
    assert found.count(after, until) == len(slots)
    assert found.last(after, until) == (slots[-1] if slots else None)
    assert all(earlier < later for earlier, later in pairwise([after, *slots]))
    assert all(slot <= until for slot in slots)
    assert found.between(after, until, 3) == slots[:3]
    following = found.next(after)
    assert following == slots[0] if slots else following is None or following > until
    for earlier, later in pairwise(slots[:5]):
        assert found.next(earlier) == found.next(later - 1) == later


@settings(max_examples=100, deadline=None, derandomize=True)
@given(TRIGGERS, MOMENTS, st.integers(0, 9 * DAY), st.integers(0, 9 * DAY))
def test_counts_of_adjacent_stretches_add_up(found: Trigger, start: Instant, one: int, two: int) -> None:
    middle, end = start + one, start + one + two
    assert found.count(start, middle) + found.count(middle, end) == found.count(start, end)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(TRIGGERS)
def test_the_canonical_text_brings_the_same_trigger_back(found: Trigger) -> None:
    restored = restore_trigger(found.canonical(), calendars)
    assert restored == found
    assert restored.canonical() == found.canonical()
    assert found.describe()


@settings(max_examples=100, deadline=None, derandomize=True)
@given(INNER, WINDOWS, ZONES, MOMENTS)
def test_a_window_takes_slots_away_and_adds_none(
    spec: dict[str, str], during: dict[str, str], zone: str, after: Instant
) -> None:
    inner, window, until = parse_trigger(spec, zone, calendars), parse_window(during, zone, calendars), after + 9 * DAY
    spans = list(window.spans(after, until + 1))
    assert all(span.start < span.end for span in spans)
    assert all(earlier.end <= later.start for earlier, later in pairwise(spans))
    left = [slot for slot in inner.between(after, until, 10**6) if any(a <= slot < b for a, b in spans)]
    assert Windowed(inner, window).between(after, until, 10**6) == left


def test_broken_canonical_texts_are_refused() -> None:
    for text in ('{"every": "1h", "during": {}}', '{"every": "1h", "during": 5}', '{"market": "XNYS", "at": "x"}', "5"):
        with pytest.raises(ValueError):
            restore_trigger(text, calendars)
