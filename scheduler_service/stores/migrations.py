"""The ledger's steps forward, each as the tables were then: what the schema says later is none of their business."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import text

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sqlalchemy import Connection

_KEEP_ENDED_PAUSES = (
    "ALTER TABLE pause RENAME TO pause_1",
    "CREATE TABLE pause (scope TEXT NOT NULL, since BIGINT NOT NULL, until BIGINT, reason TEXT, ended_at BIGINT,"
    " PRIMARY KEY (scope, since))",
    "INSERT INTO pause (scope, since, until, reason) SELECT scope, since, until, reason FROM pause_1",
    "DROP TABLE pause_1",
    "UPDATE task SET held_reason = NULL WHERE state = 'queued' AND held_reason = 'paused'",
)
"""Version 1 knew one pause of a schedule and forgot it at its end, and noted in the tasks that they were paused."""

_SET_DOUBTFUL_ASIDE = (
    "CREATE TABLE doubtful (domain TEXT NOT NULL, symbol TEXT NOT NULL, source TEXT NOT NULL, kind TEXT NOT NULL,"
    " body BLOB NOT NULL, sha256 BLOB NOT NULL, said TEXT NOT NULL, times INTEGER NOT NULL, task_id BIGINT NOT NULL,"
    " as_of BIGINT NOT NULL, since BIGINT NOT NULL, rejected_at BIGINT, PRIMARY KEY (domain, symbol, source))",
)
"""Version 2 believed every answer that it could read."""


def _statements(statements: Sequence[str]) -> Callable[[Connection], None]:
    def step(conn: Connection) -> None:
        for statement in statements:
            conn.execute(text(statement))

    return step


MIGRATIONS: dict[int, Callable[[Connection], None]] = {
    1: _statements(_KEEP_ENDED_PAUSES),
    2: _statements(_SET_DOUBTFUL_ASIDE),
}
"""From version N to N + 1, keyed by N."""
