"""A portfolio under its limits: each breach is told once, again when it has cleared or got worse; no old quotes."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any

import aiofiles
import orjson
from aiofiles import os as aio_os

from scheduler_service.clock import MINUTE, from_iso, to_iso_seconds
from scheduler_service.models import Notice
from scheduler_service.monitors.base import Change
from scheduler_service.monitors.portfolio import Portfolio, parse_portfolio
from scheduler_service.monitors.risk import MOVE, Finding, Limits, Price, findings
from scheduler_service.stores import document_store
from scheduler_service.stores.monitor_store import MonitorState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from scheduler_service.clock import Clock, Instant, Micros
    from scheduler_service.stores.database import Connection, Ledger

EVERY: Micros = MINUTE // 2
LARGEST_FILE = 10_000_000
OLD_AFTER: Micros = 30 * MINUTE
"""Of the exchange's own time; delayed quotes are a quarter of an hour behind."""
AFTER_A_START: Micros = 10 * MINUTE
"""So long quotes may take to come in before their absence is told."""
_FILE = "portfolio"


@dataclass(frozen=True, slots=True)
class Seen:
    """``stale``: symbol to when its quote is of. ``problem``: why the file as it is now cannot be used."""

    portfolio: Portfolio
    prices: Mapping[str, Price]
    stale: Mapping[str, str]
    problem: str | None = None
    days: Mapping[str, str] = field(default_factory=dict)


class RiskMonitor:
    """Of one portfolio file. ``priced_by``: the domain whose documents tell prices. ``age``: how long ago an instant is
    in the time of a symbol's exchange.
    """

    name = "risk"
    is_timeless = True

    def __init__(
        self,
        path: Path,
        limits: Limits,
        priced_by: str | None,
        ledger: Ledger,
        clock: Clock,
        age: Callable[[str, Instant], Micros],
        old_after: Micros = OLD_AFTER,
        every: Micros = EVERY,
        longest_gap: Callable[[str], Micros] = lambda symbol: 0,
    ) -> None:
        """``longest_gap``: how old a symbol's quote may be because no newer one was to be had yet, in the same time."""
        self._path = path
        self._limits = limits
        self._priced_by = priced_by
        self._ledger = ledger
        self._clock = clock
        self._since: Instant | None = None
        self._age = age
        self._old_after = old_after
        self._every = every
        self._longest_gap = longest_gap
        self._read: tuple[tuple[int, int], Portfolio] | None = None

    def rest(self, now: Instant) -> Micros:
        del now
        return self._every

    async def observe(self) -> Seen:
        problem = await self._renew()
        portfolio = Portfolio({}) if self._read is None else self._read[1]
        now = self._clock.now()
        self._since = now if self._since is None else min(self._since, now)
        prices: dict[str, Price] = {}
        stale: dict[str, str] = {}
        for symbol, price in (await self._ledger.read(partial(self._prices, symbols=portfolio.positions))).items():
            if price is None:
                stale[symbol] = "never"
            elif self._is_old(symbol, from_iso(price.as_of)):
                stale[symbol] = price.as_of
            else:
                prices[symbol] = price
        return Seen(portfolio, prices, stale if now - self._since >= AFTER_A_START else {}, problem)

    def judge(self, before: Mapping[str, MonitorState], seen: Seen, now: Instant) -> Sequence[Change]:
        changes = [*_of_the_file(self._path, before.get(_FILE), seen, now), *_of_quotes(before, seen, now)]
        for found in findings(seen.portfolio.positions, seen.prices, self._limits):
            changes.extend(_of_finding(before.get(found.subject), found, seen, now))
        changes.extend(_of_the_gone(before, seen))
        return changes

    def _is_old(self, symbol: str, as_of: Instant) -> bool:
        age = self._age(symbol, as_of)
        return age > self._old_after and age > self._longest_gap(symbol)

    def _prices(self, conn: Connection, symbols: Iterable[str]) -> dict[str, Price | None]:
        found = {}
        for symbol in symbols:
            data = None if self._priced_by is None else document_store.data(conn, self._priced_by, symbol)
            found[symbol] = None if data is None else _known_price(data)
        return found

    async def _renew(self) -> str | None:
        """Reads the file where it has changed; what is wrong with it as a whole. The last good one holds."""
        try:
            status = await aio_os.stat(self._path)
            mark = (status.st_mtime_ns, status.st_size)
            if self._read is not None and self._read[0] == mark:
                return None
            if status.st_size > LARGEST_FILE:
                return f"{self._path} is larger than {LARGEST_FILE // 1_000_000} MB"
            async with aiofiles.open(self._path, encoding="utf-8", errors="replace", newline="") as file:
                text = await file.read(LARGEST_FILE)
            self._read = (mark, parse_portfolio(text))
        except OSError as error:
            return f"{self._path} cannot be read: {error.strerror or error}"
        except ValueError as error:
            return f"{self._path} cannot be used: {error}"
        return None


