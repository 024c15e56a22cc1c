"""The queue: who is claimed, in which order, and how each task ends once, whatever was cut off."""

from __future__ import annotations

from collections import Counter
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import create_engine, event, func, select
from sqlalchemy.pool import StaticPool

from scheduler_service.clock import DAY, HOUR, MINUTE
from scheduler_service.errors import Fenced
from scheduler_service.models import Outcome, Reason, RunOrigin, TaskState
from scheduler_service.stores import (
    call_store,
    document_store,
    history,
    open_tasks,
    schedule_store,
    task_store,
    unwanted_tasks,
)
from scheduler_service.stores.schema import metadata, task
from scheduler_service.stores.task_store import NewTask, Rank
from tests.ledger_support import LANE, NOW, add_run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sqlalchemy import Connection

    from scheduler_service.models import Task

DONE = Outcome(TaskState.COMPLETED)


@contextmanager
def opened() -> Iterator[Connection]:
    engine = create_engine("sqlite://", poolclass=StaticPool)
    metadata.create_all(engine)
    with engine.connect() as connection:
        yield connection
    engine.dispose()


@pytest.fixture
def conn() -> Iterator[Connection]:
    with opened() as connection:
        yield connection


def symbols(tasks: list[Task]) -> list[str]:
    return [task.symbol for task in tasks]


def claim(conn: Connection, most: int = 10, now: int = NOW, lane: str = LANE) -> list[Task]:
    return task_store.claim(conn, lane, now, most)


def crash(conn: Connection, now: int = NOW) -> int:
    return task_store.recover(conn, now)[0]


def state_of(conn: Connection, symbol: str) -> tuple[str, str | None, int]:
    row = conn.execute(select(task.c.state, task.c.reason, task.c.interrupted).where(task.c.symbol == symbol)).one()
    return row.state, row.reason, row.interrupted


def test_it_takes_the_best_rank_first_then_who_has_waited_longest(conn: Connection) -> None:
    add_run(conn, ["L"], rank=Rank.LOW, not_before=NOW - DAY)
    add_run(conn, ["N2"], not_before=NOW - HOUR)
    add_run(conn, ["N1"], not_before=NOW - 2 * HOUR)
    add_run(conn, ["H"], rank=Rank.HIGH, not_before=NOW)
    assert symbols(claim(conn, 3)) == ["H", "N1", "N2"]
    assert symbols(claim(conn, 3)) == ["L"]
    assert claim(conn) == []


def test_it_leaves_alone_what_is_not_due_and_what_is_another_lanes(conn: Connection) -> None:
    add_run(conn, ["SOON"], not_before=NOW + 1)
    add_run(conn, ["OTHER"], lane="elsewhere")
    assert claim(conn) == []
    assert task_store.next_due(conn, LANE, NOW) == NOW + 1
    assert symbols(claim(conn, now=NOW + 1)) == ["SOON"]
    assert task_store.next_due(conn, LANE, NOW) is None


def test_it_can_take_the_tasks_of_one_run_alone(conn: Connection) -> None:
    add_run(conn, ["A"])
    mine = add_run(conn, ["B"], not_before=NOW - 1)
    assert symbols(task_store.claim(conn, LANE, NOW, 5, run_id=mine.id)) == ["B"]
    assert task_store.next_due(conn, LANE, NOW, run_id=mine.id) is None
    assert task_store.next_due(conn, LANE, NOW) == 0


def test_it_counts_every_end_and_closes_the_run_with_the_last(conn: Connection) -> None:
    run_id = add_run(conn, ["A", "B", "C", "D"]).id
    a, b, c, d = claim(conn)
    assert task_store.end(conn, a, DONE, unchanged=False, now=NOW).closed_at is None
    assert task_store.end(conn, b, DONE, unchanged=True, now=NOW).closed_at is None
    run = task_store.end(conn, c, Outcome(TaskState.SKIPPED, Reason.FRESH), unchanged=False, now=NOW)
    assert (run.closed_at, run.open_tasks) == (None, 1)
    closed = task_store.end(conn, d, Outcome(TaskState.FAILED, Reason.TIMEOUT), unchanged=False, now=NOW + 1)
    assert (closed.id, closed.open_tasks, closed.closed_at) == (run_id, 0, NOW + 1)
    assert (closed.completed, closed.unchanged, closed.skipped, closed.failed) == (2, 1, 1, 1)


