"""Asking whoever does not answer: less and less often, when a person wants it, and nothing told twice."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from scheduler_service.clock import DAY, HOUR, MINUTE, SECOND
from scheduler_service.errors import Held, InLine, PermanentClientError
from scheduler_service.executors.commit import commit
from scheduler_service.models import Reason
from scheduler_service.sandbox.faults import Fault, FaultKind
from scheduler_service.stores import spending, stock_state_store, task_store
from scheduler_service.stores.call_store import Spend
from scheduler_service.stores.history import recent_tasks
from tests.integration.gates_support import (
    CIKS,
    FAST,
    NEVER,
    Told,
    house,
    plain,
    response,
    sandbox,
)
from tests.integration.paid_support import PaidUpstream, paid
from tests.ledger_support import LANE, NOW, Notes, Workshop, open_ledger, queue, said
from tests.virtual_time import VirtualClock, run, run_until_killed

if TYPE_CHECKING:
    from pathlib import Path

    from sqlalchemy import Connection

    from scheduler_service.calls import Ask
    from scheduler_service.models import Event, Outcome, Task
    from tests.integration.gates_support import House


def told(it: House, name: str) -> list[Event]:
    return [event for event in it.events if event.name == name]


async def rest_of(it: House, clock: VirtualClock, name: str = "thing") -> float:
    """Seconds for which a refusal shuts the gate."""
    with pytest.raises(Held) as caught:
        await it.ask(plain(name))
    return (caught.value.until - clock.now()) / SECOND


# rests that grow


def test_who_goes_on_being_refused_is_asked_less_and_less_often_and_never_before_it_may(tmp_path: Path) -> None:
    async def story(clock: VirtualClock) -> None:
        upstream = Told(*[response(429, retry_after="60")] * 8, response(429, retry_after="7200"), response())
        rests: list[float] = []
        for _ in range(3):
            async with house(tmp_path, clock, sandbox(clock), transport=upstream, plain=FAST) as it:
                for _ in range(3):
                    rests.append(await rest_of(it, clock))
                    await clock.sleep(rests[-1])
        assert rests == pytest.approx([60, 120, 240, 480, 960, 1920, 3600, 3600, 7200], abs=2)
        async with house(tmp_path, clock, sandbox(clock), transport=upstream, plain=FAST) as it:
            assert (await it.ask(plain())).asked
            upstream.replies += [response(429, retry_after="60")]
            assert await rest_of(it, clock, "other") == pytest.approx(60, abs=2)

    run(story)


def test_an_answer_ends_the_growth_also_for_the_next_start(tmp_path: Path) -> None:
    async def story(clock: VirtualClock) -> None:
        upstream = Told(*[response(429, retry_after="60")] * 2, response(), response(429, retry_after="60"))
        async with house(tmp_path, clock, sandbox(clock), transport=upstream, plain=FAST) as it:
            for _ in range(2):
                await clock.sleep(await rest_of(it, clock))
            assert (await it.ask(plain())).asked
            [over] = told(it, "provider.answers_again")
            assert over.message == "plain is no longer refused, after 2 refusals within 3 min"
        async with house(tmp_path, clock, sandbox(clock), transport=upstream, plain=FAST) as it:
            assert await rest_of(it, clock, "other") == pytest.approx(60, abs=2)

    run(story)


def test_a_refusal_that_stands_is_said_once_and_then_summed_up_once_an_hour(tmp_path: Path) -> None:
    async def story(clock: VirtualClock) -> None:
        upstream = Told(*[response(429, retry_after="60")] * 9)
        async with house(tmp_path, clock, sandbox(clock), transport=upstream, plain=FAST) as it:
            for _ in range(9):
                await clock.sleep(await rest_of(it, clock))
            aloud = [event.message for event in told(it, "call.throttled") if event.level == "WARNING"]
            assert len(aloud) == 4, "in four hours and a half"
            assert "still refused" not in aloud[0]
            assert "still refused, 7 refusals within 63 min" in aloud[1]
            assert "still refused, 9 refusals within 3 h" in aloud[3]
            assert {event.level for event in told(it, "call.failed")} == {"DEBUG"}

    run(story)


def test_requests_that_were_under_way_together_are_one_refusal(tmp_path: Path) -> None:
    async def story(clock: VirtualClock) -> None:
        upstream = Told(*[response(429, retry_after="60")] * 5)
        async with house(tmp_path, clock, sandbox(clock), transport=upstream, plain={**FAST, "concurrency": 4}) as it:
            tasks = await it.tasks(4)
            asking = [it.ask(plain(str(n)), task) for n, task in enumerate(tasks)]
            results = await asyncio.gather(*asking, return_exceptions=True)
            assert all(isinstance(result, Held) for result in results)
            await clock.sleep(61)
            assert await rest_of(it, clock, "later") == pytest.approx(120, abs=2)

    run(story)


# a person has it tried


async def break_it(it: House) -> Fault:
    """Until the circuit of the submissions is open."""
    it.upstream.faults.add(fault := Fault(kind=FaultKind.STATUS, status=500, path="/submissions", count=None))
    for _ in range(2):
        with pytest.raises(Exception, match=r"500|keeps failing"):
            await it.ask(it.edgar.submissions(CIKS[0]))
    return fault


def test_what_keeps_failing_is_tried_by_one_request_when_a_person_says_so(tmp_path: Path) -> None:
    async def story(clock: VirtualClock) -> None:
        async with house(tmp_path, clock, sandbox(clock)) as it:
            fault = await break_it(it)
            gate, asked = it.gates.by_provider["edgar"], len(it.asked)
            assert gate.release(clock.now()) == ["edgar (submissions)"]
            with pytest.raises(Exception, match="keeps failing"):
                await it.ask(it.edgar.submissions(CIKS[0]))
            assert len(it.asked) == asked + 1, "one request, and it failed: the rest holds again"
            [standing] = gate.standings(clock.now())
            assert standing.until - clock.now() == pytest.approx(60 * SECOND, abs=2 * SECOND)
            it.upstream.faults.remove(fault)
            gate.release(clock.now())
            assert (await it.ask(it.edgar.submissions(CIKS[0]))).asked
            assert gate.standings(clock.now()) == ()

    run(story)


def test_a_person_cannot_have_tried_what_the_provider_asked_to_leave_alone(tmp_path: Path) -> None:
    async def story(clock: VirtualClock) -> None:
        upstream = Told(response(429, retry_after="600"))
        async with house(tmp_path, clock, sandbox(clock), transport=upstream) as it:
            await rest_of(it, clock)
            assert it.gates.by_provider["plain"].release(clock.now()) == []
            with pytest.raises(Held):
                await it.ask(plain())
            assert len(upstream.seen) == 1

    run(story)


def test_that_it_works_again_is_said_once_whatever_starts_anew(tmp_path: Path) -> None:
    async def story(clock: VirtualClock) -> None:
        upstream, said_ = sandbox(clock), []
        async with house(tmp_path, clock, upstream) as it:
            it.upstream.faults.remove(await break_it(it))
            await clock.sleep(31)
            await it.ask(it.edgar.submissions(CIKS[0]))
            said_ += told(it, "provider.circuit_closed")
        for n in (1, 2):
            async with house(tmp_path, clock, upstream) as it:
                await it.ask(it.edgar.submissions(CIKS[n]))
                said_ += told(it, "provider.circuit_closed")
        assert [event.message for event in said_] == ["edgar (submissions) works again"]

    run(story)


# the day's limit, and what a crash left on its way


def test_the_last_seconds_of_the_days_window_count_after_a_restart_too(tmp_path: Path) -> None:
    async def story(clock: VirtualClock) -> None:
        upstream, once = sandbox(clock), {"requests_per_day": 1}
        upstream.faults.add(Fault(kind=FaultKind.SLOW, seconds=20, count=1))
        async with house(tmp_path, clock, upstream, edgar=once) as it:
            await it.ask(it.edgar.submissions(CIKS[0]))
        [first] = [seen.at for seen in upstream.seen]
        await clock.sleep((first + DAY + 3 * SECOND - clock.now()) / SECOND)
        async with house(tmp_path, clock, upstream, edgar=once) as it:
            with pytest.raises(Held, match="at its limit") as caught:
                await it.ask(it.edgar.submissions(CIKS[1]))
            await clock.sleep((caught.value.until - clock.now()) / SECOND)
            assert (await it.ask(it.edgar.submissions(CIKS[1]))).asked
            with pytest.raises(Held):
                await it.ask(it.edgar.submissions(CIKS[2]))

    run(story)


def test_a_call_that_may_take_long_takes_up_its_place_for_as_long_after_a_crash(tmp_path: Path) -> None:
    clock = VirtualClock()
    upstream = sandbox(clock)
    slow: dict[str, Any] = {"concurrency": 1, "timeout": "90s", **FAST}
    upstream.faults.add(Fault(kind=FaultKind.SLOW, seconds=80, count=1))

    async def life(clock: VirtualClock) -> None:
        async with house(tmp_path, clock, upstream, edgar=slow) as it:
            flying = asyncio.ensure_future(it.ask(it.edgar.submissions(CIKS[0])))
            await clock.sleep(40)
            asyncio.get_running_loop().die()  # type: ignore[attr-defined]
            await flying

    async def then(clock: VirtualClock) -> None:
        async with house(tmp_path, clock, upstream, edgar=slow) as it:
            with pytest.raises(Held, match="at its limit"):
                await it.ask(it.edgar.submissions(CIKS[1]))
            assert len(upstream.seen) == 1
            await clock.sleep(65)
            assert (await it.ask(it.edgar.submissions(CIKS[1]))).asked

    assert run_until_killed(life, hop=NEVER, clock=clock)
    run(then, clock=clock)


# what failed, and may have been charged


def test_calls_that_failed_are_called_failed_and_not_lost_and_what_they_may_cost_is_told(tmp_path: Path) -> None:
    async def story(clock: VirtualClock) -> None:
        upstream = PaidUpstream(clock, *[response(500)] * 2)
        async with house(tmp_path, clock, sandbox(clock), transport=upstream) as it:
            task = await it.task()
            for _ in range(2):
                with pytest.raises(PermanentClientError) as caught:
                    await it.ask(paid(), task)
                assert caught.value.reason is Reason.PROVIDER_DOWN
            assert "2 calls of paid:thing ended in failure though they may have been charged" in str(caught.value)
            assert len(upstream.seen) == 2
            found = await it.ledger.read(lambda conn: spending.charged_though_failed(conn, clock.now()))
            assert found == {"paid": Spend(2, 40_000, 1_000)}

    run(story)


# when it was checked


async def test_what_a_kept_answer_says_is_as_old_as_that_answer(tmp_path: Path) -> None:
    async with open_ledger(tmp_path / "ledger.sqlite") as ledger:

        async def store(as_of: int, now: int) -> Any:
            await queue(ledger, "A", due_at=now, not_before=now, now=now)
            [task] = await ledger.run(lambda conn: task_store.claim(conn, LANE, now, 1))
            outcome = said("x", as_of=as_of)
            await ledger.run(lambda conn: commit(conn, task, outcome, Notes(), now))
            return await ledger.read(lambda conn: stock_state_store.get_state(conn, "A", "notes", "desk"))

        first = await store(NOW - 50 * MINUTE, NOW)
        assert (first.checked_at, first.checked_for, first.tried_at) == (NOW - 50 * MINUTE, NOW - 50 * MINUTE, NOW)
        later = await store(NOW + HOUR, NOW + HOUR)
        assert (later.checked_at, later.checked_for) == (NOW + HOUR, NOW + HOUR)
        older = await store(NOW + MINUTE, NOW + 2 * HOUR)
        assert (older.checked_at, older.checked_for) == (NOW + HOUR, NOW + HOUR), "it never goes back"


# how long a person waits


def work(tmp_path: Path, *, wait: int, kind: type[Held], every: int, held_for: int) -> tuple[dict[str, str], float]:
    """What becomes of a person's task that its gate holds, each time for ``every``; and after how many seconds."""

    async def story(clock: VirtualClock) -> tuple[dict[str, str], float]:
        opens = clock.now() + held_for

        async def act(task: Task, ask: Ask) -> Outcome:
            del task, ask
            if clock.now() < opens:
                raise kind("it is shut", Reason.PROVIDER_DOWN, clock.now() + every)
            return said("x")

        async with open_ledger(tmp_path / "ledger.sqlite") as ledger:
            started = clock.now()
            await queue(ledger, "A", expires_at=started + wait, now=started)
            shop = Workshop(ledger, clock, act)
            while {"queued", "running"} & set((await shop.tasks()).values()):
                await clock.sleep(1)
            await shop.close()
            return await shop.tasks(), (clock.now() - started) / SECOND

    return run(story)


