"""What needs nothing but a configuration: ``check``, ``next`` and the estimate."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from click import UsageError
from sqlalchemy import insert

from scheduler_service.calendar_format import calendar_text
from scheduler_service.cli.check import check
from scheduler_service.cli.configuration import read, source_providers
from scheduler_service.cli.times import read_time
from scheduler_service.cli.upcoming import upcoming
from scheduler_service.clock import DAY, HOUR, MINUTE, SECOND, from_iso
from scheduler_service.definitions import definition
from scheduler_service.errors import CalendarsNotComputed, ConfigurationError
from scheduler_service.estimate import DAYS_LOOKED_AT, Estimate, estimate, fetches_by_day, usual_prices
from scheduler_service.first_fetch import plan
from scheduler_service.models import Reason, ScheduleOrigin
from scheduler_service.redaction import redact
from scheduler_service.settings.load import Found
from scheduler_service.settings.loaded import secrets_in
from scheduler_service.stores import stock_state_store
from scheduler_service.stores.database import Ledger
from scheduler_service.stores.mode import LIVE, SANDBOX, claim_mode
from scheduler_service.stores.schedule_store import ScheduleRow, put_schedule
from scheduler_service.stores.schema import pause as pause_table
from scheduler_service.triggers import Trigger, parse_during, parse_trigger
from tests.fakes import FakeClock
from tests.integration.scheduling_bench import a_schedule
from tests.market_support import new_york

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from sqlalchemy import Connection

    from scheduler_service.settings.loaded import Settings

CONFIG = """\
service: {timezone: America/New_York, data_dir: data}
watchlist: [AAPL, NVDA, {symbol: SNOW, tags: [cloud]}]
providers:
  edgar: {user_agent: Jane Doe jane@example.com, budget: {calls_per_day: 500}}
  feeds: {urls: ["https://a.example/{symbol}", "https://b.example/{symbol}"]}
domains:
  news: {sources: [{use: feeds, fresh_for: 20m}, {use: edgar_filings, fresh_for: 20m, enabled: false}]}
  earnings: {sources: [{use: edgar, fresh_for: 20h}]}
schedules:
  - {id: news, domain: news, trigger: {every: 6h}}
  - {id: morning, domain: earnings, symbols: {tags: [cloud]},
     trigger: {cron: "0 7 * * mon-fri", timezone: Europe/Berlin}}
  - {id: "off", domain: news, trigger: {every: 1s}, enabled: false}
