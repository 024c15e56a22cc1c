"""The facade: builds the parts, starts them step by step, says how they are, and drains them. Knows no domain."""

from __future__ import annotations

import asyncio
import os
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Protocol

from scheduler_service import __version__
from scheduler_service.announcements import caught_up, first_fetches, oddities, ready, to_come
from scheduler_service.backing_up import view_of
from scheduler_service.clock import SECOND, SystemClock
from scheduler_service.engine import Engine
from scheduler_service.errors import SchedulerServiceError, StoreError
from scheduler_service.events.event_bus import EventBus
from scheduler_service.events.event_handler import connect, write_to_log
from scheduler_service.initialisation import Initialisation, OwnedTasks
from scheduler_service.models import Event
from scheduler_service.operating import Operations
from scheduler_service.overview import in_one_line, overview
from scheduler_service.pausing import pauses
from scheduler_service.rounds import Rounds
from scheduler_service.watching import Watching
from scheduler_service.web.server import WebServer
from scheduler_service.wording import several

if TYPE_CHECKING:
    from collections.abc import Iterable

    from scheduler_service.calendar_file import Compute
    from scheduler_service.calls import Transport
    from scheduler_service.clock import Clock, Instant
    from scheduler_service.events.event_bus import Listener
    from scheduler_service.settings.loaded import Settings
    from scheduler_service.web import views

STEPS = ("data directory", "ledger", "gates", "recovery", "web", "schedules", "alarm clock", "workers")


class Owner(Protocol):
    """Who reads the configuration anew, and puts another scheduler in this one's place."""

    async def reload(self) -> views.ReloadReport: ...

    def last_reload(self) -> views.ReloadReport | None: ...


