"""Prices of what is held that are set aside as doubtful: the worst fall of all may be one, and is told as what it is.
Pure.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from scheduler_service.clock import from_iso, to_iso
from scheduler_service.models import Notice
from scheduler_service.monitors.base import Change
from scheduler_service.stores.monitor_store import MonitorState

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from scheduler_service.clock import Instant
    from scheduler_service.monitors.portfolio import Position
    from scheduler_service.monitors.risk import Price

DOUBTFUL: Final = "doubtful"


@dataclass(frozen=True, slots=True)
class DoubtfulPrice:
    """What is said, what is known, and what speaks against the one (``why``). ``accepted_by``: the command for it."""

    price: Price
    known: Price
    why: str
    accepted_by: str

    @property
    def is_newer(self) -> bool:
        """A price of before the one that is known says nothing of now."""
        return from_iso(self.price.as_of) >= from_iso(self.known.as_of)


def of_doubtful_prices(
    before: Mapping[str, MonitorState],
    positions: Mapping[str, Position],
    doubtful: Mapping[str, DoubtfulPrice],
    now: Instant,
) -> Iterator[Change]:
    """The first of several that are doubtful one after another is told, and the next after one that is not."""
    for symbol, position in positions.items():
        subject, doubt = f"{DOUBTFUL}:{symbol}", doubtful.get(symbol)
        if doubt is None and subject in before:
            yield Change(subject, None)
        elif doubt is not None and subject not in before:
            yield Change(subject, MonitorState(DOUBTFUL, now, now, {}), (_notice(position, doubt, now),))


def _notice(position: Position, doubt: DoubtfulPrice, now: Instant) -> Notice:
    symbol, price, known = position.symbol, doubt.price, doubt.known
    said = (
        f"{symbol} is said to be at {price.price} ({price.source}, {price.as_of}), and was {known.price} "
        f"({known.as_of}): that is doubtful, and its risk is not judged by it; if it is right, accept it: "
        f"{doubt.accepted_by}"
    )
    facts = {
        "symbol": symbol,
        "quantity": str(position.quantity),
        "portfolio_lines": list(position.lines),
        "price": str(price.price),
        "price_before": str(known.price),
        "why": doubt.why,
        "provenance": {"source": price.source, "as_of": price.as_of},
        "provenance_before": {"source": known.source, "as_of": known.as_of},
    }
    key = f"risk.price_doubtful:{symbol}@{to_iso(now)}"
    return Notice(key, "risk.price_doubtful", said, facts, symbol, "WARNING", is_alert=True)
