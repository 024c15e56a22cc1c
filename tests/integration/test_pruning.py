"""What is too old goes, and nothing that is needed: by age and by size, foretold as it is done, cut off anywhere."""

from __future__ import annotations

import asyncio
import re
import sqlite3
from contextlib import closing
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler_service.clock import DAY, HOUR
from scheduler_service.errors import StoreError
from scheduler_service.models import Notice
from scheduler_service.pruning import Pruner, cut_off, surplus_of
from scheduler_service.stores import delivery_store, notice_store, pause_store, pruning, raw_store
from scheduler_service.stores.delivery_store import DELIVERED, SUPPRESSED, WAITING
from scheduler_service.stores.pause_store import PauseRow
from scheduler_service.stores.pruning import CutOff, InFiles
from tests.integration.lives import Machine
from tests.virtual_time import run_until_killed

if TYPE_CHECKING:
    from pathlib import Path

    from scheduler_service.engine import Engine
    from scheduler_service.stores.database import Connection
    from scheduler_service.web.views import PruneReport
    from tests.virtual_time import VirtualClock

OLD = ("AAPL", "NVDA")
TABLES = ("task", "slot", "run", "call", "call_use", "answer", "resource", "spend", "contribution", "document")


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """With three months of fetches behind it, each answer in a file of its own."""
    monkeypatch.setattr(raw_store, "SMALL", 0)
    machine = Machine(tmp_path)
    for _ in range(3):
        machine.fetch("news", *OLD, source="feeds", force=True)
        machine.clock.pass_by(40 * DAY)
    return machine


def prune(machine: Machine, **kept: Any) -> PruneReport:
    """As the service does it, after it has said what it would do."""

    async def then(engine: Engine) -> PruneReport:
        retention = engine.settings.retention.model_copy(update=kept)
        engine.settings = replace(engine.settings, retention=retention)
        foretold = await engine.pruner().foretell()
        done = await engine.pruner().prune()
        assert foretold == done
        return done

    done: PruneReport = machine.live(then)
    return done


def counts(machine: Machine) -> dict[str, int]:
    return {table: machine.query(f"SELECT count(*) FROM {table}")[0][0] for table in TABLES}


def is_whole(machine: Machine) -> bool:
    with closing(sqlite3.connect(machine.folder / "data" / "ledger.sqlite")) as connection:
        return (
            connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            and connection.execute("PRAGMA foreign_key_check").fetchall() == []
        )


def files(machine: Machine) -> set[int]:
    return {int(path.stem) for path in (machine.folder / "data" / "raw").iterdir()}


def current(machine: Machine) -> set[int]:
    return {call_id for (call_id,) in machine.query("SELECT call_id FROM resource WHERE call_id IS NOT NULL")}


def test_old_history_goes_whole_and_what_is_current_stays(machine: Machine) -> None:
    before, asked = counts(machine), len(machine.asked)
    stories = {symbol: [item["id"] for item in machine.document("news", symbol)["data"]["items"]] for symbol in OLD}
    done = prune(machine, history=90 * DAY)
    after = counts(machine)
    assert (done.runs, done.tasks) == (1, 2), "the first of three fetches is older than 90 days"
    assert after["run"] == before["run"] - 1 == 2
    assert after["call"] == before["call"] - done.calls
    assert done.calls > 0
    assert {name: after[name] for name in ("resource", "spend", "contribution", "document")} == {
        name: before[name] for name in ("resource", "spend", "contribution", "document")
    }
    assert current(machine) <= files(machine)
    assert files(machine) == {call_id for (call_id,) in machine.query("SELECT call_id FROM answer")}
    assert is_whole(machine)
    again = prune(machine, history=90 * DAY)
    assert (again.message, again.tasks, again.files) == ("nothing", 0, 0)
    for symbol in OLD:
        (ended,) = machine.fetch("news", symbol, source="feeds", reparse=True).values()
        assert ended.state == "completed"
        young = [item["id"] for item in machine.document("news", symbol)["data"]["items"]]
        assert young == stories[symbol][: len(young)] != []
    assert len(machine.asked) == asked, "nobody is asked for what was kept"


