"""Schedules that the ledger alone knows: they outlive restarts and configurations, and close themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from scheduler_service.clock import DAY, HOUR, MINUTE, to_iso
from scheduler_service.stores import database
from tests.integration.scheduling_bench import Bench, a_schedule

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from scheduler_service.settings.loaded import Schedule

HOURLY = a_schedule()


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    """At 14:30, with no process yet; the hours are full ones, UTC."""
    monkeypatch.setattr(database, "BUSY_TIMEOUT_MS", 1)
    bench = Bench(tmp_path, "2026-11-23T14:30:00Z")
    yield bench
    bench.close()


def after(bench: Bench, micros: int, **different: Any) -> Schedule:
    at = bench.now - bench.now % MINUTE + micros
    return a_schedule("after-AAPL", trigger={"at": to_iso(at)}, symbols=("AAPL",), domain="words", **different)


def test_a_follow_up_outlives_restarts_and_configurations_runs_once_and_closes_itself(bench: Bench) -> None:
    bench.boot(HOURLY)
    bench.do(bench.dispatcher.add_follow_up(after(bench, 2 * HOUR)))
    bench.restart(HOURLY)
    bench.later(HOUR)
    bench.restart()
    assert "after-AAPL" in bench.dispatcher.everything
    assert bench.dispatcher.next_due("after-AAPL", bench.now) is not None
    bench.later(HOUR + 5 * MINUTE)
    bench.sweep()
    assert bench.history("after-AAPL") == ["16:30 caught_up"]
    assert bench.sql("select origin, schedule_id from run where schedule_id != 'hourly'") == [
        ("follow_up", "after-AAPL")
    ]
    assert bench.sql("select origin, closed_at is null from schedule where id = 'after-AAPL'") == [("follow_up", 0)]
    assert bench.dispatcher.everything == {}
    bench.restart(HOURLY)
    bench.later(DAY)
    bench.sweep()
    assert len(bench.history("after-AAPL")) == 1


def test_a_follow_up_that_is_asked_for_too_late_is_due_at_once(bench: Bench) -> None:
    bench.boot(HOURLY)
    bench.do(bench.dispatcher.add_follow_up(after(bench, -5 * MINUTE)))
    assert bench.history("after-AAPL") == ["14:25 caught_up"]
    bench.do(bench.dispatcher.add_follow_up(after(bench, -5 * MINUTE)))
    assert bench.history("after-AAPL") == ["14:25 caught_up"], "asked for twice it is done once"
    assert bench.dispatcher.follow_ups == {}


def test_a_follow_up_can_be_moved_and_closed(bench: Bench) -> None:
    bench.boot(HOURLY)
    bench.do(bench.dispatcher.add_follow_up(after(bench, HOUR)))
    bench.do(bench.dispatcher.add_follow_up(after(bench, 2 * HOUR)))
    bench.later(HOUR + 5 * MINUTE)
    bench.sweep()
    assert bench.history("after-AAPL") == []
    assert bench.do(bench.dispatcher.close_follow_up("after-AAPL")) is True
    assert bench.do(bench.dispatcher.close_follow_up("after-AAPL")) is False
    bench.later(DAY)
    bench.sweep()
    assert bench.history("after-AAPL") == []


def test_a_follow_up_of_a_domain_that_is_gone_says_so_and_closes(bench: Bench) -> None:
    bench.boot(HOURLY)
    bench.do(bench.dispatcher.add_follow_up(after(bench, HOUR)))
    bench.restart(HOURLY, without="words")
    bench.later(2 * HOUR)
    bench.sweep()
    assert bench.history("after-AAPL") == ["15:30 skipped(provider_off)"]
    assert bench.dispatcher.follow_ups == {}


def test_a_follow_up_can_be_paused(bench: Bench) -> None:
    bench.boot(HOURLY)
    bench.do(bench.dispatcher.add_follow_up(after(bench, HOUR)))
    bench.do(bench.dispatcher.pause("after-AAPL"))
    bench.later(2 * HOUR)
    bench.sweep()
    assert bench.history("after-AAPL") == ["15:30 skipped(paused)"]


def test_a_follow_up_that_fell_due_by_a_wrong_clock_is_due_again_and_one_that_was_carried_out_is_not(
    bench: Bench,
) -> None:
    bench.boot()
    bench.do(bench.dispatcher.add_follow_up(after(bench, 2 * HOUR)))
    for away, found in ((30 * DAY, "16:30 missed(too_old)"), (3 * HOUR, "16:30 caught_up")):
        bench.clock.jump(away)
        bench.sweep()
        assert bench.history("after-AAPL") == [found]
        bench.clock.jump(-away)
        bench.do(bench.dispatcher.clock_stepped())
    assert bench.dispatcher.everything == {}
    assert bench.history("after-AAPL") == ["16:30 caught_up"], "it was done, and stays so"
    bench.later(3 * HOUR)
    bench.restart()
    assert len(bench.sql("select * from run")) == 1


def test_a_follow_up_that_a_wrong_clock_closed_is_back_and_runs_once(bench: Bench) -> None:
    bench.boot()
    bench.do(bench.dispatcher.add_follow_up(after(bench, 2 * HOUR)))
    bench.clock.jump(30 * DAY)
    bench.sweep()
    bench.clock.jump(-30 * DAY)
    bench.do(bench.dispatcher.clock_stepped())
    assert list(bench.dispatcher.everything) == ["after-AAPL"]
    bench.later(2 * HOUR)
    bench.sweep()
    assert bench.history("after-AAPL") == ["16:30 ran"]
