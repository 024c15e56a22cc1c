"""Waiting tasks that are not to be carried out: what the configuration no longer wants, and what is paused."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, Row, or_, select, update

from scheduler_service.models import A_PERSONS, Reason, TaskState
from scheduler_service.stores.open_tasks import is_paused
from scheduler_service.stores.schedule_store import pauses_at
from scheduler_service.stores.schema import QUEUED, run, task
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


@dataclass(frozen=True, slots=True)
class Pausing:
    """What is to be done to waiting tasks, by id, so that they say what pauses hold them. ``expired``: those whose
    pause outlasted their schedule's next slot.
    """

    hold: tuple[int, ...]
    release: tuple[int, ...]
    expired: tuple[Row[Any], ...]

    def __bool__(self) -> bool:
        return bool(self.hold or self.release or self.expired)


def pausing(conn: Connection, now: Instant) -> Pausing:
    """Only looks."""
    paused = is_paused([p.scope for p in pauses_at(conn, now)]).label("paused")
    columns = (task.c.id, task.c.run_id, task.c.held_reason, task.c.expires_at, paused)
    concerned = conn.execute(select(*columns).where(QUEUED, or_(task.c.held_reason == Reason.PAUSED, paused))).all()
    alive = [row for row in concerned if row.expires_at is None or row.expires_at > now]
    return Pausing(
        hold=tuple(row.id for row in alive if row.paused and row.held_reason != Reason.PAUSED),
        release=tuple(row.id for row in alive if not row.paused),
        expired=tuple(row for row in concerned if row.expires_at is not None and row.expires_at <= now),
    )


def settle_pausing(conn: Connection, now: Instant) -> list[RunRow]:
    """Returns the runs that this closed. Twice is as good as once."""
    wanted = pausing(conn, now)
    for reason, tasks in ((Reason.PAUSED, wanted.hold), (None, wanted.release)):
        for task_id in tasks:
            conn.execute(update(task).where(task.c.id == task_id).values(held_reason=reason))
    return _skip(conn, wanted.expired, Reason.PAUSED, now)


def _skip(conn: Connection, waiting: Sequence[Any], reason: Reason, now: Instant) -> list[RunRow]:
    """Returns the runs that this closed."""
    closed = []
    for row in waiting:
        ending = {"state": TaskState.SKIPPED, "reason": reason, "ended_at": now}
        conn.execute(update(task).where(task.c.id == row.id).values(**ending))
        closed.append(count_ended(conn, row.run_id, TaskState.SKIPPED, unchanged=False, now=now))
    return [r for r in closed if r is not None]
