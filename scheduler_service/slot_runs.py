"""What due slots lead to: the runs that carry them out, and what is said of those and of the missed ones. Pure."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from itertools import cycle, islice
from typing import TYPE_CHECKING

from scheduler_service.clock import to_iso_seconds
from scheduler_service.expansion import RANKS, Expansion
from scheduler_service.models import Event, RunOrigin, ScheduleOrigin
from scheduler_service.slots import CARRIED_OUT, MOST_CAUGHT_UP
from scheduler_service.stores.schedule_store import NewRun

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from scheduler_service.clock import Instant
    from scheduler_service.settings.loaded import Schedule
    from scheduler_service.slots import SlotPlan, Stretch
    from scheduler_service.stores.schedule_store import PauseRow, ScheduleRow
    from scheduler_service.stores.wrong_clock import Voided


@dataclass(frozen=True, slots=True)
class CatchUp:
    """``slots``: those that were not run when they were due. ``fetches``: (domain, source) of the tasks that make up
    for them.
    """

    slots: int = 0
    fetches: Counter[tuple[str, str]] = field(default_factory=Counter)

    def __add__(self, other: CatchUp) -> CatchUp:
        return CatchUp(self.slots + other.slots, self.fetches + other.fetches)


def as_stretches(pauses: Sequence[PauseRow], now: Instant) -> list[Stretch]:
    """The slots in [since, until) are paused; a pause set in the future is void."""
    return [(p.since - 1, now if p.until is None else p.until - 1) for p in pauses if p.since <= now]


def runs_of(
    schedule: Schedule,
    origin: ScheduleOrigin,
    plan: SlotPlan,
    symbols: Sequence[str],
    sources: tuple[str, ...],
    expires_at: Instant | None,
) -> dict[Instant, NewRun]:
    """The run of each slot that gets one. ``symbols``: the stalest first, where it is for some of them only."""
    one_each = schedule.catch_up == "all" and plan.missed > 0
    chosen = _rotation(symbols, schedule.stalest)
    made_by = RunOrigin.FOLLOW_UP if origin is ScheduleOrigin.FOLLOW_UP else RunOrigin.SCHEDULE
    runs = {}
    for due_at in plan.runs:
        expansion = Expansion(
            symbols=next(chosen),
            sources=sources,
            rank=RANKS[schedule.priority],
            spread=schedule.spread if expires_at is None else min(schedule.spread, expires_at - due_at),
            expires_at=expires_at,
            queue=MOST_CAUGHT_UP if one_each else int(schedule.overlap == "queue"),
        )
        runs[due_at] = NewRun(made_by, schedule.domain, due_at, expansion.to_json(), schedule_id=schedule.id)
    return runs


def _rotation(symbols: Sequence[str], most: int | None) -> Iterator[tuple[str, ...]]:
    """The symbols of one run after another, sorted: all of them, or ``most`` at a time, round and round."""
    several = len(symbols) if most is None else min(most, len(symbols))
    endless = cycle(symbols)
    while True:
        yield tuple(sorted(islice(endless, several)))


def slot_events(schedule: Schedule, plan: SlotPlan, now: Instant) -> Iterator[Event]:
    """``slot.closed`` for what passed without a run, ``slot.opened`` for each run."""
    fields = {"schedule_id": schedule.id, "domain": schedule.domain}
    if plan.passed:
        counts: Counter[str] = Counter()
        for row in plan.slots:
            if row.reason:
                counts[f"{row.outcome}({row.reason})"] += row.slots
        first = next(row for row in plan.slots if row.reason)
        said = ", ".join(f"{count} {fate}" for fate, count in counts.items())
        message = f"{schedule.id}: slots passed without a run of their own: {said}"
        slot = to_iso_seconds(plan.slots[-1].due_at)
        level = "WARNING" if plan.missed else "INFO"  # that it is skipped, somebody wanted
        yield Event("slot.closed", message, {**fields, "slot": slot, "reason": first.reason}, level)
    for row in plan.slots:
        if row.outcome in CARRIED_OUT:
            slot, late = to_iso_seconds(row.due_at), (now - row.due_at) / 1e6
            message = f"{schedule.id}: slot {slot} {row.outcome}, {late:.1f} s after it was due"
            yield Event("slot.opened", message, {**fields, "slot": slot}, "DEBUG")


def voided_event(found: Sequence[tuple[ScheduleRow, Voided]]) -> Event:
    """``clock.jumped``, for what the ledger knew of the future."""
    said = []
    for row, voided in found:
        stay = f", {voided.stay} that were carried out stay" if voided.stay else ""
        said.append(f"{row.id} until {to_iso_seconds(row.cursor)} ({voided.slots} slots are void{stay})")
    message = f"the clock was ahead, or has gone back: accounted for were {'; '.join(said)}"
    return Event("clock.jumped", message, {}, "WARNING")
