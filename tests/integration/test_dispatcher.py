"""From due slots to tasks, on a real ledger: nothing is forgotten, nothing is done twice, nothing is invented."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import suppress
from dataclasses import replace
from functools import partial
from itertools import product
from typing import TYPE_CHECKING

import pytest

from scheduler_service import expansion
from scheduler_service.clock import DAY, HOUR, MINUTE, from_iso
from scheduler_service.errors import Fenced, StoreError
from scheduler_service.expansion import offset
from scheduler_service.models import Outcome, Reason, Symbol, TaskState
from scheduler_service.settings.model import Tagged
from scheduler_service.stores import database, schedule_store, task_store
from scheduler_service.stores.pause_store import PauseRow
from scheduler_service.stores.schedule_store import Standing
from tests.integration.scheduling_bench import SYMBOLS, Bench, a_schedule, clock_time
from tests.virtual_time import Killed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

HOURLY = a_schedule()


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    """At 14:30, with no process yet; the hours are full ones, UTC."""
    monkeypatch.setattr(database, "BUSY_TIMEOUT_MS", 1)
    bench = Bench(tmp_path, "2026-11-23T14:30:00Z")
    yield bench
    bench.close()


def runs(bench: Bench) -> list[tuple[str, str, int, int, int]]:
    """(origin, due, open, completed, skipped)."""
    rows = bench.sql("select origin, due_at, open_tasks, completed, skipped from run order by id")
    return [(origin, clock_time(due_at), *counts) for origin, due_at, *counts in rows]


# slots, and the runs that carry them out


def test_a_new_schedule_is_due_from_now_on_and_not_before(bench: Bench) -> None:
    bench.boot(HOURLY)
    assert bench.history() == []
    bench.later(30 * MINUTE)
    bench.sweep()
    assert bench.history() == ["15:00 ran"]
    assert runs(bench) == [("schedule", "15:00", 6, 0, 0)]
    assert bench.sql("select slot.run_id from slot join run on run.id = slot.run_id") == [(1,)]
    assert bench.tasks("symbol, source, lane, state") == [
        (symbol, source, lane, "queued")
        for symbol in SYMBOLS
        for source, lane in (("wire", "alpha"), ("filings", "beta:slow"))
    ]


def test_what_a_slot_finds_fresh_ends_as_it_is_written_down_and_what_a_person_forces_does_not(bench: Bench) -> None:
    bench.boot(a_schedule(trigger={"every": "20m"}))
    bench.later(20 * MINUTE)
    bench.sweep()
    bench.end(bench.claim())
    bench.later(10 * MINUTE)
    bench.do(bench.dispatcher.fetch("numbers", SYMBOLS, ["wire"], force=True))
    assert len(bench.claim()) == len(SYMBOLS)
    bench.later(10 * MINUTE)
    bench.sweep()
    assert bench.claim() == []
    assert set(bench.tasks("state, reason, attempt")[-6:]) == {("skipped", "fresh", 0)}
    assert runs(bench)[-1] == ("schedule", "15:00", 0, 0, 6)


def test_reconciling_twice_changes_nothing(bench: Bench) -> None:
    bench.boot(HOURLY, a_schedule("words", domain="words"))
    bench.later(3 * HOUR)
    bench.sweep()
    before = [bench.sql(f"select * from {table}") for table in ("schedule", "slot", "run", "task")]
    said = len(bench.events)
    for _ in range(3):
        bench.sweep()
    assert [bench.sql(f"select * from {table}") for table in ("schedule", "slot", "run", "task")] == before
    assert len(bench.events) == said


def test_many_reconciles_at_once_make_one_run_and_say_so_once(bench: Bench) -> None:
    bench.boot(HOURLY)
    bench.later(2 * HOUR)

    async def crowd() -> None:
        await asyncio.gather(*(bench.dispatcher.reconcile("hourly") for _ in range(20)))

    bench.do(crowd())
    assert bench.history() == ["15:00 coalesced(coalesced)", "16:00 caught_up"]
    assert runs(bench) == [("schedule", "16:00", 6, 0, 0)]
    assert Counter(event.name for event in bench.events) == {"slot.opened": 1, "slot.closed": 1}


def test_a_ring_for_a_schedule_that_is_not_there_is_nothing(bench: Bench) -> None:
    bench.boot(HOURLY)
    bench.do(bench.dispatcher.reconcile("someone-elses"))
    assert bench.history("someone-elses") == []


def test_a_restart_neither_forgets_a_due_slot_nor_repeats_a_done_one(bench: Bench) -> None:
    bench.boot(HOURLY)
    bench.later(30 * MINUTE)
    bench.sweep()
    assert bench.work() == 6
    bench.restart(HOURLY)
    assert bench.history() == ["15:00 ran"]
    bench.stop()
    bench.later(3 * HOUR + 5 * MINUTE)
    bench.boot(HOURLY)
    assert bench.history() == ["15:00 ran", "16:00-17:00 2 coalesced(coalesced)", "18:00 caught_up"]
    assert runs(bench) == [("schedule", "15:00", 0, 6, 0), ("schedule", "18:00", 6, 0, 0)]


def test_what_is_not_to_be_caught_up_is_missed(bench: Bench) -> None:
    never = replace(HOURLY, catch_up="none")
    bench.boot(never)
    bench.stop()
    bench.later(3 * HOUR)
    bench.boot(never)
    assert bench.history() == ["15:00-16:00 2 missed(catch_up_none)", "17:00 missed(catch_up_none)"]
    assert runs(bench) == []


def test_a_clock_that_goes_back_repeats_nothing_and_silences_nothing(bench: Bench) -> None:
    bench.boot(HOURLY)
    bench.later(2 * HOUR + 30 * MINUTE)
    bench.sweep()
    assert bench.history() == ["15:00-16:00 2 coalesced(coalesced)", "17:00 ran"]
    bench.work()
    bench.clock.jump(-2 * HOUR)
    bench.sweep()
    bench.sweep()
    assert [event.name for event in bench.events].count("clock.jumped") == 1
    assert bench.history() == ["15:00 coalesced(coalesced)", "17:00 ran"]
    bench.restart(HOURLY)
    for _ in range(3):
        bench.later(HOUR)
        bench.sweep()
        bench.work()
    assert bench.history() == ["15:00 coalesced(coalesced)", "16:00 ran", "17:00 ran", "18:00 ran"]
    assert [due for _, due, *_ in runs(bench)] == ["17:00", "16:00", "18:00"]


def test_the_run_of_a_slot_ends_by_its_schedules_next_slot(bench: Bench) -> None:
    bench.boot(HOURLY)
    bench.later(30 * MINUTE)
    bench.sweep()
    assert {clock_time(expires) for (expires,) in bench.tasks("expires_at")} == {"16:00"}


# schedules that change


def test_what_was_due_before_an_edit_belongs_to_the_old_definition(bench: Bench) -> None:
    bench.boot(HOURLY)
    bench.stop()
    bench.later(2 * HOUR + 35 * MINUTE)
    edited = a_schedule(trigger={"every": "10m"}, domain="words")
    bench.boot(edited)
    assert bench.history() == ["15:00-16:00 2 coalesced(coalesced)", "17:00 caught_up"]
    assert {domain for (domain,) in bench.tasks("domain")} == {"numbers"}
    bench.later(5 * MINUTE)
    bench.sweep()
    assert bench.history()[-1] == "17:10 ran"
    assert bench.sql("select effective_from from schedule")[0][0] > from_iso("2026-11-23T17:05:00Z")
    assert bench.sql("select distinct domain from run order by id desc limit 1") == [("words",)]


def test_an_edit_that_does_not_change_when_it_is_due_keeps_the_cursor(bench: Bench) -> None:
    bench.boot(HOURLY)
    bench.stop()
    bench.later(HOUR)
    bench.boot(replace(HOURLY, symbols=("NVDA",), priority="high"))
    assert bench.history() == ["15:00 caught_up"]
    assert bench.tasks("distinct symbol, rank") == [("NVDA", 0)]


def test_a_removed_schedule_ends_with_its_slots_accounted_for(bench: Bench) -> None:
    bench.boot(HOURLY)
    bench.stop()
    bench.later(3 * HOUR)
    bench.boot()
    assert bench.history() == ["15:00-17:00 3 skipped(removed)"]
    bench.later(DAY)
    bench.sweep()
    bench.restart()
    assert bench.history() == ["15:00-17:00 3 skipped(removed)"]
    assert runs(bench) == []


def test_a_schedule_that_comes_back_starts_anew(bench: Bench) -> None:
    bench.boot(HOURLY)
    bench.restart()
    bench.later(3 * HOUR)
    bench.restart(HOURLY)
    assert bench.history() == []
    bench.later(30 * MINUTE)
    bench.sweep()
    assert bench.history() == ["18:00 ran"]


def test_a_disabled_schedule_says_so_and_invents_nothing_when_enabled_again(bench: Bench) -> None:
    bench.boot(HOURLY)
    bench.stop()
    bench.later(HOUR)
    bench.boot(replace(HOURLY, enabled=False))
    assert bench.history() == ["15:00 skipped(disabled)"]
    bench.later(5 * HOUR)
    bench.sweep()
    bench.restart(HOURLY)
    bench.later(30 * MINUTE)
    bench.sweep()
    assert bench.history() == ["15:00 skipped(disabled)", "21:00 ran"]


def test_an_edit_after_the_clock_went_back_counts_no_time_twice(bench: Bench) -> None:
    bench.boot(HOURLY)
    bench.later(3 * HOUR)
    bench.sweep()
    bench.stop()
    assert bench.history() == ["15:00-16:00 2 coalesced(coalesced)", "17:00 caught_up"]
    bench.clock.jump(-2 * HOUR)
    bench.boot(a_schedule(trigger={"every": "15m"}))
    before = ["15:00 coalesced(coalesced)", "17:00 caught_up"]
    assert bench.history() == before
    bench.later(2 * HOUR)
    bench.sweep()
    assert bench.history() == [
        before[0],
        "15:45-16:45 5 coalesced(coalesced)",
        before[1],
        "17:15 coalesced(coalesced)",
        "17:30 ran",
    ]


def test_while_its_provider_is_off_a_schedules_slots_are_skipped_for_that(bench: Bench) -> None:
    bench.boot(HOURLY)
    bench.stop()
    bench.later(HOUR)
    bench.boot(HOURLY, without="numbers")
    bench.later(HOUR)
    bench.sweep()
    assert bench.history() == ["15:00 skipped(provider_off)", "16:00 skipped(provider_off)"]
    bench.stop()
    bench.later(30 * MINUTE)
    bench.boot(HOURLY)
    assert runs(bench) == [("schedule", "17:00", 6, 0, 0)]


def test_a_pause_skips_slots_and_one_that_is_over_does_not(bench: Bench) -> None:
    bench.boot(HOURLY, a_schedule("other"))

    def pause(scope: str, since: int, until: int | None, ended_at: int | None = None) -> None:
        values = (scope, since, until, ended_at)
        bench.sql_write("insert into pause (scope, since, until, ended_at) values (?, ?, ?, ?)", *values)

    pause("hourly", bench.now, bench.now + 2 * HOUR + 20 * MINUTE)
    pause("*", bench.now - DAY, None, bench.now)
    pause("*", bench.now - MINUTE, bench.now + DAY, bench.now + 9 * HOUR)  # under a clock that was ahead
    for _ in range(3):
        bench.later(HOUR)
        bench.sweep()
    assert bench.history() == ["15:00 skipped(paused)", "16:00 skipped(paused)", "17:00 caught_up"]
    assert len(bench.history("other")) == 3
    assert "skipped(paused)" not in "".join(bench.history("other"))


# expansion


def test_thousands_of_symbols_are_written_in_slices(bench: Bench) -> None:
    symbols = [f"S{number:05}" for number in range(3000)]
    slices: list[int] = []
    bench.on_notify = lambda: slices.append(bench.sql("select count(*) from task")[0][0])
    bench.boot(HOURLY, watch=symbols)
    bench.later(30 * MINUTE)
    bench.sweep()
    assert slices == [1000, 2000, 3000, 4000, 5000, 6000]
    assert runs(bench) == [("schedule", "15:00", 6000, 0, 0)]


def test_an_expansion_goes_on_after_a_crash_anywhere_in_it_with_no_task_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fault 5."""
    monkeypatch.setattr(expansion, "TASKS_PER_SLICE", 10)
    symbols = [f"S{number:02}" for number in range(25)]
    cut_off: set[int] = set()
    for hop, seed in product(range(1, 11), range(2)):
        (folder := tmp_path / f"{hop}-{seed}").mkdir()
        bench = Bench(folder, seed=seed)
        bench.boot(HOURLY, watch=symbols)
        bench.later(30 * MINUTE)
        with suppress(Killed):
            bench.sweep(kill_after=hop)
        if bench.life is None:
            cut_off.add(len(bench.tasks()))
            bench.boot(HOURLY, watch=symbols)
        tasks = bench.tasks("symbol, source, state")
        assert sorted(tasks) == sorted((s, source, "queued") for s in symbols for source in ("filings", "wire"))
        assert runs(bench) == [("schedule", "15:00", 50, 0, 0)]
        assert bench.sql("select plan from run") == [(None,)]
        bench.close()
    assert cut_off == {0, 10, 20, 30, 40, 50}


