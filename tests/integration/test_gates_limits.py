"""What may be asked, and when: budget, rate, and upstreams that ask for quiet. See ``gates_support`` for the stage."""

from __future__ import annotations

import asyncio
from email.utils import format_datetime
from typing import TYPE_CHECKING, Any

import pytest

from scheduler_service.clock import DAY, HOUR, MINUTE, SECOND, from_iso, to_datetime
from scheduler_service.errors import Held, RateLimited, TransientClientError
from scheduler_service.models import Reason
from scheduler_service.sandbox.faults import Fault, FaultKind
from scheduler_service.sandbox.memory import MemoryTransport
from tests.integration.gates_support import (
    AAPL,
    CIKS,
    LATENCY,
    NEVER,
    KilledOnTheWay,
    Told,
    every,
    gaps,
    house,
    plain,
    response,
    rows,
    sandbox,
)
from tests.virtual_time import VirtualClock, run, run_until_killed

if TYPE_CHECKING:
    from pathlib import Path

    from tests.integration.gates_support import House

MIDNIGHT = from_iso("2026-11-24T00:00:00Z")
THREE_A_DAY: dict[str, Any] = {"budget": {"calls_per_day": 3}}


async def ask_all(it: House, *, rounds: int = 1) -> list[Any]:
    """Every company's submissions, by a task each, at once."""
    tasks = await it.tasks(len(CIKS) * rounds)
    asks = [it.ask(it.edgar.submissions(CIKS[n % len(CIKS)]), task) for n, task in enumerate(tasks)]
    return await every(*asks)


def held(results: list[Any]) -> list[Held]:
    return [result for result in results if isinstance(result, Held)]


# budget


def test_it_never_passes_a_budget_in_calls_however_many_ask_at_once(tmp_path: Path) -> None:
    async def story(clock: VirtualClock) -> None:
        async with house(tmp_path, clock, sandbox(clock), edgar=THREE_A_DAY | {"requests_per_second": 1.0}) as it:
            results = await ask_all(it)
            assert len(it.asked) == it.spent() == 3
            assert {(h.reason, h.until) for h in held(results)} == {(Reason.BUDGET_EXHAUSTED, MIDNIGHT)}
            assert len(held(results)) == 5

    run(story)


def test_it_counts_every_try_against_the_budget(tmp_path: Path) -> None:
    async def story(clock: VirtualClock) -> None:
        upstream = sandbox(clock)
        upstream.faults.add(Fault(kind=FaultKind.STATUS, status=500))
        async with house(tmp_path, clock, upstream, edgar=THREE_A_DAY) as it:
            with pytest.raises(Held, match="3 calls of today are used"):
                await it.ask(it.edgar.submissions(AAPL))
            assert len(it.asked) == it.spent() == 3

    run(story)


def test_it_remembers_after_a_restart_or_a_crash_what_was_spent_today(tmp_path: Path) -> None:
    clock = VirtualClock()
    upstream = sandbox(clock)

    async def life(clock: VirtualClock) -> None:
        inner = MemoryTransport(upstream, clock)
        async with house(tmp_path, clock, upstream, transport=KilledOnTheWay(inner, at=2), edgar=THREE_A_DAY) as it:
            for cik in CIKS:
                await it.ask(it.edgar.submissions(cik))

    async def later(clock: VirtualClock) -> None:
        async with house(tmp_path, clock, upstream, edgar=THREE_A_DAY) as it:
            assert len(held(await ask_all(it))) == 6  # one was kept, one is the last that may be asked
            assert len(it.asked) == it.spent() == 3
        async with house(tmp_path, clock, upstream, edgar=THREE_A_DAY) as it:
            await clock.sleep((MIDNIGHT - clock.now()) / SECOND)
            assert len(held(await ask_all(it))) == 5
            assert rows(tmp_path, "SELECT day, calls FROM spend ORDER BY day") == [("2026-11-23", 3), ("2026-11-24", 3)]

    assert run_until_killed(life, hop=NEVER, clock=clock)
    run(later, clock=clock)


