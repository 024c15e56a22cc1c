"""Which tasks have not ended, and which of them are paused."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from sqlalchemy import ColumnElement, Connection, func, select

from scheduler_service.models import A_PERSONS
from scheduler_service.stores.schedule_store import EVERYTHING
from scheduler_service.stores.schema import OPEN, run, task

if TYPE_CHECKING:
    from collections.abc import Collection

_A_PERSONS = select(run.c.id).where(run.c.origin.in_(sorted(A_PERSONS)))


def open_keys(
    conn: Connection, *, schedule_id: str | None = None, domain: str | None = None
) -> Counter[tuple[str, str]]:
    """(symbol, source) of the tasks that have not ended, of one schedule or one domain, and how many of each."""
    query = select(task.c.symbol, task.c.source).where(OPEN)
    if schedule_id is not None:
        query = query.where(task.c.schedule_id == schedule_id)
    if domain is not None:
        query = query.where(task.c.domain == domain)
    return Counter((row.symbol, row.source) for row in conn.execute(query))


def is_paused(scopes: Collection[str]) -> ColumnElement[bool]:
    """A task of these schedules, or, where ``*`` is among them, any that no person asked for."""
    if EVERYTHING in scopes:
        return task.c.run_id.not_in(_A_PERSONS)
    return func.coalesce(task.c.schedule_id, "").in_(sorted(scopes))
