"""Backups of a directory that is in use, when they are made, and what becomes of those that cannot be."""

from __future__ import annotations

import asyncio
import errno
import io
import os
import sqlite3
import stat
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, closing
from typing import IO, TYPE_CHECKING

import pytest
from sqlalchemy import insert

from scheduler_service.backing_up import follow_backup
from scheduler_service.backup_scheduler import BackupScheduler, BackupState
from scheduler_service.backups import archive, making
from scheduler_service.backups.archive import ArchiveWriter
from scheduler_service.backups.contents import open_plain
from scheduler_service.backups.making import BackupFailed, Maker, Progress
from scheduler_service.backups.restore import open_archive, verified
from scheduler_service.backups.rotation import parse_name
from scheduler_service.clock import DAY, HOUR, MINUTE
from scheduler_service.errors import StoreError
from scheduler_service.stores import notice_store
from scheduler_service.stores.atomic_files import TEMPORARY
from scheduler_service.stores.schema import meta
from scheduler_service.stores.snapshot import PAGES_PER_STEP, check_copy
from scheduler_service.web.views import BackupRequest
from tests.backup_support import Heard, answered, lived_in, settings_in
from tests.fakes import FakeClock
from tests.ledger_support import open_ledger

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from scheduler_service.backups.making import Made
    from scheduler_service.settings.loaded import Settings
    from scheduler_service.stores.database import Connection, Ledger

NIGHTLY = 'backup: {trigger: {cron: "0 2 * * *", timezone: UTC}}\n'


def write(key: str, size: int = 1) -> Callable[[Connection], None]:
    def unit(conn: Connection) -> None:
        conn.execute(insert(meta).values(key=key, value="x" * size))

    return unit


async def make(settings: Settings, ledger: Ledger, **changes: object) -> Made:
    plain: dict[str, object] = {"now": FakeClock().now(), "tell": lambda progress: None}
    with ThreadPoolExecutor(1) as pool:
        return await Maker(settings, ledger, **(plain | changes)).make(pool)  # type: ignore[arg-type] # by name


async def test_commits_do_not_wait_for_the_copy_and_are_in_it(tmp_path: Path) -> None:
    async with open_ledger(tmp_path / "ledger.sqlite") as ledger:
        for n in range(20):
            await ledger.run(write(f"big {n}", 1_000_000))
        loop, done, steps = asyncio.get_running_loop(), asyncio.Event(), 0
        committed: list[int] = []

        async def go_on() -> None:
            n = 0
            while not done.is_set():
                await ledger.run(write(f"meanwhile {n}"))
                committed.append(steps)
                n += 1

        def step(copied: int, total: int) -> None:
            nonlocal steps
            steps += 1
            asyncio.run_coroutine_threadsafe(asyncio.sleep(0.002), loop).result()  # others get to the loop

        going_on = asyncio.create_task(go_on())
        await ledger.copy_to(tmp_path / "copy", step)
        done.set()
        await going_on
    assert steps >= 20_000_000 / 4096 // PAGES_PER_STEP
    assert len(set(committed)) > steps // 2  # about one after each step
    with closing(sqlite3.connect(tmp_path / "copy")) as copy:
        [(found,)] = copy.execute("SELECT count(*) FROM meta WHERE key LIKE 'meanwhile %'").fetchall()
        assert found >= len(committed) - 2
        assert copy.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    assert not (tmp_path / "copy-wal").exists()


