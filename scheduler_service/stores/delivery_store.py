"""Notices on their way to channels: what waits, what was told, what was held back or given up."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

from sqlalchemy import Connection, Text, bindparam, exists, func, insert, select, update

from scheduler_service.clock import HOUR, to_iso
from scheduler_service.models import Notice
from scheduler_service.stores import channel_troubles
from scheduler_service.stores.notice_schema import UNHANDLED, WAITING_DELIVERY, delivery, outbox
from scheduler_service.stores.notice_store import NoticeRow, note_handled, note_logged, notice
from scheduler_service.stores.notice_store import add as add_notices

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from sqlalchemy import ColumnElement, TextClause

    from scheduler_service.clock import Instant

WAITING, DELIVERED, SUPPRESSED, GIVEN_UP = "waiting", "delivered", "suppressed", "given_up"
HELD, SUMMED_UP = "held", "summed_up"
DIGEST = "alert.digest"
CRITICAL = "CRITICAL"
MOST_FACTS = 50
"""Of so many notices the keys and words stand in the facts of the one that tells them together."""
_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", CRITICAL)
_TOLD = (WAITING, DELIVERED, SUMMED_UP)
_UNDONE = {"failed": "works_again"}
_UNDOES = {undoes: undone for undone, undoes in _UNDONE.items()}


@dataclass(frozen=True, slots=True)
class Delivery:
    """A notice for a channel, after so many tries; ``suppressed``: how many like it were held back since the last."""

    row: NoticeRow
    tries: int
    not_before: Instant
    suppressed: int = 0


@dataclass(frozen=True, slots=True)
class LastTold:
    """The newest notice that is on its way to a channel, or came there, and when it was noticed."""

    key: str
    at: Instant


@dataclass(frozen=True, slots=True)
class ChannelStanding:
    """How a channel stands: what it is to be told, and what it was told within the last hour (``sent``, the oldest
    first). ``first`` and ``critical``: the notices that are next, of all that are due and of the critical ones.
    ``held_is_due``: of what the cool-down holds back. ``more_to_come``: notices are being queued just now.
    """

    sent: tuple[Instant, ...] = ()
    backing_off_until: Instant | None = None
    first: int | None = None
    critical: int | None = None
    next_due: Instant | None = None
    to_sum_up: int = 0
    has_digest: bool = False
    held_is_due: bool = False
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
    ended = None if state in (WAITING, HELD) else now
    values = {"notice_id": row.id, "channel": channel, "state": state, "tries": 0, "not_before": not_before}
    conn.execute(_ADD, {**values, "ended_at": ended})


def last_told(conn: Connection, row: NoticeRow, channel: str, since: Instant, now: Instant) -> LastTold | None:
    """Of the same event and symbol, or of what undoes it; noticed since then, and not by a clock that was ahead."""
    event = row.notice.event
    about, _, word = event.rpartition(".")
    other = _UNDONE.get(word) or _UNDOES.get(word)
    wanted = {"its_event": event, "other_event": f"{about}.{other}" if other else event, "its_channel": channel}
    values = {**wanted, "its_symbol": row.notice.symbol, "its_id": row.id, "since": since, "now": now}
    found = conn.execute(_LAST_TOLD, values).first()
    return None if found is None else LastTold(found.key, found.created_at)


def standing(conn: Connection, channel: str, now: Instant) -> ChannelStanding:
    mine = (WAITING_DELIVERY, delivery.c.channel == channel)
    if conn.execute(select(delivery.c.notice_id).where(*mine).limit(1)).first() is None:
        return ChannelStanding()
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
    held = exists().where(*due, delivery.c.state == HELD)
    return ChannelStanding(
        sent=tuple(conn.execute(sent).scalars()),
        backing_off_until=conn.execute(tried).scalar(),
        first=conn.execute(first).scalar(),
        critical=conn.execute(first.where(outbox.c.level == CRITICAL)).scalar(),
        next_due=conn.execute(later).scalar(),
        to_sum_up=conn.execute(to_sum_up).scalar_one(),
        has_digest=bool(conn.execute(digests).scalar_one()),
        held_is_due=bool(conn.execute(select(held)).scalar_one()),
        more_to_come=conn.execute(select(outbox.c.id).where(UNHANDLED).limit(1)).first() is not None,
    )


def waiting(conn: Connection, notice_id: int, channel: str) -> Delivery:
    mine = (delivery.c.notice_id == notice_id, delivery.c.channel == channel)
    found = conn.execute(select(delivery).where(*mine)).one()
    row = notice(conn, notice_id)
    about, is_of_a_state, _ = row.notice.key.partition("@")
    if not is_of_a_state:
        return Delivery(row, found.tries, found.not_before)
    of_it = _begins_with(f"{about}@")
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
    ids = select(outbox.c.id).where(*_SUMMABLE)
    told = Notice(key, DIGEST, words(counts), {"counts": counts}, None, "WARNING", is_alert=True)
    return _tell_instead(conn, channel, told, (*due, delivery.c.notice_id.in_(ids)), now)


def tell_held(conn: Connection, channel: str, now: Instant, words: Callable[[Sequence[str]], str]) -> None:
    """What was held back of an event and symbol, of which some is due, waits from now on: as it is where it is one,
    else as one notice with a key of its own. ``words``: what that says of these messages.
    """
    held = (delivery.c.channel == channel, delivery.c.state == HELD)
    joined = outbox.join(delivery, outbox.c.id == delivery.c.notice_id)
    query = select(outbox, delivery.c.not_before).select_from(joined).where(*held)
    rows = conn.execute(query.order_by(outbox.c.event, outbox.c.symbol, outbox.c.id)).all()
    for (event, symbol), alike in groupby(rows, lambda row: (row.event, row.symbol)):
        some = list(alike)
        if not any(row.not_before <= now for row in some):
            continue
        mine = (*held, delivery.c.notice_id.in_([row.id for row in some]))
        if len(some) == 1:
            conn.execute(update(delivery).where(*mine).values(state=WAITING, not_before=now))
            continue
        level = max((row.level for row in some), key=_LEVELS.index)
        named = [{"key": row.key, "message": row.message} for row in some[:MOST_FACTS]]
        facts = {"count": len(some), "held_back": named}
        key = f"{event}:{symbol or 'all'}:{channel}@{to_iso(now)}"
        told = Notice(key, event, words([row.message for row in some]), facts, symbol, level, is_alert=True)
        _tell_instead(conn, channel, told, mine, now)


def _tell_instead(
    conn: Connection, channel: str, told: Notice, of: Sequence[ColumnElement[bool] | TextClause], now: Instant
) -> int:
    """Writes down a notice that waits in the place of others; returns its number. What it sums up stands in the
    strategy log one by one, and was reacted to.
    """
    [new] = add_notices(conn, [told], now)
    [number] = conn.execute(select(outbox.c.id).where(outbox.c.key == new.key)).one()
    note_logged(conn, [number], now)
    note_handled(conn, [number], now)
    conn.execute(update(delivery).where(*of).values(state=SUMMED_UP, said=told.key, ended_at=now))
    add(conn, notice(conn, number), channel, WAITING, now, now)
    return int(number)


def settle(conn: Connection, notice_id: int, channel: str, state: str, said: str | None, now: Instant) -> None:
    _update(conn, notice_id, channel, {"state": state, "said": said, "ended_at": now, "tried_at": now})


def try_again(conn: Connection, notice_id: int, channel: str, said: str, not_before: Instant, now: Instant) -> None:
    values = {"said": said, "tries": delivery.c.tries + 1, "not_before": not_before, "tried_at": now}
    _update(conn, notice_id, channel, values)


def counts(conn: Connection, channels: Collection[str]) -> dict[str, ChannelCounts]:
    """By channel; also those that are not among ``channels``, and for which something waits."""
    known = conn.execute(select(delivery.c.channel).where(WAITING_DELIVERY).distinct()).scalars()
    troubles = channel_troubles.troubles(conn)
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


def give_up_orphans(conn: Connection, channels: Collection[str], now: Instant) -> dict[str, int]:
    """What waits for a channel that is configured no more ends; returns how many of each. Its trouble is forgotten."""
    orphans = (WAITING_DELIVERY, delivery.c.channel.not_in(list(channels) or [""]))
    number = select(delivery.c.channel, func.count()).where(*orphans).group_by(delivery.c.channel)
    found = {str(channel): int(n) for channel, n in conn.execute(number)}
    if found:
        values = {"state": GIVEN_UP, "said": "its channel is not configured any more", "ended_at": now}
        conn.execute(update(delivery).where(*orphans).values(values))
    channel_troubles.forget_others(conn, channels)
    return found


def _begins_with(text: str) -> ColumnElement[bool]:
    return func.substr(outbox.c.key, 1, len(text)) == text


_ADD = insert(delivery)
_LAST_TOLD = (
    select(outbox.c.key, outbox.c.created_at)
    .join(delivery, delivery.c.notice_id == outbox.c.id)
    .where(outbox.c.event.in_([bindparam("its_event"), bindparam("other_event")]))
    .where(outbox.c.symbol.is_not_distinct_from(bindparam("its_symbol", type_=Text)))
    .where(outbox.c.created_at > bindparam("since"), outbox.c.created_at <= bindparam("now"))
    .where(outbox.c.id != bindparam("its_id"), delivery.c.channel == bindparam("its_channel"))
    .where(delivery.c.state.in_(_TOLD))
    .order_by(outbox.c.id.desc())
    .limit(1)
)
_SUMMABLE = (outbox.c.level != CRITICAL, outbox.c.event != DIGEST)


def _update(conn: Connection, notice_id: int, channel: str, values: dict[str, object]) -> None:
    mine = (delivery.c.notice_id == notice_id, delivery.c.channel == channel)
    conn.execute(update(delivery).where(*mine).values(values))
