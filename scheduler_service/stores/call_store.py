"""Resources, calls, kept answers, spend and the gates' memory."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from sqlalchemy import Connection, func, insert, select, update

from scheduler_service.models import Reason
from scheduler_service.stores.schema import RESERVED, answer, call, call_use, gate_state, resource, spend

if TYPE_CHECKING:
    from collections.abc import Sequence

    from scheduler_service.clock import Instant

RATE, CLOSED = "rate", "closed"


class CallState(StrEnum):
    RESERVED = "reserved"
    KEPT = "kept"
    UNCHANGED = "unchanged"
    FAILED = "failed"
    LOST = "lost"


_UNANSWERED = (CallState.RESERVED, CallState.LOST)


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
class GateRow:
    """An instant a gate must remember: when it opens again, or when the next request may leave."""

    until: Instant
    set_at: Instant
    reason: Reason | None = None


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


def kept(conn: Connection, key: str, task_id: int | None) -> KeptRow | None:
    """The current answer of a resource, if one was kept."""
    row = conn.execute(
        select(resource, answer.c.request_sha256, answer.c.url, answer.c.sandbox, answer.c.fetched_at, answer.c.body)
        .join(answer, answer.c.call_id == resource.c.call_id)
        .where(resource.c.key == key)
    ).one_or_none()
    if row is None:
        return None
    mine = task_id is not None and (
        conn.execute(
            select(call_use.c.how).where(
                call_use.c.task_id == task_id, call_use.c.call_id == row.call_id, call_use.c.consumed_at.is_(None)
            )
        ).first()
        is not None
    )
    return KeptRow(
        call_id=row.call_id,
        revision=row.revision,
        etag=row.etag,
        last_modified=row.last_modified,
        sha256=row.sha256,
        request_sha256=row.request_sha256,
        url=row.url,
        sandbox=row.sandbox,
        fetched_at=row.fetched_at,
        checked_at=row.checked_at,
        body=row.body,
        mine=mine,
    )


def reserve(conn: Connection, new: NewCall, now: Instant) -> int:
    """Charges a call before it leaves; returns its id. The rate gate's arrival time is kept with it."""
    result = conn.execute(
        insert(call).values(
            resource_key=new.resource_key,
            provider=new.provider,
            state=CallState.RESERVED,
            usd_micros=new.usd_micros,
            tokens=0,
            reserved_at=now,
        )
    )
    assert result.inserted_primary_key is not None
    call_id: int = result.inserted_primary_key[0]
    for place, task_id in enumerate(new.tasks):
        use(conn, task_id, call_id, Use.JOINED if place else Use.ASKED)
    _spend(conn, new.provider, new.day, calls=1, usd_micros=new.usd_micros, tokens=0)
    if new.rate_until is not None:
        put_gate(conn, new.provider, RATE, GateRow(new.rate_until, now))
    return call_id


def use(conn: Connection, task_id: int, call_id: int, how: Use) -> None:
    """Says that a task waits for this call; saying it again changes nothing."""
    known = conn.execute(select(call_use.c.how).where(call_use.c.task_id == task_id, call_use.c.call_id == call_id))
    if known.first() is None:
        conn.execute(insert(call_use).values(task_id=task_id, call_id=call_id, how=how))


def _spend(conn: Connection, provider: str, day: str, *, calls: int, usd_micros: int, tokens: int) -> None:
    added = conn.execute(
        update(spend)
        .where(spend.c.provider == provider, spend.c.day == day)
        .values(calls=spend.c.calls + calls, usd_micros=spend.c.usd_micros + usd_micros, tokens=spend.c.tokens + tokens)
    )
    if added.rowcount == 0:
        conn.execute(
            insert(spend).values(provider=provider, day=day, calls=calls, usd_micros=usd_micros, tokens=tokens)
        )


def settle(conn: Connection, call_id: int, state: CallState, now: Instant, **outcome: object) -> None:
    """The call is over (``status``, ``reason``, ``bytes``); its cost stays as reserved."""
    conn.execute(
        update(call)
        .where(call.c.id == call_id, call.c.state == CallState.RESERVED)
        .values(state=state, settled_at=now, **outcome)
    )


