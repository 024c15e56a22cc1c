"""What the executors say of tasks and runs: one line at INFO per slot and per failure, per-task lines where they are
few.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from scheduler_service.clock import to_iso_seconds
from scheduler_service.models import Event, Reason, RunOrigin, TaskState

if TYPE_CHECKING:
    from scheduler_service.clock import Instant
    from scheduler_service.errors import Held
    from scheduler_service.executors.commit import Committed
    from scheduler_service.models import Outcome, StockState, Task
    from scheduler_service.stores.schedule_store import RunRow

MOST_TASKS_WITH_LINES = 20


def task_ended(task: Task, outcome: Outcome, done: Committed, took_ms: int, before: StockState | None = None) -> Event:
    """``task.completed``, ``task.skipped`` or ``task.failed``. ``before``: how its source stood; that it fails once
    more for the same reason is no warning.
    """
    quiet = "DEBUG" if done.run.tasks > MOST_TASKS_WITH_LINES else "INFO"
    what = f"{task.symbol} {task.domain} from {task.source}"
    fields = {"task_id": task.id, "duration_ms": took_ms, "reason": outcome.reason}
    if outcome.state is TaskState.COMPLETED:
        said = "updated" if done.changed else "checked, nothing new"
        fields["unchanged"] = not done.changed
        if outcome.message:
            return Event("task.completed", f"{what}: {said}, but {outcome.message} ({took_ms} ms)", fields, "WARNING")
        return Event("task.completed", f"{what}: {said} ({took_ms} ms)", fields, quiet)
    why = f"{outcome.reason}" + (f" ({outcome.message})" if outcome.message else "")
    if outcome.state is TaskState.SKIPPED:
        return Event("task.skipped", f"{what}: skipped, {why}", fields, "DEBUG")
    is_known = before is not None and before.failures > 0 and before.reason is outcome.reason
    return Event("task.failed", f"{what}: failed, {why}", fields, "INFO" if is_known else "WARNING")


def quarantined(task: Task, until: Instant) -> Event:
    """Said once for each time that it is tried in vain."""
    what = f"{task.symbol} is unknown to the source {task.source} of {task.domain}"
    how = f"take it off the watchlist, give it an alias, or: scheduler-service release {task.symbol} {task.domain}"
    message = f"{what} and is left alone until {to_iso_seconds(until)}; {how}"
    return Event("symbol.quarantined", message, {"task_id": task.id, "reason": Reason.UNKNOWN_SYMBOL}, "WARNING")


def set_aside(task: Task, doubt: str | None) -> Event:
    """Said once for each answer that is not the one set aside before."""
    what = f"{task.symbol} {task.domain} from {task.source}"
    how = f"scheduler-service release {task.symbol} {task.domain}"
    message = (
        f"{what} is doubtful and set aside, the document stays: {doubt}; accept it: {how}; drop it: {how} --reject"
    )
    return Event("document.quarantined", message, {"task_id": task.id, "reason": Reason.DOUBTFUL}, "WARNING")


def deferred(task: Task, held: Held) -> Event:
    """The task waits for a gate; why, and until when. That it waits for the same reason once more is no news, nor that
    it is one of all that wait.
    """
    message = f"{task.symbol} {task.domain} from {task.source} waits: {held}"
    level = "DEBUG" if held.reason in (task.held_reason, Reason.DISK_LOW) else "INFO"
    return Event("task.deferred", message, {"task_id": task.id, "reason": held.reason}, level)


def run_closed(run: RunRow) -> Event:
    """``slot.closed`` for a schedule's run, ``run.closed`` for the others: the counts in one line."""
    updated = run.completed - run.unchanged
    parts = [f"{updated} updated", f"{run.unchanged} unchanged", f"{run.skipped} skipped", f"{run.failed} failed"]
    counts = ", ".join(part for part in parts if not part.startswith("0 ")) or "nothing to do"
    whose = f"{run.schedule_id}, due {to_iso_seconds(run.due_at)}" if run.schedule_id else _unscheduled(run)
    took = max(0, round(((run.closed_at or run.created_at) - run.created_at) / 1000))
    fields = {
        "schedule_id": run.schedule_id,
        "run_id": run.id,
        "domain": run.domain,
        "slot": to_iso_seconds(run.due_at),
        "duration_ms": took,
        "updated": updated,
        "unchanged": run.unchanged,
        "skipped": run.skipped,
        "failed": run.failed,
    }
    name = "slot.closed" if run.origin is RunOrigin.SCHEDULE else "run.closed"
    return Event(name, f"{whose}: done in {took / 1000:.1f} s; {counts}", fields)


def _unscheduled(run: RunRow) -> str:
    """``initial news``, ``follow-up earnings of AAPL``: what follows from one stock's news is of that stock."""
    whose = f" of {run.expanded_upto}" if run.origin is RunOrigin.FOLLOW_UP and run.expanded_upto else ""
    return f"{run.origin.replace('_', '-')} {run.domain}{whose}"
