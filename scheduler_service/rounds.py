"""What comes round by itself: schedules are reconciled when the alarm clock rings, and all of them every 30 s."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

from scheduler_service.alarm_clock import Alarm, AlarmClock
from scheduler_service.clock_watch import ClockWatch
from scheduler_service.errors import StoreError
from scheduler_service.models import Event
from scheduler_service.supervisor import comes_round

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from scheduler_service.clock import Clock, Instant
    from scheduler_service.dispatcher import Dispatcher
    from scheduler_service.initialisation import OwnedTasks
    from scheduler_service.models import Publish
    from scheduler_service.windows import Calendars

SWEEP_EVERY = 30.0


class Rounds:
    """The alarm clock, and the two tasks that look after the schedules."""

    def __init__(
        self,
        *,
        jobs: Path,
        dispatcher: Dispatcher,
        clock: Clock,
        publish: Publish,
        calendars: Calendars,
        swept: Callable[[], Awaitable[None]],
        patience: int = 1,
    ) -> None:
        """``swept`` is awaited after every sweep; with more ``patience`` they come less often."""
        self._every = SWEEP_EVERY * patience
        self._dispatcher = dispatcher
        self._clock = clock
        self._publish = publish
        self._swept = swept
        self._clock_watch = ClockWatch(clock, publish)
        self._void_ahead = False
        self._alarm_clock = AlarmClock(jobs, clock, self._ring, publish, calendars)
        self._rung: set[str] = set()
        self._ringing = asyncio.Event()
        self._stop = asyncio.Event()
        self._sweep_wanted = asyncio.Event()
        self._swept_at = clock.monotonic()
        self._reconciling_since: float | None = None

    @property
    def problem(self) -> str | None:
        """Why the alarm clock may ring late or not at all."""
        return self._alarm_clock.problem

    def start(self, owned: OwnedTasks) -> None:
        self._alarm_clock.start()
        self._set_alarms(self._clock.now())
        self._alarm_clock.resume()
        self._swept_at = self._clock.monotonic()
        owned.start("reconciler", self._reconcile_forever())
        owned.start("sweep", self._sweep_forever())

    def stop(self) -> None:
        """Nothing rings afterwards; the tasks end when they have come round."""
        self._alarm_clock.shutdown()
        self._stop.set()
        self._ringing.set()
        self._sweep_wanted.set()

    def sweep_soon(self) -> None:
        """Has every schedule looked at, and every alarm set, without waiting for the next round."""
        self._sweep_wanted.set()

    async def join(self, owned: OwnedTasks) -> None:
        """Waits for the tasks after ``stop``."""
        await owned.join("reconciler", "sweep")

    def makes_progress(self) -> bool:
        """Whether both tasks come round. That the ledger cannot be written is no hindrance: they say so and go on."""
        return comes_round(self._swept_at, self._reconciling_since, self._clock.monotonic(), self._every)

    def _ring(self, schedule_id: str) -> None:
        self._rung.add(schedule_id)
        self._ringing.set()

    async def _reconcile_forever(self) -> None:
        """Answers the alarm clock. What it misses, the sweep finds."""
        while not self._stop.is_set():
            await self._ringing.wait()
            self._ringing.clear()
            rung, self._rung = sorted(self._rung), set()
            self._reconciling_since = self._clock.monotonic()
            for schedule_id in rung:
                with suppress(StoreError):
                    await self._dispatcher.reconcile(schedule_id)
            self._reconciling_since = None

    async def _sweep_forever(self) -> None:
        """Every 30 s: every schedule is looked at, and the alarm clock is healed. Bounds every delay."""
        while not self._stop.is_set():
            rested = self._clock.monotonic()
            with suppress(TimeoutError):
                async with asyncio.timeout(self._every):
                    await self._sweep_wanted.wait()
            self._sweep_wanted.clear()
            if self._stop.is_set():
                return
            self._clock_watch.rested(self._every, since=rested)
            self._void_ahead |= self._clock_watch.stepped()
            looked = self._clock.now()
            try:
                if self._void_ahead:
                    await self._dispatcher.clock_stepped()
                    self._void_ahead = False
                await self._dispatcher.reconcile_all()
            except StoreError as error:
                self._publish(Event("ledger.failed", f"the sweep waits: {error}", {}, "ERROR"))
            self._set_alarms(looked)
            self._swept_at = self._clock.monotonic()
            await self._swept()

    def _set_alarms(self, after: Instant) -> None:
        """Each schedule rings at its first slot after an instant up to which all are accounted for."""
        self._alarm_clock.sync(
            {
                schedule_id: Alarm(schedule.trigger, schedule.trigger.next(after))
                for schedule_id, schedule in self._dispatcher.everything.items()
            }
        )