@pytest.mark.parametrize("seed", range(4))
def test_it_charges_a_call_that_waits_across_midnight_to_one_day_only(tmp_path: Path, seed: int) -> None:
    async def story(clock: VirtualClock) -> None:
        options = {"requests_per_second": 1.0, "concurrency": 64}
        async with house(tmp_path, clock, sandbox(clock), edgar=options | THREE_A_DAY) as it:
            gate = it.gates.by_provider["edgar"]
            before = clock.now()
            await ask_all(it)
            assert clock.now() > MIDNIGHT
            days = rows(tmp_path, "SELECT day, calls FROM spend ORDER BY day")
            assert all(calls <= 3 for _, calls in days)
            assert [gate.spent_today(now).calls for now in (before, clock.now())] == [calls for _, calls in days]
            assert len(it.asked) == len(it.calls()) == sum(calls for _, calls in days)

    run(story, seed=seed, start=MIDNIGHT - 3 * SECOND // 2)


def test_it_gives_no_budget_twice_when_the_clock_was_wrong(tmp_path: Path) -> None:
    async def story(clock: VirtualClock) -> None:
        for restart in (False, True):
            async with house(tmp_path, clock, sandbox(clock), edgar=THREE_A_DAY) as it:
                if not restart:
                    await ask_all(it)
                    clock.jump(40 * DAY)
                    await ask_all(it)
                    clock.jump(-40 * DAY)
                assert it.gates.by_provider["edgar"].spent_today(clock.now()).calls == 3
                with pytest.raises(Held, match="3 calls of today are used"):
                    await it.ask(it.edgar.tickers())
        assert rows(tmp_path, "SELECT calls FROM spend") == [(3,), (3,)]

    run(story)


# rate


@pytest.mark.parametrize("seed", range(4))
def test_it_never_lets_two_requests_leave_closer_than_the_interval(tmp_path: Path, seed: int) -> None:
    async def story(clock: VirtualClock) -> None:
        upstream = sandbox(clock)
        upstream.faults.add(Fault(kind=FaultKind.STATUS, status=500, count=4))
        for _ in range(3):  # restarts at once
            async with house(tmp_path, clock, upstream, edgar={"requests_per_second": 4.0, "concurrency": 16}) as it:
                for _ in range(2):
                    assert not held(await ask_all(it, rounds=2))
                    await clock.sleep(MINUTE * 6 / SECOND)
                task = await it.task(force=True)
                asked = await it.ask(it.edgar.submissions(AAPL), task)
                assert asked.asked
        assert min(gaps([seen.at for seen in upstream.seen])) >= SECOND // 4

    run(story, seed=seed)


@pytest.mark.parametrize("seed", range(4))
def test_it_keeps_the_interval_across_a_crash_with_requests_in_the_air(tmp_path: Path, seed: int) -> None:
    clock = VirtualClock()
    upstream = sandbox(clock)

    async def life(clock: VirtualClock) -> None:
        inner = MemoryTransport(upstream, clock)
        async with house(
            tmp_path,
            clock,
            upstream,
            transport=KilledOnTheWay(inner, at=2),
            edgar={"requests_per_second": 2.0, "concurrency": 16},
        ) as it:
            await ask_all(it)

    for n in range(4):
        assert run_until_killed(life, hop=NEVER, clock=clock, seed=10 * seed + n)
    assert len(upstream.seen) == 8
    assert min(gaps([seen.at for seen in upstream.seen])) >= SECOND // 2


def test_it_spaces_out_those_who_wake_up_late_together(tmp_path: Path) -> None:
    async def story(clock: VirtualClock) -> None:
        upstream = sandbox(clock)
        async with house(tmp_path, clock, upstream, edgar={"requests_per_second": 2.0, "concurrency": 16}) as it:
            asking = asyncio.create_task(ask_all(it))
            await clock.sleep(0.1)
            clock.pass_by(2 * SECOND)  # the process was stopped
            assert not held(await asking)
            assert min(gaps([seen.at for seen in upstream.seen])) >= SECOND // 2

    run(story)


def test_it_holds_who_would_wait_in_line_for_longer_than_ten_seconds(tmp_path: Path) -> None:
    async def story(clock: VirtualClock) -> None:
        async with house(tmp_path, clock, sandbox(clock), edgar={"requests_per_minute": 15, "concurrency": 16}) as it:
            started = clock.now()
            results = await ask_all(it)
            assert clock.now() - started < 10 * SECOND
            assert {h.reason for h in held(results)} == {Reason.RATE_LIMITED}
            assert {(h.until - started) // SECOND for h in held(results)} == {12}
            assert len(it.asked) == it.spent() == 3

    run(story)


def test_it_forgets_a_rate_that_a_wrong_clock_set(tmp_path: Path) -> None:
    async def story(clock: VirtualClock) -> None:
        upstream = sandbox(clock)
        async with house(tmp_path, clock, upstream, edgar={"requests_per_second": 1.0}) as it:
            clock.jump(30 * DAY)
            await it.ask(it.edgar.tickers())
            clock.jump(-30 * DAY)
            assert not held(await ask_all(it))
        async with house(tmp_path, clock, upstream, edgar={"requests_per_second": 1.0}) as it:
            assert (await it.ask(it.edgar.company_facts(AAPL, "r"))).asked

    run(story)


# quiet


def dated(after: int) -> str:
    return format_datetime(to_datetime(from_iso("2026-11-23T14:30:00Z") + after), usegmt=True)


@pytest.mark.parametrize(
    ("wish", "least"),
    [
        ("120", 2 * MINUTE),
        (dated(30 * MINUTE), 30 * MINUTE - SECOND),
        ("315360000", HOUR),
        ("-5", HOUR),
        (dated(-DAY), HOUR),
        ("soon, please", HOUR),
        (None, MINUTE),
    ],
)
def test_it_leaves_an_upstream_alone_until_it_may_come_back_also_after_a_restart(
    tmp_path: Path, wish: str | None, least: int
) -> None:
    async def story(clock: VirtualClock) -> None:
        told = Told(response(429, retry_after=wish), response())
        async with house(tmp_path, clock, sandbox(clock), transport=told) as it:
            results = await every(*[it.ask(plain(), task) for task in await it.tasks(3)])
            assert {h.reason for h in held(results)} == {Reason.RATE_LIMITED}
            (until,) = {h.until for h in held(results)}
            assert 0 <= until - clock.now() - least + 5 * SECOND <= 10 * SECOND
            assert it.settled() == [("failed", Reason.RATE_LIMITED)]
        for _ in range(2):
            async with house(tmp_path, clock, sandbox(clock), transport=told) as it:
                for force in (False, True):  # a person's force does not open it either
                    with pytest.raises(Held) as caught:
                        await it.ask(plain("other"), await it.task(force=force))
                    assert caught.value.until == until
                await clock.sleep((until - clock.now()) / SECOND - 20)
        async with house(tmp_path, clock, sandbox(clock), transport=told) as it:
            assert len(told.seen) == it.spent() == 1
            await clock.sleep((until - clock.now()) / SECOND)
            assert (await it.ask(plain())).asked

    run(story)


def test_it_leaves_the_other_providers_open(tmp_path: Path) -> None:
    async def story(clock: VirtualClock) -> None:
        upstream = sandbox(clock)
        upstream.faults.add(Fault(kind=FaultKind.THRESHOLD, count=1))
        async with house(tmp_path, clock, upstream) as it:
            with pytest.raises(Held):
                await it.ask(it.edgar.tickers())
            assert (await it.ask(it.feed())).asked

    run(story)


@pytest.mark.parametrize("status", [429, 503])
def test_it_waits_in_place_for_a_short_while_everyone_with_it(tmp_path: Path, status: int) -> None:
    async def story(clock: VirtualClock) -> None:
        upstream = sandbox(clock)
        upstream.faults.add(Fault(kind=FaultKind.STATUS, status=status, retry_after="7", count=1, path="/feeds/AAPL"))
        async with house(tmp_path, clock, upstream) as it:
            asking = asyncio.create_task(it.ask(it.feed("AAPL")))
            await clock.sleep(0.2)
            assert (await it.ask(it.feed("NVDA"))).asked
            assert (await asking).asked
            first, *others = [seen.at for seen in upstream.seen]
            assert len(others) == 2
            assert min(others) - first >= 7 * SECOND + LATENCY * SECOND

    run(story)


def test_it_stops_a_request_whose_reservation_was_under_way_when_the_upstream_asked_for_quiet(tmp_path: Path) -> None:
    async def story(clock: VirtualClock) -> None:
        told = Told(response(429, retry_after="60"), response())
        async with house(tmp_path, clock, sandbox(clock), transport=told) as it:
            first, second = await it.tasks(2)
            asking = asyncio.create_task(it.ask(plain("first"), first))
            while not told.seen:
                await clock.sleep(0.001)
            door = it.gates.by_provider["plain"].doors[""]
            commit = it.ledger.run

            async def slowly(unit: Any) -> Any:
                done = await commit(unit)
                await clock.sleep(0.2 if door.closed is None else 0)
                return done

            it.ledger.run = slowly  # type: ignore[method-assign]
            results = await every(asking, it.ask(plain("second"), second))
            assert [type(result) for result in results] == [Held, Held]
            assert len(told.seen) == 1
            assert it.settled() == [("failed", Reason.RATE_LIMITED)] * 2
            assert it.spent() == 2

    run(story)


def test_it_remembers_the_longer_of_two_wishes(tmp_path: Path) -> None:
    async def story(clock: VirtualClock) -> None:
        told = Told(response(429, retry_after="3600"), response(429, retry_after="20"))
        async with house(tmp_path, clock, sandbox(clock), transport=told) as it:
            asks = [it.ask(plain(str(n)), task) for n, task in enumerate(await it.tasks(2))]
            results = await every(*asks)
            assert [type(result) for result in results] == [Held, Held]
            longest = max(h.until for h in held(results))
        async with house(tmp_path, clock, sandbox(clock), transport=told) as it:
            with pytest.raises(Held) as caught:
                await it.ask(plain())
            assert caught.value.until == longest > clock.now() + 59 * MINUTE

    run(story)


def test_it_fails_the_task_in_the_end_when_short_waits_do_not_help(tmp_path: Path) -> None:
    async def story(clock: VirtualClock) -> None:
        told = Told(*[response(429, retry_after="1")] * 4)
        async with house(tmp_path, clock, sandbox(clock), transport=told) as it:
            with pytest.raises(RateLimited):
                await it.ask(plain())
            assert len(told.seen) == it.spent() == 4

    run(story)


def test_it_forgets_a_wish_that_a_wrong_clock_noted(tmp_path: Path) -> None:
    async def story(clock: VirtualClock) -> None:
        told = Told(response(429, retry_after="3600"), response(), response())
        async with house(tmp_path, clock, sandbox(clock), transport=told) as it:
            clock.jump(30 * DAY)
            with pytest.raises(Held):
                await it.ask(plain())
            clock.jump(-30 * DAY)
            assert (await it.ask(plain())).asked
        async with house(tmp_path, clock, sandbox(clock), transport=told) as it:
            assert (await it.ask(plain("other"))).asked

    run(story)


def test_it_asks_no_more_at_once_than_the_provider_bears(tmp_path: Path) -> None:
    async def story(clock: VirtualClock) -> None:
        most = 0

        class Counting(Told):
            async def send(self, *asked: Any) -> Any:
                nonlocal most
                self.flying += 1
                most = max(most, self.flying)
                try:
                    return await super().send(*asked)
                finally:
                    self.flying -= 1

            flying = 0

        told = Counting(TransientClientError("cut", Reason.PROVIDER_DOWN), *[response()] * 20)
        async with house(tmp_path, clock, sandbox(clock), transport=told, plain={"concurrency": 3}) as it:
            await asyncio.gather(*(it.ask(plain(str(n)), task) for n, task in enumerate(await it.tasks(20))))
            assert most == 3

    run(story)
