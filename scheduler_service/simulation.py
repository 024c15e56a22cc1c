"""The real service on a virtual machine: same facade, dispatcher, executors, processors and gates; its time passes by
itself, its upstreams are the sandbox in memory, and its disk is a folder that is thrown away.

What happens is a function of configuration, start, faults and seed. The service's own looks at what nobody told it of
(its sweep, say) come less often than on a machine where wake-ups get lost: ``PATIENCE``.
"""

from __future__ import annotations

import asyncio
import tempfile
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from pydantic import SecretStr

from scheduler_service.background_scheduler import BackgroundScheduler
from scheduler_service.backups.restore import Restorer
from scheduler_service.backups.rotation import parse_name
from scheduler_service.calendar_file import path_of
from scheduler_service.calendar_format import calendar_text
from scheduler_service.clock import DAY, SECOND
from scheduler_service.composing import provider_options
from scheduler_service.errors import CalendarsNotComputed, SchedulerServiceError
from scheduler_service.market_time import ELAPSED
from scheduler_service.rounds import SWEEP_EVERY
from scheduler_service.sandbox.alert_sink import FOLDER
from scheduler_service.sandbox.bundle import with_stand_ins
from scheduler_service.sandbox.memory import BASE
from scheduler_service.sandbox.stand_in import StandIn
from scheduler_service.sandbox.upstream import SandboxUpstream
from scheduler_service.settings.providers import KeyedOptions
from scheduler_service.simulation_faults import RESTARTS_AFTER, ClockStep, Crash, Outage, Restore, Storm
from scheduler_service.simulation_report import Heard, Report, report
from scheduler_service.stores.data_directory import DataDirectory
from scheduler_service.stores.database import Ledger
from scheduler_service.stores.mode import LIVE, SANDBOX
from scheduler_service.virtual_time import VirtualClock, VirtualLoop, seeded
from scheduler_service.windows import usual_hours

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from scheduler_service.clock import Instant, Micros
    from scheduler_service.market_calendar import Calendar
    from scheduler_service.market_time import Ageing
    from scheduler_service.models import Event, Symbol
    from scheduler_service.settings.loaded import Settings
    from scheduler_service.simulation_faults import Happening, Trouble

T = TypeVar("T")

PATIENCE = 240
"""How many times longer than usual the service waits before it looks by itself: in virtual time no wake-up is lost."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is simulated: from when, how long, with which faults in their order, and what chance is drawn from."""

    start: Instant
    days: int
    seed: int = 0
    happenings: tuple[Happening, ...] = ()

    @property
    def lasts(self) -> Micros:
        return self.days * DAY


def simulate(
    settings: Settings,
    plan: Plan,
    calendars: Iterable[Calendar] = (),
    passed: Callable[[int], None] = lambda days: None,
) -> Report:
    """Runs the configuration through the plan. ``calendars``: of the exchanges that it needs. ``passed`` is told how
    many days have passed.

    Raises ``SchedulerServiceError`` where the service does not start.
    """
    with tempfile.TemporaryDirectory(prefix="simulation-") as name:
        machine = Machine(alone(settings, Path(name) / "data"), plan, tuple(calendars), passed)
        machine.run()
        return machine.report()


def alone(settings: Settings, folder: Path) -> Settings:
    """The configuration, with its data and backups in a folder of its own, keys that nobody has, and its alerts and
    pings sent to the sandbox.
    """
    told = tuple(SecretStr(f"{BASE}{FOLDER}{n}") for n, _ in enumerate(settings.alerts.urls, 1))
    ping = None if settings.monitors.health.ping_url is None else SecretStr(f"{BASE}{FOLDER}ping")
    health = settings.monitors.health.model_copy(update={"ping_url": ping})
    return replace(
        settings,
        service=settings.service.model_copy(update={"data_dir": folder}),
        logging=settings.logging.model_copy(update={"file": None}),
        backup=settings.backup.model_copy(update={"directory": None}),
        alerts=settings.alerts.model_copy(update={"urls": told}),
        monitors=settings.monitors.model_copy(update={"health": health}),
        providers={n: _without_keys(o) for n, o in settings.providers.items()},
    )


def _without_keys(options: T) -> T:
    if not isinstance(options, KeyedOptions):
        return options
    invented = tuple(SecretStr(f"invented-key-{n}") for n in range(1, len(options.api_keys) + 1))
    return options.model_copy(update={"api_keys": invented})


