"""One source on the bench: the real gates, ledger and commit around it, the sandbox in memory before it."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson

from scheduler_service.clients.base import discover as discover_clients
from scheduler_service.engine import Engine
from scheduler_service.events.event_bus import EventBus
from scheduler_service.executors.commit import commit
from scheduler_service.executors.local_executor import lane_of
from scheduler_service.initialisation import OwnedTasks
from scheduler_service.processors.base import discover as discover_processors
from scheduler_service.sandbox.memory import MemoryTransport
from scheduler_service.sandbox.upstream import SandboxUpstream
from scheduler_service.settings.load import load
from scheduler_service.stores import document_store, stock_state_store, task_store
from scheduler_service.stores.publisher import LONGEST_DELAY
from tests.fakes import FakeClock
from tests.schema_support import valid_document

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from scheduler_service.models import Outcome, StockState
    from scheduler_service.processors.base import Processor
    from scheduler_service.settings.loaded import Settings
    from scheduler_service.stores.database import Connection

FRESH_FOR = "20m"


class Stored(NamedTuple):
    """What the ledger holds of the bench's (domain, source) and a symbol, without the times of checks."""

    contribution: bytes | None
    document: bytes | None
    changed_at: int | None


class Bench:
    """Fetches from one source as an executor does: claim, process, commit. ``upstream`` says who was asked."""

    def __init__(self, engine: Engine, upstream: SandboxUpstream, clock: FakeClock, domain: str, source: str) -> None:
        self.processor: Processor[Any] = engine.processors[domain]
        self.upstream = upstream
        self.clock = clock
        self._engine = engine
        self._domain = domain
        self.source = source

    async def fetch(self, symbol: str, *, force: bool = False) -> Outcome:
        """A person's fetch. What a processor must not do, raise, comes through."""
        run = await self._engine.dispatcher.fetch(self._domain, [symbol], [self.source], force=force)
        lane = lane_of(self.processor, self.source)
        now = self.clock.now()
        ledger, gates = self._engine.ledger, self._engine.gates
        (task,) = await ledger.run(partial(task_store.claim, lane=lane, now=now, most=9, run_id=run.id))
        ask = gates.for_task(task)
        states = {self.source: await self.state(symbol)}
        said = await self.processor.process(task, states, self._engine.symbol(symbol), ask, now)
        outcome = replace(said, calls=tuple(ask.used), as_of=ask.as_of)
        now = self.clock.now()
        await ledger.run(partial(commit, task=task, outcome=outcome, processor=self.processor, now=now))
        return outcome

    async def state(self, symbol: str) -> StockState:
        return await self._engine.ledger.read(
            lambda conn: stock_state_store.get_state(conn, symbol, self._domain, self.source)
        )

    async def stored(self, symbol: str) -> Stored:
        def unit(conn: Connection) -> Stored:
            said = document_store.contributions(conn, self._domain, symbol).get(self.source)
            documents = document_store.documents(conn, domain=self._domain, symbol=symbol)
            data, changed_at = (documents[0].data, documents[0].changed_at) if documents else (None, None)
            return Stored(said.body if said else None, data, changed_at)

        return await self._engine.ledger.read(unit)

    async def on_disk(self, symbol: str) -> dict[str, Any] | None:
        """The document as its readers find it, with everything published that is to be."""
        publisher = self._engine.publisher
        await publisher.publish_due(ahead=LONGEST_DELAY)
        path = publisher.path(self._domain, symbol)
        said: dict[str, Any] | None = valid_document(orjson.loads(path.read_bytes())) if path.exists() else None
        return said

    def asked(self) -> list[str]:
        """The paths asked for since the last call of this."""
        paths = [seen.path for seen in self.upstream.seen]
        self.upstream.seen.clear()
        return paths


@asynccontextmanager
async def on_the_bench(folder: Path, domain: str, source: str) -> AsyncIterator[Bench]:
    """A bench with a ledger of its own in ``folder``."""
    clock = FakeClock()
    upstream = SandboxUpstream(clock)
    publish = EventBus().publish
    engine = Engine(sandbox_settings(folder), clock, publish, MemoryTransport(upstream, clock))
    owned = OwnedTasks(lambda problem: None)
    try:
        engine.directory.take()
        await engine.open_ledger()
        owned.start("ledger writer", engine.ledger.write_forever())
        await engine.open_gates()
        await engine.recover()
        yield Bench(engine, upstream, clock, domain, source)
    finally:
        owned.stopping()
        engine.ledger.stop_writing()
        await owned.join("ledger writer")
        await engine.close()


def sandbox_settings(folder: Path) -> Settings:
    """Every domain there is, from every source it has, in the sandbox."""
    found = discover_processors()
    sources = {domain: {s.name: s.provider for s in processor.sources} for domain, processor in found.items()}
    domains = {
        domain: {"sources": [{"use": name, "fresh_for": FRESH_FOR} for name in names]}
        for domain, names in sources.items()
    }
    folder.mkdir(exist_ok=True)
    path = folder / "every-source.yaml"
    path.write_bytes(orjson.dumps({"providers": {"sandbox": {"enabled": True}}, "domains": domains}))
    providers = {name: client.Options for name, client in discover_clients().items()}
    return load([path], {}, providers=providers, sources=sources)
