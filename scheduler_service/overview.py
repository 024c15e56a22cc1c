"""The state of the service in one look, from the ledger and the gates."""

from __future__ import annotations

import os
from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from scheduler_service import __version__
from scheduler_service.clock import to_datetime, to_iso_seconds
from scheduler_service.errors import Held
from scheduler_service.failure_memory import quarantined_until
from scheduler_service.gates.keys import KeyState
from scheduler_service.marks import note
from scheduler_service.models import StockState, TaskState
from scheduler_service.pausing import pauses
from scheduler_service.processors.base import is_fresh
from scheduler_service.stores import doubt_store, stock_state_store, task_store
from scheduler_service.stores.check_counts import check_counts
from scheduler_service.stores.pause_store import pauses_at
from scheduler_service.web.views import (
    DomainFreshness,
    KeyView,
    ModelTrust,
    NextSlot,
    ProviderState,
    Readiness,
    Status,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from scheduler_service.clock import Instant
    from scheduler_service.engine import Engine
    from scheduler_service.gates.gate import Gate
    from scheduler_service.gates.keys import KeyStanding
    from scheduler_service.models import Reason
    from scheduler_service.processors.base import Processor
    from scheduler_service.stores.doubt_store import DoubtfulRow
    from scheduler_service.stores.pause_store import PauseRow
    from scheduler_service.stores.stock_state_store import Key

MOST_DOUBTS_NAMED = 10


async def overview(engine: Engine, readiness: Readiness, started_at: Instant, impaired: Sequence[str]) -> Status:
    """Raises ``StoreError`` when the ledger cannot be read."""
    now = engine.clock.now()
    states, counts, paused, doubtful, checks = await engine.ledger.read(
        lambda conn: (
            stock_state_store.states(conn),
            task_store.state_counts(conn),
            pauses_at(conn, now),
            doubt_store.waiting(conn),
            check_counts(conn),
        )
    )
    watched = list(engine.dispatcher.watchlist)
    freshness = tuple(_freshness(engine, p, watched, states, now) for p in engine.processors.values())
    asked = [_provider(engine, gate, now) for gate in engine.gates.by_provider.values()]
    off = [ProviderState(provider=name, off=why) for name, why in sorted(engine.settings.off.items())]
    providers = (*asked, *off)
    service = engine.settings.service
    await engine.room.look()
    room = [engine.room.problem] if engine.room.problem is not None else []
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
        next=_next(engine, service.timezone, now, paused),
        providers=providers,
        models=tuple(ModelTrust.model_validate(asdict(one)) for one in checks),
        pauses=await pauses(engine),
        problems=(*_problems(readiness), *impaired, *room, *_shut(providers), *_failing(freshness)),
        warnings=(
            *engine.calendars.warnings(),
            *engine.window_warnings(),
            *_quarantined(engine, watched, states, now),
            *_doubtful(doubtful),
        ),
    )


async def in_one_line(engine: Engine, impaired: Sequence[str]) -> str:
    """``8 symbols; 3 running, 5 waiting; next news 16:30``, after what does not work. Raises ``StoreError``."""
    now, timezone = engine.clock.now(), engine.settings.service.timezone
    counts = await engine.ledger.read(task_store.state_counts)
    parts = [
        *([f"degraded: {'; '.join(impaired)}"] if impaired else []),
        f"{len(engine.dispatcher.watchlist)} symbols",
        f"{counts.get(TaskState.RUNNING, 0)} running, {counts.get(TaskState.QUEUED, 0)} waiting",
    ]
    for slot in _next(engine, timezone, now, [])[:1]:
        due, today = datetime.fromisoformat(slot.local), to_datetime(now).astimezone(ZoneInfo(timezone)).date()
        parts.append(
            f"next {slot.domain} {due:%H:%M}" if due.date() == today else f"next {slot.domain} {due:%a %d %b %H:%M}"
        )
    return "; ".join(parts)


def _freshness(
    engine: Engine, processor: Processor[Any], watched: list[str], states: Mapping[Key, StockState], now: Instant
) -> DomainFreshness:
    counts = {"fresh": 0, "stale": 0, "never": 0, "failing": 0, "quarantined": 0}
    for symbol in watched:
        ageing = processor.ageing(engine.symbol(symbol))
        for source in processor.required_of(engine.symbol(symbol)):
            state = states.get((symbol, processor.domain, source))
            if state is None or state.checked_at is None:
                counts["never"] += 1
            else:
                fresh = is_fresh(state, now, processor.policies[source].fresh_for, now, ageing)
                counts["fresh" if fresh else "stale"] += 1
            if state is not None and state.status == stock_state_store.FAILED:
                counts["quarantined" if _quarantine(state, now) else "failing"] += 1
    return DomainFreshness(
        domain=processor.domain, watched=counts["fresh"] + counts["stale"] + counts["never"], **counts
    )


