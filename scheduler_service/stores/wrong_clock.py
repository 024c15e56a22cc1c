"""What a clock that was ahead has written down, made void once the clock is right. The one place that names it all.

What is read with its own ``set_at`` or ``checked_at`` beside now (gates, keys, stock states, answers) is void for its
reader already; here is what would hold something up, and the slots that were accounted for before they were due. A
pause is a person's wish, and moves (``pause_store.move_pauses``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, Row, and_, case, delete, func, or_, select, update

from scheduler_service.clock import DAY, MINUTE
from scheduler_service.models import ScheduleOrigin, SlotOutcome
from scheduler_service.stores.notice_schema import UNHANDLED, WAITING_DELIVERY, delivery, outbox
from scheduler_service.stores.schedule_store import to_schedule
from scheduler_service.stores.schema import (
    QUEUED,
    WAITING,
    document,
    gate_state,
    pause,
    schedule,
    slot,
    task,
)

if TYPE_CHECKING:
    from scheduler_service.clock import Instant, Micros
    from scheduler_service.stores.schedule_store import ScheduleRow
    from scheduler_service.triggers import Trigger

LAZIEST: Micros = 2 * MINUTE
"""No document waits longer than this to be published."""


@dataclass(frozen=True, slots=True)
class Voided:
    """``slots``: how many are due once more; ``stay``: how many were carried out, and are not."""

    slots: int
    stay: int


def void_deadlines(conn: Connection, now: Instant) -> None:
    """Nothing waits any longer for a time that a wrong clock has set. Twice is as good as once."""
    set_ahead = task.c.queued_at > now
    expiry = case((task.c.expires_at.is_(None), None), else_=now + task.c.expires_at - task.c.queued_at)
    values = {"queued_at": now, "not_before": now, "expires_at": expiry}
    conn.execute(update(task).where(QUEUED, set_ahead).values(values))
    conn.execute(update(document).where(WAITING, document.c.publish_after > now + LAZIEST).values(publish_after=now))
    conn.execute(update(outbox).where(UNHANDLED, outbox.c.created_at > now).values(created_at=now))
    conn.execute(update(delivery).where(WAITING_DELIVERY, delivery.c.not_before > now + DAY).values(not_before=now))
    conn.execute(delete(gate_state).where(gate_state.c.set_at > now))


def is_ahead(conn: Connection, now: Instant) -> bool:
    """Whether schedules or pauses know of a time that has not come: also a clock that went there and back is seen."""
    pauses = select(pause.c.scope).where(pause.c.since > now, pause.c.ended_at.is_(None)).limit(1)
    return bool(schedules_ahead(conn, now)) or conn.execute(pauses).first() is not None


def schedules_ahead(conn: Connection, now: Instant) -> list[ScheduleRow]:
    """Those that are accounted for beyond now, open or closed."""
    ahead = or_(schedule.c.cursor > now, schedule.c.effective_from > now, schedule.c.closed_at > now)
    return [to_schedule(row) for row in conn.execute(select(schedule).where(ahead).order_by(schedule.c.id))]


def void_slots(conn: Connection, row: ScheduleRow, trigger: Trigger | None, now: Instant) -> Voided | None:
    """What lies after now is as if it had not been, except what was carried out: that is never done again.
    ``trigger``: None where it cannot be read any more.

    None, and nothing done, where someone else has moved the cursor meanwhile.
    """
    moved = conn.execute(
        update(schedule)
        .where(schedule.c.id == row.id, schedule.c.cursor == row.cursor)
        .values(
            {
                column: case((column > now, now), else_=column)
                for column in (schedule.c.cursor, schedule.c.effective_from, schedule.c.closed_at)
            }
        )
    )
    if moved.rowcount == 0:
        return None
    mine, after = slot.c.schedule_id == row.id, slot.c.due_at > now
    done = and_(slot.c.slots == 1, slot.c.outcome.in_([SlotOutcome.RAN, SlotOutcome.CAUGHT_UP]))
    voided = conn.scalar(select(func.coalesce(func.sum(slot.c.slots), 0)).where(mine, after, ~done)) or 0
    stay = conn.scalar(select(func.count()).where(mine, after, done)) or 0
    conn.execute(delete(slot).where(mine, after, ~done))
    across = conn.execute(select(slot).where(mine, slot.c.due_at <= now, slot.c.until_at > now)).one_or_none()
    if across is not None:
        known = trigger if across.due_at > row.effective_from else None
        last, slots = _in_proportion(across, now) if known is None else _until(across, known, now)
        conn.execute(update(slot).where(mine, slot.c.due_at == across.due_at).values(until_at=last, slots=slots))
        voided += across.slots - slots
    if voided and row.origin is ScheduleOrigin.FOLLOW_UP:  # its slot closed it, and is still to come
        conn.execute(update(schedule).where(schedule.c.id == row.id).values(closed_at=None))
    return Voided(voided, stay)


def _until(stretch: Row[Any], trigger: Trigger, now: Instant) -> tuple[Instant, int]:
    """The last slot of the stretch that was due by now, and how many those are."""
    last = trigger.last(stretch.due_at - 1, now)
    slots = trigger.count(stretch.due_at - 1, now)
    return (last, slots) if last is not None and slots > 1 else (stretch.due_at, 1)


def _in_proportion(stretch: Row[Any], now: Instant) -> tuple[Instant, int]:
    """The same where the definition of then is not known any more: exact if its slots were evenly spaced."""
    interval = (stretch.until_at - stretch.due_at) // (stretch.slots - 1)
    passed = (now - stretch.due_at) // interval
    return stretch.due_at + passed * interval, passed + 1
