"""Which tasks have not ended, and which of them are paused."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from sqlalchemy import ColumnElement, Connection, and_, exists, func, or_, select

from scheduler_service.models import A_PERSONS, RunOrigin
from scheduler_service.stores.pause_store import EVERYTHING
from scheduler_service.stores.schema import OPEN, run, task

if TYPE_CHECKING:
    from collections.abc import Collection

_asker = run.alias("asker")
_A_PERSON_ASKED = exists().where(_asker.c.id == task.c.run_id, _asker.c.origin.in_(sorted(A_PERSONS))).correlate(task)


def open_keys(
    conn: Connection,
    *,
    schedule_id: str | None = None,
    domain: str | None = None,
    symbols: Collection[str] | None = None,
) -> Counter[tuple[str, str]]:
    """(symbol, source) of the tasks that have not ended, of one schedule or one domain, and how many of each."""
    query = select(task.c.symbol, task.c.source).where(OPEN)
    if schedule_id is not None:
        query = query.where(task.c.schedule_id == schedule_id)
    if domain is not None:
        query = query.where(task.c.domain == domain)
    if symbols is not None:
        query = query.where(task.c.symbol.in_(symbols))
    return Counter((row.symbol, row.source) for row in conn.execute(query))


def waits_for_follow_up(conn: Connection, domain: str, symbol: str) -> bool:
    """Whether a task of that stock has not ended that something noticed has led to."""
    of_it = (run.c.origin == RunOrigin.FOLLOW_UP, run.c.schedule_id.is_(None), run.c.domain == domain)
    query = select(task.c.id).join(run, run.c.id == task.c.run_id).where(OPEN, task.c.symbol == symbol, *of_it)
    return conn.execute(query.limit(1)).first() is not None


def is_behind(conn: Connection, schedule_id: str, run_id: int, most: int) -> bool:
    """Whether the schedule has that many tasks that have not ended, or a run older than this one to expand."""
    older = select(run.c.id).where(run.c.schedule_id == schedule_id, run.c.plan.is_not(None), run.c.id < run_id)
    if conn.execute(older.where(run.c.closed_at.is_(None)).limit(1)).first() is not None:
        return True
    query = select(func.count()).select_from(task).where(OPEN, task.c.schedule_id == schedule_id)
    return (conn.scalar(query) or 0) >= most


def is_paused_by(scope: ColumnElement[str]) -> ColumnElement[bool]:
    """A task that a pause of this scope holds."""
    return or_(scope == task.c.schedule_id, and_(scope == EVERYTHING, ~_A_PERSON_ASKED))
