"""One process, one configuration after another: signals, reloads, and what the service manager hears of it all."""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import contextmanager, suppress
from dataclasses import fields
from typing import TYPE_CHECKING, Literal, NamedTuple

from loguru import logger
from pydantic import BaseModel

from scheduler_service import cost_change, log_setup
from scheduler_service.background_scheduler import BackgroundScheduler, Owner
from scheduler_service.clock import SECOND
from scheduler_service.errors import ConfigurationError, Problem, SchedulerServiceError
from scheduler_service.initialisation import OwnedTasks
from scheduler_service.models import Event
from scheduler_service.settings.loaded import Settings
from scheduler_service.supervisor import BEAT
from scheduler_service.web.views import ReloadReport

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from scheduler_service.clock import Clock
    from scheduler_service.supervisor import Supervisor

SECONDS_TO_START = 300.0
SECONDS_BEYOND_DRAIN = 30.0
"""How long a start, and the end of a stop, may take before they count as stuck."""

_WITHOUT_EFFECT = ("origins", "warnings")
_WRITTEN_AS = {"sandbox_options": "providers", "used_providers": "providers", "off": "providers", "files": "its files"}
_STANDARD_INPUT = 0


class Configured(NamedTuple):
    """Settings, a sentence that says where they are from, and what stands in the token file that they name."""

    settings: Settings
    note: str = ""
    token: bytes = b""


