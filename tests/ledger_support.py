"""A ledger to test on, a domain of two lines, and executors whose processor does what a test says."""

from __future__ import annotations

import asyncio
import json
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, cast

from sqlalchemy import select

from scheduler_service.clock import HOUR, from_iso
from scheduler_service.executors.commit import LAZY_PUBLICATION
from scheduler_service.executors.local_executor import LocalExecutor
from scheduler_service.models import Contribution, Kind, Outcome, Record, RunOrigin, StockState, Symbol, TaskState
from scheduler_service.processors.base import Processor, SourcePolicy
from scheduler_service.stores import document_store, schedule_store, task_store
from scheduler_service.stores.database import Ledger
from scheduler_service.stores.publisher import Publisher
from scheduler_service.stores.schedule_store import NewRun
from scheduler_service.stores.schema import document, task
from scheduler_service.stores.task_store import NewTask, Rank
from tests.fakes import FakeClock

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
    from pathlib import Path

    from scheduler_service.calls import Ask
    from scheduler_service.clock import Clock, Instant
    from scheduler_service.executors.base import Executor
    from scheduler_service.executors.commit import Committed
    from scheduler_service.gates.ask import Gates
    from scheduler_service.models import Event, Task
    from scheduler_service.stores.database import Connection
    from scheduler_service.stores.schedule_store import RunRow

NOW = from_iso("2026-11-23T14:30:00Z")
LANE = "post"


@asynccontextmanager
async def open_ledger(path: Path) -> AsyncIterator[Ledger]:
    """An open ledger with its writer; closed as the service closes it."""
    ledger = Ledger(path)
    await ledger.open()
    writer = asyncio.create_task(ledger.write_forever(), name="writer")
    try:
        yield ledger
    finally:
        ledger.stop_writing()
        await asyncio.gather(writer, return_exceptions=True)
        await ledger.close()


class NoteData(Record):
    words: tuple[str, ...]
    fetched_at: str = ""


class Desk:
    """A source that is never asked: the tests make the outcomes."""

    name: ClassVar[str] = "desk"
    provider: ClassVar[str] = LANE
    kind: ClassVar[Kind] = Kind.FEED
    slow: ClassVar[bool] = False

    def __init__(self, client: object) -> None:
        del client

    async def collect(self, ask: Ask, state: StockState, symbol: Symbol) -> Contribution[NoteData]:
        raise NotImplementedError


class Attic(Desk):
    name: ClassVar[str] = "attic"
    kind: ClassVar[Kind] = Kind.MODEL
    slow: ClassVar[bool] = True


class Notes(Processor[NoteData]):
    """The newest words of each source, in the merge's order. ``act`` stands for the way from a task to its outcome."""

    domain = "notes"
    record = NoteData
    sources: ClassVar[tuple[type[Desk], ...]] = (Desk, Attic)

    def __init__(self, act: Callable[[Task, Ask], Awaitable[Outcome]] | None = None) -> None:
        policies = [SourcePolicy("desk", HOUR), SourcePolicy("attic", HOUR)]
        super().__init__({LANE: None}, policies)  # type: ignore[dict-item]
        self.act = act

    def merge(self, contributions: Sequence[Contribution[NoteData]]) -> NoteData:
        return NoteData(words=tuple(word for said in contributions for word in said.data.words))

    async def process(
        self, task: Task, states: Mapping[str, StockState], symbol: Symbol, ask: Ask, now: Instant
    ) -> Outcome:
        del states, symbol, now
        assert self.act is not None
        return await self.act(task, ask)


class Diary(Notes):
    """Events: what was said before stays."""

    def accumulate(self, previous: NoteData | None, new: NoteData, now: Instant) -> NoteData:
        del now
        old = previous.words if previous else ()
        return NoteData(words=tuple(sorted({*old, *new.words})), fetched_at=new.fetched_at)


def said(*words: str, as_of: Instant = NOW, fetched_at: str = "", kind: Kind = Kind.FEED) -> Outcome:
    """A completed task's outcome that contributes these words."""
    body = NoteData(words=words, fetched_at=fetched_at).model_dump_json().encode()
    return Outcome(TaskState.COMPLETED, contribution=body, kind=kind, as_of=as_of)


class PaperAsk:
    """What the executor looks at of an ``ask``."""

    def __init__(self) -> None:
        self.used: list[int] = []
        self.as_of: Instant = NOW


class PaperGates:
    def for_task(self, task: Task) -> PaperAsk:
        del task
        return PaperAsk()


