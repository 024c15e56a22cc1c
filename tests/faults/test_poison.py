"""One poisonous stock among fifty: it fails by itself, and the others are fetched as if it were not there."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

import pytest

from scheduler_service.stores import task_store
from tests.ledger_support import LANE, Workshop, open_ledger, queue, said
from tests.virtual_time import VirtualClock, run, run_until_killed

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from scheduler_service.calls import Ask
    from scheduler_service.models import Outcome, Task

POISON = "S25"
STOCKS = [f"S{number:02}" for number in range(50)]
SECONDS_EACH = 0.1
DEADLINE = 300.0


async def fetched(task: Task, ask: Ask) -> Outcome:
    del ask
    await asyncio.sleep(SECONDS_EACH)
    return said(task.symbol)


@pytest.mark.parametrize("error", [RuntimeError("boom"), RecursionError(), MemoryError(), KeyError("x")], ids=repr)
def test_one_that_raises_fails_alone(tmp_path: Path, error: Exception) -> None:
    async def act(task: Task, ask: Ask) -> Outcome:
        if task.symbol == POISON:
            raise error
        return await fetched(task, ask)

    ends, took = carried_out(tmp_path, act, lanes=1)
    assert ends.pop(POISON) == "failed(internal_error)"
    assert set(ends.values()) == {"completed"}
    assert took < len(STOCKS) * SECONDS_EACH * 2


@pytest.mark.parametrize(("workers", "at_most"), [(2, 60.0), (1, DEADLINE + 60.0)])
def test_one_that_never_answers_costs_one_worker_its_deadline(tmp_path: Path, workers: int, at_most: float) -> None:
    done: dict[str, float] = {}

    async def act(task: Task, ask: Ask) -> Outcome:
        if task.symbol == POISON:
            await asyncio.Event().wait()
        outcome = await fetched(task, ask)
        done[task.symbol] = asyncio.get_running_loop().time()
        return outcome

    ends, _ = carried_out(tmp_path, act, lanes=workers)
    assert ends.pop(POISON) == "failed(deadline)"
    assert set(ends.values()) == {"completed"}
    assert max(done.values()) < at_most


@pytest.mark.parametrize("workers", [1, 4])
def test_one_that_brings_the_process_down_is_found_and_the_others_are_fetched(tmp_path: Path, workers: int) -> None:
    clock, lives = VirtualClock(), 1

    async def act(task: Task, ask: Ask) -> Outcome:
        if task.symbol == POISON:
            asyncio.get_running_loop().die()  # type: ignore[attr-defined]
            await asyncio.Event().wait()
        return await fetched(task, ask)

    async def life(clock: VirtualClock) -> None:
        async with open_ledger(tmp_path / "ledger.sqlite") as ledger:
            if lives == 1:
                await queue(ledger, *STOCKS)
            await ledger.run(partial(task_store.recover, now=clock.now()))
            shop = Workshop(ledger, clock, act, lanes={LANE: workers})
            while await ledger.read(task_store.state_counts):
                await clock.sleep(0.5)
            await shop.close()
            ends = await shop.tasks()
            assert ends.pop(POISON) == "failed(poison)"
            assert set(ends.values()) == {"completed"}

    while run_until_killed(life, hop=10**9, clock=clock, seed=lives):
        lives += 1
        assert lives < 10
    assert lives == 1 + task_store.MOST_INTERRUPTIONS


def carried_out(
    folder: Path, act: Callable[[Task, Ask], Awaitable[Outcome]], *, lanes: int
) -> tuple[dict[str, str], float]:
    """How each ended, and how long all of them took."""

    async def story(clock: VirtualClock) -> tuple[dict[str, str], float]:
        async with open_ledger(folder / "ledger.sqlite") as ledger:
            await queue(ledger, *STOCKS)
            shop = Workshop(ledger, clock, act, lanes={LANE: lanes}, deadline=DEADLINE)
            while await ledger.read(task_store.state_counts):
                await clock.sleep(0.5)
            await shop.close()
            return await shop.tasks(), clock.monotonic()

    return run(story)
