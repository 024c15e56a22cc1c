"""What happened: slots, runs and tasks as people look at them. Queries only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, Row, or_, select

from scheduler_service.models import Reason, RunOrigin, SlotOutcome, TaskState
from scheduler_service.stores.schedule_store import RunRow, SlotRow, to_run
from scheduler_service.stores.schema import run, slot, task

if TYPE_CHECKING:
    from scheduler_service.clock import Instant


@dataclass(frozen=True, slots=True)
class TaskRow:
    """A task as history shows it."""

    id: int
    run_id: int
    schedule_id: str | None
    origin: RunOrigin
    domain: str
    symbol: str
    source: str
    state: TaskState
    reason: Reason | None
    message: str | None
    unchanged: bool
    attempt: int
    due_at: Instant
    not_before: Instant
    held_reason: Reason | None
    started_at: Instant | None
    ended_at: Instant | None


TASKS = select(task, run.c.origin, run.c.due_at).join(run, run.c.id == task.c.run_id)


def recent_runs(conn: Connection, since: Instant, *, schedule_id: str | None = None, limit: int = 200) -> list[RunRow]:
    """Newest first."""
    query = select(run).where(run.c.created_at >= since).order_by(run.c.id.desc()).limit(limit)
    if schedule_id is not None:
        query = query.where(run.c.schedule_id == schedule_id)
    return [to_run(row) for row in conn.execute(query)]


def recent_slots(
    conn: Connection,
    since: Instant,
    *,
    schedule_id: str | None = None,
    outcome: SlotOutcome | None = None,
    limit: int = 500,
) -> list[tuple[str, SlotRow]]:
    """Slots recorded since then with their schedule, newest first."""
    query = (
        select(slot)
        .where(slot.c.recorded_at >= since)
        .order_by(slot.c.recorded_at.desc(), slot.c.due_at.desc())
        .limit(limit)
    )
    if schedule_id is not None:
        query = query.where(slot.c.schedule_id == schedule_id)
    if outcome is not None:
        query = query.where(slot.c.outcome == outcome)
    return [
        (
            r.schedule_id,
            SlotRow(r.due_at, r.until_at, r.slots, SlotOutcome(r.outcome), Reason(r.reason) if r.reason else None),
        )
        for r in conn.execute(query)
    ]


def recent_tasks(
    conn: Connection,
    since: Instant,
    *,
    schedule_id: str | None = None,
    symbol: str | None = None,
    state: TaskState | None = None,
    run_id: int | None = None,
    limit: int = 200,
) -> list[TaskRow]:
    """Newest first: those created or ended since then."""
    query = TASKS.where(or_(task.c.created_at >= since, task.c.ended_at >= since))
    for column, wanted in ((task.c.schedule_id, schedule_id), (task.c.symbol, symbol), (task.c.state, state)):
        if wanted is not None:
            query = query.where(column == wanted)
    if run_id is not None:
        query = query.where(task.c.run_id == run_id)
    return [to_task(row) for row in conn.execute(query.order_by(task.c.id.desc()).limit(limit))]


def find_task(conn: Connection, task_id: int) -> TaskRow | None:
    row = conn.execute(TASKS.where(task.c.id == task_id)).one_or_none()
    return None if row is None else to_task(row)


def to_task(r: Row[Any]) -> TaskRow:
    """A row of ``TASKS``."""
    return TaskRow(
        r.id,
        r.run_id,
        r.schedule_id,
        RunOrigin(r.origin),
        r.domain,
        r.symbol,
        r.source,
        TaskState(r.state),
        Reason(r.reason) if r.reason else None,
        r.message,
        r.unchanged,
        r.attempt,
        r.due_at,
        r.not_before,
        Reason(r.held_reason) if r.held_reason else None,
        r.started_at,
        r.ended_at,
    )
