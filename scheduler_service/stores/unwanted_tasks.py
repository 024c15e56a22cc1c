"""Waiting tasks that are not to be carried out: what the configuration no longer wants, and what is paused."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, bindparam, exists, or_, select, update

from scheduler_service.models import A_PERSONS, Reason, TaskState
from scheduler_service.stores.open_tasks import is_paused_by
from scheduler_service.stores.pause_store import END
from scheduler_service.stores.schema import QUEUED, pause, run, task
from scheduler_service.stores.task_store import count_ended

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from scheduler_service.clock import Instant
    from scheduler_service.stores.schedule_store import RunRow


def skip_unwatched(conn: Connection, watched: Collection[str], now: Instant) -> list[RunRow]:
    """Waiting tasks of symbols that left the watchlist end; those a person asked for stay."""
    waiting = conn.execute(
        select(task.c.id, task.c.run_id, task.c.symbol)
        .join(run, run.c.id == task.c.run_id)
        .where(QUEUED, run.c.origin.not_in(sorted(A_PERSONS)))
    ).all()
    return _skip(conn, [row for row in waiting if row.symbol not in watched], Reason.NOT_WATCHED, now)


def skip_unfetched(conn: Connection, fetched: Collection[tuple[str, str]], now: Instant) -> list[RunRow]:
    """Waiting tasks end whose (domain, source) is fetched no longer: their lane has no workers any more."""
    waiting = conn.execute(select(task.c.id, task.c.run_id, task.c.domain, task.c.source).where(QUEUED)).all()
    return _skip(conn, [row for row in waiting if (row.domain, row.source) not in fetched], Reason.PROVIDER_OFF, now)


_OUTLIVED = select(task.c.id, task.c.run_id).where(
    QUEUED,
    task.c.expires_at <= bindparam("now"),
    exists().where(
        is_paused_by(pause.c.scope),
        pause.c.since <= task.c.expires_at,
        or_(END.is_(None), task.c.expires_at < END),
    ),
)


def is_outlived(conn: Connection, now: Instant) -> bool:
    """Whether a pause held a task as its schedule's next slot came."""
    return conn.execute(_OUTLIVED.limit(1), {"now": now}).first() is not None


def skip_outlived(conn: Connection, now: Instant) -> list[RunRow]:
    """Returns the runs that this closed. Twice is as good as once."""
    return _skip(conn, conn.execute(_OUTLIVED, {"now": now}).all(), Reason.PAUSED, now)


def cancel_waiting(conn: Connection, task_id: int, now: Instant) -> list[RunRow]:
    """A task ends that a person cancels, if it waits. Returns its run where this closed it."""
    waiting = conn.execute(select(task.c.id, task.c.run_id).where(QUEUED, task.c.id == task_id)).all()
    return _skip(conn, waiting, Reason.CANCELLED, now)


def _skip(conn: Connection, waiting: Sequence[Any], reason: Reason, now: Instant) -> list[RunRow]:
    """Returns the runs that this closed."""
    closed = []
    for row in waiting:
        ending = {"state": TaskState.SKIPPED, "reason": reason, "ended_at": now}
        conn.execute(update(task).where(task.c.id == row.id).values(**ending))
        closed.append(count_ended(conn, row.run_id, TaskState.SKIPPED, unchanged=False, now=now))
    return [r for r in closed if r.closed_at is not None]
