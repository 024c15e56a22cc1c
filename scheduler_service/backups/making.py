"""Makes a backup: the ledger copied beside its writer, everything into one archive, read back, rotated."""

from __future__ import annotations

import asyncio
import io
import os
import secrets
import shutil
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING, NamedTuple

from scheduler_service import __version__
from scheduler_service.backups.archive import CHUNK, ArchiveWriter, summing, verify
from scheduler_service.backups.contents import Item, configuration_files, data_files, log_files, open_plain
from scheduler_service.backups.manifest import LEDGER, LONGEST_SENTENCE, MOST_LEFT_OUT, BackupRefused, Manifest
from scheduler_service.backups.rotation import name_for, superseded
from scheduler_service.clock import to_iso_seconds
from scheduler_service.errors import SchedulerServiceError, StoreError
from scheduler_service.redaction import escape
from scheduler_service.stores.atomic_files import TEMPORARY, sync_folder
from scheduler_service.stores.data_directory import DataDirectory
from scheduler_service.stores.mode import LIVE, SANDBOX
from scheduler_service.stores.snapshot import check_copy, identity_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from concurrent.futures import Executor

    from scheduler_service.clock import Instant
    from scheduler_service.settings.loaded import Settings
    from scheduler_service.stores.database import Ledger
    from scheduler_service.stores.snapshot import Copied

LEFT_FREE = 100_000_000
"""Bytes that a backup leaves to everybody else on its disk."""
LOOK_EVERY = 16_000_000
READ_FIRST = 4_000_000
"""Bytes of a file that are read before it gets its place in the archive: nearly all files are smaller."""


class BackupFailed(SchedulerServiceError):
    """No backup was made, and nothing of it is left; the text says why."""


class Progress(NamedTuple):
    """How far a backup is: ``phase`` is ``ledger`` (in pages), ``archive`` or ``verify`` (both in bytes)."""

    phase: str
    done: int
    total: int


class Made(NamedTuple):
    """A backup that was read back and is good. ``removed``: the names that went for it."""

    path: Path
    size: int
    manifest: Manifest
    removed: tuple[str, ...]


class Stopped(Exception):
    """The service stops, and the backup with it."""


