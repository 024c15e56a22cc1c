"""A dispatcher on a real ledger in virtual time, with a machine that starts, stops and kills its process."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from scheduler_service.clock import DAY, HOUR, MINUTE, to_iso
from scheduler_service.dispatcher import Dispatcher
from scheduler_service.executors.commit import commit
from scheduler_service.models import Contribution, Event, Kind, Outcome, Record, Symbol, Task, TaskState
from scheduler_service.processors.base import Processor, SourcePolicy
from scheduler_service.settings.loaded import Schedule
from scheduler_service.stores import task_store
from scheduler_service.stores.database import Ledger
from scheduler_service.triggers import parse_trigger
from tests.virtual_time import START, Killed, VirtualClock, VirtualProcess

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence
    from pathlib import Path

    from scheduler_service.calls import Ask
    from scheduler_service.clock import Instant
    from scheduler_service.models import StockState

T = TypeVar("T")

ZONE = "America/New_York"
SYMBOLS = ("AAPL", "MSFT", "NVDA")


class Wire:
    """A source that is never asked here."""

    name: ClassVar[str] = "wire"
    provider: ClassVar[str] = "alpha"
    kind: ClassVar[Kind] = Kind.FEED
    slow: ClassVar[bool] = False

    def __init__(self, client: object) -> None:
        del client

    async def collect(self, ask: Ask, state: StockState, symbol: Symbol) -> Contribution[Any]:
        raise NotImplementedError


class Filings(Wire):
    name: ClassVar[str] = "filings"
    provider: ClassVar[str] = "beta"
    slow: ClassVar[bool] = True


class Planned(Processor[Record]):
    """Only planned for here, never carried out."""

    record = Record

    def merge(self, contributions: Sequence[Contribution[Record]]) -> Record:
        raise AssertionError("nothing is fetched, so nothing is merged")


class Numbers(Planned):
    domain = "numbers"
    sources = (Wire, Filings)


class Words(Planned):
    domain = "words"
    sources = (Wire,)


def processors(*, without: str | None = None) -> dict[str, Processor[Any]]:
    """Two domains: numbers from wire and filings, words from wire. ``without``: a domain, or a source of numbers."""
    clients: dict[str, Any] = {"alpha": None, "beta": None}
    policies = [SourcePolicy(name, HOUR) for name in ("wire", "filings") if name != without]
    built: dict[str, Processor[Any]] = {
        "numbers": Numbers(clients, policies),
        "words": Words(clients, [SourcePolicy("wire", HOUR)]),
    }
    return {domain: processor for domain, processor in built.items() if domain != without}


def a_schedule(schedule_id: str = "hourly", **different: Any) -> Schedule:
    """Hourly numbers of every symbol, unless ``different`` says otherwise; ``trigger`` as in the YAML."""
    trigger = parse_trigger(different.pop("trigger", {"every": "1h"}), ZONE)
    plain = Schedule(
        id=schedule_id,
        domain="numbers",
        symbols="all",
        trigger=trigger,
        catch_up="latest",
        catch_up_window=DAY,
        overlap="skip",
        spread=0,
        priority="normal",
        enabled=True,
    )
    return replace(plain, **different)


@dataclass
class Life:
    """What a process holds in memory."""

    process: VirtualProcess
    ledger: Ledger
    dispatcher: Dispatcher
    writer: asyncio.Task[None] | None = None


class Bench:
    """One machine and one data directory. ``now`` is where its clock stands; ``events`` what all processes said;
    ``lives`` counts them; ``on_notify`` is called where the executors would be woken.
    """

    def __init__(self, folder: Path, start: Instant | str = START, *, seed: int = 0) -> None:
        self.path = folder / "ledger.sqlite"
        self.clock = VirtualClock(start)
        self.events: list[Event] = []
        self.life: Life | None = None
        self.on_notify: Callable[[], object] = lambda: None
        self._seed = seed
        self.lives = 0
        self._dead: list[Life] = []
        self._other: sqlite3.Connection | None = None
        self._reader: sqlite3.Connection | None = None

    @property
    def now(self) -> Instant:
        return self.clock.now()

    @property
    def dispatcher(self) -> Dispatcher:
        assert self.life is not None
        return self.life.dispatcher

    def boot(
        self,
        *schedules: Schedule,
        watch: Sequence[str | Symbol] = SYMBOLS,
        without: str | None = None,
        kill_after: int | None = None,
    ) -> None:
        """Starts a process as the service does, up to the sweep. Raises ``Killed``, and what start-up raises."""
        assert self.life is None
        self.lives += 1
        ledger = Ledger(self.path)
        dispatcher = Dispatcher(
            ledger=ledger,
            schedules=schedules,
            watchlist=[symbol if isinstance(symbol, Symbol) else Symbol(symbol) for symbol in watch],
            processors=processors(without=without),
            clock=self.clock,
            publish=self.publish,
            notify=self._notified,
        )
        self.life = Life(VirtualProcess(self.clock, 1000 * self._seed + self.lives), ledger, dispatcher)
        try:
            self.do(self._start(self.life), kill_after=kill_after)
        except Exception:
            self.kill()
            raise

    async def _start(self, life: Life) -> None:
        await life.ledger.open()
        life.writer = asyncio.create_task(life.ledger.write_forever(), name="ledger writer")
        await life.ledger.run(partial(task_store.recover, now=self.now))
        await life.dispatcher.sync()
        await life.dispatcher.reconcile_all()

    def publish(self, event: Event) -> None:
        self.events.append(event)

    def _notified(self) -> None:
        self.on_notify()

    def do(self, work: Coroutine[Any, Any, T], *, kill_after: int | None = None) -> T:
        """A piece of work in the living process. Raises ``Killed``."""
        assert self.life is not None
        try:
            return self.life.process.do(work, kill_after=kill_after)
        except Killed:
            self.kill()
            raise

    def sweep(self, *, kill_after: int | None = None) -> None:
        self.do(self.dispatcher.reconcile_all(), kill_after=kill_after)

    def kill(self) -> None:
        """The process is gone without a word; the kernel closes its files."""
        if self.life is not None:
            self.life.process.kill()
            for connection in (self.life.ledger._write_connection, self.life.ledger._read_connection):
                if connection is not None:
                    connection.connection.dbapi_connection.close()  # type: ignore[union-attr]
            self._dead.append(self.life)
            self.life = None

    def stop(self) -> None:
        """The process ends in order."""

        async def close(life: Life) -> None:
            await life.ledger.close()
            if life.writer is not None:
                await life.writer

        if self.life is not None:
            self.do(close(self.life))
            self.life.process.kill()
            self.life = None

    def restart(self, *schedules: Schedule, **named: Any) -> None:
        self.stop()
        self.boot(*schedules, **named)

    def later(self, micros: int) -> None:
        self.clock.pass_by(micros)

    def lock(self) -> None:
        """Another program writes to the ledger, and does not come to an end."""
        if self._other is None:
            self._other = sqlite3.connect(self.path, isolation_level=None)
            self._other.execute("BEGIN IMMEDIATE")

    def unlock(self) -> None:
        if self._other is not None:
            self._other.close()
            self._other = None

    def close(self) -> None:
        self.unlock()
        self.kill()
        if self._reader is not None:
            self._reader.close()

    def claim(self, most: int = 1000) -> list[Task]:
        """Starts up to ``most`` tasks of each lane, as the workers do."""

        async def claimed() -> list[Task]:
            assert self.life is not None
            tasks: list[Task] = []
            for lane in ("alpha", "beta:slow"):
                tasks += await self.life.ledger.run(partial(task_store.claim, lane=lane, now=self.now, most=most))
            return tasks

        return self.do(claimed())

    def end(self, tasks: Sequence[Task], outcome: Outcome | None = None) -> None:
        """Ends tasks as the workers do; completed, unless an outcome is given."""
        done = outcome or Outcome(TaskState.COMPLETED)

        async def ended() -> None:
            assert self.life is not None
            for task in tasks:
                await self.life.ledger.run(partial(commit, task=task, outcome=done, processor=None, now=self.now))

        self.do(ended())

    def work(self) -> int:
        """Carries out everything that may start now; returns how many tasks that was."""
        tasks = self.claim()
        self.end(tasks)
        return len(tasks)

    def sql(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        if self._reader is None:
            self._reader = sqlite3.connect(self.path, isolation_level=None)
        return self._reader.execute(query, values).fetchall()

    def sql_write(self, statement: str, *values: object) -> None:
        with closing(sqlite3.connect(self.path, isolation_level=None)) as connection:
            connection.execute(statement, values)

    def history(self, schedule_id: str = "hourly") -> list[str]:
        """A schedule's slots as people read them: ``15:00 ran``, ``15:00-17:00 3 skipped(paused)``; newest last."""
        rows = self.sql(
            "select due_at, until_at, slots, outcome, reason from slot where schedule_id = ? order by due_at",
            schedule_id,
        )
        return [_in_words(*row) for row in rows]

    def tasks(self, columns: str = "symbol, source, state, reason") -> list[tuple[Any, ...]]:
        return self.sql(f"select {columns} from task order by id")


def _in_words(due_at: Instant, until_at: Instant, slots: int, outcome: str, reason: str | None) -> str:
    when = clock_time(due_at) + (f"-{clock_time(until_at)} {slots}" if slots > 1 else "")
    return f"{when} {outcome}" + (f"({reason})" if reason else "")


def clock_time(instant: Instant) -> str:
    """``15:00``, of an instant's UTC time."""
    return to_iso(instant - instant % MINUTE)[11:16]
