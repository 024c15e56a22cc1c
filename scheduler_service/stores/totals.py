"""What a ledger holds, counted: of a whole life of it, not of a stretch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import Connection, func, select

from scheduler_service.models import TaskState
from scheduler_service.stores.call_store import CallState
from scheduler_service.stores.notice_schema import delivery, outbox
from scheduler_service.stores.schema import call, run, slot, task

if TYPE_CHECKING:
    from collections.abc import Iterator

    from scheduler_service.clock import Instant


@dataclass(frozen=True, slots=True)
class Total:
    """How many of a kind ended alike. ``of``: a schedule's id, or a run's origin where no schedule stands behind it."""

    of: str
    outcome: str
    reason: str | None
    count: int


@dataclass(frozen=True, slots=True)
class CallTotal:
    """A provider's calls, and what they cost; ``lost`` and ``failed`` are among them, at ``usd_micros_of_failed``."""

    provider: str
    calls: int
    failed: int
    lost: int
    usd_micros: int
    tokens: int
    usd_micros_of_failed: int


@dataclass(frozen=True, slots=True)
class Check:
    """A source was asked for a stock with success, for a due time."""

    domain: str
    symbol: str
    source: str
    due_at: Instant
    at: Instant


def slots(conn: Connection) -> list[Total]:
    """By schedule, outcome and reason."""
    query = (
        select(slot.c.schedule_id, slot.c.outcome, slot.c.reason, func.sum(slot.c.slots))
        .group_by(slot.c.schedule_id, slot.c.outcome, slot.c.reason)
        .order_by(slot.c.schedule_id, slot.c.outcome, slot.c.reason)
    )
    return [Total(*row) for row in conn.execute(query)]


def tasks(conn: Connection) -> list[Total]:
    """By schedule or origin, state and reason; ``unchanged`` is a state of its own."""
    of = func.coalesce(task.c.schedule_id, run.c.origin)
    query = (
        select(of, task.c.state, task.c.unchanged, task.c.reason, func.count())
        .join(run, run.c.id == task.c.run_id)
        .group_by(of, task.c.state, task.c.unchanged, task.c.reason)
        .order_by(of, task.c.state, task.c.unchanged, task.c.reason)
    )
    return [
        Total(whose, "unchanged" if unchanged else state, reason, count)
        for whose, state, unchanged, reason, count in conn.execute(query)
    ]


def calls(conn: Connection) -> list[CallTotal]:
    """By provider."""
    failed = func.count().filter(call.c.state == CallState.FAILED)
    lost = func.count().filter(call.c.state == CallState.LOST)
    in_vain = call.c.state.in_((CallState.FAILED, CallState.LOST))
    spent = (
        func.sum(call.c.usd_micros),
        func.sum(call.c.tokens),
        func.coalesce(func.sum(call.c.usd_micros).filter(in_vain), 0),
    )
    query = select(call.c.provider, func.count(), failed, lost, *spent).group_by(call.c.provider)
    return [CallTotal(*row) for row in conn.execute(query.order_by(call.c.provider))]


def notices(conn: Connection) -> list[tuple[str, int]]:
    """What was noticed, by event."""
    query = select(outbox.c.event, func.count()).group_by(outbox.c.event).order_by(outbox.c.event)
    return [(event, count) for event, count in conn.execute(query)]


def deliveries(conn: Connection) -> list[Total]:
    """What became of alerts, by channel and state."""
    query = select(delivery.c.channel, delivery.c.state, func.count()).group_by(delivery.c.channel, delivery.c.state)
    ordered = query.order_by(delivery.c.channel, delivery.c.state)
    return [Total(channel, state, None, count) for channel, state, count in conn.execute(ordered)]


def checks(conn: Connection) -> Iterator[Check]:
    """Every one, the earliest first."""
    query = (
        select(task.c.domain, task.c.symbol, task.c.source, run.c.due_at, task.c.ended_at)
        .join(run, run.c.id == task.c.run_id)
        .where(task.c.state == TaskState.COMPLETED)
        .order_by(task.c.ended_at, task.c.id)
    )
    return (Check(*row) for row in conn.execute(query))
