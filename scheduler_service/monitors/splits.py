"""Shares that were split since a portfolio's line was written: a loss on paper that is none. Pure.

Who knows of a split tells the previous close in the new units. Two signs of it: the previous close of one day stands
far from that of the day before, though the price has not moved so; and it differs from the price at which the session
before has closed by just what a split makes, while the price is near it. Then average price and stop of the line no
longer fit. Where the previous close stays in the old units a split looks like a fall, and nobody can tell.
"""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING, Final, NamedTuple

from scheduler_service.clock import DAY, MINUTE
from scheduler_service.models import Notice
from scheduler_service.monitors.base import Change
from scheduler_service.stores.monitor_store import MonitorState

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from scheduler_service.clock import Instant, Micros
    from scheduler_service.market_calendar import Calendar
    from scheduler_service.monitors.portfolio import Position
    from scheduler_service.monitors.risk import Price

SPLIT: Final = "split"
CLOSE: Final = "close"
ENDED: Final = "ended"
"""Under which the price at the end of the last session is kept."""
LEAST = Decimal("1.8")
"""A leap of the previous close by this factor or its inverse: two for one, and a day's ordinary move, ..."""
LEAST_MOVE = Decimal("1.4")
"""... which the price itself has not made on the day before."""
LATEST_DAYS = 10
"""Over a longer time a price may well double."""
SMALL_SPLITS = {(3, 2): Decimal(3) / 2, (4, 3): Decimal(4) / 3, (5, 4): Decimal(5) / 4}
EXACT = Decimal("0.005")
"""By such a share a session's last price may differ from its official close, and that be rounded."""
AT_A_CLOSE: Micros = MINUTE
"""The last price of a session is of this close to its end; what is of later was paid after hours."""
LONGEST_PAUSE: Micros = 14 * DAY
"""Between two sessions, as around a new year."""
NEAR = Decimal("1.1")
"""A price that is further from its previous close has moved, and proves no split."""


class _Sign(NamedTuple):
    """What tells of a split, in words and as facts."""

    said: str
    facts: Mapping[str, str]


class Closes(NamedTuple):
    """Of which close of a session a price is, and which one was before the session that it is of; None: of none."""

    at: Instant | None = None
    before: Instant | None = None


def closes_at(calendar: Calendar, at: Instant) -> Closes:
    """By the sessions of the exchange; over a break one is on."""
    on = calendar.session_at(at)
    before = None if on is None else calendar.last("close", on.open - LONGEST_PAUSE, on.open)
    return Closes(calendar.last("close", at - AT_A_CLOSE, at + AT_A_CLOSE), before)


def of_splits(
    before: Mapping[str, MonitorState],
    positions: Mapping[str, Position],
    prices: Mapping[str, Price],
    day_of: Callable[[str], str],
    closes: Mapping[str, Closes],
    now: Instant,
) -> tuple[set[str], list[Change]]:
    """The symbols whose line is of before a split, until it changes; and what is to be remembered and told."""
    split: set[str] = set()
    changes: list[Change] = []
    for symbol, position in positions.items():
        told, line = before.get(f"{SPLIT}:{symbol}"), _line(position)
        if told is not None and told.body["line"] == line:
            split.add(symbol)
        elif told is not None:
            changes.append(Change(f"{SPLIT}:{symbol}", None))
        price = prices.get(symbol)
        if price is None or price.previous_close is None:
            continue
        day, close = day_of(symbol), price.previous_close
        kept, leapt = _by_the_day_before(before.get(f"{CLOSE}:{symbol}"), price.price, close, day, now)
        ended, small = _by_the_last_price(
            before.get(f"{ENDED}:{symbol}"), price.price, close, closes.get(symbol, Closes()), line, now
        )
        changes.extend(Change(f"{name}:{symbol}", state) for name, state in ((CLOSE, kept), (ENDED, ended)) if state)
        if (sign := leapt or small) is None:
            continue
        split.add(symbol)
        state = MonitorState(SPLIT, now, now, {"line": line})
        changes.append(Change(f"{SPLIT}:{symbol}", state, (_notice(position, price, close, sign, day),)))
    return split, changes


def _by_the_day_before(
    known: MonitorState | None, price: Decimal, close: Decimal, day: str, now: Instant
) -> tuple[MonitorState | None, _Sign | None]:
    """What is to be kept of the previous close, and how it was where it tells of a split."""
    has_leapt = _times(price, close) >= LEAST_MOVE
    is_new = known is None or day > str(known.body["day"])
    if not is_new and (known is None or day != known.body["day"] or known.body["leapt"] or not has_leapt):
        return None, None
    kept = MonitorState(CLOSE, now, now, {"day": day, "close": str(close), "leapt": has_leapt})
    if known is None or not is_new or known.body["leapt"] or not _looks_split(known, day, close):
        return kept, None
    was = known.body["close"]
    return kept, _Sign(f"and was {was} on {known.body['day']}", {"previous_close_before": was})


def _by_the_last_price(
    known: MonitorState | None, price: Decimal, close: Decimal, closes: Closes, line: list[str | None], now: Instant
) -> tuple[MonitorState | None, _Sign | None]:
    """What is to be kept of a session's last price, and what it was where the previous close of the very next session
    tells of a small split. A line that has changed since is of after it.
    """

    def kept(price: Decimal, at: Instant) -> MonitorState:
        return MonitorState(ENDED, now, now, {"at": at, "price": str(price), "line": line})

    sign = None
    if known is not None and known.body["at"] == closes.before and known.body["line"] == line:
        was = Decimal(known.body["price"])
        ratio = next((r for r, of in SMALL_SPLITS.items() if abs(was / close / of - 1) <= EXACT), None)
        if ratio is not None and _times(price, close) <= NEAR:
            shares = f"{ratio[0]} for {ratio[1]}"
            said = f"and the session before ended at {was}, as {shares} makes it"
            sign = _Sign(said, {"ended_at_before": str(was), "looks_like": shares})
    if closes.at is not None:
        ended = kept(price, closes.at)
        is_kept = known is not None and (known.body["at"] > closes.at or known.body == ended.body)
        return None if is_kept else ended, sign
    if sign is not None and closes.before is not None:
        return kept(close, closes.before), sign  # in the new units, so that it tells no split twice
    return None, sign


def _looks_split(known: MonitorState, day: str, close: Decimal) -> bool:
    days = (date.fromisoformat(day) - date.fromisoformat(known.body["day"])).days
    return days <= LATEST_DAYS and _times(close, Decimal(known.body["close"])) >= LEAST


def _times(one: Decimal, other: Decimal) -> Decimal:
    """How many times the smaller the larger is."""
    return max(one, other) / min(one, other)


def _line(position: Position) -> list[str | None]:
    stop = None if position.stop is None else str(position.stop)
    return [str(position.quantity), str(position.average_price), stop]


def _notice(position: Position, price: Price, close: Decimal, sign: _Sign, day: str) -> Notice:
    symbol = position.symbol
    lines = ", ".join(map(str, position.lines))
    said = (
        f"{symbol} looks as if it was split: its previous close is {close}, {sign.said}; the "
        f"quantity, average price and stop in the portfolio (line {lines}) are of before, and its risk is not judged "
        "until they change"
    )
    facts = {
        "symbol": symbol,
        "previous_close": str(close),
        **sign.facts,
        "portfolio_lines": list(position.lines),
        "provenance": {"source": price.source, "as_of": price.as_of},
    }
    key = f"risk.split_suspected:{symbol}:{day}"
    return Notice(key, "risk.split_suspected", said, facts, symbol, "WARNING", is_alert=True)
