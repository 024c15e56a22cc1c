"""A source that answers and says nothing is asked less and less, and never more seldom than its data grows old."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scheduler_service.clock import DAY, HOUR, MINUTE
from scheduler_service.executors.commit import Committed
from scheduler_service.executors.reports import task_ended
from scheduler_service.models import Outcome, Reason, RunOrigin, Task, TaskState
from scheduler_service.processors.base import SourcePolicy
from scheduler_service.stores.schedule_store import RunRow
from tests.contract.bench import on_the_bench

if TYPE_CHECKING:
    from pathlib import Path

NOW = 100 * DAY
SLOT = 30 * MINUTE
EMPTY = "NOSUCH"


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
        assert skipped.message.endswith("on: it failed 9 times (no_data); --force asks all the same")
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
    event = task_ended(
        task, Outcome(TaskState.COMPLETED, message="it was dear"), Committed(changed=True, run=run, is_urgent=True), 7
    )
    assert (event.level, event.message) == ("WARNING", "AAPL news from perplexity: updated, but it was dear (7 ms)")
