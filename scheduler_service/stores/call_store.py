"""Resources, calls, kept answers and spend."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from sqlalchemy import Connection, Text, bindparam, exists, func, insert, select, update

from scheduler_service.models import Reason
from scheduler_service.stores.gate_store import RATE, GateRow, put_gate
from scheduler_service.stores.schema import RESERVED, answer, call, call_use, resource, spend

if TYPE_CHECKING:
    from collections.abc import Sequence

    from scheduler_service.calls import Cost
    from scheduler_service.clock import Instant


class CallState(StrEnum):
    RESERVED = "reserved"
    KEPT = "kept"
    UNCHANGED = "unchanged"
    FAILED = "failed"
    LOST = "lost"


class Use(StrEnum):
    """What a call is to a task."""

    ASKED = "asked"
    JOINED = "joined"
    KEPT = "kept"


@dataclass(frozen=True, slots=True)
class Spend:
    """What one provider was asked for on one UTC day, reserved calls included."""

    calls: int = 0
    usd_micros: int = 0
    tokens: int = 0


@dataclass(frozen=True, slots=True)
class KeptRow:
    """The current answer of a resource. ``body`` is zstd, or None when it lies in a raw file.

    ``mine``: the asking task has already paid for it, or waited for it, in an earlier attempt.
    """

    call_id: int
    revision: str | None
    etag: str | None
    last_modified: str | None
    sha256: bytes
    request_sha256: bytes
    url: str
    sandbox: bool
    fetched_at: Instant
    checked_at: Instant
    body: bytes | None
    mine: bool


@dataclass(frozen=True, slots=True)
class NewAnswer:
    """What is kept of a good response, before anyone parses it."""

    url: str
    content_type: str
    request_sha256: bytes
    sandbox: bool
    size: int
    sha256: bytes
    body: bytes | None
    revision: str | None
    etag: str | None
    last_modified: str | None


@dataclass(frozen=True, slots=True)
class NewCall:
    """A call about to leave, for the tasks that wait for it (the first one asked)."""

    resource_key: str
    provider: str
    tasks: tuple[int, ...]
    usd_micros: int
    day: str
    rate_until: Instant | None
    rate_row: str = RATE
    tokens: int = 0


# Built once: building a statement costs more than carrying it out.
_KEPT = (
    select(
        answer.c.call_id,
        resource.c.revision,
        resource.c.etag,
        resource.c.last_modified,
        answer.c.sha256,
        answer.c.request_sha256,
        answer.c.url,
        answer.c.sandbox,
        answer.c.fetched_at,
        resource.c.checked_at,
        answer.c.body,
        exists()
        .where(call_use.c.task_id == bindparam("mine"), call_use.c.call_id == answer.c.call_id)
        .where(call_use.c.consumed_at.is_(None)),
    )
    .join(answer, answer.c.call_id == resource.c.call_id)
    .where(resource.c.key == bindparam("wanted"))
)
_CHARGED_ALL_THE_SAME = (call.c.state == CallState.FAILED) & (call.c.usd_micros > 0)
_LOST = (
    select(call.c.state, call.c.reason, call.c.resource_key)  # the key is no condition: a resource has many more calls
    .select_from(call_use)
    .join(call, call.c.id == call_use.c.call_id)
    .where(call_use.c.task_id == bindparam("mine"))
    .where(call.c.state.in_([CallState.RESERVED, CallState.LOST]) | _CHARGED_ALL_THE_SAME)
    .order_by(call.c.id)
)
_NEW_CALL, _NEW_USE, _NEW_ANSWER, _NEW_SPEND = insert(call), insert(call_use), insert(answer), insert(spend)
_NEW_RESOURCE = insert(resource)
_NEW_USE_IF_NONE = insert(call_use).prefix_with("OR IGNORE")
_USE = select(call_use.c.how).where(
    call_use.c.task_id == bindparam("of_task"), call_use.c.call_id == bindparam("of_call")
)
_CONSUME = (
    update(call_use).where(call_use.c.task_id == bindparam("of_task")).values(consumed_at=bindparam("consumed_at"))
)
_SPEND = (
    update(spend)
    .where(spend.c.provider == bindparam("at"), spend.c.day == bindparam("on"))
    .values(
        calls=spend.c.calls + 1,
        usd_micros=spend.c.usd_micros + bindparam("more_usd_micros"),
        tokens=spend.c.tokens + bindparam("more_tokens"),
    )
)
_SETTLE = (
    update(call)
    .where(call.c.id == bindparam("this"), RESERVED)
    .values(
        state=bindparam("to"),
        status=bindparam("with_status"),
        reason=bindparam("why"),
        bytes=bindparam("size"),
        settled_at=bindparam("now"),
    )
)
_COST = (
    update(call).where(call.c.id == bindparam("this")).values(usd_micros=bindparam("usd"), tokens=bindparam("count"))
)
_CORRECT = (
    update(spend)
    .where(spend.c.provider == bindparam("at"), spend.c.day == bindparam("on"))
    .values(usd_micros=spend.c.usd_micros + bindparam("usd"), tokens=spend.c.tokens + bindparam("count"))
)
_HASH_OF_RESOURCE = select(resource.c.sha256, resource.c.revision, resource.c.changed_at).where(
    resource.c.key == bindparam("wanted")
)
_CURRENT = (
    update(resource)
    .where(resource.c.key == bindparam("wanted"))
    .values(
        call_id=bindparam("by_call"),
        etag=bindparam("with_etag"),
        last_modified=bindparam("with_date"),
        sha256=bindparam("hash"),
        revision=bindparam("under"),
        checked_at=bindparam("now"),
        changed_at=bindparam("changed"),
    )
)
_CONFIRM = (
    update(resource)
    .where(resource.c.key == bindparam("wanted"), resource.c.call_id == bindparam("by_call"))
    .values(checked_at=bindparam("now"), revision=func.coalesce(bindparam("under", type_=Text), resource.c.revision))
)
_DISTRUST = (
    update(resource)
    .where(resource.c.call_id == bindparam("by_call"))
    .values(revision=None, etag=None, last_modified=None)
)


def kept(conn: Connection, key: str, task_id: int | None) -> KeptRow | None:
    """The current answer of a resource, if one was kept."""
    row = conn.execute(_KEPT, {"wanted": key, "mine": task_id}).one_or_none()
    return None if row is None else KeptRow(*tuple(row))


def reserve(conn: Connection, new: NewCall, now: Instant) -> int:
    """Charges a call before it leaves; returns its id. The rate gate's arrival time is kept with it."""
    reserved = {
        "resource_key": new.resource_key,
        "provider": new.provider,
        "state": CallState.RESERVED,
        "usd_micros": new.usd_micros,
        "tokens": new.tokens,
        "reserved_at": now,
    }
    result = conn.execute(_NEW_CALL, reserved)
    assert result.inserted_primary_key is not None
    call_id: int = result.inserted_primary_key[0]
    uses = [
        {"task_id": task_id, "call_id": call_id, "how": Use.JOINED if place else Use.ASKED}
        for place, task_id in enumerate(new.tasks)
    ]
    if uses:
        conn.execute(_NEW_USE, uses)
    _spend(conn, new)
    if new.rate_until is not None:
        put_gate(conn, new.provider, new.rate_row, GateRow(new.rate_until, now))
    return call_id


