"""Doubles that several tests use."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from scheduler_service.clock import SECOND, from_iso

if TYPE_CHECKING:
    from scheduler_service.clock import Instant, Micros


class FakeClock:
    """A clock that moves only by sleeping on it, or when told to; ``slept`` lists every sleep in seconds."""

    def __init__(self, now: Instant | str = "2026-11-23T14:30:00Z") -> None:
        self._now = from_iso(now) if isinstance(now, str) else now
        self._monotonic = 0.0
        self.slept: list[float] = []

    def now(self) -> Instant:
        return self._now

    def monotonic(self) -> float:
        return self._monotonic

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.advance(round(max(0.0, seconds) * SECOND))
        await asyncio.sleep(0)

    def advance(self, micros: Micros) -> None:
        """Time passes, on both clocks."""
        self._now += micros
        self._monotonic += micros / SECOND
