"""How the running service is, for the health monitor: what does not work, what is overdue, how much room is left."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from scheduler_service.clock import MINUTE
from scheduler_service.failure_memory import pause_of
from scheduler_service.freshness import LOOKS_BACK, is_overdue, last_due
from scheduler_service.models import StockState
from scheduler_service.monitors.health_monitor import Vitals
from scheduler_service.settings.units import format_size
from scheduler_service.stores import pause_store, stock_state_store
from scheduler_service.stores.pause_store import EVERYTHING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from scheduler_service.clock import Clock, Instant, Micros
    from scheduler_service.engine import Engine
    from scheduler_service.web.views import Readiness, Status

OVERDUE_SHARE = 0.2
LONGEST_LAG = 1.0
LAG_SAMPLE = 0.25
MOST_MEMORY = 1_500_000_000
AFTER_A_START: Micros = 10 * MINUTE
"""What was missed while it was down is being caught up with."""


class Service(Protocol):
    """What runs, as far as it is watched."""

    @property
    def started_at(self) -> Instant: ...

    async def status(self) -> Status: ...

    def makes_progress(self) -> bool: ...


async def vitals(engine: Engine, service: Service, lag: float) -> Vitals:
    """``lag``: by how many seconds the event loop was late at the worst. Raises ``StoreError`` where the ledger cannot
    be read.
    """
    now, status = engine.clock.now(), await service.status()
    critical = engine.room.problem if engine.room.is_critical else None
    stuck = None if service.makes_progress() else "schedules are no longer looked after: its rounds do not come round"
    faults = [said for said in (engine.ledger.problem, _died(status.readiness), stuck, critical) if said is not None]
    expected = status.readiness.problem if status.readiness.state == "starting" else None
    troubles = [problem for problem in status.problems if problem not in (*faults, expected)]
    if lag > LONGEST_LAG:
        troubles.append(f"the service was {lag:.1f} s behind with everything it does")
    if (memory := _memory()) is not None and memory > MOST_MEMORY:
        troubles.append(f"it takes {format_size(memory)} of memory")
    late, excused = await overdue(engine, now), await paused(engine, now)
    told = [] if now - service.started_at < AFTER_A_START else [late[name] for name in late if name not in excused]
    is_over = status.readiness.state == "failed"
    return Vitals(tuple(faults), (*troubles, *told), is_fresh=not late, is_over=is_over)


async def overdue(engine: Engine, now: Instant) -> dict[str, str]:
    """By its name, a sentence for each schedule of whose stocks many should have been looked at an hour ago, and were
    not: also where a person paused it, for what is known of them is as old.
    """
    states = await engine.ledger.read(stock_state_store.states)
    counts = {name: _counts(engine, name, states, now) for name in engine.dispatcher.schedules}
    since = "though they were due over an hour ago"
    return {
        name: f"{name}: {late} of {all_} sources of its stocks were not looked at, {since}"
        for name, (late, all_) in counts.items()
        if all_ and late / all_ > OVERDUE_SHARE
    }


async def paused(engine: Engine, now: Instant) -> set[str]:
    """The schedules that a person wants left alone, or wanted when they were due last: that they are late is no
    trouble.
    """
    rows = [p.as_of(now) for p in await engine.ledger.read(partial(pause_store.pauses, after=now - LOOKS_BACK))]
    excused = set()
    for name, schedule in engine.dispatcher.schedules.items():
        mine = [pause for pause in rows if pause.scope in (EVERYTHING, name)]
        due = last_due(schedule, now) if mine else None
        if any(pause.holds_at(now) or (due is not None and pause.holds_at(due)) for pause in mine):
            excused.add(name)
    return excused


class LoopLag:
    """How late the event loop was, at its worst, since that was last asked."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._worst = 0.0

    async def measure_forever(self) -> None:
        """Whatever blocks the loop for longer than the time between two samples is seen, whenever that is."""
        while True:
            before = self._clock.monotonic()
            await self._clock.sleep(LAG_SAMPLE)
            self._worst = max(self._worst, self._clock.monotonic() - before - LAG_SAMPLE)

    def take(self) -> float:
        """In seconds; the next one is counted from 0."""
        worst, self._worst = self._worst, 0.0
        return worst


def _counts(
    engine: Engine, name: str, states: Mapping[tuple[str, str, str], StockState], now: Instant
) -> tuple[int, int]:
    schedule = engine.dispatcher.schedules[name]
    processor = engine.processors.get(schedule.domain)
    if processor is None:
        return 0, 0
    late = every = 0
    for symbol in engine.dispatcher.watchlist.values():
        for source in processor.required_of(symbol) if schedule.selects(symbol) else ():
            state = states.get((symbol.symbol, schedule.domain, source), StockState())
            if pause_of(state, processor.policies[source].fresh_for, now) is not None:
                continue  # it fails, and that is told by itself
            every += 1
            late += is_overdue(schedule, processor, symbol, source, state, now)
    return late, every


def _died(readiness: Readiness) -> str | None:
    return readiness.problem if readiness.state == "failed" else None


def _memory() -> int | None:
    """Resident bytes, where the system tells (``/proc/self/statm``, in pages)."""
    try:
        pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[1]
    except (OSError, IndexError):
        return None
    return int(pages) * os.sysconf("SC_PAGE_SIZE")
