"""Contributions and the documents merged from them, and what of them is published."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import Connection, bindparam, case, func, insert, select, tuple_, update

from scheduler_service.models import Kind
from scheduler_service.stores.file_names import file_name
from scheduler_service.stores.schema import WAITING, contribution, document

if TYPE_CHECKING:
    from collections.abc import Sequence

    from scheduler_service.clock import Instant

Key = tuple[str, str]
"""(domain, symbol)."""


@dataclass(frozen=True, slots=True)
class ContributionRow:
    """What one source says, as JSON. ``as_of`` is when its newest answer was fetched."""

    source: str
    kind: Kind
    body: bytes
    sha256: bytes
    as_of: Instant


@dataclass(frozen=True, slots=True)
class DocumentRow:
    """A document at a version; ``data`` is its data as JSON, without the envelope."""

    domain: str
    symbol: str
    version: int
    published_version: int
    published_sha256: bytes | None
    data: bytes
    changed_at: Instant


@dataclass(frozen=True, slots=True)
class WaitingRow:
    """A document that waits to be published, and since when."""

    since: Instant
    row: DocumentRow


_COLUMNS = [
    document.c.domain,
    document.c.symbol,
    document.c.version,
    document.c.published_version,
    document.c.published_sha256,
    document.c.data,
    document.c.changed_at,
]


# Built once, for they run with every task. Columns to be set are named by the parameters.
_SAID = (contribution.c.domain == bindparam("of_domain"), contribution.c.symbol == bindparam("of_symbol"))
_CONTRIBUTIONS = select(contribution).where(*_SAID)
_SAID_BY_ONE = select(contribution.c.sha256, contribution.c.as_of).where(
    *_SAID, contribution.c.source == bindparam("of_source")
)
_UPDATE_CONTRIBUTION = update(contribution).where(*_SAID, contribution.c.source == bindparam("of_source"))
_INSERT_CONTRIBUTION = insert(contribution)
_MINE = (document.c.domain == bindparam("of_domain"), document.c.symbol == bindparam("of_symbol"))
_DATA = select(document.c.data).where(*_MINE)
_INSERT_DOCUMENT = insert(document)
_NEXT_VERSION = update(document).where(*_MINE).values(version=document.c.version + 1)
_REFRESH = _NEXT_VERSION.values(
    publish_after=case(
        (document.c.publish_after <= bindparam("now") + bindparam("pause"), document.c.publish_after),
        (document.c.published_at.is_(None), bindparam("now")),
        (document.c.published_at + bindparam("pause") < bindparam("now"), bindparam("now")),
        (document.c.published_at > bindparam("now"), bindparam("now")),
        else_=document.c.published_at + bindparam("pause"),
    )
)

_STRIKE = (
    update(document)
    .where(*_MINE)
    .values(
        published_version=bindparam("of_version"),
        publish_after=case((document.c.version == bindparam("of_version"), None), else_=document.c.publish_after),
    )
)

_PLACE = (document.c.publish_after, document.c.domain, document.c.symbol)
_ALL_WAITING = select(document.c.publish_after, *_COLUMNS).where(WAITING, document.c.publish_after <= bindparam("now"))
_WAITING = _ALL_WAITING.order_by(*_PLACE).limit(bindparam("most"))
_WAITING_BEHIND = _WAITING.where(
    tuple_(*_PLACE) > tuple_(bindparam("since"), bindparam("of_domain"), bindparam("of_symbol"))
)
_NEXT_PUBLICATION = select(func.min(document.c.publish_after)).where(WAITING)


def contributions(conn: Connection, domain: str, symbol: str) -> dict[str, ContributionRow]:
    """By source."""
    rows = conn.execute(_CONTRIBUTIONS, {"of_domain": domain, "of_symbol": symbol})
    return {r.source: ContributionRow(r.source, Kind(r.kind), r.body, r.sha256, r.as_of) for r in rows}


def content_of(conn: Connection, domain: str, symbol: str, source: str) -> tuple[bytes, Instant] | None:
    """The hash of what one source says, and of when that is."""
    mine = {"of_domain": domain, "of_symbol": symbol, "of_source": source}
    row = conn.execute(_SAID_BY_ONE, mine).one_or_none()
    return None if row is None else (row.sha256, row.as_of)


def put_contribution(
    conn: Connection, domain: str, symbol: str, new: ContributionRow, *, task_id: int, now: Instant
) -> None:
    """What the source says from now on."""
    mine = {"of_domain": domain, "of_symbol": symbol, "of_source": new.source}
    values = {
        "kind": new.kind,
        "body": new.body,
        "sha256": new.sha256,
        "as_of": new.as_of,
        "task_id": task_id,
        "changed_at": now,
    }
    if conn.execute(_UPDATE_CONTRIBUTION, {**mine, **values}).rowcount == 0:
        conn.execute(_INSERT_CONTRIBUTION, {"domain": domain, "symbol": symbol, "source": new.source, **values})


def confirm_contribution(conn: Connection, domain: str, symbol: str, source: str, as_of: Instant) -> None:
    """The source said the same again in an answer fetched at ``as_of``; its words keep their provenance."""
    mine = {"of_domain": domain, "of_symbol": symbol, "of_source": source}
    conn.execute(_UPDATE_CONTRIBUTION, {**mine, "as_of": as_of})


def data(conn: Connection, domain: str, symbol: str) -> bytes | None:
    """What a document says, as JSON without its envelope."""
    found: bytes | None = conn.execute(_DATA, {"of_domain": domain, "of_symbol": symbol}).scalar_one_or_none()
    return found


def put_document(conn: Connection, domain: str, symbol: str, data: bytes, now: Instant) -> bool:
    """The next version of a document, to be published at once. False when it says the same as before.

    Raises ``ValueError`` for a symbol that cannot name a file: whatever is stored can be published.
    """
    file_name(symbol)
    mine = {"of_domain": domain, "of_symbol": symbol}
    before = conn.execute(_DATA, mine).scalar_one_or_none()
    if before == data:
        return False
    values = {"data": data, "changed_at": now, "publish_after": now}
    if before is None:
        new = {"domain": domain, "symbol": symbol, "version": 1, "published_version": 0}
        conn.execute(_INSERT_DOCUMENT, {**new, **values})
    else:
        conn.execute(_NEXT_VERSION, {**mine, **values})
    return True


def refresh_envelope(conn: Connection, domain: str, symbol: str, *, pause: int, now: Instant) -> None:
    """Only the times of the last checks moved: published again ``pause`` after the last publication, or as soon as
    it already will be. An instant further off than that was noted by a wrong clock.
    """
    conn.execute(_REFRESH, {"of_domain": domain, "of_symbol": symbol, "pause": pause, "now": now})


def waiting(conn: Connection, now: Instant, most: int, after: WaitingRow | None = None) -> list[WaitingRow]:
    """Documents whose newest version should be on disk and is not, longest waiting first; those behind ``after``."""
    wanted: dict[str, object] = {"now": now, "most": most}
    if after is not None:
        wanted |= {"since": after.since, "of_domain": after.row.domain, "of_symbol": after.row.symbol}
    rows = conn.execute(_WAITING if after is None else _WAITING_BEHIND, wanted)
    return [WaitingRow(since, DocumentRow(*row)) for since, *row in rows]


def next_publication(conn: Connection) -> Instant | None:
    """When the next document is due on disk."""
    due: Instant | None = conn.execute(_NEXT_PUBLICATION).scalar_one()
    return due


def strike(conn: Connection, row: DocumentRow, sha256: bytes, now: Instant) -> None:
    """This version is on disk, with this hash. A newer version goes on waiting."""
    mine = {"of_domain": row.domain, "of_symbol": row.symbol, "of_version": row.version}
    conn.execute(_STRIKE, {**mine, "published_sha256": sha256, "published_at": now})


def documents(conn: Connection, *, domain: str | None = None, symbol: str | None = None) -> list[DocumentRow]:
    """Documents by symbol and domain."""
    query = select(*_COLUMNS).order_by(document.c.symbol, document.c.domain)
    if domain is not None:
        query = query.where(document.c.domain == domain)
    if symbol is not None:
        query = query.where(document.c.symbol == symbol)
    return [DocumentRow(*row) for row in conn.execute(query)]


def published(conn: Connection, after: Key, most: int) -> dict[Key, bytes]:
    """The hashes that files should have, of the published documents behind ``after``."""
    query = (
        select(document.c.domain, document.c.symbol, document.c.published_sha256)
        .where(document.c.published_sha256.is_not(None))
        .where(tuple_(document.c.domain, document.c.symbol) > tuple_(*after))
        .order_by(document.c.domain, document.c.symbol)
        .limit(most)
    )
    return {(r.domain, r.symbol): r.published_sha256 for r in conn.execute(query)}


def republish(conn: Connection, keys: Sequence[Key], now: Instant) -> list[Key]:
    """Files that are damaged or gone are to be written again, from their rows. Returns those that were not about to be
    written anyway.
    """
    found = []
    for domain, symbol in keys:
        mine = (document.c.domain == domain, document.c.symbol == symbol)
        if conn.execute(select(document.c.version).where(*mine, document.c.publish_after.is_(None))).first():
            found.append((domain, symbol))
        conn.execute(update(document).where(*mine).values(publish_after=now))
    return found
