"""Disks that fill up, turn read-only, lie or fail: what was acknowledged stays, what was not is made up for."""

from __future__ import annotations

import asyncio
import errno
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import insert, select

from scheduler_service.errors import DataDirectoryError, StoreError
from scheduler_service.models import Outcome
from scheduler_service.stores import document_store
from scheduler_service.stores.atomic_files import write_files
from scheduler_service.stores.data_directory import DataDirectory
from scheduler_service.stores.database import Ledger
from scheduler_service.stores.schema import meta
from tests.ledger_support import Workshop, named, open_house, open_ledger, queue, said
from tests.virtual_time import VirtualClock, run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from scheduler_service.calls import Ask
    from scheduler_service.models import Task
    from scheduler_service.stores.database import Connection


class SmallDisk:
    """A file system of its own, of one megabyte."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def remount(self, options: str) -> None:
        subprocess.run(["mount", "-o", f"remount,{options}", str(self.root)], check=True, capture_output=True)

    def fill(self) -> None:
        """To the last byte."""
        with (self.root / "ballast").open("ab", buffering=0) as file:
            for size in (65_536, 4_096, 1):
                with suppress(OSError):
                    while True:
                        file.write(b"x" * size)

    def free(self) -> None:
        (self.root / "ballast").unlink()


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    root = tmp_path / "disk"
    root.mkdir()
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small disk")
    options = ["-t", "tmpfs", "-o", "size=1m,nr_inodes=64,mode=700"]
    mounted = subprocess.run(["mount", *options, "tmpfs", str(root)], check=False, capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"no disk can be mounted here: {mounted.stderr.strip()}")
    try:
        yield SmallDisk(root)
    finally:
        subprocess.run(["umount", "--lazy", str(root)], check=True)


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(2) as threads:
        yield threads


def use_up_inodes(disk: SmallDisk) -> None:
    for number in range(64):
        with suppress(OSError):
            (disk.root / f"empty {number}").touch()


def give_inodes_back(disk: SmallDisk) -> None:
    for path in disk.root.glob("empty *"):
        path.unlink()


TROUBLES: dict[str, tuple[Callable[[SmallDisk], None], Callable[[SmallDisk], None], str]] = {
    "full": (SmallDisk.fill, SmallDisk.free, "No space left on device"),
    "no inodes": (use_up_inodes, give_inodes_back, "No space left on device"),
    "read-only": (lambda disk: disk.remount("ro"), lambda disk: disk.remount("rw"), "Read-only file system"),
}


@pytest.mark.parametrize("trouble", TROUBLES)
async def test_documents_stay_whole_on_a_disk_in_trouble_and_are_published_when_it_is_over(
    tmp_path: Path, disk: SmallDisk, pool: ThreadPoolExecutor, trouble: str
) -> None:
    begin, end, message = TROUBLES[trouble]
    symbols = [f"S{number}" for number in range(10)]
    async with open_house(tmp_path, pool) as house:
        house.folder.symlink_to(disk.root, target_is_directory=True)
        await house.put(*symbols)
        assert await house.publisher.publish_due() == 10
        before = {symbol: house.path(symbol).read_bytes() for symbol in symbols}
        begin(disk)
        await house.put(*symbols, words="second" * 1_000)
        for _ in range(3):
            assert await house.publisher.publish_due() == 0
        assert {symbol: house.path(symbol).read_bytes() for symbol in symbols} == before
        assert list(disk.root.rglob("*.tmp")) == []
        [event] = named(house.events, "document.failed")
        assert message in event.message
        assert str(house.folder) in event.message
        end(disk)
        assert await house.publisher.publish_due() == 10
        assert house.words("S9") == ["second" * 1_000]
        assert await house.waiting() == set()
        assert await house.publisher.audit() == 0


def put(key: str) -> Callable[[Connection], str]:
    def unit(conn: Connection) -> str:
        conn.execute(insert(meta).values(key=key, value="x" * 2_000))
        return key

    return unit


async def test_the_ledger_on_a_full_disk_refuses_in_words_reads_on_and_recovers(disk: SmallDisk) -> None:
    stored: set[str] = set()
    refused: list[BaseException] = []
    async with open_ledger(disk.root / "ledger.sqlite") as ledger:
        disk.fill()
        for batch in range(30):
            units = [put(f"{batch} {number}") for number in range(20)]
            for result in await asyncio.gather(*map(ledger.run, units), return_exceptions=True):
                if isinstance(result, BaseException):
                    refused.append(result)
                else:
                    stored.add(result)
        assert len(refused) > 100
        assert {(type(error), str(error)) for error in refused} == {
            (StoreError, "the ledger could not be written: database or disk is full")
        }

        def keys(conn: Connection) -> set[str]:
            return set(conn.scalars(select(meta.c.key))) - {"schema_version"}

        assert await ledger.read(keys) == stored
        disk.free()
        assert await ledger.run(put("after")) == "after"
        assert await ledger.read(keys) == stored | {"after"}
        assert await ledger.run(lambda conn: conn.exec_driver_sql("PRAGMA integrity_check").scalar()) == "ok"


def test_tasks_that_end_on_a_full_disk_are_asked_once_and_stored_when_there_is_room(disk: SmallDisk) -> None:
    asked: list[str] = []
    symbols = [f"S{number}" for number in range(6)]

    async def story(clock: VirtualClock) -> Workshop:
        async def act(task: Task, ask: Ask) -> Outcome:
            del ask
            asked.append(task.symbol)
            return said(task.symbol * 3_000)

        async with open_ledger(disk.root / "ledger.sqlite") as ledger:
            await queue(ledger, *symbols)
            shop = Workshop(ledger, clock, act)
            disk.fill()
            await clock.sleep(600)
            assert "completed" not in list((await shop.tasks()).values())[-4:]
            disk.free()
            await clock.sleep(30)
            assert await shop.close() == 0
            assert set((await shop.tasks()).values()) == {"completed"}
            documents = await ledger.read(document_store.documents)
            assert [row.symbol for row in documents] == symbols
            return shop

    shop = run(story)
    assert sorted(asked) == symbols
    assert all("full" in message for message in shop.said("ledger.failed"))


async def test_a_full_disk_at_the_start_is_not_called_damage(disk: SmallDisk) -> None:
    directory = DataDirectory(disk.root)
    directory.take()
    disk.fill()
    with pytest.raises(DataDirectoryError, match="see that there is space"):
        await Ledger(directory.ledger).open()
    disk.free()
    async with open_ledger(directory.ledger) as ledger:
        await ledger.run(put("a"))
    disk.fill()
    directory.release()
    directory.take()
    directory.release()


async def test_a_read_only_disk_at_the_start_is_said_in_words(disk: SmallDisk) -> None:
    async with open_ledger(disk.root / "ledger.sqlite"):
        pass
    disk.remount("ro")
    with pytest.raises(DataDirectoryError, match="Read-only file system; make it writable"):
        DataDirectory(disk.root).take()
    with pytest.raises(DataDirectoryError, match="Read-only file system"):
        await Ledger(disk.root / "ledger.sqlite").open()


class Syncs:
    """Counts syncs, and fails one of them as a dying disk does."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, fails: int) -> None:
        self.count = 0
        self.fails = fails
        self._real = os.fsync
        monkeypatch.setattr(os, "fsync", self)

    def __call__(self, descriptor: int) -> None:
        self.count += 1
        if self.count == self.fails:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        self._real(descriptor)