def keep(conn: Connection, call_id: int, key: str, new: NewAnswer, now: Instant) -> None:
    """Keeps the answer of a call and makes it its resource's current one."""
    conn.execute(
        insert(answer).values(
            call_id=call_id,
            resource_key=key,
            request_sha256=new.request_sha256,
            url=new.url,
            content_type=new.content_type,
            sandbox=new.sandbox,
            size=new.size,
            sha256=new.sha256,
            body=new.body,
            fetched_at=now,
        )
    )
    values: dict[str, object] = {
        "call_id": call_id,
        "etag": new.etag,
        "last_modified": new.last_modified,
        "sha256": new.sha256,
        "checked_at": now,
        **_revision(new.revision),
    }
    before = conn.execute(select(resource.c.sha256).where(resource.c.key == key)).one_or_none()
    if before is None:
        provider = select(call.c.provider).where(call.c.id == call_id).scalar_subquery()
        conn.execute(insert(resource).values(key=key, provider=provider, changed_at=now, **values))
        return
    if before.sha256 != new.sha256:
        values["changed_at"] = now
    conn.execute(update(resource).where(resource.c.key == key).values(**values))


def confirm(conn: Connection, key: str, call_id: int, revision: str | None, now: Instant) -> None:
    """The upstream said 304: the answer kept from this call is current."""
    conn.execute(
        update(resource)
        .where(resource.c.key == key, resource.c.call_id == call_id)
        .values(checked_at=now, **_revision(revision))
    )


def _revision(revision: str | None) -> dict[str, str]:
    """Asked without one, an answer is newer than the revision the last one was kept under, and stands for it too."""
    return {} if revision is None else {"revision": revision}


def consume(conn: Connection, task_id: int, call_ids: Sequence[int], now: Instant) -> None:
    """Marks the answers that a task's commit used."""
    for call_id in call_ids:
        use(conn, task_id, call_id, Use.KEPT)
    conn.execute(update(call_use).where(call_use.c.task_id == task_id).values(consumed_at=now))


def mark_lost(conn: Connection, now: Instant) -> int:
    """After a crash: reserved calls whose answers never arrived stay charged and are called lost."""
    return conn.execute(update(call).where(RESERVED).values(state=CallState.LOST, settled_at=now)).rowcount


def lost_calls(conn: Connection, task_id: int, key: str) -> int:
    """How many answers of this resource were lost while this task waited for them. To be asked between two calls: one
    that is still reserved then could not be settled, and is as good as lost.
    """
    query = (
        select(func.count())
        .select_from(call_use)
        .join(call, call.c.id == call_use.c.call_id)
        .where(call_use.c.task_id == task_id, call.c.resource_key == key, call.c.state.in_(_UNANSWERED))
    )
    return conn.execute(query).scalar_one()


def spent(conn: Connection) -> dict[str, dict[str, Spend]]:
    """What was spent, by provider and UTC day (ISO date)."""
    by_provider: dict[str, dict[str, Spend]] = {}
    for row in conn.execute(select(spend)):
        by_provider.setdefault(row.provider, {})[row.day] = Spend(row.calls, row.usd_micros, row.tokens)
    return by_provider


def put_gate(conn: Connection, provider: str, name: str, row: GateRow) -> None:
    values = {"until_at": row.until, "reason": row.reason, "set_at": row.set_at}
    changed = conn.execute(
        update(gate_state).where(gate_state.c.provider == provider, gate_state.c.name == name).values(**values)
    )
    if changed.rowcount == 0:
        conn.execute(insert(gate_state).values(provider=provider, name=name, **values))


def gates(conn: Connection, now: Instant) -> dict[tuple[str, str], GateRow]:
    """(provider, name) to what the gate remembers. What was set in the future was set by a wrong clock and is void."""
    rows = conn.execute(select(gate_state).where(gate_state.c.set_at <= now))
    return {(r.provider, r.name): GateRow(r.until_at, r.set_at, Reason(r.reason) if r.reason else None) for r in rows}
