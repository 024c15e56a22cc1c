"""The ledger's connections: one writer thread with group commit, one query-only reader. The only module that speaks
SQLite.

A unit of work is a function of a connection, ``await ledger.run(lambda conn: ...)``: it returns once its effects are
on disk. Units that wait together are committed together, each in a savepoint of its own, so that one that fails rolls
back alone. Units must be pure in what they read and write through the connection, because a batch that fails as a
whole is carried out again unit by unit.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar, cast

from sqlalchemy import URL, Connection, create_engine, event, insert, inspect, select, update
from sqlalchemy.exc import DatabaseError, DataError, IntegrityError, ProgrammingError
from sqlalchemy.pool import StaticPool

from scheduler_service.errors import DataDirectoryError, LedgerDamaged, StoreError
from scheduler_service.stores import schema
from scheduler_service.stores.explained import CANNOT_WRITE, LOCKED, code_of, explained, lies_still
from scheduler_service.stores.half_restored import refuse_half_restored
from scheduler_service.stores.migrations import MIGRATIONS
from scheduler_service.stores.notice_schema import METADATA
from scheduler_service.stores.prepared import PreparedConnection
from scheduler_service.stores.snapshot import copy_aside, copy_ledger
from scheduler_service.stores.writer_thread import WriterThread

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

T = TypeVar("T")

__all__ = ["Connection", "Ledger"]

MOST_UNITS_PER_COMMIT = 500
BUSY_TIMEOUT_MS = 10_000

_Unit = tuple["Callable[[Connection], Any]", "asyncio.Future[Any]"]
_Result = tuple[Any, BaseException | None]


class Ledger:
    """The ledger of one data directory."""

    def __init__(self, path: Path, *, durable: bool = True) -> None:
        """Not ``durable``: a commit does not wait for the disk, and a power cut may take it back."""
        self.path = path
        self._durable = durable
        self.commits = 0
        self._waiting: deque[_Unit] = deque()
        self._wake = asyncio.Event()
        self._closing = False
        self._writer = WriterThread("ledger-writer")
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="ledger-reader")
        self._write_connection: PreparedConnection | None = None
        self._read_connection: PreparedConnection | None = None
        self.problem: str | None = None
        """Why nothing could be stored the last time that something was to be."""

    async def open(self) -> None:
        """Opens, checks and migrates. Raises ``LedgerDamaged`` or ``DataDirectoryError``."""
        loop = asyncio.get_running_loop()
        self._write_connection = await loop.run_in_executor(self._writer, _open_for_writing, self.path, self._durable)
        self._read_connection = await loop.run_in_executor(self._reader, _open_for_reading, self.path)

    async def open_query_only(self) -> None:
        """Opens for reading alone: for commands while the service is stopped, or beside it."""
        loop = asyncio.get_running_loop()
        self._read_connection = await loop.run_in_executor(self._reader, _open_beside, self.path)

    async def read(self, unit: Callable[[Connection], T]) -> T:
        """Runs a query on a snapshot of what is committed. Raises what it raised, or ``StoreError``."""
        if self._read_connection is None:
            raise StoreError("the ledger is not open")
        return await asyncio.get_running_loop().run_in_executor(self._reader, _read, self._read_connection, unit)

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
        """The writer: commits whatever has queued up. Owned by the facade; ends after ``stop_writing`` once the queue
        is empty. However it ends, nobody is left waiting for it.
        """
        loop = asyncio.get_running_loop()
        batch: list[_Unit] = []
        try:
            while self._waiting or not self._closing:
                await self._wake.wait()
                self._wake.clear()
                while self._waiting:
                    batch = [self._waiting.popleft() for _ in range(min(len(self._waiting), MOST_UNITS_PER_COMMIT))]
                    results = await loop.run_in_executor(self._writer, self._commit, [unit for unit, _ in batch])
                    for (_, future), (value, error) in zip(batch, results, strict=True):
                        self.problem = str(error) if type(error) is StoreError else None
                        _resolve(future, value, error)
        finally:
            self._closing = True
            for _, future in (*batch, *self._waiting):
                _resolve(future, None, StoreError("the ledger's writer has ended; whether this was stored is unknown"))
            self._waiting.clear()

    async def copy_to(self, target: Path, step: Callable[[int, int], None]) -> None:
        """A copy of what is committed when it ends. What is to be committed meanwhile goes first, after every step.

        ``step`` hears on another thread how many pages are done, of how many; what it raises ends the copy.
        """

        def between(done: int, total: int) -> None:
            self._writer.let_others_go_first()
            step(done, total)

        if self._closing or self._write_connection is None:
            raise StoreError("the ledger is closing")
        raw = cast("sqlite3.Connection", self._write_connection.connection.dbapi_connection)
        await asyncio.get_running_loop().run_in_executor(self._writer, copy_ledger, raw, target, between)

    def stop_writing(self) -> None:
        """No unit is accepted from now on; what has queued up is still committed."""
        self._closing = True
        self._wake.set()

    async def close(self) -> None:
        """Closes both connections, each in its own thread."""
        self.stop_writing()
        loop = asyncio.get_running_loop()
        reading, self._read_connection = self._read_connection, None
        writing, self._write_connection = self._write_connection, None
        for pool, connection in ((self._reader, reading), (self._writer, writing)):
            if connection is not None:
                await loop.run_in_executor(pool, _close, connection)
            pool.shutdown(wait=True)

    def abandon(self) -> None:
        """As the end of the process leaves it: nothing more is committed, and the files are closed."""
        for connection in (self._write_connection, self._read_connection):
            raw = None if connection is None else connection.connection.dbapi_connection
            if raw is not None:
                raw.close()

    def _commit(self, units: list[Callable[[Connection], Any]]) -> list[_Result]:
        """Together if that is possible, else one by one, so that no unit fails for another's sake.

        A locked ledger is waited for once, not once per unit.
        """
        try:
            results = self._commit_together(units)
        except DatabaseError as error:
            if len(units) == 1 or code_of(error.orig) in LOCKED:
                return [(None, StoreError(f"the ledger could not be written: {error.orig}")) for _ in units]
            return [result for unit in units for result in self._commit([unit])]
        self.commits += 1
        return results

    def _commit_together(self, units: list[Callable[[Connection], Any]]) -> list[_Result]:
        assert self._write_connection is not None
        connection = self._write_connection
        if len(units) == 1:  # the transaction is its own, and needs no savepoint within
            return [_carry_out(connection.transaction("BEGIN IMMEDIATE"), connection, units[0])]
        with connection.transaction("BEGIN IMMEDIATE"):
            return [_carry_out(connection.savepoint(), connection, unit) for unit in units]


def _read(connection: PreparedConnection, unit: Callable[[Connection], T]) -> T:
    try:
        with connection.transaction("BEGIN"):
            return unit(connection)
    except DatabaseError as error:
        raise StoreError(f"the ledger could not be read: {error.orig}") from error


def _carry_out(
    scope: AbstractContextManager[None], connection: PreparedConnection, unit: Callable[[Connection], Any]
) -> _Result:
    """The unit's value or its error; a database that cannot is raised, for it ends the whole batch."""
    broken: DatabaseError | None = None
    try:
        with scope:
            try:
                value = unit(connection)
            except DatabaseError as error:
                broken = error
                raise
    except (IntegrityError, DataError, ProgrammingError) as error:
        return None, error
    except DatabaseError as error:
        # On a full disk SQLite may have rolled back everything, the savepoint too: the first error says why.
        raise broken or error from None
    except Exception as error:  # the unit's own error belongs to whoever waits for it
        return None, error
    return value, None


