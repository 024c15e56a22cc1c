"""The circuit of an endpoint: open while it fails, then tried by one request at a time until one ends well. Pure.

It opens when five of the last ten tries failed: five, because a task tries four times by itself and one unlucky task
is no outage; ten minutes, so that five requests that each time out after 90 s still count together.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from scheduler_service.clock import MINUTE, SECOND
from scheduler_service.errors import ClientError, PermanentClientError, RateLimited, TransientClientError
from scheduler_service.models import Reason
from scheduler_service.stores.gate_store import GateRow

if TYPE_CHECKING:
    from scheduler_service.clock import Instant, Micros

LAST_TRIES = 10
MOST_FAILED = 5
REMEMBERED_FOR: Micros = 10 * MINUTE
SHORTEST_OPEN: Micros = 30 * SECOND
LONGEST_OPEN: Micros = 10 * MINUTE
LOOK_AGAIN_AFTER: Micros = 15 * SECOND
"""How long the others stand back for a probe."""

_OUTAGE = frozenset({Reason.PROVIDER_DOWN, Reason.TIMEOUT})


@dataclass(frozen=True, slots=True)
class Circuit:
    """``tries``: when the last ones ended, and whether well. ``opened``: since when and until when nobody asks; after
    that one at a time does.
    """

    tries: tuple[tuple[Instant, bool], ...] = ()
    opened: GateRow | None = None

    def opened_at(self, now: Instant) -> GateRow | None:
        """What was set in the future was set by a wrong clock, and is void; what was never open says so by its
        length of nothing.
        """
        row = self.opened
        return row if row is not None and not row.is_void(now) and row.until > row.set_at else None


def ended_well(error: BaseException | None) -> bool | None:
    """Whether a try that left says that the endpoint works; None where it says nothing of that.

    An upstream that answers works, whatever it answers: 404, 401 and 429 are no outages.
    """
    match error:
        case None:
            return True
        case RateLimited():
            return True
        case TransientClientError() | PermanentClientError() if error.reason in _OUTAGE:
            return False
        case ClientError():
            return True if error.status is not None else None
        case _:
            return None


def after_try(circuit: Circuit, now: Instant, *, well: bool, probe: bool) -> Circuit:
    """The circuit after a try ended. Who left before it opened changes nothing any more; a probe that fails opens it
    for twice as long.
    """
    opened = circuit.opened_at(now)
    if opened is not None:
        if not probe:
            return circuit
        return Circuit() if well else _opened(now, min(2 * (opened.until - opened.set_at), LONGEST_OPEN))
    remembered = [(at, was_well) for at, was_well in circuit.tries if now - REMEMBERED_FOR < at <= now]
    tries = (*remembered, (now, well))[-LAST_TRIES:]
    if sum(not was_well for _, was_well in tries) >= MOST_FAILED:
        return _opened(now, SHORTEST_OPEN)
    return Circuit(tries)


def closing_row(now: Instant) -> GateRow:
    """What the ledger keeps of a circuit that is closed again."""
    return GateRow(now, now, Reason.PROVIDER_DOWN)


def _opened(now: Instant, length: Micros) -> Circuit:
    return Circuit(opened=GateRow(now + length, now, Reason.PROVIDER_DOWN))
