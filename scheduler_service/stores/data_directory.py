"""The data directory: made, checked, and held by one process at a time."""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress
from typing import TYPE_CHECKING

from scheduler_service.errors import AlreadyRunning, DataDirectoryError
from scheduler_service.stores.half_restored import finish_beside, finish_within, sweep_beside

if TYPE_CHECKING:
    from pathlib import Path


class DataDirectory:
    """Where everything lies, and the lock on it. The lock goes with the process, however that ends."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._lock: int | None = None

    @property
    def ledger(self) -> Path:
        return self.root / "ledger.sqlite"

    @property
    def jobs(self) -> Path:
        return self.root / "jobs.sqlite"

    @property
    def documents(self) -> Path:
        return self.root / "documents"

    @property
    def raw(self) -> Path:
        return self.root / "raw"

    @property
    def strategy_log(self) -> Path:
        return self.root / "strategy_log"

    @property
    def backups(self) -> Path:
        return self.root / "backups"

    @property
    def calendars(self) -> Path:
        return self.root / "calendars"

    @property
    def socket(self) -> Path:
        return self.root / "control.sock"

    def take(self) -> None:
        """Makes the folders and locks them. Raises ``AlreadyRunning`` or ``DataDirectoryError``."""
        self.hold()
        try:
            self._check_ledger_is_there()
        except OSError as error:
            self.release()
            raise self._unusable(error) from error
        except DataDirectoryError:
            self.release()
            raise

    def hold(self) -> None:
        """As ``take``, but for a directory whose ledger may be missing: to put one into it."""
        try:
            finish_beside(self.root)
            self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = os.open(self.root / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            raise self._unusable(error) from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.pread(lock, 32, 0).decode("ascii", "replace").strip()
            os.close(lock)
            raise AlreadyRunning(str(self.root), int(holder) if holder.isdigit() else None) from error
        self._lock = lock
        with suppress(OSError):  # a full disk must not keep the service from starting; the lock holds all the same
            os.ftruncate(lock, 0)
            os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
        try:
            sweep_beside(self.root)
            finish_within(self.root)
            for folder in (self.documents, self.raw):
                folder.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            self.release()
            raise self._unusable(error) from error

    def release(self) -> None:
        """Gives the directory free."""
        if self._lock is not None:
            with suppress(OSError):
                os.ftruncate(self._lock, 0)
            os.close(self._lock)
            self._lock = None

    def holder(self) -> int | None:
        """The process that holds the directory, 0 where its id is not known; None where none does."""
        try:
            lock = os.open(self.root / "lock", os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError:
            return None
        try:
            written = os.pread(lock, 32, 0).decode("ascii", "replace").strip()
            if not written:  # given back in good order; not to touch it keeps out of the way of a start
                return None
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return int(written) if written.isdigit() else 0
        except OSError:
            return None
        finally:
            os.close(lock)
        return None

    def _unusable(self, error: OSError) -> DataDirectoryError:
        return DataDirectoryError(
            f"the data directory {self.root} cannot be used: {error.strerror}; make it writable for this user, "
            "or set service.data_dir to another one"
        )

    def _check_ledger_is_there(self) -> None:
        published = next(self.documents.rglob("*.json"), None)
        empty = not self.ledger.exists() or self.ledger.stat().st_size == 0
        if published is not None and empty:
            raise DataDirectoryError(
                f"{self.root} holds documents but its ledger, {self.ledger.name}, is missing or empty; "
                "restore it from a backup, or move the documents away to start anew"
            )
