"""The state of the service in one look, from the ledger and the gates."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from scheduler_service import __version__
from scheduler_service.clock import to_datetime, to_iso_seconds
from scheduler_service.models import TaskState
from scheduler_service.processors.base import is_fresh
from scheduler_service.stores import stock_state_store, task_store
from scheduler_service.web.views import DomainFreshness, NextSlot, ProviderState, Readiness, Status

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from scheduler_service.clock import Instant
    from scheduler_service.engine import Engine
    from scheduler_service.gates.gate import Gate
    from scheduler_service.models import StockState
    from scheduler_service.processors.base import Processor
    from scheduler_service.stores.stock_state_store import Key


async def overview(engine: Engine, readiness: Readiness, started_at: Instant, impaired: Sequence[str]) -> Status:
    """Raises ``StoreError`` when the ledger cannot be read."""
    now = engine.clock.now()
    states, counts = await engine.ledger.read(
        lambda conn: (stock_state_store.states(conn), task_store.state_counts(conn))
    )
    watched = list(engine.dispatcher.watchlist)
    freshness = tuple(_freshness(p, watched, states, now) for p in engine.processors.values())
    providers = tuple(_provider(engine, gate, now) for gate in engine.gates.by_provider.values())
    service = engine.settings.service
    return Status(
        name=service.name,
        version=__version__,
        pid=os.getpid(),
        started_at=to_iso_seconds(started_at),
        now=to_iso_seconds(now),
        data_dir=str(engine.directory.root.absolute()),
        sandbox=engine.settings.sandbox,
        readiness=readiness,
        freshness=freshness,
        running=counts.get(TaskState.RUNNING, 0),
        queued=counts.get(TaskState.QUEUED, 0),
        next=_next(engine, service.timezone, now),
        providers=providers,
        problems=(*_problems(readiness), *impaired, *_ahead(engine), *_shut(providers), *_failing(freshness)),
    )


def _freshness(
    processor: Processor[Any], watched: list[str], states: Mapping[Key, StockState], now: Instant
) -> DomainFreshness:
    counts = {"fresh": 0, "stale": 0, "never": 0, "failing": 0}
    for symbol in watched:
        for source, policy in processor.policies.items():
            state = states.get((symbol, processor.domain, source))
            if state is None or state.checked_at is None:
                counts["never"] += 1
            else:
                counts["fresh" if is_fresh(state, now, policy.fresh_for, now) else "stale"] += 1
            counts["failing"] += state is not None and state.status == stock_state_store.FAILED
    return DomainFreshness(domain=processor.domain, watched=len(watched) * len(processor.policies), **counts)


def _provider(engine: Engine, gate: Gate, now: Instant) -> ProviderState:
    spent = gate.spent_today(now)
    shut = gate.closed if gate.closed is not None and gate.closed.until > now else None
    return ProviderState(
        provider=gate.provider,
        sandbox=engine.gates.is_sandbox(gate.provider),
        calls_today=spent.calls,
        calls_limit=gate.options.budget.calls_per_day,
        usd_today=spent.usd_micros / 1e6,
        closed_until=to_iso_seconds(shut.until) if shut else None,
        reason=shut.reason if shut else None,
    )


def _next(engine: Engine, timezone: str, now: Instant) -> tuple[NextSlot, ...]:
    slots = []
    for schedule in engine.dispatcher.schedules.values():
        due = schedule.trigger.next(now)
        if due is not None:
            local = to_datetime(due).astimezone(ZoneInfo(timezone))
            slot = NextSlot(
                schedule_id=schedule.id,
                domain=schedule.domain,
                due_at=to_iso_seconds(due),
                local=local.isoformat(),
                in_words=schedule.trigger.describe(),
            )
            slots.append((due, slot))
    return tuple(slot for _, slot in sorted(slots, key=lambda pair: (pair[0], pair[1].schedule_id)))


def _ahead(engine: Engine) -> list[str]:
    return [
        f"schedule {schedule_id} is accounted for until {to_iso_seconds(cursor)}, ahead of the clock; "
        "nothing of it runs before"
        for schedule_id, cursor in sorted(engine.dispatcher.ahead.items())
    ]


def _problems(readiness: Readiness) -> list[str]:
    return [] if readiness.ready else [readiness.problem or f"the service is {readiness.state}"]


def _shut(providers: tuple[ProviderState, ...]) -> list[str]:
    said = []
    for p in providers:
        if p.closed_until is not None:
            said.append(f"{p.provider} is not asked until {p.closed_until} ({p.reason})")
        if p.calls_limit is not None and p.calls_today >= p.calls_limit:
            said.append(f"{p.provider} has used its {p.calls_limit} calls of today")
    return said


def _failing(freshness: tuple[DomainFreshness, ...]) -> list[str]:
    return [
        f"{f.domain}: the last fetch of {f.failing} of {f.watched} (symbol, source) pairs failed; "
        "see history --status failed"
        for f in freshness
        if f.failing
    ]