async def test_a_file_that_cannot_be_synced_is_not_acknowledged_and_written_anew(
    tmp_path: Path, pool: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "A.json"
    path.write_bytes(b"old")
    Syncs(monkeypatch, fails=1)
    write = partial(write_files, [(path, b"new")], executor=pool)
    [error] = await write()
    assert isinstance(error, OSError)
    assert (path.read_bytes(), list(tmp_path.iterdir())) == (b"old", [path])
    assert await write() == [None]
    assert path.read_bytes() == b"new"


async def test_a_folder_that_cannot_be_synced_leaves_its_documents_to_be_written_again(
    tmp_path: Path, pool: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_house(tmp_path, pool) as house:
        await house.put("A", "B")
        assert await house.publisher.publish_due() == 2
        await house.put("A", "B", words="second")
        Syncs(monkeypatch, fails=3)  # after those of the two files
        assert await house.publisher.publish_due() == 0
        assert await house.waiting() == {"A", "B"}
        assert await house.publisher.publish_due() == 2
        assert (house.words("A"), await house.waiting()) == (["second"], set())


async def test_a_disk_that_lies_about_a_write_publishes_nothing(
    tmp_path: Path, pool: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "A.json"
    path.write_bytes(b"old")
    real = Path.read_bytes
    monkeypatch.setattr(Path, "read_bytes", lambda self: real(self)[5:] if self.suffix == ".tmp" else real(self))
    [error] = await write_files([(path, b"new and long enough")], executor=pool)
    assert isinstance(error, OSError)
    assert (error.errno, error.strerror) == (errno.EIO, "it did not read back as written")
    assert (path.read_bytes(), list(tmp_path.iterdir())) == (b"old", [path])


async def test_a_limit_on_the_size_of_files_is_a_failure_like_any_other(tmp_path: Path) -> None:
    story = (
        "import resource, sys; from pathlib import Path\n"
        "from scheduler_service.stores.atomic_files import _write_files\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "big, small = _write_files([(Path(sys.argv[1]) / 'A', b'x' * 5000), (Path(sys.argv[1]) / 'B', b'x')])\n"
        "print(big.strerror, small)\n"
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", story, str(tmp_path), stdout=asyncio.subprocess.PIPE
    )
    output, _ = await process.communicate()
    assert output.decode().strip() == "File too large None"
    assert [path.name for path in tmp_path.iterdir()] == ["B"]
