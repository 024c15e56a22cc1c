"""What is said of tasks and runs."""

from __future__ import annotations

from dataclasses import replace

import pytest

from scheduler_service.errors import Held
from scheduler_service.executors.commit import Committed
from scheduler_service.executors.reports import deferred, run_closed, task_ended
from scheduler_service.models import Outcome, Reason, RunOrigin, StockState, Task, TaskState
from scheduler_service.stores.schedule_store import RunRow

TASK = Task(1, 1, "news", RunOrigin.SCHEDULE, "news", "AAPL", "feeds", due_at=0, attempt=1)


def test_that_a_task_waits_is_told_and_that_it_waits_for_the_same_once_more_only_to_who_looks_closely() -> None:
    held = Held("feeds is not asked", Reason.PROVIDER_DOWN, 5)
    assert deferred(TASK, held).level == "INFO"
    assert deferred(replace(TASK, held_reason=Reason.RATE_LIMITED), held).level == "INFO"
    assert deferred(replace(TASK, held_reason=Reason.PROVIDER_DOWN), held).level == "DEBUG"


def test_that_a_stock_fails_once_more_for_the_same_reason_is_no_warning() -> None:
    run = RunRow(1, RunOrigin.SCHEDULE, "news", "news", 0, False, None, "", 1, 0, 0, 0, 0, 0, None)
    done, failed = Committed(changed=False, run=run, is_urgent=False), Outcome(TaskState.FAILED, Reason.NO_DATA)

    def level(before: StockState | None) -> str:
        return task_ended(TASK, failed, done, 1, before).level

    assert level(None) == "WARNING"
    assert level(StockState(failures=0, reason=Reason.NO_DATA)) == "WARNING"
    assert level(StockState(failures=2, reason=Reason.TIMEOUT)) == "WARNING"
    assert level(StockState(failures=1, reason=Reason.NO_DATA)) == "INFO"


@pytest.mark.parametrize(
    ("origin", "said"),
    [(RunOrigin.INITIAL, "initial news: done"), (RunOrigin.FOLLOW_UP, "follow-up news of AAPL: done")],
)
def test_a_run_without_a_slot_is_told_by_what_it_came_from(origin: RunOrigin, said: str) -> None:
    run = RunRow(1, origin, None, "news", 0, False, None, "AAPL", 0, 1, 0, 0, 0, 0, 2_000_000)
    assert run_closed(run).message.startswith(f"{said} in 2.0 s; 1 updated")
