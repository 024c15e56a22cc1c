"""Puts a backup in the place of a data directory: unpacked beside it, checked, and swapped in one step.

Whenever it is cut off, either the old directory or the restored one is where the service looks for it, whole; what is
left of the other is swept by the next restore, or kept under a name that says what it is.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
from pathlib import Path
from typing import IO, TYPE_CHECKING, NamedTuple

from scheduler_service.backups.archive import summing, unpack, verify
from scheduler_service.backups.contents import open_plain
from scheduler_service.backups.directories import (
    exchange,
    link_or_copy,
    own_as,
    remove_if_empty,
)
from scheduler_service.backups.manifest import LEDGER, BackupRefused, Manifest, check_fits
from scheduler_service.clock import from_iso, to_datetime
from scheduler_service.errors import DataDirectoryError, LedgerDamaged
from scheduler_service.stores import schema
from scheduler_service.stores.atomic_files import sync_folder
from scheduler_service.stores.carrying_over import CarriedOver, carry_over
from scheduler_service.stores.data_directory import DataDirectory
from scheduler_service.stores.half_restored import (
    BEFORE,
    MARKER,
    RESTORING,
    UNPACKING,
    finish_within,
    free_name,
    is_new,
)
from scheduler_service.stores.snapshot import check_copy, note_restored

if TYPE_CHECKING:
    from collections.abc import Callable

    from scheduler_service.backups.archive import Entry
    from scheduler_service.clock import Instant

LEFT_FREE = 50_000_000
ASIDE = "restored_from_backup"
"""Where in the data directory the configuration and the logs of the backup are put, for people to look at."""

_SWAPPED = ("documents", "raw", "strategy_log", "calendars", ASIDE)
_OURS = frozenset(
    {*_SWAPPED, "backups", "lock", "control.sock", MARKER}
    | {f"{name}{more}" for name in ("ledger.sqlite", "jobs.sqlite") for more in ("", "-wal", "-shm", "-journal")}
)
"""What a data directory has that is nobody else's."""


class Restored(NamedTuple):
    """What was done. ``old``: where the directory that was there before is now, if there was one."""

    manifest: Manifest
    directory: Path
    old: Path | None
    carried_over: CarriedOver


class Progress(NamedTuple):
    """Bytes of the archive: ``phase`` is ``verify`` or ``unpack``."""

    phase: str
    done: int
    total: int


