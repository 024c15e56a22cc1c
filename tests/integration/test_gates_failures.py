"""What goes wrong on the way: crashes, faults of every kind, a full disk, the end. See ``gates_support``."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from scheduler_service.clock import DAY, SECOND
from scheduler_service.errors import (
    ClientError,
    Held,
    ParseError,
    PermanentClientError,
    StoreError,
    TransientClientError,
)
from scheduler_service.gates.breaker import REMEMBERED_FOR
from scheduler_service.models import Reason
from scheduler_service.parsers.feed import parse_feed
from scheduler_service.parsers.submissions import parse_submissions, parse_tickers
from scheduler_service.parsers.xbrl import parse_company_facts
from scheduler_service.sandbox.faults import Fault, FaultKind
from scheduler_service.sandbox.memory import MemoryTransport
from scheduler_service.stores import call_store
from tests.integration.gates_support import (
    AAPL,
    NEVER,
    KilledOnTheWay,
    Told,
    calls,
    every,
    house,
    plain,
    response,
    sandbox,
    spent,
)
from tests.virtual_time import VirtualClock, run, run_until_killed

if TYPE_CHECKING:
    from pathlib import Path

    from scheduler_service.models import Task


# crashes


def test_it_charges_a_lost_call_shows_it_and_asks_again_once(tmp_path: Path) -> None:
    clock = VirtualClock()
    upstream = sandbox(clock)
    inner = MemoryTransport(upstream, clock)
    found: list[Task] = []

    async def life(clock: VirtualClock) -> None:
        async with house(tmp_path, clock, upstream, transport=KilledOnTheWay(inner)) as it:
            found[:] = found or await it.tasks(2)
            await every(*(it.ask(it.edgar.submissions(AAPL), task) for task in found))

    async def last(clock: VirtualClock) -> None:
        async with house(tmp_path, clock, upstream) as it:
            assert it.lost == 1
            for task in found:
                with pytest.raises(PermanentClientError, match="ended without an answer") as caught:
                    await it.ask(it.edgar.submissions(AAPL), task)
                assert caught.value.reason is Reason.LOST
            assert [call.state for call in it.calls()] == ["lost", "lost"]
            assert it.gates.by_provider["edgar"].spent_today(clock.now()).calls == it.spent() == len(it.asked) == 2
            assert (await it.ask(it.edgar.submissions(AAPL))).asked  # a task that has lost nothing

    for n in (1, 2):
        assert run_until_killed(life, hop=NEVER, clock=clock)
        assert [call.state for call in calls(tmp_path)] == ["lost"] * (n - 1) + ["reserved"]
        assert spent(tmp_path) == n
    run(last, clock=clock)


def test_it_lets_who_joined_ask_when_the_one_who_led_must_not_any_more(tmp_path: Path) -> None:
    clock = VirtualClock()
    upstream = sandbox(clock)
    found: list[Task] = []

    async def life(clock: VirtualClock) -> None:
        inner = MemoryTransport(upstream, clock)
        async with house(tmp_path, clock, upstream, transport=KilledOnTheWay(inner)) as it:
            found[:] = found or [await it.task()]
            await it.ask(it.edgar.submissions(AAPL), found[0])

    async def last(clock: VirtualClock) -> None:
        async with house(tmp_path, clock, upstream) as it:
            asks = [it.ask(it.edgar.submissions(AAPL), task) for task in (*found, *await it.tasks(2))]
            unlucky, *others = await every(*asks)
            assert unlucky.reason is Reason.LOST
            assert {other.call_id for other in others} == {"3"}

    for _ in range(2):
        run_until_killed(life, hop=NEVER, clock=clock)
    run(last, clock=clock)


@pytest.mark.parametrize("force", [False, True])
def test_it_gives_a_task_at_any_age_what_was_kept_or_confirmed_for_it_before_a_crash(
    tmp_path: Path, force: bool
) -> None:
    clock = VirtualClock()
    upstream = sandbox(clock)
    found: list[Task] = []

    async def life(clock: VirtualClock) -> None:
        async with house(tmp_path, clock, upstream) as it:
            await it.ask(it.feed())
            await clock.sleep(600)
            found.extend(await it.tasks(2, force=force))
            for resource in (it.feed(), it.edgar.submissions(AAPL)):
                await asyncio.gather(*(it.ask(resource, task) for task in found))
            asyncio.get_running_loop().die()  # type: ignore[attr-defined]
            await asyncio.Event().wait()

    async def last(clock: VirtualClock) -> None:
        async with house(tmp_path, clock, upstream) as it:
            assert it.lost == 0
            for task in found:
                for resource in (it.feed(), it.edgar.submissions(AAPL)):
                    assert not (await it.ask(resource, task)).asked
            assert [call.state for call in it.calls()] == ["kept", "unchanged", "kept"]
            await it.ledger.run(lambda conn: call_store.consume(conn, found[0].id, [], clock.now()))
            again = await it.ask(it.edgar.submissions(AAPL), found[0])
            assert again.asked is not force  # once its outcome is stored, the usual rules hold

    assert run_until_killed(life, hop=NEVER, clock=clock)
    clock.pass_by(3 * DAY)
    run(last, clock=clock)


# faults


@pytest.mark.parametrize("kind", [kind for kind in FaultKind if kind is not FaultKind.WRONG_COMPANY])
def test_it_meets_every_misbehaviour_with_a_typed_error_and_a_settled_call(tmp_path: Path, kind: FaultKind) -> None:
    seconds = 40.0 if kind is FaultKind.SLOW else 1.0
    of_json = {FaultKind.NAN, FaultKind.HUGE_INT, FaultKind.DUPLICATE_KEYS}
    readable = {
        "feeds": of_json | {FaultKind.TRUNCATED},
        "edgar": {FaultKind.DUPLICATE_KEYS},
    }  # what is left can be read

    async def story(clock: VirtualClock) -> None:
        upstream = sandbox(clock)
        upstream.faults.add(Fault(kind=kind, status=502, seconds=seconds))
        async with house(tmp_path, clock, upstream) as it:
            for resource, parse in (
                (it.edgar.tickers(), parse_tickers),
                (it.edgar.submissions(AAPL), parse_submissions),
                (it.edgar.company_facts(AAPL, "r"), lambda body: parse_company_facts(body, ())),
                (it.feed(), parse_feed),
            ):
                asking = it.gates.for_task(await it.task())(resource, parse)
                (error,) = await every(asking)
                if kind not in readable[resource.provider]:
                    assert isinstance(error, ClientError | ParseError | Held), (resource.key, error)
            assert all(call.settled and call.state in ("kept", "failed") for call in it.calls())
            assert it.spent() == len(it.calls())
            assert not it.gates._flights

    run(story)


def test_it_tries_a_broken_upstream_three_more_times_and_accounts_for_each(tmp_path: Path) -> None:
    async def story(clock: VirtualClock) -> None:
        upstream = sandbox(clock)
        upstream.faults.add(Fault(kind=FaultKind.STATUS, status=500, count=4))
        async with house(tmp_path, clock, upstream) as it:
            with pytest.raises(TransientClientError):
                await it.ask(it.edgar.submissions(AAPL))
            assert it.settled() == [("failed", Reason.PROVIDER_DOWN)] * 4
            assert {call.status for call in it.calls()} == {500}
            assert len(it.asked) == it.spent() == 4
            await clock.sleep(REMEMBERED_FOR / SECOND)
            upstream.faults.add(Fault(kind=FaultKind.RESET, count=2))
            assert (await it.ask(it.edgar.submissions(AAPL))).asked
            assert len(it.asked) == it.spent() == len(it.settled()) == 7

    run(story)


def test_it_settles_a_call_that_a_fault_in_the_program_ends(tmp_path: Path) -> None:
    async def story(clock: VirtualClock) -> None:
        told = Told(ZeroDivisionError("a fault"), response())
        async with house(tmp_path, clock, sandbox(clock), transport=told) as it:
            with pytest.raises(ZeroDivisionError):
                await it.ask(plain())
            assert it.settled() == [("failed", Reason.INTERNAL_ERROR)]
            assert (await it.ask(plain())).asked

    run(story)


def test_it_calls_an_answer_lost_that_it_cannot_keep_and_asks_again_once(tmp_path: Path) -> None:
    body = b"".join(n.to_bytes(4) for n in range(40_000))

    async def story(clock: VirtualClock) -> None:
        (tmp_path / "raw").write_text("no folder")
        told = Told(*[response(body=body)] * 3)
        async with house(tmp_path, clock, sandbox(clock), transport=told) as it:
            task = await it.task()
            for expected in (StoreError, StoreError, PermanentClientError, PermanentClientError):
                with pytest.raises(expected):
                    await it.ask(plain(), task)
            assert it.settled() == [("lost", Reason.DISK_FAILED)] * 2
            assert len(told.seen) == it.spent() == 2
            (tmp_path / "raw").unlink()
            assert (await it.ask(plain())).value == body

    run(story)


def test_it_charges_and_counts_as_lost_what_it_can_neither_keep_nor_settle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story(clock: VirtualClock) -> None:
        told = Told(response(), response(500), response(), response())
        async with house(tmp_path, clock, sandbox(clock), transport=told) as it:
            task = await it.task()

            def fails(*_: Any, **__: Any) -> None:
                raise StoreError("the disk is full")

            with monkeypatch.context() as full:
                full.setattr(call_store, "settle", fails)
                with pytest.raises(StoreError):
                    await it.ask(plain(), task)
                with pytest.raises(PermanentClientError, match="ended without an answer"):
                    await it.ask(plain(), task)  # a 500 that could not be settled, and then no third
            assert [call.state for call in it.calls()] == ["reserved"] * 2
            assert len(told.seen) == it.spent() == 2
        async with house(tmp_path, clock, sandbox(clock), transport=told) as it:
            assert it.lost == 2
            assert (await it.ask(plain())).asked

    run(story)


def test_it_charges_nothing_and_sends_nothing_when_it_cannot_reserve(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story(clock: VirtualClock) -> None:
        async with house(tmp_path, clock, sandbox(clock), edgar={"budget": {"calls_per_day": 1}}) as it:
            task = await it.task()

            def fails(*_: Any) -> None:
                raise StoreError("the disk is full")

            with monkeypatch.context() as full:
                full.setattr(call_store, "reserve", fails)
                for _ in range(5):
                    with pytest.raises(StoreError):
                        await it.ask(it.edgar.submissions(AAPL), task)
            assert (it.calls(), it.asked) == ([], [])
            assert (await it.ask(it.edgar.submissions(AAPL), task)).asked

    run(story)


# the end


def test_it_waits_at_the_end_for_what_is_in_the_air_and_gives_up_what_only_waits(tmp_path: Path) -> None:
    async def story(clock: VirtualClock) -> None:
        upstream = sandbox(clock)
        upstream.faults.add(Fault(kind=FaultKind.SLOW, seconds=3, path="/submissions"))
        upstream.faults.add(Fault(kind=FaultKind.STATUS, status=500, path="/files"))
        async with house(tmp_path, clock, upstream, edgar={"requests_per_second": 0.2}, feeds={"concurrency": 1}) as it:
            asked = [it.edgar.submissions(AAPL), it.edgar.company_facts(AAPL, "r"), it.feed()]
            asking = [asyncio.create_task(it.ask(resource)) for resource in asked]
            await clock.sleep(1)
            before = clock.now()
            await it.gates.close()
            assert clock.now() - before < 5 * SECOND
            done = await every(*asking)
            assert done[0].value
            assert isinstance(done[1], asyncio.CancelledError)
            assert {call.state for call in it.calls()} == {"kept"}

    run(story)


def test_it_cuts_off_at_the_end_what_does_not_come_home_in_time(tmp_path: Path) -> None:
    async def story(clock: VirtualClock) -> None:
        upstream = sandbox(clock)
        upstream.faults.add(Fault(kind=FaultKind.SLOW, seconds=25))
        async with house(tmp_path, clock, upstream) as it:
            asking = asyncio.create_task(it.ask(it.edgar.submissions(AAPL)))
            await clock.sleep(1)
            await it.gates.close()
            (error,) = await every(asking)
            assert isinstance(error, asyncio.CancelledError)
            assert it.settled() == [("lost", Reason.CANCELLED)]  # it had left: its answer may have been on the way
            assert it.spent() == 1

    run(story)


def test_it_does_not_try_again_once_the_end_has_begun(tmp_path: Path) -> None:
    async def story(clock: VirtualClock) -> None:
        upstream = sandbox(clock)
        upstream.faults.add(Fault(kind=FaultKind.STATUS, status=500))
        async with house(tmp_path, clock, upstream) as it:
            asking = asyncio.create_task(it.ask(it.edgar.submissions(AAPL)))
            while not it.asked:
                await clock.sleep(0.005)
            await it.gates.close()
            (error,) = await every(asking)
            assert isinstance(error, Held)
            assert len(it.settled()) == len(it.asked) == 1

    run(story)


def test_it_gives_up_at_once_at_the_end_what_waits_to_be_tried_again(tmp_path: Path) -> None:
    async def story(clock: VirtualClock) -> None:
        told = Told(response(503, retry_after="8"))
        async with house(tmp_path, clock, sandbox(clock), transport=told) as it:
            asking = asyncio.create_task(it.ask(plain()))
            await clock.sleep(1)
            before = clock.now()
            await it.gates.close()
            assert clock.now() - before < SECOND
            (error,) = await every(asking)
            assert isinstance(error, asyncio.CancelledError)

    run(story)
