"""Schedules, their slots and the runs that carry them out. Functions of a connection: units of work are made of
them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, Row, bindparam, insert, select, text, update

from scheduler_service.models import Reason, RunOrigin, ScheduleOrigin, SlotOutcome
from scheduler_service.stores.pause_store import pauses
from scheduler_service.stores.schema import run, schedule, slot

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from scheduler_service.clock import Instant
    from scheduler_service.stores.pause_store import PauseRow


@dataclass(frozen=True, slots=True)
class ScheduleRow:
    """A schedule as the ledger knows it. Slots in (effective_from, cursor] are accounted for."""

    id: str
    origin: ScheduleOrigin
    domain: str
    definition: str
    fingerprint: str
    effective_from: Instant
    cursor: Instant


@dataclass(frozen=True, slots=True)
class SlotRow:
    """One slot, or a stretch of ``slots`` of them from ``due_at`` to ``until_at`` with one outcome."""

    due_at: Instant
    until_at: Instant
    slots: int
    outcome: SlotOutcome
    reason: Reason | None = None


@dataclass(frozen=True, slots=True)
class NewRun:
    """A run to be: ``plan`` says what it expands to."""

    origin: RunOrigin
    domain: str
    due_at: Instant
    plan: str
    schedule_id: str | None = None
    force: bool = False


@dataclass(frozen=True, slots=True)
class RunRow:
    """A run and how far it is. ``expanded_upto`` is the last symbol whose tasks exist; no ``plan``: all of them do."""

    id: int
    origin: RunOrigin
    schedule_id: str | None
    domain: str
    due_at: Instant
    force: bool
    plan: str | None
    expanded_upto: str
    open_tasks: int
    completed: int
    unchanged: int
    skipped: int
    failed: int
    created_at: Instant
    closed_at: Instant | None

    @property
    def tasks(self) -> int:
        return self.open_tasks + self.completed + self.skipped + self.failed


@dataclass(frozen=True, slots=True)
class Standing:
    """A schedule, and what its next slots depend on. ``pauses`` may be over by now; ``recorded`` are slots that are
    accounted for though they lie after the cursor, ascending: a clock that was ahead has carried them out.
    """

    row: ScheduleRow
    pauses: tuple[PauseRow, ...]
    recorded: tuple[Instant, ...]


_OPEN_RUN = text("closed_at IS NULL")
# Built once, for they run with every task.
_RUN = select(run).where(run.c.id == bindparam("wanted"))
_CLOSE = (
    update(run)
    .where(run.c.id == bindparam("wanted"), run.c.closed_at.is_(None), run.c.plan.is_(None), run.c.open_tasks == 0)
    .values(closed_at=bindparam("now"))
)


def open_schedules(conn: Connection) -> dict[str, ScheduleRow]:
    """Every schedule that is not closed, by id."""
    rows = conn.execute(select(schedule).where(schedule.c.closed_at.is_(None)).order_by(schedule.c.id))
    return {row.id: to_schedule(row) for row in rows}


def get_schedule(conn: Connection, schedule_id: str) -> ScheduleRow | None:
    row = conn.execute(
        select(schedule).where(schedule.c.id == schedule_id, schedule.c.closed_at.is_(None))
    ).one_or_none()
    return None if row is None else to_schedule(row)


def standing(conn: Connection, schedule_id: str) -> Standing | None:
    """None for a schedule that is closed, or was never known."""
    row = get_schedule(conn, schedule_id)
    if row is None:
        return None
    recorded = select(slot.c.due_at).where(slot.c.schedule_id == row.id, slot.c.due_at > row.cursor)
    mine = tuple(pauses(conn, row.id, row.cursor))
    return Standing(row, mine, tuple(conn.scalars(recorded.order_by(slot.c.due_at))))


def to_schedule(r: Row[Any]) -> ScheduleRow:
    return ScheduleRow(
        r.id, ScheduleOrigin(r.origin), r.domain, r.definition, r.fingerprint, r.effective_from, r.cursor
    )


def put_schedule(conn: Connection, wanted: ScheduleRow) -> bool:
    """Stores a new, changed or reopened schedule, effective from now; an unchanged one keeps its cursor. True when
    stored.
    """
    known = conn.execute(
        select(schedule.c.fingerprint, schedule.c.closed_at).where(schedule.c.id == wanted.id)
    ).one_or_none()
    if known is not None and known.fingerprint == wanted.fingerprint and known.closed_at is None:
        conn.execute(update(schedule).where(schedule.c.id == wanted.id).values(definition=wanted.definition))
        return False
    values = {
        "origin": wanted.origin,
        "domain": wanted.domain,
        "definition": wanted.definition,
        "fingerprint": wanted.fingerprint,
        "effective_from": wanted.effective_from,
        "cursor": wanted.cursor,
        "closed_at": None,
    }
    if known is None:
        conn.execute(insert(schedule).values(id=wanted.id, **values))
        return True
    conn.execute(update(schedule).where(schedule.c.id == wanted.id).values(**values))
    return True


def close_schedule(conn: Connection, schedule_id: str, now: Instant) -> None:
    """The schedule is gone from the configuration; what it did stays."""
    conn.execute(update(schedule).where(schedule.c.id == schedule_id).values(closed_at=now))


def record_slots(
    conn: Connection,
    looked: Standing,
    slots: Sequence[SlotRow],
    runs: Mapping[Instant, NewRun],
    upto: Instant,
    now: Instant,
    *,
    last: bool = False,
) -> list[RunRow] | None:
    """Slots, cursor and the runs of some of the slots in one piece; None, and nothing done, when someone moved the
    cursor, or changed, paused or resumed the schedule, since it was ``looked`` at. ``last``: none follow, and the
    schedule is closed.
    """
    row = looked.row
    if [(p.since, p.end) for p in pauses(conn, row.id, row.cursor)] != [(p.since, p.end) for p in looked.pauses]:
        return None
    moved = conn.execute(
        update(schedule)
        .where(schedule.c.id == row.id, schedule.c.cursor == row.cursor, schedule.c.fingerprint == row.fingerprint)
        .where(schedule.c.closed_at.is_(None))
        .values(cursor=upto, closed_at=now if last else None)
    )
    if moved.rowcount == 0:
        return None
    started = {due_at: add_run(conn, new, now) for due_at, new in runs.items()}
    rows = [
        {
            "schedule_id": row.id,
            "due_at": s.due_at,
            "until_at": s.until_at,
            "slots": s.slots,
            "outcome": s.outcome,
            "reason": s.reason,
            "run_id": started[s.due_at].id if s.due_at in started else None,
            "recorded_at": now,
        }
        for s in slots
    ]
    if rows:
        conn.execute(insert(slot), rows)
    return list(started.values())


def add_run(conn: Connection, new: NewRun, now: Instant) -> RunRow:
    """A run with no tasks yet."""
    result = conn.execute(
        insert(run).values(
            origin=new.origin,
            schedule_id=new.schedule_id,
            domain=new.domain,
            due_at=new.due_at,
            force=new.force,
            plan=new.plan,
            expanded_upto="",
            open_tasks=0,
            completed=0,
            unchanged=0,
            skipped=0,
            failed=0,
            created_at=now,
        )
    )
    assert result.inserted_primary_key is not None
    return get_run(conn, result.inserted_primary_key[0])


def get_run(conn: Connection, run_id: int) -> RunRow:
    return to_run(conn.execute(_RUN, {"wanted": run_id}).one())


def to_run(r: Row[Any]) -> RunRow:
    return RunRow(
        r.id,
        RunOrigin(r.origin),
        r.schedule_id,
        r.domain,
        r.due_at,
        r.force,
        r.plan,
        r.expanded_upto,
        r.open_tasks,
        r.completed,
        r.unchanged,
        r.skipped,
        r.failed,
        r.created_at,
        r.closed_at,
    )


def unexpanded_runs(conn: Connection) -> list[RunRow]:
    """Runs whose expansion a crash cut off."""
    query = select(run).where(_OPEN_RUN, run.c.plan.is_not(None)).order_by(run.c.id)
    return [to_run(row) for row in conn.execute(query)]


def close_run_if_done(conn: Connection, run_id: int, now: Instant) -> RunRow | None:
    """Closes an expanded run once every task has ended; returns it if this call closed it."""
    done = conn.execute(_CLOSE, {"wanted": run_id, "now": now})
    return get_run(conn, run_id) if done.rowcount else None
