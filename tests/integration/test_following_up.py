"""What is known of a stock makes it due again: made, moved and closed as the documents say, and nothing else."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from scheduler_service.clock import DAY, HOUR, SECOND, Instant, from_iso, to_iso
from scheduler_service.following_up import FollowUps
from scheduler_service.models import FollowUp, Notice, Record, Symbol
from scheduler_service.stores import database, document_store
from tests.integration import scheduling_bench
from tests.integration.scheduling_bench import Bench, Numbers, Words, a_schedule

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from scheduler_service.settings.loaded import Schedule

HOURLY = a_schedule()


class Dated(Record):
    """When something is expected."""

    at: str | None = None


def _follow_ups(_self: object, known: Dated, symbol: Symbol) -> Sequence[FollowUp]:
    del symbol
    return () if known.at is None else (FollowUp("look", "words.expected", from_iso(known.at)),)


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    """Documents of words say when numbers are expected."""
    monkeypatch.setattr(database, "BUSY_TIMEOUT_MS", 1)
    monkeypatch.setattr(Words, "record", Dated)
    monkeypatch.setattr(Words, "follow_ups", _follow_ups)
    monkeypatch.setattr(Numbers, "due_on", frozenset({"words.expected", "filing.results"}))
    bench = Bench(tmp_path, "2026-11-23T14:30:00Z")
    yield bench
    bench.close()


class Desk:
    """The follow-ups of the process that the bench runs."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench

    @property
    def parts(self) -> FollowUps:
        life = self.bench.life
        assert life is not None
        return FollowUps(life.ledger, scheduling_bench.processors(), life.dispatcher, self.bench.clock)

    def says(self, symbol: str, at: Instant | None) -> None:
        """A document changes, and is taken note of."""
        life = self.bench.life
        assert life is not None
        data = Dated(at=None if at is None else to_iso(at)).model_dump_json().encode()
        put = partial(document_store.put_document, domain="words", symbol=symbol, data=data, now=self.bench.now)
        self.bench.do(life.ledger.run(put))
        self.bench.do(self.parts.renew(symbol))

    @property
    def open(self) -> dict[str, Instant | None]:
        follow_ups: dict[str, Schedule] = self.bench.dispatcher.follow_ups
        return {name: schedule.trigger.next(0) for name, schedule in follow_ups.items()}


AAPL = "follow-up:AAPL:numbers:look"


def test_it_is_made_for_the_domains_that_such_an_event_makes_due_moved_and_closed(bench: Bench) -> None:
    bench.boot(HOURLY)
    desk, soon = Desk(bench), bench.now + 5 * HOUR
    desk.says("AAPL", soon)
    assert desk.open == {AAPL: soon}
    desk.says("AAPL", soon + DAY)
    assert desk.open == {AAPL: soon + DAY}
    desk.says("MSFT", soon)
    assert set(desk.open) == {AAPL, "follow-up:MSFT:numbers:look"}
    desk.says("AAPL", None)
    assert set(desk.open) == {"follow-up:MSFT:numbers:look"}


def test_it_is_carried_out_once_and_comes_again_with_the_next_date(bench: Bench) -> None:
    bench.boot(HOURLY)
    desk, soon = Desk(bench), bench.now - bench.now % HOUR + 2 * HOUR
    desk.says("AAPL", soon)
    bench.later(3 * HOUR)
    bench.sweep()
    assert len(bench.history(AAPL)) == 1
    bench.do(desk.parts.renew_all())
    assert desk.open == {}, "what is past is wanted by nobody"
    desk.says("AAPL", soon + 90 * DAY)
    assert desk.open == {AAPL: soon + 90 * DAY}
    assert len(bench.history(AAPL)) == 1


def test_a_start_makes_what_a_crash_left_unmade_and_closes_what_nobody_watches(bench: Bench) -> None:
    bench.boot(HOURLY)
    desk, soon = Desk(bench), bench.now + DAY
    desk.says("AAPL", soon)
    desk.says("MSFT", soon)
    bench.restart(HOURLY, watch=["AAPL"])
    assert set(desk.open) == {AAPL, "follow-up:MSFT:numbers:look"}
    bench.do(desk.parts.renew_all())
    assert desk.open == {AAPL: soon}
    bench.do(bench.dispatcher.close_follow_up(AAPL))
    bench.do(desk.parts.renew_all())
    assert desk.open == {AAPL: soon}, "the documents decide"


def test_nothing_is_written_when_nothing_has_changed(bench: Bench) -> None:
    bench.boot(HOURLY)
    desk = Desk(bench)
    desk.says("AAPL", bench.now + DAY)
    before = bench.sql("select * from schedule")
    bench.later(SECOND)
    bench.do(desk.parts.renew_all())
    assert bench.sql("select * from schedule") == before


