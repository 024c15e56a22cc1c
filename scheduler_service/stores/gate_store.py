"""What the gates must remember: until when one is shut, when its next request may leave, which keys are set aside,
which circuits are open; and what the calls in the ledger tell them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import Connection, bindparam, insert, select, update

from scheduler_service.clock import DAY, HOUR, MINUTE
from scheduler_service.models import Reason
from scheduler_service.stores.schema import call, gate_state

if TYPE_CHECKING:
    from scheduler_service.clock import Instant, Micros

RATE, CLOSED, CIRCUIT = "rate", "closed", "circuit"
SMALL_STEP: Micros = 5 * MINUTE
"""A clock that is set back by less was right enough: what was set before that holds."""
LONGEST_ON_ITS_WAY: Micros = HOUR
"""From a call's reservation to its end."""


@dataclass(frozen=True, slots=True)
class GateRow:
    """An instant a gate must remember: when it opens again, or when the next request may leave."""

    until: Instant
    set_at: Instant
    reason: Reason | None = None

    def is_void(self, now: Instant) -> bool:
        """What was set in the future was set by a wrong clock."""
        return self.set_at > now + SMALL_STEP


_NEW_GATE = insert(gate_state)
_PUT_GATE = (
    update(gate_state)
    .where(gate_state.c.provider == bindparam("of"), gate_state.c.name == bindparam("called"))
    .values(until_at=bindparam("until"), reason=bindparam("why"), set_at=bindparam("set"))
)


def put_gate(conn: Connection, provider: str, name: str, row: GateRow) -> None:
    said = {"of": provider, "called": name, "until": row.until, "why": row.reason, "set": row.set_at}
    if conn.execute(_PUT_GATE, said).rowcount == 0:
        first = {
            "provider": provider,
            "name": name,
            "until_at": row.until,
            "reason": row.reason,
            "set_at": row.set_at,
        }
        conn.execute(_NEW_GATE, first)


def gates(conn: Connection, now: Instant) -> dict[tuple[str, str], GateRow]:
    """(provider, name) to what the gate remembers. What was set in the future was set by a wrong clock and is void."""
    rows = conn.execute(select(gate_state).where(gate_state.c.set_at <= now + SMALL_STEP))
    return {(r.provider, r.name): GateRow(r.until_at, r.set_at, Reason(r.reason) if r.reason else None) for r in rows}


@dataclass(frozen=True, slots=True)
class RecentCall:
    """When it was reserved, and when it was over. ``unheard``: nobody knows that it is, its answer was never kept."""

    at: Instant
    unheard: bool
    over_at: Instant | None = None


def recent_calls(conn: Connection, now: Instant) -> dict[str, list[RecentCall]]:
    """The calls of each provider that may have left within the last 24 hours, oldest first."""
    found: dict[str, list[RecentCall]] = {}
    query = select(call.c.provider, call.c.reserved_at, call.c.state.in_(("reserved", "lost")), call.c.settled_at)
    query = query.where(call.c.reserved_at >= now - DAY - LONGEST_ON_ITS_WAY).order_by(call.c.id)
    for provider, at, unheard, over_at in conn.execute(query):
        found.setdefault(provider, []).append(RecentCall(at, bool(unheard), over_at))
    return found
