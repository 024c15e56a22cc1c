"""The ledger's promises: what is acknowledged is on disk, and no unit of work suffers for another."""

from __future__ import annotations

import asyncio
import sqlite3
import stat
import subprocess
import sys
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import Connection, insert, select, text
from sqlalchemy.exc import IntegrityError

from scheduler_service.errors import DataDirectoryError, LedgerDamaged, StoreError
from scheduler_service.models import Notice
from scheduler_service.stores import database, notice_store, schema
from scheduler_service.stores.data_directory import DataDirectory
from scheduler_service.stores.database import Ledger
from scheduler_service.stores.integrity import trouble
from scheduler_service.stores.mode import claim_mode
from scheduler_service.stores.pause_store import PauseRow, pauses
from scheduler_service.stores.schema import meta
from tests.ledger_support import open_ledger
from tests.virtual_time import VirtualClock, run

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def put(key: str, value: str = "x") -> Callable[[Connection], str]:
    def unit(conn: Connection) -> str:
        conn.execute(insert(meta).values(key=key, value=value))
        return key

    return unit


def keys(conn: Connection) -> set[str]:
    return set(conn.scalars(select(meta.c.key))) - {"schema_version"}


def damage(path: Path, where: int, what: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(where)
        file.write(what)


async def filled(path: Path, rows: int = 200) -> None:
    async with open_ledger(path) as ledger:
        await asyncio.gather(*(ledger.run(put(f"key {number}", "v" * 500)) for number in range(rows)))


async def test_it_returns_what_the_unit_returned_once_others_can_see_it(tmp_path: Path) -> None:
    async with open_ledger(tmp_path / "ledger.sqlite") as ledger:
        assert await ledger.run(put("a")) == "a"
        with closing(sqlite3.connect(ledger.path)) as other:
            assert other.execute("SELECT value FROM meta WHERE key = 'a'").fetchall() == [("x",)]
        assert await ledger.read(keys) == {"a"}


async def test_what_was_acknowledged_survives_a_process_that_does_not_close(tmp_path: Path) -> None:
    story = (
        "import asyncio, os, sys; from pathlib import Path; from sqlalchemy import text\n"
        "from scheduler_service.stores.database import Ledger\n"
        "async def main():\n"
        "    ledger = Ledger(Path(sys.argv[1])); await ledger.open()\n"
        "    writer = asyncio.create_task(ledger.write_forever())\n"
        "    await ledger.run(lambda conn: conn.execute(text(\"INSERT INTO meta VALUES ('a', 'x')\")) and None)\n"
        "    os._exit(137)\n"
        "asyncio.run(main())\n"
    )
    path = tmp_path / "ledger.sqlite"
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", story, str(path))
    assert await process.wait() == 137
    async with open_ledger(path) as ledger:
        assert await ledger.read(keys) == {"a"}


async def test_a_unit_that_fails_takes_no_other_of_its_batch_with_it(tmp_path: Path) -> None:
    def half_done(conn: Connection) -> None:
        put("half")(conn)
        raise ZeroDivisionError

    ledger = Ledger(tmp_path / "ledger.sqlite")
    await ledger.open()
    units: list[Callable[[Connection], Any]] = [put("a"), half_done, put("a"), lambda c: c.execute(text("NO SQL"))]
    results = asyncio.gather(*(ledger.run(unit) for unit in [*units, put("b")]), return_exceptions=True)
    await asyncio.sleep(0)  # all of them wait before the writer starts: one batch
    ledger.stop_writing()
    await ledger.write_forever()
    first, zero, twice, wrong, last = await results
    assert (first, last) == ("a", "b")
    assert isinstance(zero, ZeroDivisionError)
    assert isinstance(twice, IntegrityError)
    assert isinstance(wrong, StoreError)
    assert await ledger.read(keys) == {"a", "b"}
    await ledger.close()


async def test_a_unit_that_breaks_the_batch_is_sorted_out_and_the_others_commit(tmp_path: Path) -> None:
    def too_much(conn: Connection) -> None:
        conn.exec_driver_sql("PRAGMA max_page_count=1")
        try:
            put("big", "v" * 1_000_000)(conn)
        finally:
            conn.exec_driver_sql("PRAGMA max_page_count=1000000")

    async with open_ledger(tmp_path / "ledger.sqlite") as ledger:
        units = [*(put(f"a{n}") for n in range(20)), too_much, *(put(f"b{n}") for n in range(20))]
        results = await asyncio.gather(*map(ledger.run, units), return_exceptions=True)
        [failure] = [result for result in results if not isinstance(result, str)]
        assert isinstance(failure, StoreError)
        assert "full" in str(failure)
        assert await ledger.read(keys) == {f"{letter}{n}" for letter in "ab" for n in range(20)}


async def test_it_waits_for_a_lock_once_says_so_to_all_and_goes_on_when_it_is_released(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "BUSY_TIMEOUT_MS", 100)
    loop = asyncio.get_running_loop()
    async with open_ledger(tmp_path / "ledger.sqlite") as ledger:
        with closing(sqlite3.connect(ledger.path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            started = loop.time()
            results = await asyncio.gather(*(ledger.run(put(f"k{n}")) for n in range(30)), return_exceptions=True)
            assert loop.time() - started < 1.5, "thirty units must not wait thirty times"
            assert {str(result) for result in results} == {"the ledger could not be written: database is locked"}
            assert await ledger.read(keys) == set(), "readers are not held up"
            other.execute("ROLLBACK")
        assert await ledger.run(put("after")) == "after"


async def test_a_unit_whose_waiter_gave_up_is_committed_all_the_same(tmp_path: Path) -> None:
    async with open_ledger(tmp_path / "ledger.sqlite") as ledger:
        impatient = asyncio.create_task(ledger.run(put("a")))
        await asyncio.sleep(0)
        impatient.cancel()
        await ledger.run(put("b"))
        assert impatient.cancelled()
        assert await ledger.read(keys) == {"a", "b"}


async def test_it_commits_what_has_queued_up_before_it_stops_and_refuses_the_rest(tmp_path: Path) -> None:
    async with open_ledger(tmp_path / "ledger.sqlite") as ledger:
        waiting = [asyncio.create_task(ledger.run(put(f"k{n}"))) for n in range(700)]
        await asyncio.sleep(0)
        ledger.stop_writing()
        with pytest.raises(StoreError, match="closing"):
            await ledger.run(put("late"))
        assert len(await asyncio.gather(*waiting)) == 700
        assert ledger.commits <= 3
    with pytest.raises(StoreError, match="not open"):
        await ledger.read(keys)


@pytest.mark.parametrize("end", ["cancelled", "broken"])
async def test_nobody_waits_for_ever_for_a_writer_that_has_ended(tmp_path: Path, end: str) -> None:
    ledger = Ledger(tmp_path / "ledger.sqlite")
    await ledger.open()
    writer = asyncio.create_task(ledger.write_forever())
    if end == "broken":

        def commit(units: list[Callable[[Connection], Any]]) -> list[tuple[Any, BaseException | None]]:
            raise ZeroDivisionError(units)

        ledger._commit = commit  # type: ignore[method-assign]
    waiting = [asyncio.create_task(ledger.run(put(f"k{n}"))) for n in range(3)]
    await asyncio.sleep(0)
    if end == "cancelled":
        writer.cancel()
    await asyncio.gather(writer, return_exceptions=True)
    for waiter in waiting:
        with pytest.raises(StoreError, match="unknown"):
            await waiter
    with pytest.raises(StoreError, match="closing"):
        await ledger.run(put("late"))
    await ledger.close()


def test_thirty_two_producers_share_their_commits(tmp_path: Path) -> None:
    async def story(clock: VirtualClock) -> float:
        async with open_ledger(tmp_path / "ledger.sqlite") as ledger:

            async def produce(name: int) -> None:
                for number in range(10):
                    await clock.sleep(0.001 * (name % 7))
                    await ledger.run(put(f"{name} {number}"))

            await asyncio.gather(*map(produce, range(32)))
            return ledger.commits / 320

    assert run(story) <= 0.15


async def test_its_files_are_the_users_alone_from_their_first_moment(tmp_path: Path) -> None:
    old = tmp_path / "old.sqlite"
    old.touch(mode=0o644)
    for path in (tmp_path / "ledger.sqlite", old):
        async with open_ledger(path) as ledger:
            await ledger.run(put("a"))
            for suffix in ("", "-wal", "-shm"):
                assert stat.S_IMODE(path.with_name(path.name + suffix).stat().st_mode) == 0o600, suffix


async def test_its_path_is_taken_literally(tmp_path: Path) -> None:
    folder = tmp_path / "a?b=c#d %41"
    folder.mkdir()
    async with open_ledger(folder / "ledger.sqlite") as ledger:
        await ledger.run(put("a"))
    assert (folder / "ledger.sqlite").stat().st_size > 0
    assert [path.name for path in tmp_path.iterdir()] == [folder.name]


async def test_every_commit_is_synced_and_references_are_checked(tmp_path: Path) -> None:
    def settings(conn: Connection) -> list[object]:
        return [conn.exec_driver_sql(f"PRAGMA {name}").scalar() for name in ("journal_mode", "synchronous")]

    def dangling(conn: Connection) -> None:
        conn.execute(insert(schema.slot).values(schedule_id="none", due_at=1, until_at=1, slots=1, outcome="ran"))

    async with open_ledger(tmp_path / "ledger.sqlite") as ledger:
        assert await ledger.run(settings) == ["wal", 2]
        with pytest.raises(IntegrityError):
            await ledger.run(dangling)
        with pytest.raises(StoreError, match="readonly"):
            await ledger.read(put("a"))


async def test_an_empty_file_becomes_a_new_ledger(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    path.touch()
    async with open_ledger(path) as ledger:
        assert await ledger.read(keys) == set()


@pytest.mark.parametrize("how", ["garbage", "half", "many pages", "one page"])
async def test_a_damaged_ledger_is_refused_in_words_and_left_as_it_is(tmp_path: Path, how: str) -> None:
    """Fault 44."""
    path = tmp_path / "ledger.sqlite"
    await filled(path)
    size = path.stat().st_size
    if how == "garbage":
        damage(path, 0, b"<html>502 Bad Gateway</html>")
    elif how == "half":
        subprocess.run(["truncate", "-s", str(size // 2), path], check=True)
    elif how == "many pages":
        damage(path, 4096 * 2, b"\xff" * 4096 * 20)
    else:
        damage(path, size - 4096, b"\xff" * 4096)
    before = path.read_bytes()
    ledger = Ledger(path)
    with pytest.raises(LedgerDamaged, match="restore a backup"):
        await ledger.open()
    await ledger.close()
    assert path.read_bytes() == before


async def test_a_ledger_that_cannot_be_written_is_not_called_damaged(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    path.mkdir()
    with pytest.raises(DataDirectoryError, match="cannot be used"):
        await Ledger(path).open()


async def test_a_ledger_that_another_program_holds_is_not_called_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "BUSY_TIMEOUT_MS", 10)
    path = tmp_path / "ledger.sqlite"
    await filled(path, 1)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(DataDirectoryError, match="locked by another program"):
            await Ledger(path).open()


async def test_it_refuses_a_ledger_of_a_newer_program_and_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    await filled(path, 1)
    with closing(sqlite3.connect(path)) as other:
        other.execute("UPDATE meta SET value = '99' WHERE key = 'schema_version'")
        other.commit()
    for opening in (Ledger(path).open, Ledger(path).open_query_only):
        with pytest.raises(DataDirectoryError, match="newer version of this program \\(schema 99"):
            await opening()
    with closing(sqlite3.connect(path)) as other:
        assert other.execute("SELECT value FROM meta WHERE key = 'schema_version'").fetchone() == ("99",)
    assert not (tmp_path / "backups").exists()


class TestMigration:
    """From version 1 to 3, in steps, on a copy of the tables as they are."""

    @pytest.fixture(autouse=True)
    def _three_versions(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(schema, "VERSION", 3)
        monkeypatch.setattr(database, "MIGRATIONS", {1: self.add, 2: self.fill})
        self.fails = False

    def add(self, conn: Connection) -> None:
        conn.execute(text("CREATE TABLE extra (a TEXT)"))

    def fill(self, conn: Connection) -> None:
        conn.execute(text("INSERT INTO extra SELECT key FROM meta WHERE key = 'a'"))
        if self.fails:
            raise sqlite3.OperationalError("disk I/O error")

    async def old(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        with monkeypatch.context() as before:
            before.setattr(schema, "VERSION", 1)
            async with open_ledger(path) as ledger:
                await ledger.run(put("a"))

    async def test_it_goes_step_by_step_after_a_copy(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        path = tmp_path / "ledger.sqlite"
        await self.old(path, monkeypatch)
        for _ in range(2):
            async with open_ledger(path) as ledger:
                assert await ledger.read(lambda conn: list(conn.scalars(text("SELECT a FROM extra")))) == ["a"]
                version = await ledger.read(lambda conn: conn.scalar(select(meta.c.value).order_by(meta.c.key.desc())))
                assert version == "3"
        [copy] = (tmp_path / "backups").iterdir()
        assert (copy.name, stat.S_IMODE(copy.stat().st_mode)) == ("ledger-schema-1.sqlite", 0o600)
        with closing(sqlite3.connect(copy)) as kept:
            assert kept.execute("SELECT value FROM meta ORDER BY key").fetchall() == [("x",), ("1",)]

    async def test_a_step_that_fails_leaves_the_old_ledger(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = tmp_path / "ledger.sqlite"
        await self.old(path, monkeypatch)
        self.fails = True
        with pytest.raises(DataDirectoryError, match="disk I/O error"):
            await Ledger(path).open()
        with closing(sqlite3.connect(path)) as other:
            assert other.execute("SELECT value FROM meta WHERE key = 'schema_version'").fetchone() == ("1",)
            assert other.execute("SELECT count(*) FROM sqlite_master WHERE name = 'extra'").fetchone() == (0,)
        self.fails = False
        async with open_ledger(path) as ledger:
            assert await ledger.read(lambda conn: list(conn.scalars(text("SELECT a FROM extra")))) == ["a"]

    async def test_a_look_from_beside_does_not_migrate(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        path = tmp_path / "ledger.sqlite"
        await self.old(path, monkeypatch)
        with pytest.raises(DataDirectoryError, match="older version"):
            await Ledger(path).open_query_only()


def make_version_3(old: sqlite3.Connection) -> None:
    """As it was before anything was noticed: an outbox that nobody wrote to."""
    for table in ("delivery", "monitor_state", "outbox"):
        old.execute(f"DROP TABLE {table}")
    old.execute("CREATE TABLE outbox (key TEXT PRIMARY KEY, event TEXT NOT NULL)")


async def test_a_ledger_of_version_1_keeps_its_pauses_and_becomes_like_a_new_one(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    async with open_ledger(path):
        pass
    layout = "SELECT name, \"notnull\", pk FROM pragma_table_info('pause')"
    with closing(sqlite3.connect(path)) as old, old:
        new = old.execute(layout).fetchall()
        make_version_3(old)
        old.execute("DROP TABLE pause")
        old.execute("DROP TABLE doubtful")
        old.execute(
            "CREATE TABLE pause (scope TEXT NOT NULL PRIMARY KEY, reason TEXT, since BIGINT NOT NULL, until BIGINT)"
        )
        old.execute("INSERT INTO pause VALUES ('*', 'moving', 5, NULL), ('news', NULL, 6, 7)")
        old.execute("UPDATE meta SET value = '1' WHERE key = 'schema_version'")
    async with open_ledger(path) as ledger:
        assert await ledger.read(pauses) == [PauseRow("*", 5, None, "moving"), PauseRow("news", 6, 7, None)]
    with closing(sqlite3.connect(path)) as migrated:
        assert migrated.execute(layout).fetchall() == new
        assert migrated.execute("SELECT value FROM meta WHERE key = 'schema_version'").fetchone() == (
            str(schema.VERSION),
        )
    assert [copy.name for copy in (tmp_path / "backups").iterdir()] == ["ledger-schema-1.sqlite"]


async def test_a_ledger_of_version_2_can_set_answers_aside_like_a_new_one(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    async with open_ledger(path):
        pass
    layout = "SELECT name, type, \"notnull\", pk FROM pragma_table_info('doubtful')"
    with closing(sqlite3.connect(path)) as old, old:
        new = old.execute(layout).fetchall()
        make_version_3(old)
        old.execute("DROP TABLE doubtful")
        old.execute("UPDATE meta SET value = '2' WHERE key = 'schema_version'")
    async with open_ledger(path):
        pass
    with closing(sqlite3.connect(path)) as migrated:
        assert migrated.execute(layout).fetchall() == new


async def test_a_ledger_of_version_3_can_notice_like_a_new_one(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    async with open_ledger(path):
        pass
    layout = 'SELECT m.name, i.name, i.type, i."notnull", i.pk FROM sqlite_master m, pragma_table_info(m.name) i'
    mine = f"{layout} WHERE m.tbl_name IN ('outbox', 'delivery', 'monitor_state') ORDER BY m.name, i.cid"
    indexes = "SELECT name FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL ORDER BY name"
    with closing(sqlite3.connect(path)) as old, old:
        new = old.execute(mine).fetchall(), old.execute(indexes).fetchall()
        make_version_3(old)
        old.execute("UPDATE meta SET value = '3' WHERE key = 'schema_version'")
    async with open_ledger(path) as ledger:
        told = await ledger.run(lambda conn: notice_store.add(conn, [Notice("k", "a.b", "words")] * 2, 5))
        assert told == [Notice("k", "a.b", "words")]
    with closing(sqlite3.connect(path)) as migrated:
        assert (migrated.execute(mine).fetchall(), migrated.execute(indexes).fetchall()) == new


async def test_a_look_from_beside_makes_nothing_and_writes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    with pytest.raises(DataDirectoryError, match="nothing has run here yet"):
        await Ledger(path).open_query_only()
    assert list(tmp_path.iterdir()) == []
    path.touch()
    with pytest.raises(DataDirectoryError, match="nothing has run here yet"):
        await Ledger(path).open_query_only()
    async with open_ledger(path) as ledger:
        await ledger.run(put("a"))
        beside = Ledger(path)
        await beside.open_query_only()
        assert await beside.read(keys) == {"a"}
        with pytest.raises(StoreError, match="readonly"):
            await beside.read(put("b"))
        await beside.close()


async def test_a_directory_is_sandbox_or_live_for_ever(tmp_path: Path) -> None:
    async with open_ledger(tmp_path / "ledger.sqlite") as ledger:
        for _ in range(2):
            await ledger.run(lambda conn: claim_mode(conn, "sandbox", "/data"))
        with pytest.raises(DataDirectoryError, match="/data holds sandbox data, and this configuration is live"):
            await ledger.run(lambda conn: claim_mode(conn, "live", "/data"))


async def test_a_ledger_beside_which_nothing_can_be_made_is_read_where_nobody_writes_it(tmp_path: Path) -> None:
    """As on a disk that can only be read: SQLite makes a file beside a ledger for its readers too."""
    path = tmp_path / "a b%20c?d" / "ledger.sqlite"
    path.parent.mkdir()
    async with open_ledger(path) as ledger:
        await ledger.run(put("a"))
    in_the_way, log = path.with_name("ledger.sqlite-shm"), path.with_name("ledger.sqlite-wal")
    in_the_way.unlink(missing_ok=True)
    in_the_way.symlink_to("/proc/nowhere")
    beside = Ledger(path)
    try:
        await beside.open_query_only()
        assert await beside.read(keys) == {"a"}
    finally:
        await beside.close()
    assert trouble(path) is None
    log.write_bytes(b"what was committed last, say")
    with pytest.raises(DataDirectoryError, match=r"cannot be used: .*; see that there is space"):
        await Ledger(path).open_query_only()
    assert trouble(path) is not None
    log.unlink()
    directory = DataDirectory(path.parent)
    directory.hold()
    try:
        with pytest.raises(DataDirectoryError, match="cannot be used"):
            await Ledger(path).open_query_only()
    finally:
        directory.release()
