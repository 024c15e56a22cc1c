"""What is old enough to go, and its going, a slice a transaction. What the service still needs is never old enough.

History goes whole: a run that was closed before its cut-off, with its tasks, its slot and the calls that were made for
it. An answer that is current for its resource stays, however old it is, and so do the sums that budgets go by. Of a
notice the key stays that keeps it from being told again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import Connection, bindparam, delete, func, or_, select

from scheduler_service.stores import notice_store
from scheduler_service.stores.notice_schema import delivery, outbox
from scheduler_service.stores.schema import RESERVED, answer, call, call_use, pause, resource, run, schedule, slot, task

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from sqlalchemy import BindParameter, Column, ColumnElement, Table

    from scheduler_service.clock import Instant

ROWS_PER_SLICE = 500

_HISTORY: BindParameter[int] = bindparam("history")
_RAW: BindParameter[int] = bindparam("raw")
_NOTICED: BindParameter[int] = bindparam("noticed")


@dataclass(frozen=True, slots=True)
class CutOff:
    """What was over before these instants may go: history, kept answers that are no longer current, and notices."""

    history: Instant
    raw: Instant
    noticed: Instant


@dataclass(frozen=True, slots=True)
class InFiles:
    """Calls whose answers lie in files. ``spare``: nobody needs them any more, and when they were fetched, the oldest
    first. ``named``: all whose files stay for now, those that are being kept at this moment among them.
    """

    spare: Mapping[int, Instant]
    named: frozenset[int]


_OLD_RUNS = select(run.c.id).where(run.c.closed_at < _HISTORY)
_OLD_TASK = task.c.run_id.in_(_OLD_RUNS)
_OLD_SLOT = (slot.c.recorded_at < _HISTORY) & (slot.c.run_id.is_(None) | slot.c.run_id.in_(_OLD_RUNS))
_CURRENT = select(resource.c.call_id).where(resource.c.call_id.is_not(None))
_AWAITED = select(call_use.c.call_id).where(call_use.c.consumed_at.is_(None))
_NO_LONGER_USED = answer.c.call_id.not_in(_CURRENT) & answer.c.call_id.not_in(_AWAITED)
_OLD_ANSWER = (answer.c.fetched_at < _RAW) & _NO_LONGER_USED
_OLD_CALL = (
    (call.c.settled_at < _HISTORY)
    & call.c.id.not_in(_CURRENT)
    & call.c.id.not_in(select(answer.c.call_id).where(~_OLD_ANSWER))
    & call.c.id.not_in(select(call_use.c.call_id).join(task, task.c.id == call_use.c.task_id).where(~_OLD_TASK))
)
_RUNS_THAT_STAY = or_(run.c.closed_at.is_(None), run.c.closed_at >= _HISTORY)
_OLD_SCHEDULE = (
    (schedule.c.closed_at < _HISTORY)
    & schedule.c.id.not_in(select(slot.c.schedule_id).where(~_OLD_SLOT))
    & schedule.c.id.not_in(select(run.c.schedule_id).where(run.c.schedule_id.is_not(None), _RUNS_THAT_STAY))
)
_OLD_NOTICE = notice_store.old_notices(_NOTICED)

# In the order in which they go: what refers to a row goes before it. With each the column it is sliced by.
_OLD: Mapping[str, tuple[Table, Column[int], ColumnElement[bool]]] = {
    "tasks": (task, task.c.id, _OLD_TASK),
    "slots": (slot, slot.c.recorded_at, _OLD_SLOT),
    "runs": (run, run.c.id, run.c.closed_at < _HISTORY),
    "answers": (answer, answer.c.call_id, _OLD_ANSWER),
    "calls": (call, call.c.id, _OLD_CALL),
    "schedules": (schedule, schedule.c.closed_at, _OLD_SCHEDULE),
    "pauses": (pause, pause.c.ended_at, pause.c.ended_at < _HISTORY),
    "deliveries": (delivery, delivery.c.notice_id, delivery.c.notice_id.in_(select(outbox.c.id).where(_OLD_NOTICE))),
    "notices": (outbox, outbox.c.id, _OLD_NOTICE),
}
KINDS = tuple(_OLD)


def count_old(conn: Connection, before: CutOff) -> dict[str, int]:
    """How many rows of each kind would go."""
    values = _values(before)
    return {
        kind: conn.scalar(select(func.count()).select_from(table).where(old), values) or 0
        for kind, (table, _, old) in _OLD.items()
    }


def remove_old(conn: Connection, kind: str, before: CutOff, most: int = ROWS_PER_SLICE) -> int:
    """The oldest of a kind, about so many; returns how many rows that were, none once all are gone."""
    table, column, old = _OLD[kind]
    values = _values(before)
    first = select(column).where(old).order_by(column).limit(most).subquery()
    upto = conn.scalar(select(func.max(first.c[0])), values)
    if upto is None:
        return 0
    mine = old & (column <= upto)
    if table is outbox:
        ids = list(conn.execute(select(column).where(mine), values).scalars())
        notice_store.forget(conn, ids)
        return len(ids)
    if table is task:
        conn.execute(delete(call_use).where(call_use.c.task_id.in_(select(task.c.id).where(mine))), values)
    return conn.execute(delete(table).where(mine), values).rowcount


def answers_in_files(conn: Connection) -> InFiles:
    in_file = answer.c.body.is_(None)
    spare = select(answer.c.call_id, answer.c.fetched_at).where(in_file, _NO_LONGER_USED).order_by(answer.c.call_id)
    kept = conn.execute(select(answer.c.call_id).where(in_file))
    under_way = conn.execute(select(call.c.id).where(RESERVED))
    return InFiles(
        spare={row.call_id: row.fetched_at for row in conn.execute(spare)},
        named=frozenset({*(row.call_id for row in kept), *(row.id for row in under_way)}),
    )


def drop_answers(conn: Connection, calls: Collection[int]) -> int:
    """Those of them that nobody needs, still."""
    return conn.execute(delete(answer).where(answer.c.call_id.in_(sorted(calls)), _NO_LONGER_USED)).rowcount


def _values(before: CutOff) -> dict[str, Instant]:
    return {"history": before.history, "raw": before.raw, "noticed": before.noticed}
