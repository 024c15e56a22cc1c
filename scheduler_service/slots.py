"""Which slots became due, and what becomes of each: pure functions of the trigger, the cursor and now.

A stretch is ``(after, until]``, as everywhere where slots are asked for.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from scheduler_service.clock import MINUTE, Instant
from scheduler_service.models import Reason, SlotOutcome
from scheduler_service.stores.schedule_store import SlotRow

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from scheduler_service.clock import Micros
    from scheduler_service.triggers import Trigger

Stretch: TypeAlias = tuple[Instant, Instant]

LATE = MINUTE
"""A slot that is carried out later than this was caught up, not run."""
MOST_CAUGHT_UP = 1_000
"""With ``catch_up: all``; older ones count as too old."""
RUNS_PER_PLAN = 100
CARRIED_OUT = (SlotOutcome.RAN, SlotOutcome.CAUGHT_UP)


@dataclass(frozen=True, slots=True)
class Policy:
    """What to do about slots that passed unseen. ``hold``: nothing may run, for this reason."""

    catch_up: str
    window: Micros
    hold: Reason | None = None


@dataclass(frozen=True, slots=True)
class SlotPlan:
    """The slots after the cursor, oldest first. ``upto``: the slot they reach to, None where none is due; ``more``:
    others are due after it, for another plan.
    """

    slots: tuple[SlotRow, ...] = ()
    upto: Instant | None = None
    more: bool = False

    @property
    def runs(self) -> tuple[Instant, ...]:
        """The slots that get a run each."""
        return tuple(row.due_at for row in self.slots if row.outcome in CARRIED_OUT)

    @property
    def passed(self) -> int:
        """Slots that came and went without a run of their own."""
        return sum(row.slots for row in self.slots) - len(self.runs)

    @property
    def missed(self) -> int:
        """Slots that were not run when they were due, though nobody wanted that."""
        return sum(row.slots for row in self._missed)

    @property
    def missed_since(self) -> Instant | None:
        """The oldest of those."""
        return min((row.due_at for row in self._missed), default=None)

    @property
    def _missed(self) -> tuple[SlotRow, ...]:
        return tuple(row for row in self.slots if row.outcome not in (SlotOutcome.RAN, SlotOutcome.SKIPPED))


def plan_slots(
    trigger: Trigger,
    policy: Policy,
    cursor: Instant,
    now: Instant,
    *,
    paused: Sequence[Stretch] = (),
    recorded: Sequence[Instant] = (),
) -> SlotPlan:
    """Accounts for every slot in (cursor, now]: bounded work and a few rows, however long the stretch.

    ``paused``: stretches, by their start, whose slots are skipped. ``recorded``: ascending, what a clock that was
    ahead has carried out already; it is never planned again, and what coalesces into it needs no run.
    """
    due = trigger.last(cursor, now)
    if due is None:
        return SlotPlan()
    held = (Reason.PAUSED, paused) if policy.hold is None else (policy.hold, [(cursor, due)])
    free = list(_gaps((cursor, due), held[1]))
    newest = next((slot for a, b in reversed(free) if (slot := trigger.last(a, b)) is not None), None)
    until, more = due, False
    if newest is None:
        fates: list[_Fate] = []
    elif policy.catch_up == "all":
        first = _first_to_catch_up(trigger, policy, cursor, newest, now)
        wanted = _slots(trigger, _cut(free, (first - 1, newest), recorded), RUNS_PER_PLAN + 1)
        more = len(wanted) > RUNS_PER_PLAN
        until = wanted[RUNS_PER_PLAN - 1] if more else due
        fates = [((cursor, first - 1), SlotOutcome.MISSED, Reason.TOO_OLD)]
        fates += [((slot - 1, slot), *_outcome(policy, slot, now)) for slot in wanted[:RUNS_PER_PLAN]]
    else:
        fates = list(_fates_before(policy, cursor, newest, now))
        fates.append(((newest - 1, newest), *_outcome(policy, newest, now)))
    rows = [
        row
        for stretch, outcome, reason in fates
        for piece in _cut(free, stretch, recorded)
        for row in _row(trigger, piece, outcome, reason)
    ]
    for piece in _cut(list(_gaps((cursor, until), free)), (cursor, until), recorded):
        rows += _row(trigger, piece, SlotOutcome.SKIPPED, held[0])
    return SlotPlan(tuple(sorted(rows, key=lambda row: row.due_at)), until, more)


_Fate: TypeAlias = tuple[Stretch, SlotOutcome, Reason | None]


def _fates_before(policy: Policy, cursor: Instant, newest: Instant, now: Instant) -> Iterator[_Fate]:
    """What becomes of the slots before the newest."""
    if policy.catch_up == "none":
        yield (cursor, newest - 1), SlotOutcome.MISSED, Reason.CATCH_UP_NONE
        return
    young = min(now - policy.window, newest)
    yield (cursor, young - 1), SlotOutcome.MISSED, Reason.TOO_OLD
    yield (max(cursor, young - 1), newest - 1), SlotOutcome.COALESCED, Reason.COALESCED


def _outcome(policy: Policy, due_at: Instant, now: Instant) -> tuple[SlotOutcome, Reason | None]:
    """What becomes of a slot that would have a run of its own."""
    late = now - due_at
    if late <= LATE:
        return SlotOutcome.RAN, None
    if policy.catch_up == "none":
        return SlotOutcome.MISSED, Reason.CATCH_UP_NONE
    if late > policy.window:
        return SlotOutcome.MISSED, Reason.TOO_OLD
    return SlotOutcome.CAUGHT_UP, None


def _first_to_catch_up(trigger: Trigger, policy: Policy, cursor: Instant, newest: Instant, now: Instant) -> Instant:
    """Where the slots begin that get a run each."""
    young = min(max(cursor, now - policy.window - 1), newest - 1)
    if trigger.count(young, newest) <= MOST_CAUGHT_UP:
        return young + 1
    first = newest
    for _ in range(MOST_CAUGHT_UP - 1):
        first = trigger.last(young, first - 1) or first
    return first


def _gaps(stretch: Stretch, holes: Sequence[Stretch]) -> Iterator[Stretch]:
    """What the holes, in the order of their starts, leave of a stretch."""
    after, until = stretch
    for a, b in holes:
        if after < min(a, until):
            yield after, min(a, until)
        after = max(after, b)
    if after < until:
        yield after, until


def _cut(pieces: Sequence[Stretch], stretch: Stretch, recorded: Sequence[Instant]) -> list[Stretch]:
    """What of the pieces lies in the stretch, without the slots that are recorded."""
    shared = [(max(a, stretch[0]), min(b, stretch[1])) for a, b in pieces]
    holes = [(slot - 1, slot) for slot in recorded]
    return [piece for a, b in shared if a < b for piece in _gaps((a, b), holes)]


def _slots(trigger: Trigger, pieces: Sequence[Stretch], limit: int) -> list[Instant]:
    """The oldest slots in the pieces."""
    found: list[Instant] = []
    for after, until in pieces:
        found += trigger.between(after, until, limit - len(found))
        if len(found) >= limit:
            break
    return found


def _row(trigger: Trigger, stretch: Stretch, outcome: SlotOutcome, reason: Reason | None) -> Iterator[SlotRow]:
    """The slots of a stretch as one row, if there are any."""
    after, until = stretch
    slots = trigger.count(after, until)
    if slots:
        first, last = trigger.next(after), trigger.last(after, until)
        assert first is not None
        assert last is not None
        yield SlotRow(first, last, slots, outcome, reason)