def test_what_could_not_be_planned_while_the_ledger_failed_or_the_clock_was_impossible_is_made_up_for(
    bench: Bench,
) -> None:
    bench.boot(HOURLY)
    desk, soon = Desk(bench), bench.now + DAY
    desk.says("AAPL", soon)
    desk.says("MSFT", soon)
    for name in list(desk.open):
        bench.do(bench.dispatcher.close_follow_up(name))
    parts = desk.parts

    async def a_minute_later(put_right: Callable[[], object]) -> dict[str, Instant | None]:
        renewing = asyncio.create_task(parts.renew_forever())
        await bench.clock.sleep(30)
        before = desk.open
        put_right()
        await bench.clock.sleep(30)
        renewing.cancel()
        await asyncio.wait([renewing])
        return before

    bench.lock()
    parts.renew_soon("AAPL")
    assert bench.do(a_minute_later(bench.unlock)) == {}
    assert desk.open == {AAPL: soon}
    bench.clock.pass_by(-50 * 365 * DAY)
    bench.do(parts.renew_all())
    assert bench.do(a_minute_later(lambda: bench.clock.pass_by(50 * 365 * DAY))) == {AAPL: soon}
    assert set(desk.open) == {AAPL, "follow-up:MSFT:numbers:look"}


def test_a_stock_that_cannot_be_planned_for_keeps_nobody_elses_from_it(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.boot(HOURLY)
    desk, soon = Desk(bench), bench.now + DAY
    desk.says("MSFT", soon)
    bench.do(bench.dispatcher.close_follow_up("follow-up:MSFT:numbers:look"))
    parts = desk.parts

    async def a_while() -> None:
        renewing = asyncio.create_task(parts.renew_forever())
        await bench.clock.sleep(30)
        assert not renewing.done()
        renewing.cancel()

    def fails(self: object, known: Dated, symbol: Symbol) -> Sequence[FollowUp]:
        if symbol.symbol == "AAPL":
            raise LookupError("no such day")
        return _follow_ups(self, known, symbol)

    desk.says("AAPL", soon)
    bench.do(bench.dispatcher.close_follow_up(AAPL))
    monkeypatch.setattr(Words, "follow_ups", fails)
    parts.renew_soon("AAPL")
    parts.renew_soon("MSFT")
    bench.do(a_while())
    assert set(desk.open) == {"follow-up:MSFT:numbers:look"}


def test_a_filing_makes_a_watched_stock_due_in_the_domains_that_ask_for_it(bench: Bench) -> None:
    bench.boot(HOURLY)
    desk = Desk(bench)
    told: Any = Notice("filing.results:AAPL:1", "filing.results", "", symbol="AAPL")
    bench.do(desk.parts.fetch_again(told))
    bench.do(desk.parts.fetch_again(Notice("x", "filing.results", "", symbol="NOBODY")))
    bench.do(desk.parts.fetch_again(Notice("y", "filing.other", "", symbol="AAPL")))
    runs = bench.sql("select domain, origin from run where origin = 'follow_up'")
    assert runs == [("numbers", "follow_up")]
    tasks = bench.sql("select distinct symbol from task join run on run.id = run_id where origin = 'follow_up'")
    assert tasks == [("AAPL",)]
    bench.do(desk.parts.fetch_again(told))
    assert len(bench.sql("select id from run where origin = 'follow_up'")) == 1, "twice, after a crash, is once"
    bench.do(desk.parts.fetch_again(Notice("filing.results:MSFT:1", "filing.results", "", symbol="MSFT")))
    assert len(bench.sql("select id from run where origin = 'follow_up'")) == 2


def test_a_document_that_cannot_be_read_keeps_nobody_elses_from_being_planned_by(bench: Bench) -> None:
    bench.boot(HOURLY)
    desk, soon = Desk(bench), bench.now + DAY
    life = bench.life
    assert life is not None
    put = partial(document_store.put_document, domain="words", symbol="AAPL", data=b'{"at": 7}', now=bench.now)
    bench.do(life.ledger.run(put))
    desk.says("MSFT", soon)
    bench.do(desk.parts.renew_all())
    assert set(desk.open) == {"follow-up:MSFT:numbers:look"}


def test_no_two_symbols_share_a_follow_up(bench: Bench) -> None:
    names = ["BRK/A", "BRK_A", "BRK.A", "東京", "大阪", "A:B"]
    bench.boot(HOURLY, watch=names)
    desk, start = Desk(bench), bench.now
    for n, symbol in enumerate(names):
        desk.says(symbol, start + (n + 1) * HOUR)
    assert len(desk.open) == len(names)
    bench.do(desk.parts.renew_all())
    assert sorted(at or 0 for at in desk.open.values()) == [start + (n + 1) * HOUR for n in range(len(names))]


def test_while_the_clock_is_impossible_those_of_before_stay(bench: Bench) -> None:
    bench.boot(HOURLY)
    desk, soon = Desk(bench), bench.now + DAY
    desk.says("AAPL", soon)
    desk.says("MSFT", soon)
    bench.do(bench.dispatcher.close_follow_up("follow-up:MSFT:numbers:look"))
    bench.clock.pass_by(-50 * 365 * DAY)
    bench.sweep()
    assert bench.dispatcher.problem is not None
    bench.do(desk.parts.renew_all())
    assert desk.open == {AAPL: soon}


def test_stocks_that_are_written_alike_have_follow_ups_of_their_own(bench: Bench) -> None:
    bench.boot(HOURLY, watch=["BF/B", "BF_B", "BF^B"])
    desk, soon = Desk(bench), bench.now + DAY
    for symbol in ("BF/B", "BF_B", "BF^B"):
        desk.says(symbol, soon)
    assert len(desk.open) == 3
    desk.says("BF/B", None)
    bench.do(desk.parts.renew_all())
    assert len(desk.open) == 2
