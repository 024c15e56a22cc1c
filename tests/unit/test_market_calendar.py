from __future__ import annotations

import json
from dataclasses import replace
from datetime import date, time
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from scheduler_service import calendar_format
from scheduler_service.calendar_format import calendar_text, read_calendar
from scheduler_service.clock import DAY, HOUR, MINUTE, Instant, from_iso, to_datetime
from scheduler_service.exchanges import all_exchanges, find_exchange, parse_exchanges
from scheduler_service.market_calendar import known_ahead, needs_refresh, weekday_fallback
from tests.market_support import MADE_AT, SCRIPT, calendars, computed, new_york, run_script, tokyo


def at(text: str) -> Instant:
    return from_iso(text)


def test_holidays_and_half_days_are_those_of_the_exchange() -> None:
    calendar = new_york()
    assert calendar.is_holiday(date(2026, 11, 26))
    assert not calendar.is_holiday(date(2026, 11, 28))  # a Saturday
    assert calendar.session_of(date(2026, 6, 19)) is None
    half_day = calendar.session_of(date(2026, 11, 27))
    assert half_day is not None
    assert (half_day.open, half_day.close, half_day.early) == (
        at("2026-11-27T14:30:00Z"),
        at("2026-11-27T18:00:00Z"),
        True,
    )


def test_a_session_lasts_from_its_open_to_before_its_close() -> None:
    calendar = new_york()
    opens, closes = at("2026-11-23T14:30:00Z"), at("2026-11-23T21:00:00Z")
    assert calendar.session_at(opens - 1) is None
    assert calendar.session_at(opens) == calendar.session_at(closes - 1) == calendar.session_of(date(2026, 11, 23))
    assert calendar.session_at(closes) is None


def test_opens_and_closes_follow_one_another_over_weekends_holidays_and_the_change_of_the_clocks() -> None:
    calendar = new_york()
    assert calendar.next("open", at("2026-11-25T14:30:00Z")) == at("2026-11-27T14:30:00Z")
    assert calendar.next("close", at("2026-11-27T14:30:00Z")) == at("2026-11-27T18:00:00Z")
    assert calendar.next("open", at("2026-03-06T15:00:00Z")) == at("2026-03-09T13:30:00Z")
    assert calendar.last("close", 0, at("2026-11-29T00:00:00Z")) == at("2026-11-27T18:00:00Z")
    assert calendar.last("close", at("2026-11-27T18:00:00Z"), at("2026-11-29T00:00:00Z")) is None
    assert calendar.count("open", at("2026-01-01T00:00:00Z"), at("2027-01-01T00:00:00Z")) == 251


def test_beyond_the_known_days_the_usual_hours_are_assumed_and_marked() -> None:
    calendar = new_york()
    beyond = at("2028-12-25T15:00:00Z")  # a Monday, and Christmas
    session = calendar.session_at(beyond)
    assert session is not None
    assert session.assumed
    assert not calendar.is_known(beyond)
    assert not calendar.is_holiday(date(2028, 12, 25))
    assert calendar.is_known(at("2027-12-31T15:00:00Z"))
    assert [s.day for s in calendar.sessions_between(at("2027-12-30T00:00:00Z"), at("2028-01-04T00:00:00Z"))] == [
        date(2027, 12, 30),
        date(2027, 12, 31),
        date(2028, 1, 3),
    ]


def test_of_an_unknown_calendar_every_weekday_has_the_usual_hours_of_the_exchange() -> None:
    calendar = weekday_fallback(find_exchange("XSAU"))  # Sunday to Thursday
    days = [s.day for s in calendar.sessions_between(at("2026-11-20T00:00:00Z"), at("2026-11-27T00:00:00Z"))]
    assert [day.strftime("%a") for day in days] == ["Sun", "Mon", "Tue", "Wed", "Thu"]
    overnight = weekday_fallback(find_exchange("CMES")).session_of(date(2026, 11, 24))
    assert overnight is not None
    assert (overnight.open, overnight.close) == (at("2026-11-23T23:00:00Z"), at("2026-11-24T23:00:00Z"))
    always = weekday_fallback(find_exchange("24/7"))
    assert always.count("open", at("2026-01-01T00:00:00Z") - 1, at("2027-01-01T00:00:00Z") - 1) == 365


def test_sessions_over_the_turn_of_the_year_are_found_from_both_sides() -> None:
    new_year = at("2029-01-01T00:00:00Z")
    overnight = weekday_fallback(find_exchange("CMES"))  # the session of Monday, 1 January 2029, opens in 2028
    eve = overnight.session_at(new_year - 30 * MINUTE)
    assert eve is not None
    assert eve.day == date(2029, 1, 1)
    assert overnight.last("open", 0, new_year - MINUTE) == overnight.next("open", new_year - 2 * HOUR) == eve.open
    assert overnight.count("open", new_year - 2 * HOUR, new_year - 30 * MINUTE) == 1
    late = weekday_fallback(replace(find_exchange("XLON"), close=time(2), close_days_after=1))
    assert late.next("close", at("2027-01-01T00:30:00Z")) == at("2027-01-01T02:00:00Z")
    assert late.count("close", at("2027-01-01T00:30:00Z"), at("2027-01-01T02:00:00Z")) == 1
    night = late.session_at(at("2027-01-01T01:00:00Z"))
    assert night is not None
    assert night.day == date(2026, 12, 31)


def test_a_lunch_break_cuts_a_session_in_two() -> None:
    session = tokyo().session_of(date(2026, 11, 24))
    assert session is not None
    local = [[f"{to_datetime(i).astimezone(ZoneInfo('Asia/Tokyo')):%H:%M}" for i in span] for span in session.spans()]
    assert local == [["09:00", "11:30"], ["12:30", "15:30"]]