def test_it_ends_a_task_once(conn: Connection) -> None:
    add_run(conn, ["A", "B"])
    a, _ = claim(conn)
    task_store.end(conn, a, DONE, unchanged=False, now=NOW)
    with pytest.raises(Fenced):
        task_store.end(conn, a, DONE, unchanged=False, now=NOW)
    with pytest.raises(Fenced):
        task_store.hold(conn, a, Reason.RATE_LIMITED, NOW + MINUTE, NOW)
    with pytest.raises(Fenced):
        task_store.release(conn, a, NOW)
    assert schedule_store.get_run(conn, a.run_id).completed == 1


def test_it_fences_the_writer_of_an_earlier_attempt(conn: Connection) -> None:
    add_run(conn, ["A"])
    [first] = claim(conn)
    crash(conn)
    [second] = claim(conn)
    assert (first.attempt, second.attempt, second.interrupted) == (1, 2, 1)
    with pytest.raises(Fenced):
        task_store.end(conn, first, DONE, unchanged=False, now=NOW)
    task_store.end(conn, second, DONE, unchanged=False, now=NOW)


def test_it_waits_in_the_queue_for_its_gate(conn: Connection) -> None:
    add_run(conn, ["A"], expires_at=NOW + DAY)
    [mine] = claim(conn)
    task_store.hold(conn, mine, Reason.BUDGET_EXHAUSTED, NOW + HOUR, NOW)
    assert claim(conn) == []
    assert task_store.next_due(conn, LANE, NOW) == NOW + HOUR
    [again] = claim(conn, now=NOW + HOUR)
    assert again == replace(mine, attempt=2, held_reason=Reason.BUDGET_EXHAUSTED)


def test_it_starts_over_after_a_crash_and_a_second_recovery_changes_nothing(conn: Connection) -> None:
    add_run(conn, ["A", "B", "C"])
    claim(conn, 2)
    assert crash(conn) == 2
    before = conn.execute(select(task)).all()
    assert task_store.recover(conn, NOW + 1) == (0, [])
    assert conn.execute(select(task)).all() == before
    assert [row.state for row in before] == ["queued"] * 3


def test_it_gives_up_a_task_that_was_cut_off_three_times_and_closes_its_run(conn: Connection) -> None:
    run_id = add_run(conn, ["P"]).id
    for interruption in range(1, 4):
        [mine] = claim(conn)
        assert (mine.attempt, mine.interrupted) == (interruption, interruption - 1)
        requeued, closed = task_store.recover(conn, NOW)
    assert (requeued, [row.id for row in closed]) == (0, [run_id])
    assert state_of(conn, "P") == ("failed", "poison", 3)
    assert schedule_store.get_run(conn, run_id).failed == 1
    assert claim(conn) == []


def test_it_finds_the_poisonous_one_without_condemning_those_beside_it(conn: Connection) -> None:
    names = [f"S{number}" for number in range(6)]
    run_id = add_run(conn, [*names, "P"]).id
    while schedule_store.get_run(conn, run_id).closed_at is None:
        for mine in claim(conn):
            if mine.symbol == "P":  # brings the process down, with all that runs
                crash(conn)
                break
            task_store.end(conn, mine, DONE, unchanged=False, now=NOW)
    assert state_of(conn, "P") == ("failed", "poison", 3)
    assert {state_of(conn, name)[0] for name in names} == {"completed"}


