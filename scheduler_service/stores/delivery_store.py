"""Notices on their way to channels: what waits, what was told, what was held back or given up."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import Connection, func, insert, select, true, update

from scheduler_service.stores.notice_schema import WAITING_DELIVERY, delivery, outbox
from scheduler_service.stores.notice_store import NoticeRow, notice

if TYPE_CHECKING:
    from collections.abc import Collection

    from scheduler_service.clock import Instant

WAITING, DELIVERED, SUPPRESSED, GIVEN_UP = "waiting", "delivered", "suppressed", "given_up"


@dataclass(frozen=True, slots=True)
class Delivery:
    """A notice for a channel, after so many tries; ``suppressed``: how many like it were held back since the last."""

    row: NoticeRow
    tries: int
    not_before: Instant
    suppressed: int = 0


@dataclass(frozen=True, slots=True)
class ChannelCounts:
    """``said``: why the oldest that waits is still here."""

    waiting: int
    said: str | None
    delivered_at: Instant | None


def add(conn: Connection, row: NoticeRow, channel: str, state: str, not_before: Instant, now: Instant) -> None:
    ended = None if state == WAITING else now
    values = {"notice_id": row.id, "channel": channel, "state": state, "tries": 0, "not_before": not_before}
    conn.execute(insert(delivery).values(**values, ended_at=ended))


def was_told(conn: Connection, row: NoticeRow, channel: str, since: Instant) -> bool:
    """Whether one of the same event and symbol, about the same, is on its way to the channel, or came there, since
    then. A breach of another limit, or a worse one, is about something else.
    """
    told = (
        select(outbox.c.key)
        .join(outbox, outbox.c.id == delivery.c.notice_id)
        .where(delivery.c.channel == channel, delivery.c.state.in_([WAITING, DELIVERED]))
        .where(outbox.c.event == row.notice.event, outbox.c.symbol.is_not_distinct_from(row.notice.symbol))
        .where(outbox.c.created_at > since, outbox.c.id != row.id)
    )
    about, again, _ = row.notice.key.partition("@")
    return any(not again or key.partition("@")[0] == about for (key,) in conn.execute(told))


def first_waiting(conn: Connection, channel: str) -> Delivery | None:
    """The oldest: a channel is told in order."""
    found = conn.execute(
        select(delivery).where(WAITING_DELIVERY, delivery.c.channel == channel).order_by(delivery.c.notice_id).limit(1)
    ).one_or_none()
    if found is None:
        return None
    row = notice(conn, found.notice_id)
    about = f"{row.notice.key.partition('@')[0]}@"
    of_it = func.substr(outbox.c.key, 1, len(about)) == about if about in row.notice.key else true()
    like = (outbox.c.event == row.notice.event, outbox.c.symbol.is_not_distinct_from(row.notice.symbol), of_it)
    before = (
        select(func.max(delivery.c.notice_id))
        .join(outbox, outbox.c.id == delivery.c.notice_id)
        .where(delivery.c.channel == channel, delivery.c.state == DELIVERED, *like)
        .scalar_subquery()
    )
    suppressed = conn.execute(
        select(func.count())
        .select_from(delivery.join(outbox, outbox.c.id == delivery.c.notice_id))
        .where(delivery.c.channel == channel, delivery.c.state == SUPPRESSED, *like)
        .where(delivery.c.notice_id > func.coalesce(before, 0), delivery.c.notice_id < found.notice_id)
    ).scalar_one()
    return Delivery(row, found.tries, found.not_before, suppressed)


def settle(conn: Connection, notice_id: int, channel: str, state: str, said: str | None, now: Instant) -> None:
    _update(conn, notice_id, channel, {"state": state, "said": said, "ended_at": now, "tried_at": now})


def try_again(conn: Connection, notice_id: int, channel: str, said: str, not_before: Instant, now: Instant) -> None:
    values = {"said": said, "tries": delivery.c.tries + 1, "not_before": not_before, "tried_at": now}
    _update(conn, notice_id, channel, values)


def counts(conn: Connection, channels: Collection[str]) -> dict[str, ChannelCounts]:
    """By channel."""
    found = {}
    for channel in channels:
        waiting = conn.execute(
            select(func.count()).select_from(delivery).where(WAITING_DELIVERY, delivery.c.channel == channel)
        ).scalar_one()
        said = conn.execute(
            select(delivery.c.said)
            .where(WAITING_DELIVERY, delivery.c.channel == channel)
            .order_by(delivery.c.notice_id)
            .limit(1)
        ).scalar()
        last = select(func.max(delivery.c.ended_at)).where(delivery.c.channel == channel, delivery.c.state == DELIVERED)
        found[channel] = ChannelCounts(waiting, said, conn.execute(last).scalar())
    return found


def _update(conn: Connection, notice_id: int, channel: str, values: dict[str, object]) -> None:
    mine = (delivery.c.notice_id == notice_id, delivery.c.channel == channel)
    conn.execute(update(delivery).where(*mine).values(values))
