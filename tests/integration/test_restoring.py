"""A backup in the place of a data directory: what is taken over, what is refused, what stays."""

from __future__ import annotations

import errno
import json
import os
import shutil
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from scheduler_service.backup_scheduler import BackupScheduler
from scheduler_service.backups import restore as restoring
from scheduler_service.backups.making import Maker
from scheduler_service.backups.manifest import BackupRefused
from scheduler_service.backups.restore import Restorer
from scheduler_service.clock import from_iso, to_iso
from scheduler_service.errors import AlreadyRunning, DataDirectoryError
from scheduler_service.models import RunOrigin
from scheduler_service.stores import monitor_store, schedule_store
from scheduler_service.stores.carrying_over import CarriedOver
from scheduler_service.stores.data_directory import DataDirectory
from scheduler_service.stores.database import Ledger
from scheduler_service.stores.monitor_store import MonitorState
from scheduler_service.stores.schedule_store import NewRun
from tests.backup_support import AT, Heard, lived_in, noticed, settings_in, spent
from tests.fakes import FakeClock
from tests.ledger_support import open_ledger

if TYPE_CHECKING:
    from pathlib import Path

    from scheduler_service.backups.restore import Restored
    from scheduler_service.stores.database import Connection

LATER = FakeClock("2026-11-24T10:00:00Z").now()


@pytest.fixture
async def archive(tmp_path: Path) -> Path:
    """A backup; since then the directory has gone on."""
    settings = settings_in(tmp_path)
    async with lived_in(settings) as ledger:
        await ledger.run(partial(spent, usd_micros=100))
        await ledger.run(partial(noticed, key="told later", handled_at=None))
        await ledger.run(partial(watched, forgotten="", told_later=""))
        with ThreadPoolExecutor(1) as pool:
            made = await Maker(settings, ledger, now=FakeClock().now(), tell=lambda progress: None).make(pool)
        await ledger.run(lambda conn: conn.exec_driver_sql("UPDATE spend SET usd_micros = 250, calls = 3"))
        await ledger.run(lambda conn: conn.exec_driver_sql(f"UPDATE outbox SET handled_at = {AT}"))
        await ledger.run(partial(noticed, key="new", handled_at=AT))
        await ledger.run(partial(watched, forgotten="stop:A", told_later="XNYS"))
        await ledger.run(partial(noticed, key="new and waiting", handled_at=None))
        await ledger.run(lambda conn: conn.exec_driver_sql("INSERT INTO sqlite_sequence VALUES ('task', 77)"))
    (tmp_path / "data/documents/news/AAPL.json").write_text('{"newer": 1}')
    return made.path


def watched(conn: Connection, forgotten: str, told_later: str) -> None:
    """Three things that a monitor has told; then of one nothing is remembered, and another is told anew."""
    if not forgotten:
        for subject in ("stop:A", "XNYS", "loss"):
            monitor_store.put(conn, "m", subject, MonitorState("before", AT, AT, {}))
        return
    run = NewRun(RunOrigin.MANUAL, "news", AT + 1, "{}")
    schedule_store.add_run(conn, run, AT + 1)
    monitor_store.forget(conn, "m", forgotten)
    monitor_store.put(conn, "m", told_later, MonitorState("after", AT, AT + 1, {}))


def restore(archive: Path, **changes: Any) -> Restored:
    plain: dict[str, Any] = {"root": archive.parents[1], "mode": "sandbox", "now": LATER}
    return Restorer(archive, **(plain | changes)).restore()


def rows(root: Path, sql: str) -> list[Any]:
    with closing(sqlite3.connect(root / "ledger.sqlite")) as conn:
        return conn.execute(sql).fetchall()


def state(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name not in ("lock", "ledger.sqlite-shm", "ledger.sqlite-wal")
    }