async def test_a_backup_holds_what_is_needed_and_no_more(tmp_path: Path) -> None:
    secret = "providers: {sandbox: {enabled: true}, perplexity: {api_keys: [pplx-made-up-here]}}\n"
    settings = settings_in(tmp_path, "logging: {file: {path: app.log}}\n")
    (tmp_path / "scheduler.yaml").write_text((tmp_path / "scheduler.yaml").read_text() + f"# {secret}")
    for name in ("app.log", "app.20261123T143000123456Z.log", "app.notes", "other.log"):
        (tmp_path / name).write_text("line\n")
    told: list[Progress] = []
    async with lived_in(settings) as ledger:
        (tmp_path / "data/documents/news/half.json.0a.tmp").write_text("{")
        (tmp_path / "data/documents/news/link.json").symlink_to("/etc/hostname")
        await ledger.run(lambda conn: answered(conn, 7))
        made = await make(settings, ledger, tell=told.append)
    assert [member.name for member in made.manifest.members] == [
        "data/ledger.sqlite",
        "data/documents/news/AAPL.json",
        "data/strategy_log/2026-11.jsonl",
        "data/raw/7.zst",
        "configuration/1-scheduler.yaml",
        "logs/app.20261123T143000123456Z.log",
        "logs/app.log",
    ]
    assert [sentence.partition(" could")[0] for sentence in made.manifest.left_out] == ["data/documents/news/link.json"]
    assert (made.manifest.mode, made.manifest.service) == ("sandbox", "stocks")
    assert stat.S_IMODE(made.path.stat().st_mode) == 0o600
    assert [path.name for path in made.path.parent.iterdir()] == [made.path.name]
    assert {progress.phase for progress in told} == {"ledger", "archive", "verify"}
    assert all(progress.done <= progress.total for progress in told)
    with open_archive(made.path) as file:
        assert verified(file, made.path) == made.manifest


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EDQUOT])
async def test_a_disk_that_fails_leaves_no_half_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    settings = settings_in(tmp_path)
    add, added = ArchiveWriter.add, 0

    def fails(self: ArchiveWriter, *arguments: object) -> None:
        nonlocal added
        added += 1
        if added == 3:
            raise OSError(number, os.strerror(number))
        add(self, *arguments)  # type: ignore[arg-type] # as they came

    monkeypatch.setattr(ArchiveWriter, "add", fails)
    async with lived_in(settings) as ledger:
        with pytest.raises(BackupFailed, match=os.strerror(number)):
            await make(settings, ledger)
        await ledger.run(write("goes on"))
    assert list((tmp_path / "data/backups").iterdir()) == []


@pytest.mark.parametrize("name", ["a:b.json", "aapl.json", "a\nb.json", "a.json.", "\u00e9.json", "\udcff.json"])
async def test_a_file_of_a_stranger_does_not_stand_in_the_way(tmp_path: Path, name: str) -> None:
    settings = settings_in(tmp_path)
    async with lived_in(settings) as ledger:
        (tmp_path / "data/documents/news" / name).write_text("theirs")
        made = await make(settings, ledger)
    names = [member.name for member in made.manifest.members]
    assert "data/documents/news/AAPL.json" in names
    assert not any(member.endswith("b.json") for member in names)
    [sentence] = made.manifest.left_out
    assert "has no name for a backup" in sentence
    assert sentence.isprintable()


class Failing(io.BytesIO):
    """A file on a disk that fails from its third byte on."""

    def read(self, size: int | None = -1, /) -> bytes:
        if size is None or self.tell() + size > 2:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return super().read(size)


@pytest.mark.parametrize("read_first", [2, 1000])
async def test_what_cannot_be_read_is_left_out_or_filled_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, read_first: int
) -> None:
    def opens(path: Path) -> tuple[IO[bytes], int]:
        return (Failing(path.read_bytes()), 7) if path.name == "2026-11.jsonl" else open_plain(path)

    settings = settings_in(tmp_path)
    async with lived_in(settings) as ledger:
        (tmp_path / "data/strategy_log/2026-11.jsonl").write_text("{one}{t")
        monkeypatch.setattr(making, "open_plain", opens)
        monkeypatch.setattr(making, "READ_FIRST", read_first)
        made = await make(settings, ledger)
    log = "data/strategy_log/2026-11.jsonl"
    sizes = [member.size for member in made.manifest.members if member.name == log]
    if read_first == 2:
        assert made.manifest.left_out == (
            f"{log} could be read to byte 2 alone, and has zeros from there: Input/output error",
        )
        assert sizes == [7]
    else:
        assert made.manifest.left_out == (f"{log} could not be read: Input/output error",)
        assert sizes == []


async def test_a_ledger_copy_that_cannot_be_read_is_no_backup(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def opens(path: Path) -> tuple[IO[bytes], int]:
        if "-ledger-" in path.name:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return open_plain(path)

    settings = settings_in(tmp_path)
    monkeypatch.setattr(making, "open_plain", opens)
    async with lived_in(settings) as ledger:
        with pytest.raises(BackupFailed, match=r"the copy of the ledger in .*backups could not be read: Input/output"):
            await make(settings, ledger)
    assert list((tmp_path / "data/backups").iterdir()) == []


async def test_a_log_of_one_repeated_line_does_not_stand_in_the_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive, "MOST_UNPACKED", 1_000)
    settings = settings_in(tmp_path, "logging: {file: {path: app.log}}\n")
    (tmp_path / "app.log").write_bytes(b"the same\n" * 1_000_000)
    async with lived_in(settings) as ledger:
        assert (await make(settings, ledger)).manifest.size > 9_000_000


