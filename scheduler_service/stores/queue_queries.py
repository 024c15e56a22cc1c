"""What a lane may take from the queue, and when: the queries. Those that depend on who asks are built once for each
way to ask, for they run with every task.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from sqlalchemy import ColumnElement, CompoundSelect, Select, bindparam, exists, func, or_, select, union_all

from scheduler_service.stores.open_tasks import is_paused_by
from scheduler_service.stores.schema import QUEUED, RUNNING, pause, run, task

_older = task.alias("older")
_FOLLOWS_NONE = ~exists().where(
    _older.c.schedule_id == task.c.schedule_id,
    _older.c.symbol == task.c.symbol,
    _older.c.source == task.c.source,
    _older.c.ended_at.is_(None),
    _older.c.id < task.c.id,
)
"""One that waits for an open one of the same schedule, symbol and source never runs beside it."""
_IN_FORCE = pause.c.ended_at.is_(None) & or_(
    pause.c.since > bindparam("now"), pause.c.until.is_(None), pause.c.until > bindparam("now")
)
"""As ``PauseRow.as_of`` has it: one that a clock that was ahead has begun holds too."""
_IS_PAUSED = exists().where(_IN_FORCE, is_paused_by(pause.c.scope)).correlate(task)
_MAY_BE_TAKEN = (QUEUED, task.c.lane == bindparam("lane"), _FOLLOWS_NONE, ~_IS_PAUSED)
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
        task.c.not_before,
    )
    .join(run, run.c.id == task.c.run_id)
    .where(*_MAY_BE_TAKEN, task.c.not_before <= bindparam("now"))
)
_SUSPECT = _CLAIMABLE.where(task.c.interrupted > 0).order_by(task.c.rank, task.c.not_before, task.c.id).limit(1)
_UNTROUBLED = _CLAIMABLE.where(task.c.interrupted == 0).order_by(task.c.not_before, task.c.id)
_NEXT_DUE = select(func.min(task.c.not_before)).where(*_MAY_BE_TAKEN)
EARLIEST = select(func.min(task.c.not_before)).where(QUEUED, task.c.lane == bindparam("lane"))
RUNNING_SUSPECT = select(task.c.id).where(RUNNING, task.c.interrupted > 0).limit(1)

_before = task.alias("before")


@lru_cache(maxsize=64)
def claimable(ranks: tuple[int, ...], run_id: int | None, yielding: tuple[str, ...]) -> CompoundSelect[Any]:
    """The first suspect, and of each rank the first ``most`` untroubled tasks that may start ``now``."""
    untroubled = (_UNTROUBLED.where(task.c.rank == rank).limit(bindparam("most")) for rank in ranks)
    queries = [_narrowed(query, run_id, yielding) for query in (_SUSPECT, *untroubled)]
    return union_all(*(query.subquery().select() for query in queries))


@lru_cache(maxsize=64)
def next_dues(ranks: tuple[int, ...], run_id: int | None, yielding: tuple[str, ...]) -> Select[Any]:
    """Whether a suspect runs; when the next suspect may start, and the next of each rank."""
    untroubled = (_NEXT_DUE.where(task.c.interrupted == 0, task.c.rank == rank) for rank in ranks)
    queries = (_NEXT_DUE.where(task.c.interrupted > 0), *untroubled)
    dues = [_narrowed(query, run_id, yielding) for query in queries]
    return select(RUNNING_SUSPECT.exists(), *(query.scalar_subquery() for query in dues))


def _narrowed(query: Select[Any], run_id: int | None, yielding: tuple[str, ...]) -> Select[Any]:
    """Only of one run; only tasks whose turn it is, where their lane is among the ``yielding``."""
    query = query if run_id is None else query.where(task.c.run_id == run_id)
    return query.where(_its_turn(yielding)) if yielding else query


def _its_turn(yielding: tuple[str, ...]) -> ColumnElement[bool]:
    """Nothing that goes first is still to be asked of the same run and symbol, but what its gate holds."""
    return ~exists().where(
        _before.c.run_id == task.c.run_id,
        _before.c.symbol == task.c.symbol,
        _before.c.lane.not_in(yielding),
        _before.c.ended_at.is_(None),
        _before.c.held_reason.is_(None),
    )
