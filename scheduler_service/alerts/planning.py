"""When a notice is told, and whether: quiet hours, cool-down, pauses between tries. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scheduler_service.clock import DAY, HOUR, SECOND
from scheduler_service.windows import parse_window

if TYPE_CHECKING:
    from scheduler_service.clock import Instant, Micros

LONGEST_PAUSE: Micros = HOUR
GIVEN_UP_AFTER: Micros = 3 * DAY


def quiet_until(quiet_hours: str | None, timezone: str, now: Instant) -> Instant | None:
    """When the quiet hours that hold now end; None outside them. ``quiet_hours``: ``22:00-07:00``."""
    if quiet_hours is None:
        return None
    spans = list(parse_window({"hours": quiet_hours}, timezone).spans(now - DAY, now + 2 * DAY))
    until = next((span.end for span in spans if span.start <= now < span.end), None)
    for span in spans:  # a span is cut where the clocks change
        until = span.end if until is not None and span.start == until else until
    return until


def pause_after(tries: int, chance: float) -> Micros:
    """Full jitter: a share (``chance``, 0 to 1) of one second doubled with every try, at most an hour; never none."""
    longest = min(LONGEST_PAUSE, SECOND << min(tries, 30))
    return max(SECOND // 2, round(longest * chance))
