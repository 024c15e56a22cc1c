"""What every executor promises of the tasks in its lanes, whichever way it carries them out."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from scheduler_service.clock import HOUR, MINUTE, SECOND
from scheduler_service.errors import Held
from scheduler_service.executors.fundamental_executor import FundamentalExecutor
from scheduler_service.executors.local_executor import SLOW, LocalExecutor, lane_of
from scheduler_service.models import Outcome, Reason, TaskState
from scheduler_service.stores.task_store import Rank
from tests.ledger_support import LANE, NOW, Notes, Workshop, open_ledger, queue, said
from tests.virtual_time import VirtualClock, run

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from scheduler_service.calls import Ask
    from scheduler_service.executors.base import Executor
    from scheduler_service.models import Task

    Act = Callable[[Task, Ask], Awaitable[Outcome]]

KINDS = [(LocalExecutor, LANE), (FundamentalExecutor, LANE + SLOW)]
pytestmark = pytest.mark.parametrize(("kind", "lane"), KINDS)


async def succeed(task: Task, ask: Ask) -> Outcome:
    del ask
    return said(task.symbol)


def test_every_task_ends_once_with_its_outcome(kind: type[Executor], lane: str, tmp_path: Path) -> None:
    ends: dict[str, Outcome] = {
        "DONE": said("hello"),
        "SKIP": Outcome(TaskState.SKIPPED, Reason.FRESH),
        "FAIL": Outcome(TaskState.FAILED, Reason.TIMEOUT, "slow upstream"),
    }

    async def act(task: Task, ask: Ask) -> Outcome:
        del ask
        return ends[task.symbol]

    async def story(clock: VirtualClock) -> Workshop:
        async with open_ledger(tmp_path / "ledger.sqlite") as ledger:
            await queue(ledger, *ends, lane=lane)
            shop = Workshop(ledger, clock, act, kind=kind, lanes={lane: 2})
            await clock.sleep(5)
            assert await shop.close() == 0
            assert await shop.tasks() == {"DONE": "completed", "SKIP": "skipped(fresh)", "FAIL": "failed(timeout)"}
            return shop

    shop = run(story)
    assert [len(shop.said(f"task.{end}")) for end in ("completed", "skipped", "failed")] == [1, 1, 1]
    assert shop.said("run.closed")[0].endswith("1 updated, 1 skipped, 1 failed")
    assert shop.commits == 1, "only what was said anew is to be published at once"


def test_no_more_run_at_once_than_the_lane_has_workers(kind: type[Executor], lane: str, tmp_path: Path) -> None:
    running, most = 0, 0

    async def act(task: Task, ask: Ask) -> Outcome:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.9 + int(task.symbol) / 50)
        running -= 1
        return await succeed(task, ask)

    async def story(clock: VirtualClock) -> float:
        async with open_ledger(tmp_path / "ledger.sqlite") as ledger:
            await queue(ledger, *map(str, range(12)), lane=lane)
            shop = Workshop(ledger, clock, act, kind=kind, lanes={lane: 3})
            while len(shop.said("task.completed")) < 12:
                await clock.sleep(0.1)
            await shop.close()
            return clock.monotonic()

    assert run(story) < 5, "three at a time, one after the other without a pause"
    assert most == 3


def test_it_leaves_the_tasks_of_other_lanes_alone(kind: type[Executor], lane: str, tmp_path: Path) -> None:
    async def story(clock: VirtualClock) -> dict[str, str]:
        async with open_ledger(tmp_path / "ledger.sqlite") as ledger:
            await queue(ledger, "MINE", lane=lane)
            await queue(ledger, "OTHER", lane="other")
            shop = Workshop(ledger, clock, succeed, kind=kind, lanes={lane: 2})
            await clock.sleep(30)
            await shop.close()
            return await shop.tasks()

    assert run(story) == {"MINE": "completed", "OTHER": "queued"}


def test_a_task_starts_when_it_is_due_and_not_before(kind: type[Executor], lane: str, tmp_path: Path) -> None:
    started: dict[str, int] = {}

    async def story(clock: VirtualClock) -> None:
        async def act(task: Task, ask: Ask) -> Outcome:
            started[task.symbol] = clock.now() - NOW
            return await succeed(task, ask)

        async with open_ledger(tmp_path / "ledger.sqlite") as ledger:
            await queue(ledger, "AT ONCE", lane=lane)
            await queue(ledger, "SOON", lane=lane, not_before=NOW + SECOND)
            await queue(ledger, "LATER", lane=lane, not_before=NOW + 3 * MINUTE)
            shop = Workshop(ledger, clock, act, kind=kind, lanes={lane: 2})
            await clock.sleep(200)
            await shop.close()

    run(story)
    for symbol, due in (("AT ONCE", 0), ("SOON", SECOND), ("LATER", 3 * MINUTE)):
        assert due <= started[symbol] < due + SECOND // 5, symbol


def test_the_best_rank_goes_first_whoever_came_first(kind: type[Executor], lane: str, tmp_path: Path) -> None:
    order: list[str] = []

    async def act(task: Task, ask: Ask) -> Outcome:
        order.append(task.symbol)
        return await succeed(task, ask)

    async def story(clock: VirtualClock) -> None:
        async with open_ledger(tmp_path / "ledger.sqlite") as ledger:
            for symbol, rank in (("LOW", Rank.LOW), ("NORMAL", Rank.NORMAL), ("HIGH", Rank.HIGH)):
                await queue(ledger, symbol, lane=lane, rank=rank)
            shop = Workshop(ledger, clock, act, kind=kind, lanes={lane: 1})
            await clock.sleep(5)
            await shop.close()

    run(story)
    assert order == ["HIGH", "NORMAL", "LOW"]


def test_a_held_task_gives_its_worker_back_and_comes_again(kind: type[Executor], lane: str, tmp_path: Path) -> None:
    asked: list[tuple[str, int]] = []

    async def story(clock: VirtualClock) -> Workshop:
        async def act(task: Task, ask: Ask) -> Outcome:
            asked.append((task.symbol, task.attempt))
            if task.symbol == "HELD" and clock.now() < NOW + MINUTE:
                raise Held("quiet, please", Reason.RATE_LIMITED, NOW + MINUTE)
            return await succeed(task, ask)

        async with open_ledger(tmp_path / "ledger.sqlite") as ledger:
            await queue(ledger, "HELD", "NEXT", lane=lane)
            shop = Workshop(ledger, clock, act, kind=kind, lanes={lane: 1})
            await clock.sleep(30)
            assert await shop.tasks() == {"HELD": "queued", "NEXT": "completed"}
            await clock.sleep(40)
            await shop.close()
            assert await shop.tasks() == {"HELD": "completed", "NEXT": "completed"}
            return shop

    shop = run(story)
    assert asked == [("HELD", 1), ("NEXT", 1), ("HELD", 2)]
    assert "waits: quiet, please" in shop.said("task.deferred")[0]


@pytest.mark.parametrize("gate", ["opens too late", "stays shut"])
def test_no_task_outlives_its_schedules_next_slot(kind: type[Executor], lane: str, tmp_path: Path, gate: str) -> None:
    async def story(clock: VirtualClock) -> dict[str, str]:
        async def act(task: Task, ask: Ask) -> Outcome:
            del task, ask
            wait = 2 * HOUR if gate == "opens too late" else 25 * MINUTE
            raise Held("no more today", Reason.BUDGET_EXHAUSTED, clock.now() + wait)

        async with open_ledger(tmp_path / "ledger.sqlite") as ledger:
            await queue(ledger, "A", lane=lane, expires_at=NOW + HOUR)
            shop = Workshop(ledger, clock, act, kind=kind, lanes={lane: 1})
            await clock.sleep(3600)
            await shop.close()
            return await shop.tasks()

    assert run(story) == {"A": "skipped(budget_exhausted)"}


@pytest.mark.parametrize(
    "fault",
    [ValueError("bad"), RecursionError("deep"), KeyError("x"), TimeoutError("not the deadline"), AssertionError()],
    ids=lambda fault: type(fault).__name__,
)
def test_one_tasks_fault_is_its_own(kind: type[Executor], lane: str, tmp_path: Path, fault: Exception) -> None:
    async def act(task: Task, ask: Ask) -> Outcome:
        if task.symbol == "BAD":
            raise fault
        return await succeed(task, ask)

    async def story(clock: VirtualClock) -> tuple[dict[str, str], list[str]]:
        async with open_ledger(tmp_path / "ledger.sqlite") as ledger:
            await queue(ledger, "BAD", "GOOD", lane=lane)
            shop = Workshop(ledger, clock, act, kind=kind, lanes={lane: 1})
            await clock.sleep(5)
            await shop.close()
            return await shop.tasks(), shop.said("task.failed")

    tasks, [failure] = run(story)
    assert tasks == {"BAD": "failed(internal_error)", "GOOD": "completed"}
    assert type(fault).__name__ in failure


def test_a_task_that_takes_too_long_fails_and_frees_its_worker(kind: type[Executor], lane: str, tmp_path: Path) -> None:
    async def act(task: Task, ask: Ask) -> Outcome:
        if task.symbol == "STUCK":
            await asyncio.sleep(1e6)
        return await succeed(task, ask)

    async def story(clock: VirtualClock) -> dict[str, str]:
        async with open_ledger(tmp_path / "ledger.sqlite") as ledger:
            await queue(ledger, "STUCK", "NEXT", lane=lane)
            shop = Workshop(ledger, clock, act, kind=kind, lanes={lane: 1}, deadline=300)
            await clock.sleep(310)
            await shop.close()
            return await shop.tasks()

    assert run(story) == {"STUCK": "failed(deadline)", "NEXT": "completed"}


def test_a_drain_lets_finish_what_can_and_puts_the_rest_back(kind: type[Executor], lane: str, tmp_path: Path) -> None:
    async def act(task: Task, ask: Ask) -> Outcome:
        await asyncio.sleep({"QUICK": 10, "SLOW": 1000}[task.symbol])
        return await succeed(task, ask)

    async def story(clock: VirtualClock) -> float:
        async with open_ledger(tmp_path / "ledger.sqlite") as ledger:
            await queue(ledger, "QUICK", "SLOW", lane=lane)
            await queue(ledger, "WAITING", lane=lane)
            shop = Workshop(ledger, clock, act, kind=kind, lanes={lane: 2})
            await clock.sleep(1)
            started = clock.monotonic()
            assert await shop.close(25) == 1
            assert await shop.tasks() == {"QUICK": "completed", "SLOW": "queued", "WAITING": "queued"}
            return clock.monotonic() - started

    assert 25 <= run(story) < 26


def test_the_two_kinds_share_the_lanes_without_a_gap(kind: type[Executor], lane: str, tmp_path: Path) -> None:
    del tmp_path
    notes = Notes()
    lanes = {lane_of(notes, source) for source in notes.policies}
    planned = {
        LocalExecutor: LocalExecutor.plan(lanes, 32, {LANE: 4}),
        FundamentalExecutor: FundamentalExecutor.plan(lanes, 2),
    }
    assert sorted(name for plan in planned.values() for name in plan) == sorted(lanes)
    assert planned[kind] == {lane: 4 if kind is LocalExecutor else 2}
