"""What a lane may take from the queue, and when: the queries. Those that depend on who asks are built once for each
way to ask, for they run with every task.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from sqlalchemy import ColumnElement, Select, bindparam, exists, func, select

from scheduler_service.stores.open_tasks import is_paused
from scheduler_service.stores.schema import QUEUED, RUNNING, run, task

_older = task.alias("older")
_FOLLOWS_NONE = ~exists().where(
    _older.c.schedule_id == task.c.schedule_id,
    _older.c.symbol == task.c.symbol,
    _older.c.source == task.c.source,
    _older.c.ended_at.is_(None),
    _older.c.id < task.c.id,
)
"""One that waits for an open one of the same schedule, symbol and source never runs beside it."""
_CLAIMABLE = (
    select(
        task.c.id,
        task.c.run_id,
        task.c.schedule_id,
        run.c.origin,
        task.c.domain,
        task.c.symbol,
        task.c.source,
        run.c.due_at,
        task.c.attempt,
        task.c.interrupted,
        task.c.expires_at,
        task.c.held_reason,
        run.c.force,
        task.c.rank,
    )
    .join(run, run.c.id == task.c.run_id)
    .where(QUEUED, task.c.lane == bindparam("lane"), task.c.not_before <= bindparam("now"), _FOLLOWS_NONE)
)
UNTROUBLED = (
    _CLAIMABLE.where(task.c.interrupted == 0, task.c.rank == bindparam("rank"))
    .order_by(task.c.not_before, task.c.id)
    .limit(bindparam("most"))
)
SUSPECT = _CLAIMABLE.where(task.c.interrupted > 0).order_by(task.c.rank, task.c.not_before, task.c.id).limit(1)
RUNNING_SUSPECT = select(task.c.id).where(RUNNING, task.c.interrupted > 0).limit(1)
_NEXT_DUE = select(func.min(task.c.not_before)).where(QUEUED, task.c.lane == bindparam("lane"), _FOLLOWS_NONE)
_NEXT_SUSPECT = _NEXT_DUE.where(task.c.interrupted > 0)

_before = task.alias("before")


@lru_cache(maxsize=64)
def narrowed(query: Select[Any], run_id: int | None, yielding: tuple[str, ...], paused: tuple[str, ...]) -> Select[Any]:
    """Only of one run; only tasks whose turn it is, where their lane is among the ``yielding``; not of what is
    paused.
    """
    query = query if run_id is None else query.where(task.c.run_id == run_id)
    query = query if not paused else query.where(~is_paused(paused))
    return query.where(_its_turn(yielding)) if yielding else query


@lru_cache(maxsize=64)
def next_dues(
    ranks: tuple[int, ...], run_id: int | None, yielding: tuple[str, ...], paused: tuple[str, ...]
) -> Select[Any]:
    """Whether a suspect runs; when the next suspect may start, and the next of each rank."""
    untroubled = (_NEXT_DUE.where(task.c.interrupted == 0, task.c.rank == rank) for rank in ranks)
    dues = [narrowed(query, run_id, yielding, paused) for query in (_NEXT_SUSPECT, *untroubled)]
    return select(RUNNING_SUSPECT.exists(), *(query.scalar_subquery() for query in dues))


def _its_turn(yielding: tuple[str, ...]) -> ColumnElement[bool]:
    """Nothing that goes first is still to be asked of the same run and symbol, but what its gate holds."""
    return ~exists().where(
        _before.c.run_id == task.c.run_id,
        _before.c.symbol == task.c.symbol,
        _before.c.lane.not_in(yielding),
        _before.c.ended_at.is_(None),
        _before.c.held_reason.is_(None),
    )
