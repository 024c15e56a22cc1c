"""What calls did cost, when they left, and what was foreseen: the facts behind a budget's forecast. Queries only, but
for the estimate, which the service notes when it starts.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sqlalchemy import Connection, case, delete, func, insert, select

from scheduler_service.clock import DAY, HOUR, MINUTE
from scheduler_service.models import A_PERSONS, RunOrigin, TaskState
from scheduler_service.stores.call_store import CallState, Spend, Use
from scheduler_service.stores.schema import OPEN, RESERVED, call, call_use, meta, run, task
from scheduler_service.stores.task_store import Rank

if TYPE_CHECKING:
    from scheduler_service.clock import Instant

MINUTES, HOURS = 60, 24
_ESTIMATE = "estimate"
_FAILED = (CallState.FAILED, CallState.LOST)


@dataclass(frozen=True, slots=True)
class Usual:
    """What the fetches of one (domain, source) took lately: so many, with so many calls, at millionths of a US dollar
    and tokens.
    """

    fetches: int
    calls: int
    usd_micros: int
    tokens: int


@dataclass(frozen=True, slots=True)
class Waiting:
    """A task that has not ended, and is yet to ask."""

    symbol: str
    domain: str
    source: str
    urgent: bool


@dataclass(frozen=True, slots=True)
class Pace:
    """How many calls left in each of the last 60 minutes and 24 hours, oldest first, and how many of them failed."""

    minutes: list[int] = field(default_factory=lambda: [0] * MINUTES)
    failed_by_minute: list[int] = field(default_factory=lambda: [0] * MINUTES)
    hours: list[int] = field(default_factory=lambda: [0] * HOURS)
    failed_by_hour: list[int] = field(default_factory=lambda: [0] * HOURS)


def usual(conn: Connection, since: Instant) -> dict[tuple[str, str], Usual]:
    """By (domain, source), of the calls reserved since then by fetches that succeeded: what is asked in vain in an
    outage is not usual, nor is a first fetch, when nothing is kept yet, or one that is forced. Who joined a call, or
    was served a kept answer, fetched too.
    """
    asked = call_use.c.how == Use.ASKED
    query = (
        select(
            task.c.domain,
            task.c.source,
            func.count(call_use.c.task_id.distinct()),
            func.sum(case((asked, 1), else_=0)),
            func.sum(case((asked, call.c.usd_micros), else_=0)),
            func.sum(case((asked, call.c.tokens), else_=0)),
        )
        .select_from(call)
        .join(call_use, call_use.c.call_id == call.c.id)
        .join(task, task.c.id == call_use.c.task_id)
        .join(run, run.c.id == task.c.run_id)
        .where(call.c.reserved_at >= since, call.c.state != CallState.RESERVED, task.c.state == TaskState.COMPLETED)
        .where(run.c.origin != RunOrigin.INITIAL, ~run.c.force)
        .group_by(task.c.domain, task.c.source)
    )
    return {(domain, source): Usual(*sums) for domain, source, *sums in conn.execute(query)}


def waiting(conn: Connection) -> list[Waiting]:
    """The open tasks that may ask before long; what is paused is among them."""
    query = select(task.c.symbol, task.c.domain, task.c.source, task.c.rank, run.c.origin)
    query = query.join(run, run.c.id == task.c.run_id).where(OPEN, run.c.origin != RunOrigin.REPARSE)
    return [
        Waiting(symbol, domain, source, rank == Rank.HIGH or origin in A_PERSONS)
        for symbol, domain, source, rank, origin in conn.execute(query)
    ]


def in_the_air(conn: Connection) -> dict[str, Spend]:
    """What each provider's calls that were reserved and not settled may cost."""
    sums = (func.count(), func.sum(call.c.usd_micros), func.sum(call.c.tokens))
    rows = conn.execute(select(call.c.provider, *sums).where(RESERVED).group_by(call.c.provider))
    return {provider: Spend(*found) for provider, *found in rows}


def charged_though_failed(conn: Connection, now: Instant) -> dict[str, Spend]:
    """What is counted of each provider's calls of this UTC day that failed or were lost: what they may have cost, where
    no answer said it.
    """
    sums = (func.count(), func.sum(call.c.usd_micros), func.sum(call.c.tokens))
    counted = call.c.state.in_(_FAILED) & ((call.c.usd_micros > 0) | (call.c.tokens > 0))
    query = select(call.c.provider, *sums).where(counted, call.c.reserved_at >= now - now % DAY)
    return {provider: Spend(*found) for provider, *found in conn.execute(query.group_by(call.c.provider))}


def pace(conn: Connection, now: Instant) -> dict[str, Pace]:
    """How often each provider was asked lately."""
    minute = call.c.reserved_at - call.c.reserved_at % MINUTE
    failed = func.sum(case((call.c.state.in_(_FAILED), 1), else_=0))
    this_hour, this_minute = now - now % HOUR, now - now % MINUTE
    since = min(this_hour - (HOURS - 1) * HOUR, this_minute - (MINUTES - 1) * MINUTE)
    query = select(call.c.provider, minute, func.count(), failed).group_by(call.c.provider, minute)
    found: dict[str, Pace] = {}
    for provider, at, calls, went_wrong in conn.execute(
        query.where(call.c.reserved_at >= since, call.c.reserved_at <= now)
    ):
        its = found.setdefault(provider, Pace())
        hours_ago, minutes_ago = (this_hour - (at - at % HOUR)) // HOUR, (this_minute - at) // MINUTE
        its.hours[-1 - hours_ago] += calls
        its.failed_by_hour[-1 - hours_ago] += went_wrong
        if minutes_ago < MINUTES:
            its.minutes[-1 - minutes_ago] += calls
            its.failed_by_minute[-1 - minutes_ago] += went_wrong
    return found


def note_estimate(conn: Connection, text: str) -> None:
    """What the configuration that runs now is expected to ask, in place of the one before."""
    conn.execute(delete(meta).where(meta.c.key == _ESTIMATE))
    conn.execute(insert(meta).values(key=_ESTIMATE, value=text))


def noted_estimate(conn: Connection) -> str | None:
    return conn.execute(select(meta.c.value).where(meta.c.key == _ESTIMATE)).scalar_one_or_none()
