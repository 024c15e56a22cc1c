"""Slots at an exchange's open or close, or some time before or after: ``{market: XNYS, at: open-30m}``."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

from scheduler_service.clock import HOUR, MILLISECOND, Instant, Micros
from scheduler_service.durations import DURATION_UNITS, count_and_unit
from scheduler_service.market_calendar import Calendar, Moment

FURTHEST: Micros = 12 * HOUR

_AT = re.compile(r"(open|close)(?: ?([+-]) ?(\d{1,12})(ms|s|m|h|d))?")


@dataclass(frozen=True)
class MarketTrigger:
    """One slot a session: ``offset`` from its real open or close, so that on a half day the close comes early."""

    calendar: Calendar
    moment: Moment
    offset: Micros

    @property
    def exchange(self) -> str:
        return self.calendar.name

    @property
    def timezone(self) -> str:
        return self.calendar.timezone

    @property
    def interval(self) -> None:
        return None

    def next(self, after: Instant) -> Instant | None:
        found = self.calendar.next(self.moment, after - self.offset)
        return None if found is None else found + self.offset

    def last(self, after: Instant, until: Instant) -> Instant | None:
        found = self.calendar.last(self.moment, after - self.offset, until - self.offset)
        return None if found is None else found + self.offset

    def count(self, after: Instant, until: Instant) -> int:
        return self.calendar.count(self.moment, after - self.offset, until - self.offset)

    def between(self, after: Instant, until: Instant, limit: int) -> list[Instant]:
        found: list[Instant] = []
        slot = self.next(after)
        while slot is not None and slot <= until and len(found) < limit:
            found.append(slot)
            slot = self.next(slot)
        return found

    def describe(self) -> str:
        if not self.offset:
            return f"at the {self.moment} of {self.exchange}"
        count, unit = count_and_unit(abs(self.offset))
        side = "before" if self.offset < 0 else "after"
        return f"{count} {unit} {side} the {self.moment} of {self.exchange}"

    def canonical(self) -> str:
        distance = f"{self.offset // MILLISECOND:+}ms" if self.offset else ""
        return json.dumps({"market": self.exchange, "at": f"{self.moment}{distance}"})


def parse_moment(value: object) -> tuple[Moment, Micros]:
    """``open-30m`` as ``("open", minus 30 minutes)``. Raises ``ValueError``."""
    match = _AT.fullmatch(value.strip().lower()) if isinstance(value, str) else None
    if match is None:
        raise ValueError(
            f"at: {value!r} is not a moment of a session; write open, close, open-30m, open+5m or close+30m"
        )
    offset = int(match[3] or 0) * DURATION_UNITS[match[4] or "s"] * (-1 if match[2] == "-" else 1)
    if abs(offset) > FURTHEST:
        raise ValueError(f"at: {value!r} is too far from the {match[1]}; write at most 12h")
    return ("open" if match[1] == "open" else "close"), offset