def test_what_is_written_is_read_again() -> None:
    for calendar in (new_york(), tokyo()):
        assert read_calendar(calendar_text(calendar)) == calendar
    with pytest.raises(ValueError, match="nothing is known of XNYS"):
        calendar_text(weekday_fallback(find_exchange("XNYS")))


def damaged(**changes: Any) -> bytes:
    return json.dumps(json.loads(calendar_text(new_york())) | changes).encode()


def sessions(**changes: Any) -> list[Any]:
    first, *others = json.loads(calendar_text(new_york()))["sessions"]
    return [first | changes, *others]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "not JSON"),
        (calendar_text(new_york())[:5000], "not JSON"),
        (b"[]", "not a calendar"),
        (b"{}", "lacks 'format'"),
        (damaged(format=2), "only 1 is understood"),
        (damaged(exchange="XNSY"), "did you mean XNYS"),
        (damaged(exchange=None), "not a known exchange"),
        (damaged(first_day="soon"), "soon"),
        (damaged(last_day="2027-06-30"), "is not in 2026-01-01 to 2027-06-30"),
        (damaged(made_at="2026-11-01"), "no time zone"),
        (damaged(sessions=5), "not a calendar"),
        (damaged(sessions=[5]), "not a calendar"),
        (damaged(sessions=[]), "no session between 2026-01-01 and 2027-12-31"),
        (damaged(sessions=json.loads(calendar_text(new_york()))["sessions"][60:]), "no session between"),
        (damaged(sessions=sessions()[:1] + sessions()), "overlap"),
        (damaged(sessions=sessions()[::-1]), "overlap"),
        (damaged(sessions=sessions(close="2026-01-02T14:30:00Z")), "out of order"),
        (damaged(sessions=sessions(open="2025-01-02T14:30:00Z")), "opens on another day"),
        (damaged(sessions=sessions(close="2026-01-05T00:30:00Z")), "closes days later"),
        (damaged(sessions=sessions(breaks=[["2026-01-02T23:00:00Z", "2026-01-02T23:30:00Z"]])), "out of order"),
        (damaged(sessions=sessions(breaks=[["2026-01-02T15:00:00Z"]])), "unpack"),
        (damaged(sessions=sessions(breaks=7)), "not a calendar"),
    ],
)
def test_a_damaged_calendar_is_refused_in_words(body: bytes, said: str) -> None:
    with pytest.raises(ValueError) as refused:
        read_calendar(body)
    assert said in str(refused.value)


def test_a_calendar_is_computed_anew_when_it_runs_out_or_grows_old_but_not_at_every_look() -> None:
    calendar = new_york()
    assert not needs_refresh(calendar, MADE_AT)
    assert not needs_refresh(calendar, MADE_AT + 30 * DAY - 1)
    assert needs_refresh(calendar, MADE_AT + 30 * DAY)
    assert needs_refresh(calendar, MADE_AT - 1)  # made by a clock that was wrong
    assert needs_refresh(weekday_fallback(calendar.exchange), MADE_AT)
    short = replace(calendar, last_day=date(2026, 12, 1), sessions=())
    assert not needs_refresh(short, MADE_AT + HOUR)
    assert needs_refresh(short, MADE_AT + DAY)
    assert known_ahead(short, at("2026-12-01T20:59:00Z")) == MINUTE
    assert known_ahead(short, at("2026-12-02T12:00:00Z")) == 0


def test_an_exchange_is_found_by_its_names_in_any_case() -> None:
    assert find_exchange("xnys").name == find_exchange("NASDAQ").name == find_exchange(" XNAS ").name == "XNYS"
    assert find_exchange("US_FUTURES").name == "us_futures"
    for wrong, hint in {"XNSY": "did you mean XNYS", "": "such as XNYS", "Q" * 99: "such as XNYS"}.items():
        with pytest.raises(ValueError, match=hint):
            find_exchange(wrong)
    with pytest.raises(ValueError, match="5 is not a known exchange"):
        find_exchange(5)
    assert calendars("XLON").exchange.hours() == "08:00-16:30"
    assert tokyo().exchange.hours() == "09:00-11:30, 12:30-15:30"
    assert find_exchange("24/7").hours() == "00:00-24:00"


@pytest.mark.timeout(240)
def test_the_packaged_exchanges_are_those_exchange_calendars_knows() -> None:
    """After an update of it: ``python -m scheduler_service.market_sessions --exchanges > .../exchanges.json``."""
    assert dict(parse_exchanges(run_script("--exchanges"))) == dict(all_exchanges())


def test_the_recorded_sessions_of_new_york_are_the_computed_ones() -> None:
    assert computed("XNYS")["XNYS"] == new_york()


def test_a_calendar_that_stops_early_says_so_and_one_that_fails_costs_the_others_nothing() -> None:
    answers = json.loads(run_script("XSHG", "XNYS", "XXXX", "--from", "2026-01-01", "--to", "2040-12-31"))
    assert answers["XSHG"]["last_day"] < "2040-12-31"
    assert answers["XSHG"]["sessions"][-1]["day"] <= answers["XSHG"]["last_day"]
    assert "XXXX" in answers["XXXX"]["error"]
    assert answers["XNYS"]["sessions"][0]["day"] == "2026-01-02"
    assert answers["XNYS"]["format"] == calendar_format.FORMAT
    assert read_calendar(json.dumps(answers["XSHG"]).encode()).last_day is not None


def test_the_process_imports_nothing_of_the_project() -> None:
    assert "scheduler_service" not in SCRIPT.read_text(encoding="utf-8").split('"""', 2)[2]