class BackgroundScheduler:
    """The running service, with one configuration."""

    def __init__(
        self,
        settings: Settings,
        *,
        clock: Clock | None = None,
        transport: Transport | None = None,
        compute_sessions: Compute | None = None,
        web: bool = True,
        config_note: str = "",
        owner: Owner | None = None,
        log: Listener = write_to_log,
        patience: int = 1,
        durable: bool = True,
    ) -> None:
        """``web``: whether it opens its socket and its port; on a virtual clock there are none.

        ``compute_sessions`` stands in for the process that computes the sessions of exchanges. ``log`` hears all
        events. Without an ``owner`` its configuration stays as it is. ``patience``: how many times longer than usual
        it waits before it looks by itself. Not ``durable``: no power cut is to be survived.
        """
        self.settings = settings
        self._wants_web = web
        self.clock = clock or SystemClock()
        self._note = config_note
        self._owner = owner
        self._bus = EventBus()
        self.publish = self._bus.publish
        self.engine = Engine(settings, self.clock, self.publish, transport, compute_sessions, patience, durable)
        self._disconnect = connect(self._bus, log=log, works_again=self.engine.waker.works_again)
        self.dispatcher = self.engine.dispatcher
        self._watching = Watching(self.engine, self, patience, is_real=web)
        self._initialisation = Initialisation(STEPS)
        self._owned = OwnedTasks(self.died)
        self.rounds = Rounds(
            jobs=self.engine.directory.jobs,
            dispatcher=self.dispatcher,
            clock=self.clock,
            publish=self.publish,
            calendars=self.engine.calendars.calendar,
            swept=self._after_sweep,
            patience=patience,
        )
        self.backups = self._watching.backups
        self._pruner = self.engine.pruner()
        self.operations = Operations(self.engine, self._bus, self.backups, self._pruner, self._problem)
        self._web: WebServer | None = None
        self._stop = asyncio.Event()
        self._hasten = asyncio.Event()
        self._asked_to_stop = False
        self._stopped = False
        self.failed = False
        """Whether something that it needs has died."""
        self.summary = "starting"
        """How it is, in one line; made anew with every sweep."""
        self.started_at: Instant = 0
        self._welcomed = False

    async def until_stop(self) -> None:
        """Until a stop is asked for, or something that it needs has died."""
        await self._stop.wait()

    def request_stop(self) -> None:
        """Asks for a drain; asked a second time, for a quick one."""
        if self._asked_to_stop:
            self._hasten.set()
        self._asked_to_stop = True
        self._owned.stopping()
        self._stop.set()

    async def start(self) -> bool:
        """Step by step to readiness; false when a stop was asked for on the way.

        Raises ``SchedulerServiceError`` with the sentence that says what is wrong.
        """
        self.started_at = self.clock.now()
        self._say("service.starting", f"scheduler-service {__version__} starts. {self._note}".strip())
        self._tell(oddities(self.engine.settings))
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
        self._tell(ready(self.engine, (self.clock.now() - self.started_at) / SECOND))
        await self._welcome()
        await self.sum_up()
        return True

    async def _take_directory(self) -> None:
        self.engine.directory.take()

    async def _open_ledger(self) -> None:
        await self.engine.open_ledger()
        self._owned.start("ledger writer", self.engine.ledger.write_forever())

    async def _sync_schedules(self) -> None:
        await self.engine.calendars.read()
        self.engine.renew_calendars()
        await self.dispatcher.sync()
        await self._watching.plan_follow_ups()
        await self.dispatcher.reconcile_all()
        self._announce_catch_up("was not running")
        self._tell(first_fetches(self.engine, await self.dispatcher.fetch_never_fetched()))

    async def _start_alarm_clock(self) -> None:
        self.rounds.start(self._owned)

    async def _start_workers(self) -> None:
        self.engine.start_workers(self._owned)
        self._watching.start(self._owned)
        self._owned.start("pruner", self._pruner.prune_forever())
        await self.engine.publisher.audit()
        if self.engine.calendars.has_work:
            self._owned.start("calendars", self.engine.calendars.keep_up_forever(self._renew_calendars))

    def _renew_calendars(self) -> None:
        self.engine.renew_calendars()
        self.rounds.sweep_soon()

    async def stop(self, why: str = "stopping") -> None:
        """Drains: no new slots, no new tasks; what runs may finish within ``service.drain_timeout``, all in all.

        A second time it does nothing.
        """
        if self._stopped:
            return
        self._stopped = True
        started, was_up = self.clock.monotonic(), self.readiness().state != "failed"
        deadline = started + self.settings.service.drain_timeout / SECOND
        running = sum(executor.running for executor in self.engine.executors)
        if self.failed:
            await self._watching.last_look()
        self._initialisation.stopping()
        self._owned.stopping()
        self.summary = f"{why}; {several(running, 'running task')} may finish" if running else why
        if was_up or self.failed:
            self._say("service.stopping", self.summary)
        self._stop.set()
        self.rounds.stop()
        await self.backups.stop()
        late = await self._drain()
        if self._web is not None:
            await self._web.stop()
        await self.rounds.join(self._owned)
        left = 0.0 if self._hasten.is_set() else max(0.0, deadline - self.clock.monotonic())
        await self.engine.stop_workers(self._owned, seconds=left)
        await self._owned.cancel()
        await self.engine.close()
        took = self.clock.monotonic() - started
        put_back = f"{several(late, 'task')} {'was' if late == 1 else 'were'} put back for the next start"
        rest = f"; {put_back}" if late else ""
        if was_up or self.failed:
            self._say("service.stopped", f"stopped after {took:.1f} s{rest}")
        self._disconnect()

    def readiness(self) -> views.Readiness:
        """Ready it is also while the clock is impossible: a start anew would not mend that. But it says so."""
        seen = self._initialisation.view()
        return seen if seen.problem else seen.model_copy(update={"problem": self.dispatcher.problem})

    async def status(self) -> views.Status:
        seen = await overview(self.engine, self.readiness(), self.started_at, self._impaired())
        watching = await self._watching.shown()
        http = None if self._web is None else self._web.address
        return seen.model_copy(
            update={"http": http, "backup": await view_of(self.backups, self.clock.now()), **watching}
        )

    async def reload(self) -> views.ReloadReport:
        if self._owner is None:
            raise SchedulerServiceError("this service cannot read its configuration anew; stop it and start it again")
        return await self._owner.reload()

    def last_reload(self) -> views.ReloadReport | None:
        return self._owner.last_reload() if self._owner else None

    async def forget_refusals(self) -> None:
        """A person says that the keys are good again."""
        try:
            await self.engine.gates.forget_refusals()
        except StoreError as error:
            self._say("ledger.failed", f"refused keys stay refused: {error}", "ERROR")

    def makes_progress(self) -> bool:
        """Whether its own work comes round; false for good once something has died. A full disk is no hindrance."""
        return not self.failed and self.rounds.makes_progress()

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
        parts = (
            self.dispatcher,
            self.engine.ledger,
            self.engine.publisher,
            self.rounds,
            self._watching,
            self._pruner,
        )
        problems = [part.problem for part in parts]
        reload = self.last_reload()
        if reload is not None and reload.outcome == "rejected":
            problems.append(reload.message)
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
        self._say("service.listening", f"health is answered at {web.address}/healthz and /readyz")

    async def sum_up(self) -> None:
        """Makes ``summary`` anew."""
        try:
            self.summary = await in_one_line(self.engine, self._impaired())
        except StoreError as error:
            self.summary = f"degraded: {error}"

    def died(self, problem: str) -> None:
        """A service without one of its parts is none: it says so, drains and ends, for its supervisor to start anew."""
        self._initialisation.died(problem)
        self.failed = True
        self._stop.set()

    async def _welcome(self) -> None:
        """What is to come is told once the clock can be believed."""
        if self._welcomed or self.dispatcher.problem is not None:
            return
        self._welcomed = True
        self._tell(to_come(self.engine, await pauses(self.engine)))

    def _announce_catch_up(self, what: str) -> None:
        self._tell(caught_up(self.engine, self.dispatcher.take_catch_up(), self.clock.now(), what))

    def _tell(self, events: Iterable[Event]) -> None:
        for event in events:
            self.publish(event)

    async def _after_sweep(self) -> None:
        self._announce_catch_up("nothing was done")
        with suppress(StoreError):
            await self._welcome()
        await self.sum_up()

    def _say(self, name: str, message: str, level: str = "INFO") -> None:
        self.publish(Event(name, message, {"pid": os.getpid()} if name == "service.starting" else {}, level))