def test_it_runs_one_suspect_at_a_time_in_all_lanes_together(conn: Connection) -> None:
    add_run(conn, ["A", "B"])
    add_run(conn, ["C"], lane="other")
    claim(conn)
    claim(conn, lane="other")
    crash(conn)
    add_run(conn, ["NEW"])
    first, new = claim(conn)
    assert (first.symbol, first.interrupted, new.symbol, new.interrupted) == ("A", 1, "NEW", 0)
    assert claim(conn) == claim(conn, lane="other") == []
    assert task_store.next_due(conn, LANE, NOW) is None, "a lane must not wake for what it may not take"
    task_store.end(conn, first, DONE, unchanged=False, now=NOW)
    assert task_store.next_due(conn, "other", NOW) == 0
    assert symbols(claim(conn, lane="other")) == ["C"]
    assert claim(conn) == []


def test_a_drained_task_is_no_suspect(conn: Connection) -> None:
    add_run(conn, ["A"])
    [mine] = claim(conn)
    task_store.release(conn, mine, NOW)
    assert crash(conn) == 0
    [again] = claim(conn)
    assert (again.attempt, again.interrupted) == (2, 0)


def test_a_wait_that_a_wrong_clock_noted_is_void_at_the_next_start(conn: Connection) -> None:
    add_run(conn, ["A", "B"])
    a, b = claim(conn)
    task_store.hold(conn, a, Reason.RATE_LIMITED, NOW + 40 * DAY, NOW + 30 * DAY)
    task_store.hold(conn, b, Reason.RATE_LIMITED, NOW + HOUR, NOW)
    crash(conn)
    assert symbols(claim(conn)) == ["A"]


def test_it_ends_what_waits_for_a_symbol_that_is_no_longer_watched(conn: Connection) -> None:
    half = add_run(conn, ["GONE", "KEPT"], origin=RunOrigin.INITIAL)
    whole = add_run(conn, ["GONE"], origin=RunOrigin.SCHEDULE)
    asked_for = add_run(conn, ["GONE"])
    assert [row.id for row in unwanted_tasks.skip_unwatched(conn, {"KEPT"}, NOW)] == [whole.id]
    assert [schedule_store.get_run(conn, row.id).skipped for row in (half, whole, asked_for)] == [1, 1, 0]
    assert symbols(claim(conn)) == ["KEPT", "GONE"]


def test_a_task_that_overlaps_ends_as_it_is_born(conn: Connection) -> None:
    owner = add_run(conn, [])
    tasks = [
        NewTask("A", "desk", LANE, Rank.NORMAL, 0, ended=Reason.OVERLAP),
        NewTask("B", "desk", LANE, Rank.NORMAL, 0),
    ]
    task_store.add_tasks(conn, owner, tasks, "B", last=True, now=NOW)
    row = schedule_store.get_run(conn, owner.id)
    assert (row.open_tasks, row.skipped, row.expanded_upto) == (1, 1, "B")
    assert open_tasks.open_keys(conn, domain="notes") == {("B", "desk"): 1}
    assert task_store.state_counts(conn) == {TaskState.QUEUED: 1}


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from(["complete", "fail", "hold", "release", "crash"]), max_size=40))
def test_the_counts_of_a_run_are_those_of_its_tasks_whatever_happens(events: list[str]) -> None:
    with opened() as conn:
        run_id = add_run(conn, [f"S{number}" for number in range(6)]).id
        running: list[Task] = []
        for happened in events:
            running = running or claim(conn, 3)
            if happened == "crash":
                crash(conn)
                running = []
            elif running:
                mine = running.pop()
                match happened:
                    case "complete":
                        task_store.end(conn, mine, DONE, unchanged=mine.id % 2 == 0, now=NOW)
                    case "fail":
                        task_store.end(conn, mine, Outcome(TaskState.FAILED, Reason.TIMEOUT), unchanged=False, now=NOW)
                    case "hold":
                        task_store.hold(conn, mine, Reason.RATE_LIMITED, NOW, NOW)
                    case _:
                        task_store.release(conn, mine, NOW)
            owner = schedule_store.get_run(conn, run_id)
            states = Counter(conn.scalars(select(task.c.state)))
            assert (owner.completed, owner.failed) == (states["completed"], states["failed"])
            assert owner.open_tasks == states["queued"] + states["running"]
            assert (owner.closed_at is None) == (owner.open_tasks > 0)
            poisoned = select(task.c.interrupted).where(task.c.reason == Reason.POISON)
            assert set(conn.scalars(poisoned)) <= {task_store.MOST_INTERRUPTIONS}
            assert conn.scalar(select(func.count()).where(task.c.state == "running", task.c.interrupted > 0)) in (0, 1)


