"""What follows from what was noticed, over crashes: the strategy log once, the reactions at least once."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from functools import partial
from typing import TYPE_CHECKING

from scheduler_service.clock import DAY, SECOND, to_iso_seconds
from scheduler_service.models import Event, Notice
from scheduler_service.noticing import NoticeReader
from scheduler_service.stores import delivery_store, notice_store
from scheduler_service.stores.database import Ledger
from scheduler_service.stores.delivery_store import DELIVERED, WAITING
from scheduler_service.stores.pruning import KINDS, CutOff, remove_old
from scheduler_service.stores.strategy_log_store import StrategyLog
from tests.ledger_support import open_ledger
from tests.virtual_time import VirtualClock, run, run_until_killed

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from scheduler_service.clock import Instant
    from scheduler_service.stores.database import Connection
    from scheduler_service.stores.notice_store import NoticeRow

NOTICES = [Notice(f"key-{number}", "a.b", f"message {number}", {"n": number}, "AAPL") for number in range(5)]


class Witness:
    """Who is told. ``queued`` is in memory, so it counts tries, not commits."""

    def __init__(self) -> None:
        self.reacted: list[str] = []
        self.queued: list[str] = []
        self.events: list[Event] = []
        self.refuses = False
        self.told_of_queued: list[int] = []

    def hear(self, event: Event) -> None:
        self.events.append(event)

    async def react(self, notice: Notice) -> None:
        self.reacted.append(notice.key)
        if self.refuses:
            raise ValueError("no")

    def queue(self, conn: Connection, rows: Sequence[NoticeRow], now: Instant) -> None:
        del conn, now
        self.queued.extend(row.notice.key for row in rows)


def reader(
    ledger: Ledger,
    folder: Path,
    clock: VirtualClock,
    witness: Witness,
    pool: ThreadPoolExecutor,
) -> NoticeReader:
    return NoticeReader(
        ledger=ledger,
        log=StrategyLog(folder, pool),
        react=witness.react,
        queue=witness.queue,
        queued=lambda: witness.told_of_queued.append(len(witness.queued)),
        clock=clock,
        publish=witness.hear,
    )


def logged(folder: Path) -> list[str]:
    return [json.loads(line)["key"] for path in sorted(folder.iterdir()) for line in path.read_bytes().splitlines()]


def test_each_is_said_logged_and_followed_up_once_in_order(tmp_path: Path) -> None:
    witness = Witness()

    async def life(clock: VirtualClock) -> None:
        with ThreadPoolExecutor(1) as pool:
            async with open_ledger(tmp_path / "ledger.sqlite") as ledger:
                mine = reader(ledger, tmp_path / "log", clock, witness, pool)
                work = asyncio.create_task(mine.read_forever())
                for notice in NOTICES:
                    await ledger.run(partial(notice_store.add, notices=[notice, notice], now=clock.now()))
                    mine.notify()
                    await clock.sleep(1)
                work.cancel()
                with suppress(asyncio.CancelledError):
                    await work

    run(life)
    expected = [notice.key for notice in NOTICES]
    assert witness.reacted == witness.queued == logged(tmp_path / "log") == expected
    assert witness.told_of_queued == [1, 2, 3, 4, 5], "channels hear of it when it can be read"
    assert [event.message for event in witness.events] == [notice.message for notice in NOTICES]


def test_wherever_it_is_killed_nothing_is_lost_and_nothing_is_logged_twice(tmp_path: Path) -> None:
    async def notice_all(clock: VirtualClock, path: Path) -> None:
        async with open_ledger(path) as ledger:
            await ledger.run(lambda conn: notice_store.add(conn, NOTICES, clock.now()))

    killed_at_least_once = False
    for hop in range(1, 14):
        folder = tmp_path / str(hop)
        folder.mkdir()
        path, witness, clock = folder / "ledger.sqlite", Witness(), VirtualClock()

        async def life(clock: VirtualClock, path: Path = path, folder: Path = folder, seen: Witness = witness) -> None:
            with ThreadPoolExecutor(1) as pool:
                async with open_ledger(path) as ledger:
                    await reader(ledger, folder / "log", clock, seen, pool).catch_up()

        run(partial(notice_all, path=path), clock=clock)
        killed = run_until_killed(life, hop=hop, clock=clock, seed=1)
        killed_at_least_once |= killed
        run(life, clock=clock)
        keys = [notice.key for notice in NOTICES]
        assert logged(folder / "log") == keys
        assert set(witness.reacted) == set(keys)
        with closing(sqlite3.connect(path)) as conn:
            open_ones = "SELECT count(*) FROM outbox WHERE handled_at IS NULL OR logged_at IS NULL"
            assert conn.execute(open_ones).fetchone() == (0,)
    assert killed_at_least_once


async def test_what_was_said_last_is_said_again_only_after_something_else(tmp_path: Path) -> None:
    def found(day: str, minute: int, symbol: str = "AAPL") -> Notice:
        return Notice(f"date:{symbol}:{day}@2026-11-23T14:0{minute}:00Z", "date.found", day, symbol=symbol)

    async def new(ledger: Ledger, notice: Notice) -> bool:
        return bool(await ledger.run(partial(notice_store.add_changes, notices=[notice], now=1)))

    async with open_ledger(tmp_path / "ledger.sqlite") as ledger:
        assert await new(ledger, found("Monday", 1))
        assert not await new(ledger, found("Monday", 2)), "as after a restore, which brings an older document"
        assert await new(ledger, found("Monday", 2, "MSFT"))
        assert await new(ledger, found("Friday", 3))
        assert await new(ledger, found("Monday", 4)), "it moved there and back"
        once = Notice("filed:1", "filing.results", "results", symbol="AAPL")
        assert await new(ledger, once)
        assert not await new(ledger, once)


async def test_what_came_back_after_it_was_gone_is_said_again(tmp_path: Path) -> None:
    told = [
        Notice(f"{event}:AAPL:2027-01-28@2026-11-23T14:{minute}:00Z", event, "", {}, "AAPL")
        for minute, event in enumerate(["earnings.date_found", "earnings.date_gone"] * 2, 10)
    ]
    async with open_ledger(tmp_path / "ledger.sqlite") as ledger:
        for notice in told:
            assert await ledger.run(partial(notice_store.add_changes, notices=[notice], now=1)) == [notice]


async def test_a_reaction_that_fails_holds_up_nothing(tmp_path: Path) -> None:
    witness = Witness()
    witness.refuses = True
    with ThreadPoolExecutor(1) as pool:
        async with open_ledger(tmp_path / "ledger.sqlite") as ledger:
            clock = VirtualClock()
            await ledger.run(lambda conn: notice_store.add(conn, NOTICES, clock.now()))
            await reader(ledger, tmp_path / "log", clock, witness, pool).catch_up()
            assert await ledger.read(notice_store.unhandled) == []
    assert logged(tmp_path / "log") == [notice.key for notice in NOTICES]


async def test_a_log_that_cannot_be_written_is_told_once_and_holds_up_no_delivery(tmp_path: Path) -> None:
    witness, clock = Witness(), VirtualClock()
    (tmp_path / "log").write_text("in the way")
    with ThreadPoolExecutor(1) as pool:
        async with open_ledger(tmp_path / "ledger.sqlite") as ledger:
            await ledger.run(lambda conn: notice_store.add(conn, NOTICES, clock.now()))
            mine = reader(ledger, tmp_path / "log", clock, witness, pool)
            await mine.catch_up()
            await mine.catch_up()
            assert mine.problem
            assert witness.queued == [notice.key for notice in NOTICES]
            assert [e.level for e in witness.events if e.name == "strategy_log.failed"] == ["ERROR"]
            (tmp_path / "log").unlink()
            await mine.catch_up()
            assert not mine.problem
    assert logged(tmp_path / "log") == [notice.key for notice in NOTICES]


async def test_what_was_told_long_ago_is_pruned_but_for_keys_that_guard_against_telling_it_again(
    tmp_path: Path,
) -> None:
    clock, witness = VirtualClock(), Witness()
    for_ever = [Notice(f"news.high_impact:A:{n}", "a.b", "words", {"n": n}) for n in range(600)]
    timed = [Notice(f"risk.breach:A@{to_iso_seconds(clock.now() - n * SECOND)}", "c.d", "words") for n in range(3)]
    last = Notice("e.f:A@2026-11-01T00:00:00Z", "e.f", "words", symbol="A")
    waits = Notice("waits@2026-11-23T14:30:00Z", "c.d", "words", is_alert=True)
    with ThreadPoolExecutor(1) as pool:
        async with open_ledger(tmp_path / "ledger.sqlite") as ledger:

            def unit(conn: Connection) -> None:
                notice_store.add(conn, [*for_ever, *timed, last, waits], clock.now())
                [row] = [row for row in notice_store.unhandled(conn, 1_000) if row.notice.key == waits.key]
                delivery_store.add(conn, row, "hook", WAITING, clock.now(), clock.now())
                done = notice_store.unhandled(conn, 1_000)[1]
                delivery_store.add(conn, done, "hook", DELIVERED, clock.now(), clock.now())

            async def prune() -> None:
                before = CutOff(*[clock.now() - 90 * DAY] * 3)
                for kind in KINDS:
                    while await ledger.run(partial(remove_old, kind=kind, before=before)):
                        pass

            await ledger.run(unit)
            mine = reader(ledger, tmp_path / "log", clock, witness, pool)
            await mine.catch_up()
            await prune()
            assert len(logged(tmp_path / "log")) == 605
            clock.pass_by(91 * DAY)
            await ledger.run(lambda conn: notice_store.add(conn, NOTICES[:1], clock.now()))
            await mine.catch_up()
            await prune()
            await prune()
            with closing(sqlite3.connect(ledger.path)) as conn:
                kept = conn.execute("SELECT key, message != '' FROM outbox ORDER BY id").fetchall()
                deliveries = conn.execute("SELECT state FROM delivery").fetchall()
            told = await ledger.run(lambda conn: notice_store.add(conn, for_ever[:2], clock.now()))
    assert kept == [*((notice.key, 0) for notice in [*for_ever, last]), (waits.key, 1), (NOTICES[0].key, 1)], (
        "all but the last c.d"
    )
    assert deliveries == [(WAITING,)]
    assert told == []


async def test_who_delivers_is_woken_once_what_was_queued_is_committed(tmp_path: Path) -> None:
    path, clock, witness = tmp_path / "ledger.sqlite", VirtualClock(), Witness()
    seen: list[int] = []

    def queued() -> None:
        with closing(sqlite3.connect(path)) as conn:
            seen.extend(conn.execute("SELECT count(*) FROM outbox WHERE handled_at IS NOT NULL").fetchone())

    with ThreadPoolExecutor(1) as pool:
        async with open_ledger(path) as ledger:
            await ledger.run(lambda conn: notice_store.add(conn, NOTICES, clock.now()))
            await NoticeReader(
                ledger=ledger,
                log=StrategyLog(tmp_path / "log", pool),
                react=witness.react,
                queue=witness.queue,
                queued=queued,
                clock=clock,
                publish=witness.hear,
            ).catch_up()
    assert seen == [len(NOTICES)]
