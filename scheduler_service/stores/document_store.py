"""Contributions and the documents merged from them, and what of them is published."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import Connection, case, func, insert, select, tuple_, update

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


def contributions(conn: Connection, domain: str, symbol: str) -> dict[str, ContributionRow]:
    """By source."""
    rows = conn.execute(select(contribution).where(contribution.c.domain == domain, contribution.c.symbol == symbol))
    return {r.source: ContributionRow(r.source, Kind(r.kind), r.body, r.sha256, r.as_of) for r in rows}


def put_contribution(
    conn: Connection, domain: str, symbol: str, new: ContributionRow, *, task_id: int, now: Instant
) -> None:
    """What the source says from now on."""
    mine = (contribution.c.domain == domain, contribution.c.symbol == symbol, contribution.c.source == new.source)
    values = {
        "kind": new.kind,
        "body": new.body,
        "sha256": new.sha256,
        "as_of": new.as_of,
        "task_id": task_id,
        "changed_at": now,
    }
    if conn.execute(update(contribution).where(*mine).values(**values)).rowcount == 0:
        conn.execute(insert(contribution).values(domain=domain, symbol=symbol, source=new.source, **values))


def confirm_contribution(conn: Connection, domain: str, symbol: str, source: str, as_of: Instant) -> None:
    """The source said the same again in an answer fetched at ``as_of``; its words keep their provenance."""
    conn.execute(
        update(contribution)
        .where(contribution.c.domain == domain, contribution.c.symbol == symbol, contribution.c.source == source)
        .values(as_of=as_of)
    )


def put_document(conn: Connection, domain: str, symbol: str, data: bytes, now: Instant) -> bool:
    """The next version of a document, to be published at once. False when it says the same as before.

    Raises ``ValueError`` for a symbol that cannot name a file: whatever is stored can be published.
    """
    file_name(symbol)
    mine = (document.c.domain == domain, document.c.symbol == symbol)
    before = conn.execute(select(document.c.data).where(*mine)).scalar_one_or_none()
    if before == data:
        return False
    values = {"data": data, "changed_at": now, "publish_after": now}
    if before is None:
        conn.execute(insert(document).values(domain=domain, symbol=symbol, version=1, published_version=0, **values))
    else:
        conn.execute(update(document).where(*mine).values(version=document.c.version + 1, **values))
    return True


def refresh_envelope(conn: Connection, domain: str, symbol: str, *, pause: int, now: Instant) -> None:
    """Only the times of the last checks moved: published again ``pause`` after the last publication, or as soon as
    it already will be. An instant further off than that was noted by a wrong clock.
    """
    lazily = case(
        (document.c.publish_after <= now + pause, document.c.publish_after),
        (document.c.published_at.is_(None), now),
        (document.c.published_at + pause < now, now),
        (document.c.published_at > now, now),
        else_=document.c.published_at + pause,
    )
    conn.execute(
        update(document)
        .where(document.c.domain == domain, document.c.symbol == symbol)
        .values(version=document.c.version + 1, publish_after=lazily)
    )


def waiting(conn: Connection, now: Instant, most: int, after: WaitingRow | None = None) -> list[WaitingRow]:
    """Documents whose newest version should be on disk and is not, longest waiting first; those behind ``after``."""
    place = (document.c.publish_after, document.c.domain, document.c.symbol)
    query = select(document.c.publish_after, *_COLUMNS).where(WAITING, document.c.publish_after <= now)
    if after is not None:
        query = query.where(tuple_(*place) > tuple_(after.since, after.row.domain, after.row.symbol))
    return [WaitingRow(since, DocumentRow(*row)) for since, *row in conn.execute(query.order_by(*place).limit(most))]


def next_publication(conn: Connection) -> Instant | None:
    """When the next document is due on disk."""
    due: Instant | None = conn.execute(select(func.min(document.c.publish_after)).where(WAITING)).scalar_one()
    return due


def strike(conn: Connection, row: DocumentRow, sha256: bytes, now: Instant) -> None:
    """This version is on disk, with this hash. A newer version goes on waiting."""
    conn.execute(
        update(document)
        .where(document.c.domain == row.domain, document.c.symbol == row.symbol)
        .values(
            published_version=row.version,
            published_sha256=sha256,
            published_at=now,
            publish_after=case((document.c.version == row.version, None), else_=document.c.publish_after),
        )
    )


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
