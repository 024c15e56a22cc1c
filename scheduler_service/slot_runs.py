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
from scheduler_service.stores.pause_store import EVERYTHING
from scheduler_service.stores.schedule_store import NewRun

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from scheduler_service.clock import Instant, Micros
    from scheduler_service.settings.loaded import Schedule
    from scheduler_service.slots import SlotPlan, Stretch
    from scheduler_service.stores.pause_store import PauseRow
    from scheduler_service.stores.schedule_store import ScheduleRow
    from scheduler_service.stores.wrong_clock import Voided


@dataclass(frozen=True, slots=True)
class CatchUp:
    """``slots``: those that were not run when they were due. ``fetches``: (domain, source) of the tasks that make up
    for them. ``since``: the oldest of the slots.
    """

    slots: int = 0
    fetches: Counter[tuple[str, str]] = field(default_factory=Counter)
    since: Instant | None = None

    def __add__(self, other: CatchUp) -> CatchUp:
        oldest = min((since for since in (self.since, other.since) if since is not None), default=None)
        return CatchUp(self.slots + other.slots, self.fetches + other.fetches, oldest)


def as_stretches(pauses: Sequence[PauseRow], now: Instant) -> list[Stretch]:
    """By their start. The slots in [since, end) are paused. A pause that a clock that was ahead has begun holds for all
    that is not accounted for; one that ended under such a clock is over.
    """
    began = [p for p in pauses if p.ended_at is None or p.ended_at <= now]
    return sorted((0, now) if p.since > now else (p.since - 1, now if p.end is None else p.end - 1) for p in began)


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
            spread=_spread(schedule, due_at),
            expires_at=expires_at,
            queue=MOST_CAUGHT_UP if one_each else int(schedule.overlap == "queue"),
        )
        runs[due_at] = NewRun(made_by, schedule.domain, due_at, expansion.to_json(), schedule_id=schedule.id)
    return runs


def _spread(schedule: Schedule, due_at: Instant) -> Micros:
    """Below the interval: no symbol comes later than the slot's successor."""
    following = schedule.trigger.next(due_at)
    return schedule.spread if following is None else min(schedule.spread, following - due_at)


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
                why = f" ({row.reason})" if str(row.reason) != str(row.outcome) else ""
                counts[f"{row.outcome}{why}"] += row.slots
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


def unreadable_event(row: ScheduleRow, now: Instant) -> Event:
    """``schedule.unreadable``, of one whose slots cannot be listed any more."""
    since, until = to_iso_seconds(row.cursor), to_iso_seconds(now)
    message = f"{row.id}: what it was is not understood any more (its exchange or time zone is not known here, or"
    message += f" another version wrote it); its slots from {since} to {until} are not accounted for"
    return Event("schedule.unreadable", message, {"schedule_id": row.id}, "WARNING")


def moved_event(moved: Sequence[PauseRow]) -> Event:
    """``clock.jumped``, for pauses that began in the future."""
    said = []
    for p in moved:
        what = "everything" if p.scope == EVERYTHING else p.scope
        said.append(f"{what} until {'someone resumes it' if p.until is None else to_iso_seconds(p.until)}")
    message = f"the clock was ahead, or has gone back: what was paused then is paused from now on: {'; '.join(said)}"
    return Event("clock.jumped", message, {"reason": "pauses_ahead"}, "WARNING")


def voided_event(found: Sequence[tuple[ScheduleRow, Voided]]) -> Event:
    """``clock.jumped``, for what the ledger knew of the future."""
    said = []
    for row, voided in found:
        stay = f", {voided.stay} that were carried out stay" if voided.stay else ""
        said.append(f"{row.id} until {to_iso_seconds(row.cursor)} ({voided.slots} slots are void{stay})")
    message = f"the clock was ahead, or has gone back: accounted for were {'; '.join(said)}"
    return Event("clock.jumped", message, {"reason": "slots_ahead"}, "WARNING")
