"""What is a breach, and when it is told again: decimals to findings. Pure."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from scheduler_service.monitors.portfolio import Position

STOP: Final = "stop"
CONCENTRATION: Final = "concentration"
LOSS: Final = "loss"
MOVE: Final = "move"
LOSSES = (Decimal(5), Decimal(10), Decimal(20))
MOVES = (Decimal(3), Decimal(5))
HYSTERESIS = Decimal("0.9")
"""A breach is over when less than this share of its limit is left."""
HUNDRED = Decimal(100)


@dataclass(frozen=True, slots=True)
class Price:
    """A quote that can be gone by, and where it is from."""

    price: Decimal
    previous_close: Decimal | None
    currency: str | None
    as_of: str
    source: str


@dataclass(frozen=True, slots=True)
class Limits:
    """In percent."""

    stop_loss: Decimal
    largest_position: Decimal


@dataclass(frozen=True, slots=True)
class Finding:
    """How bad a subject (``stop:AAPL``) is: ``level`` 0 is none, each further one is a step worse. ``is_over``: it is
    also far enough from its limit that the next one counts anew.
    """

    subject: str
    symbol: str | None
    level: int
    is_over: bool
    message: str
    facts: Mapping[str, Any]


def findings(
    positions: Mapping[str, Position], prices: Mapping[str, Price], limits: Limits, split: Collection[str] = ()
) -> Iterator[Finding]:
    """Of every position with a price; of the whole only where each has one: whatever the others have lost, one without
    a price may have gained more, and each share of a part is larger than that of the whole. Other currencies than the
    one most prices are in are not added up. Of what was ``split`` since its line was written only the move counts.
    """
    for symbol, position in sorted(positions.items()):
        if (price := prices.get(symbol)) is not None:
            if symbol not in split:
                yield _stop(position, price, limits)
            yield from _move(position, price)
    if positions and positions.keys() <= prices.keys() and not split:
        yield from _whole(positions, prices, limits)


def _facts(position: Position, price: Price, **more: object) -> dict[str, Any]:
    return {
        "symbol": position.symbol,
        "quantity": str(position.quantity),
        "average_price": str(position.average_price),
        "portfolio_lines": list(position.lines),
        "price": str(price.price),
        "currency": price.currency,
        "provenance": {"source": price.source, "as_of": price.as_of},
        **{name: str(value) for name, value in more.items()},
    }


def _stop(position: Position, price: Price, limits: Limits) -> Finding:
    """A short position loses where the price rises. With a stop of its own, that is the limit; a step is half of the
    usual one.
    """
    average, sign = position.average_price, Decimal(-1 if position.is_short else 1)
    loss = sign * (average - price.price) / average * HUNDRED
    limit = limits.stop_loss if position.stop is None else sign * (average - position.stop) / average * HUNDRED
    step = limits.stop_loss / 2
    level = 0 if loss < limit else 1 + int((loss - limit) / step)
    at = average * (1 - sign * limit / HUNDRED)
    kind = "short position" if position.is_short else "position"
    said = (
        f"{position.symbol} at {price.price} is {'past' if level else 'within'} its stop of {at.normalize():f}: "
        f"the {kind} bought at {average.normalize():f} has {_lost(loss)}"
    )
    facts = _facts(position, price, stop=at.normalize(), loss_percent=round(loss, 4))
    return Finding(
        f"{STOP}:{position.symbol}", position.symbol, level, loss < limit - step * (1 - HYSTERESIS), said, facts
    )


def _move(position: Position, price: Price) -> Iterator[Finding]:
    if price.previous_close is None or price.previous_close <= 0:
        return
    moved = (price.price / price.previous_close - 1) * HUNDRED
    level = sum(abs(moved) >= limit for limit in MOVES)
    how = "high: " if level > 1 else ""
    said = f"{position.symbol} has moved {moved:+.1f} % on the day ({how}{price.previous_close} to {price.price})"
    facts = _facts(position, price, previous_close=price.previous_close, moved_percent=round(moved, 4))
    subject = f"{MOVE}:{position.symbol}"
    yield Finding(subject, position.symbol, level, abs(moved) < MOVES[0] * HYSTERESIS, said, facts)


def _whole(positions: Mapping[str, Position], prices: Mapping[str, Price], limits: Limits) -> Iterator[Finding]:
    currencies = Counter(price.currency for symbol, price in prices.items() if symbol in positions and price.currency)
    main = currencies.most_common(1)[0][0] if currencies else None
    mine = {s: p for s, p in positions.items() if prices[s].currency in (None, main)}
    in_ = f" {main}" if main else ""
    values = {symbol: position.quantity * prices[symbol].price for symbol, position in mine.items()}
    gross = sum(map(abs, values.values()), Decimal(0))
    cost = sum((abs(p.quantity) * p.average_price for p in mine.values()), Decimal(0))
    if not gross or not cost:
        return
    left_out = sorted(positions.keys() - mine.keys())
    without = f"; without {', '.join(left_out)}, in another currency" if left_out else ""
    for symbol, value in sorted(values.items()):
        share = abs(value) / gross * HUNDRED
        level = sum(share >= limit for limit in (limits.largest_position, 2 * limits.largest_position))
        how = "very high: " if level > 1 else ""
        said = f"{symbol} is {share:.1f} % of the portfolio ({how}{abs(value):,.2f} of {gross:,.2f}{in_}{without})"
        facts = _facts(
            mine[symbol], prices[symbol], share_percent=round(share, 4), gross_value=gross, left_out=left_out
        )
        over = share < limits.largest_position * HYSTERESIS
        yield Finding(f"{CONCENTRATION}:{symbol}", symbol, level, over, said, facts)
    gain = sum((p.quantity * (prices[s].price - p.average_price) for s, p in mine.items()), Decimal(0))
    loss = -gain / cost * HUNDRED
    level = sum(loss >= limit for limit in LOSSES)
    said = f"the portfolio has {_lost(loss)} of what it cost ({abs(gain):,.2f} of {cost:,.2f}{in_}{without})"
    facts = {"loss_percent": str(round(loss, 4)), "cost": str(cost), "gain": str(gain), "left_out": left_out}
    facts["provenance"] = [{"symbol": s, "source": prices[s].source, "as_of": prices[s].as_of} for s in sorted(mine)]
    yield Finding(LOSS, None, level, loss < LOSSES[0] * HYSTERESIS, said, facts)


def _lost(percent: Decimal) -> str:
    return f"{'gained' if percent < 0 else 'lost'} {abs(percent):.1f} %"
