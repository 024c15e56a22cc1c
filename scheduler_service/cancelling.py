"""A person cancels a task: one that waits ends at once, one that runs is called off."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from scheduler_service.executors.reports import run_closed
from scheduler_service.fetching import find_task
from scheduler_service.models import Event, Reason, TaskState
from scheduler_service.stores import unwanted_tasks
from scheduler_service.web.views import CancelReport

if TYPE_CHECKING:
    from scheduler_service.engine import Engine
    from scheduler_service.web.views import CancelRequest


async def cancel(engine: Engine, request: CancelRequest) -> CancelReport:
    """A call that is on its way stays charged. Raises ``ConfigurationError`` where there is no such task."""
    before = await find_task(engine, request.task_id)
    what = f"task {before.id}, {before.domain} of {before.symbol} from {before.source},"
    if before.state is TaskState.RUNNING:
        for executor in engine.executors:
            await executor.call_off(before.id)
    unit = partial(unwanted_tasks.cancel_waiting, task_id=before.id, now=engine.clock.now())
    for run in await engine.ledger.run(unit):
        engine.publish(run_closed(run))
    after = await find_task(engine, before.id)
    if before.state.ended or after.reason is not Reason.CANCELLED:
        how = f" ({after.reason})" if after.reason else ""
        return CancelReport(message=f"{what} had ended: {after.state}{how}", cancelled=False)
    fields = {"task_id": after.id, "domain": after.domain, "symbol": after.symbol, "reason": Reason.CANCELLED}
    engine.publish(Event("task.skipped", f"{what} was cancelled by a person", fields))
    return CancelReport(message=f"{what} is cancelled; {_next_time(before.schedule_id)}", cancelled=True)


def _next_time(schedule_id: str | None) -> str:
    return "nothing else was to come of it" if schedule_id is None else f"{schedule_id} goes on with its next slot"
