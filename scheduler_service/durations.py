"""Durations as people write and say them: ``30m``, ``30 minutes``."""

from __future__ import annotations

from scheduler_service.clock import DAY, HOUR, MILLISECOND, MINUTE, SECOND, Micros

DURATION_UNITS = {"d": DAY, "h": HOUR, "m": MINUTE, "s": SECOND, "ms": MILLISECOND}
"""The largest first."""

_NAMES = {"d": "day", "h": "hour", "m": "minute", "s": "second", "ms": "millisecond"}


def count_and_unit(micros: Micros) -> tuple[int, str]:
    """``(30, "minutes")``, ``(1, "hour")``: whole ones of the largest unit that leaves no fraction."""
    unit, size = next((unit, size) for unit, size in DURATION_UNITS.items() if micros % size == 0)
    count = micros // size
    return count, _NAMES[unit] if count == 1 else f"{_NAMES[unit]}s"
