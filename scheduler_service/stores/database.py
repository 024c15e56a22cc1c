"""The ledger's connections: one writer thread with group commit, one query-only reader. The only module that speaks
SQLite.

A unit of work is a function of a connection, ``await ledger.run(lambda conn: ...)``: it returns once its effects are
on disk. Units that wait together are committed together, each in a savepoint of its own, so that one that fails rolls
back alone. Units must be pure in what they read and write through the connection, because a batch that fails as a
whole is carried out again unit by unit.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy import Connection, Engine, create_engine, event, insert, select, update
from sqlalchemy.exc import DatabaseError, IntegrityError
from sqlalchemy.pool import StaticPool

from scheduler_service.errors import DataDirectoryError, LedgerDamaged, StoreError
from scheduler_service.stores import schema

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

T = TypeVar("T")

__all__ = ["Connection", "Ledger"]

MOST_UNITS_PER_COMMIT = 500
BUSY_TIMEOUT_MS = 10_000

_Unit = tuple["Callable[[Connection], Any]", "asyncio.Future[Any]"]

MIGRATIONS: dict[int, Callable[[Connection], None]] = {}
"""From version N to N + 1, keyed by N."""


class Ledger:
    """The ledger of one data directory."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.commits = 0
        self._waiting: deque[_Unit] = deque()
        self._wake = asyncio.Event()
        self._closing = False
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="ledger-writer")
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="ledger-reader")
        self._write_connection: Connection | None = None
        self._read_connection: Connection | None = None

    async def open(self) -> None:
        """Opens, checks and migrates. Raises ``LedgerDamaged`` or ``DataDirectoryError``."""
        loop = asyncio.get_running_loop()
        self._write_connection = await loop.run_in_executor(self._writer, _open_for_writing, self.path)
        self._read_connection = await loop.run_in_executor(self._reader, _open_for_reading, self.path)

    async def open_query_only(self) -> None:
        """Opens for reading alone: for commands while the service is stopped, or beside it."""
        if not self.path.exists():
            raise DataDirectoryError(f"there is no ledger at {self.path}; nothing has run here yet")
        loop = asyncio.get_running_loop()
        self._read_connection = await loop.run_in_executor(self._reader, _open_for_reading, self.path)

    async def read(self, unit: Callable[[Connection], T]) -> T:
        """Runs a query on a snapshot of what is committed."""
        return await asyncio.get_running_loop().run_in_executor(self._reader, self._read, unit)

    async def run(self, unit: Callable[[Connection], T]) -> T:
        """Commits a unit of work; returns what it returned once that is durable. Raises what it raised, or
        ``StoreError``.
        """
        if self._closing:
            raise StoreError("the ledger is closing")
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._waiting.append((unit, future))
        self._wake.set()
        return await future

    async def write_forever(self) -> None:
        """The writer: commits whatever has queued up. Owned by the facade; ends after ``close`` once the queue is
        empty.
        """
        loop = asyncio.get_running_loop()
        while self._waiting or not self._closing:
            await self._wake.wait()
            self._wake.clear()
            while self._waiting:
                batch = [self._waiting.popleft() for _ in range(min(len(self._waiting), MOST_UNITS_PER_COMMIT))]
                results = await loop.run_in_executor(self._writer, self._commit, [unit for unit, _ in batch])
                for (_, future), (value, error) in zip(batch, results, strict=True):
                    _resolve(future, value, error)

    def stop_writing(self) -> None:
        """No unit is accepted from now on; what has queued up is still committed."""
        self._closing = True
        self._wake.set()

    async def close(self) -> None:
        """Closes both connections, each in its own thread."""
        self.stop_writing()
        loop = asyncio.get_running_loop()
        for pool, connection in ((self._reader, self._read_connection), (self._writer, self._write_connection)):
            if connection is not None:
                await loop.run_in_executor(pool, _close, connection)
            pool.shutdown(wait=True)

    def _read(self, unit: Callable[[Connection], T]) -> T:
        assert self._read_connection is not None
        try:
            with self._read_connection.begin():
                return unit(self._read_connection)
        except DatabaseError as error:
            raise StoreError(f"the ledger could not be read: {error.orig}") from error

    def _commit(self, units: list[Callable[[Connection], Any]]) -> list[tuple[Any, BaseException | None]]:
        try:
            return self._commit_together(units)
        except DatabaseError:
            return [self._commit_alone(unit) for unit in units]

    def _commit_together(self, units: list[Callable[[Connection], Any]]) -> list[tuple[Any, BaseException | None]]:
        assert self._write_connection is not None
        results: list[tuple[Any, BaseException | None]] = []
        with self._write_connection.begin():
            for unit in units:
                results.append(_in_savepoint(self._write_connection, unit))
        self.commits += 1
        return results

    def _commit_alone(self, unit: Callable[[Connection], Any]) -> tuple[Any, BaseException | None]:
        try:
            return self._commit_together([unit])[0]
        except DatabaseError as error:
            return None, StoreError(f"the ledger could not be written: {error.orig}")