class Restorer:
    """One restore of one archive."""

    def __init__(
        self,
        archive: Path,
        root: Path,
        *,
        mode: str,
        now: Instant,
        tell: Callable[[Progress], None] = lambda progress: None,
        reached: Callable[[str], None] = lambda step: None,
    ) -> None:
        """``root``: the data directory. ``reached`` hears of each step that is done."""
        self._archive = archive
        self._root = root.resolve()
        self._mode = mode
        self._now = now
        self._stamp = f"{to_datetime(now):%Y%m%dT%H%M%SZ}"
        self._tell = tell
        self._reached = reached

    def check(self) -> Manifest:
        """Reads the archive through. Raises ``BackupRefused``."""
        with open_archive(self._archive) as file:
            return self._check(file)

    def old_place(self) -> Path | None:
        """Where a restore would keep what is there now; None where nothing is."""
        if not self._root.is_dir() or not any(self._root.iterdir()):
            return None
        within, beside = self._root / BEFORE, self._root.with_name(f"{self._root.name}.{BEFORE}")
        return free_name(Path(f"{within if self._stays() else beside}{self._stamp}"))

    def restore(self) -> Restored:
        """Raises ``BackupRefused``, ``AlreadyRunning`` or ``DataDirectoryError``; then nothing has changed."""
        with open_archive(self._archive) as file:
            manifest = self._check(file)
            self._reached("verified")
            held = DataDirectory(self._root)
            there_before = self._root.is_dir()
            try:
                held.hold()
                return self._replace_within(file, manifest) if self._stays() else self._replace(file, manifest)
            except OSError as error:
                raise DataDirectoryError(self._explain(error)) from error
            finally:
                held.release()
                if not there_before:
                    remove_if_empty(self._root)

    def _stays(self) -> bool:
        """Whether the directory cannot be another one: nobody may rename it, or others keep things in it too, such as
        the configuration.
        """
        return (
            os.path.ismount(self._root)
            or not os.access(self._root.parent, os.W_OK)
            or any(path.name not in _OURS or os.path.ismount(path) for path in self._root.iterdir())
        )

    def _check(self, file: IO[bytes]) -> Manifest:
        manifest = verified(file, self._archive, self._telling("verify", file))
        try:
            check_fits(manifest, mode=self._mode, schema_version=schema.VERSION)
        except BackupRefused as error:
            raise BackupRefused(f"{self._archive} is not restored: {error}") from error
        return manifest

    def _replace(self, file: IO[bytes], manifest: Manifest) -> Restored:
        parent, name = self._root.parent, self._root.name
        self._look_for_room(parent, manifest)
        unpacking, ready = parent / f".{name}{UNPACKING}{self._stamp}", parent / f"{name}{RESTORING}{self._stamp}"
        old = free_name(parent / f"{name}.{BEFORE}{self._stamp}")
        held = DataDirectory(unpacking)
        try:
            self._unpack(file, manifest, unpacking)
            self._reached("unpacked")
            carried = carry_over(self._root / "ledger.sqlite", unpacking / "ledger.sqlite")
            self._reached("carried over")
            self._take_backups_along(unpacking)
            (unpacking / MARKER).write_text(f"{self._stamp}\n")
            held.hold()  # whoever starts in the middle of the swap finds the directory in use
            own_as(self._root, unpacking)
            os.sync()
            self._reached("complete")
            unpacking.rename(ready)
            sync_folder(parent)
            self._reached("ready")
            self._swap(ready, old)
            remove_if_empty(old)
        except BaseException:  # Ctrl-C too: the old directory is in its place, and nothing of the new one is left
            shutil.rmtree(unpacking, ignore_errors=True)
            if old.is_dir() and not self._root.exists():
                old.rename(self._root)
            if is_new(ready):
                shutil.rmtree(ready, ignore_errors=True)
            raise
        finally:
            held.release()
        return Restored(manifest, self._root, old if old.exists() else None, carried)

    def _replace_within(self, file: IO[bytes], manifest: Manifest) -> Restored:
        """Where the directory itself stays, as a mount point does: entry by entry. What is cut off once
        all is ready, whoever takes the directory next brings to its end.
        """
        root = self._root
        for name in _SWAPPED:
            if os.path.ismount(root / name):
                raise BackupRefused(
                    f"{self._archive} is not restored: {root / name} is a mount point, "
                    "and cannot be swapped; unmount it"
                )
        self._look_for_room(root, manifest)
        old = free_name(root / f"{BEFORE}{self._stamp}")
        unpacking, ready = (root / f"{kind}{old.name.removeprefix(BEFORE)}" for kind in (UNPACKING, RESTORING))
        try:
            self._unpack(file, manifest, unpacking)
            for name in ("strategy_log", "calendars"):  # so that the old ones go, where the backup has none
                (unpacking / name).mkdir(mode=0o700, exist_ok=True)
            self._reached("unpacked")
            carried = carry_over(root / "ledger.sqlite", unpacking / "ledger.sqlite")
            own_as(root, unpacking)
            os.sync()
            self._reached("complete")
        except BaseException:  # Ctrl-C too: nothing half unpacked is left
            shutil.rmtree(unpacking, ignore_errors=True)
            raise
        unpacking.rename(ready)
        self._reached("ready")
        finish_within(root)
        sync_folder(root)
        self._reached("done")
        remove_if_empty(old)
        return Restored(manifest, root, old if old.exists() else None, carried)

    def _look_for_room(self, folder: Path, manifest: Manifest) -> None:
        free = shutil.disk_usage(folder).free
        if free < manifest.size + LEFT_FREE:
            raise BackupRefused(
                f"{self._archive} is not restored: it needs {manifest.size:,} bytes in {folder} and leaves "
                f"{LEFT_FREE:,} free, and there are {free:,}; make room"
            )

    def _unpack(self, file: IO[bytes], manifest: Manifest, folder: Path) -> None:
        folder.mkdir(mode=0o700)
        for name in ("documents", "raw"):
            (folder / name).mkdir(mode=0o700)
        sizes = {member.name: member.size for member in manifest.members}

        def take(entry: Entry) -> str:
            if sizes.get(entry.name) != entry.size:
                raise BackupRefused(f"{self._archive} has changed while it was read")
            inner = entry.name.removeprefix("data/")
            path = folder / (inner if inner != entry.name else f"{ASIDE}/{entry.name}")
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            sha256 = hashlib.sha256()
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            with os.fdopen(descriptor, "wb") as out:
                for chunk in entry.chunks:
                    sha256.update(chunk)
                    out.write(chunk)
                if entry.name == LEDGER:
                    out.flush()
                    os.fsync(out.fileno())
            return sha256.hexdigest()

        if unpack(file, take, self._telling("unpack", file)) != manifest:
            raise BackupRefused(f"{self._archive} has changed while it was read")
        try:
            ledger = check_copy(folder / "ledger.sqlite")
        except LedgerDamaged as error:
            raise BackupRefused(f"{self._archive} is not restored: its ledger is damaged") from error
        if (ledger.schema_version, ledger.mode or manifest.mode) != (manifest.schema_version, manifest.mode):
            raise BackupRefused(f"{self._archive} is not restored: its ledger is not what its manifest says")
        note_restored(
            folder / "ledger.sqlite",
            cursor=self._now,  # what was just restored is backed up already
            made_at=from_iso(manifest.created_at),
            path=str(self._archive.absolute()),
            size=self._archive.stat().st_size,
        )

    def _take_backups_along(self, folder: Path) -> None:
        """As second names of the same files, so that the old directory stays whole."""
        backups = DataDirectory(self._root).backups
        if backups.is_dir():
            (folder / backups.name).mkdir(mode=0o700)
            for path in backups.iterdir():
                if path.is_file() and not path.is_symlink() and not path.name.startswith("."):
                    link_or_copy(path, folder / backups.name / path.name)

    def _swap(self, ready: Path, old: Path) -> None:
        try:
            exchange(ready, self._root)
        except OSError as error:
            if error.errno not in (errno.ENOSYS, errno.EINVAL, errno.ENOTSUP):
                raise
            self._root.rename(old)  # cut off after this, the next start takes what is ready
            self._reached("old one moved")
            ready.rename(self._root)
            self._reached("swapped")
        else:
            self._reached("swapped")
            ready.rename(old)
        sync_folder(self._root.parent)
        self._reached("done")

    def _telling(self, phase: str, file: IO[bytes]) -> Callable[[int], None]:
        total = os.fstat(file.fileno()).st_size
        return summing(lambda done: self._tell(Progress(phase, done, total)))

    def _explain(self, error: OSError) -> str:
        return f"{self._root} cannot be restored: {error.filename or ''} {error.strerror or error}"


def open_archive(path: Path) -> IO[bytes]:
    """Raises ``BackupRefused`` for what is no file, and waits for none."""
    try:
        return open_plain(path.resolve())[0]
    except OSError as error:
        if error.strerror is None:
            raise BackupRefused(f"{path} is not a file") from error
        raise BackupRefused(f"{path} cannot be read: {error.strerror}") from error


def verified(file: IO[bytes], path: Path, passed: Callable[[int], None] = lambda size: None) -> Manifest:
    """Raises ``BackupRefused``, with the file's name."""
    try:
        return verify(file, passed)
    except BackupRefused as error:
        raise BackupRefused(f"{path} is not a good backup: {error}") from error
    except OSError as error:
        raise BackupRefused(f"{path} cannot be read: {error.strerror}") from error
