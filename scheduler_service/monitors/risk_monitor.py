"""A portfolio under its limits: each breach is told once, again when it has cleared or got worse; no old quotes."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any, Protocol

import orjson

from scheduler_service.clock import CLOCKS_DIFFER, MINUTE, from_iso, to_iso
from scheduler_service.models import Notice
from scheduler_service.monitors.base import Change
from scheduler_service.monitors.doubtful_prices import DoubtfulPrice, of_doubtful_prices
from scheduler_service.monitors.portfolio import LARGEST, Portfolio
from scheduler_service.monitors.portfolio_file import PortfolioFile
from scheduler_service.monitors.risk import MOVE, Finding, Limits, Price, findings
from scheduler_service.monitors.splits import Closes, of_splits
from scheduler_service.stores import document_store, doubt_store
from scheduler_service.stores.monitor_store import MonitorState

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from scheduler_service.clock import Clock, Instant, Micros
    from scheduler_service.models import OffLoop
    from scheduler_service.stores.database import Connection, Ledger

EVERY: Micros = MINUTE // 2
OLD_AFTER: Micros = 30 * MINUTE
"""Of the exchange's own time; delayed quotes are a quarter of an hour behind."""
AFTER_A_START: Micros = 10 * MINUTE
"""So long quotes may take to come in before their absence is told."""
_FILE = "portfolio"


@dataclass(frozen=True, slots=True)
class Seen:
    """``stale``: symbol to when its quote is of, or why there is none. ``problem``: why the file as it is now cannot be
    used. ``days``: of which session day of its exchange a price is; ``closes``: of or after which close. ``doubtful``:
    what is newer than the price that is known, and not believed.
    """

    portfolio: Portfolio
    prices: Mapping[str, Price]
    stale: Mapping[str, str]
    problem: str | None = None
    days: Mapping[str, str] = field(default_factory=dict)
    closes: Mapping[str, Closes] = field(default_factory=dict)
    doubtful: Mapping[str, DoubtfulPrice] = field(default_factory=dict)

    def day(self, symbol: str) -> str:
        return self.days[symbol]


class Stocks(Protocol):
    """What is known of stocks beside their prices."""

    def is_watched(self, symbol: str) -> bool: ...

    def age(self, symbol: str, at: Instant) -> Micros:
        """How long ago that was in the time of its exchange."""

    def longest_gap(self, symbol: str) -> Micros:
        """How old its quote may be because no newer one was to be had yet, in the same time."""

    def day(self, symbol: str, at: Instant) -> str:
        """The date there."""

    def closes(self, symbol: str, at: Instant) -> Closes:
        """Of which close that is, or which one came before the session that is on then."""


class RiskMonitor:
    """Of one portfolio file. ``priced_by``: the domain whose documents tell prices."""

    name = "risk"
    is_timeless = True

    def __init__(
        self,
        path: Path,
        limits: Limits,
        priced_by: str | None,
        ledger: Ledger,
        clock: Clock,
        stocks: Stocks,
        off_loop: OffLoop,
        every: Micros = EVERY,
    ) -> None:
        self._file = PortfolioFile(path, off_loop)
        self._limits = limits
        self._priced_by = priced_by
        self._ledger = ledger
        self._clock = clock
        self._since: Instant | None = None
        self._stocks = stocks
        self._every = every

    def rest(self, now: Instant) -> Micros:
        del now
        return self._every

    async def observe(self) -> Seen:
        await self._file.renew(self._clock.now())
        portfolio = self._file.portfolio or Portfolio({})
        known, doubtful = await self._ledger.read(partial(self._said, symbols=tuple(portfolio.positions)))
        now = self._clock.now()
        self._since = now if self._since is None else min(self._since, now)
        prices: dict[str, Price] = {}
        days: dict[str, str] = {}
        closes: dict[str, Closes] = {}
        stale: dict[str, str] = {}
        for symbol, price in known.items():
            if (why := self._wrong_with(symbol, price, now)) is not None or price is None:
                stale[symbol] = why or ""
            else:
                prices[symbol] = price
                at = from_iso(price.as_of)
                days[symbol], closes[symbol] = self._stocks.day(symbol, at), self._stocks.closes(symbol, at)
        late = now - self._since >= AFTER_A_START
        return Seen(portfolio, prices, stale if late else {}, self._file.problem, days, closes, doubtful)

    def judge(self, before: Mapping[str, MonitorState], seen: Seen, now: Instant) -> Sequence[Change]:
        held = seen.portfolio.positions
        changes = [*_of_the_file(self._file.path, before.get(_FILE), seen, now), *_of_quotes(before, seen, now)]
        changes.extend(of_doubtful_prices(before, held, seen.doubtful, now))
        split, told = of_splits(before, held, seen.prices, seen.day, seen.closes, now)
        for found in findings(held, seen.prices, self._limits, split):
            changes.extend(_of_finding(before.get(found.subject), found, seen, now))
        changes.extend((*told, *_of_the_gone(before, seen)))
        return changes

    def _said(
        self, conn: Connection, symbols: Sequence[str]
    ) -> tuple[dict[str, Price | None], dict[str, DoubtfulPrice]]:
        """What is known, and what is said and doubtful."""
        known = self._prices(conn, symbols)
        return known, dict(self._doubtful(conn, known)) if self._priced_by is not None else {}

    def _doubtful(self, conn: Connection, known: Mapping[str, Price | None]) -> Iterator[tuple[str, DoubtfulPrice]]:
        for row in doubt_store.waiting(conn, domain=self._priced_by):
            if (before := known.get(row.symbol)) is None or (price := _known_price(row.contribution.body)) is None:
                continue
            command = f"scheduler-service release {row.symbol} {row.domain}"
            if (doubtful := DoubtfulPrice(price, before, row.said, command)).is_newer:
                yield row.symbol, doubtful

    def _prices(self, conn: Connection, symbols: Sequence[str]) -> dict[str, Price | None]:
        if self._priced_by is None:
            return dict.fromkeys(symbols)
        said = {symbol: document_store.data(conn, self._priced_by, symbol) for symbol in symbols}
        return {symbol: None if data is None else _known_price(data) for symbol, data in said.items()}

    def _wrong_with(self, symbol: str, price: Price | None, now: Instant) -> str | None:
        """Why it is not gone by: of when it is, or why there is none."""
        if not self._stocks.is_watched(symbol):
            return "not on the watchlist"
        if price is None:
            return "never" if self._priced_by is not None else "no configured domain tells prices"
        at = from_iso(price.as_of)
        age = self._stocks.age(symbol, at)
        is_old = age > OLD_AFTER and age > self._stocks.longest_gap(symbol)  # most are not, and it is long to tell
        return price.as_of if is_old or at > now + CLOCKS_DIFFER else None


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
    if not price.is_finite() or not 0 < price <= LARGEST:
        return None
    if previous is not None and not (previous.is_finite() and 0 < previous <= LARGEST):
        previous = None
    return Price(price, previous, said.get("currency"), said["as_of"], source)