@pytest.mark.parametrize("can_exchange", [True, False])
async def test_a_backup_takes_the_place_of_the_directory(
    archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, can_exchange: bool
) -> None:
    if not can_exchange:
        monkeypatch.setattr(restoring, "exchange", cannot)
    root = tmp_path / "data"
    done = restore(archive)
    assert (root / "documents/news/AAPL.json").read_text() == "{}"
    assert done.old == tmp_path / "data.before-restore-20261124T100000Z"
    assert (done.old / "documents/news/AAPL.json").read_text() == '{"newer": 1}'
    assert (root / "backups" / archive.name).samefile(done.old / "backups" / archive.name)
    assert (root / "restored_from_backup/configuration/1-scheduler.yaml").exists()
    assert {path.name for path in tmp_path.iterdir()} == {"scheduler.yaml", "data", done.old.name}
    directory = DataDirectory(root)
    directory.take()
    directory.release()


@pytest.mark.parametrize("beside", [False, True], ids=["alone", "beside other files"])
async def test_what_would_be_done_is_foretold_as_it_is_done(archive: Path, tmp_path: Path, beside: bool) -> None:
    if beside:
        (tmp_path / "data/scheduler.yaml").write_text("a person's own")
    foretold = Restorer(archive, root=tmp_path / "data", mode="sandbox", now=LATER).old_place()
    assert foretold is not None
    assert not foretold.exists()
    assert restore(archive).old == foretold
    assert Restorer(archive, root=tmp_path / "nowhere", mode="sandbox", now=LATER).old_place() is None


async def test_what_lies_beside_the_data_stays_where_it_is(archive: Path, tmp_path: Path) -> None:
    root = tmp_path / "data"
    for name in ("scheduler.yaml", "portfolio.csv", "app.log", "elsewhere/deep/x"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)
    inodes = {path: path.stat().st_ino for path in (root, root / "scheduler.yaml", root / "elsewhere/deep/x")}
    done = restore(archive)
    assert {path: path.stat().st_ino for path in inodes} == inodes
    assert rows(root, "SELECT usd_micros FROM spend") == [(250,)]
    assert done.old == root / "before-restore-20261124T100000Z"
    assert archive.exists()
    assert {path.name for path in tmp_path.iterdir()} == {"scheduler.yaml", "data"}


