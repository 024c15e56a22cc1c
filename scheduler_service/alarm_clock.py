"""The alarm clock: APScheduler rings, and remembers nothing that matters.

One job per schedule in ``jobs.sqlite``; the ledger knows what is due, and the caller looks at every schedule twice a
minute anyway. So a lost, late or doubled ring changes nothing, no error of the job store stops the clock, and the file
can be thrown away at any time: ``sync`` builds it again.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, tzinfo
from pathlib import Path
from types import FunctionType, MethodType

from apscheduler.executors.base import BaseExecutor
from apscheduler.job import Job
from apscheduler.schedulers.asyncio import AsyncIOScheduler, run_in_event_loop
from apscheduler.schedulers.base import STATE_RUNNING, STATE_STOPPED, BaseScheduler

from scheduler_service.clock import SECOND, Clock, Instant, from_datetime, to_datetime
from scheduler_service.job_store import STORE_ERRORS, AlarmTrigger, JobStore, job_options, rung
from scheduler_service.models import Event, Publish
from scheduler_service.triggers import Trigger
from scheduler_service.windows import Calendars, usual_hours

NAP = 30.0
"""Seconds; the timer runs on monotonic time and would sleep through a suspension or a clock that is set forward."""
SHORTEST_WAIT = 0.05
RETRY = 10.0


@dataclass(frozen=True, slots=True)
class Alarm:
    """When a schedule is due next, and by which trigger after that. ``due_at`` None: it does not ring."""

    trigger: Trigger
    due_at: Instant | None


class AlarmClock:
    """Calls ``ring`` with a schedule's id when it is due. Lives on the loop it was started on."""

    def __init__(
        self,
        path: Path,
        clock: Clock,
        ring: Callable[[str], None],
        publish: Publish,
        calendars: Calendars = usual_hours,
    ) -> None:
        """``ring`` is quick and never raises."""
        self._path = path
        self._clock = clock
        self._publish = publish
        self._wanted: dict[str, Alarm] = {}
        self._synced = False
        self._failing = False
        self._store = JobStore(path, self._was_set_aside, calendars)
        self._scheduler = _Scheduler(clock, self._store, _Bell(ring), self._went)

    @property
    def last_progress(self) -> float:
        """The monotonic time of the timer's last move; older than two naps means that it is dead."""
        return self._scheduler.last_progress

    @property
    def problem(self) -> str | None:
        """Why it may ring late or not at all."""
        return f"{self._path} fails; schedules are looked at every {NAP:.0f} s only" if self._failing else None

    @property
    def set_aside(self) -> frozenset[str]:
        """The ids of the rows that could not be read."""
        return frozenset(self._store.set_aside)

    def start(self) -> None:
        """Waits, paused, for ``sync`` and ``resume``."""
        logging.getLogger("apscheduler").setLevel(logging.WARNING)
        self._scheduler.start(paused=True)

    def sync(self, schedules: Mapping[str, Alarm]) -> bool:
        """Makes the stored jobs equal to these, touching only what differs.

        False: the store could not be read or written. That has been published, and ``heal`` tries again.
        """
        self._wanted = dict(schedules)
        wanted = {schedule_id: alarm for schedule_id, alarm in schedules.items() if alarm.due_at is not None}
        try:
            if self._failing or not self._synced:
                self._open()
            stored = {job.id: job for job in self._store.get_all_jobs()}
            for schedule_id in sorted(stored.keys() - wanted.keys()):
                self._scheduler.remove_job(schedule_id)
            for schedule_id, alarm in wanted.items():
                if schedule_id not in stored or _alarm_of(stored[schedule_id]) != alarm:
                    self._write(schedule_id, alarm)
        except STORE_ERRORS as error:
            self._synced = False
            self._went(error)
        else:
            self._synced = True
            self._went(None)
        return self._synced

    def heal(self) -> bool:
        """Writes again what was set aside or could not be written; free when nothing is wrong. As ``sync``."""
        if self._synced and not self._failing and self._store.set_aside.keys().isdisjoint(self._wanted):
            return True
        now = self._clock.now()
        return self.sync(
            {
                schedule_id: Alarm(alarm.trigger, self.next_due(schedule_id) or alarm.trigger.next(now))
                for schedule_id, alarm in self._wanted.items()
            }
        )

    def next_due(self, schedule_id: str) -> Instant | None:
        """When the stored job will ring next; None where there is none, or the store cannot say."""
        try:
            job = self._store.lookup_job(schedule_id)
        except STORE_ERRORS as error:
            self._went(error)
            return None
        return _alarm_of(job).due_at if job is not None else None

    def resume(self) -> None:
        self._scheduler.resume()

    def pause(self) -> None:
        self._scheduler.pause()

    def shutdown(self) -> None:
        """Stops at once; nothing rings afterwards."""
        if self._scheduler.running:
            self._scheduler.shutdown(wait=False)

    def _open(self) -> None:
        if moved := self._store.open(self._clock.now()):
            message = f"{self._path} was damaged; it is now {moved.name}, and is built again from the schedules"
            self._publish(Event("alarm_clock.rebuilt", message, {"moved_to": str(moved)}, "WARNING"))

    def _write(self, schedule_id: str, alarm: Alarm) -> None:
        due = to_datetime(alarm.due_at) if alarm.due_at is not None else None
        self._scheduler.add_job(
            rung, AlarmTrigger(alarm.trigger), next_run_time=due, replace_existing=True, **job_options(schedule_id)
        )
        self._store.set_aside.pop(schedule_id, None)

    def _was_set_aside(self, schedule_id: str, why: str) -> None:
        message = f"job {schedule_id!r} in {self._path} is unreadable ({why}); it is kept there, and will not ring"
        fields = {"schedule_id": schedule_id, "reason": why}
        self._publish(Event("alarm_clock.row_set_aside", message, fields, "WARNING"))

    def _went(self, error: Exception | None) -> None:
        """Says once that the store fails, and once that it works again."""
        if error is not None and not self._failing:
            cause = str(getattr(error, "orig", None) or error)  # without SQLAlchemy's statement and link
            message = f"{self._path} fails ({cause}); schedules are still looked at every {NAP:.0f} s"
            self._publish(Event("alarm_clock.store_failed", message, {"error": cause}, "WARNING"))
        elif error is None and self._failing:
            self._publish(Event("alarm_clock.store_recovered", f"{self._path} works again"))
        self._failing = error is not None


