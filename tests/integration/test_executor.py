"""The executor's corners: drains and crashes at any moment, a ledger that fails, faults where none are expected."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any, cast

import pytest
from sqlalchemy import select

from scheduler_service.clock import HOUR, MINUTE
from scheduler_service.errors import CircuitOpen, Held, StoreError
from scheduler_service.executors.base import HOLD_AFTER_FAILURE
from scheduler_service.executors.waking import Scouts, Waker
from scheduler_service.models import Contribution, Event, Outcome, Reason, RunOrigin, Task
from scheduler_service.stores import document_store, schedule_store, task_store
from scheduler_service.stores.schema import task as task_table
from scheduler_service.stores.task_store import Rank
from tests.ledger_support import LANE, NOW, Diary, NoteData, Notes, Workshop, open_ledger, queue, said
from tests.virtual_time import VirtualClock, VirtualLoop, run, run_until_killed

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from scheduler_service.calls import Ask
    from scheduler_service.stores.database import Connection, Ledger

BACKLOG = [f"S{number}" for number in range(8)]


async def succeed(task: Task, ask: Ask) -> Outcome:
    del ask
    return said(task.symbol)


async def take_a_moment(task: Task, ask: Ask) -> Outcome:
    await asyncio.sleep(0.004)
    return await succeed(task, ask)


def interrupted(conn: Connection) -> set[int]:
    return set(conn.scalars(select(task_table.c.interrupted)))


def documents(conn: Connection) -> set[str]:
    return {row.symbol for row in document_store.documents(conn)}


class Failing:
    """Makes a ledger refuse to write while it is on."""

    def __init__(self, ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
        self.on = False
        self.refused = 0
        self._real = ledger.run
        monkeypatch.setattr(ledger, "run", self.run)

    async def run(self, unit: Any) -> Any:
        if self.on:
            self.refused += 1
            raise StoreError("the ledger could not be written: database or disk is full")
        return await self._real(unit)


@pytest.mark.parametrize("seconds", [0, 0.003])
@pytest.mark.parametrize("moment", range(24))
def test_a_drain_at_any_moment_forgets_no_task(tmp_path: Path, moment: int, seconds: float) -> None:
    async def story(clock: VirtualClock) -> None:
        async with open_ledger(tmp_path / "ledger.sqlite") as ledger:
            await queue(ledger, *BACKLOG)
            shop = Workshop(ledger, clock, take_a_moment, lanes={LANE: 3})
            await clock.sleep(0.001 * moment)
            await shop.close(seconds)
            tasks = await shop.tasks()
            assert set(tasks.values()) <= {"queued", "completed"}
            assert await ledger.read(documents) == {symbol for symbol, end in tasks.items() if end == "completed"}
            await ledger.run(partial(task_store.recover, now=clock.now()))
            assert await ledger.read(interrupted) == {0}, "a drained task is no suspect"

    run(story, seed=moment)


def test_of_those_that_wait_for_what_keeps_failing_one_comes_back_until_it_works_again(tmp_path: Path) -> None:
    looks: list[tuple[int, str]] = []

    async def story(clock: VirtualClock) -> None:
        began, works = clock.now(), False

        async def act(task: Task, ask: Ask) -> Outcome:
            if works:
                return await succeed(task, ask)
            now = clock.now()
            looks.append(((now - began) // MINUTE, task.symbol))
            until = began + ((now - began) // MINUTE + 1) * MINUTE
            raise CircuitOpen("down", Reason.PROVIDER_DOWN, until, circuit="it", at_the_latest=until + 10 * MINUTE)

        async with open_ledger(tmp_path / "ledger.sqlite") as ledger:
            await queue(ledger, *BACKLOG, origin=RunOrigin.INITIAL)
            shop = Workshop(ledger, clock, act, lanes={LANE: 3})
            waker = Waker(ledger=ledger, clock=clock, lanes_of=lambda name: (name,), notify=shop.executor.notify)
            waking = asyncio.create_task(waker.wake_forever())
            await clock.sleep(5 * 60 + 30)
            first, *later = (sorted(symbol for at, symbol in looks if at == minute) for minute in range(6))
            assert first == sorted(BACKLOG)
            assert [len(symbols) for symbols in later] == [1] * 5
            works = True
            waker.works_again(Event("provider.circuit_closed", "it works again", {"provider": LANE}))
            await clock.sleep(6)
            assert set((await shop.tasks()).values()) == {"completed"}
            waking.cancel()
            await shop.close(1)

    run(story)


def test_who_stood_back_comes_by_itself_too_and_a_person_never_stands_back(tmp_path: Path) -> None:
    held = CircuitOpen("down", Reason.PROVIDER_DOWN, NOW + MINUTE, circuit="it", at_the_latest=NOW + 11 * MINUTE)
    tried = CircuitOpen(
        "down", Reason.PROVIDER_DOWN, NOW + 1, circuit="it", at_the_latest=NOW + 10 * MINUTE, is_tried=True
    )
    scouts, task = Scouts(), a_task()
    assert scouts.comes_back(task, tried) == NOW + 10 * MINUTE, "one is on its way"
    assert [scouts.comes_back(task, held) for _ in range(3)] == [NOW + n * MINUTE for n in (1, 11, 11)]
    assert scouts.comes_back(replace(task, expires_at=NOW + 5 * MINUTE), held) == NOW + 5 * MINUTE
    assert scouts.comes_back(replace(task, origin=RunOrigin.MANUAL), held) == NOW + MINUTE
    assert scouts.comes_back(task, Held("wait", Reason.RATE_LIMITED, NOW + 7)) == NOW + 7


def a_task() -> Task:
    return Task(1, 1, "news", RunOrigin.SCHEDULE, "notes", "A", "desk", NOW, 1, 0)


def test_a_second_drain_hastens_the_first(tmp_path: Path) -> None:
    async def act(task: Task, ask: Ask) -> Outcome:
        await asyncio.sleep(1000)
        return await succeed(task, ask)

    async def story(clock: VirtualClock) -> float:
        async with open_ledger(tmp_path / "ledger.sqlite") as ledger:
            await queue(ledger, "A", "B")
            shop = Workshop(ledger, clock, act)
            await clock.sleep(1)
            patient = asyncio.create_task(shop.close(25))
            await clock.sleep(1)
            assert await shop.executor.drain(0) == 2
            assert await patient == 0
            assert await shop.tasks() == {"A": "queued", "B": "queued"}
            return clock.monotonic()

    assert run(story) < 3


@pytest.mark.parametrize("hop", range(2, 22))
def test_a_kill_at_any_moment_ends_every_task_once_and_loses_no_document(tmp_path: Path, hop: int) -> None:
    ends: list[int] = []

    async def life(clock: VirtualClock) -> None:
        async with open_ledger(tmp_path / "ledger.sqlite") as ledger:
            if not await ledger.read(interrupted):
                await queue(ledger, *BACKLOG[:4])
            await ledger.run(partial(task_store.recover, now=clock.now()))
            shop = Workshop(ledger, clock, take_a_moment, lanes={LANE: 3})
            while {"queued", "running"} & set((await shop.tasks()).values()):
                await clock.sleep(0.01)
            await shop.close()
            assert set((await shop.tasks()).values()) == {"completed"}
            assert await ledger.read(documents) == set(BACKLOG[:4])
            ends.append((await ledger.read(partial(schedule_store.get_run, run_id=1))).completed)

    clock = VirtualClock()
    if run_until_killed(life, hop=hop, clock=clock, seed=hop):
        run(life, clock=clock, seed=hop + 1)
    assert set(ends) == {4}


def test_suspects_of_two_executors_run_one_at_a_time_and_the_lanes_rest_meanwhile(tmp_path: Path) -> None:
    running: list[int] = []

    async def act(task: Task, ask: Ask) -> Outcome:
        running.append(task.interrupted)
        assert sum(running) <= 1, "two suspects at once"
        await asyncio.sleep(60)
        running.remove(task.interrupted)
        return await succeed(task, ask)

    async def story(clock: VirtualClock) -> dict[str, str]:
        async with open_ledger(tmp_path / "ledger.sqlite") as ledger:
            await queue(ledger, "A", "B")
            await queue(ledger, "C", lane="other")
            for lane in (LANE, "other"):
                await ledger.run(partial(task_store.claim, lane=lane, now=NOW, most=5))
            await ledger.run(partial(task_store.recover, now=NOW))
            shop = Workshop(ledger, clock, act)
            other = Workshop(ledger, clock, act, lanes={"other": 2})
            await clock.sleep(5)
            loop = cast("VirtualLoop", asyncio.get_running_loop())
            hops = loop.hops
            await clock.sleep(50)
            assert loop.hops - hops < 60, "a lane must not ask again and again for what it may not take"
            await clock.sleep(160)
            await shop.close()
            await other.close()
            return await shop.tasks()

    assert run(story) == {"A": "completed", "B": "completed", "C": "completed"}


def test_the_next_suspect_starts_as_soon_as_the_last_has_ended_in_whichever_lane(tmp_path: Path) -> None:
    started: dict[str, float] = {}

    async def story(clock: VirtualClock) -> None:
        async def act(task: Task, ask: Ask) -> Outcome:
            started[task.symbol] = clock.monotonic()
            await asyncio.sleep(1)
            return await succeed(task, ask)

        async with open_ledger(tmp_path / "ledger.sqlite") as ledger:
            for lane in (LANE, "other"):
                await queue(ledger, lane, lane=lane)
                await ledger.run(partial(task_store.claim, lane=lane, now=NOW, most=5))
            await ledger.run(partial(task_store.recover, now=NOW))
            shop = Workshop(ledger, clock, act, lanes={LANE: 1, "other": 1})
            await clock.sleep(10)
            await shop.close()

    run(story)
    assert 1 < abs(started[LANE] - started["other"]) < 1.1


@pytest.mark.parametrize("what", ["done", "held"])
def test_while_the_disk_is_full_it_keeps_the_outcome_asks_nothing_and_stores_it_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    asked: list[str] = []

    async def story(clock: VirtualClock) -> Workshop:
        async with open_ledger(tmp_path / "ledger.sqlite") as ledger:
            failing = Failing(ledger, monkeypatch)

            async def act(task: Task, ask: Ask) -> Outcome:
                failing.on = task.attempt == 1
                asked.append(task.symbol)
                if what == "held" and task.attempt == 1:
                    raise Held("quiet", Reason.RATE_LIMITED, NOW + MINUTE)
                return await succeed(task, ask)

            await queue(ledger, "A", "B")
            shop = Workshop(ledger, clock, act)
            await clock.sleep(3 * 3600)
            assert failing.refused > 2000
            assert await shop.tasks() == {"A": "running", "B": "running"}
            assert asked == ["A", "B"]
            failing.on = False
            await clock.sleep(10)
            assert await shop.close() == 0
            assert await shop.tasks() == {"A": "completed", "B": "completed"}
            return shop

    shop = run(story)
    assert len(shop.said("ledger.failed")) == 2, "once a task, not once a try"
    assert asked == (["A", "B"] if what == "done" else ["A", "B", "A", "B"])


def test_a_lane_that_cannot_claim_says_so_once_and_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def story(clock: VirtualClock) -> Workshop:
        async with open_ledger(tmp_path / "ledger.sqlite") as ledger:
            await queue(ledger, "A")
            failing = Failing(ledger, monkeypatch)
            failing.on = True
            shop = Workshop(ledger, clock, succeed)
            await clock.sleep(60)
            failing.on = False
            await clock.sleep(2.1)
            assert await shop.tasks() == {"A": "completed"}
            await shop.close()
            return shop

    assert len(run(story).said("ledger.failed")) == 1


def test_an_answer_that_cannot_be_kept_is_not_asked_for_again_at_once(tmp_path: Path) -> None:
    asked: list[int] = []

    async def story(clock: VirtualClock) -> Workshop:
        async def act(task: Task, ask: Ask) -> Outcome:
            asked.append(clock.now() - NOW)
            if len(asked) < 4:
                raise StoreError("the answer of call 1 could not be kept: No space left on device")
            return await succeed(task, ask)

        async with open_ledger(tmp_path / "ledger.sqlite") as ledger:
            await queue(ledger, "A")
            shop = Workshop(ledger, clock, act)
            await clock.sleep(1)
            row = await ledger.read(lambda conn: conn.execute(select(task_table)).one())
            assert (row.state, row.held_reason) == ("queued", "disk_failed")
            await clock.sleep(120)
            await shop.close()
            assert await shop.tasks() == {"A": "completed"}
            return shop

    run(story)
    assert all(later - earlier >= HOLD_AFTER_FAILURE for earlier, later in pairwise(asked))


class Broken(Notes):
    """A domain whose merge has a fault for one stock."""

    def merge(self, contributions: Sequence[Contribution[NoteData]]) -> NoteData:
        if any("BAD" in said.data.words for said in contributions):
            raise ZeroDivisionError("in the merge")
        return super().merge(contributions)


def test_a_fault_in_a_merge_fails_its_task_and_nothing_else(tmp_path: Path) -> None:
    async def story(clock: VirtualClock) -> Workshop:
        async with open_ledger(tmp_path / "ledger.sqlite") as ledger:
            await queue(ledger, "BAD", "GOOD", "BETTER")
            shop = Workshop(ledger, clock, succeed, processor=Broken())
            await clock.sleep(5)
            assert await shop.close() == 0
            assert await shop.tasks() == {
                "BAD": "failed(internal_error)",
                "GOOD": "completed",
                "BETTER": "completed",
            }
            assert await ledger.read(documents) == {"GOOD", "BETTER"}
            return shop

    shop = run(story)
    assert "ZeroDivisionError: in the merge" in shop.said("task.failed")[0]
    assert len(shop.said("run.closed")) == 1


def test_something_cancelled_inside_a_task_is_a_fault_of_that_task(tmp_path: Path) -> None:
    async def act(task: Task, ask: Ask) -> Outcome:
        if task.symbol == "BAD":
            never = asyncio.get_running_loop().create_future()
            never.cancel()
            await never
        return await succeed(task, ask)

    async def story(clock: VirtualClock) -> dict[str, str]:
        async with open_ledger(tmp_path / "ledger.sqlite") as ledger:
            await queue(ledger, "BAD", "GOOD")
            shop = Workshop(ledger, clock, act)
            await clock.sleep(5)
            await shop.close()
            return await shop.tasks()

    assert run(story) == {"BAD": "failed(internal_error)", "GOOD": "completed"}


def test_a_held_task_whose_lane_was_busy_past_the_next_slot_ends_with_what_held_it(tmp_path: Path) -> None:
    async def story(clock: VirtualClock) -> dict[str, str]:
        async def act(task: Task, ask: Ask) -> Outcome:
            if task.symbol == "HELD":
                raise Held("quiet", Reason.RATE_LIMITED, NOW + MINUTE)
            await asyncio.sleep(2 * 3600)
            return await succeed(task, ask)

        async with open_ledger(tmp_path / "ledger.sqlite") as ledger:
            await queue(ledger, "HELD", expires_at=NOW + HOUR)
            shop = Workshop(ledger, clock, act, lanes={LANE: 1}, deadline=1e9)
            await clock.sleep(10)
            await queue(ledger, "LONG")
            await clock.sleep(3 * 3600)
            await shop.close()
            return await shop.tasks()

    assert run(story) == {"HELD": "skipped(rate_limited)", "LONG": "completed"}


def test_a_task_taken_over_by_another_stores_nothing(tmp_path: Path) -> None:
    async def act(task: Task, ask: Ask) -> Outcome:
        await asyncio.sleep(10)
        return await succeed(task, ask)

    async def story(clock: VirtualClock) -> Workshop:
        async with open_ledger(tmp_path / "ledger.sqlite") as ledger:
            await queue(ledger, "A")
            shop = Workshop(ledger, clock, act)
            await clock.sleep(1)
            await ledger.run(partial(task_store.recover, now=clock.now()))
            await ledger.run(partial(task_store.claim, lane=LANE, now=clock.now(), most=1))
            await clock.sleep(20)
            assert await shop.close() == 0
            assert await ledger.read(documents) == set()
            assert await shop.tasks() == {"A": "running"}
            return shop

    assert run(story).said("task.fenced") == ["task 1: attempt 1 has been superseded"]


def test_a_source_that_is_no_longer_configured_is_said_to_be_off(tmp_path: Path) -> None:
    async def story(clock: VirtualClock) -> dict[str, str]:
        async with open_ledger(tmp_path / "ledger.sqlite") as ledger:
            await queue(ledger, "A", sources=["gone"])
            await queue(ledger, "B", domain="gone")
            shop = Workshop(ledger, clock, succeed)
            await clock.sleep(5)
            await shop.close()
            return await shop.tasks()

    assert run(story) == {"A": "skipped(provider_off)", "B": "skipped(provider_off)"}


def test_it_can_carry_out_one_run_alone(tmp_path: Path) -> None:
    async def story(clock: VirtualClock) -> dict[str, str]:
        async with open_ledger(tmp_path / "ledger.sqlite") as ledger:
            await queue(ledger, "OTHER")
            mine = await queue(ledger, "MINE")
            shop = Workshop(ledger, clock, succeed, run_id=mine.id)
            await clock.sleep(20)
            await shop.close()
            return await shop.tasks()

    assert run(story) == {"OTHER": "queued", "MINE": "completed"}


@pytest.mark.parametrize("seed", range(6))
def test_the_documents_do_not_depend_on_who_finishes_first(tmp_path: Path, seed: int) -> None:
    async def act(task: Task, ask: Ask) -> Outcome:
        order = task.run_id
        await asyncio.sleep((order * 7919 + seed * 104729) % 13 / 100)
        return said(f"word {order}", as_of=NOW - order)

    async def story(clock: VirtualClock) -> bytes:
        async with open_ledger(tmp_path / "ledger.sqlite") as ledger:
            for _ in range(6):
                await queue(ledger, "A")
            shop = Workshop(ledger, clock, act, lanes={LANE: 6}, processor=Diary())
            await clock.sleep(2)
            await shop.close()
            [row] = await ledger.read(document_store.documents)
            return row.data

    expected = NoteData(words=tuple(f"word {number}" for number in range(1, 7)))
    assert NoteData.model_validate_json(run(story, seed=seed)).words == expected.words


def test_a_worker_that_dies_all_the_same_is_told_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError("unexpected")

    async def story(clock: VirtualClock) -> list[str]:
        async with open_ledger(tmp_path / "ledger.sqlite") as ledger:
            await queue(ledger, "A")
            monkeypatch.setattr(task_store, "end", fail)
            shop = Workshop(ledger, clock, succeed)
            await clock.sleep(5)
            await shop.close()
            assert await shop.tasks() == {"A": "running"}
            return shop.said("task.crashed")

    assert run(story) == ["task 1 is left as it is until the next start: OSError: unexpected"]


def test_high_ranks_go_first_and_low_ones_do_not_starve(tmp_path: Path) -> None:
    started: list[str] = []

    async def act(task: Task, ask: Ask) -> Outcome:
        started.append(task.symbol[0])
        return await take_a_moment(task, ask)

    async def story(clock: VirtualClock) -> None:
        async with open_ledger(tmp_path / "ledger.sqlite") as ledger:
            for rank in (Rank.LOW, Rank.NORMAL, Rank.HIGH):
                await queue(ledger, *[f"{rank.name}{number}" for number in range(60)], rank=rank)
            shop = Workshop(ledger, clock, act, lanes={LANE: 1})
            await clock.sleep(10)
            await shop.close(25)

    run(story)
    assert len(started) == 180
    assert started[0] == "H"
    assert [started[:60].count(rank) for rank in "HNL"] == [40, 15, 5]


def test_a_running_task_that_is_called_off_ends_as_cancelled_and_the_others_go_on(tmp_path: Path) -> None:
    async def story(clock: VirtualClock) -> None:
        async def act(task: Task, ask: Ask) -> Outcome:
            await asyncio.sleep(5 if task.symbol == "SLOW" else 0.01)
            return await succeed(task, ask)

        async with open_ledger(tmp_path / "ledger.sqlite") as ledger:
            await queue(ledger, "SLOW", "QUICK")
            shop = Workshop(ledger, clock, act)
            await clock.sleep(1)
            await shop.executor.call_off(1)
            await shop.executor.call_off(2)
            await shop.executor.call_off(999)
            assert await shop.tasks() == {"SLOW": "skipped(cancelled)", "QUICK": "completed"}
            assert await ledger.read(interrupted) == {0}
            (closed,) = shop.said("run.closed")
            assert closed.endswith("1 updated, 1 skipped")
            await shop.close()

    run(story)


@pytest.mark.parametrize("moment", range(20))
def test_called_off_at_any_moment_a_task_ends_once(tmp_path: Path, moment: int) -> None:
    async def story(clock: VirtualClock) -> None:
        async with open_ledger(tmp_path / "ledger.sqlite") as ledger:
            await queue(ledger, "ONE")
            shop = Workshop(ledger, clock, take_a_moment)
            await clock.sleep(0.001 * moment)
            await shop.executor.call_off(1)
            await clock.sleep(1)
            assert (await shop.tasks())["ONE"] in ("skipped(cancelled)", "completed")
            counts = await ledger.read(partial(schedule_store.get_run, run_id=1))
            assert (counts.open_tasks, counts.completed + counts.skipped) == (0, 1)
            await shop.close()

    run(story, seed=moment)