def _quarantine(state: StockState, now: Instant) -> Instant | None:
    """Until when it lasts."""
    until = quarantined_until(state)
    return until if state.tried_at is not None and state.tried_at <= now and until is not None and now < until else None


def _quarantined(
    engine: Engine, watched: Sequence[str], states: Mapping[Key, StockState], now: Instant
) -> Iterator[str]:
    """A sentence for each watched stock that a source does not know."""
    for symbol in watched:
        held = {
            f"{domain} from {source}": until
            for domain, processor in engine.processors.items()
            for source in processor.policies
            if (until := _quarantine(states.get((symbol, domain, source), StockState()), now)) is not None
        }
        if held:
            first = to_iso_seconds(min(held.values()))
            how = f"take it off the watchlist, give it an alias, or: scheduler-service release {symbol}"
            yield f"{symbol} is unknown ({', '.join(held)}) and left alone until {first}; {how}"


def _doubtful(rows: Sequence[DoubtfulRow]) -> Iterator[str]:
    """A sentence for each answer that a person is to judge."""
    for row in rows[:MOST_DOUBTS_NAMED]:
        how = f"scheduler-service release {row.symbol} {row.domain}"
        what = f"{row.domain} of {row.symbol} from {row.source} is doubtful"
        since = f"set aside since {to_iso_seconds(row.since)}"
        yield f"{what}, {since}: {row.said}; accept it: {how}; drop it: {how} --reject"
    if len(rows) > MOST_DOUBTS_NAMED:
        more = len(rows) - MOST_DOUBTS_NAMED
        yield f"{more} more answers are doubtful and set aside; see history --status failed"


def _provider(engine: Engine, gate: Gate, now: Instant) -> ProviderState:
    spent, budget = gate.spent_today(now), gate.options.budget
    until, reason = _shut_until(gate, now)
    exhausted = gate.account.exhausted(now)
    return ProviderState(
        provider=gate.provider,
        sandbox=engine.gates.is_sandbox(gate.provider),
        calls_today=spent.calls,
        calls_limit=budget.calls_per_day,
        usd_today=spent.usd_micros / 1e6,
        usd_limit=budget.usd_per_day,
        exhausted=None if exhausted is None else str(exhausted),
        closed_until=None if until is None else to_iso_seconds(until),
        reason=reason,
        may_be_tried=any(standing.circuit for standing in gate.standings(now)),
        keys=() if gate.keys is None else tuple(map(_key, gate.keys.standings(now))),
    )


def _shut_until(gate: Gate, now: Instant) -> tuple[Instant | None, Reason | None]:
    """By itself, or because every key of it is set aside."""
    if (shut := gate.shut(now)) is not None:
        return shut.until, shut.reason
    try:
        if gate.keys is not None:
            gate.keys.check(now)
    except Held as held:
        return held.until, held.reason
    return None, None


def _key(standing: KeyStanding) -> KeyView:
    until = None if standing.until is None else to_iso_seconds(standing.until)
    return KeyView(name=standing.name, state=standing.state, until=until)


def _next(engine: Engine, timezone: str, now: Instant, paused: Sequence[PauseRow]) -> tuple[NextSlot, ...]:
    if engine.dispatcher.problem is not None:
        return ()
    slots = []
    for schedule in engine.dispatcher.everything.values():
        due = schedule.trigger.next(now)
        if due is not None:
            local = to_datetime(due).astimezone(ZoneInfo(timezone))
            slot = NextSlot(
                schedule_id=schedule.id,
                domain=schedule.domain,
                due_at=to_iso_seconds(due),
                local=local.isoformat(),
                in_words=schedule.trigger.describe(),
                note=note(schedule.trigger, schedule.id, due, timezone, paused),
            )
            slots.append((due, slot))
    return tuple(slot for _, slot in sorted(slots, key=lambda pair: (pair[0], pair[1].schedule_id)))


def _problems(readiness: Readiness) -> list[str]:
    return [] if readiness.ready else [readiness.problem or f"the service is {readiness.state}"]


def _shut(providers: tuple[ProviderState, ...]) -> list[str]:
    said = []
    for p in providers:
        if p.closed_until is not None:
            how = f"; tried at once after: scheduler-service release --provider {p.provider}" if p.may_be_tried else ""
            said.append(f"{p.provider} is not asked until {p.closed_until} ({p.reason}){how}")
        said += [
            f"{p.provider} refuses {key.name} until {key.until}: it is wrong, or out of credit; mend it, then reload "
            "(restart, where a variable holds it)"
            for key in p.keys
            if key.state == KeyState.REFUSED
        ]
        if p.exhausted is not None:
            said.append(p.exhausted)
    return said


def _failing(freshness: tuple[DomainFreshness, ...]) -> list[str]:
    return [
        f"{f.domain}: the last fetch of {f.failing} of {f.watched} (symbol, source) pairs failed; "
        "see history --status failed"
        for f in freshness
        if f.failing
    ]
