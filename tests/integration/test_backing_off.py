"""A source that answers and says nothing is asked less and less, and never more seldom than its data grows old."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from scheduler_service.clock import DAY, HOUR, MINUTE
from scheduler_service.executors.commit import Committed
from scheduler_service.executors.reports import task_ended
from scheduler_service.models import USELESS_ANSWERS, Outcome, Reason, RunOrigin, StockState, Task, TaskState
from scheduler_service.processors.base import SourcePolicy, quiet_until
from scheduler_service.stores.schedule_store import RunRow
from tests.contract.bench import on_the_bench

if TYPE_CHECKING:
    from pathlib import Path

NOW = 100 * DAY
SLOT = 30 * MINUTE
EMPTY = "NOSUCH"


def failed(failures: int, tried_at: int | None, reason: Reason | None = Reason.NO_DATA) -> StockState:
    return StockState(status="failed", reason=reason, failures=failures, tried_at=tried_at)


@pytest.mark.parametrize(
    ("failures", "fresh_for", "pause"),
    [
        (1, 12 * HOUR, 15 * MINUTE * 9 // 10),
        (2, 12 * HOUR, 30 * MINUTE * 9 // 10),
        (6, 12 * HOUR, 8 * HOUR * 9 // 10),
        (7, 12 * HOUR, 12 * HOUR * 9 // 10),
        (10**9, 12 * HOUR, 12 * HOUR * 9 // 10),
        (9, DAY, 22 * HOUR + 30 * MINUTE),
        (1, 5 * MINUTE, 5 * MINUTE * 9 // 10),
    ],
)
def test_each_useless_answer_doubles_the_pause_up_to_fresh_for(failures: int, fresh_for: int, pause: int) -> None:
    until = NOW + pause
    assert quiet_until(failed(failures, NOW), fresh_for, NOW) == until
    assert quiet_until(failed(failures, NOW), fresh_for, until - 1) == until
    assert quiet_until(failed(failures, NOW), fresh_for, until) is None


@pytest.mark.parametrize("reason", [*Reason, None])
def test_only_what_was_answered_is_left_alone_for_a_while(reason: Reason | None) -> None:
    assert (quiet_until(failed(3, NOW, reason), DAY, NOW) is not None) == (reason in USELESS_ANSWERS)


@pytest.mark.parametrize("state", [StockState(), failed(0, NOW), failed(3, None), failed(3, NOW + 1)])
def test_what_never_failed_or_failed_in_the_future_may_be_asked(state: StockState) -> None:
    assert quiet_until(state, DAY, NOW) is None


async def test_a_search_that_finds_nothing_is_asked_seldom_over_a_day_and_at_once_by_force(tmp_path: Path) -> None:
    async with on_the_bench(tmp_path, "news", "perplexity") as bench:
        bench.processor.policies["perplexity"] = SourcePolicy("perplexity", 12 * HOUR)
        tried: list[list[float]] = [[], []]
        asked = [0, 0]
        for slot in range(96):
            outcome = await bench.fetch(EMPTY)
            day, asks = slot // 48, len(bench.asked())
            asked[day] += asks
            if outcome.reason is Reason.NO_DATA:
                tried[day].append(slot / 2)
            else:
                assert (outcome.state, outcome.reason, asks) == (TaskState.SKIPPED, Reason.BACKING_OFF, 0)
            bench.clock.advance(SLOT)
        assert tried == [[0, 0.5, 1, 2, 4, 8, 15.5], [26.5, 37.5]]
        assert asked[0] <= 7
        assert asked[1] == 2
        skipped = await bench.fetch(EMPTY)
        assert skipped.reason is Reason.BACKING_OFF
        assert skipped.message is not None
        assert "asked again from 2026-" in skipped.message
        assert skipped.message.endswith("the last answer said nothing (no_data)")
        assert (await bench.fetch(EMPTY, force=True)).reason is Reason.NO_DATA


async def test_a_good_answer_ends_the_pauses(tmp_path: Path) -> None:
    async with on_the_bench(tmp_path, "news", "perplexity") as bench:
        await bench.fetch(EMPTY)
        state = await bench.state(EMPTY)
        assert (state.failures, state.reason, state.tried_at) == (1, Reason.NO_DATA, bench.clock.now())
        await bench.fetch("AAPL")
        state = await bench.state("AAPL")
        assert (state.failures, state.reason, state.tried_at) == (0, None, bench.clock.now())


def test_what_a_person_should_know_of_a_good_answer_is_a_warning() -> None:
    task = Task(1, 1, None, RunOrigin.MANUAL, "news", "AAPL", "perplexity", NOW, 1)
    run = RunRow(1, RunOrigin.MANUAL, None, "news", NOW, False, None, "", 0, 1, 0, 0, 0, NOW, None)
    event = task_ended(task, Outcome(TaskState.COMPLETED, message="it was dear"), Committed(changed=True, run=run), 7)
    assert (event.level, event.message) == ("WARNING", "AAPL news from perplexity: updated, but it was dear (7 ms)")
