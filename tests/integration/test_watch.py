"""A monitor at work on a real ledger: each change is told once, over kills, restarts and broken looks."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from contextlib import closing
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING, Any

from scheduler_service.clock import DAY, MINUTE, to_iso
from scheduler_service.errors import StoreError
from scheduler_service.models import Event, Kind, Notice
from scheduler_service.monitors.base import Change, Watch
from scheduler_service.monitors.risk import Limits
from scheduler_service.stores import document_store, doubt_store
from scheduler_service.stores.document_store import ContributionRow
from scheduler_service.stores.monitor_store import MonitorState
from tests.ledger_support import open_ledger
from tests.monitor_support import FakeStocks, risk_monitor
from tests.virtual_time import VirtualClock, run, run_until_killed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from scheduler_service.clock import Instant, Micros
    from scheduler_service.stores.database import Ledger


class Lamp:
    """Is on or off, and tells when that changes."""

    name = "lamp"
    is_timeless = False

    def __init__(self) -> None:
        self.is_on = True
        self.fails = False

    def rest(self, now: Instant) -> Micros:
        del now
        return MINUTE

    async def observe(self) -> str:
        if self.fails:
            raise ValueError("no light")
        return "on" if self.is_on else "off"

    def judge(self, before: Mapping[str, MonitorState], seen: str, now: Instant) -> Sequence[Change]:
        last = before.get("it")
        if last is not None and last.state == seen:
            return []
        notice = Notice(f"lamp:{seen}:{now}", f"lamp.{seen}", f"the lamp is {seen}")
        return [Change("it", MonitorState(seen, now, now, {}), (notice,))]


def outbox(path: Path) -> list[str]:
    with closing(sqlite3.connect(path)) as conn:
        return [event for (event,) in conn.execute("SELECT event FROM outbox ORDER BY id")]


def watch(monitor: Any, ledger: Ledger, clock: VirtualClock, events: list[Event], noticed: list[int]) -> Watch[Any]:
    def hear(event: Event) -> None:
        events.append(event)

    return Watch(monitor, ledger, clock, hear, lambda: noticed.append(1))


def test_a_change_is_told_once_also_by_the_next_process(tmp_path: Path) -> None:
    path, clock, lamp = tmp_path / "ledger.sqlite", VirtualClock(), Lamp()
    events: list[Event] = []
    noticed: list[int] = []

    async def life(clock: VirtualClock) -> None:
        async with open_ledger(path) as ledger:
            one = watch(lamp, ledger, clock, events, noticed)
            for _ in range(3):
                await one.look()

    run(life, clock=clock)
    run(life, clock=clock)
    assert (outbox(path), len(noticed)) == (["lamp.on"], 1)
    lamp.is_on = False
    clock.pass_by(MINUTE)
    run(life, clock=clock)
    assert (outbox(path), len(noticed)) == (["lamp.on", "lamp.off"], 2)


def test_wherever_it_is_killed_state_and_notice_are_both_there_or_neither(tmp_path: Path) -> None:
    killed = 0
    for hop in range(1, 12):
        path, clock = tmp_path / f"{hop}.sqlite", VirtualClock()

        async def life(clock: VirtualClock, path: Path = path) -> None:
            async with open_ledger(path) as ledger:
                await watch(Lamp(), ledger, clock, [], []).look()

        killed += run_until_killed(life, hop=hop, clock=clock, seed=hop)
        run(life, clock=clock)
        assert outbox(path) == ["lamp.on"]
    assert killed


def test_a_clock_that_is_set_back_a_little_repeats_nothing(tmp_path: Path) -> None:
    path, clock = tmp_path / "ledger.sqlite", VirtualClock()

    async def life(clock: VirtualClock, back: int = 0) -> None:
        clock.jump(-back)
        async with open_ledger(path) as ledger:
            await watch(Lamp(), ledger, clock, [], []).look()

    run(life, clock=clock)
    run(partial(life, back=60 * MINUTE), clock=clock)
    assert outbox(path) == ["lamp.on"]


def test_what_a_clock_that_was_ahead_has_told_is_void(tmp_path: Path) -> None:
    path, clock = tmp_path / "ledger.sqlite", VirtualClock()

    async def life(clock: VirtualClock, back: int = 0) -> None:
        clock.pass_by(-back)
        async with open_ledger(path) as ledger:
            await watch(Lamp(), ledger, clock, [], []).look()

    clock.pass_by(30 * DAY)
    run(life, clock=clock)
    run(partial(life, back=30 * DAY), clock=clock)
    assert outbox(path) == ["lamp.on", "lamp.on"]


def test_a_monitor_that_cannot_look_is_told_once_over_restarts_and_again_when_it_can(tmp_path: Path) -> None:
    path, clock, lamp = tmp_path / "ledger.sqlite", VirtualClock(), Lamp()
    events: list[Event] = []
    noticed: list[int] = []

    async def life(clock: VirtualClock, *, fails: bool) -> None:
        async with open_ledger(path) as ledger:
            one = watch(lamp, ledger, clock, events, noticed)
            lamp.fails = fails
            work = asyncio.create_task(one.look_forever())
            await clock.sleep(150)
            assert (one.problem is not None) == fails
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)

    for fails in (True, True, False, False, True):
        run(partial(life, fails=fails), clock=clock)
    told = ["monitor.failed", "lamp.on", "monitor.works_again", "monitor.failed"]
    assert (outbox(path), len(noticed), events) == (told, 4, [])


def test_a_monitor_that_cannot_look_is_said_in_the_log_where_the_ledger_cannot_be_written(tmp_path: Path) -> None:
    lamp = Lamp()
    events: list[Event] = []

    async def life(clock: VirtualClock) -> None:
        async with open_ledger(tmp_path / "ledger.sqlite") as ledger:

            async def full(unit: object) -> None:
                del unit
                raise StoreError("the disk is full")

            writes, ledger.run = ledger.run, full  # type: ignore[method-assign, assignment]
            one = watch(lamp, ledger, clock, events, [])
            lamp.fails = True
            work = asyncio.create_task(one.look_forever())
            await clock.sleep(150)
            ledger.run = writes  # type: ignore[method-assign]
            await clock.sleep(60)
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)

    run(life)
    assert [event.name for event in events] == ["monitor.failed"]
    assert outbox(tmp_path / "ledger.sqlite") == ["monitor.failed"]


def test_a_portfolio_is_judged_by_the_documents_and_read_anew_when_it_changes(tmp_path: Path) -> None:
    path, file = tmp_path / "ledger.sqlite", tmp_path / "portfolio.csv"
    stocks = FakeStocks()

    async def life(clock: VirtualClock) -> None:
        async with open_ledger(path) as ledger:
            limits = Limits(Decimal(5), Decimal(100))
            monitor = risk_monitor(file, limits, ledger, clock, stocks)
            one = watch(monitor, ledger, clock, [], [])

            async def quoted(price: str) -> None:
                data = {"price": float(price), "currency": "USD", "as_of": to_iso(clock.now())}
                body = json.dumps({**data, "provenance": {"source": "finnhub"}}).encode()
                put = partial(document_store.put_document, domain="quotes", symbol="A", data=body, now=clock.now())
                await ledger.run(put)

            await one.look()
            file.write_text("symbol,quantity,average_price\nA,10,100\nB,x,1\n")
            await quoted("94")
            await clock.sleep(60)
            await one.look()
            await one.look()
            file.write_text("symbol,quantity,average_price\nA,10,80\n")
            await clock.sleep(60)
            await one.look()
            stocks.ages["A"] = DAY
            await clock.sleep(3600)
            await one.look()
            await one.look()

    run(life)
    assert outbox(path) == [
        "risk.portfolio",
        "risk.portfolio",
        "risk.breach",
        "risk.breach",
        "risk.breach",
        "risk.cleared",
        "risk.cleared",
        "risk.quotes_stale",
    ]


def test_a_quote_is_as_good_as_its_schedule_lets_it_be(tmp_path: Path) -> None:
    """``longest_gap``: quotes that come once an hour are not old for half of it."""
    path, file = tmp_path / "ledger.sqlite", tmp_path / "portfolio.csv"
    file.write_text("symbol,quantity,average_price\nA,10,90\n")
    gaps = {"A": 75 * MINUTE}

    class Slow(FakeStocks):
        def __init__(self, clock: VirtualClock) -> None:
            super().__init__()
            self._clock = clock

        def age(self, symbol: str, at: Instant) -> Micros:
            del symbol
            return self._clock.now() - at

        def longest_gap(self, symbol: str) -> Micros:
            return gaps[symbol]

    async def life(clock: VirtualClock) -> None:
        async with open_ledger(path) as ledger:
            data = {"price": 94.0, "currency": "USD", "as_of": to_iso(clock.now())}
            body = json.dumps({**data, "provenance": {"source": "finnhub"}}).encode()
            put = partial(document_store.put_document, domain="quotes", symbol="A", data=body, now=clock.now())
            await ledger.run(put)
            limits = Limits(Decimal(5), Decimal(100))
            monitor = risk_monitor(file, limits, ledger, clock, Slow(clock))
            one = watch(monitor, ledger, clock, [], [])
            for _ in range(7):
                await one.look()
                await clock.sleep(600)
            assert outbox(path) == ["risk.breach"], "it is all there is of the portfolio"
            gaps["A"] = 10 * MINUTE
            await one.look()
            await one.look()

    run(life)
    assert outbox(path) == ["risk.breach", "risk.quotes_stale"]


def test_a_doubtful_price_of_what_is_held_is_told_until_it_is_settled(tmp_path: Path) -> None:
    path, file = tmp_path / "ledger.sqlite", tmp_path / "portfolio.csv"
    file.write_text("symbol,quantity,average_price\nA,10,90\n")

    async def life(clock: VirtualClock) -> None:
        async with open_ledger(path) as ledger:
            monitor = risk_monitor(file, Limits(Decimal(5), Decimal(100)), ledger, clock)
            one = watch(monitor, ledger, clock, [], [])

            def body(price: float) -> bytes:
                data = {"price": price, "currency": "USD", "as_of": to_iso(clock.now())}
                return json.dumps({**data, "provenance": {"source": "finnhub"}}).encode()

            async def doubted(price: float, symbol: str = "A") -> None:
                row = ContributionRow("finnhub", Kind.MARKET, body(price), str(price).encode(), clock.now())
                put = partial(doubt_store.set_aside, domain="quotes", symbol=symbol, new=row, said="it leapt")
                await ledger.run(partial(put, task_id=1, now=clock.now()))

            async def settled() -> None:
                clear = partial(doubt_store.clear, domain="quotes", symbol="A", source="finnhub", as_of=clock.now())
                await ledger.run(partial(clear, now=clock.now()))

            async def looks() -> int:
                await one.look()
                await clock.sleep(60)
                return outbox(path).count("risk.price_doubtful")

            put = partial(document_store.put_document, domain="quotes", data=body(90), now=clock.now())
            for symbol in ("A", "B"):
                await ledger.run(partial(put, symbol=symbol))
            assert await looks() == 0
            await doubted(40, "B")
            assert await looks() == 0, "it is not held"
            await doubted(40)
            assert await looks() == 1
            await doubted(39)
            assert await looks() == 1
            await settled()
            assert await looks() == 1
            await doubted(38)
            assert await looks() == 2

    run(life)
    assert set(outbox(path)) == {"risk.breach", "risk.price_doubtful"}, "it is all there is of the portfolio"