def use(conn: Connection, task_id: int, call_id: int, how: Use) -> None:
    """Says that a task waits for this call; saying it again changes nothing."""
    if conn.execute(_USE, {"of_task": task_id, "of_call": call_id}).first() is None:
        conn.execute(_NEW_USE, {"task_id": task_id, "call_id": call_id, "how": how})


def _spend(conn: Connection, new: NewCall) -> None:
    more = {"more_usd_micros": new.usd_micros, "more_tokens": new.tokens}
    if conn.execute(_SPEND, {"at": new.provider, "on": new.day, **more}).rowcount == 0:
        sums = {"calls": 1, "usd_micros": new.usd_micros, "tokens": new.tokens}
        conn.execute(_NEW_SPEND, {"provider": new.provider, "day": new.day, **sums})


def settle(
    conn: Connection,
    call_id: int,
    state: CallState,
    now: Instant,
    *,
    status: int | None = None,
    reason: Reason | None = None,
    size: int | None = None,
) -> bool:
    """The call is over; its cost stays as reserved. ``size``: bytes of the decoded body. False: it was over before."""
    said = {"this": call_id, "to": state, "with_status": status, "why": reason, "size": size, "now": now}
    return conn.execute(_SETTLE, said).rowcount > 0


def charge(conn: Connection, call_id: int, provider: str, day: str, reserved: Cost, cost: Cost) -> None:
    """What a call did cost, in the place of what was reserved for it on that UTC day."""
    if cost != reserved:
        conn.execute(_COST, {"this": call_id, "usd": cost.usd_micros, "count": cost.tokens})
        change = {"usd": cost.usd_micros - reserved.usd_micros, "count": cost.tokens - reserved.tokens}
        conn.execute(_CORRECT, {"at": provider, "on": day, **change})