def plan_of(conn: Connection, query: Callable[[], Any]) -> list[str]:
    """What SQLite does for every statement that the query runs, one line a step."""
    asked: list[tuple[str, Any]] = []

    def listen(_conn: object, _cursor: object, statement: str, parameters: Any, *_rest: object) -> None:
        asked.append((statement, parameters))

    event.listen(conn, "before_cursor_execute", listen)
    try:
        query()
    finally:
        event.remove(conn, "before_cursor_execute", listen)
    steps: list[str] = []
    for statement, parameters in asked:
        steps += [row.detail for row in conn.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)]
    return steps


HOT: dict[str, tuple[Callable[[Connection], Any], set[str]]] = {
    "claim": (
        lambda conn: task_store.claim(conn, LANE, NOW, 5),
        {
            "task_queue (lane=? AND interrupted>?)",
            "task_queue (lane=? AND interrupted=? AND rank=? AND not_before<?)",
            "task_running",
        },
    ),
    "next_due": (
        lambda conn: task_store.next_due(conn, LANE, NOW),
        {"task_queue (lane=? AND interrupted=? AND rank=?)", "task_running"},
    ),
    "recover": (lambda conn: task_store.recover(conn, NOW), {"task_running", "task_queue"}),
    "lost calls": (
        lambda conn: call_store.lost_calls(conn, 1, "news of A"),
        {"sqlite_autoindex_call_use_1 (task_id=?)"},
    ),
    "overlap": (lambda conn: open_tasks.open_keys(conn, schedule_id="s"), {"task_open (schedule_id=?)"}),
    "open tasks of a domain": (lambda conn: open_tasks.open_keys(conn, domain="notes"), {"task_open"}),
    "state counts": (task_store.state_counts, {"task_open"}),
    "waiting documents": (lambda conn: document_store.waiting(conn, NOW, 5), {"document_waiting (publish_after"}),
    "next publication": (document_store.next_publication, {"document_waiting"}),
    "unexpanded runs": (schedule_store.unexpanded_runs, {"run_open"}),
    "tasks of a run": (lambda conn: history.recent_tasks(conn, 0, run_id=1), {"sqlite_autoindex_task_1 (run_id=?)"}),
}


@pytest.mark.parametrize("name", HOT)
def test_a_hot_query_reads_its_index_and_never_the_whole_table(conn: Connection, name: str) -> None:
    add_run(conn, ["A", "B", "C"])
    claim(conn, 2)
    crash(conn)
    claim(conn, 1)
    query, expected = HOT[name]
    steps = plan_of(conn, lambda: query(conn))
    for index in expected:
        assert any(index in step for step in steps), steps
    # a row for each schedule or provider, at most; and what stands around the queries within a query
    small = ("SCAN pause", "SCAN gate_state", "SCAN CONSTANT ROW", *(f"SCAN anon_{n}" for n in range(1, 5)))
    of_open_rows = (*(index.split()[0] for index in expected), "outbox_unhandled", "delivery_waiting")
    walkable = tuple(f"USING INDEX {index}" for index in of_open_rows)
    for step in steps:
        assert not step.startswith("SCAN") or step in small or any(index in step for index in walkable), steps
