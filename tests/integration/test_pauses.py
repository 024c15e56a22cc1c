"""A paused schedule: its slots are skipped for that, its waiting tasks are held, and nothing of it is forgotten."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import pytest

from scheduler_service.clock import DAY, HOUR, MINUTE, SECOND, from_iso
from scheduler_service.models import Reason
from scheduler_service.stores import database, pause_store, task_store
from tests.integration.scheduling_bench import SYMBOLS, Bench, a_schedule
from tests.virtual_time import START, Killed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from scheduler_service.clock import Micros
    from scheduler_service.stores.database import Connection

HOURLY = a_schedule()


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    """At 14:30, with no process yet; the hours are full ones, UTC."""
    monkeypatch.setattr(database, "BUSY_TIMEOUT_MS", 1)
    bench = Bench(tmp_path, "2026-11-23T14:30:00Z")
    yield bench
    bench.close()


def pause(bench: Bench, scope: str = "hourly", hours: int | None = None) -> None:
    until = None if hours is None else bench.now + hours * HOUR
    bench.do(bench.dispatcher.pause(scope, until, "moving house"))


def states(bench: Bench) -> set[tuple[str, str | None, str | None]]:
    return set(bench.tasks("state, reason, held_reason"))


def test_slots_of_a_pause_are_skipped_over_a_restart_and_a_change_of_the_configuration(bench: Bench) -> None:
    bench.boot(HOURLY, a_schedule("other"))
    bench.later(30 * MINUTE)
    pause(bench)
    bench.later(HOUR)
    bench.restart(replace(HOURLY, priority="high"), a_schedule("other"))
    bench.later(HOUR)
    bench.do(bench.dispatcher.resume("hourly"))
    bench.later(HOUR)
    bench.sweep()
    assert bench.history() == ["15:00 ran", "16:00 skipped(paused)", "17:00 skipped(paused)", "18:00 ran"]
    assert bench.history("other")[-1] == "18:00 ran"


def test_a_pause_that_ended_while_the_service_was_down_holds_for_its_slots_alone(bench: Bench) -> None:
    bench.boot(HOURLY)
    pause(bench, hours=2)  # until 16:30
    bench.stop()
    bench.later(5 * HOUR)
    bench.boot(HOURLY)
    assert bench.history() == ["15:00-16:00 2 skipped(paused)", "17:00-18:00 2 coalesced(coalesced)", "19:00 caught_up"]
    ((since, until, ended_at),) = bench.sql("select since, until, ended_at from pause")
    assert (until - since, ended_at) == (2 * HOUR, until), "it is done with, and remembered"


def test_a_slot_at_the_end_of_a_pause_is_run_and_one_at_its_beginning_is_not(bench: Bench) -> None:
    bench.boot(HOURLY)
    for since, until in ((30 * MINUTE, 150 * MINUTE),):
        values = ("hourly", bench.now - bench.now % MINUTE + since, bench.now - bench.now % MINUTE + until)
        bench.sql_write("insert into pause (scope, since, until) values (?, ?, ?)", *values)
    bench.later(3 * HOUR)
    bench.sweep()
    assert bench.history() == ["15:00-16:00 2 skipped(paused)", "17:00 caught_up"]


def test_waiting_tasks_are_held_and_running_ones_finish(bench: Bench) -> None:
    bench.boot(HOURLY)
    bench.later(30 * MINUTE)
    bench.sweep()
    running = bench.claim(1)
    pause(bench)
    assert states(bench) == {("running", None, None), ("queued", None, None)}
    assert bench.claim() == []
    bench.end(running)
    bench.restart(HOURLY)
    assert bench.claim() == []
    bench.do(bench.dispatcher.resume("hourly"))
    assert states(bench) == {("completed", None, None), ("queued", None, None)}
    assert bench.work() == 4


def test_what_a_pause_held_beyond_the_next_slot_ends_skipped(bench: Bench) -> None:
    bench.boot(HOURLY)
    bench.later(30 * MINUTE)
    pause(bench)
    bench.later(HOUR)
    bench.sweep()
    assert states(bench) == {("skipped", "paused", None)}
    assert bench.sql("select skipped, closed_at is not null from run") == [(6, 1)]
    assert bench.history() == ["15:00 ran", "16:00 skipped(paused)"]


def test_a_timed_pause_ends_by_itself_and_its_tasks_go_on(bench: Bench) -> None:
    every_day = a_schedule("hourly", trigger={"every": "1d"})
    bench.boot(every_day)
    bench.later(15 * HOUR)
    bench.sweep()
    pause(bench, hours=1)
    assert bench.claim() == []
    bench.later(HOUR)
    assert len(bench.claim(1)) == 2, "also before the next sweep"
    bench.sweep()
    assert states(bench) == {("running", None, None), ("queued", None, None)}


def test_what_expired_during_a_pause_is_skipped_for_it_though_nobody_looked_until_it_was_over(bench: Bench) -> None:
    bench.boot(HOURLY)
    bench.later(30 * MINUTE)
    bench.sweep()
    pause(bench, hours=2)
    bench.stop()
    bench.later(5 * HOUR)
    bench.boot(HOURLY)
    assert bench.sql("select due_at % ?, skipped from run order by id limit 1", HOUR) == [(0, 6)]
    assert bench.tasks("state, reason")[:6] == [("skipped", "paused")] * 6


def test_a_task_that_its_budget_holds_says_so_again_after_a_pause(bench: Bench) -> None:
    bench.boot(HOURLY)
    bench.later(30 * MINUTE)
    bench.sweep()
    tomorrow, now = bench.now + 10 * HOUR, bench.now
    ledger = bench.dispatcher._ledger

    def held(conn: Connection) -> None:
        for task in task_store.claim(conn, "alpha", now, 9):
            task_store.hold(conn, task, Reason.BUDGET_EXHAUSTED, tomorrow, now)

    bench.do(ledger.run(held))
    pause(bench)
    bench.sweep()
    bench.do(bench.dispatcher.resume("hourly"))
    assert states(bench) == {("queued", None, "budget_exhausted"), ("queued", None, None)}
    bench.do(ledger.run(partial(task_store.ask_again, now=now)))
    assert len(bench.claim()) == 6


def test_a_slot_due_while_the_resumption_is_on_its_way_is_decided_by_when_that_was_asked_for(bench: Bench) -> None:
    """Fault: what is due in a pause must not run because its end came to the disk before the accounting, or after."""
    bench.boot(HOURLY)
    pause(bench)
    bench.later(30 * MINUTE - (bench.now - from_iso(START)) - 1)

    async def asked() -> None:
        ringing = [asyncio.create_task(bench.dispatcher.reconcile("hourly")) for _ in range(3)]
        await bench.dispatcher.resume("hourly")
        ringing += [asyncio.create_task(bench.dispatcher.reconcile("hourly")) for _ in range(3)]
        await asyncio.gather(*ringing)

    bench.do(asked())
    bench.sweep()
    ((ended_at,),) = bench.sql("select ended_at from pause")
    assert ended_at < from_iso("2026-11-23T15:00:00Z") < bench.now
    assert bench.history() == ["15:00 ran"]


def test_a_process_that_dies_as_it_resumes_skips_what_fell_into_the_pause(bench: Bench) -> None:
    for hops in range(1, 8):
        bench.boot(HOURLY)
        pause(bench)
        bench.later(HOUR)
        with suppress(Killed):
            bench.do(bench.dispatcher.resume("hourly"), kill_after=hops)
        bench.kill()
        bench.boot(HOURLY)
        assert {row.split()[1] for row in bench.history()} == {"skipped(paused)"}
        bench.stop()


def test_one_pause_takes_the_place_of_another_and_both_are_remembered(bench: Bench) -> None:
    bench.boot(HOURLY)
    pause(bench)
    bench.later(HOUR)
    pause(bench, hours=1)  # until 16:30
    bench.later(3 * HOUR)
    bench.sweep()
    paused = ["15:00 skipped(paused)", "16:00 skipped(paused)"]
    assert bench.history() == [*paused, "17:00 coalesced(coalesced)", "18:00 caught_up"]
    (first, second) = bench.sql("select since, until, ended_at from pause order by since")
    assert (first[1], first[2]) == (None, second[0])
    assert second[2] == second[1] == second[0] + HOUR


@pytest.mark.parametrize("step", [3 * SECOND, HOUR, 30 * DAY])
@pytest.mark.parametrize("hours", [None, 2])
@pytest.mark.parametrize("restarts", [True, False])
def test_a_clock_that_is_set_back_leaves_a_pause_on_for_as_long_as_it_was_meant(
    bench: Bench, step: Micros, hours: int | None, restarts: bool
) -> None:
    bench.clock.jump(step)
    bench.boot(HOURLY)
    pause(bench, hours=hours)
    bench.clock.jump(-step)
    ahead = bench.do(bench.dispatcher._ledger.read(partial(pause_store.pauses_at, now=bench.now)))
    assert [(p.scope, p.since <= bench.now) for p in ahead] == [("hourly", True)], "also before anyone has noticed"
    if restarts:
        bench.restart(HOURLY)
    else:
        bench.do(bench.dispatcher.clock_stepped())
    (told,) = [e.message for e in bench.events if e.name == "clock.jumped" and "was paused then" in e.message]
    until = "someone resumes it" if hours is None else "2026-11-23T16:30:00Z"
    assert told.endswith(f"is paused from now on: hourly until {until}")
    bench.do(bench.dispatcher.clock_stepped())
    ((since, end, ended_at),) = bench.sql("select since, until, ended_at from pause")
    assert since <= bench.now
    assert (None if end is None else end - since, ended_at) == (None if hours is None else 2 * HOUR, None)
    for _ in range(3):
        bench.later(HOUR)
        bench.sweep()
    paused = ["15:00 skipped(paused)", "16:00 skipped(paused)"]
    assert bench.history() == [*paused, "17:00 skipped(paused)" if hours is None else "17:00 caught_up"]


@pytest.mark.parametrize("notices", [True, False])
def test_a_pause_that_a_person_has_ended_does_not_come_back_with_the_time(bench: Bench, notices: bool) -> None:
    bench.boot(HOURLY)
    pause(bench)
    bench.later(2 * HOUR)
    bench.do(bench.dispatcher.resume("hourly"))
    pause(bench)
    bench.later(MINUTE)
    bench.do(bench.dispatcher.resume("hourly"))
    bench.clock.jump(-90 * MINUTE)  # 15:01
    assert bench.do(bench.dispatcher._ledger.read(partial(pause_store.pauses_at, now=bench.now))) == []
    bench.do(bench.dispatcher.clock_stepped() if notices else bench.dispatcher.reconcile("hourly"))
    bench.later(HOUR)
    bench.sweep()
    assert bench.history() == ["15:00 skipped(paused)", "16:00 caught_up"]


def test_everything_paused_holds_first_fetches_too_but_not_what_a_person_asks_for(bench: Bench) -> None:
    bench.boot(HOURLY)
    pause(bench, "*")
    bench.do(bench.dispatcher.fetch_never_fetched())
    bench.do(bench.dispatcher.fetch("words", ["IBM"], ["wire"], force=False))
    assert [task.symbol for task in bench.claim()] == ["IBM"]
    bench.later(30 * MINUTE)
    bench.sweep()
    assert bench.history() == ["15:00 skipped(paused)"]
    bench.do(bench.dispatcher.resume("*"))
    assert len(bench.claim()) == 2 * len(SYMBOLS) + len(SYMBOLS) - 3
    assert bench.do(bench.dispatcher.resume("*")) is False


def test_a_pause_of_a_schedule_that_was_removed_is_harmless(bench: Bench) -> None:
    bench.boot(HOURLY, a_schedule("other"))
    pause(bench, "other")
    bench.restart(HOURLY)
    bench.later(30 * MINUTE)
    bench.sweep()
    assert bench.history() == ["15:00 ran"]
    bench.restart(HOURLY, a_schedule("other"))
    bench.later(HOUR)
    bench.sweep()
    assert bench.history("other") == ["16:00 skipped(paused)"], "its pause is still on"
