"""How the running service is, for the health monitor: what does not work, what is overdue, how much room is left."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from scheduler_service.clock import DAY, HOUR, MINUTE
from scheduler_service.failure_memory import pause_of
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

GRACE: Micros = HOUR
"""So long after a slot its stocks should have been looked at."""
OVERDUE_SHARE = 0.2
LONGEST_LAG = 1.0
LAG_SAMPLE = 0.05
MOST_MEMORY = 1_500_000_000
AFTER_A_START: Micros = 10 * MINUTE
"""What was missed while it was down is being caught up with."""


async def vitals(engine: Engine, status: Status, readiness: Readiness, started_at: Instant, disk_floor: int) -> Vitals:
    """Raises ``StoreError`` where the ledger cannot be read."""
    now = engine.clock.now()
    faults = [problem for problem in (engine.ledger.problem, _died(readiness)) if problem is not None]
    troubles = [problem for problem in status.problems if problem not in faults]
    free = _free(engine.directory.root)
    if free is not None and free < disk_floor:
        said = f"{format_size(free)} are free where the data lies; {format_size(disk_floor)} are wanted"
        (faults if free < disk_floor // 10 else troubles).append(said)
    if (lag := await loop_lag(engine.clock)) > LONGEST_LAG:
        troubles.append(f"the service is {lag:.1f} s behind with everything it does")
    if (memory := _memory()) is not None and memory > MOST_MEMORY:
        troubles.append(f"it takes {format_size(memory)} of memory")
    late = [] if now - started_at < AFTER_A_START else await overdue(engine, now)
    return Vitals(tuple(faults), (*troubles, *late), is_fresh=not late)


async def overdue(engine: Engine, now: Instant) -> list[str]:
    """A sentence for each schedule of whose stocks many should have been looked at an hour ago, and were not."""
    states = await engine.ledger.read(stock_state_store.states)
    paused = {row.scope for row in await engine.ledger.read(partial(pause_store.pauses_at, now=now))}
    if EVERYTHING in paused:
        return []
    counts = {name: _counts(engine, name, states, now) for name in engine.dispatcher.schedules if name not in paused}
    return [
        f"{name}: {late} of {all_} sources of its stocks were not looked at, though they were due over an hour ago"
        for name, (late, all_) in counts.items()
        if all_ and late / all_ > OVERDUE_SHARE
    ]


async def loop_lag(clock: Clock) -> float:
    """By how many seconds a short sleep took longer than it should."""
    before = clock.monotonic()
    await clock.sleep(LAG_SAMPLE)
    return max(0.0, clock.monotonic() - before - LAG_SAMPLE)


def _counts(
    engine: Engine, name: str, states: Mapping[tuple[str, str, str], StockState], now: Instant
) -> tuple[int, int]:
    schedule = engine.dispatcher.schedules[name]
    processor = engine.processors.get(schedule.domain)
    due = schedule.trigger.last(now - 8 * DAY, now - GRACE - schedule.spread)
    if processor is None or due is None or schedule.stalest is not None:
        return 0, 0
    late = every = 0
    for symbol in engine.dispatcher.watchlist.values():
        for source in processor.required_of(symbol) if schedule.selects(symbol) else ():
            state = states.get((symbol.symbol, schedule.domain, source), StockState())
            if pause_of(state, processor.policies[source].fresh_for, now) is not None:
                continue  # it fails, and that is told by itself
            looked = state.checked_for is not None and state.checked_for >= due
            every += 1
            late += not looked and not processor.finds_fresh(source, symbol, state, due, now)
    return late, every


def _died(readiness: Readiness) -> str | None:
    return readiness.problem if readiness.state == "failed" else None


def _free(root: Path) -> int | None:
    try:
        found = os.statvfs(root)
    except OSError:
        return None
    return found.f_bavail * found.f_frsize


def _memory() -> int | None:
    """Resident bytes, where the system tells (``/proc/self/statm``, in pages)."""
    try:
        pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[1]
    except (OSError, IndexError):
        return None
    return int(pages) * os.sysconf("SC_PAGE_SIZE")