def _in_savepoint(connection: Connection, unit: Callable[[Connection], Any]) -> tuple[Any, BaseException | None]:
    """The unit's value or its error; a broken database is raised, for it ends the whole batch."""
    try:
        with connection.begin_nested():
            return unit(connection), None
    except IntegrityError as error:
        return None, error
    except DatabaseError:
        raise
    except Exception as error:  # the unit's own error belongs to whoever waits for it
        return None, error


def _resolve(future: asyncio.Future[Any], value: Any, error: BaseException | None) -> None:
    if future.done():  # its waiter was cancelled; the unit is committed all the same
        return
    if error is None:
        future.set_result(value)
    else:
        future.set_exception(error)


def _connect(path: Path, *, query_only: bool) -> Engine:
    engine = create_engine(
        f"sqlite+pysqlite:///{path}", poolclass=StaticPool, connect_args={"check_same_thread": False}
    )

    @event.listens_for(engine, "connect")
    def configure(connection: sqlite3.Connection, _record: object) -> None:
        connection.isolation_level = None  # transactions are begun by the listener below
        with closing(connection.cursor()) as cursor:
            cursor.execute(f"PRAGMA busy_timeout={BUSY_TIMEOUT_MS}")
            if query_only:
                cursor.execute("PRAGMA query_only=ON")
            else:
                cursor.execute("PRAGMA journal_mode=WAL")
                cursor.execute("PRAGMA synchronous=FULL")
                cursor.execute("PRAGMA foreign_keys=ON")

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN" if query_only else "BEGIN IMMEDIATE")

    return engine


def _open_for_reading(path: Path) -> Connection:
    try:
        return _connect(path, query_only=True).connect()
    except DatabaseError as error:
        raise LedgerDamaged(f"{path} cannot be read: {error.orig}; restore a backup") from error


def _open_for_writing(path: Path) -> Connection:
    try:
        connection = _connect(path, query_only=False).connect()
        problem = connection.exec_driver_sql("PRAGMA quick_check(1)").scalar_one()
        connection.rollback()
        if problem != "ok":
            raise LedgerDamaged(f"{path} is damaged ({problem}); move it away and restore a backup")
        with connection.begin():
            _migrate(connection, path)
    except DatabaseError as error:
        if "locked" in str(error.orig):
            raise DataDirectoryError(f"{path} is locked by another program; close it and start again") from error
        raise LedgerDamaged(f"{path} cannot be used: {error.orig}; move it away and restore a backup") from error
    path.chmod(0o600)
    return connection


def _migrate(connection: Connection, path: Path) -> None:
    schema.meta.create(connection, checkfirst=True)
    stored = connection.execute(
        select(schema.meta.c.value).where(schema.meta.c.key == "schema_version")
    ).scalar_one_or_none()
    if stored is None:
        schema.metadata.create_all(connection)
        connection.execute(insert(schema.meta).values(key="schema_version", value=str(schema.VERSION)))
        return
    version = int(stored)
    if version > schema.VERSION:
        raise DataDirectoryError(
            f"{path} was written by a newer version of this program (schema {version}; this one knows "
            f"{schema.VERSION}); install that version"
        )
    if version < schema.VERSION:
        _copy_aside(path, version)
    for step in range(version, schema.VERSION):
        MIGRATIONS[step](connection)
    connection.execute(
        update(schema.meta).where(schema.meta.c.key == "schema_version").values(value=str(schema.VERSION))
    )


def _copy_aside(path: Path, version: int) -> None:
    """A full copy before the first forward step; made through SQLite, so that it is whole."""
    folder = path.parent / "backups"
    folder.mkdir(mode=0o700, exist_ok=True)
    copy = folder / f"{path.stem}-schema-{version}.sqlite"
    with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(copy)) as target:
        source.backup(target)
    copy.chmod(0o600)


def _close(connection: Connection) -> None:
    engine = connection.engine
    connection.close()
    engine.dispose()