def _resolve(future: asyncio.Future[Any], value: Any, error: BaseException | None) -> None:
    if future.done():  # its waiter was cancelled; the unit is committed all the same
        return
    if error is None:
        future.set_result(value)
    else:
        future.set_exception(error)


def _connect(path: Path, *, query_only: bool, durable: bool = True, as_it_lies: bool = False) -> PreparedConnection:
    """``as_it_lies``: without the files beside it that SQLite makes for readers; nobody may write meanwhile."""
    file = f"{path.absolute().as_uri()}?immutable=1" if as_it_lies else str(path)
    engine = create_engine(
        URL.create("sqlite+pysqlite", database=file, query={"uri": "true"} if as_it_lies else {}),
        poolclass=StaticPool,
        connect_args={"check_same_thread": False},
    )

    @event.listens_for(engine, "connect")
    def configure(connection: sqlite3.Connection, _record: object) -> None:
        connection.isolation_level = None  # transactions are begun by the listener below
        try:
            connection.execute(f"PRAGMA busy_timeout={BUSY_TIMEOUT_MS}")
            if query_only:
                connection.execute("PRAGMA query_only=ON")
            else:
                connection.execute("PRAGMA journal_mode=WAL")
                connection.execute(f"PRAGMA synchronous={'FULL' if durable else 'OFF'}")
                connection.execute("PRAGMA foreign_keys=ON")
        except sqlite3.Error:
            connection.close()
            raise

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        if not cast("sqlite3.Connection", connection.connection.dbapi_connection).in_transaction:
            connection.exec_driver_sql("BEGIN" if query_only else "BEGIN IMMEDIATE")

    return PreparedConnection(engine)


