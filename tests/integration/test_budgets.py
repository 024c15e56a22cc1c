"""Budgets at the gates: what is kept back for who is urgent, in every unit, across restarts and crashes."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from scheduler_service.clock import SECOND, from_iso
from scheduler_service.errors import Held
from scheduler_service.models import Reason, RunOrigin
from scheduler_service.stores import task_store
from scheduler_service.stores.schedule_store import NewRun, add_run
from scheduler_service.stores.task_store import NewTask, Rank
from tests.integration.gates_support import FAST, NEVER, KilledOnTheWay, every, house, rows, sandbox
from tests.integration.paid_support import EXPECTED, PaidUpstream, answered, paid
from tests.virtual_time import VirtualClock, run, run_until_killed

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from scheduler_service.calls import Transport
    from scheduler_service.models import Task
    from scheduler_service.stores.database import Connection
    from tests.integration.gates_support import House

MIDNIGHT, DECEMBER = from_iso("2026-11-24T00:00:00Z"), from_iso("2026-12-01T00:00:00Z")


@asynccontextmanager
async def opened(folder: Path, clock: VirtualClock, transport: Transport, **budget: Any) -> AsyncIterator[House]:
    paid_options = {**FAST, "budget": budget, "concurrency": 8}
    async with house(folder, clock, sandbox(clock), transport=transport, paid=paid_options) as it:
        yield it


async def scheduled(it: House, rank: Rank = Rank.NORMAL, origin: RunOrigin = RunOrigin.SCHEDULE) -> Task:
    """A task that no person asked for, claimed."""
    now = it.clock.now()

    def unit(conn: Connection) -> Task:
        made = add_run(conn, NewRun(origin, "news", now, ""), now)
        task_store.add_tasks(conn, made, [NewTask("S", "paid", "any", rank, now)], "", last=True, now=now)
        return task_store.claim(conn, "any", now, 1, run_id=made.id)[0]

    return await it.ledger.run(unit)


def spent(folder: Path) -> list[tuple[int, int, int]]:
    return rows(folder, "SELECT calls, usd_micros, tokens FROM spend ORDER BY day")


@pytest.mark.parametrize(
    ("rank", "origin", "urgent"),
    [
        (Rank.HIGH, RunOrigin.SCHEDULE, True),
        (Rank.NORMAL, RunOrigin.SCHEDULE, False),
        (Rank.LOW, RunOrigin.SCHEDULE, False),
        (Rank.NORMAL, RunOrigin.INITIAL, False),
        (Rank.LOW, RunOrigin.MANUAL, True),
        (Rank.LOW, RunOrigin.RETRY, True),
    ],
)
def test_people_and_high_priority_may_use_what_is_kept_back(
    tmp_path: Path, rank: Rank, origin: RunOrigin, *, urgent: bool
) -> None:
    async def story(clock: VirtualClock) -> None:
        upstream = PaidUpstream(clock)
        async with opened(tmp_path, clock, upstream, calls_per_day=5, reserve="40%") as it:
            for n in range(3):
                await it.ask(paid(str(n)), await scheduled(it))
            (result,) = await every(it.ask(paid("next"), await scheduled(it, rank, origin)))
            assert isinstance(result, Held) is not urgent
            assert len(upstream.seen) == 3 + urgent

    run(story)


def test_what_is_kept_back_is_an_event_of_its_own_when_it_is_used_up_too(tmp_path: Path) -> None:
    async def story(clock: VirtualClock) -> None:
        async with opened(tmp_path, clock, PaidUpstream(clock), calls_per_day=2, reserve="50%") as it:
            for n in range(3):
                await every(it.ask(paid(f"a{n}"), await scheduled(it)))
            for n in range(3):
                await every(it.ask(paid(f"b{n}"), await scheduled(it, Rank.HIGH)))
            told = [event.message for event in it.events if event.name == "provider.budget_exhausted"]
            assert ["but for 1 call kept" in message for message in told] == [True, False]

    run(story)


def test_who_is_urgent_asks_anew_where_the_one_it_joined_was_held(tmp_path: Path) -> None:
    async def story(clock: VirtualClock) -> None:
        upstream = PaidUpstream(clock)
        async with opened(tmp_path, clock, upstream, calls_per_day=2, reserve="50%") as it:
            await it.ask(paid("before"), await scheduled(it))
            tasks = [await scheduled(it), await scheduled(it), await scheduled(it, Rank.HIGH)]
            results = await every(*(it.ask(paid(), task) for task in tasks))
            assert [isinstance(result, Held) for result in results] == [True, True, False]
            assert len(upstream.seen) == 2

    run(story)


def test_a_force_is_no_urgency_but_its_person_is(tmp_path: Path) -> None:
    async def story(clock: VirtualClock) -> None:
        async with opened(tmp_path, clock, PaidUpstream(clock), calls_per_day=1, reserve="100%") as it:
            forced = replace(await it.task(force=True), urgent=False)
            with pytest.raises(Held, match="but for 1 call kept for people and high priority"):
                await it.ask(paid(), forced)
            assert (await it.ask(paid(), await it.task(force=True))).asked

    run(story)


@pytest.mark.parametrize(
    ("budget", "until", "fit"),
    [
        ({"tokens_per_day": 1_399}, MIDNIGHT, 1),
        ({"tokens_per_day": 1_400}, MIDNIGHT, 2),
        ({"tokens_per_month": 1_400}, DECEMBER, 2),
        ({"calls_per_month": 3}, DECEMBER, 3),
    ],
)
def test_tokens_and_months_are_reserved_at_what_is_expected_and_settled_at_what_was_said(
    tmp_path: Path, budget: dict[str, int], until: int, fit: int
) -> None:
    """500 are expected of each call, 900 it takes."""

    async def story(clock: VirtualClock) -> None:
        upstream = PaidUpstream(clock)
        async with opened(tmp_path, clock, upstream, **budget) as it:
            for n in range(fit):
                await it.ask(paid(str(n)))
            with pytest.raises(Held) as caught:
                await it.ask(paid("last"))
            assert (caught.value.reason, caught.value.until) == (Reason.BUDGET_EXHAUSTED, until)
            assert spent(tmp_path) == [(fit, fit * 1_200, fit * 900)]
        async with opened(tmp_path, clock, upstream, **budget) as it:
            with pytest.raises(Held):
                await it.ask(paid("last"))
            await clock.sleep((until - clock.now()) / SECOND)
            assert (await it.ask(paid("last"))).asked

    run(story)


def test_tokens_of_calls_under_way_count_and_are_not_forgotten_in_a_crash(tmp_path: Path) -> None:
    clock = VirtualClock()
    upstream = PaidUpstream(clock, answered(1_200))

    async def life(clock: VirtualClock) -> None:
        async with opened(tmp_path, clock, KilledOnTheWay(upstream), tokens_per_day=900) as it:
            await it.ask(paid())

    async def last(clock: VirtualClock) -> None:
        async with opened(tmp_path, clock, upstream, tokens_per_day=900) as it:
            assert spent(tmp_path) == [(1, EXPECTED.usd_micros, EXPECTED.tokens)]
            with pytest.raises(Held, match="900 tokens of today are used"):
                await it.ask(paid())

    assert run_until_killed(life, hop=NEVER, clock=clock)
    run(last, clock=clock)


def test_many_at_once_reserve_no_more_tokens_than_there_are(tmp_path: Path) -> None:
    async def story(clock: VirtualClock) -> None:
        upstream = PaidUpstream(clock, seconds=1)
        async with opened(tmp_path, clock, upstream, tokens_per_day=1_600) as it:
            tasks = await it.tasks(8)
            results = await every(*(it.ask(paid(str(n)), task) for n, task in enumerate(tasks)))
            assert sum(isinstance(result, Held) for result in results) == 5
            assert len(upstream.seen) == 3

    run(story)


def test_where_an_answer_tells_no_cost_what_was_reserved_stays(tmp_path: Path) -> None:
    async def story(clock: VirtualClock) -> None:
        upstream = PaidUpstream(clock, answered(None))
        async with opened(tmp_path, clock, upstream, tokens_per_day=10_000) as it:
            await it.ask(paid())
            assert spent(tmp_path) == [(1, EXPECTED.usd_micros, EXPECTED.tokens)]
            assert it.gates.by_provider["paid"].account.by_day["2026-11-23"].tokens == EXPECTED.tokens

    run(story)