class ReloadingService:
    """A scheduler, and after each reload that changes something another one in its place."""

    def __init__(
        self,
        configured: Configured,
        read: Callable[[], Configured],
        supervisor: Supervisor,
        clock: Clock,
        build: Callable[[Configured, Owner], BackgroundScheduler] | None = None,
    ) -> None:
        """``read`` gives the configuration as it is now, or raises ``ConfigurationError``; it runs on a thread."""
        self._configured = configured
        self._read = read
        self._supervisor = supervisor
        self._clock = clock
        self._build = build or self._build_scheduler
        self._owned = OwnedTasks(self._died)
        self._scheduler = self._build(configured, self)
        self._patient_until = 0.0
        self._stopping = False
        self._wanted = asyncio.Event()
        self._asking: list[asyncio.Future[ReloadReport]] = []
        self._asked_before_reading: list[asyncio.Future[ReloadReport]] = []
        self._reloads = 0
        self._last: ReloadReport | None = None
        self._had_terminal = os.isatty(_STANDARD_INPUT)
        self._unfed = False

    async def run(self) -> int:
        """Until a signal ends it: 0 after a clean drain, 1 when something it needs has died.

        Raises what keeps the first configuration from starting, with everything given back.
        """
        with self._signals():
            if self._supervisor.listens:
                self._owned.start("word to the supervisor", self._beat_forever())
            try:
                serves = await self._start()
                while serves and (changed := await self._next()) is not None:
                    serves = await self._replace(changed)
            finally:
                self._supervisor.stopping("stopping")
                await self._stop("stopping")
                self._owned.stopping()
                await self._owned.cancel()
        return 1 if self._scheduler.failed else 0

    def request_stop(self) -> None:
        """Asks for a drain; asked a second time, for a quick one. Also ends a reload that is under way."""
        self._stopping = True
        self._scheduler.request_stop()

    def request_reload(self) -> None:
        """Has the configuration read anew; at once, or when the start or the reload under way is over."""
        self._wanted.set()

    async def reload(self) -> ReloadReport:
        """As ``request_reload``; says what will be done, as soon as that is known.

        Who asks while the configuration is being read hears of the next reading: this one may have missed a change.
        """
        answer: asyncio.Future[ReloadReport] = asyncio.get_running_loop().create_future()
        self._asking.append(answer)
        self.request_reload()
        return await answer

    def last_reload(self) -> ReloadReport | None:
        return self._last

    def _build_scheduler(self, configured: Configured, owner: Owner) -> BackgroundScheduler:
        return BackgroundScheduler(configured.settings, clock=self._clock, config_note=configured.note, owner=owner)

    async def _start(self) -> bool:
        """Starts what has been built; false when a stop was asked for on the way. Raises as ``run``."""
        self._be_patient(SECONDS_TO_START)
        if not await self._scheduler.start():
            return False
        self._supervisor.ready(self._scheduler.summary)
        self._be_patient(0)
        await cost_change.note(self._scheduler.engine.ledger, self._configured.settings, self._clock.now())
        if not self._configured.token:  # the start may have made one
            self._configured = await asyncio.to_thread(with_token, self._configured.settings, self._configured.note)
        return True

    async def _stop(self, why: str) -> None:
        self._be_patient(self._configured.settings.service.drain_timeout / SECOND + SECONDS_BEYOND_DRAIN)
        await self._scheduler.stop(why)

    async def _next(self) -> Configured | None:
        """The next configuration that differs from this one; None when it is time to stop."""
        stop = asyncio.create_task(self._scheduler.until_stop())
        try:
            while True:
                wanted = asyncio.create_task(self._wanted.wait())
                await asyncio.wait((stop, wanted), return_when=asyncio.FIRST_COMPLETED)
                wanted.cancel()
                if stop.done():
                    return None
                self._wanted.clear()
                changed = await self._read_anew()
                if changed is not None:
                    return changed
                await self._scheduler.sum_up()
                self._beat()
        finally:
            stop.cancel()

    async def _read_anew(self) -> Configured | None:
        self._reloads += 1
        self._asked_before_reading, self._asking = self._asking, []
        try:
            read = await asyncio.to_thread(self._read)
            refuse_to_move(self._configured.settings, read.settings)
            differs = differences(self._configured, read)
            if differs:
                self._log_as(read)
        except Exception as error:  # whatever it is, the service goes on
            self._reject(_problems(error))
            return None
        if not differs:
            self._configured = read
            await self._scheduler.forget_refusals()
            self._reloaded("unchanged", "the configuration was read anew, and nothing in it has changed")
            return None
        message = f"the configuration has changed ({', '.join(differs)}); the service restarts"
        self._answer(ReloadReport(number=self._reloads, outcome="restarting", message=message))
        return read

    async def _replace(self, changed: Configured) -> bool:
        """The changed configuration in place of this one, or this one again where that one cannot start."""
        before, started = self._configured, self._clock.monotonic()
        why = f"restarting with the changed configuration ({', '.join(differences(before, changed))})"
        self._put_off()
        self._supervisor.reloading(why)
        await self._stop(why)
        if self._stopping or self._scheduler.failed:
            return False
        self._configured = changed
        try:
            self._scheduler = self._build(changed, self)
            serves = await self._start()
        except Exception as error:  # whatever it is, the one before could start
            await self._stop("stopping")
            self._log_as(before)
            self._configured = before
            self._scheduler = self._build(before, self)
            self._reject(_problems(error))
            return not self._stopping and await self._start()
        if serves:
            await self._scheduler.forget_refusals()
            took = self._clock.monotonic() - started
            asks = await asyncio.to_thread(cost_change.between, before.settings, changed.settings, self._clock.now())
            message = f"the service has restarted with the changed configuration, in {took:.1f} s"
            self._reloaded("restarted", f"{message}; {asks}" if asks else message)
        return serves

    def _reject(self, problems: list[str]) -> None:
        for problem in problems:
            self._publish("config.rejected", f"the changed configuration is not used: {problem}", "ERROR")
        rest = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        message = f"the configuration that was read last is not used, the one before stays: {problems[0]}{rest}"
        self._answer(ReloadReport(number=self._reloads, outcome="rejected", message=message, problems=tuple(problems)))

    def _reloaded(self, outcome: Literal["unchanged", "restarted"], message: str) -> None:
        self._publish("config.reloaded", message)
        self._answer(ReloadReport(number=self._reloads, outcome=outcome, message=message))

    def _answer(self, report: ReloadReport) -> None:
        self._last = report
        asking, self._asked_before_reading = self._asked_before_reading, []
        _tell(asking, report)

    def _put_off(self) -> None:
        """Who asked too late for this reading would otherwise wait through the drain, and be cut off at its end."""
        asking, self._asking = self._asking, []
        message = "the service restarts with what was read before, then the configuration is read anew"
        _tell(asking, ReloadReport(number=self._reloads + 1, outcome="restarting", message=message))

    def _publish(self, name: str, message: str, level: str = "INFO") -> None:
        self._scheduler.publish(Event(name, message, {}, level))

    def _log_as(self, configured: Configured) -> None:
        """Raises ``ConfigurationError``, and goes on logging as before."""
        if configured.settings.logging == self._configured.settings.logging:
            return
        try:
            set_up_log(configured.settings)
        except ConfigurationError:
            set_up_log(self._configured.settings)
            raise

    @contextmanager
    def _signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        handlers = {
            signal.SIGTERM: self.request_stop,
            signal.SIGINT: self.request_stop,
            signal.SIGHUP: self._hung_up,
        }
        for number, handler in handlers.items():
            loop.add_signal_handler(number, handler)
        try:
            yield
        finally:
            for number in handlers:
                loop.remove_signal_handler(number)

    def _hung_up(self) -> None:
        """The terminal it was started in was closed, or somebody wants a reload: the signal is the same."""
        if self._had_terminal and not os.isatty(_STANDARD_INPUT):
            self.request_stop()
        else:
            self.request_reload()

    async def _beat_forever(self) -> None:
        every = min(BEAT, self._supervisor.watchdog / 2 if self._supervisor.watchdog else BEAT)
        while True:
            self._beat()
            await self._clock.sleep(every)

    def _beat(self) -> None:
        """The watchdog is fed only while the scheduler itself gets on, not because this task does."""
        serves = self._scheduler.readiness().ready
        if self._clock.monotonic() < self._patient_until or (serves and self._scheduler.makes_progress()):
            self._unfed = False
            self._supervisor.alive(self._scheduler.summary, ready=serves)
            return
        self._supervisor.still("stuck: the schedules are not looked at any more")
        if not self._unfed:
            self._unfed = True
            self._publish("service.degraded", "the schedules are not looked at any more: something is stuck", "ERROR")

    def _be_patient(self, seconds: float) -> None:
        self._patient_until = self._clock.monotonic() + seconds

    def _died(self, problem: str) -> None:
        self._scheduler.died(problem)


