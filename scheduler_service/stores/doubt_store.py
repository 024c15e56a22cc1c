"""Contributions that are set aside because something speaks against them, until a person or the source itself says
what to think.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import Connection, Row, bindparam, delete, insert, or_, select, update

from scheduler_service.clock import DAY
from scheduler_service.models import Kind
from scheduler_service.stores.document_store import ContributionRow
from scheduler_service.stores.schema import contribution, doubtful, meta

if TYPE_CHECKING:
    from scheduler_service.clock import Instant


OFTEN: Final = 3
LONG_ENOUGH: Final = DAY
_READER = "reader"


@dataclass(frozen=True, slots=True)
class DoubtfulRow:
    """What a source says, and what speaks against it (``said``). ``times``: that it was said in a row, each in an
    answer of its own, first at ``since``.
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
_BELIEVED = select(contribution.c.as_of, contribution.c.changed_at).where(
    contribution.c.domain == bindparam("of_domain"),
    contribution.c.symbol == bindparam("of_symbol"),
    contribution.c.source == bindparam("of_source"),
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
        times = before.times + (1 if new.as_of > before.as_of else 0)
        conn.execute(_UPDATE, {**mine, **values, "times": times})
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


def outweighs(conn: Connection, domain: str, symbol: str, source: str, now: Instant) -> bool:
    """Whether what is set aside has been said often enough, over long enough, against something that was said only
    once, or only as an older program read it. What a person rejected never has.
    """
    row = find(conn, domain, symbol, source)
    if row is None or row.rejected_at is not None or row.times < OFTEN or now - row.since < LONG_ENOUGH:
        return False
    said = conn.execute(_BELIEVED, _key(domain, symbol, source)).one_or_none()
    return said is not None and said.as_of <= max(said.changed_at, _read_since(conn))


def note_reader(conn: Connection, version: str, now: Instant) -> None:
    """Which program reads answers from now on."""
    known = conn.execute(select(meta.c.value).where(meta.c.key == _READER)).scalar_one_or_none()
    if known is None or known.rpartition(" ")[0] != version:
        conn.execute(delete(meta).where(meta.c.key == _READER))
        conn.execute(insert(meta).values(key=_READER, value=f"{version} {now}"))


def _read_since(conn: Connection) -> Instant:
    known = conn.execute(select(meta.c.value).where(meta.c.key == _READER)).scalar_one_or_none()
    return 0 if known is None else int(known.rpartition(" ")[2])


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