async def test_what_cannot_be_listed_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings, scandir = settings_in(tmp_path, "logging: {file: {path: absent/app.log}}\n"), os.scandir

    def fails(path: Path | str) -> object:
        if str(path).endswith("documents/news"):
            raise OSError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", fails)
    async with lived_in(settings) as ledger:
        (tmp_path / "scheduler.yaml").unlink()
        made = await make(settings, ledger)
    assert made.manifest.left_out == (
        "data/documents/news could not be listed: Permission denied",
        "configuration/1-scheduler.yaml could not be read: No such file or directory",
        "logs could not be listed: No such file or directory",
    )


async def test_of_many_that_are_left_out_the_first_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = settings_in(tmp_path)
    monkeypatch.setattr(making, "MOST_LEFT_OUT", 2)
    async with lived_in(settings) as ledger:
        for n in range(5):
            (tmp_path / f"data/documents/news/{n}.").write_text("")
        made = await make(settings, ledger)
    assert len(made.manifest.left_out) == 3
    assert made.manifest.left_out[-1] == "and 3 more"


async def test_the_last_of_a_disk_is_left_to_others(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    async with lived_in(settings) as ledger:
        with pytest.raises(BackupFailed, match="nearly full, and a backup leaves 100 MB free; make room"):
            await make(settings, ledger, free=lambda path: 100_000_000)


async def test_a_directory_whose_disk_is_absent_is_not_made(tmp_path: Path) -> None:
    settings = settings_in(tmp_path, "backup: {directory: mnt/backups}\n")
    async with lived_in(settings) as ledger:
        with pytest.raises(BackupFailed, match="mnt/backups: No such file or directory"):
            await make(settings, ledger)
    assert not (tmp_path / "mnt").exists()


async def test_what_does_not_read_back_is_no_backup(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings, fsync = settings_in(tmp_path), os.fsync

    def rots(descriptor: int) -> None:
        fsync(descriptor)
        if os.readlink(f"/proc/self/fd/{descriptor}").endswith(TEMPORARY):
            os.pwrite(descriptor, b"rot", 20)

    async with lived_in(settings) as ledger:
        monkeypatch.setattr(os, "fsync", rots)
        with pytest.raises(BackupFailed, match="what was written did not read back"):
            await make(settings, ledger)
    assert list((tmp_path / "data/backups").iterdir()) == []


async def test_leftovers_of_a_crash_are_swept_but_not_those_of_others(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    async with lived_in(settings) as ledger:
        first = await make(settings, ledger)
        kept = parse_name(first.path.name)
        assert kept is not None
        ours = first.path.with_name(f".scheduler-backup-{kept.identity}-archive-00.tmp")
        others = first.path.with_name(".scheduler-backup-00000000-archive-00.tmp")
        for path in (ours, others):
            path.write_bytes(b"half")
        second = await make(settings, ledger)
    assert {path.name for path in first.path.parent.iterdir()} == {first.path.name, second.path.name, others.name}


async def test_in_another_directory_nothing_is_rotated(tmp_path: Path) -> None:
    settings, clock = settings_in(tmp_path, "backup: {keep: {daily: 1, weekly: 0}}\n"), FakeClock()
    (tmp_path / "else").mkdir()
    async with lived_in(settings) as ledger:
        for _ in range(3):
            clock.advance(2 * DAY)
            usual = await make(settings, ledger, now=clock.now())
            await make(settings, ledger, now=clock.now(), directory=tmp_path / "else")
    assert [path.name for path in usual.path.parent.iterdir()] == [usual.path.name]
    assert len(list((tmp_path / "else").iterdir())) == 3


async def test_missed_slots_are_caught_up_once(tmp_path: Path) -> None:
    settings, clock = settings_in(tmp_path, NIGHTLY), FakeClock()
    heard = Heard()
    async with lived_in(settings) as ledger:

        def started() -> BackupScheduler:
            return BackupScheduler(settings, ledger, clock, heard)

        await started().look()
        assert heard.names == []  # slots of the time before count for nothing
        clock.advance(5 * DAY)
        for _ in range(2):
            await started().look()
        assert heard.names == ["backup.completed"]
        clock.advance(HOUR)
        await started().look()
        assert len(heard.names) == 1
        clock.advance(DAY)
        await started().look()
        assert len(heard.names) == 2
        known = await started().known()
        assert known.made_at == clock.now()
        clock.advance(-400 * DAY)  # the clock was wrong
        await started().look()
        clock.advance(DAY)
        await started().look()
        assert len(heard.names) == 3


async def noticed(ledger: Ledger) -> list[str]:
    return [f"{row.notice.event} {row.notice.level}" for row in await ledger.read(notice_store.unhandled)]


async def test_a_backup_that_fails_is_told_once_over_restarts_and_tried_again_in_an_hour(tmp_path: Path) -> None:
    settings, clock = settings_in(tmp_path, NIGHTLY), FakeClock()
    heard = Heard()
    woken: list[int] = []
    async with lived_in(settings) as ledger:

        def started() -> BackupScheduler:
            return BackupScheduler(settings, ledger, clock, heard, noticed=lambda: woken.append(1))

        await started().look()
        clock.advance(DAY)
        (tmp_path / "data/backups").write_text("in the way")
        backups = started()
        for _ in range(3):
            await backups.look()
            clock.advance(MINUTE)
        assert (await noticed(ledger), heard.names, len(woken)) == (["backup.failed ERROR"], [], 1)
        assert backups.problem is not None
        await started().look()
        assert heard.names == ["backup.failed"], "a second failure is a line of the log"
        (tmp_path / "data/backups").unlink()
        clock.advance(HOUR)
        backups = started()
        await backups.look()
        assert heard.names == ["backup.failed", "backup.completed"]
        assert await noticed(ledger) == ["backup.failed ERROR", "backup.works_again INFO"]
        assert backups.problem is None
        clock.advance(DAY)
        await backups.look()
        assert len(await noticed(ledger)) == 2


async def test_a_backup_that_fails_because_the_ledger_cannot_be_written_is_said_in_the_log(tmp_path: Path) -> None:
    settings, clock = settings_in(tmp_path, NIGHTLY), FakeClock()
    heard = Heard()
    async with lived_in(settings) as ledger:
        backups = BackupScheduler(settings, ledger, clock, heard)
        await backups.look()
        clock.advance(DAY)
        (tmp_path / "data/backups").write_text("in the way")

        async def full(unit: object) -> None:
            del unit
            raise StoreError("the disk is full")

        whole, ledger.run = ledger.run, full  # type: ignore[method-assign, assignment]
        await backups.look()
        ledger.run = whole  # type: ignore[method-assign]
        assert (heard.names, await noticed(ledger)) == (["backup.failed"], [])


async def test_the_stop_of_the_service_breaks_a_backup_off(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    heard = Heard()
    async with lived_in(settings) as ledger:
        for n in range(10):
            await ledger.run(write(f"big {n}", 1_000_000))
        backups = BackupScheduler(settings, ledger, FakeClock(), heard)
        loop, begun = asyncio.get_running_loop(), asyncio.Event()

        def tell(progress: Progress) -> None:
            loop.call_soon_threadsafe(begun.set)

        making = asyncio.create_task(backups.back_up(tell))
        await begun.wait()
        await backups.stop()
        with pytest.raises(BackupFailed, match="the service stops"):
            await making
    assert heard.names == []
    assert list((tmp_path / "data/backups").iterdir()) == []


async def test_a_look_that_fails_is_a_problem_until_the_next_good_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, clock = settings_in(tmp_path, NIGHTLY), FakeClock()
    async with lived_in(settings) as ledger:
        backups = BackupScheduler(settings, ledger, clock, Heard())
        problems: list[str | None] = []
        known, looks = backups.known, 0

        async def fails_once() -> BackupState:
            nonlocal looks
            problems.append(backups.problem)
            looks += 1
            if looks == 1:
                raise StoreError("the ledger is locked")
            return await known()

        async def sleeps(seconds: float) -> None:
            if looks == 3:
                backups._stopping.set()

        monkeypatch.setattr(backups, "known", fails_once)
        monkeypatch.setattr(clock, "sleep", sleeps)
        await backups.run_forever()
    assert problems[1] == "no backup is made: the ledger is locked"
    assert (problems[2], backups.problem) == (None, None)


async def test_a_backup_to_which_nobody_listens_any_more_is_waited_for_at_the_stop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, released = settings_in(tmp_path), threading.Event()
    monkeypatch.setattr(making, "check_copy", lambda copy: released.wait() and check_copy(copy))
    async with lived_in(settings) as ledger:
        for n in range(10):
            await ledger.run(write(f"big {n}", 1_000_000))
        backups = BackupScheduler(settings, ledger, FakeClock(), Heard())
        async with aclosing(follow_backup(backups, BackupRequest())) as reports:
            await anext(reports)
        [begun] = [task for task in asyncio.all_tasks() if task.get_name() == "backup for a person"]
        stopping = asyncio.create_task(backups.stop())
        await asyncio.sleep(0)
        assert not stopping.done()
        released.set()
        await stopping
        assert begun.done()
    left = [path.name for path in (tmp_path / "data/backups").iterdir()]
    assert not [name for name in left if not name.endswith(".tar.zst")], "it was made, or nothing of it is left"
