"""The calendars of a running service: read at its start, computed anew in the background when they are stale."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from scheduler_service.calendar_file import Kept, compute_calendars, merged, read_calendars, stale, warnings_of
from scheduler_service.clock import BUILT_AT
from scheduler_service.exchanges import all_exchanges
from scheduler_service.models import Event

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from concurrent.futures import Executor
    from pathlib import Path

    from scheduler_service.calendar_file import Compute
    from scheduler_service.clock import Clock
    from scheduler_service.market_calendar import Calendar
    from scheduler_service.models import Publish

LOOK_EVERY = 60.0
RETRY_AFTER = 3600.0
"""Seconds, after which what could not be computed is tried again."""


class CalendarUpkeep:
    """What is known of the exchanges; of those that the schedules need, kept up to date."""

    def __init__(
        self,
        *,
        folder: Path,
        exchanges: Iterable[str],
        unknown: Sequence[str] = (),
        clock: Clock,
        publish: Publish,
        pool: Executor | None = None,
        compute: Compute | None = None,
        patience: int = 1,
    ) -> None:
        """``unknown``: sentences of exchanges that nobody knows. ``compute`` stands in for the process that computes
        sessions.
        """
        self.exchanges = frozenset(exchanges)
        self._unknown = tuple(unknown)
        self._folder = folder
        self._clock = clock
        self._publish = publish
        self._pool = pool
        self._compute = compute
        self._look_every = LOOK_EVERY * patience
        self._kept = Kept({})
        self._retry_at: float | None = None
        self._warned: set[str] = set()

    def calendar(self, exchange: str) -> Calendar:
        """What is known now; of an exchange of which nothing is, its usual hours."""
        return self._kept.calendar(exchange)

    def warnings(self) -> list[str]:
        """A sentence for each exchange whose calendar is missing, or ends soon, or that is none."""
        return [*self._unknown, *warnings_of(self._kept, self.exchanges, self._clock.now())]

    @property
    def has_work(self) -> bool:
        """Whether there is anything to keep up, or to warn of."""
        return bool(self.exchanges or self._unknown)

    async def read(self) -> None:
        """What is on disk, also of exchanges that only schedules of the past needed: their slots are counted too."""
        if self.exchanges or self._folder.is_dir():
            self._kept = await read_calendars(self._folder, all_exchanges(), self._pool)

    async def keep_up_forever(self, renewed: Callable[[], None]) -> None:
        """``renewed`` is called when something new is known. It never fails: without calendars, usual hours hold."""
        while True:
            try:
                if await self.refresh():
                    renewed()
            except Exception as error:
                self._retry_at = self._clock.monotonic() + RETRY_AFTER
                self._publish(Event("calendars.incomplete", f"no calendar was computed: {error!r}", {}, "ERROR"))
            await self._clock.sleep(self._look_every)

    async def refresh(self) -> bool:
        """Computes what is stale; whether that brought anything."""
        now = self._clock.now()
        wanted = stale(self._kept, self.exchanges, now)
        waits = self._retry_at is not None and self._clock.monotonic() < self._retry_at
        if not wanted or waits or now < BUILT_AT:  # by a clock that is wrong, the wrong years would be computed
            self._warn()
            return False
        fresh = await compute_calendars(self._folder, wanted, now, pool=self._pool, compute=self._compute)
        self._kept = merged(self._kept, fresh)
        failed = len(fresh.calendars) < len(wanted)
        self._retry_at = self._clock.monotonic() + RETRY_AFTER if failed else None
        if fresh.calendars:
            names = ", ".join(f"{name} until {calendar.last_day}" for name, calendar in fresh.calendars.items())
            self._publish(Event("calendars.refreshed", f"the sessions of exchanges were computed: {names}"))
        self._warn()
        return bool(fresh.calendars)

    def _warn(self) -> None:
        """Each warning once, until it is gone."""
        said = {re.sub(r"\d+", "", sentence): sentence for sentence in self.warnings()}
        for known_as, sentence in said.items():
            if known_as not in self._warned:
                self._publish(Event("calendars.incomplete", sentence, {}, "WARNING"))
        self._warned = set(said)