"""
NOW = "2026-11-23T14:30:00Z"


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "c.yaml"
    path.write_text(CONFIG)
    return path


@pytest.fixture
def settings(config: Path) -> Settings:
    return read(Found((config,), ""))


def listed(capsys: pytest.CaptureFixture[str], config: Path, **options: Any) -> list[dict[str, str]]:
    given = {"job": None, "days": None, "count": None, "at": None, "as_json": True, **options}
    assert upcoming([config], clock=FakeClock(NOW), **given) == 0
    found: list[dict[str, str]] = json.loads(capsys.readouterr().out)
    return found


def test_next_is_what_the_contract_says(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert listed(capsys, config, count=3, at="2026-11-24T00:00:00-05:00") == [
        {
            "schedule_id": "morning",
            "due_at": "2026-11-24T06:00:00Z",
            "local": "2026-11-24T07:00:00+01:00",
            "note": "",
        },
        {
            "schedule_id": "news",
            "due_at": "2026-11-24T11:00:00Z",
            "local": "2026-11-24T06:00:00-05:00",
            "note": "",
        },
        {
            "schedule_id": "news",
            "due_at": "2026-11-24T17:00:00Z",
            "local": "2026-11-24T12:00:00-05:00",
            "note": "",
        },
    ]


def test_the_window_is_open_on_the_left_and_closed_on_the_right(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    slots = listed(capsys, config, job="news", days=1, at="2026-11-23T17:00:00Z")
    assert [slot["due_at"][11:] for slot in slots] == ["23:00:00Z", "05:00:00Z", "11:00:00Z", "17:00:00Z"]


def test_a_count_alone_looks_as_far_ahead_as_it_takes(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    slots = listed(capsys, config, job="morning", count=300)
    assert (len(slots), slots[-1]["due_at"][:4]) == (300, "2028")


def test_json_is_whole_and_text_is_short_where_nobody_said_how_much(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert len(listed(capsys, config)) == 4 * 7 + 5
    upcoming([config], job=None, days=None, count=None, at=None, as_json=False, clock=FakeClock(NOW))
    text = capsys.readouterr().out
    assert "and 23 more of news within 7 days; see --job, --days and --count\n" in text, "of each five are shown"
    assert text.count("   morning\n") == text.count("   news\n") == 5
    assert "Mon 23 Nov 2026 18:00:00 EST   2026-11-23T23:00:00Z   news" in text


def test_a_few_slots_are_followed_by_nothing_but_their_own_schedules_in_words(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    at = "2026-11-23T17:00:00Z"
    upcoming([config], job=None, days=None, count=2, at=at, as_json=False, clock=FakeClock(NOW))
    text = capsys.readouterr().out
    assert "news: every 6 hours" in text
    assert "morning" not in text


def test_the_repeated_hour_of_autumn_is_noted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(
        "watchlist: [A]\nproviders: {sandbox: {enabled: true}}\ndomains: {news: {sources: [feeds]}}\n"
        "schedules: [{id: n, domain: news, trigger: {every: 1h}}]\n"
    )
    slots = listed(capsys, path, count=2, at="2026-11-01T04:30:00Z")
    assert [(slot["local"], slot["note"]) for slot in slots] == [
        ("2026-11-01T01:00:00-04:00", "clocks go back: the first 01:00 of the day"),
        ("2026-11-01T01:00:00-05:00", "clocks go back: the second 01:00 of the day"),
    ]


def test_the_sandbox_says_once_whom_it_knows_where_others_are_watched(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    watched = (
        "watchlist: [AAPL, BRK.B, {symbol: EURO, aliases: {edgar: NVDA}}, ZZZ]\ndomains: {news: {sources: [feeds]}}\n"
    )
    path.write_text(f"{watched}providers: {{sandbox: {{enabled: true}}}}\n")
    [said] = read(Found((path,), ""), {}).warnings
    assert said == (
        f"{path}:1:12 watchlist: the sandbox knows AAPL, ACMEX, GLOBX, HOOLX, INITX, NVDA, SNOW, UMBRX alone: of "
        "BRK.B, ZZZ it has nothing, so what is asked of them fails, however it is spelled"
    )
    path.write_text(f'{watched}providers: {{feeds: {{urls: ["http://127.0.0.1:1/{{symbol}}.rss"]}}}}\n')
    assert read(Found((path,), ""), {}).warnings == ()


def test_a_schedule_that_is_off_is_said_to_be(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    upcoming([config], job="off", days=None, count=None, at=None, as_json=True, clock=FakeClock(NOW))
    said = capsys.readouterr()
    assert json.loads(said.out) == []
    assert "off is switched off" in said.err


MARKET = (
    "service: {timezone: America/New_York, data_dir: data}\n"
    "watchlist: [A, B, C, {symbol: D, tags: [t]}]\nproviders: {sandbox: {enabled: true}}\n"
    "domains: {news: {sources: [{use: feeds, fresh_for: 20m}]}, earnings: {sources: [{use: edgar, fresh_for: 7d}]}}\n"
    "schedules:\n"
    "  - {id: close, domain: news, trigger: {market: XNYS, at: close+30m}, symbols: {stalest: 3}}\n"
    "  - {id: morning, domain: earnings, trigger: {cron: '0 7 * * mon-fri'}, symbols: {stalest: 1}}\n"
)


@pytest.fixture
def market(tmp_path: Path) -> Path:
    path = tmp_path / "market.yaml"
    path.write_text(MARKET)
    return path


async def computed(arguments: Sequence[str]) -> bytes:
    """What the process would print: New York alone."""
    assert list(arguments[:1]) == ["XNYS"]
    return json.dumps({"XNYS": json.loads(calendar_text(replace(new_york(), made_at=None)))}).encode()


async def never_computed(arguments: Sequence[str]) -> bytes:
    raise CalendarsNotComputed("exchange_calendars is not installed")


def test_next_knows_holidays_and_half_days_though_no_service_ever_ran(
    market: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given: dict[str, Any] = {"job": "close", "days": None, "count": 3, "at": "2026-11-25T12:00:00Z"}
    assert upcoming([market], clock=FakeClock(NOW), compute=computed, as_json=True, **given) == 0
    said = capsys.readouterr()
    assert [(slot["local"], slot["note"]) for slot in json.loads(said.out)] == [
        ("2026-11-25T16:30:00-05:00", ""),
        (
            "2026-11-27T13:30:00-05:00",
            "half day: XNYS closes at 13:00; first session after Thu 26 Nov, when it was closed",
        ),
        ("2026-11-30T16:30:00-05:00", ""),
    ]
    assert said.err == "The calendar of XNYS is computed for this once: the service has not kept it.\n"
    assert not (market.parent / "data").exists()
    upcoming([market], clock=FakeClock(NOW), compute=computed, as_json=False, **given)
    text = capsys.readouterr().out
    assert "   close   half day: XNYS closes at 13:00; first session after Thu 26 Nov, when it was closed\n" in text
    assert "\nclose: 30 minutes after the close of XNYS\n" in text


def test_what_the_service_keeps_is_not_computed_again(market: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = market.parent / "data" / "calendars"
    folder.mkdir(parents=True)
    (folder / "XNYS.json").write_bytes(calendar_text(new_york()))
    given: dict[str, Any] = {"job": "close", "days": 3, "count": None, "at": "2026-11-25T12:00:00Z", "as_json": True}
    assert upcoming([market], clock=FakeClock(NOW), compute=never_computed, **given) == 0
    said = capsys.readouterr()
    assert [slot["due_at"] for slot in json.loads(said.out)] == ["2026-11-25T21:30:00Z", "2026-11-27T18:30:00Z"]
    assert said.err == ""


def test_where_no_calendar_is_to_be_had_usual_hours_are_assumed_and_marked(
    market: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given: dict[str, Any] = {"job": "close", "days": 1, "count": None, "at": "2026-11-26T12:00:00Z", "as_json": True}
    assert upcoming([market], clock=FakeClock(NOW), compute=never_computed, **given) == 0
    said = capsys.readouterr()
    (slot,) = json.loads(said.out)
    assert slot["note"] == "the calendar of XNYS is not known for this day: usual hours are assumed"
    assert "XNYS: its holidays and half days are not known" in said.err
    assert "exchange_calendars is not installed" in said.err
    assert check([market], as_json=True, clock=FakeClock(NOW), compute=never_computed) == 0
    _of_strangers, warning = json.loads(capsys.readouterr().out)["warnings"]
    assert warning.startswith("XNYS: its holidays")


def test_check_says_how_many_of_the_symbols_a_slot_is_for(market: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert check([market], as_json=False, clock=FakeClock("2026-11-25T14:00:00Z"), compute=computed) == 0
    text = capsys.readouterr().out
    assert "close: news of the 3 stalest of 4 symbols, 30 minutes after the close of XNYS\n" in text
    assert "2026-11-27T18:30:00Z   half day: XNYS closes at 13:00; first session" in text


def test_a_slot_of_the_stalest_few_asks_for_them_alone_and_never_for_more_than_are_stale(market: Path) -> None:
    edgar, feeds = estimate(read(Found((market,), "")), source_providers(), from_iso(NOW))
    assert feeds.calls_per_day == 3
    assert edgar.calls_per_day == 1


@pytest.mark.parametrize("scope", ["close", "*"])
def test_next_says_what_is_paused_and_until_when(market: Path, capsys: pytest.CaptureFixture[str], scope: str) -> None:
    async def pause() -> None:
        (market.parent / "data").mkdir()
        ledger = Ledger(market.parent / "data" / "ledger.sqlite")
        await ledger.open()
        writing = asyncio.create_task(ledger.write_forever())
        row = {"scope": scope, "reason": "earnings week", "since": from_iso(NOW), "until": from_iso(NOW) + DAY}
        await ledger.run(lambda conn: conn.execute(insert(pause_table).values(row)))
        ledger.stop_writing()
        await writing
        await ledger.close()

    asyncio.run(pause())
    given: dict[str, Any] = {"job": "close", "days": 2, "count": None, "at": None}
    assert upcoming([market], clock=FakeClock(NOW), compute=computed, as_json=True, **given) == 0
    said = capsys.readouterr()
    assert [slot["note"] for slot in json.loads(said.out)] == ["paused: it will be skipped", ""]
    assert "paused since 2026-11-23T14:30:00Z (Mon 09:30 EST), until 2026-11-24T14:30:00Z" in said.err
    assert "earnings week" in said.err


def follow_up(at: str) -> ScheduleRow:
    wanted = a_schedule("after-AAPL", trigger={"at": at}, symbols=("AAPL",), domain="news")
    since = from_iso(NOW) - HOUR
    return ScheduleRow(wanted.id, ScheduleOrigin.FOLLOW_UP, "news", definition(wanted), "f", since, since)


def test_next_shows_the_follow_ups_that_the_ledger_keeps(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    row = follow_up("2026-11-23T16:00:00Z")
    asyncio.run(_written(config.parent / "data", partial(put_schedule, wanted=row)))
    assert listed(capsys, config, count=2) == [
        {
            "schedule_id": "after-AAPL",
            "due_at": "2026-11-23T16:00:00Z",
            "local": "2026-11-23T11:00:00-05:00",
            "note": "",
        },
        {
            "schedule_id": "news",
            "due_at": "2026-11-23T17:00:00Z",
            "local": "2026-11-23T12:00:00-05:00",
            "note": "",
        },
    ]
    assert [slot["schedule_id"] for slot in listed(capsys, config, job="after-AAPL")] == ["after-AAPL"]
    upcoming([config], job=None, days=None, count=1, at=None, as_json=False, clock=FakeClock(NOW))
    text = capsys.readouterr().out
    assert "\nafter-AAPL: once, at 2026-11-23T16:00:00Z (a follow-up: it closes itself after its slot)\n" in text


def test_next_says_that_a_follow_up_waits_for_a_service(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    row = follow_up("2026-11-23T14:00:00Z")
    broken = replace(row, id="broken", definition="{}")
    folder = config.parent / "data"
    asyncio.run(_written(folder, lambda conn: [put_schedule(conn, wanted) for wanted in (row, broken)]))
    upcoming([config], job=None, days=None, count=1, at=None, as_json=True, clock=FakeClock(NOW))
    said = capsys.readouterr()
    assert (
        "after-AAPL, a follow-up, is due: once, at 2026-11-23T14:00:00Z; a running service carries it out" in said.err
    )
    assert "broken, a follow-up, cannot be read: another version wrote it" in said.err
    assert [slot["schedule_id"] for slot in json.loads(said.out)] == ["news"]


def test_a_window_that_only_the_calendar_knows_to_be_shut_is_warned_of(
    market: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    market.write_text(
        MARKET + "  - {id: christmas, domain: news, trigger: {cron: '0 12 25 12 *'}, during: {market: XNYS}}\n"
        "  - {id: open, domain: news, trigger: {cron: '0 12 24 12 *'}, during: {market: XNYS}}\n"
    )
    said = (
        "schedule christmas: no slot of 'at 12:00 on December 25, America/New_York' is inside "
        "'during the sessions of XNYS (usually 09:30-16:00, America/New_York)' on any day that the calendar of XNYS "
        "knows, 2026-01-01 to 2027-12-31; those to come are on days of which only the usual hours are assumed; change "
        "the trigger or the window"
    )
    assert check([market], as_json=True, clock=FakeClock(NOW), compute=computed) == 0
    assert json.loads(capsys.readouterr().out)["warnings"][1:] == [said]
    assert check([market], as_json=False, clock=FakeClock(NOW), compute=computed) == 0
    assert f"Warning: {said}\n" in capsys.readouterr().out
    given: dict[str, Any] = {"job": "christmas", "days": None, "count": 1, "at": None, "as_json": True}
    assert upcoming([market], clock=FakeClock(NOW), compute=computed, **given) == 0
    assert f"{said}\n" in capsys.readouterr().err


def test_next_works_although_the_ledger_cannot_be_read(market: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (market.parent / "data").mkdir()
    (market.parent / "data" / "ledger.sqlite").write_text("not a ledger")
    given: dict[str, Any] = {"job": "close", "days": 2, "count": None, "at": None}
    assert upcoming([market], clock=FakeClock(NOW), compute=computed, as_json=True, **given) == 0
    said = capsys.readouterr()
    assert len(json.loads(said.out)) == 2
    assert "Whether something is paused or to be followed up is not known: " in said.err


def test_a_schedule_without_any_slot_to_come_is_named(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config.write_text(CONFIG.replace("{every: 6h}", "{at: 2026-01-05T09:00:00Z}"))
    upcoming([config], job="news", days=None, count=None, at=None, as_json=True, clock=FakeClock(NOW))
    said = capsys.readouterr()
    assert json.loads(said.out) == []
    assert "news has no slot any more, it is over: once, at 2026-01-05T09:00:00Z" in said.err
    assert check([config], as_json=True, clock=FakeClock(NOW)) == 0
    assert "schedule news: it is over: once, at 2026-01-05T09:00:00Z, is in the past" in capsys.readouterr().out


def test_a_schedule_without_a_slot_in_those_days_names_its_next(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config.write_text(CONFIG.replace("{every: 6h}", "{cron: '0 9 4 1 *'}"))
    upcoming([config], job="news", days=None, count=None, at="2026-11-30", as_json=False, clock=FakeClock(NOW))
    text = capsys.readouterr().out
    assert "news: none within 7 days; the next is Mon 04 Jan 2027 09:00:00 EST   2027-01-04T14:00:00Z\n" in text
    upcoming([config], job="news", days=36, count=None, at="2026-11-30", as_json=False, clock=FakeClock(NOW))
    assert "none within" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("at", "means", "told"),
    [
        ("now", NOW, ""),
        ("2026-11-30", "2026-11-30T05:00:00Z", ""),
        ("9:30", NOW, ""),
        ("2026-11-30T09:30", "2026-11-30T14:30:00Z", ""),
        ("2026-11-30 09:30:05", "2026-11-30T14:30:05Z", ""),
        ("2026-11-30T09:30+01:00", "2026-11-30T08:30:00Z", ""),
        (
            "2027-03-14T02:30",
            "2027-03-14T07:00:00Z",
            "02:30 does not exist on 2027-03-14: the clocks go forward; 03:00",
        ),
        ("2026-11-01T01:30", "2026-11-01T05:30:00Z", "01:30 comes twice on 2026-11-01: the first is taken; the second"),
    ],
)
def test_a_time_is_read_by_the_clocks_of_the_service(
    at: str, means: str, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert read_time(at, "America/New_York", from_iso(NOW)) == from_iso(means)
    said = capsys.readouterr().err
    assert told in said
    assert bool(told) == bool(said)


@pytest.mark.parametrize(
    "at", ["", "tomorrow", "09:30Z", "2026", "2026-11", "25:00", "2026-02-30", "2026-01-01T09:00+99:00"]
)
def test_what_is_no_time_is_a_mistake_of_use(at: str) -> None:
    with pytest.raises(UsageError):
        read_time(at, "America/New_York", from_iso(NOW))


def test_the_estimate_counts_slots_symbols_sources_and_addresses(settings: Settings) -> None:
    assert estimate(settings, source_providers(), from_iso(NOW)) == [
        Estimate("edgar", sandbox=False, calls_per_day=1, calls_limit=500, hosts=("data.sec.gov", "www.sec.gov")),
        Estimate("feeds", sandbox=False, calls_per_day=4 * 3 * 2, calls_limit=None, hosts=("a.example", "b.example")),
    ]


def read_trigger(during: dict[str, str] | None = None, **spec: str) -> Trigger:
    trigger = parse_trigger(spec, "UTC")
    return trigger if during is None else parse_during(trigger, during, "UTC")


HALF_HOURLY = {"every": "30m"}
DAILY = {"cron": "0 7 * * *"}
WORKDAYS = {"cron": "0 7 * * mon-fri"}


@pytest.mark.parametrize(
    ("triggers", "good_for", "total", "busiest"),
    [
        ([HALF_HOURLY], 18 * MINUTE, 48 * 28, 48),
        ([HALF_HOURLY], 30 * MINUTE, 48 * 28, 48),
        ([HALF_HOURLY], 31 * MINUTE, 24 * 28, 24),
        ([HALF_HOURLY], 10 * HOUR + 48 * MINUTE, 62, 3),
        ([{"every": "30m", "during": {"market": "XNYS"}}], 18 * MINUTE, 13 * 20, 13),
        ([{"every": "30m", "during": {"market": "XNYS"}}], 31 * MINUTE, 7 * 20, 7),
        ([{"every": "1s", "during": {"hours": "08:00-18:00"}}], SECOND, 36_000 * 28, 36_000),
        ([{"market": "XNYS", "at": "close"}], HOUR, 20, 1),
        ([DAILY], 22 * HOUR + 30 * MINUTE, 28, 1),
        ([DAILY], 7 * DAY - 90 * MINUTE, 4, 1),
        ([WORKDAYS], 20 * HOUR, 20, 1),
        ([WORKDAYS, DAILY], 20 * HOUR, 28, 1),
        ([HALF_HOURLY, DAILY], 18 * MINUTE, 48 * 28, 48),
        ([{"at": "2026-11-24T00:00:00Z"}], 0, 1, 1),
        ([{"at": "2020-01-01T00:00:00Z"}], 0, 0, 0),
    ],
)
def test_a_slot_at_which_the_source_is_still_fresh_asks_nothing(
    triggers: list[dict[str, Any]], good_for: int, total: int, busiest: int
) -> None:
    days = fetches_by_day([read_trigger(**spec) for spec in triggers], good_for, from_iso(NOW))
    assert (sum(days), max(days), len(days)) == (total, busiest, DAYS_LOOKED_AT)


@pytest.fixture
def paid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("PERPLEXITY_API_KEY", "pplx-one")
    path = tmp_path / "paid.yaml"
    path.write_text(
        "watchlist: [AAPL, NVDA, SNOW]\n"
        "providers: {edgar: {user_agent: Jane Doe jane.doe@example.com}, perplexity: {budget: {usd_per_day: 0.10}}}\n"
        "domains: {earnings: {sources: [{use: edgar, fresh_for: 20h},"
        " {use: perplexity, fresh_for: 7d, when: missing}]},"
        " fundamentals: {sources: [{use: edgar, fresh_for: 20h}, {use: perplexity, fresh_for: 12h}]}}\n"
        "schedules: [{id: e, domain: earnings, trigger: {cron: '0 7 * * *'}},"
        " {id: f, domain: fundamentals, trigger: {every: 1h}}]\n"
    )
    return read(Found((path,), ""))


def test_the_estimate_counts_money_and_keeps_apart_what_is_asked_only_when_missing(paid: Settings) -> None:
    price = paid.providers["perplexity"].usd_per_call
    assert price > 0
    edgar, perplexity = estimate(paid, source_providers(), from_iso(NOW))
    assert (edgar.calls_per_day, edgar.usd_per_day, edgar.usd_in_28_days) == (3 + 3 * 2, 0, 0)
    assert perplexity.calls_per_day == 3 * 3
    assert perplexity.usd_per_day == pytest.approx(9 * price)
    assert perplexity.usd_in_28_days == pytest.approx(3 * 62 * price, rel=0.02)
    assert (perplexity.usd_limit, perplexity.calls_when_missing) == (0.10, 3)
    assert perplexity.usd_when_missing == pytest.approx(3 * price)


def test_check_tells_of_the_first_fetch_and_of_a_budget_that_does_not_reach(
    paid: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    assert check(paid.files, as_json=False, clock=FakeClock(NOW)) == 0
    text = capsys.readouterr().out
    assert "  edgar: 6 calls, 2 s or more\n" in text
    assert "  perplexity: 3 calls, 4 s or more, at most about $0.06 of a budget of $0.10 a day\n" in text
    assert "perplexity: where better sources have nothing (when: missing), at most 3 calls a day more, $0.06" in text
    assert "perplexity: the budget of $0.10 a day holds the rest back on such a day" in text
    assert check(paid.files, as_json=True, clock=FakeClock(NOW)) == 0
    said = json.loads(capsys.readouterr().out)
    assert [one["calls"] for one in said["first_fetch"]] == [6, 3]
    assert said["off"] == {}


def test_check_says_who_is_off(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config.write_text(CONFIG.replace("[{use: edgar, fresh_for: 20h}]", "[edgar, perplexity]"))
    assert check([config], as_json=False, clock=FakeClock(NOW)) == 0
    assert capsys.readouterr().out.count("perplexity is off: no key; put one into PERPLEXITY_API_KEY") == 1
    assert check([config], as_json=True, clock=FakeClock(NOW)) == 0
    assert list(json.loads(capsys.readouterr().out)["off"]) == ["perplexity"]


def test_every_key_is_a_secret_from_then_on(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config.write_text(CONFIG.replace("[{use: edgar, fresh_for: 20h}]", "[edgar, perplexity]"))
    monkeypatch.setenv("PERPLEXITY_API_KEY", "pplx-known-to-nobody-else")
    read(Found((config,), ""))
    assert redact("it was pplx-known-to-nobody-else") == "it was [redacted]"


def test_check_says_when_and_how_much(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert check([config], as_json=False, clock=FakeClock(NOW)) == 0
    text = capsys.readouterr().out
    assert "The configuration is valid: 3 symbols, 2 domains, 3 schedules; live." in text
    assert "morning: earnings of 1 symbol, at 07:00 on Monday through Friday, Europe/Berlin" in text
    assert "  Tue 24 Nov 2026 07:00:00 CET   2026-11-24T06:00:00Z" in text
    assert "  switched off (enabled: false)" in text


def test_check_in_json_is_one_value(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert check([config], as_json=True, clock=FakeClock(NOW)) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["valid"] is True
    assert [(s["schedule_id"], s["symbols"], len(s["next"])) for s in said["schedules"]] == [
        ("news", 3, 3),
        ("morning", 1, 3),
        ("off", 3, 0),
    ]
    assert said["estimate"][0]["calls_per_day"] == 1


def test_check_shows_every_problem_of_a_bad_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text("htp: {}\nhttp: {port: x}\n")
    with pytest.raises(ConfigurationError) as caught:
        check([path], as_json=False)
    assert [str(problem) for problem in caught.value.problems] == [
        f"{path}:1:1 htp: there is no setting 'htp'; did you mean http?",
        f"{path}:2:14 http.port: a whole number is needed, not 'x'",
    ]
    assert check([path], as_json=True) == 2
    said = json.loads(capsys.readouterr().out)
    assert (said["valid"], len(said["problems"])) == (False, 2)


def test_secrets_are_found_however_deep(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    hook, ping = "https://h.test/a-secret-address", "https://h.test/another-one"
    path.write_text(CONFIG + f"alerts: {{urls: [{hook}]}}\nmonitors: {{health: {{ping_url: {ping}}}}}\n")
    settings = read(Found((path,), ""))
    assert {*secrets_in([settings.alerts, {"m": (settings.monitors,)}])} == {hook, ping}


def test_check_refuses_a_directory_of_the_other_mode_as_run_would(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asyncio.run(_written(tmp_path / "data", partial(claim_mode, mode=SANDBOX, data_dir="data")))
    assert check([config], as_json=True, clock=FakeClock(NOW)) == 2
    (problem,) = json.loads(capsys.readouterr().out)["problems"]
    assert problem["path"] == "service.data_dir"
    assert problem["where"] == f"{config}:1:49"
    assert "holds sandbox data" in problem["wrong"]


def test_the_estimate_counts_the_sandbox_as_budgets_do_and_says_that_nothing_is_paid(
    paid: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    (path,) = paid.files
    real = {one.provider: one.usd_per_day for one in estimate(paid, source_providers(), from_iso(NOW))}
    path.write_text(path.read_text().replace("providers: {", "providers: {sandbox: {enabled: true}, "))
    played = estimate(read(Found((path,), "")), source_providers(), from_iso(NOW))
    assert {one.provider: one.usd_per_day for one in played} == real
    assert all(one.sandbox for one in played)
    assert check([path], as_json=False, clock=FakeClock(NOW)) == 0
    assert "perplexity: the sandbox counts as if it were paid, and is not\n" in capsys.readouterr().out


def test_check_leaves_out_of_the_first_fetch_what_a_start_would(
    paid: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def unit(conn: Connection) -> None:
        claim_mode(conn, mode=LIVE, data_dir="data")
        now = from_iso(NOW)
        stock_state_store.checked(conn, "AAPL", "earnings", "edgar", due_at=now, changed=True, now=now)
        for symbol, reason in (("AAPL", Reason.NO_DATA), ("NVDA", Reason.TIMEOUT)):
            stock_state_store.failed(conn, symbol, "fundamentals", "perplexity", reason=reason, now=now)

    asyncio.run(_written(tmp_path / "data", unit))
    assert check(paid.files, as_json=True, clock=FakeClock(NOW)) == 0
    said = json.loads(capsys.readouterr().out)["first_fetch"]
    assert [(one["provider"], one["calls"]) for one in said] == [("edgar", 5), ("perplexity", 2)]


async def _written(folder: Path, unit: Callable[[Connection], object]) -> None:
    folder.mkdir()
    ledger = Ledger(folder / "ledger.sqlite")
    await ledger.open()
    writing = asyncio.create_task(ledger.write_forever())
    await ledger.run(unit)
    ledger.stop_writing()
    await writing
    await ledger.close()


@pytest.mark.parametrize(("api", "usd"), [("agent", 0.005), ("chat", 0.02)])
def test_a_source_is_estimated_at_the_price_of_what_it_asks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, api: str, usd: float
) -> None:
    monkeypatch.setenv("PERPLEXITY_API_KEY", "pplx-one")
    path = tmp_path / "priced.yaml"
    path.write_text(
        f"watchlist: [AAPL]\nproviders: {{perplexity: {{api: {api}}}}}\n"
        "domains: {news: {sources: [{use: perplexity, fresh_for: 1h}]},"
        " fundamentals: {sources: [{use: perplexity, fresh_for: 1h}]}}\n"
        "schedules: [{id: n, domain: news, trigger: {every: 24h}},"
        " {id: f, domain: fundamentals, trigger: {every: 24h}}]\n"
    )
    settings = read(Found((path,), ""))
    prices = usual_prices(settings)
    assert prices["news", "perplexity"].usd_micros == usd * 1e6
    assert prices["fundamentals", "perplexity"].usd_micros == 20_000
    (one,) = estimate(settings, source_providers(), from_iso(NOW))
    assert one.calls_per_day == 2
    assert one.usd_per_day == pytest.approx(usd + 0.02)
    counts = {("news", "perplexity"): 1, ("fundamentals", "perplexity"): 1}
    (first,) = plan(settings, source_providers(), counts, prices)
    assert first.usd == pytest.approx(usd + 0.02)