@contextmanager
def _closed_on_error(connection: PreparedConnection) -> Iterator[PreparedConnection]:
    try:
        yield connection
    except BaseException:  # whatever it was, the connection has no owner now
        _close(connection)
        raise


def _open_for_reading(path: Path) -> PreparedConnection:
    with explained(path):
        return _connect(path, query_only=True)


def _open_beside(path: Path) -> PreparedConnection:
    """For a command that is not the service: nothing is made, and only the tables this program knows are read."""
    absent = DataDirectoryError(f"there is no ledger at {path}; nothing has run here yet")
    with explained(path):
        refuse_half_restored(path.parent)
        if not path.exists():
            raise absent
        connection = _connect_beside(path)
        with _closed_on_error(connection), connection.begin():
            if (version := _version(connection, path)) is None:
                raise absent
            if version < schema.VERSION:
                raise DataDirectoryError(f"{path} was written by an older version; start the service to update it")
    return connection


def _connect_beside(path: Path) -> PreparedConnection:
    """Also on a disk on which nothing can be written, where the service does not run."""
    try:
        with _closed_on_error(_connect(path, query_only=True)) as connection, connection.begin():
            connection.exec_driver_sql("SELECT count(*) FROM sqlite_master")
    except DatabaseError as error:
        if code_of(error.orig) not in CANNOT_WRITE or not lies_still(path):
            raise
        return _connect(path, query_only=True, as_it_lies=True)
    return connection


def _open_for_writing(path: Path, durable: bool) -> PreparedConnection:
    with explained(path):
        # Made here and not by SQLite, so that its companion files have the same mode from their first moment.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        path.chmod(0o600)
        with _closed_on_error(_connect(path, query_only=False, durable=durable)) as connection, connection.begin():
            problem = connection.exec_driver_sql("PRAGMA quick_check(1)").scalar_one()
            if problem != "ok":
                raise LedgerDamaged(f"{path} is damaged ({problem}); move it away and restore a backup")
            _migrate(connection, path)
    return connection


def _version(connection: Connection, path: Path) -> int | None:
    """The schema's version; None for an empty file. Raises ``DataDirectoryError`` for one from the future."""
    if not inspect(connection).has_table(schema.meta.name):
        return None
    stored = connection.execute(select(schema.meta.c.value).where(schema.meta.c.key == "schema_version")).scalar()
    version = None if stored is None else int(stored)
    if version is not None and version > schema.VERSION:
        raise DataDirectoryError(
            f"{path} was written by a newer version of this program (schema {version}; this one knows "
            f"{schema.VERSION}); install that version"
        )
    return version


def _migrate(connection: Connection, path: Path) -> None:
    version = _version(connection, path)
    if version is None:
        METADATA.create_all(connection)
        connection.execute(insert(schema.meta).values(key="schema_version", value=str(schema.VERSION)))
        return
    if version == schema.VERSION:
        return
    copy_aside(path, version)
    for step in range(version, schema.VERSION):
        MIGRATIONS[step](connection)
    connection.execute(
        update(schema.meta).where(schema.meta.c.key == "schema_version").values(value=str(schema.VERSION))
    )


def _close(connection: Connection) -> None:
    engine = connection.engine
    connection.close()
    engine.dispose()
