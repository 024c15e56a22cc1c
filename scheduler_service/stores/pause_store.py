"""Pauses: what a person wants left alone, and what was. One that has ended is kept, to say who skipped a slot."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from sqlalchemy import Connection, and_, case, delete, func, insert, or_, select, update

from scheduler_service.stores.schema import pause

if TYPE_CHECKING:
    from scheduler_service.clock import Instant

EVERYTHING = "*"


@dataclass(frozen=True, slots=True)
class PauseRow:
    """A schedule, or all (``*``), that must not run in [since, end). ``ended_at``: when it ended, by itself or before
    ``until`` because somebody resumed; None while nobody has seen it end.
    """

    scope: str
    since: Instant
    until: Instant | None
    reason: str | None
    ended_at: Instant | None = None

    @property
    def end(self) -> Instant | None:
        return self.until if self.ended_at is None else self.ended_at

    def holds_at(self, instant: Instant) -> bool:
        return self.since <= instant and (self.end is None or instant < self.end)

    def as_of(self, now: Instant) -> PauseRow:
        """As it stands: one that a clock that was ahead has begun holds from now on, for as long as it was meant to."""
        if self.ended_at is not None:
            return self
        if self.since > now:
            return replace(self, since=now, until=None if self.until is None else self.until - (self.since - now))
        return replace(self, ended_at=self.until) if self.until is not None and self.until <= now else self


_ON = pause.c.ended_at.is_(None)
END = func.coalesce(pause.c.ended_at, pause.c.until)
_ORDER = (pause.c.since, pause.c.scope)
_IN_FORCE = select(pause).where(_ON)  # built once, for it runs with every claim


def pauses(conn: Connection, scope: str | None = None, after: Instant = 0) -> list[PauseRow]:
    """By when they began: all that did not end by ``after``, or those that concern one schedule."""
    query = select(pause).where(or_(_ON, pause.c.ended_at > after)).order_by(*_ORDER)
    if scope is not None:
        query = query.where(pause.c.scope.in_([scope, EVERYTHING]))
    return [PauseRow(r.scope, r.since, r.until, r.reason, r.ended_at) for r in conn.execute(query)]


def pauses_at(conn: Connection, now: Instant) -> list[PauseRow]:
    """What is paused now, by scope."""
    rows = conn.execute(_IN_FORCE).all()
    found = (PauseRow(r.scope, r.since, r.until, r.reason).as_of(now) for r in rows)
    return sorted((p for p in found if p.ended_at is None), key=lambda p: p.scope)


def put_pause(conn: Connection, wanted: PauseRow) -> None:
    """In place of the one that this schedule, or all, may have had."""
    end_pause(conn, wanted.scope, wanted.since)
    conn.execute(insert(pause).values(scope=wanted.scope, since=wanted.since, until=wanted.until, reason=wanted.reason))


def end_pause(conn: Connection, scope: str, now: Instant) -> bool:
    """False where there was none."""
    was_on = any(p.scope == scope for p in pauses_at(conn, now))
    mine = and_(pause.c.scope == scope, _ON)
    conn.execute(delete(pause).where(mine, pause.c.since >= now))  # it has not held at any time
    conn.execute(update(pause).where(mine).values(ended_at=case((pause.c.until < now, pause.c.until), else_=now)))
    return was_on


def are_over(conn: Connection, now: Instant) -> bool:
    """Whether some have ended by themselves, and nobody has noted it."""
    return conn.execute(select(pause.c.scope).where(_ON, pause.c.until <= now).limit(1)).first() is not None


def note_over(conn: Connection, now: Instant) -> None:
    """What is over stays over, though a clock may show an earlier time again."""
    conn.execute(update(pause).where(_ON, pause.c.until <= now, pause.c.since <= now).values(ended_at=pause.c.until))


def move_pauses(conn: Connection, now: Instant) -> list[PauseRow]:
    """Makes those that a clock that was ahead has begun begin now: nobody loses a pause to a clock. Returns them.

    What also ended in that time to come has not been; what began before ended now. Twice is as good as once.
    """
    conn.execute(delete(pause).where(pause.c.ended_at.is_not(None), pause.c.since >= now))
    conn.execute(update(pause).where(pause.c.ended_at > now).values(ended_at=now))
    ahead = conn.execute(select(pause).where(_ON, pause.c.since > now).order_by(pause.c.scope)).all()
    moved = [PauseRow(r.scope, r.since, r.until, r.reason).as_of(now) for r in ahead]
    for before, after in zip(ahead, moved, strict=True):
        mine = and_(pause.c.scope == before.scope, pause.c.since == before.since)
        conn.execute(update(pause).where(mine).values(since=after.since, until=after.until))
    return moved