def _alarm_of(job: Job) -> Alarm:
    return Alarm(job.trigger.trigger, from_datetime(job.next_run_time))


class _Bell(BaseExecutor):
    """Rings instead of running what is stored."""

    def __init__(self, ring: Callable[[str], None]) -> None:
        super().__init__()
        self._ring = ring

    def submit_job(self, job: Job, run_times: list[datetime]) -> None:
        self._do_submit_job(job, run_times)

    def _do_submit_job(self, job: Job, run_times: list[datetime]) -> None:
        del run_times
        self._ring(job.id)


class _Now:
    """Our clock, under the name ``datetime`` where APScheduler asks it for the time."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def now(self, zone: tzinfo) -> datetime:
        return to_datetime(self._clock.now()).astimezone(zone)


class _Scheduler(AsyncIOScheduler):
    """Survives errors of its store, and sleeps on our clock in naps."""

    def __init__(self, clock: Clock, store: JobStore, bell: _Bell, went: Callable[[Exception | None], None]) -> None:
        self._clock = clock
        self._store = store
        self._went = went
        self._due: Instant = 0
        self.last_progress = clock.monotonic()
        stock = BaseScheduler._process_jobs
        on_our_clock = FunctionType(stock.__code__, {**stock.__globals__, "datetime": _Now(clock)}, stock.__name__)
        self._process_jobs = MethodType(on_our_clock, self)
        super().__init__(
            jobstores={"default": store},
            executors={"default": bell},
            timezone="UTC",
            jobstore_retry_interval=RETRY,
        )

    @run_in_event_loop
    def wakeup(self) -> None:
        """As the parent's, which leaves the timer off for ever after the first error."""
        if self.state == STATE_STOPPED:
            return
        wait: float | None = RETRY
        self._store.error = None
        try:
            wait = self._process_jobs()
        except Exception as error:
            self._store.error = error
        finally:
            self._start_timer(wait)
        if self.state == STATE_RUNNING:
            self._went(self._store.error)

    def shutdown(self, wait: bool = True) -> None:
        """At once; the parent's comes a turn of the loop later."""
        self._stop_timer()
        BaseScheduler.shutdown(self, wait)

    def _start_timer(self, wait_seconds: float | None) -> None:
        wait = NAP if wait_seconds is None else max(wait_seconds, SHORTEST_WAIT)
        self._due = self._clock.now() + int(wait * SECOND)
        self._nap()

    def _nap(self) -> None:
        """Sleeps on until the next job is due, without asking the store."""
        self._stop_timer()
        self.last_progress = self._clock.monotonic()
        remaining = self._due - self._clock.now()
        if remaining <= 0:
            self.wakeup()
        else:
            self._timeout = self._eventloop.call_later(min(remaining / SECOND, NAP), self._nap)