def add_run(
    conn: Connection,
    symbols: Sequence[str],
    *,
    sources: Sequence[str] = ("desk",),
    lane: str = LANE,
    rank: Rank = Rank.NORMAL,
    not_before: Instant = 0,
    expires_at: Instant | None = None,
    origin: RunOrigin = RunOrigin.MANUAL,
    due_at: Instant = NOW,
    now: Instant = NOW,
    domain: str = "notes",
) -> RunRow:
    """A run with all its tasks."""
    run = schedule_store.add_run(conn, NewRun(origin, domain, due_at, "{}"), now)
    tasks = [NewTask(symbol, source, lane, rank, not_before, expires_at) for symbol in symbols for source in sources]
    task_store.add_tasks(conn, run, tasks, "", last=True, now=now)
    return schedule_store.get_run(conn, run.id)


async def queue(ledger: Ledger, *symbols: str, **details: Any) -> RunRow:
    return await ledger.run(partial(add_run, symbols=symbols, **details))


def named(events: Sequence[Event], name: str) -> list[Event]:
    return [event for event in events if event.name == name]


class Workshop:
    """An executor at work on a ledger; ``act`` is what becomes of each task."""

    def __init__(
        self,
        ledger: Ledger,
        clock: Clock,
        act: Callable[[Task, Ask], Awaitable[Outcome]],
        *,
        kind: type[Executor] = LocalExecutor,
        lanes: Mapping[str, int] | None = None,
        deadline: float = 300.0,
        processor: Notes | None = None,
        yielding: Collection[str] = (),
        run_id: int | None = None,
    ) -> None:
        self.ledger = ledger
        self.clock = clock
        self.events: list[Event] = []
        self.commits = 0
        self.processor = processor or Notes()
        self.processor.act = act
        self.executor = kind(
            lanes={LANE: 2} if lanes is None else lanes,
            deadline=deadline,
            ledger=ledger,
            gates=cast("Gates", PaperGates()),
            processors={"notes": self.processor},
            symbol=Symbol,
            clock=clock,
            publish=self.hear,
            committed=self.count,
            yielding=yielding,
            run_id=run_id,
        )
        self._lanes = [
            asyncio.create_task(self.executor.work_forever(lane), name=f"lane {lane}") for lane in self.executor.lanes
        ]

    def hear(self, event: Event) -> None:
        self.events.append(event)

    def count(self, task: Task, done: Committed) -> None:
        del task
        self.commits += done.is_urgent

    def said(self, name: str) -> list[str]:
        return [event.message for event in named(self.events, name)]

    async def close(self, seconds: float = 60.0) -> int:
        """Drains; returns how many tasks were put back."""
        late = await self.executor.drain(seconds)
        await asyncio.gather(*self._lanes)
        return late

    async def tasks(self) -> dict[str, str]:
        """Symbol to state, with the reason where there is one."""
        query = select(task.c.symbol, task.c.state, task.c.reason).order_by(task.c.id)
        rows = await self.ledger.read(lambda conn: conn.execute(query).all())
        return {row.symbol: f"{row.state}({row.reason})" if row.reason else row.state for row in rows}


class House:
    """A ledger, its documents, and their publisher."""

    def __init__(self, ledger: Ledger, folder: Path, clock: Clock, pool: ThreadPoolExecutor) -> None:
        self.ledger = ledger
        self.folder = folder
        self.clock = clock
        self.events: list[Event] = []
        self.publisher = Publisher(
            folder=folder,
            ledger=ledger,
            pool=pool,
            required=lambda domain, symbol: ("desk",) if domain == "notes" else (),
            sandbox=True,
            clock=clock,
            publish=self.hear,
        )

    def hear(self, event: Event) -> None:
        self.events.append(event)

    async def put(self, *symbols: str, words: str = "first", domain: str = "notes") -> None:
        now, data = self.clock.now(), json.dumps({"words": [words]}).encode()

        def unit(conn: Connection) -> None:
            for symbol in symbols:
                document_store.put_document(conn, domain, symbol, data, now)

        await self.ledger.run(unit)

    async def refresh(self, symbol: str) -> None:
        refreshed = partial(document_store.refresh_envelope, domain="notes", symbol=symbol, pause=LAZY_PUBLICATION)
        await self.ledger.run(partial(refreshed, now=self.clock.now()))

    async def waiting(self) -> set[str]:
        query = select(document.c.symbol).where(document.c.publish_after.is_not(None))
        return await self.ledger.read(lambda conn: set(conn.scalars(query)))

    def path(self, symbol: str) -> Path:
        return self.folder / "notes" / f"{symbol}.json"

    def words(self, symbol: str) -> list[str]:
        said: list[str] = json.loads(self.path(symbol).read_bytes())["data"]["words"]
        return said


@asynccontextmanager
async def open_house(root: Path, pool: ThreadPoolExecutor, clock: Clock | None = None) -> AsyncIterator[House]:
    """The ledger in ``root``, the documents in a folder of it."""
    async with open_ledger(root / "ledger.sqlite") as ledger:
        yield House(ledger, root / "documents", clock or FakeClock(), pool)
