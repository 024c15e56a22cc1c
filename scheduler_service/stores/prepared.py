"""Statements made ready once: the second time that a statement is executed, its SQL is sent as it was rendered.

Most of what a small statement costs is SQLAlchemy's way to the database, taken anew each time. Statements that live
on (module constants, and what is cached) skip it: the same SQL, the same conversions, the same errors. Whatever this
does not know goes the usual way.
"""

from __future__ import annotations

import sqlite3
from collections import namedtuple
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NoReturn, cast
from weakref import WeakKeyDictionary, WeakSet

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError, MultipleResultsFound, NoResultFound
from sqlalchemy.sql.compiler import SQLCompiler

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from sqlalchemy import BindParameter, Dialect, Executable

    Convert = Callable[[Any], Any]
    Parameters = Mapping[str, Any] | Sequence[Mapping[str, Any]] | None


class Rows:
    """What stands in for SQLAlchemy's result: as much of it as the stores use."""

    __slots__ = ("_rows", "inserted_primary_key", "rowcount")

    def __init__(self, rows: list[Any], rowcount: int, key: int | None) -> None:
        self._rows = rows
        self.rowcount = rowcount
        self.inserted_primary_key = (key,)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._rows)

    def all(self) -> list[Any]:
        return self._rows

    def first(self) -> Any:
        return self._rows[0] if self._rows else None

    def one_or_none(self) -> Any:
        if len(self._rows) > 1:
            raise MultipleResultsFound("Multiple rows were found when one or none was required")
        return self.first()

    def one(self) -> Any:
        if not self._rows:
            raise NoResultFound("No row was found when one was required")
        return self.one_or_none()

    def scalar(self) -> Any:
        return self._rows[0][0] if self._rows else None

    def scalar_one(self) -> Any:
        return self.one()[0]

    def scalar_one_or_none(self) -> Any:
        row = self.one_or_none()
        return None if row is None else row[0]

    def scalars(self) -> list[Any]:
        return [row[0] for row in self._rows]


class _Ready:
    """One statement's SQL, and how values go in and come out. ``given``: the names of the parameters to come."""

    def __init__(self, compiled: SQLCompiler, dialect: Dialect, given: frozenset[str]) -> None:
        state = compiled.construct_expanded_state(dict.fromkeys(given))
        self.sql = state.statement
        processors = cast("Mapping[str, Convert]", state.processors)
        self._binds = [
            (name, name in given, state.parameters[name], processors.get(name)) for name in state.positiontup or ()
        ]
        columns = compiled._result_columns
        row: Any = namedtuple("Row", [c.keyname for c in columns], rename=True) if columns else None
        self._make: Callable[[Sequence[Any]], Any] | None = None if row is None else row._make
        converts = [c.type.dialect_impl(dialect).result_processor(dialect, None) for c in columns]
        self._converts = [(n, convert) for n, convert in enumerate(converts) if convert is not None]

    def values(self, parameters: Mapping[str, Any]) -> list[Any]:
        values = []
        for name, given, default, convert in self._binds:
            value = parameters[name] if given else default
            values.append(value if convert is None else convert(value))
        return values

    def rows(self, found: list[Any]) -> list[Any]:
        make = self._make
        if make is None:
            return found
        if not self._converts:
            return [make(row) for row in found]
        made = []
        for row in found:
            values = list(row)
            for n, convert in self._converts:
                values[n] = convert(values[n])
            made.append(make(values))
        return made


class PreparedConnection(Connection):
    """A connection to SQLite on which statements that live on are made ready once."""

    _ready: WeakKeyDictionary[Executable, dict[tuple[str, ...], _Ready | None]]

    def execute(self, statement: Executable, parameters: Any = None, **named: Any) -> Any:
        ready = None if named else self._find(statement, parameters)
        if ready is None:
            return super().execute(statement, parameters, **named)
        raw = self._sqlite
        try:
            if isinstance(parameters, list | tuple):
                cursor = raw.executemany(ready.sql, [ready.values(one) for one in parameters])
            else:
                cursor = raw.execute(ready.sql, ready.values(parameters or {}))
            return Rows(ready.rows(cursor.fetchall()), cursor.rowcount, cursor.lastrowid)
        except sqlite3.Error as error:
            self._raise(ready.sql, parameters, error)

    @contextmanager
    def transaction(self, begin: str) -> Iterator[None]:
        """Commits what is done within, or rolls it back."""
        raw = self._sqlite
        try:
            raw.execute(begin)
        except sqlite3.Error as error:
            self._raise(begin, None, error)
        try:
            yield
            self.commit() if self.in_transaction() else raw.commit()
        except BaseException as error:  # whatever it was, no transaction stays open
            self.rollback()  # where SQLAlchemy has begun, or the database has ended what it began
            raw.rollback()
            if isinstance(error, sqlite3.Error):
                self._raise("COMMIT", None, error)
            raise

    @contextmanager
    def savepoint(self) -> Iterator[None]:
        """Rolls back what is done within when it fails, and nothing else."""
        try:
            self._sqlite.execute("SAVEPOINT unit")
            try:
                yield
            except BaseException:  # whatever it was, nothing of the unit stays
                self._sqlite.execute("ROLLBACK TO unit")
                self._sqlite.execute("RELEASE unit")
                raise
            self._sqlite.execute("RELEASE unit")
        except sqlite3.Error as error:
            self._raise("SAVEPOINT", None, error)

    @property
    def _sqlite(self) -> sqlite3.Connection:
        return cast("sqlite3.Connection", self.connection.dbapi_connection)

    def scalar(self, statement: Executable, parameters: Any = None, **named: Any) -> Any:
        return self.execute(statement, parameters, **named).scalar()

    def scalars(self, statement: Executable, parameters: Any = None, **named: Any) -> Any:
        return self.execute(statement, parameters, **named).scalars()

    def _find(self, statement: Executable, parameters: Parameters) -> _Ready | None:
        if "_ready" not in self.__dict__:
            self._ready, self._once = WeakKeyDictionary(), WeakSet[Any]()
        known = self._ready.get(statement)
        if known is None:
            if statement not in self._once:
                self._once.add(statement)
                return None
            known = self._ready[statement] = {}
        first = (parameters[0] if parameters else {}) if isinstance(parameters, list | tuple) else parameters or {}
        names = tuple(first)
        if names not in known:
            known[names] = self._prepare(statement, names)
        return None if self.dispatch.before_cursor_execute else known[names]

    def _prepare(self, statement: Any, names: tuple[str, ...]) -> _Ready | None:
        """None where it cannot be said once for all: a list of values has another length every time, say."""
        compiled = statement.compile(dialect=self.dialect, column_keys=sorted(names))
        given = frozenset(names)
        if not isinstance(compiled, SQLCompiler) or compiled.literal_execute_params:
            return None
        if compiled.insert_prefetch or compiled.update_prefetch or any(map(_is_empty_list, compiled.binds.values())):
            return None  # what a column's default says, and how an empty list is written, is SQLAlchemy's to know
        binds = list(compiled.binds.values())
        if any(bind.key not in given if bind.required else bind.expanding and bind.key in given for bind in binds):
            return None
        return (
            None if any(bind.expanding and bind.required for bind in binds) else _Ready(compiled, self.dialect, given)
        )

    def _raise(self, sql: str, parameters: Any, error: sqlite3.Error) -> NoReturn:
        raise DBAPIError.instance(
            sql, parameters, error, sqlite3.Error, hide_parameters=True, dialect=self.dialect
        ) from error


def _is_empty_list(bind: BindParameter[Any]) -> bool:
    return bind.expanding and not bind.required and not bind.effective_value
