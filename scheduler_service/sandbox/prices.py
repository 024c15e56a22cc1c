"""What invented shares cost: a function of seed, symbol and time alone, quiet while the exchange is closed."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from scheduler_service.clock import DAY, HOUR, MINUTE

if TYPE_CHECKING:
    from scheduler_service.clock import Instant, Micros
    from scheduler_service.market_calendar import Calendar

LOWEST, HIGHEST = 20, 400
"""About which the prices of shares begin."""
_WAVES: tuple[tuple[Micros, float], ...] = (
    (64 * DAY, 0.15),
    (16 * DAY, 0.06),
    (4 * DAY, 0.025),
    (DAY, 0.012),
    (HOUR, 0.003),
    (5 * MINUTE, 0.001),
)
"""Each wave's length, and by which fraction it moves the price at most."""


@dataclass(frozen=True, slots=True)
class Price:
    """In full units. ``at``: the minute, or the close, that it is of."""

    now: float
    previous_close: float
    at: Instant
    open: float
    high: float
    low: float


def price_at(symbol: str, now: Instant, calendar: Calendar, seed: int = 0) -> Price:
    """The last price there was."""
    opens = calendar.last("open", 0, now) or now
    closes = calendar.next("close", opens) or now
    at = min(max(opens, now - now % MINUTE), closes)
    before = calendar.last("close", 0, opens) or opens
    price, start, last = (_price(symbol, instant, seed) for instant in (at, opens, before))
    return Price(price, last, at, start, max(price, start), min(price, start))


def _price(symbol: str, at: Instant, seed: int) -> float:
    key = f"{seed} {symbol}"
    base = LOWEST + (HIGHEST - LOWEST) * _draw(f"{key} base")
    return round(base * math.exp(sum(most * _wave(f"{key} {length}", at / length) for length, most in _WAVES)), 2)


def _wave(key: str, place: float) -> float:
    """From -1 to 1, without a corner: between two numbers that are drawn."""
    number = math.floor(place)
    start, end, part = _draw(f"{key} {number}"), _draw(f"{key} {number + 1}"), place - number
    return 2 * (start + (end - start) * part * part * (3 - 2 * part)) - 1


def _draw(key: str) -> float:
    """From 0 to 1."""
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:6]) / (1 << 48)
