"""The facade: builds the parts, starts them step by step, says how they are, and drains them. Knows no domain."""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import aclosing, suppress
from typing import TYPE_CHECKING, Any

from scheduler_service import __version__
from scheduler_service.alarm_clock import Alarm, AlarmClock
from scheduler_service.clock import SECOND, SystemClock, to_iso_seconds
from scheduler_service.engine import Engine
from scheduler_service.errors import SchedulerServiceError, StoreError
from scheduler_service.events.event_bus import EventBus
from scheduler_service.events.event_handler import connect, write_to_log
from scheduler_service.fetching import check_request, follow, make_run
from scheduler_service.initialisation import Initialisation, OwnedTasks
from scheduler_service.models import Event
from scheduler_service.overview import overview
from scheduler_service.web.server import WebServer

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from scheduler_service.calls import Transport
    from scheduler_service.clock import Clock, Instant
    from scheduler_service.settings.loaded import Settings
    from scheduler_service.web.views import FetchRequest, Readiness, Status, TaskReport

SWEEP_EVERY = 30.0
STEPS = ("data directory", "ledger", "gates", "recovery", "web", "schedules", "alarm clock", "workers")


class BackgroundScheduler:
    """The running service."""

    def __init__(
        self,
        settings: Settings,
        *,
        clock: Clock | None = None,
        transport: Transport | None = None,
        web: bool = True,
        config_note: str = "",
    ) -> None:
        """``web``: whether it opens its socket and its port; on a virtual clock there are none."""
        self.settings = settings
        self._wants_web = web
        self.clock = clock or SystemClock()
        self._note = config_note
        self._bus = EventBus()
        self._disconnect = connect(self._bus, log=write_to_log)
        self.publish = self._bus.publish
        self.engine = Engine(settings, self.clock, self.publish, transport)
        self.dispatcher = self.engine.dispatcher
        self._initialisation = Initialisation(STEPS)
        self._owned = OwnedTasks(self._died)
        self._alarm_clock = AlarmClock(self.engine.directory.jobs, self.clock, self._ring, self.publish)
        self._web: WebServer | None = None
        self._rung: set[str] = set()
        self._ringing = asyncio.Event()
        self._stop = asyncio.Event()
        self._hasten = asyncio.Event()
        self._failed = False
        self._started_at: Instant = 0
        self._first_fetches = 0

    async def run(self) -> int:
        """The service until a signal ends it: 0 after a clean drain, 1 when something it needs has died.

        Raises what ``start`` raises, with everything given back.
        """
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.request_stop)
        loop.add_signal_handler(signal.SIGHUP, self._explain_hangup)
        try:
            if await self.start():
                await self._stop.wait()
        finally:
            await self.stop()
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
                loop.remove_signal_handler(number)
        return 1 if self._failed else 0

    def request_stop(self) -> None:
        """Asks for a drain; asked a second time, for a quick one."""
        if self._stop.is_set():
            self._hasten.set()
        self._owned.stopping()
        self._stop.set()

    async def start(self) -> bool:
        """Step by step to readiness; false when a stop was asked for on the way.

        Raises ``SchedulerServiceError`` with the sentence that says what is wrong.
        """
        self._started_at = self.clock.now()
        self._say("service.starting", f"scheduler-service {__version__} starts. {self._note}".strip())
        steps = (
            self._take_directory,
            self._open_ledger,
            self.engine.open_gates,
            self.engine.recover,
            self._open_web,
            self._sync_schedules,
            self._start_alarm_clock,
            self._start_workers,
        )
        for name, step in zip(STEPS, steps, strict=True):
            if self._stop.is_set():
                return False
            try:
                with self._initialisation.step(name):
                    await step()
            except SchedulerServiceError as error:
                fields = {"reason": str(error)}  # in words it is the command's last line, on standard error
                self.publish(Event("service.failed", f"start-up failed at the step {name!r}", fields, "ERROR"))
                raise
        self._welcome()
        return True

    async def _take_directory(self) -> None:
        self.engine.directory.take()

    async def _open_ledger(self) -> None:
        await self.engine.open_ledger()
        self._owned.start("ledger writer", self.engine.ledger.write_forever())

    async def _sync_schedules(self) -> None:
        await self.dispatcher.sync()
        await self.dispatcher.resume()
        await self.dispatcher.reconcile_all()
        self._first_fetches = await self.dispatcher.fetch_never_fetched()

    async def _start_alarm_clock(self) -> None:
        self._alarm_clock.start()
        self._set_alarms(self.clock.now())
        self._alarm_clock.resume()
        self._owned.start("reconciler", self._reconcile_forever())
        self._owned.start("sweep", self._sweep_forever())

    async def _start_workers(self) -> None:
        self.engine.start_workers(self._owned)
        await self.engine.publisher.audit()

    async def stop(self) -> None:
        """Drains: no new slots, no new tasks; what runs may finish within ``service.drain_timeout``, all in all."""
        started, was_up = self.clock.monotonic(), self.readiness().state != "failed"
        deadline = started + self.settings.service.drain_timeout / SECOND
        running = sum(executor.running for executor in self.engine.executors)
        self._initialisation.stopping()
        self._owned.stopping()
        if was_up or self._failed:
            self._say("service.stopping", f"stopping; {running} running tasks may finish" if running else "stopping")
        self._alarm_clock.shutdown()
        self._stop.set()
        self._ringing.set()
        late = await self._drain()
        if self._web is not None:
            await self._web.stop()
        await self._owned.join("reconciler", "sweep")
        left = 0.0 if self._hasten.is_set() else max(0.0, deadline - self.clock.monotonic())
        await self.engine.stop_workers(self._owned, seconds=left)
        await self._owned.cancel()
        await self.engine.close()
        took = self.clock.monotonic() - started
        rest = f"; {late} tasks were put back for the next start" if late else ""
        if was_up or self._failed:
            self._say("service.stopped", f"stopped after {took:.1f} s{rest}")
        self._disconnect()

    def readiness(self) -> Readiness:
        return self._initialisation.view()

    async def status(self) -> Status:
        return await overview(self.engine, self.readiness(), self._started_at, self._impaired())

    async def fetch(self, request: FetchRequest) -> AsyncGenerator[TaskReport, None]:
        check_request(request, self.engine.processors)
        run = await make_run(self.engine, request)
        async with aclosing(follow(self.engine, self._bus, run, self._problem)) as reports:
            async for report in reports:
                yield report

    def _problem(self) -> str | None:
        return None if self.readiness().ready else "the service stops; what is not done goes on at its next start"

    async def _drain(self) -> int:
        """Within the deadline, or at once when a second signal hastens."""
        seconds = self.settings.service.drain_timeout / SECOND
        drains = [asyncio.create_task(executor.drain(seconds)) for executor in self.engine.executors]
        if not drains:
            return 0
        hasten = asyncio.create_task(self._hasten.wait())
        everything = asyncio.gather(*drains)
        either: set[asyncio.Future[Any]] = {everything, hasten}
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        hasten.cancel()
        hastened = []
        if not everything.done():
            hastened = await asyncio.gather(*(executor.drain(0) for executor in self.engine.executors))
        return max(sum(hastened), sum(await everything))

    def _impaired(self) -> list[str]:
        """What does not work at the moment, though the service lives."""
        problems = [self.engine.ledger.problem, self.engine.publisher.problem, self._alarm_clock.problem]
        return [problem for problem in problems if problem is not None]

    async def _open_web(self) -> None:
        if not self._wants_web:
            return
        http = self.settings.http
        web = WebServer(
            self,
            host=http.host,
            port=http.port,
            socket_path=self.engine.directory.socket,
            token_file=http.token_file,
        )
        await web.start()
        self._web = web

    def _ring(self, schedule_id: str) -> None:
        self._rung.add(schedule_id)
        self._ringing.set()

    async def _reconcile_forever(self) -> None:
        """Answers the alarm clock. What it misses, the sweep finds."""
        while not self._stop.is_set():
            await self._ringing.wait()
            self._ringing.clear()
            rung, self._rung = sorted(self._rung), set()
            for schedule_id in rung:
                with suppress(StoreError):
                    await self.dispatcher.reconcile(schedule_id)

    async def _sweep_forever(self) -> None:
        """Every 30 s: every schedule is looked at, and the alarm clock is healed. Bounds every delay."""
        while not self._stop.is_set():
            with suppress(TimeoutError):
                async with asyncio.timeout(SWEEP_EVERY):
                    await self._stop.wait()
                    return
            looked = self.clock.now()
            try:
                await self.dispatcher.reconcile_all()
            except StoreError as error:
                self._say("ledger.failed", f"the sweep waits: {error}", "ERROR")
            self._set_alarms(looked)

    def _set_alarms(self, after: Instant) -> None:
        """Each schedule rings at its first slot after an instant up to which all are accounted for."""
        self._alarm_clock.sync(
            {
                schedule_id: Alarm(schedule.trigger, schedule.trigger.next(after))
                for schedule_id, schedule in self.dispatcher.schedules.items()
            }
        )

    def _died(self, problem: str) -> None:
        """A service without one of its parts is none: it says so, drains and ends, for its supervisor to start anew."""
        self._initialisation.died(problem)
        self._failed = True
        self._stop.set()

    def _welcome(self) -> None:
        """What a newcomer wants to know."""
        settings, directory = self.settings, self.engine.directory
        took = (self.clock.now() - self._started_at) / SECOND
        data = "sandbox data, and every document says so" if settings.sandbox else "live data"
        symbols, domains = len(settings.watchlist), ", ".join(self.engine.processors)
        self._say("service.ready", f"ready after {took:.1f} s, pid {os.getpid()}: {symbols} symbols, {domains}; {data}")
        if first := self._first_fetches:
            self._say("run.opened", f"{first} fetches are due at once, of what was never fetched before")
        for schedule_id in self.dispatcher.schedules:
            due = self.dispatcher.next_due(schedule_id, self.clock.now())
            said = self.dispatcher.schedules[schedule_id].trigger.describe()
            when = to_iso_seconds(due) if due is not None else "never again"
            self._say("schedule.next", f"schedule {schedule_id}: {said}; next {when}")
        some = settings.watchlist[0].symbol if settings.watchlist else "AAPL"
        self._say("service.hint", f"documents are in {directory.documents}/<domain>/<symbol>.json")
        self._say(
            "service.hint",
            f"in another terminal: scheduler-service show {some}, or status, history, next; Ctrl-C stops",
        )

    def _explain_hangup(self) -> None:
        self._say("config.rejected", "SIGHUP: a changed configuration is read at the next start", "WARNING")

    def _say(self, name: str, message: str, level: str = "INFO") -> None:
        self.publish(Event(name, message, {"pid": os.getpid()} if name == "service.starting" else {}, level))
