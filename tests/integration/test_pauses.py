"""A paused schedule: its slots are skipped for that, its waiting tasks are held, and nothing of it is forgotten."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from scheduler_service.clock import HOUR, MINUTE
from scheduler_service.stores import database
from tests.integration.scheduling_bench import SYMBOLS, Bench, a_schedule

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
    assert bench.sql("select * from pause") == [], "it is done with"


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
    assert states(bench) == {("running", None, None), ("queued", None, "paused")}
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
    assert states(bench) == {("skipped", "paused", "paused")}
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
    assert states(bench) == {("running", None, "paused"), ("queued", None, None)}


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
