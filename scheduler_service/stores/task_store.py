"""The queue of tasks and how each of them ends: claimed, held, released, recovered, ended exactly once."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, Row, Update, bindparam, func, insert, select, update

from scheduler_service.clock import BUILT_AT
from scheduler_service.errors import Fenced
from scheduler_service.models import A_PERSONS, Reason, RunOrigin, Task, TaskState
from scheduler_service.stores import stock_state_store
from scheduler_service.stores.queue_queries import EARLIEST, RUNNING_SUSPECT, claimable, next_dues
from scheduler_service.stores.schedule_store import RunRow, close_run_if_done, to_run
from scheduler_service.stores.schema import OPEN, QUEUED, RUNNING, run, task
from scheduler_service.stores.wrong_clock import void_deadlines

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from scheduler_service.clock import Instant
    from scheduler_service.models import Outcome

MOST_INTERRUPTIONS = 3


class Rank(IntEnum):
    """Which tasks a lane takes first."""

    HIGH = 0
    NORMAL = 1
    LOW = 2


@dataclass(frozen=True, slots=True)
class NewTask:
    """What expansion writes; one that ends at once (``overlap``) carries its reason."""

    symbol: str
    source: str
    lane: str
    rank: Rank
    not_before: Instant
    expires_at: Instant | None = None
    ended: Reason | None = None
    retry_of: int | None = None


_START = (
    update(task)
    .where(task.c.id == bindparam("key"))
    .values(state=TaskState.RUNNING, attempt=task.c.attempt + 1, started_at=bindparam("now"))
)
_END = (
    update(task)
    .where(task.c.id == bindparam("key"), task.c.attempt == bindparam("mine"), task.c.state == TaskState.RUNNING)
    .values(
        state=bindparam("to"),
        reason=bindparam("why"),
        message=bindparam("text"),
        unchanged=bindparam("same"),
        ended_at=bindparam("now"),
    )
)

_HOLD = (
    update(task)
    .where(task.c.id == bindparam("key"), task.c.attempt == bindparam("mine"), task.c.state == TaskState.RUNNING)
    .values(
        state=TaskState.QUEUED,
        queued_at=bindparam("now"),
        not_before=bindparam("until"),
        held_reason=bindparam("why"),
        message=bindparam("text"),
    )
)
_RELEASE = (
    update(task)
    .where(task.c.id == bindparam("key"), task.c.attempt == bindparam("mine"), task.c.state == TaskState.RUNNING)
    .values(state=TaskState.QUEUED, queued_at=bindparam("now"))
)

_COUNT = {
    state: update(run)
    .where(run.c.id == bindparam("of_run"))
    .values(
        {
            run.c.open_tasks: run.c.open_tasks - 1,
            run.c[state.value]: run.c[state.value] + 1,
            run.c.unchanged: run.c.unchanged + bindparam("same"),
        }
    )
    .returning(run)
    for state in TaskState
    if state.ended
}


def add_tasks(
    conn: Connection, owner: RunRow, tasks: Sequence[NewTask], upto: str, *, last: bool, now: Instant
) -> None:
    """One slice of a run's expansion: its tasks, how far it is, and the counts, in one piece."""
    if tasks:
        conn.execute(insert(task), [_values(owner, t, now) for t in tasks])
    ended = sum(t.ended is not None for t in tasks)
    conn.execute(
        update(run)
        .where(run.c.id == owner.id)
        .values(
            expanded_upto=upto,
            plan=None if last else run.c.plan,
            open_tasks=run.c.open_tasks + len(tasks) - ended,
            skipped=run.c.skipped + ended,
        )
    )


def _values(owner: RunRow, new: NewTask, now: Instant) -> dict[str, object]:
    return {
        "run_id": owner.id,
        "schedule_id": owner.schedule_id,
        "domain": owner.domain,
        "symbol": new.symbol,
        "source": new.source,
        "lane": new.lane,
        "state": TaskState.QUEUED if new.ended is None else TaskState.SKIPPED,
        "reason": new.ended,
        "message": None,
        "unchanged": False,
        "rank": new.rank,
        "attempt": 0,
        "interrupted": 0,
        "held_reason": None,
        "retry_of": new.retry_of,
        "queued_at": now,
        "not_before": new.not_before,
        "expires_at": new.expires_at,
        "created_at": now,
        "started_at": None,
        "ended_at": None if new.ended is None else now,
    }


