"""What is known of one slot, one stock, one task: the facts behind ``why``. Queries only."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, Row, select

from scheduler_service.models import Reason, SlotOutcome, TaskState
from scheduler_service.stores.call_store import CallState, Use
from scheduler_service.stores.history import TASKS, to_task
from scheduler_service.stores.schedule_store import ScheduleRow, SlotRow, to_schedule
from scheduler_service.stores.schema import OPEN, call, call_use, schedule, slot, task

if TYPE_CHECKING:
    from collections.abc import Sequence

    from scheduler_service.clock import Instant
    from scheduler_service.stores.history import TaskRow


@dataclass(frozen=True, slots=True)
class KnownSchedule:
    """A schedule ever known; ``closed_at``: when it left the configuration."""

    row: ScheduleRow
    closed_at: Instant | None


@dataclass(frozen=True, slots=True)
class RecordedSlot:
    """A slot, or the stretch it lies in, and the run that carried it out."""

    row: SlotRow
    run_id: int | None
    recorded_at: Instant


@dataclass(frozen=True, slots=True)
class CallTrace:
    """One HTTP try that a task waited for or was served: who asked it, and how it ended."""

    id: int
    provider: str
    resource: str
    how: Use
    state: CallState
    status: int | None
    reason: Reason | None
    usd_micros: int
    reserved_at: Instant


def known_schedules(conn: Connection) -> dict[str, KnownSchedule]:
    """Every schedule ever known, by id."""
    rows = conn.execute(select(schedule).order_by(schedule.c.id))
    return {r.id: KnownSchedule(to_schedule(r), r.closed_at) for r in rows}


def slot_at(conn: Connection, schedule_id: str, at: Instant) -> RecordedSlot | None:
    """The slot due then, or the stretch in which that lies."""
    found = last_slot(conn, schedule_id, at)
    return found if found is not None and at <= found.row.until_at else None


def last_slot(conn: Connection, schedule_id: str, at: Instant) -> RecordedSlot | None:
    """The newest slot, or stretch, that begins at or before this instant."""
    query = select(slot).where(slot.c.schedule_id == schedule_id, slot.c.due_at <= at)
    return _recorded(conn.execute(query.order_by(slot.c.due_at.desc()).limit(1)).one_or_none())


def next_run_slot(conn: Connection, schedule_id: str, after: Instant) -> RecordedSlot | None:
    """The first later slot that had a run: a coalesced one is done with it."""
    query = select(slot).where(slot.c.schedule_id == schedule_id, slot.c.due_at > after, slot.c.run_id.is_not(None))
    return _recorded(conn.execute(query.order_by(slot.c.due_at).limit(1)).one_or_none())


def _recorded(r: Row[Any] | None) -> RecordedSlot | None:
    if r is None:
        return None
    reason = Reason(r.reason) if r.reason else None
    return RecordedSlot(SlotRow(r.due_at, r.until_at, r.slots, SlotOutcome(r.outcome), reason), r.run_id, r.recorded_at)


def tasks_of_run(conn: Connection, run_id: int, symbol: str | None = None) -> list[TaskRow]:
    """By symbol and source."""
    query = TASKS.where(task.c.run_id == run_id).order_by(task.c.symbol, task.c.source)
    return [to_task(r) for r in conn.execute(query if symbol is None else query.where(task.c.symbol == symbol))]


def newest_tasks(conn: Connection, domain: str, symbol: str, sources: Sequence[str]) -> dict[str, TaskRow]:
    """Each source's newest task of a stock."""
    found = {}
    for source in sources:
        query = TASKS.where(task.c.symbol == symbol, task.c.domain == domain, task.c.source == source)
        row = conn.execute(query.order_by(task.c.id.desc()).limit(1)).one_or_none()
        if row is not None:
            found[source] = to_task(row)
    return found


def open_tasks(conn: Connection, schedule_id: str, *, is_paused: bool = False) -> Counter[str]:
    """How many of a schedule's tasks are ``queued``, ``running``, or held: ``held (rate_limited)``."""
    query = select(task.c.state, task.c.held_reason).where(OPEN, task.c.schedule_id == schedule_id)
    found: Counter[str] = Counter()
    for r in conn.execute(query):
        held = None if r.state != TaskState.QUEUED else Reason.PAUSED if is_paused else r.held_reason
        found[r.state if held is None else f"held ({held})"] += 1
    return found


def calls_of_task(conn: Connection, task_id: int) -> list[CallTrace]:
    """In their order."""
    return calls_of_tasks(conn, [task_id]).get(task_id, [])


def calls_of_tasks(conn: Connection, task_ids: Sequence[int]) -> dict[int, list[CallTrace]]:
    """By task, in their order."""
    query = select(call, call_use.c.how, call_use.c.task_id).join(call_use, call_use.c.call_id == call.c.id)
    found: dict[int, list[CallTrace]] = {}
    for r in conn.execute(query.where(call_use.c.task_id.in_(task_ids)).order_by(call.c.id)):
        trace = CallTrace(
            r.id,
            r.provider,
            r.resource_key,
            Use(r.how),
            CallState(r.state),
            r.status,
            Reason(r.reason) if r.reason else None,
            r.usd_micros,
            r.reserved_at,
        )
        found.setdefault(r.task_id, []).append(trace)
    return found