def test_without_any_age_only_what_is_needed_is_left(machine: Machine) -> None:
    machine.clock.pass_by(HOUR)
    prune(machine, history=1, raw=1)
    after = counts(machine)
    assert (after["task"], after["run"], after["call_use"], after["slot"]) == (0, 0, 0, 0)
    assert {call_id for (call_id,) in machine.query("SELECT id FROM call")} == current(machine)
    assert files(machine) == {call_id for (call_id,) in machine.query("SELECT call_id FROM answer")} == current(machine)
    assert after["spend"] > 0, "budgets go by it"
    assert is_whole(machine)


def test_large_answers_take_no_more_room_than_they_may_and_the_oldest_go_first(machine: Machine) -> None:
    sizes = {int(path.stem): path.stat().st_size for path in (machine.folder / "data" / "raw").iterdir()}
    spare = sorted(sizes.keys() - current(machine))
    assert len(spare) >= 2, "the upstream said something else each time"
    most = sum(sizes.values()) - sizes[spare[0]]
    done = prune(machine, raw=1000 * DAY, raw_size=most)
    assert (done.answers, done.files, done.bytes) == (1, 1, sizes[spare[0]])
    assert files(machine) == sizes.keys() - {spare[0]}
    prune(machine, raw=1000 * DAY, raw_size=1)
    assert files(machine) == current(machine), "what is current stays, however large it is"


def test_a_file_that_nobody_names_goes_and_one_that_is_being_kept_stays(machine: Machine) -> None:
    folder = machine.folder / "data" / "raw"
    (folder / "999999.zst").write_bytes(b"left by a crash")
    (folder / "notes.txt").write_bytes(b"somebody's own")
    with closing(sqlite3.connect(machine.folder / "data" / "ledger.sqlite")) as connection:
        connection.execute(
            "INSERT INTO call (id, resource_key, provider, state, usd_micros, tokens, reserved_at) "
            "VALUES (888888, 'x', 'edgar', 'reserved', 0, 0, 1)"
        )
        connection.commit()
    (folder / "888888.zst").write_bytes(b"its row comes next")

    async def then(engine: Engine) -> None:
        named = (await engine.ledger.read(pruning.answers_in_files)).named
        assert 888888 not in named, "at the start what was under way is lost"
        await engine.pruner().prune()

    machine.live(then)
    assert not (folder / "999999.zst").exists()
    assert (folder / "notes.txt").exists()
    assert not (folder / "888888.zst").exists()


def test_killed_at_any_touch_of_the_disk_the_next_time_ends_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(raw_store, "SMALL", 0)
    monkeypatch.setattr(pruning, "ROWS_PER_SLICE", 2)
    killed, hop = True, 0
    while killed:
        hop += 1
        folder = tmp_path / str(hop)
        folder.mkdir()
        machine = Machine(folder)
        for _ in range(2):
            machine.fetch("news", "AAPL", source="feeds", force=True)
            machine.clock.pass_by(100 * DAY)

        async def life(clock: VirtualClock, machine: Machine = machine) -> None:
            del clock
            async with machine._engine() as engine:
                await engine.pruner().prune()

        killed = run_until_killed(life, hop=3 * hop + 8, clock=machine.clock, seed=1)
        if killed and machine._held is not None:
            machine._held.directory.release()
        prune(machine)
        assert is_whole(machine)
        assert counts(machine)["task"] == 0
        assert files(machine) == current(machine)
    assert hop > 5, "there were moments to be killed at"


def test_a_pause_and_a_follow_up_that_are_long_over_go_too(machine: Machine) -> None:
    async def then(engine: Engine) -> tuple[list[Any], list[Any]]:
        now = machine.clock.now()
        row = PauseRow("news", now - 300 * DAY, None, "moving")
        await engine.ledger.run(partial(pause_store.put_pause, wanted=row))
        await engine.ledger.run(partial(pause_store.end_pause, scope="news", now=now - 200 * DAY))
        await engine.ledger.run(
            lambda conn: conn.exec_driver_sql(
                "INSERT INTO schedule (id, origin, domain, definition, fingerprint, effective_from, cursor, closed_at)"
                " VALUES ('follow-up:X', 'follow_up', 'earnings', '{}', 'x', 1, 1, 2),"
                " ('news', 'yaml', 'news', '{}', 'x', 1, 1, NULL)"
            )
        )
        done = await engine.pruner().prune()
        assert (done.pauses, done.schedules) == (1, 1)
        return [], []

    machine.live(then)
    assert machine.query("SELECT id FROM schedule") == [("news",)]
    assert machine.query("SELECT count(*) FROM pause") == [(0,)]


