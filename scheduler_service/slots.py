"""Which slots became due, and what becomes of each: pure functions of the trigger, the cursor and now."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from scheduler_service.clock import MINUTE
from scheduler_service.models import Reason, SlotOutcome
from scheduler_service.stores.schedule_store import SlotRow

if TYPE_CHECKING:
    from collections.abc import Iterator

    from scheduler_service.clock import Instant, Micros
    from scheduler_service.triggers import Trigger

LATE = MINUTE
"""A slot that is carried out later than this was caught up, not run."""


@dataclass(frozen=True, slots=True)
class Policy:
    """What to do about slots that passed unseen. ``hold``: nothing may run, for this reason."""

    catch_up: str
    window: Micros
    hold: Reason | None = None


@dataclass(frozen=True, slots=True)
class SlotPlan:
    """Every slot in (cursor, now], oldest first, and whether the newest is to be run."""

    slots: tuple[SlotRow, ...]
    run_due: Instant | None

    @property
    def passed(self) -> int:
        """Slots that came and went without a run of their own."""
        return sum(row.slots for row in self.slots) - (self.run_due is not None)


def plan_slots(trigger: Trigger, policy: Policy, cursor: Instant, now: Instant) -> SlotPlan:
    """Accounts for every slot in (cursor, now]: bounded work and at most three rows, however long the stretch."""
    newest = trigger.last(cursor, now)
    if newest is None:
        return SlotPlan((), None)
    if policy.hold is not None:
        return SlotPlan(tuple(_stretch(trigger, cursor, newest, SlotOutcome.SKIPPED, policy.hold)), None)
    outcome, reason = _newest(policy, newest, now)
    runs = outcome in (SlotOutcome.RAN, SlotOutcome.CAUGHT_UP)
    if policy.catch_up == "none":
        rows = [*_stretch(trigger, cursor, newest - 1, SlotOutcome.MISSED, Reason.CATCH_UP_NONE)]
    else:
        young = min(now - policy.window, newest)
        rows = [
            *_stretch(trigger, cursor, young - 1, SlotOutcome.MISSED, Reason.TOO_OLD),
            *_stretch(trigger, max(cursor, young - 1), newest - 1, SlotOutcome.COALESCED, Reason.COALESCED),
        ]
    rows.append(SlotRow(newest, newest, 1, outcome, reason))
    return SlotPlan(tuple(rows), newest if runs else None)


def _newest(policy: Policy, due_at: Instant, now: Instant) -> tuple[SlotOutcome, Reason | None]:
    late = now - due_at
    if late <= LATE:
        return SlotOutcome.RAN, None
    if policy.catch_up == "none":
        return SlotOutcome.MISSED, Reason.CATCH_UP_NONE
    if late > policy.window:
        return SlotOutcome.MISSED, Reason.TOO_OLD
    return SlotOutcome.CAUGHT_UP, None


def _stretch(
    trigger: Trigger, after: Instant, until: Instant, outcome: SlotOutcome, reason: Reason
) -> Iterator[SlotRow]:
    """The slots in (after, until] as one row, if there are any."""
    slots = trigger.count(after, until) if until > after else 0
    if slots:
        first, last = trigger.next(after), trigger.last(after, until)
        assert first is not None
        assert last is not None
        yield SlotRow(first, last, slots, outcome, reason)
