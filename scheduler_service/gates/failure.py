"""What a try means that is over: how the call is settled, what it cost, and who is left alone for how long."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from scheduler_service.calls import FREE
from scheduler_service.clock import DAY, MINUTE, SECOND
from scheduler_service.errors import (
    ClientError,
    EndpointGone,
    Held,
    RateLimited,
    Refused,
    StoreError,
    TransientClientError,
)
from scheduler_service.gates.breaker import ended_well
from scheduler_service.gates.keys import REFUSED_FOR
from scheduler_service.gates.rests import TOLD_AGAIN_AFTER
from scheduler_service.models import Event, Reason
from scheduler_service.stores.call_store import CallState
from scheduler_service.stores.gate_store import GateRow

if TYPE_CHECKING:
    from scheduler_service.calls import Cost
    from scheduler_service.clock import Instant
    from scheduler_service.gates.gate import Entry, Gate
    from scheduler_service.gates.keys import Key
    from scheduler_service.gates.rests import Rest

QUIET_WITHOUT_RETRY_AFTER = 60.0
GONE_FOR = DAY
GAVE_UP_WAITING = frozenset({408, 500, 502, 504, 520, 522, 524})
"""Statuses of a front that no longer waits for who does the work: it may be done, and charged, all the same. Every
other error status is of a request that was turned away.
"""


@dataclass(frozen=True, slots=True)
class Quiet:
    """What a gate must remember (``name`` its row in the ledger), and what to tell."""

    name: str
    row: GateRow
    event: Event


def ending(error: BaseException, *, left: bool) -> tuple[CallState, Reason]:
    """What a call is settled as; ``left``: its request is on the way, and its answer, if there is one, is lost."""
    match error:
        case ClientError() | Held():
            return CallState.FAILED, error.reason
        case StoreError():
            return CallState.LOST, Reason.DISK_FAILED
        case asyncio.CancelledError():
            return CallState.LOST if left else CallState.FAILED, Reason.CANCELLED
        case _:
            return CallState.FAILED, Reason.INTERNAL_ERROR


def cost_of(error: BaseException, *, left: bool) -> Cost | None:
    """What a failed call cost; None where nobody knows, and the reservation stands."""
    if not left:
        return FREE
    if not isinstance(error, ClientError):
        return None
    if error.cost is None and error.status is not None and error.status >= 400 and error.status not in GAVE_UP_WAITING:
        return FREE
    return error.cost


def is_ambiguous(error: ClientError) -> bool:
    """Whether the upstream may have done the work, and charged for it, all the same."""
    cost = cost_of(error, left=True)
    return isinstance(error, TransientClientError) and (cost is None or cost.usd_micros > 0)


def circuit_after(gate: Gate, entry: Entry, error: BaseException | None, now: Instant) -> Quiet | None:
    """The try counts for the circuit of its endpoint; what follows where that opens, or closes again."""
    row = entry.door.finish(entry.endpoint, now, well=ended_well(error), probe=entry.probe)
    if row is None:
        return None
    what, fields = entry.door.of(entry.endpoint), {"provider": gate.provider, "reason": row.reason}
    if row.until > now:
        message = f"{what} keeps failing and is not asked for {(row.until - now) / SECOND:.0f} s: {error}"
        level = "WARNING" if entry.door.is_to_be_told(entry.endpoint, now) else "DEBUG"
        event = Event("provider.circuit_opened", message, fields, level)
    else:
        event = Event("provider.circuit_closed", f"{what} works again", fields)
    return Quiet(entry.door.circuit_row(entry.endpoint), row, event)


def after_answer(gate: Gate, entry: Entry, key: Key | None, seconds: float | None, now: Instant) -> list[Quiet | None]:
    """After a good answer: who was refused before is no longer; its requests may be used up, for so many seconds."""
    used_up = quiet_when_used_up(gate, entry, key, seconds, now)
    over = _refused_no_more(gate, entry, key, now)
    return [over, used_up]


def _refused_no_more(gate: Gate, entry: Entry, key: Key | None, now: Instant) -> Quiet | None:
    """A rest that grew is over; None where there was none, or another one holds now."""
    name, door = entry.door.closed_row if key is None else key.row, entry.door
    rest = gate.rests.answered(name, entry.at)
    rests_again = door.closed_until(now) if key is None else gate.keys is not None and gate.keys.is_aside(key, now)
    if rest is None or rests_again:
        return None
    who = door.name if key is None else f"{gate.provider}: {key.name}"
    message = f"{who} is no longer refused, after {_often(rest, now)}"
    fields = {"provider": gate.provider, "reason": Reason.RATE_LIMITED}
    level = "INFO" if rest.tries > 1 else "DEBUG"
    return Quiet(name, GateRow(now, now, Reason.RATE_LIMITED), Event("provider.answers_again", message, fields, level))


def quiet_when_used_up(gate: Gate, entry: Entry, key: Key | None, seconds: float | None, now: Instant) -> Quiet | None:
    """After a good answer that says that no more requests are left for so many seconds (None: it does not)."""
    if seconds is None:
        return None
    until = now + round(seconds * SECOND)
    message = f"{entry.door.name}{f': {key.name}' if key is not None else ''} has no requests left for {seconds:.0f} s"
    event = Event("call.throttled", message, {"provider": gate.provider, "reason": Reason.RATE_LIMITED})
    if key is not None:
        return _set_aside(gate, key, Reason.RATE_LIMITED, until, event, now)
    row = entry.door.close_until(GateRow(until, now, Reason.RATE_LIMITED), "its requests are used up until then")
    return Quiet(entry.door.closed_row, row, event)


def quiet_after(gate: Gate, entry: Entry, key: Key | None, error: BaseException, now: Instant) -> Quiet | None:
    """Leaves alone whoever asked for it: a key cools down or is set aside where there is one, else the gate shuts."""
    match error:
        case EndpointGone():
            message = f"{entry.door.name} is not asked for a day, or until a reload: {error}"
            event = Event("call.failed", message, _fields(gate, error), "ERROR")
            return _shut(entry, now + GONE_FOR, event, error, now)
        case Refused() if key is not None:
            message = f"{gate.provider} refuses {key.name}, which is left alone for 6 h or until a reload: {error}"
            event = Event("provider.key_refused", message, _fields(gate, error), "ERROR")
            return _set_aside(gate, key, Reason.REFUSED, now + REFUSED_FOR, event, now)
        case TransientClientError() if error.retry_after is not None or isinstance(error, RateLimited):
            is_keys = key is not None and isinstance(error, RateLimited)
            name = key.row if key is not None and is_keys else entry.door.closed_row
            wait = QUIET_WITHOUT_RETRY_AFTER if error.retry_after is None else error.retry_after
            rest = gate.rests.refused(name, round(wait * SECOND), entry.at, now, grows=isinstance(error, RateLimited))
            event = _throttled(gate, entry, key if is_keys else None, rest, error, now)
            if event.level == "WARNING":
                gate.rests.told(name, now)
            if key is not None and is_keys:
                return _set_aside(gate, key, Reason.RATE_LIMITED, rest.until, event, now)
            return _shut(entry, rest.until, event, error, now)
        case ClientError() if error.status is not None and not isinstance(error, TransientClientError):
            return _refused_no_more(gate, entry, key, now)
        case _:
            return None


def _throttled(gate: Gate, entry: Entry, key: Key | None, rest: Rest, error: ClientError, now: Instant) -> Event:
    """Said aloud the first time; while it goes on, summed up once an hour."""
    who = f"{entry.door.name} is not asked" if key is None else f"{gate.provider}: {key.name} cools down"
    so_far = f"; still refused, {_often(rest, now)}" if rest.tries > 1 else ""
    message = f"{who} for {(rest.until - now) / SECOND:.0f} s{so_far}: {error}"
    level = "WARNING" if now - rest.told_at >= TOLD_AGAIN_AFTER else "DEBUG"
    return Event("call.throttled", message, _fields(gate, error), level)


def _often(rest: Rest, now: Instant) -> str:
    """``12 refusals within 3 h``."""
    minutes = (now - rest.since) // MINUTE
    span = f"{minutes // 60} h" if minutes >= 120 else f"{minutes} min"
    return f"{rest.tries} refusals within {span}" if rest.tries > 1 else "one refusal"


def _shut(entry: Entry, until: Instant, event: Event, error: ClientError, now: Instant) -> Quiet:
    door = entry.door
    return Quiet(door.closed_row, door.close_until(GateRow(until, now, error.reason), str(error)), event)


def _set_aside(gate: Gate, key: Key, reason: Reason, until: Instant, event: Event, now: Instant) -> Quiet | None:
    """None where another call has said so before."""
    row = gate.keys.set_aside(key, reason, until, now) if gate.keys is not None else None
    return None if row is None else Quiet(key.row, row, event)


def _fields(gate: Gate, error: ClientError) -> dict[str, object]:
    return {"provider": gate.provider, "reason": error.reason}