@dataclass
class Machine:
    """A machine on which the service runs, is killed, and is started again. ``settings``: as ``alone`` makes them."""

    settings: Settings
    plan: Plan
    calendars: Sequence[Calendar]
    passed: Callable[[int], None] = lambda days: None
    starts: int = 0

    def __post_init__(self) -> None:
        self.clock = VirtualClock(self.plan.start)
        self.heard = Heard(str(self.settings.service.data_dir))
        names = {
            name: watched.name or f"{name} Stand-in Inc"
            for watched in self.settings.watchlist
            for name in (watched.symbol, *watched.aliases.values())
        }
        latency = self.settings.sandbox_options.latency / SECOND
        known = {calendar.name: calendar for calendar in self.calendars}
        self.upstream = SandboxUpstream(
            self.clock,
            companies=with_stand_ins(names),
            latency=latency,
            calendars=lambda name: known.get(name) or usual_hours(name),
            seed=self.plan.seed,
        )
        self.transport = StandIn(self.upstream, self.clock, provider_options(self.settings))
        self._ahead = list(self.plan.happenings)
        self._service: BackgroundScheduler | None = None
        self._loop: VirtualLoop | None = None
        self._restores = False

    def run(self) -> None:
        folder = self.settings.service.data_dir / "calendars"
        folder.mkdir(parents=True)
        for calendar in self.calendars:
            path_of(folder, calendar.name).write_bytes(calendar_text(calendar))
        while self._left() > 0:
            if self.starts:
                self.clock.pass_by(RESTARTS_AFTER)
            self.starts += 1
            self._live(1_000 * self.plan.seed + self.starts)
            if self._restores:
                self._restores = False
                self._restore()

    def report(self) -> Report:
        """Of what has happened, from the ledger and from what the upstreams were asked."""

        async def look() -> Report:
            ledger = Ledger(self.settings.service.data_dir / "ledger.sqlite")
            await ledger.open_query_only()
            try:
                return await ledger.read(
                    lambda conn: report(
                        conn,
                        self.settings,
                        self.plan.start,
                        self.plan.lasts,
                        self.starts,
                        self.heard,
                        self.transport.asked,
                        self._required,
                        self._ageing,
                    )
                )
            finally:
                await ledger.close()

        return asyncio.run(look())

    def _required(self, domain: str, symbol: Symbol) -> Sequence[str]:
        processor = None if self._service is None else self._service.engine.processors.get(domain)
        return () if processor is None else processor.required_of(symbol)

    def _ageing(self, domain: str, symbol: Symbol) -> Ageing:
        processor = None if self._service is None else self._service.engine.processors.get(domain)
        return ELAPSED if processor is None else processor.ageing(symbol)

    def _left(self) -> Micros:
        return self.plan.lasts - self.clock.elapsed

    def _live(self, seed: int) -> None:
        """One life of the process, from its start to its stop or its death."""
        self._loop = loop = VirtualLoop(self.clock, seed, latencies=False)
        with seeded(seed):
            main = loop.create_task(self._serve(), name="main")
            main.add_done_callback(lambda _: loop.stop())
            loop.run_forever()
            if loop.killed:
                self._buried()
            else:
                loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()
        if not loop.killed:
            main.result()

    def _buried(self) -> None:
        """The kernel gives back what the killed process held."""
        assert self._service is not None
        self._service.engine.ledger.abandon()
        self._service.engine.directory.release()

    def _restore(self) -> None:
        directory = DataDirectory(self.settings.service.data_dir)
        made = [made for path in directory.backups.glob("*") if (made := parse_name(path.name)) is not None]
        if not made:
            raise SchedulerServiceError("there is no backup to restore; set backup.trigger to have some made before")
        newest = directory.backups / max(made, key=lambda one: one.made_at).name
        mode = SANDBOX if self.settings.sandbox else LIVE
        Restorer(newest, directory.root, mode=mode, now=self.clock.now()).restore()

    async def _serve(self) -> None:
        self._service = service = BackgroundScheduler(
            self.settings,
            clock=self.clock,
            transport=self.transport,
            compute_sessions=_none_computed,
            web=False,
            log=self._heard,
            patience=PATIENCE,
            durable=False,
        )
        try:
            await service.start()
            while self._ahead and not service.failed and not self._restores and self._left() > 0:
                await self._until(service, self._ahead[0].after)
                if not service.failed and self.clock.elapsed >= self._ahead[0].after:
                    await self._befall(service, self._ahead.pop(0).trouble)
            if not self._restores:
                await self._until(service, self.plan.lasts)
        except Exception:  # and no "finally": of a killed process not one line runs, nor when it is collected
            await service.stop("the simulation ends")
            raise
        await service.stop("a backup is restored" if self._restores else "the simulation ends")

    def _heard(self, event: Event) -> None:
        self.heard.hear(event, self.clock.now())

    async def _until(self, service: BackgroundScheduler, elapsed: Micros) -> None:
        """Or until the service fails."""
        while not service.failed and self.clock.elapsed < elapsed:
            midnight = (self.clock.elapsed // DAY + 1) * DAY
            with suppress(TimeoutError):
                async with asyncio.timeout((min(midnight, elapsed) - self.clock.elapsed) / SECOND):
                    await service.until_stop()
            self.passed(self.clock.elapsed // DAY)

    async def _befall(self, service: BackgroundScheduler, trouble: Trouble) -> None:
        match trouble:
            case Crash():
                assert self._loop is not None
                self._loop.die()
                await asyncio.get_running_loop().create_future()  # of which nothing ever comes
            case ClockStep(by):
                self.clock.jump(by)
                await self._until(service, min(self.clock.elapsed + round(SWEEP_EVERY * SECOND), self.plan.lasts))
                service.rounds.sweep_soon()
            case Restore():
                self._restores = True
            case Outage(provider, lasts):
                self.transport.cut_off(provider, lasts)
            case Storm():
                self.upstream.faults.add(trouble.fault(self.clock.now()))


async def _none_computed(arguments: Sequence[str]) -> bytes:
    """Calendars were computed before the simulation began."""
    raise CalendarsNotComputed(f"in a simulation nothing is computed anew ({' '.join(arguments)})")
