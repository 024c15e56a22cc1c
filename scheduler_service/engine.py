"""The parts that fetch, built and wired: ledger, gates, processors, executors, publisher. No schedules, no clock of
their own.

The service puts the alarm clock, the dispatcher's sweep and the web on top; a person's fetch uses the engine alone.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from scheduler_service import __version__
from scheduler_service.calendar_upkeep import CalendarUpkeep
from scheduler_service.calls import Limits, Request
from scheduler_service.clients.base import discover as discover_clients
from scheduler_service.clients.file_transport import FileTransport
from scheduler_service.clients.http import AiohttpTransport
from scheduler_service.clients.retry_handler import RetryHandler
from scheduler_service.clock import SECOND
from scheduler_service.composing import (
    allowed_hosts,
    build_processors,
    exchanges_told,
    provider_options,
    told_hosts,
    unknown_exchanges,
)
from scheduler_service.dispatcher import Dispatcher
from scheduler_service.errors import TransientClientError
from scheduler_service.executors import fundamental_executor, local_executor
from scheduler_service.executors.fundamental_executor import FundamentalExecutor
from scheduler_service.executors.local_executor import LocalExecutor, lane_of, lanes_of, provider_of
from scheduler_service.executors.reports import run_closed
from scheduler_service.executors.waking import Waker
from scheduler_service.gates.ask import Gates
from scheduler_service.gates.room import Room
from scheduler_service.marks import window_warnings
from scheduler_service.models import Event, Reason, Symbol
from scheduler_service.pruning import Pruner
from scheduler_service.sandbox.routed import RoutedTransport
from scheduler_service.sandbox.server import HOST, SandboxServer
from scheduler_service.sandbox.upstream import SandboxUpstream
from scheduler_service.stores import doubt_store, task_store
from scheduler_service.stores.atomic_files import sweep
from scheduler_service.stores.data_directory import DataDirectory
from scheduler_service.stores.database import Ledger
from scheduler_service.stores.mode import LIVE, SANDBOX, claim_mode
from scheduler_service.stores.publisher import Publisher
from scheduler_service.stores.raw_store import RawFiles, RawStore
from scheduler_service.stores.strategy_log_store import StrategyLog

if TYPE_CHECKING:
    from collections.abc import Callable

    from scheduler_service.calendar_file import Compute
    from scheduler_service.calls import Client, Response, Transport
    from scheduler_service.clock import Clock
    from scheduler_service.executors.base import Executor
    from scheduler_service.executors.commit import Committed
    from scheduler_service.initialisation import OwnedTasks
    from scheduler_service.models import Publish, Task
    from scheduler_service.settings.loaded import Settings

T = TypeVar("T")

DISK_THREADS = 4
PARSE_THREADS = 2
MOST_OF_A_PING = 100_000


class Engine:
    """Everything between a queued task and a document on disk."""

    def __init__(
        self,
        settings: Settings,
        clock: Clock,
        publish: Publish,
        transport: Transport | None = None,
        compute_sessions: Compute | None = None,
        patience: int = 1,
        durable: bool = True,
    ) -> None:
        self.settings = settings
        self._patience = patience
        self.clock = clock
        self.publish = publish
        self.directory = DataDirectory(settings.service.data_dir)
        self.ledger = Ledger(self.directory.ledger, durable=durable)
        self.sandboxed = frozenset(name for name in settings.used_providers if settings.uses_sandbox(name))
        self._disk = ThreadPoolExecutor(DISK_THREADS, thread_name_prefix="disk")
        self._parsing = ThreadPoolExecutor(PARSE_THREADS, thread_name_prefix="parse")
        self._sandbox: SandboxServer | None = None
        self._transport = transport
        self.options = provider_options(settings)
        clients = self._clients()
        self.calendars = CalendarUpkeep(
            folder=self.directory.calendars,
            exchanges=exchanges_told(settings),
            unknown=unknown_exchanges(settings),
            clock=clock,
            publish=publish,
            pool=self._disk,
            compute=compute_sessions,
            patience=patience,
        )
        self.processors = build_processors(settings, clients, self.calendars.calendar)
        floor = settings.monitors.health.disk_floor if durable else 0
        self.room = Room(self.directory.root, floor, clock, publish, self._disk)
        self.publisher = Publisher(
            folder=self.directory.documents,
            ledger=self.ledger,
            pool=self._disk,
            required=self._required,
            sandbox=settings.sandbox,
            clock=clock,
            publish=publish,
            patience=patience,
            durable=durable,
        )
        self.noticed: Callable[[], None] = lambda: None
        """Is told of each commit with new notices."""
        self.planned: Callable[[str], None] = lambda symbol: None
        """Is told of each stock that is to be looked at again at other times than before."""
        self._gates: Gates | None = None
        self.executors: list[Executor] = []
        self.waker = Waker(ledger=self.ledger, clock=clock, lanes_of=lanes_of, notify=self.notify)
        self._client_objects = clients
        self.dispatcher = Dispatcher(
            ledger=self.ledger,
            schedules=settings.schedules,
            watchlist=settings.watchlist,
            processors=self.processors,
            clock=clock,
            publish=publish,
            notify=self.notify,
            calendars=self.calendars.calendar,
        )

    @property
    def gates(self) -> Gates:
        """The providers' gates; open from ``open_gates`` on."""
        assert self._gates is not None
        return self._gates

    def _required(self, domain: str, symbol: str) -> tuple[str, ...]:
        """The sources that a document's ``checked_at`` speaks of."""
        processor = self.processors.get(domain)
        return () if processor is None else processor.required_of(self.symbol(symbol))

    def notify(self) -> None:
        """There may be tasks to run."""
        for executor in self.executors:
            executor.notify()

    def _pass_on(self) -> None:
        for executor in self.executors:
            executor.pass_on()

    def _after_commit(self, task: Task, done: Committed) -> None:
        if done.is_urgent:
            self.publisher.notify()
        if done.noticed:
            self.noticed()
        if done.plans:
            self.planned(task.symbol)

    def renew_calendars(self) -> None:
        """From now on every trigger goes by what is known of its exchanges now."""
        self.dispatcher.renew_calendars()
        for sentence in self.window_warnings():
            self.publish(Event("schedule.excluded", sentence, {}, "WARNING"))

    def window_warnings(self) -> list[str]:
        """A sentence for each schedule whose window lets no slot through on the days that are known."""
        return window_warnings({schedule.id: schedule.trigger for schedule in self.dispatcher.schedules.values()})

    async def open_ledger(self) -> None:
        """Opens the ledger of a directory that is already held, and claims it for this mode."""
        await self.ledger.open()

    async def recover(self) -> None:
        """What a crash left: temporary files, lost calls, tasks cut off in the middle."""
        mode = SANDBOX if self.settings.sandbox else LIVE
        await self.ledger.run(partial(claim_mode, mode=mode, data_dir=str(self.directory.root)))
        await sweep([self.directory.documents, self.directory.raw], executor=self._disk)
        now = self.clock.now()
        await self.ledger.run(partial(doubt_store.note_reader, version=__version__, now=now))
        requeued, closed = await self.ledger.run(partial(task_store.recover, now=now))
        lost = await self.gates.restore()
        for run in closed:
            self.publish(run_closed(run))
        if requeued or lost:
            message = f"the last run was cut off: {requeued} tasks go on, {lost} calls were lost and stay charged"
            self.publish(Event("service.recovered", message, {"tasks": requeued, "calls": lost}, "WARNING"))

    def pruner(self) -> Pruner:
        """Who removes from this directory what is too old."""
        return Pruner(
            self.settings,
            self.ledger,
            RawFiles(self.directory.raw, self._disk),
            self.clock,
            self.publish,
        )

    async def open_gates(self) -> None:
        """The way out: the transport, with the sandbox behind it where it answers."""
        transport = self._transport or await self._open_transport()
        self._transport = transport
        self._gates = Gates(
            ledger=self.ledger,
            raw=RawStore(self.directory.raw, self._disk, self.off_loop),
            clients=self._client_objects,
            options=self.options,
            sandboxed=self.sandboxed,
            transport=transport,
            retry=RetryHandler(max_retries=3, base_delay=1.0, clock=self.clock),
            clock=self.clock,
            off_loop=self.off_loop,
            publish=self.publish,
            room=self.room,
        )

    def build_executors(self, run_id: int | None = None) -> None:
        """The lanes' executors; with ``run_id`` they carry out that run alone."""
        lanes = {lane_of(p, source) for p in self.processors.values() for source in p.policies}
        paid = [lane for lane in lanes if self.options[provider_of(lane)].usd_per_call > 0]
        settings = self.settings.executor
        per_provider = {name: options.concurrency for name, options in self.options.items()}
        kinds = [
            (
                LocalExecutor,
                LocalExecutor.plan(lanes, settings.concurrency, per_provider),
                local_executor.DEADLINE,
            ),
            (
                FundamentalExecutor,
                FundamentalExecutor.plan(lanes, settings.slow_lane),
                fundamental_executor.DEADLINE,
            ),
        ]
        self.executors = [
            kind(
                lanes=planned,
                deadline=deadline,
                ledger=self.ledger,
                gates=self.gates,
                processors=self.processors,
                symbol=self.symbol,
                clock=self.clock,
                publish=self.publish,
                committed=self._after_commit,
                yielding=paid,
                run_id=run_id,
                patience=self._patience,
                passed_on=self._pass_on,
            )
            for kind, planned, deadline in kinds
        ]

    def start_workers(self, owned: OwnedTasks, run_id: int | None = None) -> None:
        """Lanes and publisher, as owned tasks; with ``run_id`` they carry out that run alone."""
        self.build_executors(run_id)
        for executor in self.executors:
            for lane in executor.lanes:
                owned.start(f"lane {lane}", executor.work_forever(lane))
        owned.start("publisher", self.publisher.publish_forever())
        owned.start("waker", self.waker.wake_forever())

    async def stop_workers(self, owned: OwnedTasks, seconds: float) -> int:
        """Drains the lanes, publishes, lets the requests under way come home and writes the ledger out, within
        ``seconds`` each for tasks and requests; returns how many tasks were put back.
        """
        late = sum(await asyncio.gather(*(executor.drain(seconds) for executor in self.executors)))
        self.publisher.stop()
        await owned.join("publisher")
        await self.land(seconds)
        self.ledger.stop_writing()
        await owned.join("ledger writer")
        return late

    def symbol(self, name: str) -> Symbol:
        """The watched stock of that name, or one that a person just named."""
        return self.dispatcher.watchlist.get(name) or Symbol(name)

    async def off_loop(self, function: Callable[..., T], *args: Any) -> T:
        """Runs a function on the parsing pool."""
        return await asyncio.get_running_loop().run_in_executor(self._parsing, partial(function, *args))

    async def ping(self, url: str) -> None:
        """Asks an address that the configuration names, for nothing but that it was asked. Raises ``ClientError``."""
        answer = await self.send(Request(url), Limits(max_bytes=MOST_OF_A_PING, timeout=10.0))
        if answer.status >= 400:
            raise TransientClientError(f"it answered {answer.status}", Reason.PROVIDER_DOWN)

    async def send(self, request: Request, limits: Limits) -> Response:
        """One request to nobody's provider, by the transport's rules. Raises ``ClientError``."""
        assert self._transport is not None
        return await self._transport.send(request, limits)

    def strategy_log(self) -> StrategyLog:
        """Where what was noticed is written down."""
        return StrategyLog(self.directory.strategy_log, self._disk)

    async def land(self, seconds: float) -> None:
        """Lets the requests under way come home; while the ledger still writes, so that their answers are kept."""
        if self._gates is not None:
            await self._gates.close(seconds)

    async def close(self) -> None:
        """Gives everything back, in the reverse order; harmless when only half of it was opened."""
        await self.land(0)
        if self._transport is not None:
            await self._transport.close()
        if self._sandbox is not None:
            await self._sandbox.stop()
        await self.ledger.close()
        self._disk.shutdown(wait=True)
        self._parsing.shutdown(wait=True)
        self.directory.release()

    async def _open_transport(self) -> Transport:
        hosts = (*allowed_hosts(self.options.values()), *told_hosts(self.settings))
        files = [path for options in self.options.values() for path in options.files()]
        if not self.sandboxed:
            return FileTransport(AiohttpTransport(hosts), files)
        latency = self.settings.sandbox_options.latency / SECOND
        upstream = SandboxUpstream(self.clock, latency=latency, calendars=self.calendars.calendar)
        self._sandbox = SandboxServer(upstream, self.clock)
        server = await self._sandbox.start()
        return FileTransport(RoutedTransport(AiohttpTransport((*hosts, HOST)), server), files)

    def _clients(self) -> dict[str, Client]:
        found = discover_clients()
        return {name: found[name](options, self.clock) for name, options in self.options.items()}
