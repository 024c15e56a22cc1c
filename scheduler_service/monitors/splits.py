"""Shares that were split since a portfolio's line was written: a loss on paper that is none. Pure.

The previous close of one day stands beside that of the day before. Where it has leapt though the price has not moved,
the units are others: average price and stop of the line no longer fit.
"""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING, Final

from scheduler_service.models import Notice
from scheduler_service.monitors.base import Change
from scheduler_service.stores.monitor_store import MonitorState

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from scheduler_service.clock import Instant
    from scheduler_service.monitors.portfolio import Position
    from scheduler_service.monitors.risk import Price

SPLIT: Final = "split"
CLOSE: Final = "close"
LEAST = Decimal("1.8")
"""A leap of the previous close by this factor or its inverse: two for one, and a day's ordinary move, ..."""
LEAST_MOVE = Decimal("1.4")
"""... which the price itself has not made on the day before."""
LATEST_DAYS = 10
"""Over a longer time a price may well double."""


def of_splits(
    before: Mapping[str, MonitorState],
    positions: Mapping[str, Position],
    prices: Mapping[str, Price],
    day_of: Callable[[str], str],
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
        day, close, known = day_of(symbol), price.previous_close, before.get(f"{CLOSE}:{symbol}")
        has_leapt = _times(price.price, close) >= LEAST_MOVE
        is_new = known is None or day > str(known.body["day"])
        if not is_new and (known is None or day != known.body["day"] or known.body["leapt"] or not has_leapt):
            continue
        body = {"day": day, "close": str(close), "leapt": has_leapt}
        changes.append(Change(f"{CLOSE}:{symbol}", MonitorState(CLOSE, now, now, body)))
        if known is None or not is_new or known.body["leapt"] or not _looks_split(known, day, close):
            continue
        split.add(symbol)
        state = MonitorState(SPLIT, now, now, {"line": line})
        changes.append(Change(f"{SPLIT}:{symbol}", state, (_notice(position, price, close, known, day),)))
    return split, changes


def _looks_split(known: MonitorState, day: str, close: Decimal) -> bool:
    days = (date.fromisoformat(day) - date.fromisoformat(known.body["day"])).days
    return days <= LATEST_DAYS and _times(close, Decimal(known.body["close"])) >= LEAST


def _times(one: Decimal, other: Decimal) -> Decimal:
    """How many times the smaller the larger is."""
    return max(one, other) / min(one, other)


def _line(position: Position) -> list[str | None]:
    stop = None if position.stop is None else str(position.stop)
    return [str(position.quantity), str(position.average_price), stop]


def _notice(position: Position, price: Price, close: Decimal, known: MonitorState, day: str) -> Notice:
    symbol, was = position.symbol, known.body["close"]
    lines = ", ".join(map(str, position.lines))
    said = (
        f"{symbol} looks as if it was split: its previous close is {close}, and was {was} on {known.body['day']}; the "
        f"quantity, average price and stop in the portfolio (line {lines}) are of before, and its risk is not judged "
        "until they change"
    )
    facts = {
        "symbol": symbol,
        "previous_close": str(close),
        "previous_close_before": was,
        "portfolio_lines": list(position.lines),
        "provenance": {"source": price.source, "as_of": price.as_of},
    }
    key = f"risk.split_suspected:{symbol}:{day}"
    return Notice(key, "risk.split_suspected", said, facts, symbol, "WARNING", is_alert=True)
