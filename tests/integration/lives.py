"""A machine whose processes each live for one fetch: the real engine in virtual time, before the sandbox in memory."""

from __future__ import annotations

import json
import sqlite3
from contextlib import asynccontextmanager, closing
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from scheduler_service.engine import Engine
from scheduler_service.events.event_bus import EventBus
from scheduler_service.fetching import make_run
from scheduler_service.initialisation import OwnedTasks
from scheduler_service.models import StockState, Symbol
from scheduler_service.sandbox.memory import MemoryTransport
from scheduler_service.sandbox.upstream import SandboxUpstream
from scheduler_service.stores import history, stock_state_store, task_store
from scheduler_service.web.views import FetchRequest
from tests.contract.bench import sandbox_settings
from tests.schema_support import valid_document
from tests.virtual_time import VirtualClock, run, run_until_killed

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
    from pathlib import Path

    from scheduler_service.models import Event

LATENCY = 0.02


class Ended(NamedTuple):
    """How a task ended."""

    state: str
    reason: str | None
    message: str | None


class Machine:
    """``asked``: the paths that the sandbox was asked for, ever. ``events``: what all processes said."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.clock = VirtualClock()
        self.upstream = SandboxUpstream(self.clock, latency=LATENCY)
        self.events: list[Event] = []
        self._watched: tuple[str, ...] = ()
        self._lives = 0
        self._held: Engine | None = None
        self._published: dict[Path, bytes] = {}

    def fetch(self, domain: str, *symbols: str, **how: Any) -> dict[tuple[str, str], Ended]:
        """One life: a person's fetch, carried out. By symbol and source."""
        request = FetchRequest(domain=domain, symbols=symbols, **how)

        async def then(engine: Engine) -> dict[tuple[str, str], Ended]:
            made = await make_run(engine, request)
            rows = await self.work(engine, made.id)
            return {(row.symbol, row.source): Ended(row.state, row.reason, row.message) for row in rows}

        ended: dict[tuple[str, str], Ended] = self.live(then)
        return ended

    def fetch_until_killed(self, hop: int, domain: str, *symbols: str, **how: Any) -> bool:
        """The same, killed at that touch of the disk; False: it ended before. Nothing is queued a second time."""
        request = FetchRequest(domain=domain, symbols=symbols, **how)

        async def life(clock: VirtualClock) -> None:
            del clock
            async with self._engine() as engine:
                if not await engine.ledger.read(partial(history.recent_tasks, since=0)):
                    await make_run(engine, request)
                await self.work(engine)

        self._lives += 1
        killed = run_until_killed(life, hop=hop, clock=self.clock, seed=self._lives)
        if killed and self._held is not None:
            self._held.directory.release()  # as the kernel does
        return killed

    def go_on(self) -> None:
        """A life that carries out what is left."""
        self.live(self.work)

    def live(self, then: Callable[[Engine], Awaitable[Any]]) -> Any:
        async def life(clock: VirtualClock) -> Any:
            del clock
            async with self._engine() as engine:
                return await then(engine)

        self._lives += 1
        said = run(life, clock=self.clock, seed=self._lives)
        self._check_documents()
        return said

    def watch(self, *symbols: str) -> None:
        """From the next life on."""
        self._watched = symbols

    @property
    def asked(self) -> list[str]:
        return [seen.path for seen in self.upstream.seen]

    def said(self, name: str) -> list[str]:
        return [event.message for event in self.events if event.name == name]

    def state(self, symbol: str, domain: str, source: str) -> StockState:
        async def then(engine: Engine) -> StockState:
            look = partial(stock_state_store.get_state, symbol=symbol, domain=domain, source=source)
            return await engine.ledger.read(look)

        state: StockState = self.live(then)
        return state

    def document(self, domain: str, symbol: str) -> Any:
        path = self.folder / "data" / "documents" / domain / f"{symbol}.json"
        return valid_document(json.loads(path.read_bytes()))

    def _check_documents(self) -> None:
        """Whatever was published is valid against its schema, whether a test reads it or not."""
        for path in (self.folder / "data" / "documents").glob("*/[A-Z]*.json"):
            body = path.read_bytes()
            if self._published.get(path) != body:
                valid_document(json.loads(body))
                self._published[path] = body

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(self.folder / "data" / "ledger.sqlite")) as connection:
            return connection.execute(sql).fetchall()

    async def work(self, engine: Engine, run_id: int | None = None) -> Sequence[history.TaskRow]:
        owned = OwnedTasks(lambda problem: None)
        engine.start_workers(owned, run_id)
        while await engine.ledger.read(task_store.state_counts):
            await self.clock.sleep(0.2)
        owned.stopping()
        for executor in engine.executors:
            await executor.drain(0)
        engine.publisher.stop()
        await owned.join("publisher")
        await owned.cancel()
        return await engine.ledger.read(partial(history.recent_tasks, since=0, run_id=run_id, limit=100_000))

    @asynccontextmanager
    async def _engine(self) -> AsyncIterator[Engine]:
        bus = EventBus()
        bus.subscribe("*", self.events.append)
        watched = tuple(Symbol(name) for name in self._watched)
        settings = replace(sandbox_settings(self.folder), watchlist=watched)
        engine = Engine(settings, self.clock, bus.publish, MemoryTransport(self.upstream, self.clock))
        self._held = engine
        owned = OwnedTasks(lambda problem: None)
        engine.directory.take()
        try:
            await engine.open_ledger()
            owned.start("ledger writer", engine.ledger.write_forever())
            await engine.open_gates()
            await engine.recover()
            yield engine
        finally:
            owned.stopping()
            await engine.land(1.0)
            engine.ledger.stop_writing()
            await owned.join("ledger writer")
            await engine.close()