def test_an_expansion_that_the_ledger_refused_is_finished_by_the_next_sweep(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(expansion, "TASKS_PER_SLICE", 4)
    bench.boot(HOURLY)
    bench.later(30 * MINUTE)
    bench.on_notify = bench.lock
    with pytest.raises(StoreError, match="locked"):
        bench.sweep()
    assert len(bench.tasks()) == 4
    with pytest.raises(StoreError, match="locked"):
        bench.sweep()
    bench.on_notify = lambda: None
    bench.unlock()
    bench.sweep()
    assert runs(bench) == [("schedule", "15:00", 6, 0, 0)]


def test_two_who_expand_the_same_run_share_the_work(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(expansion, "TASKS_PER_SLICE", 2)
    bench.boot(HOURLY, watch=[f"S{number}" for number in range(9)])
    bench.later(30 * MINUTE)

    async def both() -> None:
        sweeps = [bench.dispatcher.reconcile_all() for _ in range(3)]
        await asyncio.gather(*sweeps, *(bench.dispatcher.expand_unfinished() for _ in range(3)))

    bench.do(both())
    assert runs(bench) == [("schedule", "15:00", 18, 0, 0)]


def test_a_cut_off_expansion_leaves_out_what_is_no_longer_wanted(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(expansion, "TASKS_PER_SLICE", 2)
    bench.boot(HOURLY)
    bench.later(30 * MINUTE)
    bench.on_notify = bench.lock
    with pytest.raises(StoreError):
        bench.sweep()
    bench.on_notify = lambda: None
    bench.unlock()
    bench.restart(HOURLY, watch=["AAPL", "NVDA"], without="filings")
    assert bench.tasks()[2:] == [
        ("MSFT", "wire", "skipped", "not_watched"),
        ("MSFT", "filings", "skipped", "provider_off"),
        ("NVDA", "wire", "queued", None),
        ("NVDA", "filings", "skipped", "provider_off"),
    ]


def test_a_run_of_no_symbols_closes_at_once(bench: Bench) -> None:
    bench.boot(replace(HOURLY, symbols=Tagged(tags=frozenset({"chips"}))))
    bench.later(30 * MINUTE)
    bench.sweep()
    assert bench.history() == ["15:00 ran"]
    assert bench.sql("select open_tasks, closed_at is not null from run") == [(0, 1)]


def test_tags_choose_the_symbols(bench: Bench) -> None:
    watch = [Symbol("AAPL"), Symbol("NVDA", tags=frozenset({"chips", "real"}))]
    bench.boot(replace(HOURLY, symbols=Tagged(tags=frozenset({"chips"}))), watch=watch)
    bench.later(30 * MINUTE)
    bench.sweep()
    assert bench.tasks("distinct symbol") == [("NVDA",)]


# tasks


def test_a_task_that_has_not_ended_lets_its_next_one_be_skipped(bench: Bench) -> None:
    """Fault 48."""
    bench.boot(HOURLY, a_schedule("other"))
    bench.later(30 * MINUTE)
    bench.do(bench.dispatcher.reconcile("hourly"))
    busy = [task for task in bench.claim() if task.symbol == "AAPL" or task.source == "wire"]
    bench.end([task for task in busy if task.symbol != "AAPL"])
    bench.later(HOUR)
    bench.do(bench.dispatcher.reconcile("hourly"))
    second = bench.sql("select symbol, source, reason from task where run_id = 2 order by id")
    assert second == [
        ("AAPL", "wire", "overlap"),
        ("AAPL", "filings", "overlap"),
        ("MSFT", "wire", None),
        ("MSFT", "filings", "overlap"),
        ("NVDA", "wire", None),
        ("NVDA", "filings", "overlap"),
    ]
    assert runs(bench)[1] == ("schedule", "16:00", 2, 0, 4)
    bench.do(bench.dispatcher.reconcile("other"))
    assert runs(bench)[2] == ("schedule", "16:00", 6, 0, 0)


def test_a_run_that_overlaps_wholly_closes_at_once(bench: Bench) -> None:
    bench.boot(HOURLY)
    for _ in range(2):
        bench.later(HOUR)
        bench.sweep()
    assert runs(bench) == [("schedule", "15:00", 6, 0, 0), ("schedule", "16:00", 0, 0, 6)]
    assert [event.name for event in bench.events if event.fields.get("run_id") == 2] == ["slot.closed"]


def test_the_spread_is_stable_and_below_its_width(bench: Bench) -> None:
    symbols = [f"S{number:03}" for number in range(60)]
    spread = 5 * MINUTE
    bench.boot(replace(HOURLY, spread=spread), watch=symbols)
    due = from_iso("2026-11-23T15:00:00Z")
    offsets: list[dict[str, int]] = []
    for slot in range(2):
        bench.later(due + slot * HOUR - bench.now)
        bench.sweep()
        bench.later(10 * MINUTE)
        rows = bench.sql("select symbol, not_before from task where run_id = ?", slot + 1)
        offsets.append({symbol: not_before - due - slot * HOUR for symbol, not_before in rows})
        bench.work()
        bench.restart(replace(HOURLY, spread=spread), watch=symbols)
    assert offsets[0] == offsets[1] == {symbol: offset("hourly", symbol, spread) for symbol in symbols}
    assert all(0 <= value < spread for value in offsets[0].values())
    assert len(set(offsets[0].values())) > 57
    assert max(Counter(value // MINUTE for value in offsets[0].values()).values()) < 30
    assert offset("hourly", "AAPL", spread) != offset("other", "AAPL", spread)
    assert offset("hourly", "AAPL", 5 * MINUTE) == 297_336_758  # as it was yesterday


def test_a_symbol_has_the_same_share_of_a_spread_that_a_near_slot_cuts_short(bench: Bench) -> None:
    unequal = a_schedule(trigger={"cron": "0 10,11,14 * * *"}, spread=3 * HOUR, domain="words")
    bench.boot(unequal, watch=["AAPL"])
    for micros in (30 * MINUTE, HOUR, 3 * HOUR):  # to 10:00, 11:00 and 14:00 in New York
        bench.later(micros)
        bench.sweep()
        bench.work()
    rows = bench.sql("select not_before - due_at from task join run on run.id = run_id order by run.id")
    within_an_hour, within_three, the_next = (late for (late,) in rows)
    assert 0 < within_an_hour < HOUR
    assert 0 <= within_three - 3 * within_an_hour < 3
    assert the_next == within_three


def test_the_higher_priority_of_schedule_and_symbol_comes_first(bench: Bench) -> None:
    watch = [Symbol("LATER", priority="low"), Symbol("PLAIN"), Symbol("FIRST", priority="high")]
    bench.boot(
        a_schedule("low", priority="low"),
        a_schedule("words", domain="words", priority="high"),
        watch=watch,
    )
    bench.later(30 * MINUTE)
    bench.sweep()
    ranks = bench.tasks("distinct domain, symbol, rank")
    assert sorted(ranks) == [
        ("numbers", "FIRST", 0),
        ("numbers", "LATER", 2),
        ("numbers", "PLAIN", 1),
        ("words", "FIRST", 0),
        ("words", "LATER", 0),
        ("words", "PLAIN", 0),
    ]
    taken = [(task.domain, task.symbol) for task in bench.claim(6) if task.source == "wire"]
    assert taken[-2:] == [("numbers", "PLAIN"), ("numbers", "LATER")]


def test_waiting_tasks_of_symbols_off_the_watchlist_end_except_those_a_person_asked_for(bench: Bench) -> None:
    bench.boot(HOURLY)
    bench.later(30 * MINUTE)
    bench.sweep()
    running = [task for task in bench.claim(1) if task.symbol == "AAPL"]
    bench.do(bench.dispatcher.fetch("numbers", ["MSFT", "ELSE"], ["wire"], force=False))
    bench.restart(HOURLY, watch=["NVDA"])
    assert len(running) == 2
    states = Counter((symbol, state, reason) for symbol, _, state, reason in bench.tasks())
    assert states == {
        ("AAPL", "skipped", "not_watched"): 2,  # the restart put them back before
        ("MSFT", "skipped", "not_watched"): 2,
        ("MSFT", "queued", None): 1,
        ("ELSE", "queued", None): 1,
        ("NVDA", "queued", None): 2,
    }


def test_waiting_tasks_of_a_source_that_is_switched_off_end_since_nobody_would_take_them(bench: Bench) -> None:
    bench.boot(HOURLY)
    bench.later(30 * MINUTE)
    bench.sweep()
    bench.do(bench.dispatcher.fetch("numbers", ["ELSE"], ["filings"], force=False))
    bench.end([task for task in bench.claim() if task.source == "wire"])
    bench.restart(HOURLY, without="filings")
    assert runs(bench) == [("schedule", "15:00", 0, 3, 3), ("manual", "15:00", 0, 0, 1)]
    assert Counter(reason for *_, reason in bench.tasks()) == {None: 3, "provider_off": 4}
    assert {event.name for event in bench.events[-2:]} == {"slot.closed", "run.closed"}


def test_a_worker_of_a_killed_process_ends_nothing_any_more(bench: Bench) -> None:
    bench.boot(HOURLY, watch=["AAPL"], without="filings")
    bench.later(30 * MINUTE)
    bench.sweep()
    late = bench.claim()
    bench.kill()
    bench.boot(HOURLY, watch=["AAPL"], without="filings")
    again = bench.claim()
    with pytest.raises(Fenced):
        bench.end(late)
    bench.end(again)
    with pytest.raises(Fenced):
        bench.end(again)
    assert runs(bench) == [("schedule", "15:00", 0, 1, 0)]


# initial and manual runs


def test_only_what_was_never_fetched_gets_an_initial_run(bench: Bench) -> None:
    bench.boot(HOURLY)
    assert bench.do(bench.dispatcher.fetch_never_fetched()).total() == 6
    tasks = bench.claim()
    bench.end([task for task in tasks if (task.symbol, task.source) != ("MSFT", "filings")])
    last = [task for task in tasks if (task.symbol, task.source) == ("MSFT", "filings")]
    bench.end(last, Outcome(TaskState.SKIPPED, Reason.BUDGET_EXHAUSTED))
    bench.restart(HOURLY, watch=[*SYMBOLS, "ORCL"])
    assert bench.do(bench.dispatcher.fetch_never_fetched()).total() == 3
    assert bench.tasks()[6:] == [
        ("MSFT", "filings", "queued", None),
        ("ORCL", "wire", "queued", None),
        ("ORCL", "filings", "queued", None),
    ]


def test_an_initial_run_is_not_made_again_while_it_is_queued_or_running(bench: Bench) -> None:
    bench.boot(HOURLY)
    bench.do(bench.dispatcher.fetch_never_fetched())
    bench.claim(2)
    bench.restart(HOURLY)
    assert bench.do(bench.dispatcher.fetch_never_fetched()).total() == 0
    assert [origin for origin, *_ in runs(bench)] == ["initial"]


@pytest.mark.parametrize(
    ("reason", "again"),
    [
        (Reason.PROVIDER_DOWN, True),
        (Reason.UNKNOWN_SYMBOL, False),
        (Reason.POISON, False),
        (Reason.NO_DATA, False),
        (Reason.TRUNCATED, False),
    ],
)
def test_a_first_fetch_that_failed_is_tried_again_at_the_next_start_unless_that_is_hopeless(
    bench: Bench, reason: Reason, again: bool
) -> None:
    bench.boot(HOURLY)
    first = bench.do(bench.dispatcher.fetch_never_fetched()).total()
    bench.end(bench.claim(), Outcome(TaskState.FAILED, reason))
    bench.restart(HOURLY)
    assert bench.do(bench.dispatcher.fetch_never_fetched()).total() == (first if again else 0)


def test_what_no_schedule_covers_is_not_fetched_at_the_start(bench: Bench) -> None:
    bench.boot(replace(HOURLY, symbols=("NVDA",)), a_schedule("words", domain="words", enabled=False))
    assert bench.do(bench.dispatcher.fetch_never_fetched()).total() == 2


def test_a_persons_fetch_comes_first_and_does_not_ask_the_watchlist(bench: Bench) -> None:
    bench.boot(HOURLY)
    run = bench.do(bench.dispatcher.fetch("numbers", ["ZZZ", "AAA", "AAA"], ["wire"], force=True))
    assert (run.origin, run.force, run.tasks, run.schedule_id) == ("manual", True, 2, None)
    assert bench.tasks("symbol, rank, expires_at, state") == [("AAA", 0, None, "queued"), ("ZZZ", 0, None, "queued")]


def test_a_killed_initial_run_is_completed_and_not_doubled(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(expansion, "TASKS_PER_SLICE", 2)
    bench.boot(HOURLY)
    with pytest.raises(Killed):
        bench.do(bench.dispatcher.fetch_never_fetched(), kill_after=4)
    assert 0 < len(bench.tasks()) < 6
    bench.boot(HOURLY)
    bench.do(bench.dispatcher.fetch_never_fetched())
    assert len(bench.tasks("distinct symbol, source")) == len(bench.tasks()) == 6


def test_an_initial_run_leaves_out_what_a_person_asked_for_meanwhile(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(expansion, "TASKS_PER_SLICE", 2)
    bench.boot(HOURLY)
    bench.on_notify = bench.lock
    with pytest.raises(StoreError):
        bench.do(bench.dispatcher.fetch_never_fetched())
    bench.on_notify = lambda: None
    bench.unlock()
    bench.do(bench.dispatcher.fetch("numbers", ["NVDA"], ["wire"], force=False))
    bench.sweep()
    assert len(bench.tasks("distinct symbol, source")) == len(bench.tasks()) == 6


# the store


def test_late_news_of_a_schedule_records_nothing(bench: Bench) -> None:
    bench.boot(HOURLY)
    assert bench.life is not None
    ledger = bench.life.ledger
    row = bench.do(ledger.read(lambda conn: schedule_store.get_schedule(conn, "hourly")))
    assert row is not None
    slot = schedule_store.SlotRow(row.cursor + HOUR, row.cursor + HOUR, 1, "ran")  # type: ignore[arg-type]
    pause = PauseRow("*", row.cursor, None, None)
    for stale in (
        Standing(replace(row, cursor=row.cursor - 1), (), ()),
        Standing(replace(row, fingerprint="another"), (), ()),
        Standing(row, (pause,), ()),
    ):
        look = partial(schedule_store.record_slots, looked=stale, slots=[slot], runs={}, upto=slot.due_at)
        assert bench.do(ledger.run(partial(look, now=bench.now))) is None
    assert bench.history() == []


def test_a_first_fetch_that_brings_the_process_down_again_and_again_is_given_up(bench: Bench) -> None:
    bench.boot(HOURLY, watch=["AAPL"], without="filings")
    bench.do(bench.dispatcher.fetch_never_fetched())
    for _ in range(task_store.MOST_INTERRUPTIONS):
        assert len(bench.claim()) == 1
        bench.kill()
        bench.boot(HOURLY, watch=["AAPL"], without="filings")
    assert bench.tasks("state, reason") == [("failed", "poison")]
    assert bench.do(bench.dispatcher.fetch_never_fetched()).total() == 0
