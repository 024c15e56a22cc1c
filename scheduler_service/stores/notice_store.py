"""What was noticed: each key once for ever, in the order in which it was."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import orjson
from sqlalchemy import Connection, and_, bindparam, delete, exists, insert, select, update

from scheduler_service.models import Notice
from scheduler_service.stores.notice_schema import UNHANDLED, UNLOGGED, delivery, outbox

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sqlalchemy import ColumnElement, Row

    from scheduler_service.clock import Instant

_WITH_A_TIME = "%@____-__-__T__:__:%Z"
_KNOWN = select(outbox.c.id).where(outbox.c.key == bindparam("its_key"))
_ADD = insert(outbox)
_newer = outbox.alias("newer")
_same = _newer.c.symbol.is_not_distinct_from(outbox.c.symbol)
_NOTHING = b"null"
"""The facts of a notice of which the key alone is left."""


@dataclass(frozen=True, slots=True)
class NoticeRow:
    """A notice, when it was written down, and under which number."""

    id: int
    notice: Notice
    created_at: Instant


def add(conn: Connection, notices: Iterable[Notice], now: Instant) -> list[Notice]:
    """Writes down those whose key is new, in the transaction of what they were noticed in; returns them."""
    new = []
    for notice in notices:
        if conn.execute(_KNOWN, {"its_key": notice.key}).first() is not None:
            continue
        values = {
            "key": notice.key,
            "event": notice.event,
            "level": notice.level,
            "message": notice.message,
            "symbol": notice.symbol,
            "facts": orjson.dumps(notice.facts),
            "is_alert": notice.is_alert,
            "created_at": now,
        }
        conn.execute(_ADD, values)
        new.append(notice)
    return new


def add_changes(conn: Connection, notices: Iterable[Notice], now: Instant) -> list[Notice]:
    """As ``add``, without those that say what the last such notice of the domain and symbol said: that was told, though
    not by this document, say before a restore. What is found, gone and found again is no repetition.
    """
    return add(conn, [notice for notice in notices if not _was_said_last(conn, notice)], now)


def _was_said_last(conn: Connection, notice: Notice) -> bool:
    about, may_come_again, _ = notice.key.partition("@")
    if not may_come_again:
        return False
    domain, _, _ = notice.event.partition(".")
    of_it = (outbox.c.event > f"{domain}.", outbox.c.event < f"{domain}/")  # "/" follows on "."
    alike = (*of_it, outbox.c.symbol.is_not_distinct_from(notice.symbol), outbox.c.key.like(_WITH_A_TIME))
    last = conn.scalar(select(outbox.c.key).where(*alike).order_by(outbox.c.id.desc()).limit(1))
    return last is not None and last.partition("@")[0] == about


def unhandled(conn: Connection, most: int = 100) -> list[NoticeRow]:
    """The oldest that nobody has handled yet."""
    return [_row(found) for found in conn.execute(select(outbox).where(UNHANDLED).order_by(outbox.c.id).limit(most))]


def unlogged(conn: Connection, most: int = 100) -> list[NoticeRow]:
    """The oldest that do not stand in the strategy log yet."""
    return [_row(found) for found in conn.execute(select(outbox).where(UNLOGGED).order_by(outbox.c.id).limit(most))]


def note_logged(conn: Connection, ids: Sequence[int], now: Instant) -> None:
    conn.execute(update(outbox).where(outbox.c.id.in_(ids)).values(logged_at=now))


def note_handled(conn: Connection, ids: Sequence[int], now: Instant) -> None:
    conn.execute(update(outbox).where(outbox.c.id.in_(ids)).values(handled_at=now))


def notice(conn: Connection, notice_id: int) -> NoticeRow:
    return _row(conn.execute(select(outbox).where(outbox.c.id == notice_id)).one())


def old_notices(before: ColumnElement[int]) -> ColumnElement[bool]:
    """Which notices may go: logged, handled, and on their way to no channel."""
    waits = select(delivery.c.notice_id).where(delivery.c.notice_id == outbox.c.id, delivery.c.ended_at.is_(None))
    done = (outbox.c.logged_at.is_not(None), outbox.c.handled_at.is_not(None), ~exists(waits))
    return and_(outbox.c.created_at < before, outbox.c.facts != _NOTHING, *done)


def forget(conn: Connection, ids: Sequence[int]) -> None:
    """The words and deliveries of old notices go. A key that ends in a time comes never again, and goes
    with its row, unless it is the last of its event and symbol, by which the next is told from a repetition; every
    other stays.
    """
    conn.execute(delete(delivery).where(delivery.c.notice_id.in_(ids)))
    is_followed = exists(select(_newer.c.id).where(_newer.c.event == outbox.c.event, _same, _newer.c.id > outbox.c.id))
    conn.execute(delete(outbox).where(outbox.c.id.in_(ids), outbox.c.key.like(_WITH_A_TIME), is_followed))
    conn.execute(update(outbox).where(outbox.c.id.in_(ids)).values(message="", facts=_NOTHING))


def _row(found: Row[tuple[object, ...]]) -> NoticeRow:
    it = found._mapping
    told = Notice(
        it["key"],
        it["event"],
        it["message"],
        orjson.loads(it["facts"]),
        it["symbol"],
        it["level"],
        bool(it["is_alert"]),
    )
    return NoticeRow(it["id"], told, it["created_at"])
