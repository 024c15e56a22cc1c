"""What the ledger tells of calls: how often, at what cost, for whom, and what is still to come."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import insert, update

from scheduler_service.clock import DAY, HOUR, MINUTE, SECOND, from_iso
from scheduler_service.models import RunOrigin, TaskState
from scheduler_service.stores import call_store, spending, task_store
from scheduler_service.stores.call_store import CallState, NewCall, Spend, Use
from scheduler_service.stores.schedule_store import NewRun, add_run
from scheduler_service.stores.schema import call, task
from scheduler_service.stores.spending import Pace, Usual, Waiting
from scheduler_service.stores.task_store import NewTask, Rank
from tests.ledger_support import open_ledger

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from sqlalchemy import Connection

NOW = from_iso("2026-11-23T14:30:30Z")


async def asked(folder: Path, unit: Callable[[Connection], Any]) -> Any:
    async with open_ledger(folder / "ledger.sqlite") as ledger:
        return await ledger.run(unit)


def add_call(conn: Connection, at: int, *, provider: str = "desk", state: str = CallState.KEPT, usd: int = 0) -> int:
    settled = None if state == CallState.RESERVED else at
    values = {"resource_key": "k", "provider": provider, "state": state, "usd_micros": usd, "tokens": usd // 10}
    key = conn.execute(insert(call).values(values | {"reserved_at": at, "settled_at": settled})).inserted_primary_key
    assert key is not None
    return int(key[0])


def add_tasks(conn: Connection, *symbols: str, origin: RunOrigin = RunOrigin.SCHEDULE, rank: int = 1) -> list[int]:
    made = add_run(conn, NewRun(origin, "news", NOW, ""), NOW)
    new = [NewTask(symbol, "desk", "desk", Rank(rank), NOW) for symbol in symbols]
    task_store.add_tasks(conn, made, new, "", last=True, now=NOW)
    return [claimed.id for claimed in task_store.claim(conn, "desk", NOW, 99, run_id=made.id)]


async def test_calls_are_counted_by_the_minute_and_the_hour_they_left_in(tmp_path: Path) -> None:
    def unit(conn: Connection) -> dict[str, Pace]:
        for at in (NOW, NOW - 29 * SECOND, NOW - 31 * SECOND, NOW - 59 * MINUTE, NOW - 60 * MINUTE, NOW - 31 * MINUTE):
            add_call(conn, at)
        add_call(conn, NOW - 23 * HOUR, state=CallState.FAILED)
        add_call(conn, NOW - 30 * SECOND, state=CallState.LOST)
        for outside in (NOW + SECOND, NOW - 24 * HOUR, NOW - DAY - HOUR):
            add_call(conn, outside)
        add_call(conn, NOW - 5 * MINUTE, provider="other")
        return spending.pace(conn, NOW)

    found = await asked(tmp_path, unit)
    desk = found["desk"]
    assert {59 - n: calls for n, calls in enumerate(desk.minutes) if calls} == {0: 3, 1: 1, 31: 1, 59: 1}
    assert {59 - n: calls for n, calls in enumerate(desk.failed_by_minute) if calls} == {0: 1}
    assert {23 - n: calls for n, calls in enumerate(desk.hours) if calls} == {0: 4, 1: 3, 23: 1}
    assert {23 - n: calls for n, calls in enumerate(desk.failed_by_hour) if calls} == {0: 1, 23: 1}
    assert (sum(found["other"].minutes), sum(found["other"].hours)) == (1, 1)
    assert (len(desk.minutes), len(desk.hours)) == (60, 24)


async def test_what_fetches_took_counts_those_that_joined_and_neither_the_calls_under_way_nor_fetches_in_vain(
    tmp_path: Path,
) -> None:
    def unit(conn: Connection) -> Any:
        first, second, third, old, in_vain = add_tasks(conn, "A", "B", "C", "D", "E")
        conn.execute(update(task).where(task.c.id != in_vain).values(state=TaskState.COMPLETED, ended_at=NOW))
        call_store.use(conn, in_vain, add_call(conn, NOW, usd=20_000, state=CallState.FAILED), Use.ASKED)
        shared, retried = add_call(conn, NOW, usd=1_000), add_call(conn, NOW, usd=500, state=CallState.FAILED)
        call_store.use(conn, first, shared, Use.ASKED)
        call_store.use(conn, second, shared, Use.JOINED)
        call_store.use(conn, first, retried, Use.ASKED)
        call_store.use(conn, third, add_call(conn, NOW, usd=9, state=CallState.RESERVED), Use.ASKED)
        call_store.use(conn, old, add_call(conn, NOW - 8 * DAY, usd=77), Use.ASKED)
        return spending.usual(conn, NOW - 7 * DAY)

    assert await asked(tmp_path, unit) == {("news", "desk"): Usual(fetches=2, calls=2, usd_micros=1_500, tokens=150)}


async def test_tasks_that_wait_are_told_with_their_urgency_and_ended_ones_are_not(tmp_path: Path) -> None:
    def unit(conn: Connection) -> Any:
        add_tasks(conn, "A")
        add_tasks(conn, "B", rank=Rank.HIGH)
        add_tasks(conn, "C", origin=RunOrigin.MANUAL)
        add_tasks(conn, "D", origin=RunOrigin.REPARSE)
        (ended,) = add_tasks(conn, "E")
        conn.execute(update(task).where(task.c.id == ended).values(state=TaskState.COMPLETED, ended_at=NOW))
        return spending.waiting(conn)

    found = await asked(tmp_path, unit)
    assert sorted(found, key=lambda one: one.symbol) == [
        Waiting("A", "news", "desk", urgent=False),
        Waiting("B", "news", "desk", urgent=True),
        Waiting("C", "news", "desk", urgent=True),
    ]


async def test_what_is_in_the_air_is_what_was_reserved_and_not_settled(tmp_path: Path) -> None:
    def unit(conn: Connection) -> Any:
        new = NewCall("k", "desk", (), 20_000, "2026-11-23", None, tokens=500)
        done, _ = call_store.reserve(conn, new, NOW), call_store.reserve(conn, new, NOW)
        call_store.settle(conn, done, CallState.FAILED, NOW)
        return spending.in_the_air(conn), call_store.spent(conn)

    in_the_air, spent = await asked(tmp_path, unit)
    assert in_the_air == {"desk": Spend(1, 20_000, 500)}
    assert spent == {"desk": {"2026-11-23": Spend(2, 40_000, 1_000)}}


async def test_only_the_newest_estimate_is_kept(tmp_path: Path) -> None:
    def unit(conn: Connection) -> Any:
        before = spending.noted_estimate(conn)
        spending.note_estimate(conn, "one")
        spending.note_estimate(conn, "two")
        return before, spending.noted_estimate(conn)

    assert await asked(tmp_path, unit) == (None, "two")
