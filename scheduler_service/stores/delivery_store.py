"""Notices on their way to channels: what waits, what was told, what was held back or given up."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import orjson
from sqlalchemy import Connection, Integer, Text, bindparam, func, insert, or_, select, true, update

from scheduler_service.clock import HOUR, to_iso
from scheduler_service.stores import monitor_store
from scheduler_service.stores.monitor_store import MonitorState
from scheduler_service.stores.notice_schema import UNHANDLED, WAITING_DELIVERY, delivery, outbox
from scheduler_service.stores.notice_store import NoticeRow, notice

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from sqlalchemy import ColumnElement

    from scheduler_service.clock import Instant

WAITING, DELIVERED, SUPPRESSED, GIVEN_UP = "waiting", "delivered", "suppressed", "given_up"
SUMMED_UP = "summed_up"
DIGEST = "alert.digest"
CRITICAL = "CRITICAL"
FAILING, REFUSING = "failing", "refusing"
_TROUBLES = "alerts"
"""Under which what does not work of channels is kept among the states of monitors."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """A notice for a channel, after so many tries; ``suppressed``: how many like it were held back since the last."""

    row: NoticeRow
    tries: int
    not_before: Instant
    suppressed: int = 0


@dataclass(frozen=True, slots=True)
class Standing:
    """How a channel stands: what it is to be told, and what it was told within the last hour (``sent``, the oldest
    first). ``first`` and ``critical``: the notices that are next, of all that are due and of the critical ones.
    ``more_to_come``: notices are being queued just now.
    """

    sent: tuple[Instant, ...] = ()
    backing_off_until: Instant | None = None
    first: int | None = None
    critical: int | None = None
    next_due: Instant | None = None
    to_sum_up: int = 0
    has_digest: bool = False
    more_to_come: bool = False


@dataclass(frozen=True, slots=True)
class ChannelCounts:
    """``said``: why the oldest that waits is still here. ``trouble``: ``failing`` or ``refusing``, since when."""

    waiting: int
    said: str | None
    delivered_at: Instant | None
    trouble: str | None = None
    since: Instant | None = None
    last_failed_at: Instant | None = None


def add(conn: Connection, row: NoticeRow, channel: str, state: str, not_before: Instant, now: Instant) -> None:
    ended = None if state == WAITING else now
    values = {"notice_id": row.id, "channel": channel, "state": state, "tries": 0, "not_before": not_before}
    conn.execute(_ADD, {**values, "ended_at": ended})


def told_of_it(conn: Connection, row: NoticeRow, since: Instant) -> frozenset[str]:
    """The channels to which one of the same event and symbol, about the same, is on its way, or came since then. A
    breach of another limit, or a worse one, is about something else.
    """
    about, again, _ = row.notice.key.partition("@")
    begins = f"{about}@" if again else ""
    wanted = {"its_event": row.notice.event, "its_symbol": row.notice.symbol, "its_id": row.id, "since": since}
    found = conn.execute(_TOLD_OF_IT, {**wanted, "its_key": about, "begins": begins, "long": len(begins)})
    return frozenset(channel for (channel,) in found)


def standing(conn: Connection, channel: str, now: Instant) -> Standing:
    mine = (WAITING_DELIVERY, delivery.c.channel == channel)
    if conn.execute(select(delivery.c.notice_id).where(*mine).limit(1)).first() is None:
        return Standing()
    sent = select(delivery.c.ended_at).where(delivery.c.channel == channel, delivery.c.state == DELIVERED)
    sent = sent.where(delivery.c.ended_at > now - HOUR, delivery.c.ended_at <= now).order_by(delivery.c.ended_at)
    due = (*mine, delivery.c.not_before <= now)
    joined = delivery.join(outbox, outbox.c.id == delivery.c.notice_id)
    # what was tried before comes first, then what stands for many, then the oldest
    in_turn = (delivery.c.tries == 0, outbox.c.event != DIGEST, delivery.c.notice_id)
    first = select(delivery.c.notice_id).select_from(joined).where(*due).order_by(*in_turn).limit(1)
    to_sum_up = select(func.count()).select_from(joined).where(*due, *_SUMMABLE)
    digests = select(func.count()).select_from(joined).where(*mine, outbox.c.event == DIGEST)
    tried = select(func.max(delivery.c.not_before)).where(*mine, delivery.c.tries > 0)
    later = select(func.min(delivery.c.not_before)).where(*mine, delivery.c.not_before > now)
    return Standing(
        sent=tuple(conn.execute(sent).scalars()),
        backing_off_until=conn.execute(tried).scalar(),
        first=conn.execute(first).scalar(),
        critical=conn.execute(first.where(outbox.c.level == CRITICAL)).scalar(),
        next_due=conn.execute(later).scalar(),
        to_sum_up=conn.execute(to_sum_up).scalar_one(),
        has_digest=bool(conn.execute(digests).scalar_one()),
        more_to_come=conn.execute(select(outbox.c.id).where(UNHANDLED).limit(1)).first() is not None,
    )


def waiting(conn: Connection, notice_id: int, channel: str) -> Delivery:
    mine = (delivery.c.notice_id == notice_id, delivery.c.channel == channel)
    found = conn.execute(select(delivery).where(*mine)).one()
    row = notice(conn, notice_id)
    about = f"{row.notice.key.partition('@')[0]}@"
    of_it = _begins_with(about) if about in row.notice.key else true()
    like = (outbox.c.event == row.notice.event, outbox.c.symbol.is_not_distinct_from(row.notice.symbol), of_it)
    joined = outbox.join(delivery, outbox.c.id == delivery.c.notice_id)
    before = (
        select(func.max(delivery.c.notice_id))
        .select_from(joined)
        .where(delivery.c.channel == channel, delivery.c.state == DELIVERED, *like)
        .scalar_subquery()
    )
    suppressed = conn.execute(
        select(func.count())
        .select_from(joined)
        .where(delivery.c.channel == channel, delivery.c.state == SUPPRESSED, *like)
        .where(delivery.c.notice_id > func.coalesce(before, 0), delivery.c.notice_id < notice_id)
    ).scalar_one()
    return Delivery(row, found.tries, found.not_before, suppressed)


def sum_up(conn: Connection, channel: str, now: Instant, words: Callable[[Mapping[str, int]], str]) -> int | None:
    """All that is due to the channel and not critical becomes one notice, with a key of its own, which waits in their
    place; returns its number. ``words``: what it says of so many of each event.
    """
    due = (WAITING_DELIVERY, delivery.c.channel == channel, delivery.c.not_before <= now)
    joined = delivery.join(outbox, outbox.c.id == delivery.c.notice_id)
    by_event = select(outbox.c.event, func.count()).select_from(joined).where(*due, *_SUMMABLE).group_by(outbox.c.event)
    counts = {str(event): int(n) for event, n in conn.execute(by_event)}
    if not counts:
        return None
    key = f"{DIGEST}:{channel}@{to_iso(now)}"
    values = {
        "key": key,
        "event": DIGEST,
        "level": "WARNING",
        "message": words(counts),
        "symbol": None,
        "facts": orjson.dumps({"counts": counts}),
        "is_alert": True,
        "created_at": now,
        "logged_at": now,  # what it sums up stands in the strategy log one by one
        "handled_at": now,
    }
    conn.execute(insert(outbox).values(**values))
    [number] = conn.execute(select(outbox.c.id).where(outbox.c.key == key)).one()
    summed = select(outbox.c.id).where(*_SUMMABLE)
    conn.execute(
        update(delivery).where(*due, delivery.c.notice_id.in_(summed)).values(state=SUMMED_UP, said=key, ended_at=now)
    )
    add(conn, notice(conn, number), channel, WAITING, now, now)
    return int(number)


def settle(conn: Connection, notice_id: int, channel: str, state: str, said: str | None, now: Instant) -> None:
    _update(conn, notice_id, channel, {"state": state, "said": said, "ended_at": now, "tried_at": now})


def try_again(conn: Connection, notice_id: int, channel: str, said: str, not_before: Instant, now: Instant) -> None:
    values = {"said": said, "tries": delivery.c.tries + 1, "not_before": not_before, "tried_at": now}
    _update(conn, notice_id, channel, values)


def note_trouble(conn: Connection, channel: str, kind: str, said: str, now: Instant) -> bool:
    """Remembers since when a channel does not take alerts; whether that is new."""
    before = monitor_store.states(conn, _TROUBLES).get(channel)
    if before is not None and before.since > now:  # by a clock that was wrong
        before = None
    since = now if before is None else before.since
    monitor_store.put(conn, _TROUBLES, channel, MonitorState(kind, since, now, {"said": said}))
    return before is None


def note_well(conn: Connection, channel: str) -> str | None:
    """The channel takes alerts; returns the trouble that is over."""
    before = monitor_store.states(conn, _TROUBLES).get(channel)
    if before is not None:
        monitor_store.forget(conn, _TROUBLES, channel)
    return None if before is None else before.state


def counts(conn: Connection, channels: Collection[str]) -> dict[str, ChannelCounts]:
    """By channel; also those that are not among ``channels``, and for which something waits."""
    known = conn.execute(select(delivery.c.channel).where(WAITING_DELIVERY).distinct()).scalars()
    troubles = monitor_store.states(conn, _TROUBLES)
    found = {}
    for channel in (*channels, *sorted(set(known) - set(channels))):
        mine = (WAITING_DELIVERY, delivery.c.channel == channel)
        number = conn.execute(select(func.count()).select_from(delivery).where(*mine)).scalar_one()
        said = conn.execute(select(delivery.c.said).where(*mine).order_by(delivery.c.notice_id).limit(1)).scalar()
        last = select(func.max(delivery.c.ended_at)).where(delivery.c.channel == channel, delivery.c.state == DELIVERED)
        at = conn.execute(last).scalar()
        trouble = troubles.get(channel)
        if trouble is None:
            found[channel] = ChannelCounts(number, said, at)
            continue
        why = said or trouble.body.get("said")
        found[channel] = ChannelCounts(number, why, at, trouble.state, trouble.since, trouble.told_at)
    return found


def give_up_orphans(conn: Connection, channels: Collection[str], before: Instant, now: Instant) -> dict[str, int]:
    """What was noticed before then, and waits for a channel that is configured no more; returns how many of each."""
    old = select(outbox.c.id).where(outbox.c.created_at < before)
    orphans = (WAITING_DELIVERY, delivery.c.channel.not_in(list(channels) or [""]), delivery.c.notice_id.in_(old))
    number = select(delivery.c.channel, func.count()).where(*orphans).group_by(delivery.c.channel)
    found = {str(channel): int(n) for channel, n in conn.execute(number)}
    if found:
        values = {"state": GIVEN_UP, "said": "its channel is not configured any more", "ended_at": now}
        conn.execute(update(delivery).where(*orphans).values(values))
    return found


def _begins_with(text: str) -> ColumnElement[bool]:
    return func.substr(outbox.c.key, 1, len(text)) == text


_ADD = insert(delivery)
_TOLD_OF_IT = (
    select(delivery.c.channel)
    .distinct()
    .join(outbox, outbox.c.id == delivery.c.notice_id)
    .where(outbox.c.event == bindparam("its_event"))
    .where(outbox.c.symbol.is_not_distinct_from(bindparam("its_symbol", type_=Text)))
    .where(outbox.c.created_at > bindparam("since"), outbox.c.id != bindparam("its_id"))
    .where(
        or_(
            outbox.c.key == bindparam("its_key"),
            func.substr(outbox.c.key, 1, bindparam("long", type_=Integer)) == bindparam("begins", type_=Text),
        )
    )
    .where(delivery.c.state.in_([WAITING, DELIVERED, SUMMED_UP]))
)
_SUMMABLE = (outbox.c.level != CRITICAL, outbox.c.event != DIGEST)


def _update(conn: Connection, notice_id: int, channel: str, values: dict[str, object]) -> None:
    mine = (delivery.c.notice_id == notice_id, delivery.c.channel == channel)
    conn.execute(update(delivery).where(*mine).values(values))
