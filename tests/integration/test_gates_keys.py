"""Keys: which one is shown to whom, what becomes of it when it is not welcome, and that nobody else learns of it."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

from scheduler_service.calls import Request
from scheduler_service.clock import DAY, HOUR, MINUTE, SECOND
from scheduler_service.errors import Held, PermanentClientError, Refused, TransientClientError
from scheduler_service.gates.keys import REFUSED_FOR, KeyState
from scheduler_service.models import Contribution, Kind, Outcome, Reason, Record, StockState, Symbol, TaskState
from scheduler_service.processors.base import Processor, SourcePolicy
from scheduler_service.stores import task_store
from tests.integration.gates_support import every, house, plain, response, rows, sandbox, whole
from tests.integration.paid_support import PAID_AT, PRIMARY, SPARE, THIRD, PaidUpstream, answered, keys, paid
from tests.virtual_time import VirtualClock, run

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from scheduler_service.calls import Ask
    from scheduler_service.models import Event, Task
    from tests.integration.gates_support import House


def opened(
    folder: Path, clock: VirtualClock, upstream: PaidUpstream, *secrets: str, **more: Any
) -> AbstractAsyncContextManager[House]:
    options = keys(*(secrets or (PRIMARY, SPARE))) | more
    return house(folder, clock, sandbox(clock), transport=upstream, paid=options)


def told(events: Sequence[Event], name: str) -> list[Event]:
    return [event for event in events if event.name == name]


def standings(it: House) -> list[str]:
    pool = it.gates.by_provider["paid"].keys
    assert pool is not None
    return [standing.state.value for standing in pool.standings(it.clock.now())]


async def held(it: House, name: str = "thing", *, force: bool = False) -> Held:
    with pytest.raises(Held) as caught:
        await it.ask(paid(name), await it.task(force=force))
    return caught.value


class Opinion:
    """A source that asks the paid provider."""

    name: ClassVar[str] = "opinion"
    provider: ClassVar[str] = "paid"
    kind: ClassVar[Kind] = Kind.MODEL
    slow: ClassVar[bool] = True

    def __init__(self, client: object) -> None:
        del client

    async def collect(self, ask: Ask, state: StockState, symbol: Symbol) -> Contribution[Record]:
        del state
        await ask(paid(symbol.symbol), whole)
        return Contribution(self.name, self.kind, Record())


class Opinions(Processor[Record]):
    domain = "opinions"
    record = Record
    sources = (Opinion,)

    def merge(self, contributions: Sequence[Contribution[Record]]) -> Record:
        return contributions[0].data


async def fetched(it: House, task: Task) -> Outcome:
    """What becomes of a task whose source asks the paid provider."""
    opinions = Opinions({"paid": None}, [SourcePolicy("opinion", HOUR)])  # type: ignore[dict-item]  # not looked at
    mine = replace(task, source="opinion")
    return await opinions.process(mine, {}, Symbol(task.symbol), it.gates.for_task(mine), it.clock.now())


# refused


def test_a_refused_key_is_left_alone_for_six_hours() -> None:
    assert REFUSED_FOR == 6 * HOUR


@pytest.mark.parametrize("status", [401, 402, 403])
def test_a_refused_key_gives_way_to_the_spare_within_the_same_task_and_is_not_asked_twice(
    tmp_path: Path, status: int
) -> None:
    async def story(clock: VirtualClock) -> None:
        upstream = PaidUpstream(clock)
        upstream.to_key[PRIMARY] = response(status)
        async with opened(tmp_path, clock, upstream) as it:
            started = clock.now()
            assert (await fetched(it, await it.task())).state is TaskState.COMPLETED
            assert clock.now() - started < SECOND
            assert upstream.keys == [PRIMARY, SPARE]
            assert it.settled() == [("failed", Reason.REFUSED), ("kept", None)]
            for n, force in enumerate((False, True)):
                await it.ask(paid(f"more {n}"), await it.task(force=force))
            (refusal,) = told(it.events, "provider.key_refused")
            assert (refusal.level, "key 1 of 2" in refusal.message) == ("ERROR", True)
            assert standings(it) == [KeyState.REFUSED, KeyState.IN_USE]
        async with opened(tmp_path, clock, upstream) as it:
            await clock.sleep((started + REFUSED_FOR - clock.now()) / SECOND - 1)
            await it.ask(paid("just before"), await it.task(force=True))
            assert upstream.keys == [PRIMARY] + [SPARE] * 4
            assert not told(it.events, "provider.key_refused")
            await clock.sleep(3)
            await it.ask(paid("just after"))
            assert upstream.keys[5:] == [PRIMARY, SPARE], "it may have been given credit meanwhile"

    run(story)


def test_a_refusal_of_calls_that_were_under_way_together_is_told_once(tmp_path: Path) -> None:
    async def story(clock: VirtualClock) -> None:
        upstream = PaidUpstream(clock)
        upstream.to_key[PRIMARY] = response(401)
        async with opened(tmp_path, clock, upstream) as it:
            answers = await every(*(it.ask(paid(str(n)), task) for n, task in enumerate(await it.tasks(3))))
            assert all(answer.asked for answer in answers)
            assert sorted(map(str, upstream.keys)) == [PRIMARY] * 3 + [SPARE] * 3
            assert len(told(it.events, "provider.key_refused")) == 1

    run(story)


@pytest.mark.parametrize("last", [401, 429])
def test_a_refusal_outweighs_a_wish_for_quiet_whichever_comes_last(tmp_path: Path, last: int) -> None:
    async def story(clock: VirtualClock) -> None:
        replies = [response(429, retry_after="5"), response(401)]
        upstream = PaidUpstream(clock, *(replies if last == 401 else reversed(replies)))
        async with opened(tmp_path, clock, upstream) as it:
            answers = await every(*(it.ask(paid(str(n)), task) for n, task in enumerate(await it.tasks(2))))
            assert all(answer.asked for answer in answers)
            await clock.sleep(HOUR / SECOND)
            assert standings(it) == [KeyState.REFUSED, KeyState.IN_USE]
        async with opened(tmp_path, clock, upstream) as it:
            assert standings(it) == [KeyState.REFUSED, KeyState.IN_USE]

    run(story)


def test_when_every_key_is_refused_the_task_fails_and_the_next_ones_are_held_without_a_request(tmp_path: Path) -> None:
    async def story(clock: VirtualClock) -> None:
        upstream = PaidUpstream(clock)
        upstream.to_key |= {PRIMARY: response(401), SPARE: response(403)}
        async with opened(tmp_path, clock, upstream) as it:
            outcome = await fetched(it, await it.task())
            assert (outcome.state, outcome.reason) == (TaskState.FAILED, Reason.REFUSED)
            first = clock.now()
            for force in (False, True):
                refusal = await held(it, force=force)
                assert refusal.reason is Reason.REFUSED
                assert 0 <= refusal.until - first - REFUSED_FOR + SECOND <= SECOND
                assert "refused: wrong, or out of credit" in str(refusal)
            assert (await it.ask(plain())).asked, "the other providers have nothing to do with it"
        async with opened(tmp_path, clock, upstream) as it:
            assert (await held(it)).until == refusal.until
            assert upstream.keys == [PRIMARY, SPARE, None]
            assert it.spent() == len(it.calls()) == 3

    run(story)


def test_a_person_who_mended_it_lets_refused_keys_and_the_tasks_that_wait_for_them_be_tried_at_once(
    tmp_path: Path,
) -> None:
    async def story(clock: VirtualClock) -> None:
        upstream = PaidUpstream(clock)
        upstream.to_key[PRIMARY] = response(402)
        async with opened(tmp_path, clock, upstream, PRIMARY) as it:
            with pytest.raises(Refused):
                await it.ask(paid())
            task, later = await it.tasks(2)
            until = (await held(it)).until
            await it.ledger.run(lambda conn: task_store.hold(conn, task, Reason.REFUSED, until, clock.now()))
            quiet = clock.now() + DAY
            await it.ledger.run(lambda conn: task_store.hold(conn, later, Reason.RATE_LIMITED, quiet, clock.now()))
            await it.gates.forget_refusals()
            upstream.to_key.clear()
            due = dict(rows(tmp_path, "SELECT id, not_before FROM task"))
            assert due[task.id] <= clock.now() < due[later.id]
            assert (await it.ask(paid())).asked
        async with opened(tmp_path, clock, upstream, PRIMARY) as it:
            assert (await it.ask(paid("other"))).asked, "the ledger knows it too"

    run(story)


def test_a_restart_lets_tasks_ask_again_that_waited_for_a_key_or_for_money(tmp_path: Path) -> None:
    async def story(clock: VirtualClock) -> None:
        async with opened(tmp_path, clock, PaidUpstream(clock)) as it:
            until = clock.now() + DAY
            reasons = (Reason.REFUSED, Reason.BUDGET_EXHAUSTED, Reason.RATE_LIMITED)
            for task, reason in zip(await it.tasks(3), reasons, strict=True):
                hold = partial(task_store.hold, mine=task, reason=reason, until=until, now=clock.now())
                await it.ledger.run(hold)
            await it.ledger.run(partial(task_store.recover, now=clock.now()))
            due = dict(rows(tmp_path, "SELECT held_reason, not_before FROM task"))
            assert [due[reason] <= clock.now() for reason in reasons] == [True, True, False]

    run(story)


def test_a_reload_does_not_end_the_quiet_that_an_upstream_asked_for(tmp_path: Path) -> None:
    async def story(clock: VirtualClock) -> None:
        upstream = PaidUpstream(clock, response(429, retry_after="3600"))
        async with opened(tmp_path, clock, upstream, PRIMARY) as it:
            await held(it)
            await it.gates.forget_refusals()
            assert (await held(it)).reason is Reason.RATE_LIMITED
        async with opened(tmp_path, clock, upstream, PRIMARY) as it:
            assert (await held(it)).reason is Reason.RATE_LIMITED
            assert len(upstream.seen) == 1

    run(story)


def test_a_replaced_key_starts_fresh_and_the_one_it_replaced_is_remembered(tmp_path: Path) -> None:
    async def story(clock: VirtualClock) -> None:
        upstream = PaidUpstream(clock)
        upstream.to_key[PRIMARY] = response(401)
        async with opened(tmp_path, clock, upstream, PRIMARY) as it:
            with pytest.raises(Refused):
                await it.ask(paid())
        async with opened(tmp_path, clock, upstream, THIRD) as it:
            assert (await it.ask(paid())).asked
        async with opened(tmp_path, clock, upstream, PRIMARY, THIRD) as it:
            assert (await it.ask(paid("other"))).asked
            assert upstream.keys == [PRIMARY, THIRD, THIRD]

    run(story)


# cooling down


@pytest.mark.parametrize(("wish", "least"), [(None, MINUTE), ("7", 7 * SECOND), ("1800", 30 * MINUTE)])
def test_a_key_that_was_asked_to_slow_down_cools_alone_and_is_the_first_again_afterwards(
    tmp_path: Path, wish: str | None, least: int
) -> None:
    async def story(clock: VirtualClock) -> None:
        upstream = PaidUpstream(clock, response(429, retry_after=wish))
        async with opened(tmp_path, clock, upstream) as it:
            assert (await it.ask(paid())).asked
            assert upstream.seen[1].at - upstream.seen[0].at < SECOND, "the spare serves at once"
            cools = upstream.seen[0].at
            assert standings(it) == [KeyState.COOLING, KeyState.IN_USE]
            (event,) = told(it.events, "call.throttled")
            assert "key 1 of 2" in event.message
        async with opened(tmp_path, clock, upstream) as it:
            await clock.sleep((cools + least - clock.now()) / SECOND - 1)
            await it.ask(paid("still"))
            await clock.sleep(3)
            await it.ask(paid("again"))
            assert upstream.keys == [PRIMARY, SPARE, SPARE, PRIMARY]

    run(story)


@pytest.mark.parametrize(("wish", "least"), [(None, MINUTE), ("7", 7 * SECOND), ("1800", 30 * MINUTE)])
def test_with_one_key_all_wait_and_nothing_leaves_before(tmp_path: Path, wish: str | None, least: int) -> None:
    async def story(clock: VirtualClock) -> None:
        upstream = PaidUpstream(clock, response(429, retry_after=wish))
        async with opened(tmp_path, clock, upstream, PRIMARY) as it:
            results = await every(*(it.ask(paid("same"), task) for task in await it.tasks(3)))
            for result in results:
                if wish == "7":
                    assert result.asked, "that short a while is waited for in place"
                else:
                    assert (result.reason, type(result)) == (Reason.RATE_LIMITED, Held)
            assert (await it.ask(plain())).asked
            if wish != "7":
                assert (await held(it, force=True)).until == results[0].until >= upstream.seen[0].at + least
                await clock.sleep((results[0].until - clock.now()) / SECOND)
                assert (await it.ask(paid("same"))).asked
            (first, second) = [shown.at for shown in upstream.seen if shown.key == PRIMARY]
            assert second - first >= least

    run(story)


def test_all_keys_cooling_are_waited_for_until_the_first_of_them_is_ready(tmp_path: Path) -> None:
    async def story(clock: VirtualClock) -> None:
        replies = [response(429, retry_after=wish) for wish in ("3600", "300", "7200")]
        upstream = PaidUpstream(clock, *replies)
        async with opened(tmp_path, clock, upstream, PRIMARY, SPARE, THIRD) as it:
            wait = await held(it)
            assert 0 <= wait.until - upstream.seen[1].at - 300 * SECOND < SECOND
            await clock.sleep((wait.until - clock.now()) / SECOND)
            assert (await it.ask(paid())).asked
            assert upstream.keys == [PRIMARY, SPARE, THIRD, SPARE]

    run(story)


def test_a_cooling_key_beside_a_refused_one_is_waited_for_and_not_the_refused_one(tmp_path: Path) -> None:
    async def story(clock: VirtualClock) -> None:
        upstream = PaidUpstream(clock, response(401), response(429, retry_after="120"))
        async with opened(tmp_path, clock, upstream) as it:
            wait = await held(it)
            assert (wait.reason, wait.until < clock.now() + 121 * SECOND) == (Reason.RATE_LIMITED, True)

    run(story)


def test_a_gate_that_shuts_holds_every_key(tmp_path: Path) -> None:
    async def story(clock: VirtualClock) -> None:
        upstream = PaidUpstream(clock, response(503, retry_after="900"))
        async with opened(tmp_path, clock, upstream) as it:
            assert (await held(it)).reason is Reason.PROVIDER_DOWN
            assert (await held(it, "other")).until >= upstream.seen[0].at + 900 * SECOND
            assert len(upstream.seen) == 1

    run(story)


def test_an_endpoint_that_is_gone_is_not_asked_for_a_day_by_any_key(tmp_path: Path) -> None:
    async def story(clock: VirtualClock) -> None:
        upstream = PaidUpstream(clock, response(410))
        async with opened(tmp_path, clock, upstream) as it:
            outcome = await fetched(it, await it.task())
            assert (outcome.state, outcome.reason) == (TaskState.FAILED, Reason.ENDPOINT_GONE)
            assert [event.level for event in it.events if "not asked for a day" in event.message] == ["ERROR"]
        async with opened(tmp_path, clock, upstream) as it:
            await clock.sleep(DAY / SECOND - 60)
            assert (await held(it, force=True)).reason is Reason.ENDPOINT_GONE
            await clock.sleep(61)
            assert (await it.ask(paid())).asked
            assert len(upstream.seen) == 2

    run(story)


def test_an_endpoint_that_is_gone_is_asked_again_after_a_reload_and_another_address_at_once(tmp_path: Path) -> None:
    async def story(clock: VirtualClock) -> None:
        upstream = PaidUpstream(clock, response(410), response(410))
        async with opened(tmp_path, clock, upstream) as it:
            await fetched(it, await it.task())
            assert (await held(it, force=True)).reason is Reason.ENDPOINT_GONE
            await it.gates.forget_refusals()
            await fetched(it, await it.task())
            assert len(upstream.seen) == 2
        async with opened(tmp_path, clock, upstream) as it:
            refused = await held(it)
            assert "base_url and api" in str(refused)
        async with opened(tmp_path, clock, upstream, base_url="https://other.invalid") as it:
            it.gates.by_provider["paid"].check_closed()

    run(story)


def test_the_last_of_many_keys_is_reached(tmp_path: Path) -> None:
    async def story(clock: VirtualClock) -> None:
        many = [f"key-number-{n}" for n in range(7)]
        upstream = PaidUpstream(clock, *[response(401)] * 6)
        async with opened(tmp_path, clock, upstream, api_keys=many) as it:
            assert (await it.ask(paid())).asked
            assert len(upstream.seen) == 7

    run(story)


# a clock that was wrong


@pytest.mark.parametrize("status", [401, 429])
def test_a_key_that_was_set_aside_in_the_future_is_used_also_when_that_future_comes(
    tmp_path: Path, status: int
) -> None:
    async def story(clock: VirtualClock) -> None:
        upstream = PaidUpstream(clock, response(status, retry_after="3600"))
        async with opened(tmp_path, clock, upstream) as it:
            clock.jump(30 * DAY)
            await it.ask(paid())
            clock.jump(-30 * DAY)
            assert standings(it) == [KeyState.IN_USE, KeyState.SPARE]
            await it.ask(paid("now"))
            await clock.sleep(30 * DAY / SECOND + 60)
            assert standings(it) == [KeyState.IN_USE, KeyState.SPARE]
            assert upstream.keys == [PRIMARY, SPARE, PRIMARY]

    run(story)


def test_what_a_wrong_clock_noted_of_a_key_is_void_after_a_restart(tmp_path: Path) -> None:
    async def story(clock: VirtualClock) -> None:
        upstream = PaidUpstream(clock, response(401))
        clock.jump(30 * DAY)
        async with opened(tmp_path, clock, upstream) as it:
            await it.ask(paid())
        clock.jump(-30 * DAY)
        async with opened(tmp_path, clock, upstream) as it:
            await it.ask(paid("now"))
            assert upstream.keys == [PRIMARY, SPARE, PRIMARY]

    run(story)


# nobody else learns of it


@pytest.mark.parametrize(
    "elsewhere",
    ["http://127.0.0.2:8999", "http://127.0.0.1:9000", "https://127.0.0.1:8999", "http://127.0.0.1:8999@127.0.0.2"],
)
def test_a_key_is_sent_to_no_other_address(tmp_path: Path, elsewhere: str) -> None:
    async def story(clock: VirtualClock) -> None:
        upstream = PaidUpstream(clock)
        async with opened(tmp_path, clock, upstream) as it:
            with pytest.raises(PermanentClientError, match="is not sent to another address"):
                await it.ask(paid(at=elsewhere))
            assert upstream.seen == []
            assert it.settled() == [("failed", Reason.BAD_REQUEST)]
            assert rows(tmp_path, "SELECT usd_micros FROM call") == [(0,)]

    run(story)


def test_a_key_is_in_one_header_of_its_requests_and_in_no_others(tmp_path: Path) -> None:
    async def story(clock: VirtualClock) -> None:
        upstream = PaidUpstream(clock)
        async with opened(tmp_path, clock, upstream, PRIMARY) as it:
            await it.ask(paid())
            await it.ask(plain())
            mine, other = [shown.request for shown in upstream.seen]
            assert mine == Request(
                f"{PAID_AT}/thing", "POST", (*paid().request.headers, ("Authorization", f"Bearer {PRIMARY}")), b"{}"
            )
            assert PRIMARY not in repr(other)

    run(story)


def test_no_key_is_in_the_ledger_or_in_any_event_or_representation(tmp_path: Path) -> None:
    async def story(clock: VirtualClock) -> None:
        cut = TransientClientError("cut", Reason.TIMEOUT)
        upstream = PaidUpstream(clock, response(401), response(429), answered(), cut, cut)
        upstream.to_key[THIRD] = response(500)
        async with opened(tmp_path, clock, upstream, PRIMARY, SPARE, THIRD) as it:
            found = [await fetched(it, await it.task())]
            found += await every(*(it.ask(paid(str(n)), task) for n, task in enumerate(await it.tasks(3))))
            pool = it.gates.by_provider["paid"].keys
            assert pool is not None
            said = [repr(pool.take(PAID_AT, clock.now() + DAY)), repr(it.paid_options), repr(pool._keys)]
            said += [f"{event!r}" for event in it.events]
            said += [f"{result!r} {getattr(result, '__cause__', None)!r}" for result in found]
            assert set(upstream.keys) == {PRIMARY, SPARE, THIRD}
        written = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
        assert sum(map(len, written)) > 10_000
        for key in (PRIMARY, SPARE, THIRD):
            assert not [text for text in said if key in text]
            assert not [data for data in written if key.encode() in data]

    run(story)
