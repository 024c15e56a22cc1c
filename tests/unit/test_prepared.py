"""Statements that are made ready once say what SQLAlchemy says of them."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import (
    Boolean,
    Column,
    Connection,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    bindparam,
    create_engine,
    delete,
    event,
    func,
    insert,
    select,
    text,
    update,
)
from sqlalchemy.exc import IntegrityError, MultipleResultsFound, NoResultFound, OperationalError

from scheduler_service.stores.prepared import PreparedConnection

if TYPE_CHECKING:
    from collections.abc import Iterator

metadata = MetaData()
stock = Table(
    "stock",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", Text, unique=True),
    Column("watched", Boolean),
    Column("body", LargeBinary),
)
ADD = insert(stock)
ALL = select(stock).order_by(stock.c.id)
SOME = select(stock.c.id, stock.c.watched).where(stock.c.name.in_(["a", "b"]), stock.c.id >= bindparam("least"))
THOSE = select(stock.c.name).where(stock.c.id.in_(bindparam("ids", expanding=True))).order_by(stock.c.id)
COUNT = select(func.count().label("many")).select_from(stock)
RENAME = update(stock).where(stock.c.name == bindparam("old")).values(name=bindparam("new"))
ROWS: list[dict[str, Any]] = [
    {"name": "a", "watched": True, "body": b"\0x"},
    {"name": "b", "watched": False, "body": None},
    {"name": "c", "watched": None, "body": b""},
]


@pytest.fixture(params=[Connection, PreparedConnection])
def conn(request: pytest.FixtureRequest) -> Iterator[Connection]:
    engine = create_engine("sqlite://")
    connection = request.param(engine)
    metadata.create_all(connection)
    connection.commit()
    yield connection
    connection.close()
    engine.dispose()


def test_it_gives_the_same_rows_each_time(conn: Connection) -> None:
    for row in ROWS:
        assert conn.execute(ADD, row).inserted_primary_key is not None
    for _ in range(3):
        rows = conn.execute(ALL).all()
        assert [tuple(row) for row in rows] == [
            (1, "a", True, b"\0x"),
            (2, "b", False, None),
            (3, "c", None, b""),
        ]
        assert (rows[0].watched, rows[1].watched) == (True, False)
        assert [type(row.watched) for row in rows[:2]] == [bool, bool]
        assert [tuple(row) for row in conn.execute(SOME, {"least": 2})] == [(2, False)]
        assert conn.scalar(COUNT) == conn.execute(COUNT).one().many == 3
        assert list(conn.scalars(THOSE, {"ids": [1, 3]})) == ["a", "c"]
        assert list(conn.scalars(THOSE, {"ids": [2]})) == ["b"]


def test_it_counts_the_rows_that_it_changed(conn: Connection) -> None:
    for _ in range(3):
        conn.execute(delete(stock))
        assert conn.execute(ADD, ROWS).rowcount == 3
        assert conn.execute(RENAME, {"old": "a", "new": "z"}).rowcount == 1
        assert conn.execute(RENAME, {"old": "nobody", "new": "y"}).rowcount == 0
        assert list(conn.scalars(select(stock.c.name).order_by(stock.c.name))) == ["b", "c", "z"]


def test_one_row_is_one_row(conn: Connection) -> None:
    conn.execute(ADD, ROWS)
    for _ in range(3):
        none = conn.execute(SOME, {"least": 9})
        assert none.one_or_none() is None
        assert conn.execute(SOME, {"least": 9}).scalar() is None
        assert conn.execute(SOME, {"least": 9}).first() is None
        assert conn.execute(SOME, {"least": 9}).scalar_one_or_none() is None
        with pytest.raises(NoResultFound):
            conn.execute(SOME, {"least": 9}).one()
        with pytest.raises(MultipleResultsFound):
            conn.execute(SOME, {"least": 1}).one_or_none()


def test_errors_are_of_the_same_kind(conn: Connection) -> None:
    bad: Any = select(text("nowhere")).select_from(text("nothing"))
    conn.execute(ADD, ROWS)
    for _ in range(3):
        with pytest.raises(IntegrityError):
            conn.execute(ADD, {"name": "a", "watched": True, "body": None})
        with pytest.raises(OperationalError):
            conn.execute(bad)


def test_who_listens_to_statements_hears_those_that_are_ready_too() -> None:
    engine, heard = create_engine("sqlite://"), list[str]()
    conn = PreparedConnection(engine)
    with conn:
        metadata.create_all(conn)
        for _ in range(3):
            conn.execute(COUNT)
        event.listen(conn, "before_cursor_execute", lambda *said: heard.append(said[2]))
        conn.execute(COUNT)
    assert len(heard) == 1
    engine.dispose()


def test_a_statement_that_is_forgotten_leaves_nothing_behind() -> None:
    engine = create_engine("sqlite://")
    conn = PreparedConnection(engine)
    with conn:
        metadata.create_all(conn)
        for number in range(50):
            once = select(stock.c.id).where(stock.c.id == number)
            for _ in range(2):
                conn.execute(once)
        del once
        assert len(conn._ready) <= 1
    engine.dispose()


@pytest.mark.parametrize("fails", [False, True])
def test_a_transaction_is_whole_or_undone_and_a_savepoint_alone(*, fails: bool) -> None:
    engine = create_engine("sqlite://")
    conn = PreparedConnection(engine)
    with conn:
        metadata.create_all(conn)
        conn.commit()
        conn._sqlite.isolation_level = None
        with suppress(KeyError), conn.transaction("BEGIN"):
            conn.execute(ADD, ROWS[0])
            with suppress(ZeroDivisionError), conn.savepoint():
                conn.execute(ADD, ROWS[1])
                raise ZeroDivisionError
            with conn.savepoint():
                conn.execute(ADD, ROWS[2])
            if fails:
                raise KeyError
        assert list(conn.scalars(select(stock.c.name).order_by(stock.c.name))) == ([] if fails else ["a", "c"])
    engine.dispose()


def test_what_columns_fill_in_and_empty_lists_are_left_to_those_who_know(conn: Connection) -> None:
    counted = iter(range(100))
    filled = Table(
        "filled",
        MetaData(),
        Column("id", Integer, primary_key=True),
        Column("name", Text),
        Column("number", Integer, default=lambda: next(counted)),
        Column("touched", Integer, default=0, onupdate=9),
    )
    filled.create(conn)
    add, everything = insert(filled), select(filled.c.number, filled.c.touched).order_by(filled.c.id)
    touch = update(filled).where(filled.c.id == bindparam("key")).values(name=bindparam("new"))
    none, some = select(filled.c.id).where(filled.c.id.in_([])), select(filled.c.id).where(filled.c.id.not_in([]))
    for number in range(3):
        conn.execute(add, {"name": "x"})
        assert [tuple(row) for row in conn.execute(everything)][number:] == [(number, 0)]
        assert list(conn.scalars(none)) == []
        assert len(list(conn.scalars(some))) == number + 1
        assert conn.execute(touch, {"key": number + 1, "new": "y"}).rowcount == 1
        assert [tuple(row) for row in conn.execute(everything)][number:] == [(number, 9)]
