"""What is known of each (symbol, domain, source): the state that is checked before every call."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, Row, bindparam, insert, select, update

from scheduler_service.models import USELESS_ANSWERS, Reason, StockState
from scheduler_service.stores.schema import stock_state

if TYPE_CHECKING:
    from collections.abc import Mapping

    from scheduler_service.clock import Instant

Key = tuple[str, str, str]
"""(symbol, domain, source)."""

OK, FAILED = "ok", "failed"
CURED_BY_READING = USELESS_ANSWERS | {Reason.INTERNAL_ERROR}
"""Failures of whoever read the answer, as likely as of who gave it."""


_MINE = (
    stock_state.c.symbol == bindparam("of_symbol"),
    stock_state.c.domain == bindparam("of_domain"),
    stock_state.c.source == bindparam("of_source"),
)
# Built once, for they run with every task.
_GET = select(stock_state).where(*_MINE)
_OF_DOCUMENT = select(stock_state).where(*_MINE[:2])
_UPDATE = update(stock_state).where(*_MINE)
_INSERT = insert(stock_state)


def get_state(conn: Connection, symbol: str, domain: str, source: str) -> StockState:
    """The state; an empty one for what was never tried."""
    row = conn.execute(_GET, _key(symbol, domain, source)).one_or_none()
    return StockState() if row is None else _state(row)


def _key(symbol: str, domain: str, source: str) -> dict[str, str]:
    return {"of_symbol": symbol, "of_domain": domain, "of_source": source}


def _state(r: Row[Any]) -> StockState:
    reason = Reason(r.reason) if r.reason else None
    return StockState(r.checked_for, r.checked_at, r.changed_at, r.status, reason, r.failures, r.tried_at)


def states_of(conn: Connection, symbol: str, domain: str) -> dict[str, StockState]:
    """By source: what a document's envelope tells."""
    rows = conn.execute(_OF_DOCUMENT, {"of_symbol": symbol, "of_domain": domain})
    return {r.source: _state(r) for r in rows}


def states(conn: Connection, *, domain: str | None = None) -> Mapping[Key, StockState]:
    """For status and for finding what was never fetched."""
    query = select(stock_state)
    if domain is not None:
        query = query.where(stock_state.c.domain == domain)
    return {(r.symbol, r.domain, r.source): _state(r) for r in conn.execute(query)}


def checked(
    conn: Connection,
    symbol: str,
    domain: str,
    source: str,
    *,
    due_at: Instant,
    changed: bool,
    now: Instant,
    asked_at: Instant | None = None,
) -> bool:
    """The source answered for a slot due at ``due_at``; ``asked_at``: when, where it was a kept answer that served: it
    is as old as it is. A check never goes back in time, unless it was in the future. True for the first one.
    """
    before = get_state(conn, symbol, domain, source)
    asked_at = now if asked_at is None else min(asked_at, now)
    times = {"checked_for": min(due_at, asked_at), "checked_at": asked_at}
    for name, at in (("checked_for", before.checked_for), ("checked_at", before.checked_at)):
        if at is not None and times[name] < at <= now:
            times[name] = at
    values = {"status": OK, "reason": None, "failures": 0, **times, "tried_at": now}
    if changed:
        values["changed_at"] = now
    _put(conn, symbol, domain, source, values)
    return before.checked_at is None


def failed(
    conn: Connection, symbol: str, domain: str, source: str, *, reason: Reason | None, now: Instant
) -> StockState:
    """The source failed; what was known before stays as it is, with its age. Returns the state afterwards.

    That a stock is unknown is counted by itself: after ten timeouts, one such answer is the first of its kind.
    """
    before = get_state(conn, symbol, domain, source)
    alike = (before.reason is Reason.UNKNOWN_SYMBOL) == (reason is Reason.UNKNOWN_SYMBOL)
    failures = before.failures + 1 if alike else 1
    _put(conn, symbol, domain, source, {"status": FAILED, "reason": reason, "failures": failures, "tried_at": now})
    return replace(before, status=FAILED, reason=reason, failures=failures, tried_at=now)


def reread(
    conn: Connection, symbol: str, domain: str, source: str, *, as_of: Instant, changed: bool, now: Instant
) -> None:
    """A kept answer, fetched at ``as_of``, was parsed anew. That is no check of now; but where the last try failed by
    what was answered, it is the check that the try had been.
    """
    before = get_state(conn, symbol, domain, source)
    values: dict[str, object] = {"changed_at": now} if changed else {}
    if before.status != OK and (before.reason is None or before.reason in CURED_BY_READING):
        times = {"checked_for": before.checked_for, "checked_at": before.checked_at}
        values |= {name: as_of if at is None or at > now else max(at, as_of) for name, at in times.items()}
        values |= {"status": OK, "reason": None, "failures": 0, "tried_at": before.tried_at or as_of}
    if values:
        _put(conn, symbol, domain, source, values)


def let_go(conn: Connection, symbol: str, domain: str | None = None) -> None:
    """What failed before counts no more: its sources may be asked at the next slot. What is known stays."""
    query = update(stock_state).where(stock_state.c.symbol == symbol, stock_state.c.failures > 0)
    if domain is not None:
        query = query.where(stock_state.c.domain == domain)
    conn.execute(query.values(failures=0))


def _put(conn: Connection, symbol: str, domain: str, source: str, values: Mapping[str, object]) -> None:
    if conn.execute(_UPDATE, {**_key(symbol, domain, source), **values}).rowcount == 0:
        mine = {"symbol": symbol, "domain": domain, "source": source}
        conn.execute(_INSERT, {"failures": 0, **values, **mine})
