"""What SQLite and the system say of a file that they cannot open, in sentences to act on."""

from __future__ import annotations

import sqlite3
from contextlib import contextmanager
from typing import TYPE_CHECKING

from sqlalchemy.exc import DatabaseError

from scheduler_service.errors import DataDirectoryError, LedgerDamaged
from scheduler_service.stores.data_directory import DataDirectory

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LOCKED = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
CANNOT_WRITE = (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_FULL)
"""Readers too make a file beside the ledger, with the extension ``-shm`` (https://www.sqlite.org/wal.html#read_only_databases)."""


def code_of(error: BaseException | None) -> int | None:
    """SQLite's primary result code, where the error is SQLite's."""
    code: int | None = getattr(error, "sqlite_errorcode", None)
    return None if code is None else code & 0xFF


def lies_still(path: Path) -> bool:
    """Whether the file is all there is of a ledger, and nobody writes it."""
    log = path.with_name(f"{path.name}-wal")
    try:
        is_whole = log.stat().st_size == 0
    except FileNotFoundError:
        is_whole = True
    except OSError:
        return False
    return is_whole and DataDirectory(path.parent).holder() is None


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """What SQLite and the system say of a file that they cannot open, in sentences to act on."""
    try:
        yield
    except OSError as error:
        said = f"{path} cannot be used: {error.strerror}; make it readable and writable for this user"
        raise DataDirectoryError(said) from error
    except (DatabaseError, sqlite3.Error) as error:
        cause = error.orig if isinstance(error, DatabaseError) else error
        code = code_of(cause)
        if code in DAMAGED:
            raise LedgerDamaged(f"{path} is damaged ({cause}); move it away and restore a backup") from error
        if code in LOCKED:
            raise DataDirectoryError(f"{path} is locked by another program; close it and start again") from error
        said = f"{path} cannot be used: {cause}; see that there is space and that this user may write there"
        raise DataDirectoryError(said) from error