def test_what_cannot_be_removed_is_told_and_tried_again(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> int:
        raise StoreError("the ledger could not be written: database or disk is full")

    async def then(engine: Engine) -> None:
        pruner = engine.pruner()
        with monkeypatch.context() as full:
            full.setattr(pruning, "remove_old", refuse)
            await _one_day_of(pruner, machine)
            assert pruner.problem is not None
        await _one_day_of(pruner, machine)
        assert pruner.problem is None

    machine.live(then)
    (told,) = machine.said("history.not_pruned")
    assert re.match("what is too old could not be removed: .* disk is full", told)
    (done,) = machine.said("history.pruned")
    assert re.match(r"removed, as too old: 2 tasks, 1 run, .* files of .* bytes", done)


def test_what_was_noticed_goes_with_its_deliveries_unless_a_channel_waits_for_it(machine: Machine) -> None:
    def unit(conn: Connection) -> None:
        keys = ["done@2026-01-01T00:00:00Z", "waits@2026-01-01T00:00:00Z", "last@2026-01-01T00:00:00Z", "story"]
        told = [Notice(key, "a.b", "words", is_alert=True) for key in keys]
        notice_store.add(conn, told, machine.clock.now())
        rows = [row for row in notice_store.unhandled(conn, 1_000) if row.notice in told]
        for row, state in zip(rows, [DELIVERED, WAITING, SUPPRESSED, DELIVERED], strict=True):
            for channel in ("one", "two"):
                delivery_store.add(conn, row, channel, state, row.created_at, row.created_at)
        ids = [row.id for row in notice_store.unhandled(conn, 1_000)]
        notice_store.note_handled(conn, ids, machine.clock.now())
        notice_store.note_logged(conn, ids, machine.clock.now())

    async def then(engine: Engine) -> None:
        await engine.ledger.run(unit)

    machine.live(then)
    machine.clock.pass_by(2 * DAY)
    done = prune(machine, history=HOUR)
    assert done.deliveries == 6
    assert done.notices >= 3
    assert f"6 deliveries, {done.notices} notices" in done.message
    left = machine.query("SELECT key, message FROM outbox WHERE event = 'a.b' ORDER BY id")
    assert left == [("waits@2026-01-01T00:00:00Z", "words"), ("story", "")]
    assert machine.query("SELECT DISTINCT state FROM delivery") == [(WAITING,)]
    assert prune(machine, history=HOUR).notices == 0
    assert is_whole(machine)


def test_what_the_cool_down_looks_back_at_stays(machine: Machine) -> None:
    async def then(engine: Engine) -> None:
        alerts = engine.settings.alerts.model_copy(update={"cool_down": 10 * DAY})
        retention = engine.settings.retention.model_copy(update={"history": HOUR})
        now = machine.clock.now()
        assert cut_off(replace(engine.settings, retention=retention), now).noticed == now - DAY
        assert cut_off(replace(engine.settings, retention=retention, alerts=alerts), now).noticed == now - 10 * DAY

    machine.live(then)


async def _one_day_of(pruner: Pruner, machine: Machine) -> None:
    work = asyncio.create_task(pruner.prune_forever())
    await machine.clock.sleep(3600)
    work.cancel()
    await asyncio.gather(work, return_exceptions=True)


SIZES = st.dictionaries(st.integers(1, 40), st.integers(0, 100), max_size=20)


@given(sizes=SIZES, spare=st.dictionaries(st.integers(1, 40), st.integers(0, 9), max_size=20), most=st.integers(0, 900))
def test_so_much_goes_that_the_rest_fits_and_not_one_more(
    sizes: dict[int, int], spare: dict[int, int], most: int
) -> None:
    ordered = dict(sorted(spare.items()))
    named = frozenset(sizes) | frozenset(spare)
    gone = surplus_of(sizes, InFiles(ordered, named), CutOff(history=5, raw=5, noticed=5), most)
    left = sum(size for call_id, size in sizes.items() if call_id not in gone)
    assert set(gone) <= spare.keys()
    assert {call_id for call_id, at in spare.items() if at < 5} <= set(gone), "what is too old goes in any case"
    assert left <= most or set(gone) == spare.keys()
    young = [call_id for call_id in gone if spare[call_id] >= 5]
    if young:
        assert left + sizes.get(young[-1], 0) > most or any(
            spare[call_id] < 5 for call_id in gone[gone.index(young[-1]) :]
        ), "the last one had to go"
