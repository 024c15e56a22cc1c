"""Contributions that are set aside because something speaks against them, until a person says what to think."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, Row, bindparam, delete, insert, or_, select, update

from scheduler_service.models import Kind
from scheduler_service.stores.document_store import ContributionRow
from scheduler_service.stores.schema import doubtful

if TYPE_CHECKING:
    from scheduler_service.clock import Instant


@dataclass(frozen=True, slots=True)
class DoubtfulRow:
    """What a source says, and what speaks against it (``said``). ``times``: that it was said in a row, first at
    ``since``.
    """

    domain: str
    symbol: str
    contribution: ContributionRow
    said: str
    times: int
    task_id: int
    since: Instant
    rejected_at: Instant | None

    @property
    def source(self) -> str:
        return self.contribution.source


_MINE = (
    doubtful.c.domain == bindparam("of_domain"),
    doubtful.c.symbol == bindparam("of_symbol"),
    doubtful.c.source == bindparam("of_source"),
)
_GET = select(doubtful).where(*_MINE)
_UPDATE = update(doubtful).where(*_MINE)
_INSERT = insert(doubtful)
_CLEAR = delete(doubtful).where(
    *_MINE, or_(doubtful.c.as_of <= bindparam("up_to"), doubtful.c.as_of > bindparam("now"))
)


def set_aside(
    conn: Connection, domain: str, symbol: str, new: ContributionRow, said: str, *, task_id: int, now: Instant
) -> bool:
    """Keeps a contribution beside the one that is believed. True where it is news: not what was set aside before."""
    mine = _key(domain, symbol, new.source)
    before = conn.execute(_GET, mine).one_or_none()
    values: dict[str, object] = {"as_of": new.as_of, "task_id": task_id, "body": new.body, "said": said}
    if before is not None and before.sha256 == new.sha256:
        conn.execute(_UPDATE, {**mine, **values, "times": before.times + 1})
        return False
    values |= {"kind": new.kind, "sha256": new.sha256, "times": 1, "since": now, "rejected_at": None}
    if before is None:
        conn.execute(_INSERT, {"domain": domain, "symbol": symbol, "source": new.source, **values})
    else:
        conn.execute(_UPDATE, {**mine, **values})
    return True


def reject(conn: Connection, row: DoubtfulRow, now: Instant) -> None:
    """A person says that it is wrong; the same answer is no news then."""
    conn.execute(_UPDATE, {**_key(row.domain, row.symbol, row.source), "rejected_at": now})


def clear(conn: Connection, domain: str, symbol: str, source: str, *, as_of: Instant, now: Instant) -> None:
    """The source said something believable in an answer fetched at ``as_of``."""
    conn.execute(_CLEAR, {**_key(domain, symbol, source), "up_to": as_of, "now": now})


def find(conn: Connection, domain: str, symbol: str, source: str) -> DoubtfulRow | None:
    row = conn.execute(_GET, _key(domain, symbol, source)).one_or_none()
    return None if row is None else _row(row)


def waiting(conn: Connection, *, symbol: str | None = None, domain: str | None = None) -> list[DoubtfulRow]:
    """Those about which nobody has said anything yet, by symbol."""
    query = select(doubtful).where(doubtful.c.rejected_at.is_(None))
    if symbol is not None:
        query = query.where(doubtful.c.symbol == symbol)
    if domain is not None:
        query = query.where(doubtful.c.domain == domain)
    return [_row(row) for row in conn.execute(query.order_by(doubtful.c.symbol, doubtful.c.domain, doubtful.c.source))]


def _key(domain: str, symbol: str, source: str) -> dict[str, str]:
    return {"of_domain": domain, "of_symbol": symbol, "of_source": source}


def _row(r: Row[Any]) -> DoubtfulRow:
    contribution = ContributionRow(r.source, Kind(r.kind), r.body, r.sha256, r.as_of)
    return DoubtfulRow(r.domain, r.symbol, contribution, r.said, r.times, r.task_id, r.since, r.rejected_at)