def test_a_person_waits_for_a_shut_gate_no_longer_than_was_asked_for(tmp_path: Path) -> None:
    ended, after = work(tmp_path, wait=MINUTE, kind=Held, every=15 * SECOND, held_for=HOUR)
    assert ended == {"A": "skipped(provider_down)"}
    assert after <= 61


def test_a_person_who_wants_to_wait_longer_does(tmp_path: Path) -> None:
    ended, after = work(tmp_path, wait=10 * MINUTE, kind=Held, every=2 * MINUTE, held_for=5 * MINUTE)
    assert ended == {"A": "completed"}
    assert 300 <= after < 420


def test_a_line_that_moves_is_waited_for_whatever_it_takes(tmp_path: Path) -> None:
    ended, after = work(tmp_path, wait=MINUTE, kind=InLine, every=12 * SECOND, held_for=5 * MINUTE)
    assert ended == {"A": "completed"}
    assert after >= 300


# through the whole house


def test_what_waits_for_a_provider_that_keeps_failing_is_asked_once_a_person_says_so(tmp_path: Path) -> None:
    async def story(clock: VirtualClock) -> None:
        async with house(tmp_path, clock, sandbox(clock)) as it:
            waiting, throttled = await it.tasks(2)
            now = clock.now()
            until = now + HOUR

            def unit(conn: Connection) -> dict[int, int]:
                task_store.hold(conn, waiting, Reason.PROVIDER_DOWN, until, now)
                task_store.hold(conn, throttled, Reason.RATE_LIMITED, until, now)
                task_store.try_again(conn, ["any"], now)
                return {row.id: row.not_before for row in recent_tasks(conn, since=0)}

            assert await it.ledger.run(unit) == {waiting.id: now, throttled.id: until}

    run(story)
