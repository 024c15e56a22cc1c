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

_NOTICES = (
    "DROP TABLE outbox",
    "CREATE TABLE outbox (id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, key TEXT NOT NULL UNIQUE, event TEXT NOT NULL,"
    " level TEXT NOT NULL, message TEXT NOT NULL, symbol TEXT, facts BLOB NOT NULL, is_alert BOOLEAN NOT NULL,"
    " created_at BIGINT NOT NULL, logged_at BIGINT, handled_at BIGINT)",
    "CREATE INDEX outbox_unlogged ON outbox (id) WHERE logged_at IS NULL",
    "CREATE INDEX outbox_unhandled ON outbox (id) WHERE handled_at IS NULL",
    "CREATE TABLE delivery (notice_id BIGINT NOT NULL REFERENCES outbox (id), channel TEXT NOT NULL,"
    " state TEXT NOT NULL, said TEXT, tries INTEGER NOT NULL, not_before BIGINT NOT NULL, tried_at BIGINT,"
    " ended_at BIGINT, PRIMARY KEY (notice_id, channel))",
    "CREATE INDEX delivery_waiting ON delivery (channel, not_before) WHERE ended_at IS NULL",
    "CREATE TABLE monitor_state (monitor TEXT NOT NULL, subject TEXT NOT NULL, state TEXT NOT NULL,"
    " body BLOB NOT NULL, since BIGINT NOT NULL, told_at BIGINT NOT NULL, PRIMARY KEY (monitor, subject))",
)
"""Version 3 had an outbox that nobody wrote to."""

_FIND_WHAT_WAS_TOLD = (
    "CREATE INDEX outbox_like ON outbox (event, symbol, created_at)",
    "CREATE INDEX delivery_ended ON delivery (channel, ended_at)",
)
"""Version 4 looked through all notices for each that was to be told."""


def _statements(statements: Sequence[str]) -> Callable[[Connection], None]:
    def step(conn: Connection) -> None:
        for statement in statements:
            conn.execute(text(statement))

    return step


MIGRATIONS: dict[int, Callable[[Connection], None]] = {
    1: _statements(_KEEP_ENDED_PAUSES),
    2: _statements(_SET_DOUBTFUL_ASIDE),
    3: _statements(_NOTICES),
    4: _statements(_FIND_WHAT_WAS_TOLD),
}
"""From version N to N + 1, keyed by N."""