def set_up_log(settings: Settings) -> None:
    """The log as the settings want it. Raises ``ConfigurationError`` where its file cannot be opened."""
    log_setup.setup(settings.logging.level, settings.logging.format, settings.logging.file)


def with_token(settings: Settings, note: str) -> Configured:
    """The settings with the token that they name, so that a new token counts as a change."""
    token = b""
    if settings.http.token_file is not None:
        with suppress(OSError):  # missing or unreadable: the start makes it, or says what is wrong
            token = settings.http.token_file.read_bytes()
    return Configured(settings, note, token)


def refuse_to_move(old: Settings, new: Settings) -> None:
    """Every command looks for the service where its data lies. Raises ``ConfigurationError`` where that has changed."""
    lies, wanted = old.service.data_dir.absolute(), new.service.data_dir.absolute()
    if lies != wanted:
        path, right = "service.data_dir", f"restart the service to change it from {lies} to {wanted}"
        raise ConfigurationError([Problem(new.line_of(path), path, "it is read at the start only", right)])


def differences(old: Configured, new: Configured) -> list[str]:
    """The sections that differ. Where a setting is written is none: comments and order may change."""
    names = [field.name for field in fields(Settings) if field.name not in _WITHOUT_EFFECT]
    found = [name for name in names if _plain(getattr(old.settings, name)) != _plain(getattr(new.settings, name))]
    token = ["the token of the HTTP port"] if old.token != new.token else []
    return list(dict.fromkeys([*(_WRITTEN_AS.get(name, name) for name in found), *token]))


def _tell(asking: list[asyncio.Future[ReloadReport]], report: ReloadReport) -> None:
    for answer in asking:
        if not answer.done():
            answer.set_result(report)


def _problems(error: Exception) -> list[str]:
    """What is wrong, in sentences; a mistake of the program's own goes to the log in full."""
    if isinstance(error, ConfigurationError):
        return [str(problem) for problem in error.problems]
    if not isinstance(error, SchedulerServiceError):
        logger.opt(exception=error).bind(event="service.failed").error("a reload failed")
    return [str(error) or type(error).__name__]


def _plain(value: object) -> object:
    """Some sections get their type when they are loaded, so that two of the same content are not equal."""
    return dict(value) if isinstance(value, BaseModel) else value