_known_price = lru_cache(1_000)(read_price)


def _state(word: str, now: Instant, since: Instant | None = None, **body: Any) -> MonitorState:
    return MonitorState(word, now if since is None else since, now, body)


def _mark(*words: str) -> str:
    """What tells one of several from another, in few letters."""
    return hashlib.sha256("\n".join(words).encode()).hexdigest()[:8]


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
    key = f"risk.portfolio:{_mark(said)}@{to_iso(now)}"
    notice = Notice(key, "risk.portfolio", said, {"path": str(path)}, level="WARNING", is_alert=True)
    yield Change(_FILE, _state(said, now), (notice,))


def _of_quotes(before: Mapping[str, MonitorState], seen: Seen, now: Instant) -> Iterator[Change]:
    """Those that are old are told together, once each."""
    new = {symbol: as_of for symbol, as_of in seen.stale.items() if f"stale:{symbol}" not in before}
    if new:
        listed = ", ".join(f"{symbol} ({as_of})" for symbol, as_of in list(new.items())[:10])
        more = f" and {len(new) - 10} more" if len(new) > 10 else ""
        said = f"no current quote of {listed}{more}: their risk is not judged, nor that of the whole"
        key = f"risk.quotes_stale:{_mark(*sorted(new))}@{to_iso(now)}"
        notice = Notice(key, "risk.quotes_stale", said, {"as_of": new}, level="WARNING", is_alert=True)
        for place, symbol in enumerate(new):
            yield Change(f"stale:{symbol}", _state("stale", now), () if place else (notice,))
    for symbol in seen.prices:
        if f"stale:{symbol}" in before:
            yield Change(f"stale:{symbol}", None)


def _of_finding(before: MonitorState | None, found: Finding, seen: Seen, now: Instant) -> Iterator[Change]:
    day = seen.day(found.symbol) if found.subject.startswith(f"{MOVE}:") and found.symbol else None
    if before is not None and day is not None and (told_of := str(before.body["day"])) != day:
        if day < told_of:
            return  # an old price come back says nothing of today
        before = None  # another day's move is another move
    told = 0 if before is None else int(before.body["level"])
    if found.level > told:
        level = "ERROR" if found.level > 1 else "WARNING"
        key = f"risk.breach:{found.subject}:{found.level}@{to_iso(now)}"
        notice = Notice(key, "risk.breach", found.message, found.facts, found.symbol, level, is_alert=True)
        since = None if before is None else before.since
        yield Change(found.subject, _state("breach", now, since, level=found.level, day=day), (notice,))
    elif told and found.is_over:
        said = f"{found.subject.partition(':')[0]} of {found.symbol or 'the portfolio'} has cleared: {found.message}"
        key = f"risk.cleared:{found.subject}@{to_iso(now)}"
        yield Change(found.subject, None, (Notice(key, "risk.cleared", said, found.facts, found.symbol),))


def _of_the_gone(before: Mapping[str, MonitorState], seen: Seen) -> Iterable[Change]:
    """Of what is no longer held nothing need be remembered. What stands in a line that cannot be read may be held."""
    if seen.problem is not None or seen.portfolio.bad_lines:
        return []
    held = seen.portfolio.positions.keys()
    return [Change(subject, None) for subject in before if ":" in subject and subject.split(":", 1)[1] not in held]