def read_price(data: bytes) -> Price | None:
    """A quote's document as a price; None for what is none."""
    try:
        said = orjson.loads(data)
        price, close = Decimal(str(said["price"])), said.get("previous_close")
        previous = None if close is None else Decimal(str(close))
        from_iso(said["as_of"])
        source = said["provenance"]["source"]
    except (ValueError, KeyError, TypeError, InvalidOperation):
        return None
    if not price.is_finite() or price <= 0:
        return None
    return Price(price, previous, said.get("currency"), said["as_of"], source)


_known_price = lru_cache(1_000)(read_price)


def _state(word: str, now: Instant, since: Instant | None = None, **body: Any) -> MonitorState:
    return MonitorState(word, now if since is None else since, now, body)


def _of_the_file(path: Path, before: MonitorState | None, seen: Seen, now: Instant) -> Iterator[Change]:
    said = seen.problem
    if said is None and seen.portfolio.bad_lines:
        rest = seen.portfolio.bad_lines - len(seen.portfolio.problems)
        more = f"; and {rest:,} more" if rest else ""
        unused = "1 line is" if seen.portfolio.bad_lines == 1 else f"{seen.portfolio.bad_lines:,} lines are"
        said = f"{path}: {unused} not used: {'; '.join(seen.portfolio.problems)}{more}"
    if said == (before.state if before is not None else None):
        return
    if said is None:
        yield Change(_FILE, None)
        return
    key = f"risk.portfolio@{to_iso_seconds(now)}"
    notice = Notice(key, "risk.portfolio", said, {"path": str(path)}, level="WARNING", is_alert=True)
    yield Change(_FILE, _state(said, now), (notice,))


def _of_quotes(before: Mapping[str, MonitorState], seen: Seen, now: Instant) -> Iterator[Change]:
    """Those that are old are told together, once each."""
    new = {symbol: as_of for symbol, as_of in seen.stale.items() if f"stale:{symbol}" not in before}
    if new:
        listed = ", ".join(f"{symbol} ({as_of})" for symbol, as_of in list(new.items())[:10])
        more = f" and {len(new) - 10} more" if len(new) > 10 else ""
        said = f"no current quote of {listed}{more}: their risk is not judged"
        key = f"risk.quotes_stale:{next(iter(new))}@{to_iso_seconds(now)}"
        notice = Notice(key, "risk.quotes_stale", said, {"as_of": new}, level="WARNING", is_alert=True)
        for place, symbol in enumerate(new):
            yield Change(f"stale:{symbol}", _state("stale", now), () if place else (notice,))
    for symbol in seen.prices:
        if f"stale:{symbol}" in before:
            yield Change(f"stale:{symbol}", None)


def _of_finding(before: MonitorState | None, found: Finding, seen: Seen, now: Instant) -> Iterator[Change]:
    day = seen.prices[found.symbol].as_of[:10] if found.subject.startswith(MOVE) and found.symbol else None
    if before is not None and day is not None and before.body.get("day") != day:
        before = None  # another day's move is another move
    told = 0 if before is None else int(before.body["level"])
    if found.level > told:
        level = "ERROR" if found.level > 1 else "WARNING"
        key = f"risk.breach:{found.subject}:{found.level}@{to_iso_seconds(now)}"
        notice = Notice(key, "risk.breach", found.message, found.facts, found.symbol, level, is_alert=True)
        since = None if before is None else before.since
        yield Change(found.subject, _state("breach", now, since, level=found.level, day=day), (notice,))
    elif told and found.is_over:
        said = f"{found.subject.partition(':')[0]} of {found.symbol or 'the portfolio'} has cleared: {found.message}"
        key = f"risk.cleared:{found.subject}@{to_iso_seconds(now)}"
        yield Change(found.subject, None, (Notice(key, "risk.cleared", said, found.facts, found.symbol),))


def _of_the_gone(before: Mapping[str, MonitorState], seen: Seen) -> Iterable[Change]:
    """Of what is no longer held nothing need be remembered."""
    if seen.problem is not None:
        return []
    held = seen.portfolio.positions.keys()
    return [Change(subject, None) for subject in before if ":" in subject and subject.split(":", 1)[1] not in held]
