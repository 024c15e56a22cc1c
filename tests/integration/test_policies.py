"""What a schedule does about slots that it missed, tasks that overlap, and symbols that are too many for one slot."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from time import perf_counter
from typing import TYPE_CHECKING

import pytest

from scheduler_service import expansion
from scheduler_service.clock import DAY, HOUR, MINUTE
from scheduler_service.models import Outcome, Reason, Symbol, TaskState
from scheduler_service.settings.model import Tagged
from scheduler_service.slot_runs import CatchUp
from scheduler_service.stores import database
from tests.integration.scheduling_bench import Bench, a_schedule, clock_time
from tests.virtual_time import Killed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

HOURLY = a_schedule()
ALL = replace(HOURLY, catch_up="all")
QUEUE = replace(HOURLY, overlap="queue")


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    """At 14:30, with no process yet; the hours are full ones, UTC."""
    monkeypatch.setattr(database, "BUSY_TIMEOUT_MS", 1)
    bench = Bench(tmp_path, "2026-11-23T14:30:00Z")
    yield bench
    bench.close()


# catch_up: all


def test_every_missed_slot_gets_a_run_of_its_own_and_they_are_done_one_after_another(bench: Bench) -> None:
    bench.boot(ALL, watch=["AAPL"], without="filings")
    bench.stop()
    bench.later(3 * HOUR + 5 * MINUTE)
    bench.boot(ALL, watch=["AAPL"], without="filings")
    assert bench.history() == ["15:00 caught_up", "16:00 caught_up", "17:00 caught_up"]
    assert [bench.work() for _ in range(4)] == [1, 1, 1, 0], "none beside another"
    ended = bench.sql("select run.due_at from task join run on run.id = run_id order by task.ended_at, task.id")
    assert ended == sorted(ended)
    assert bench.dispatcher.take_catch_up().slots == 3


def test_what_is_caught_up_with_comes_piece_by_piece_and_holds_up_no_start(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(expansion, "MOST_OPEN", 60)
    minutely = a_schedule("hourly", trigger={"every": "1m"}, catch_up="all")
    watch = [f"S{number:02}" for number in range(20)]
    bench.boot(minutely, watch=watch, without="filings")
    bench.stop()
    bench.later(30 * MINUTE)
    bench.boot(minutely, watch=watch, without="filings")
    missed = bench.dispatcher.take_catch_up()
    assert missed == CatchUp(29, Counter({("numbers", "wire"): 600}), missed.since)
    assert clock_time(missed.since or 0) == "14:31"
    assert len(bench.tasks()) == 60
    while bench.work():
        bench.sweep()
    due = bench.sql("select run.due_at from task join run on run.id = run_id order by task.id")
    assert len(due) == 600
    assert due == sorted(due), "the oldest first"


def test_hundreds_of_missed_slots_are_caught_up_with_over_a_crash_and_none_twice(bench: Bench) -> None:
    minutely = a_schedule("hourly", trigger={"every": "1m"}, catch_up="all")
    watch = ["AAPL"]
    bench.boot(minutely, watch=watch, without="filings")
    bench.stop()
    bench.later(5 * HOUR)
    with pytest.raises(Killed):
        bench.boot(minutely, watch=watch, without="filings", kill_after=60)
    some = bench.sql("select count(*) from slot")[0][0]
    assert some == 100
    bench.boot(minutely, watch=watch, without="filings")
    assert bench.sql("select count(*), min(slots), max(slots) from slot") == [(300, 1, 1)]
    assert bench.sql("select count(distinct due_at), count(*) from run") == [(300, 300)]
    assert bench.sql("select count(*) from task where state = 'queued'") == [(300,)]


@pytest.mark.parametrize("trigger", [{"every": "1m"}, {"cron": "* * * * *"}], ids=["every", "cron"])
def test_ten_years_offline_are_one_row_for_each_outcome_within_a_second(bench: Bench, trigger: dict[str, str]) -> None:
    minutely = a_schedule("hourly", trigger=trigger)
    bench.boot(minutely)
    bench.stop()
    bench.later(3652 * DAY + 5 * 1_000_000)
    started = perf_counter()
    bench.boot(minutely)
    assert perf_counter() - started < 1.0
    rows = bench.sql("select slots, outcome, reason from slot order by due_at")
    assert rows == [
        (3651 * 1440, "missed", "too_old"),
        (1439, "coalesced", "coalesced"),
        (1, "ran", None),
    ]
    assert bench.dispatcher.take_catch_up().slots == 3652 * 1440 - 1


# overlap: queue


def test_one_task_waits_behind_the_open_one_and_further_ones_are_skipped(bench: Bench) -> None:
    """Fault 48."""
    bench.boot(QUEUE, watch=["AAPL"], without="filings")
    bench.later(30 * MINUTE)
    bench.sweep()
    (first,) = bench.claim()
    for _ in range(3):
        bench.later(HOUR)
        bench.sweep()
    assert bench.tasks("state, reason") == [
        ("running", None),
        ("queued", None),
        ("skipped", "overlap"),
        ("skipped", "overlap"),
    ]
    assert bench.claim() == [], "never beside it"
    bench.end([first])
    (second,) = bench.claim()
    assert second.run_id == 2
    bench.end([second])
    bench.later(HOUR)
    bench.sweep()
    assert bench.work() == 1


def test_what_waits_behind_an_open_task_holds_up_no_other_symbol_source_or_schedule(bench: Bench) -> None:
    bench.boot(QUEUE, replace(QUEUE, id="other"), watch=["AAPL", "MSFT"])
    bench.later(30 * MINUTE)
    bench.sweep()
    tasks = bench.claim()
    stuck = next(task for task in tasks if (task.schedule_id, task.symbol, task.source) == ("hourly", "AAPL", "wire"))
    bench.end([task for task in tasks if task.id != stuck.id])
    bench.later(HOUR)
    bench.sweep()
    assert bench.work() == 7
    bench.end([stuck])
    assert bench.work() == 1


def test_no_symbol_comes_later_than_the_next_slot_however_wide_the_spread(bench: Bench) -> None:
    hourly = a_schedule(trigger={"cron": "0 * * * *"}, spread=5 * HOUR)
    bench.boot(hourly, watch=[f"S{number:02}" for number in range(40)])
    bench.later(30 * MINUTE)
    bench.sweep()
    late = [expires - not_before for not_before, expires in bench.tasks("not_before, expires_at")]
    assert 0 < min(late) < max(late) < HOUR


# symbols: {stalest: N}


STALEST = replace(HOURLY, symbols=Tagged(stalest=2), domain="words")
WATCH = ["AAPL", "IBM", "MSFT", "NVDA", "ORCL"]


def chosen(bench: Bench) -> list[list[str]]:
    """The symbols of each run."""
    rows = bench.sql("select run_id, symbol from task order by id")
    return [[symbol for run, symbol in rows if run == run_id] for run_id in sorted({run for run, _ in rows})]


def test_the_stalest_go_round_the_watchlist_also_when_some_always_fail(bench: Bench) -> None:
    bench.boot(STALEST, watch=WATCH)
    for _ in range(10):
        bench.later(HOUR)
        bench.sweep()
        for task in bench.claim():
            failed = Outcome(TaskState.FAILED, Reason.NO_DATA)
            bench.end([task], failed if task.symbol in ("IBM", "NVDA") else None)
    assert chosen(bench)[:3] == [["AAPL", "IBM"], ["MSFT", "NVDA"], ["AAPL", "ORCL"]]
    times = Counter(symbol for run in chosen(bench) for symbol in run)
    assert sorted(times) == WATCH
    assert sum(times.values()) == 20
    assert set(times.values()) <= {3, 4, 5}, "those that fail neither more nor less often"


def test_symbols_that_are_skipped_whenever_their_turn_has_come_keep_nobody_from_his(bench: Bench) -> None:
    bench.boot(STALEST, watch=WATCH)
    for _ in range(10):
        bench.later(HOUR)
        bench.sweep()
        for task in bench.claim():
            skipped = Outcome(TaskState.SKIPPED, Reason.BACKING_OFF)
            bench.end([task], skipped if task.symbol in ("AAPL", "IBM") else None)
    assert set(Counter(symbol for run in chosen(bench) for symbol in run).values()) <= {3, 4, 5}


def test_what_another_schedule_looked_at_is_not_stale(bench: Bench) -> None:
    bench.boot(STALEST, watch=WATCH)
    bench.do(bench.dispatcher.fetch("words", ["AAPL", "MSFT"], ["wire"], force=False))
    bench.work()
    bench.later(HOUR)
    bench.sweep()
    assert chosen(bench)[-1] == ["IBM", "NVDA"]


def test_the_choice_is_fixed_when_the_run_is_made(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    async def not_yet(self: object, runs: object) -> Counter[tuple[str, str]]:
        return Counter()

    bench.boot(STALEST, watch=WATCH)
    bench.later(30 * MINUTE)
    with monkeypatch.context() as patch:
        patch.setattr(expansion.Expander, "finish_all", not_yet)
        bench.sweep()
    bench.kill()
    assert bench.sql("select plan is not null, expanded_upto from run") == [(1, "")]
    bench.sql_write(
        "insert into task (run_id, domain, symbol, source, lane, state, unchanged, rank, attempt, interrupted,"
        " queued_at, not_before, created_at, ended_at) values"
        " (1, 'words', 'AAPL', 'other', 'alpha', 'skipped', 0, 1, 0, 0, 1, 1, 1, 1)"
    )
    bench.boot(STALEST, watch=WATCH)
    assert bench.sql("select symbol from task where source = 'wire' order by id") == [("AAPL",), ("IBM",)]


def test_missed_slots_that_are_all_caught_up_with_go_round_too(bench: Bench) -> None:
    stalest = replace(STALEST, catch_up="all", symbols=Tagged(tags=frozenset({"chips"}), stalest=2))
    watch = [Symbol(name, tags=frozenset({"chips"} if name != "IBM" else ())) for name in WATCH]
    bench.boot(stalest, watch=watch)
    bench.stop()
    bench.later(3 * HOUR)
    bench.boot(stalest, watch=watch)
    assert chosen(bench) == [["AAPL", "MSFT"], ["NVDA", "ORCL"], ["AAPL", "MSFT"]]