async def test_what_cannot_be_swapped_is_told_before_anything_is_done(
    archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "data"
    monkeypatch.setattr(os.path, "ismount", lambda path: path == root / "documents")
    before = state(tmp_path)
    with pytest.raises(BackupRefused, match="data/documents is a mount point, and cannot be swapped; unmount it"):
        restore(archive)
    assert state(tmp_path) == before
    monkeypatch.setattr(os.path, "ismount", lambda path: path == root / "backups")
    assert restore(archive).old == root / "before-restore-20261124T100000Z"


async def test_what_cannot_be_taken_back_is_taken_over(archive: Path, tmp_path: Path) -> None:
    assert restore(archive).carried_over is CarriedOver.ALL
    root = tmp_path / "data"
    assert rows(root, "SELECT calls, usd_micros FROM spend") == [(3, 250)]
    told = dict(rows(root, "SELECT key, handled_at FROM outbox"))
    assert told == {"told later": AT, "new": AT, "new and waiting": None}
    assert rows(root, "SELECT seq FROM sqlite_sequence WHERE name = 'task'") == [(77,)]
    remembered = dict(rows(root, "SELECT subject, state FROM monitor_state"))
    assert remembered == {"XNYS": "after", "loss": "before"}, "what has cleared since is not told again"


async def test_the_backup_that_was_restored_is_the_last_one(archive: Path, tmp_path: Path) -> None:
    restore(archive)
    ((text,),) = rows(tmp_path / "data", "SELECT value FROM meta WHERE key = 'last_backup'")
    manifest = Restorer(archive, root=tmp_path / "data", mode="sandbox", now=LATER).check()
    assert json.loads(text) == {
        "cursor": LATER,
        "made_at": from_iso(manifest.created_at),
        "path": str(archive),
        "size": archive.stat().st_size,
    }


async def test_what_was_just_restored_is_not_backed_up_again_until_the_next_slot(tmp_path: Path) -> None:
    settings = settings_in(tmp_path, 'backup: {trigger: {cron: "0 2 * * *", timezone: UTC}}\n')
    root = tmp_path / "data"

    async def look(at: str) -> list[str]:
        """When the last backup was made, and the days of all there are."""
        async with open_ledger(root / "ledger.sqlite") as ledger:
            backups = BackupScheduler(settings, ledger, FakeClock(at), Heard())
            await backups.look()
            last = (await backups.known()).made_at
        return [to_iso(last or 0)[:13], *sorted(path.name[26:34] for path in (root / "backups").glob("*.zst"))]

    async with lived_in(settings):
        pass
    assert await look("2026-11-23T12:00:00Z") == ["1970-01-01T00"], "a new trigger counts from now"
    assert await look("2026-11-24T02:00:05Z") == ["2026-11-24T02", "20261124"]
    [archive] = (root / "backups").glob("*.zst")
    restore(archive, now=from_iso("2026-11-24T10:00:00Z"))
    assert await look("2026-11-24T10:01:00Z") == ["2026-11-24T02", "20261124"]
    assert await look("2026-11-25T02:00:05Z") == ["2026-11-25T02", "20261124", "20261125"]
    restore(archive, now=from_iso("2026-11-25T10:00:00Z"))
    assert await look("2026-11-25T10:01:00Z") == ["2026-11-24T02", "20261124", "20261125"], "an older one, too"


def change(root: Path, *statements: str) -> None:
    with closing(sqlite3.connect(root / "ledger.sqlite")) as conn, conn:
        for statement in statements:
            conn.execute(statement)


def told(notice_id: int, state: str, tries: int, ended_at: int | str) -> str:
    return f"INSERT OR REPLACE INTO delivery VALUES ({notice_id}, 'c', '{state}', NULL, {tries}, 0, NULL, {ended_at})"


BREACH = "INSERT INTO monitor_state VALUES ('risk', 'AAPL', 'breach', x'7b7d', 1, 1)"
PAUSE = "INSERT INTO pause VALUES ('news', 5, NULL, 'the office moves', NULL)"


async def test_what_is_gone_since_the_backup_stays_gone_and_what_was_stopped_stays_stopped(tmp_path: Path) -> None:
    archive = await backed_up(tmp_path, BREACH, told(1, "waiting", 1, "NULL"))
    root = tmp_path / "data"
    change(root, "DELETE FROM monitor_state", PAUSE, told(1, "delivered", 2, AT))
    assert restore(archive).carried_over is CarriedOver.ALL
    assert rows(root, "SELECT * FROM monitor_state") == []
    assert rows(root, "SELECT scope, since FROM pause") == [("news", 5)]
    assert rows(root, "SELECT state FROM delivery") == [("delivered",)]


async def test_an_older_directory_takes_nothing_back(tmp_path: Path) -> None:
    archive = await backed_up(tmp_path, BREACH, PAUSE, told(1, "delivered", 2, AT))
    root = tmp_path / "data"
    change(root, "DELETE FROM monitor_state", "DELETE FROM pause", told(1, "waiting", 1, "NULL"))
    change(root, "UPDATE sqlite_sequence SET seq = 0", "DELETE FROM outbox WHERE key != 'told'")
    assert restore(archive).carried_over is CarriedOver.ALL
    assert len(rows(root, "SELECT * FROM monitor_state")) == 1
    assert len(rows(root, "SELECT * FROM pause")) == 1
    assert rows(root, "SELECT state FROM delivery") == [("delivered",)]


async def test_of_another_ledger_only_what_was_spent_counts(tmp_path: Path) -> None:
    archive = await backed_up(tmp_path)
    root = tmp_path / "data"
    change(root, BREACH, PAUSE, "UPDATE spend SET usd_micros = 250", "UPDATE outbox SET key = 'of another'")
    change(root, "UPDATE meta SET value = '00000000' WHERE key = 'backup_id'")
    assert restore(archive).carried_over is CarriedOver.SPENT
    assert rows(root, "SELECT usd_micros FROM spend") == [(250,)]
    assert rows(root, "SELECT * FROM monitor_state") == rows(root, "SELECT * FROM pause") == []
    assert rows(root, "SELECT key FROM outbox") == [("told",)]


async def test_a_number_that_was_given_twice_is_no_hindrance(tmp_path: Path) -> None:
    archive = await backed_up(tmp_path)
    root = tmp_path / "data"
    change(root, "UPDATE outbox SET key = 'given the same number'", told(1, "delivered", 1, AT))
    assert restore(archive).carried_over is CarriedOver.ALL
    assert rows(root, "SELECT id, key FROM outbox ORDER BY id") == [(1, "told"), (2, "given the same number")]
    assert rows(root, "SELECT notice_id, state FROM delivery") == [(2, "delivered")]


def carried_out(conn: Connection, statement: str) -> None:
    conn.exec_driver_sql(statement)


async def backed_up(folder: Path, *statements: str) -> Path:
    """Of a directory with one notice, and more."""
    settings = settings_in(folder)
    async with lived_in(settings) as ledger:
        await ledger.run(partial(spent, usd_micros=100))
        await ledger.run(partial(noticed, key="told", handled_at=AT))
        for statement in statements:
            await ledger.run(partial(carried_out, statement=statement))
        with ThreadPoolExecutor(1) as pool:
            made = await Maker(settings, ledger, now=FakeClock().now(), tell=lambda progress: None).make(pool)
    return made.path


async def test_a_damaged_ledger_does_not_stand_in_the_way(archive: Path, tmp_path: Path) -> None:
    ledger = tmp_path / "data/ledger.sqlite"
    ledger.write_bytes(b"not a database" * 1000)
    assert restore(archive).carried_over is CarriedOver.NOTHING
    assert rows(tmp_path / "data", "SELECT usd_micros FROM spend") == [(100,)]


async def test_a_missing_ledger_does_not_stand_in_the_way(archive: Path, tmp_path: Path) -> None:
    (tmp_path / "data/ledger.sqlite").unlink()
    assert restore(archive).carried_over is CarriedOver.NOTHING
    assert rows(tmp_path / "data", "SELECT usd_micros FROM spend") == [(100,)]


async def test_it_can_be_restored_where_nothing_was(
    archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = restore(archive, root=tmp_path / "new")
    assert done.old is None
    assert rows(tmp_path / "new", "SELECT usd_micros FROM spend") == [(100,)]
    assert {path.name for path in tmp_path.iterdir()} == {"scheduler.yaml", "data", "new"}
    monkeypatch.setattr(os.path, "ismount", lambda path: path == tmp_path / "mounted")
    done = restore(archive, root=tmp_path / "mounted")
    assert done.old is None
    assert not list((tmp_path / "mounted").glob("before-restore-*"))


async def test_a_directory_in_use_is_left_alone(archive: Path, tmp_path: Path) -> None:
    held = DataDirectory(tmp_path / "data")
    held.take()
    before = state(tmp_path)
    try:
        with pytest.raises(AlreadyRunning):
            restore(archive)
    finally:
        held.release()
    assert state(tmp_path) == before


async def test_what_is_refused_changes_nothing(archive: Path, tmp_path: Path) -> None:
    body = archive.read_bytes()
    for name, bad in (("cut", body[:-1]), ("changed", body[:500] + b"?" + body[501:]), ("empty", b"")):
        (tmp_path / name).write_bytes(bad)
    before = state(tmp_path)
    for name in ("cut", "changed", "empty"):
        with pytest.raises(BackupRefused, match=f"{name} is not a good backup: "):
            restore(tmp_path / name, root=tmp_path / "data")
    with pytest.raises(BackupRefused, match="it holds sandbox data, and this configuration is live"):
        restore(archive, mode="live")
    with pytest.raises(BackupRefused, match="absent cannot be read: No such file"):
        restore(tmp_path / "absent", root=tmp_path / "data")
    with pytest.raises(BackupRefused, match=r"is not a file|cannot be read"):
        restore(tmp_path, root=tmp_path / "data")
    assert state(tmp_path) == before
    assert not (tmp_path / "elsewhere").exists()


def test_what_is_no_file_is_not_waited_for(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.tar.zst"
    os.mkfifo(pipe)
    for nothing, why in ((pipe, "is not a file"), (tmp_path, "is not a file"), (tmp_path / "x", "No such file")):
        with pytest.raises(BackupRefused, match=why):
            restoring.open_archive(nothing)


async def test_a_disk_without_room_is_told_before_anything_is_written(
    archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(restoring, "LEFT_FREE", 10**18)
    before = state(tmp_path)
    with pytest.raises(BackupRefused, match="make room"):
        restore(archive)
    assert state(tmp_path) == before


@pytest.mark.parametrize("step", ["unpacked", "carried over", "complete", "ready"])
async def test_an_error_on_the_way_leaves_nothing_behind(archive: Path, tmp_path: Path, step: str) -> None:
    def fails(reached: str) -> None:
        if reached == step:
            raise OSError(errno.ENOSPC, "No space left on device")

    before = state(tmp_path)
    with pytest.raises(DataDirectoryError, match="No space left"):
        restore(archive, reached=fails)
    assert state(tmp_path) == before


async def test_a_swap_that_breaks_in_the_middle_is_taken_back(
    archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(reached: str) -> None:
        if reached == "old one moved":
            raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(restoring, "exchange", cannot)
    before = state(tmp_path)
    with pytest.raises(DataDirectoryError, match="Input/output"):
        restore(archive, reached=fails)
    assert state(tmp_path) == before


async def test_a_mount_point_is_restored_from_within(
    archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "data"
    monkeypatch.setattr(os.path, "ismount", lambda path: str(path) == str(root))
    (root / "jobs.sqlite").write_bytes(b"jobs of now")
    (root / "token").write_text("sesame")
    inode = root.stat().st_ino
    done = restore(archive)
    assert root.stat().st_ino == inode
    assert done.old == root / "before-restore-20261124T100000Z"
    assert (root / "documents/news/AAPL.json").read_text() == "{}"
    assert (done.old / "documents/news/AAPL.json").read_text() == '{"newer": 1}'
    assert (root / "token").read_text() == "sesame"
    assert archive.exists()
    assert not (root / "jobs.sqlite").exists()
    assert rows(root, "SELECT usd_micros FROM spend") == [(250,)]
    assert {path.name for path in root.iterdir()} - {"ledger.sqlite-wal", "ledger.sqlite-shm"} == {
        *("backups", "calendars", "documents", "ledger.sqlite", "lock", "raw", "restored_from_backup"),
        *("strategy_log", "token", done.old.name),
    }
    before = state(tmp_path)
    monkeypatch.setattr(restoring, "LEFT_FREE", 10**18)
    with pytest.raises(BackupRefused, match="make room"):
        restore(archive)
    assert state(tmp_path) == before


async def test_nothing_is_read_while_a_directory_is_half_restored(archive: Path, tmp_path: Path) -> None:
    root = tmp_path / "data"
    ledger = Ledger(root / "ledger.sqlite")
    for half in (root / ".restoring-20261124T100000Z", tmp_path / "data.restoring-20261124T100000Z"):
        half.mkdir()
        (half / "restored").write_text("20261124T100000Z\n")
        if half.parent == tmp_path:
            root.rename(tmp_path / "moved")
        with pytest.raises(DataDirectoryError, match="a restore of it was cut off; start the service, or run restore"):
            await ledger.open_query_only()
        shutil.rmtree(half)
    await ledger.close()


async def test_what_a_restore_left_beside_does_not_come_back_later(archive: Path, tmp_path: Path) -> None:
    root = tmp_path / "data"
    (tmp_path / ".data.unpacking-20261124T100000Z").mkdir()
    new, old = tmp_path / "data.restoring-20261124T100000Z", tmp_path / "data.restoring-20261124T110000Z"
    for left in (new, old):
        left.mkdir()
        (left / "restored").write_text("20261124T100000Z\n")
    directory = DataDirectory(root)
    directory.take()
    directory.release()
    root.rename(tmp_path / "moved")  # to start anew
    directory.hold()
    directory.release()
    assert not (root / "restored").exists()
    assert {path.name for path in tmp_path.iterdir()} == {
        *("data", "moved", "scheduler.yaml", "data.before-restore-20261124T110000Z")
    }


async def test_an_old_directory_is_not_taken_for_the_restored_one(tmp_path: Path) -> None:
    (tmp_path / "data.restoring-20261124T100000Z/documents").mkdir(parents=True)
    directory = DataDirectory(tmp_path / "data")
    directory.hold()
    directory.release()
    assert (tmp_path / "data.before-restore-20261124T100000Z").exists()


def cannot(one: Path, other: Path) -> None:
    raise OSError(errno.ENOSYS, "Function not implemented")