def keep(conn: Connection, call_id: int, provider: str, key: str, new: NewAnswer, now: Instant) -> None:
    """Keeps the answer of a call and makes it its resource's current one.

    Asked without a revision, it is newer than what the last one was kept under, and stands for that too.
    """
    answered = {
        "call_id": call_id,
        "resource_key": key,
        "request_sha256": new.request_sha256,
        "url": new.url,
        "content_type": new.content_type,
        "sandbox": new.sandbox,
        "size": new.size,
        "sha256": new.sha256,
        "body": new.body,
        "fetched_at": now,
    }
    conn.execute(_NEW_ANSWER, answered)
    before = conn.execute(_HASH_OF_RESOURCE, {"wanted": key}).one_or_none()
    if before is None:
        first = {
            "key": key,
            "provider": provider,
            "call_id": call_id,
            "revision": new.revision,
            "etag": new.etag,
            "last_modified": new.last_modified,
            "sha256": new.sha256,
            "checked_at": now,
            "changed_at": now,
        }
        conn.execute(_NEW_RESOURCE, first)
        return
    current = {
        "wanted": key,
        "by_call": call_id,
        "with_etag": new.etag,
        "with_date": new.last_modified,
        "hash": new.sha256,
        "under": before.revision if new.revision is None else new.revision,
        "now": now,
        "changed": before.changed_at if before.sha256 == new.sha256 else now,
    }
    conn.execute(_CURRENT, current)


def confirm(conn: Connection, key: str, call_id: int, revision: str | None, now: Instant) -> None:
    """The upstream said 304: the answer kept from this call is current."""
    conn.execute(_CONFIRM, {"wanted": key, "by_call": call_id, "under": revision, "now": now})


def distrust(conn: Connection, call_ids: Sequence[int]) -> None:
    """What these calls answered stands for no revision, and no validator confirms it: the next who wants it asks."""
    for call_id in call_ids:
        conn.execute(_DISTRUST, {"by_call": call_id})


def consume(conn: Connection, task_id: int, call_ids: Sequence[int], now: Instant) -> None:
    """Marks the answers that a task's commit used."""
    for call_id in call_ids:
        conn.execute(_NEW_USE_IF_NONE, {"task_id": task_id, "call_id": call_id, "how": Use.KEPT})
    conn.execute(_CONSUME, {"of_task": task_id, "consumed_at": now})


def mark_lost(conn: Connection, now: Instant) -> int:
    """After a crash: reserved calls whose answers never arrived stay charged and are called lost."""
    return conn.execute(update(call).where(RESERVED).values(state=CallState.LOST, settled_at=now)).rowcount


def lost_calls(conn: Connection, task_id: int, key: str) -> list[Reason]:
    """Of each answer of this resource that was lost (``LOST``), or failed though it was or may have been paid for (why
    it failed), while this task waited for it; the oldest first. To be asked between two calls: one that is still
    reserved then could not be settled, and is as good as lost.
    """
    of_resource = [row for row in conn.execute(_LOST, {"mine": task_id}) if row.resource_key == key]
    return [Reason(row.reason) if row.state == CallState.FAILED and row.reason else Reason.LOST for row in of_resource]


def spent(conn: Connection) -> dict[str, dict[str, Spend]]:
    """What was spent, by provider and UTC day (ISO date)."""
    by_provider: dict[str, dict[str, Spend]] = {}
    for row in conn.execute(select(spend)):
        by_provider.setdefault(row.provider, {})[row.day] = Spend(row.calls, row.usd_micros, row.tokens)
    return by_provider
