"""What a restored ledger takes over from the one in whose place it comes, because it cannot be taken back."""
# ruff: noqa: S608 - the names in the statements are those of tables and columns in schema.py

from __future__ import annotations

import sqlite3
from contextlib import closing
from enum import Enum
from typing import TYPE_CHECKING

from scheduler_service.stores.notice_schema import delivery, monitor_state, outbox
from scheduler_service.stores.schema import gate_state, pause
from scheduler_service.stores.snapshot import IDENTITY

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence
    from pathlib import Path

    from sqlalchemy import Table


class CarriedOver(Enum):
    """``SPENT``: the old ledger is another one, whose numbers and notices mean nothing here; what was spent does."""

    ALL = "all"
    SPENT = "spent"
    NOTHING = "nothing"


def carry_over(old: Path, restored: Path) -> CarriedOver:
    """What has happened since the backup: what was spent, which notices were delivered, how long gates stay shut, what
    is paused, what monitors have told, which numbers were given.

    ``old`` is nobody's; it is read as it lies, with its log of the last commits.
    """
    if not old.exists() or not old.stat().st_size:
        return CarriedOver.NOTHING
    with closing(sqlite3.connect(restored, isolation_level=None)) as conn:
        try:
            conn.execute("ATTACH DATABASE ? AS old", (str(old),))
            if _told(conn, "main", "schema_version") != _told(conn, "old", "schema_version"):
                return CarriedOver.NOTHING
            _carry(conn, _SPENT)
        except sqlite3.Error:
            return CarriedOver.NOTHING
        try:
            if _told(conn, "main", IDENTITY) != _told(conn, "old", IDENTITY):
                return CarriedOver.SPENT
            [(behind,)] = conn.execute(_BEHIND).fetchall()
            _carry(conn, (*(_MERGED if behind else _REPLACED), *_NUMBERED))
        except sqlite3.Error:  # damaged in parts
            return CarriedOver.SPENT
    return CarriedOver.ALL


def _told(conn: sqlite3.Connection, ledger: str, key: str) -> str | None:
    found = conn.execute(f"SELECT value FROM {ledger}.meta WHERE key = ?", (key,)).fetchone()
    return None if found is None else str(found[0])


def _carry(conn: sqlite3.Connection, statements: Sequence[str]) -> None:
    """All of them or none."""
    conn.execute("BEGIN IMMEDIATE")
    try:
        for statement in statements:
            conn.execute(statement)
        conn.execute("COMMIT")
    except sqlite3.Error:
        if conn.in_transaction:
            conn.execute("ROLLBACK")
        raise


def _names(table: Table, *, without: Collection[str] = ()) -> list[str]:
    return [column.name for column in table.columns if column.name not in without]


def _taken(names: Iterable[str]) -> str:
    return ", ".join(f"{name} = excluded.{name}" for name in names)


_SPENT = (
    "INSERT INTO main.spend (provider, day, calls, usd_micros, tokens)"
    " SELECT provider, day, calls, usd_micros, tokens FROM old.spend WHERE true"
    " ON CONFLICT (provider, day) DO UPDATE SET calls = max(calls, excluded.calls),"
    " usd_micros = max(usd_micros, excluded.usd_micros), tokens = max(tokens, excluded.tokens)",
)

_BEHIND = (
    "SELECT count(*) FROM main.sqlite_sequence AS here LEFT JOIN old.sqlite_sequence AS there USING (name)"
    " WHERE here.seq > coalesce(there.seq, 0)"
)
"""Whether the backup has given numbers that the old ledger has not: then the old one is the older one, as after a
restore of an earlier backup that could not carry anything over.
"""

_REPLACED = tuple(
    statement
    for table in (gate_state, pause, monitor_state)
    for columns in (", ".join(_names(table)),)
    for statement in (
        f"DELETE FROM main.{table.name}",
        f"INSERT INTO main.{table.name} ({columns}) SELECT {columns} FROM old.{table.name}",
    )
)
"""How things stand: what is gone since the backup stays gone."""

_MERGED = (
    "INSERT INTO main.gate_state (provider, name, until_at, reason, set_at)"
    " SELECT provider, name, until_at, reason, set_at FROM old.gate_state WHERE true"
    " ON CONFLICT (provider, name) DO UPDATE SET until_at = excluded.until_at, reason = excluded.reason,"
    " set_at = excluded.set_at WHERE excluded.set_at > set_at",
)

# Not when they were logged: the restored strategy log ends with the backup, and is written up to now.
_NOTICE = _names(outbox, without=("id", "logged_at"))
_DELIVERY = _names(delivery, without=("notice_id",))
_NUMBERED = (
    "INSERT INTO main.sqlite_sequence (name, seq) SELECT name, 0 FROM old.sqlite_sequence"
    " WHERE name NOT IN (SELECT name FROM main.sqlite_sequence)",
    "UPDATE main.sqlite_sequence SET seq = max(seq, coalesce("
    "(SELECT o.seq FROM old.sqlite_sequence AS o WHERE o.name = sqlite_sequence.name), 0))",
    # A number that is taken, as after a restore that could not carry anything over, gives way to a new one.
    f"INSERT INTO main.outbox (id, {', '.join(_NOTICE)})"
    f" SELECT CASE WHEN id IN (SELECT id FROM main.outbox) THEN NULL ELSE id END, {', '.join(_NOTICE)}"
    " FROM old.outbox WHERE true ORDER BY id"
    " ON CONFLICT (key) DO UPDATE SET handled_at = coalesce(handled_at, excluded.handled_at)",
    f"INSERT INTO main.delivery (notice_id, {', '.join(_DELIVERY)})"
    f" SELECT here.id, {', '.join(f'd.{name}' for name in _DELIVERY)} FROM old.delivery AS d"
    " JOIN old.outbox AS there ON there.id = d.notice_id JOIN main.outbox AS here ON here.key = there.key WHERE true"
    f" ON CONFLICT (notice_id, channel) DO UPDATE SET {_taken(_names(delivery, without=('notice_id', 'channel')))}"
    " WHERE ended_at IS NULL AND (excluded.ended_at IS NOT NULL OR excluded.tries >= tries)",  # what has ended stays so
)
