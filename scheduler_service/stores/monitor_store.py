"""What each monitor last told of each of its subjects."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson
from sqlalchemy import Connection, delete, insert, select

from scheduler_service.stores.notice_schema import monitor_state

if TYPE_CHECKING:
    from collections.abc import Mapping

    from scheduler_service.clock import Instant


@dataclass(frozen=True, slots=True)
class MonitorState:
    """A monitor's word for how a subject is, since when, when that was last told, and what it judges changes by."""

    state: str
    since: Instant
    told_at: Instant
    body: Mapping[str, Any]


def states(conn: Connection, monitor: str) -> dict[str, MonitorState]:
    """By subject."""
    rows = conn.execute(select(monitor_state).where(monitor_state.c.monitor == monitor))
    return {r.subject: MonitorState(r.state, r.since, r.told_at, orjson.loads(r.body)) for r in rows}


def put(conn: Connection, monitor: str, subject: str, new: MonitorState) -> None:
    forget(conn, monitor, subject)
    conn.execute(
        insert(monitor_state).values(
            monitor=monitor,
            subject=subject,
            state=new.state,
            body=orjson.dumps(new.body),
            since=new.since,
            told_at=new.told_at,
        )
    )


def forget(conn: Connection, monitor: str, subject: str) -> None:
    """Of what is no longer watched nothing need be remembered."""
    mine = (monitor_state.c.monitor == monitor, monitor_state.c.subject == subject)
    conn.execute(delete(monitor_state).where(*mine))