def best_first(waiting: Mapping[Rank, Sequence[Row[Any]]], most: int) -> list[Row[Any]]:
    """Lower ranks only where the higher ones have nothing."""
    return [row for rank in sorted(waiting) for row in waiting[rank]][:most]


def claim(
    conn: Connection,
    lane: str,
    now: Instant,
    most: int,
    run_id: int | None = None,
    yielding: Collection[str] = (),
    choose: Callable[[Mapping[Rank, Sequence[Row[Any]]], int], list[Row[Any]]] = best_first,
) -> list[Task]:
    """Takes up to ``most`` tasks of a lane, as ``choose`` picks them from the first of each rank; each starts a new
    attempt. The ``yielding`` lanes let the sources in all the others go first, of the same run and symbol. What is
    paused is left alone.

    Tasks that a crash cut off are suspects: one of them runs at a time, in all lanes together, so that the one that
    brings the process down is found without condemning those that ran beside it.
    """
    query = claimable(tuple(Rank), run_id, tuple(sorted(yielding)) if lane in yielding else ())
    found = conn.execute(query, {"lane": lane, "now": now, "most": most}).all()
    rows: list[Any] = [row for row in found if row.interrupted]
    if rows and conn.execute(RUNNING_SUSPECT).first() is not None:
        rows = []
    if most > len(rows):
        untroubled = sorted((row for row in found if not row.interrupted), key=lambda row: (row.not_before, row.id))
        waiting = {rank: [row for row in untroubled if row.rank == rank] for rank in Rank}
        rows += choose(waiting, most - len(rows))
    if not rows:
        return []
    conn.execute(_START, [{"key": row.id, "now": now} for row in rows])
    return [
        Task(
            row.id,
            row.run_id,
            row.schedule_id,
            RunOrigin(row.origin),
            row.domain,
            row.symbol,
            row.source,
            row.due_at,
            row.attempt + 1,
            row.interrupted,
            row.expires_at,
            Reason(row.held_reason) if row.held_reason else None,
            row.force,
            row.rank == Rank.HIGH or row.origin in A_PERSONS,
        )
        for row in rows
    ]


def next_due(
    conn: Connection, lane: str, now: Instant, *, run_id: int | None = None, yielding: Collection[str] = ()
) -> Instant | None:
    """When the lane's next queued task that is not paused now may start; a suspect not while another runs."""
    look = next_dues(tuple(Rank), run_id, tuple(sorted(yielding)) if lane in yielding else ())
    suspect_runs, suspect, *untroubled = conn.execute(look, {"lane": lane, "now": now}).one()
    dues = untroubled if suspect_runs else [suspect, *untroubled]
    return min((due for due in dues if due is not None), default=None)


def earliest(conn: Connection, lane: str) -> Instant | None:
    """When the lane's next queued task is due, whatever else it may have to wait for."""
    due: Instant | None = conn.execute(EARLIEST, {"lane": lane}).scalar_one()
    return due


def end(conn: Connection, mine: Task, outcome: Outcome, *, unchanged: bool, now: Instant) -> RunRow:
    """Ends the task and counts it; returns its run, closed when this was the last of it. Raises ``Fenced`` for a late
    writer.
    """
    done = conn.execute(
        _END,
        {
            "key": mine.id,
            "mine": mine.attempt,
            "to": outcome.state,
            "why": outcome.reason,
            "text": outcome.message,
            "same": unchanged,
            "now": now,
        },
    )
    if done.rowcount == 0:
        raise Fenced(f"task {mine.id}: attempt {mine.attempt} has been superseded")
    return count_ended(conn, mine.run_id, outcome.state, unchanged=unchanged, now=now)