class Maker:
    """One backup, from its beginning to its end."""

    def __init__(
        self,
        settings: Settings,
        ledger: Ledger,
        *,
        now: Instant,
        tell: Callable[[Progress], None],
        stop: Callable[[], bool] = lambda: False,
        directory: Path | None = None,
        free: Callable[[Path], int] = lambda path: shutil.disk_usage(path).free,
    ) -> None:
        """``tell`` and ``stop`` are called on other threads. ``directory``: another than the configured one, in which
        nothing is rotated. ``free``: how many bytes are free on the disk of a path.
        """
        self._settings = settings
        self._ledger = ledger
        self._now = now
        self._tell = tell
        self._stop = stop
        self._free = free
        self._root = settings.service.data_dir
        self._usual = settings.backup.directory or DataDirectory(self._root).backups
        self._folder = directory or self._usual
        self._rotates = self._folder.absolute() == self._usual.absolute()
        self._looked = 0
        self._left_out: list[str] = []

    async def make(self, pool: Executor) -> Made:
        """``pool`` does what takes long, on one thread. Raises ``BackupFailed``."""
        run = asyncio.get_running_loop().run_in_executor
        copy: Path | None = None
        try:
            identity = await self._ledger.run(identity_of)
            await run(pool, self._prepare, identity)
            copy = self._temporary(identity, "ledger")
            await self._ledger.copy_to(copy, self._copying)
            return await run(pool, self._write, identity, copy)
        except Stopped as error:
            raise BackupFailed("the service stops; the backup is made at its next start") from error
        except BackupRefused as error:
            raise BackupFailed(f"what was written did not read back: {error}") from error
        except StoreError as error:
            raise BackupFailed(str(error)) from error
        except OSError as error:
            raise BackupFailed(f"{error.filename or self._folder}: {error.strerror or error}") from error
        finally:
            if copy is not None:
                await run(pool, _remove, copy)

    def _prepare(self, identity: str) -> None:
        """The folder, without what a crash left in it. The folder that holds it must be there: a disk may be absent."""
        with suppress(FileExistsError):
            self._folder.mkdir(mode=0o700)
        for name in _names(self._folder):
            if name.startswith(f".scheduler-backup-{identity}-") and TEMPORARY in name:
                _remove(self._folder / name)
        self._look_at_disk(self._root.joinpath("ledger.sqlite").stat().st_size)

    def _temporary(self, identity: str, what: str) -> Path:
        return self._folder / f".scheduler-backup-{identity}-{what}-{secrets.token_hex(4)}{TEMPORARY}"

    def _copying(self, done: int, total: int) -> None:
        self._go_on()
        if done - self._looked > LOOK_EVERY // 4096:
            self._looked = done
            self._look_at_disk(0)
        self._tell(Progress("ledger", done, total))

    def _write(self, identity: str, copy: Path) -> Made:
        copied = check_copy(copy)
        mode = SANDBOX if self._settings.sandbox else LIVE
        temporary = self._temporary(identity, "archive")
        try:
            descriptor = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            with os.fdopen(descriptor, "w+b") as file:
                written, unpacked = self._fill(
                    file,
                    copy,
                    copied,
                    Manifest(
                        program_version=__version__,
                        schema_version=copied.schema_version,
                        mode="sandbox" if (copied.mode or mode) == SANDBOX else "live",
                        service=self._settings.service.name,
                        identity=identity,
                        created_at=to_iso_seconds(self._now),
                        members=(),
                    ),
                )
                file.flush()
                os.fsync(file.fileno())
                size = os.fstat(file.fileno()).st_size
                manifest = verify(file, summing(lambda done: self._checking(done, size)), most=unpacked)
            if manifest != written:
                raise BackupRefused("it is not what was written")
            path = self._folder / name_for(identity, self._now, _names(self._folder))
            temporary.rename(path)
            sync_folder(self._folder)
        finally:
            _remove(temporary)
        return Made(path, size, manifest, self._rotate(identity, path.name))

    def _fill(self, file: IO[bytes], copy: Path, copied: Copied, manifest: Manifest) -> tuple[Manifest, int]:
        """The manifest, and how many bytes all of it unpacks to."""
        items = [
            Item(LEDGER, copy),
            *data_files(self._root, copied.current_answers, self._leave_out),
            *configuration_files(self._settings, self._leave_out),
            *log_files(self._settings, self._leave_out),
        ]
        passed = summing(partial(self._archiving, total=sum(map(_size, items))))
        writer = ArchiveWriter(file)
        self._looked = 0
        for item in items:
            self._go_on()
            self._add(writer, item, passed)
        manifest = manifest.model_copy(update={"members": tuple(writer.members), "left_out": self._all_left_out()})
        writer.finish(manifest)
        return manifest, writer.unpacked

    def _add(self, writer: ArchiveWriter, item: Item, passed: Callable[[int], None]) -> None:
        """What cannot be read is left out, and nothing else for its sake."""
        try:
            source, first, size = _open(item)
        except FileNotFoundError:  # replaced or removed since it was listed; a document can be made from its row
            self._leave_out(item.name, "was not there")
            return
        except OSError as error:
            self._leave_out(item.name, f"could not be read: {error.strerror or error}")
            return
        with source:
            try:
                writer.add(item.name, size, self._chunks(item.name, first, source, size, passed))
            except BackupRefused as error:
                self._leave_out(item.name, f"has no name for a backup: {error}")

    def _chunks(
        self, name: str, first: bytes, source: IO[bytes], size: int, passed: Callable[[int], None]
    ) -> Iterator[bytes]:
        """Exactly so many bytes, as the archive says already: zeros in the place of those that cannot be had."""
        chunk, left, problem = first, size, "it became shorter"
        while chunk:
            yield chunk
            passed(len(chunk))
            left -= len(chunk)
            try:
                chunk = source.read(min(CHUNK, left))
            except OSError as error:
                chunk, problem = b"", error.strerror or str(error)
        if left:
            self._leave_out(name, f"could be read to byte {size - left:,} alone, and has zeros from there: {problem}")
        while left:
            chunk = bytes(min(CHUNK, left))
            yield chunk
            left -= len(chunk)

    def _all_left_out(self) -> tuple[str, ...]:
        more = len(self._left_out) - MOST_LEFT_OUT
        return (*self._left_out[:MOST_LEFT_OUT], *([f"and {more:,} more"] if more > 0 else []))

    def _leave_out(self, what: str, why: str) -> None:
        """Without the ledger there is no backup; without anything else there is."""
        if what == LEDGER:
            raise BackupFailed(f"the copy of the ledger in {self._folder} {why}")
        self._left_out.append(escape(f"{what} {why}")[:LONGEST_SENTENCE])

    def _archiving(self, done: int, total: int) -> None:
        self._go_on()
        if done - self._looked > LOOK_EVERY:
            self._looked = done
            self._look_at_disk(0)
        self._tell(Progress("archive", min(done, total), total))

    def _checking(self, done: int, total: int) -> None:
        self._go_on()
        self._tell(Progress("verify", done, total))

    def _go_on(self) -> None:
        if self._stop():
            raise Stopped

    def _look_at_disk(self, needed: int) -> None:
        if self._free(self._folder) < needed + LEFT_FREE:
            raise BackupFailed(
                f"the disk of {self._folder} is nearly full, and a backup leaves {LEFT_FREE // 1_000_000} MB free; "
                "make room, or set backup.directory to another disk"
            )

    def _rotate(self, identity: str, just_made: str) -> tuple[str, ...]:
        if not self._rotates:
            return ()
        keep = self._settings.backup.keep
        names = superseded(
            _names(self._folder),
            identity=identity,
            just_made=just_made,
            now=self._now,
            daily=keep.daily,
            weekly=keep.weekly,
        )
        return tuple(name for name in names if _remove(self._folder / name))


def _open(item: Item) -> tuple[IO[bytes], bytes, int]:
    """Its source, what is read of it already, and its size in bytes. Raises ``OSError``."""
    if item.body is not None:
        return io.BytesIO(), item.body, len(item.body)
    source, size = open_plain(item.path)
    try:
        first = source.read(min(size, READ_FIRST))
    except OSError:
        source.close()
        raise
    return source, first, size if len(first) == READ_FIRST else len(first)  # it may have been cut since


def _names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


def _size(item: Item) -> int:
    if item.body is not None:
        return len(item.body)
    try:
        return item.path.lstat().st_size
    except OSError:
        return 0


def _remove(path: Path) -> bool:
    """Whether it was there, and is gone. With an unfinished copy goes what SQLite laid beside it."""
    path.with_name(f"{path.name}-journal").unlink(missing_ok=True)
    try:
        path.unlink()
    except OSError:
        return False
    return True
