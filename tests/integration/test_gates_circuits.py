"""The gates in an outage, and what stays apart: endpoints, hosts, the requests that a crash left on their way."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from scheduler_service.calls import Response
from scheduler_service.clock import DAY, HOUR, MINUTE, SECOND
from scheduler_service.errors import Held, PermanentClientError, StoreError, TransientClientError
from scheduler_service.models import Reason, Symbol
from scheduler_service.sandbox.faults import Fault, FaultKind
from scheduler_service.sandbox.memory import MemoryTransport
from scheduler_service.stores import call_store
from tests.integration.gates_support import (
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
    sandbox,
)
from tests.integration.paid_support import PaidUpstream, keys, paid
from tests.virtual_time import VirtualClock, run, run_until_killed

if TYPE_CHECKING:
    from pathlib import Path

    from scheduler_service.calls import Limits, Request
    from tests.integration.gates_support import House


def down(path: str = "/", count: int | None = None) -> Fault:
    return Fault(kind=FaultKind.STATUS, status=500, path=path, count=count)


async def break_it(it: House, *, of: str = "/submissions") -> Held:
    """Asks until the circuit of the submissions opens; returns how it holds."""
    it.upstream.faults.add(fault := down(of))
    with pytest.raises(TransientClientError):
        await it.ask(it.edgar.submissions(CIKS[0]))
    with pytest.raises(Held) as caught:
        await it.ask(it.edgar.submissions(CIKS[0]))
    it.upstream.faults.remove(fault)
    assert caught.value.reason is Reason.PROVIDER_DOWN
    return caught.value


def told(it: House, name: str) -> list[str]:
    return [event.message for event in it.events if event.name == name]


# circuits


def test_an_endpoint_that_keeps_failing_is_left_alone_and_its_neighbour_is_not(tmp_path: Path) -> None:
    async def story(clock: VirtualClock) -> None:
        async with house(tmp_path, clock, sandbox(clock)) as it:
            held = await break_it(it)
            assert len(it.asked) == it.spent() == 5
            assert held.until - clock.now() == pytest.approx(30 * SECOND, abs=SECOND)
            (message,) = told(it, "provider.circuit_opened")
            assert message.startswith("edgar (submissions) keeps failing and is not asked for 30 s: ")
            for force in (False, True):
                with pytest.raises(Held, match=r"edgar \(submissions\) keeps failing and is not asked until"):
                    await it.ask(it.edgar.submissions(CIKS[1]), await it.task(force=force))
            assert (await it.ask(it.edgar.tickers())).asked
            assert len(it.asked) == 6
            standing = it.gates.by_provider["edgar"].standings(clock.now())
            assert [(s.what, s.until, s.reason) for s in standing] == [
                ("edgar (submissions)", held.until, Reason.PROVIDER_DOWN)
            ]

    run(story)


def test_it_is_tried_by_one_request_while_the_others_stand_back_and_then_by_all(tmp_path: Path) -> None:
    async def story(clock: VirtualClock) -> None:
        async with house(tmp_path, clock, sandbox(clock), edgar={"concurrency": 8}) as it:
            held = await break_it(it)
            await clock.sleep((held.until - clock.now()) / SECOND)
            before = len(it.asked)
            tasks = await it.tasks(5)
            results = await every(*(it.ask(it.edgar.submissions(CIKS[n]), task) for n, task in enumerate(tasks)))
            assert len(it.asked) == before + 1
            assert [isinstance(result, Held) for result in results].count(True) == 4
            assert told(it, "provider.circuit_closed") == ["edgar (submissions) works again"]
            results = await every(*(it.ask(it.edgar.submissions(CIKS[n]), task) for n, task in enumerate(tasks)))
            assert not [result for result in results if isinstance(result, BaseException)]

    run(story)


def test_a_probe_that_fails_leaves_it_alone_for_longer_also_over_a_restart(tmp_path: Path) -> None:
    async def story(clock: VirtualClock) -> None:
        upstream = sandbox(clock)
        async with house(tmp_path, clock, upstream) as it:
            held = await break_it(it)
        waits = []
        upstream.faults.add(down())
        for n in range(6):
            async with house(tmp_path, clock, upstream) as it:
                with pytest.raises(Held) as caught:
                    await it.ask(it.edgar.submissions(CIKS[n]))
                assert caught.value.until == held.until, "it is not asked sooner"
                await clock.sleep((held.until - clock.now()) / SECOND)
                before = len(it.asked)
                with pytest.raises(Held) as caught:
                    await it.ask(it.edgar.submissions(CIKS[n]))
                assert len(it.asked) == before + 1
                held = caught.value
                waits.append((held.until - clock.now()) / SECOND)
        assert waits == pytest.approx([60, 120, 240, 480, 600, 600], abs=2)
        upstream.faults.clear()
        async with house(tmp_path, clock, upstream) as it:
            await clock.sleep((held.until - clock.now()) / SECOND)
            assert (await it.ask(it.edgar.submissions(CIKS[0]))).asked
        async with house(tmp_path, clock, upstream) as it:
            assert (await it.ask(it.edgar.submissions(CIKS[1]))).asked
            assert it.gates.by_provider["edgar"].standings(clock.now()) == ()

    run(story)


def test_an_outage_that_goes_on_is_said_aloud_once_an_hour(tmp_path: Path) -> None:
    async def story(clock: VirtualClock) -> None:
        upstream = sandbox(clock)
        async with house(tmp_path, clock, upstream) as it:
            held = await break_it(it)
            upstream.faults.add(down())
            began = clock.now()
            while clock.now() < began + 150 * MINUTE:
                await clock.sleep((held.until - clock.now()) / SECOND)
                with pytest.raises(Held) as caught:
                    await it.ask(it.edgar.submissions(CIKS[0]))
                held = caught.value
            opened = [event.level for event in it.events if event.name == "provider.circuit_opened"]
            assert len(opened) > 15
            assert opened.count("WARNING") == 3
            upstream.faults.clear()
            await clock.sleep((held.until - clock.now()) / SECOND)
            await it.ask(it.edgar.submissions(CIKS[1]))
            await break_it(it)
            assert [event.level for event in it.events if event.name == "provider.circuit_opened"][-1] == "WARNING"

    run(story)


def test_a_probe_that_is_cut_off_lets_the_next_one_try(tmp_path: Path) -> None:
    clock = VirtualClock()
    upstream = sandbox(clock)

    async def breaking(clock: VirtualClock) -> None:
        async with house(tmp_path, clock, upstream) as it:
            held = await break_it(it)
            await clock.sleep((held.until - clock.now()) / SECOND)

    async def killed(clock: VirtualClock) -> None:
        inner = MemoryTransport(upstream, clock)
        async with house(tmp_path, clock, upstream, transport=KilledOnTheWay(inner)) as it:
            await it.ask(it.edgar.submissions(CIKS[0]))

    async def stopped(clock: VirtualClock) -> None:
        async with house(tmp_path, clock, upstream) as it:
            upstream.faults.add(Fault(kind=FaultKind.BLACKHOLE, count=1))
            asking = asyncio.create_task(it.ask(it.edgar.submissions(CIKS[1])))
            await clock.sleep(2)
            with pytest.raises(Held, match="one request finds out whether it works again"):
                await it.ask(it.edgar.submissions(CIKS[2]))
            asking.cancel()
            await every(asking)

    async def then(clock: VirtualClock) -> None:
        async with house(tmp_path, clock, upstream) as it:
            assert (await it.ask(it.edgar.submissions(CIKS[3]))).asked
            assert told(it, "provider.circuit_closed")

    run(breaking, clock=clock)
    assert run_until_killed(killed, hop=NEVER, clock=clock)
    run(stopped, clock=clock)
    run(then, clock=clock)


def test_a_probe_that_could_not_be_reserved_lets_the_next_one_try(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story(clock: VirtualClock) -> None:
        async with house(tmp_path, clock, sandbox(clock)) as it:
            held = await break_it(it)
            await clock.sleep((held.until - clock.now()) / SECOND)

            def fails(*_: Any, **__: Any) -> None:
                raise StoreError("the disk is full")

            task = await it.task()
            with monkeypatch.context() as full:
                full.setattr(call_store, "reserve", fails)
                with pytest.raises(StoreError):
                    await it.ask(it.edgar.submissions(CIKS[0]), task)
            assert (await it.ask(it.edgar.submissions(CIKS[0]), task)).asked

    run(story)


def test_it_forgets_a_circuit_that_a_wrong_clock_opened(tmp_path: Path) -> None:
    async def story(clock: VirtualClock) -> None:
        upstream = sandbox(clock)
        async with house(tmp_path, clock, upstream) as it:
            clock.jump(30 * DAY)
            await break_it(it)
            clock.jump(-30 * DAY)
            assert (await it.ask(it.edgar.submissions(CIKS[1]))).asked
        async with house(tmp_path, clock, upstream) as it:
            assert (await it.ask(it.edgar.submissions(CIKS[2]))).asked

    run(story)


@pytest.mark.parametrize("status", [401, 404, 400, 429])
def test_an_upstream_that_answers_is_not_down_whatever_it_says(tmp_path: Path, status: int) -> None:
    async def story(clock: VirtualClock) -> None:
        told_ = Told(*[response(status, retry_after="1" if status == 429 else None)] * 40)
        async with house(tmp_path, clock, sandbox(clock), transport=told_) as it:
            await every(*[it.ask(plain(str(n)), task) for n, task in enumerate(await it.tasks(10))])
            assert len(told_.seen) >= 10
            assert not told(it, "provider.circuit_opened")

    run(story)


# hosts


class TwoHosts(Told):
    """Two publishers; ``said`` is what each of them answers, else a feed without items."""

    def __init__(self) -> None:
        super().__init__()
        self.said: dict[str, Response] = {}

    async def send(self, request: Request, limits: Limits) -> Response:
        del limits
        self.seen.append(request)
        await asyncio.sleep(LATENCY)
        host = request.url.split("/")[2]
        return self.said.get(host, replace(response(), url=request.url))

    def hosts(self) -> list[str]:
        return [request.url.split("/")[2] for request in self.seen]


FEEDS = {"urls": ["https://a.example/{symbol}", "https://b.example/{symbol}"]}


async def ask_feeds(it: House, symbol: str) -> list[Any]:
    first, second = it.feeds.feeds(Symbol(symbol))
    one, two = await it.tasks(2)
    return await every(it.ask(first, one), it.ask(second, two))


@pytest.mark.parametrize("trouble", [response(429, retry_after="3600"), response(500)])
def test_one_publishers_trouble_holds_that_publisher_only(tmp_path: Path, trouble: Response) -> None:
    async def story(clock: VirtualClock) -> None:
        upstream = TwoHosts()
        upstream.said["a.example"] = trouble
        async with house(tmp_path, clock, sandbox(clock), transport=upstream, feeds=FEEDS) as it:
            for symbol in ("AAPL", "MSFT", "NVDA"):
                _, good = await ask_feeds(it, symbol)
                assert good.asked
            held, good = await ask_feeds(it, "ACMEX")
            assert isinstance(held, Held)
            assert "feeds at a.example" in str(held)
            assert good.asked
            assert upstream.hosts().count("a.example") <= 5
            assert it.gates.by_provider["feeds"].shut(clock.now()) is None
        seen = len(upstream.seen)
        async with house(tmp_path, clock, sandbox(clock), transport=upstream, feeds=FEEDS) as it:
            held, good = await ask_feeds(it, "TSLA")
            assert isinstance(held, Held)
            assert good.asked
            assert len(upstream.seen) == seen + 1

    run(story)


def test_each_publisher_has_a_line_of_its_own(tmp_path: Path) -> None:
    async def story(clock: VirtualClock) -> None:
        upstream = TwoHosts()
        left: dict[str, list[int]] = {"a.example": [], "b.example": []}
        send = upstream.send

        async def noting(request: Request, limits: Limits) -> Response:
            left[request.url.split("/")[2]].append(clock.now())
            return await send(request, limits)

        upstream.send = noting  # type: ignore[method-assign]
        options = FEEDS | {"requests_per_minute": 60, "concurrency": 8}
        async with house(tmp_path, clock, sandbox(clock), transport=upstream, feeds=options) as it:
            started = clock.now()
            await every(*(ask_feeds(it, f"S{n}") for n in range(4)))
            assert clock.now() - started < 5 * SECOND
            assert [len(instants) for instants in left.values()] == [4, 4]
            assert all(gap >= SECOND for instants in left.values() for gap in gaps(instants))

    run(story)


# quotas


def test_an_answer_that_says_nothing_is_left_closes_the_gate_until_there_is_more(tmp_path: Path) -> None:
    async def story(clock: VirtualClock) -> None:
        last = Response(
            200, {"x-ratelimit-remaining": "0", "x-ratelimit-reset": "90"}, b"body", "http://127.0.0.1/thing"
        )
        upstream = Told(last, response())
        async with house(tmp_path, clock, sandbox(clock), transport=upstream) as it:
            assert (await it.ask(plain("last"))).asked
            until = clock.now() + 90 * SECOND
        async with house(tmp_path, clock, sandbox(clock), transport=upstream) as it:
            with pytest.raises(Held) as caught:
                await it.ask(plain("next"))
            assert (caught.value.reason, abs(caught.value.until - until) < SECOND) == (Reason.RATE_LIMITED, True)
            assert len(upstream.seen) == 1
            await clock.sleep(90)
            assert (await it.ask(plain("next"))).asked

    run(story)


def test_it_cools_the_key_down_whose_requests_are_used_up_and_takes_the_next_one(tmp_path: Path) -> None:
    async def story(clock: VirtualClock) -> None:
        used_up = {"x-ratelimit-remaining": "0", "x-ratelimit-reset": "90"}
        upstream = PaidUpstream(clock, Response(200, used_up, b"answer", "http://127.0.0.1:8999/thing"))
        async with house(tmp_path, clock, sandbox(clock), transport=upstream, paid=keys("key-one", "key-two")) as it:
            await it.ask(paid("a"))
            await it.ask(paid("b"))
            await clock.sleep(91)
            await it.ask(paid("c"))
            assert upstream.keys == ["key-one", "key-two", "key-one"]

    run(story)


def test_it_asks_no_more_often_in_any_24_hours_than_it_may_also_over_restarts(tmp_path: Path) -> None:
    async def story(clock: VirtualClock) -> None:
        upstream = sandbox(clock)
        for n in range(30):
            async with house(tmp_path, clock, upstream, edgar={"requests_per_day": 3, "concurrency": 8}) as it:
                tasks = await it.tasks(2, force=True)
                await every(*(it.ask(it.edgar.submissions(CIKS[k]), task) for k, task in enumerate(tasks)))
            await clock.sleep((n % 3 + 1) * 2 * HOUR / SECOND)
        at = [seen.at for seen in upstream.seen]
        assert len(at) >= 12
        assert all(later - first >= DAY for first, later in zip(at, at[3:], strict=False))

    run(story)


# what a crash left on its way


def test_requests_that_a_crash_left_on_their_way_take_up_their_places_for_a_while(tmp_path: Path) -> None:
    clock = VirtualClock()
    upstream = sandbox(clock)
    upstream.faults.add(Fault(kind=FaultKind.SLOW, seconds=20, count=3))
    at: list[int] = []

    async def life(clock: VirtualClock) -> None:
        async with house(tmp_path, clock, upstream, edgar={"concurrency": 3}) as it:
            tasks = await it.tasks(3)
            asking = every(*(it.ask(it.edgar.submissions(CIKS[n]), task) for n, task in enumerate(tasks)))
            flying = asyncio.ensure_future(asking)
            await clock.sleep(1)
            at.append(clock.now())
            asyncio.get_running_loop().die()  # type: ignore[attr-defined]
            await flying

    async def then(clock: VirtualClock) -> None:
        async with house(tmp_path, clock, upstream, edgar={"concurrency": 3}) as it:
            with pytest.raises(Held, match="edgar is asked at its limit") as caught:
                await it.ask(it.edgar.submissions(CIKS[3]))
            assert len(upstream.seen) == 3
            assert caught.value.until - at[0] <= it.edgar_options.timeout + 10 * SECOND
            await clock.sleep((caught.value.until - clock.now()) / SECOND)
            assert (await it.ask(it.edgar.submissions(CIKS[3]))).asked

    assert run_until_killed(life, hop=NEVER, clock=clock)
    run(then, clock=clock)


def test_a_paid_request_that_may_have_been_charged_is_retried_once_though_the_gate_shut_in_between(
    tmp_path: Path,
) -> None:
    async def story(clock: VirtualClock) -> None:
        cut = [TransientClientError("cut", Reason.TIMEOUT, retry_after=60) for _ in range(5)]
        upstream = PaidUpstream(clock, *cut)
        async with house(tmp_path, clock, sandbox(clock), transport=upstream) as it:
            task = await it.task()
            for _ in range(2):
                with pytest.raises((Held, PermanentClientError)):
                    await it.ask(paid(), task)
                await clock.sleep(61)
        async with house(tmp_path, clock, sandbox(clock), transport=upstream) as it:
            for _ in range(2):
                with pytest.raises(PermanentClientError, match="may have been charged"):
                    await it.ask(paid(), task)
                await clock.sleep(61)
            assert len(upstream.seen) == 2
            await clock.sleep(10 * MINUTE / SECOND)
            upstream.then.clear()
            assert (await it.ask(paid())).asked, "another task may"

    run(story)


def test_a_batch_of_failures_is_not_tried_again_in_step(tmp_path: Path) -> None:
    async def story(clock: VirtualClock) -> None:
        failing = [response(500) for _ in range(4)]
        at: list[int] = []

        class Noting(Told):
            async def send(self, request: Request, limits: Limits) -> Response:
                at.append(clock.now())
                return await super().send(request, limits)

        upstream = Noting(*failing, *[response()] * 20)
        async with house(tmp_path, clock, sandbox(clock), transport=upstream, plain={"concurrency": 16}) as it:
            await every(*[it.ask(plain(str(n)), task) for n, task in enumerate(await it.tasks(4))])
            again = sorted(at)[4:]
            assert len(again) == 4
            assert min(gaps(again)) > 0
            assert max(again) - min(again) > SECOND // 10

    run(story, seed=3)