def count_ended(conn: Connection, run_id: int, state: TaskState, *, unchanged: bool, now: Instant) -> RunRow:
    """Counts one more ended task of a run; returns the run, closed when this was the last of it."""
    owner = to_run(conn.execute(_COUNT[state], {"of_run": run_id, "same": int(unchanged)}).one())
    return owner if owner.open_tasks else close_run_if_done(conn, run_id, now) or owner


def hold(
    conn: Connection, mine: Task, reason: Reason, until: Instant, now: Instant, message: str | None = None
) -> None:
    """Gives the worker back: the task waits for its gate. It is the same attempt's end, not a failure."""
    _requeue(conn, _HOLD, mine, {"now": now, "until": until, "why": reason, "text": message})


def ask_again(conn: Connection, now: Instant) -> None:
    """Tasks held by what a person can change, a key, a budget, an address or a full disk, may ask their gate anew: it
    knows whether it was.
    """
    held = task.c.held_reason.in_([Reason.REFUSED, Reason.BUDGET_EXHAUSTED, Reason.ENDPOINT_GONE, Reason.DISK_LOW])
    conn.execute(update(task).where(QUEUED, held, task.c.not_before > now).values(queued_at=now, not_before=now))


def try_again(conn: Connection, lanes: Collection[str], now: Instant) -> None:
    """Tasks of these lanes that are held for their provider kept failing may ask their gate anew."""
    held = (task.c.held_reason == Reason.PROVIDER_DOWN) & (task.c.not_before > now)
    values = {"queued_at": now, "not_before": now}
    conn.execute(update(task).where(QUEUED, task.c.lane.in_(sorted(lanes)), held).values(values))


def release(conn: Connection, mine: Task, now: Instant) -> None:
    """Puts a task back that a drain cut short."""
    _requeue(conn, _RELEASE, mine, {"now": now})


def newest(conn: Connection, domain: str) -> dict[str, int]:
    """By symbol: its latest task of the domain, whatever became of it."""
    query = select(task.c.symbol, func.max(task.c.id).label("latest")).where(task.c.domain == domain)
    return {row.symbol: row.latest for row in conn.execute(query.group_by(task.c.symbol))}


def _requeue(conn: Connection, back: Update, mine: Task, values: Mapping[str, object]) -> None:
    done = conn.execute(back, {"key": mine.id, "mine": mine.attempt, **values})
    if done.rowcount == 0:
        raise Fenced(f"task {mine.id}: attempt {mine.attempt} has been superseded")


def recover(conn: Connection, now: Instant) -> tuple[int, list[RunRow]]:
    """After a crash: what was running is queued again, or fails as poison after its third interruption.

    What a wrong clock wrote down is void, unless it is wrong now. Returns how many were queued again, and the runs
    that this closed. Doing it twice changes nothing.
    """
    if now >= BUILT_AT:
        void_deadlines(conn, now)
        ask_again(conn, now)
    conn.execute(update(task).where(RUNNING).values(interrupted=task.c.interrupted + 1))
    poison = select(task.c.id, task.c.run_id, task.c.symbol, task.c.domain, task.c.source).where(
        RUNNING, task.c.interrupted >= MOST_INTERRUPTIONS
    )
    closed = []
    for row in conn.execute(poison).all():
        conn.execute(
            update(task)
            .where(task.c.id == row.id)
            .values(
                state=TaskState.FAILED,
                reason=Reason.POISON,
                message=f"cut off by a crash {MOST_INTERRUPTIONS} times",
                ended_at=now,
            )
        )
        # noted as tried: else a first fetch that brings the process down would be made anew at every start
        stock_state_store.failed(conn, row.symbol, row.domain, row.source, reason=Reason.POISON, now=now)
        closed.append(count_ended(conn, row.run_id, TaskState.FAILED, unchanged=False, now=now))
    requeued = conn.execute(update(task).where(RUNNING).values(state=TaskState.QUEUED, queued_at=now))
    return requeued.rowcount, [r for r in closed if r.closed_at is not None]


def state_counts(conn: Connection) -> dict[TaskState, int]:
    """How many tasks wait and run."""
    query = select(task.c.state, func.count()).where(OPEN).group_by(task.c.state)
    return {TaskState(state): count for state, count in conn.execute(query)}
