"""What does not work of channels, since when, and for how long they were tried in vain.

Kept among the states of monitors, so that a restore takes it over with them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from scheduler_service.clock import DAY
from scheduler_service.stores import monitor_store
from scheduler_service.stores.monitor_store import MonitorState

if TYPE_CHECKING:
    from collections.abc import Collection

    from sqlalchemy import Connection

    from scheduler_service.clock import Instant, Micros

FAILING, REFUSING = "failing", "refusing"
_NAME = "alerts"


def troubles(conn: Connection) -> dict[str, MonitorState]:
    """By channel; ``state`` is ``failing`` or ``refusing``, ``told_at`` the last failure, ``said`` in the body why."""
    return monitor_store.states(conn, _NAME)


def note_trouble(conn: Connection, channel: str, kind: str, said: str, now: Instant) -> bool:
    """Remembers since when a channel does not take alerts; whether that is new."""
    before = troubles(conn).get(channel)
    if before is not None and before.since > now:  # by a clock that was wrong
        before = None
    since = now if before is None else before.since
    body = {"said": said, "tried_for": tried_for(conn, channel, now)}
    monitor_store.put(conn, _NAME, channel, MonitorState(kind, since, now, body))
    return before is None


def tried_for(conn: Connection, channel: str, now: Instant) -> Micros:
    """For how long a channel was tried in vain. No gap between two tries counts for more than a day: the clock may have
    been set forward, or the service been down.
    """
    before = troubles(conn).get(channel)
    if before is None:
        return 0
    return int(before.body.get("tried_for", 0)) + min(max(0, now - before.told_at), DAY)


def note_well(conn: Connection, channel: str) -> str | None:
    """The channel takes alerts; returns the trouble that is over."""
    before = troubles(conn).get(channel)
    if before is not None:
        monitor_store.forget(conn, _NAME, channel)
    return None if before is None else before.state


def forget_others(conn: Connection, channels: Collection[str]) -> None:
    """Of channels that are none any more."""
    for channel in troubles(conn).keys() - set(channels):
        monitor_store.forget(conn, _NAME, channel)
