"""Time: the only module that reads the wall clock or sleeps.

An ``Instant`` is microseconds since 1970-01-01T00:00Z, an ``int``; it is what the ledger stores and what decisions
are made of. ``datetime`` appears only where a calendar is needed (triggers) or where people and formats want text.
"""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, date, datetime, timedelta
from typing import Protocol, TypeAlias

Instant: TypeAlias = int
Micros: TypeAlias = int

MILLISECOND: Micros = 1_000
SECOND: Micros = 1_000_000
MINUTE: Micros = 60 * SECOND
HOUR: Micros = 60 * MINUTE
DAY: Micros = 24 * HOUR
CLOCKS_DIFFER: Micros = 5 * MINUTE
"""Another machine's clock may be ahead of ours by so much."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class Clock(Protocol):
    """Where time comes from; tests and simulation pass their own."""

    def now(self) -> Instant:
        """The wall clock."""

    def monotonic(self) -> float:
        """Seconds that never go back; for durations only."""

    async def sleep(self, seconds: float) -> None:
        """Wait; returns early only by cancellation."""


class SystemClock:
    """The machine's clock."""

    def now(self) -> Instant:
        return time.time_ns() // 1_000

    def monotonic(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(max(0.0, seconds))


class StoppedClock:
    """Always the same instant: for looking at what has been, or will be."""

    def __init__(self, instant: Instant) -> None:
        self._instant = instant

    def now(self) -> Instant:
        return self._instant

    def monotonic(self) -> float:
        return 0.0

    async def sleep(self, seconds: float) -> None:
        raise AssertionError("nobody waits here")


def from_datetime(moment: datetime) -> Instant:
    """The instant of an aware datetime; a naive one is a mistake of the caller."""
    if moment.tzinfo is None:
        raise ValueError(f"{moment!r} has no time zone")
    return (moment - _EPOCH) // _MICROSECOND


def to_datetime(instant: Instant) -> datetime:
    """The aware UTC datetime of an instant."""
    return _EPOCH + timedelta(microseconds=instant)


def to_iso(instant: Instant) -> str:
    """``2026-11-23T14:30:00Z``, with a fraction only where there is one."""
    return to_datetime(instant).isoformat().replace("+00:00", "Z")


def to_iso_seconds(instant: Instant) -> str:
    """As ``to_iso``, cut to the second: what documents and people read."""
    return to_iso(instant - instant % SECOND)


def from_iso(text: str) -> Instant:
    """The instant an ISO-8601 text with an offset (or ``Z``) names."""
    return from_datetime(datetime.fromisoformat(text))


def utc_day(instant: Instant) -> date:
    """The UTC calendar day: what budgets count in."""
    return to_datetime(instant).date()


BUILT_AT: Instant = from_iso("2026-11-01T00:00:00Z")
"""This program is younger than this: a clock that shows an earlier time is wrong."""
