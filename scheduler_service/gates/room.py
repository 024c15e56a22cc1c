"""Whether there is room for what an upstream would answer: where there is not, nothing leaves the house, for a paid
answer that cannot be kept is lost. It is looked at on a thread, every few seconds at most, and by itself no more.
"""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

from scheduler_service.clock import MINUTE
from scheduler_service.errors import Held
from scheduler_service.models import Event, Reason
from scheduler_service.settings.units import format_size

if TYPE_CHECKING:
    from concurrent.futures import Executor
    from pathlib import Path

    from scheduler_service.clock import Clock, Micros
    from scheduler_service.models import Publish

LOOK_AGAIN = 5.0
"""Seconds for which a look is good."""
ASKED_AGAIN: Micros = 5 * MINUTE
"""So long what is held waits, where nobody tells it that there is room again."""
CRITICAL_SHARE = 10
"""Less than this part of what is wanted will not do for the ledger either."""


class Room:
    """What is free where ``folder`` lies, beside what is wanted there in bytes; 0: whatever there is will do."""

    def __init__(self, folder: Path, floor: int, clock: Clock, publish: Publish, pool: Executor | None = None) -> None:
        self._folder = folder
        self._floor = floor
        self._clock = clock
        self._publish = publish
        self._pool = pool
        self._looked_at: float | None = None
        self._looking = asyncio.Lock()
        self.problem: str | None = None
        """In words, while there is too little, as it was seen last."""
        self.is_critical = False

    async def check(self) -> None:
        """Raises ``Held`` while there is too little."""
        await self.look()
        if self.problem is not None:
            raise Held(self.problem, Reason.DISK_LOW, self._clock.now() + ASKED_AGAIN)

    async def look(self) -> None:
        """Once in a while; what changes is told once."""
        if not self._floor or self._is_known():
            return
        async with self._looking:
            if self._is_known():
                return
            free = await asyncio.get_running_loop().run_in_executor(self._pool, free_bytes, self._folder)
            self._looked_at = self._clock.monotonic()
        was, self.problem = self.problem, too_little(free, self._floor)
        self.is_critical = free is not None and free < self._floor // CRITICAL_SHARE
        if was is None and self.problem is not None:
            self._publish(Event("disk.low", self.problem, {"reason": Reason.DISK_LOW}, "WARNING"))
        elif was is not None and self.problem is None:
            self._publish(Event("disk.has_room", "there is room again where the data lies; what waited is asked"))

    def _is_known(self) -> bool:
        return self._looked_at is not None and self._clock.monotonic() - self._looked_at < LOOK_AGAIN


def too_little(free: int | None, floor: int) -> str | None:
    """A sentence, where less is free than is wanted; what nobody knows will do."""
    if free is None or free >= floor:
        return None
    said = f"{free / 1e6:,.1f} MB are free where the data lies, and {format_size(floor)} are wanted"
    return f"{said} (monitors.health.disk_floor): nothing is asked until there is room"


def free_bytes(folder: Path) -> int | None:
    """None where the system does not say."""
    try:
        found = os.statvfs(folder)
    except OSError:
        return None
    return found.f_bavail * found.f_frsize
