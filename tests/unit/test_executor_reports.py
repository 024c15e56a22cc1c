"""What is said of tasks and runs."""

from __future__ import annotations

from dataclasses import replace

from scheduler_service.errors import Held
from scheduler_service.executors.reports import deferred
from scheduler_service.models import Reason, RunOrigin, Task

TASK = Task(1, 1, "news", RunOrigin.SCHEDULE, "news", "AAPL", "feeds", due_at=0, attempt=1)


def test_that_a_task_waits_is_told_and_that_it_waits_for_the_same_once_more_only_to_who_looks_closely() -> None:
    held = Held("feeds is not asked", Reason.PROVIDER_DOWN, 5)
    assert deferred(TASK, held).level == "INFO"
    assert deferred(replace(TASK, held_reason=Reason.RATE_LIMITED), held).level == "INFO"
    assert deferred(replace(TASK, held_reason=Reason.PROVIDER_DOWN), held).level == "DEBUG"
