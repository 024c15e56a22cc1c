"""The gates on a real ledger, before the sandbox in memory, in virtual time: what the tests of the gates share."""

from __future__ import annotations

import asyncio
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, closing
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from scheduler_service.calls import Limits, Request, Resource, Response
from scheduler_service.clients.base import check_status
from scheduler_service.clients.edgar_client import EdgarClient
from scheduler_service.clients.feed_client import FeedClient
from scheduler_service.clients.retry_handler import RetryHandler
from scheduler_service.clock import DAY
from scheduler_service.gates.ask import Gates
from scheduler_service.models import RunOrigin, Symbol, Task
from scheduler_service.sandbox.memory import BASE, MemoryTransport
from scheduler_service.sandbox.upstream import SandboxUpstream, urls
from scheduler_service.settings.providers import ProviderOptions
from scheduler_service.stores import task_store
from scheduler_service.stores.database import Ledger
from scheduler_service.stores.raw_store import RawStore
from scheduler_service.stores.schedule_store import NewRun, add_run
from scheduler_service.stores.task_store import NewTask, Rank
from tests.integration.paid_support import PaidClient

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from scheduler_service.calls import Transport
    from scheduler_service.clock import Instant
    from scheduler_service.gates.room import Room
    from scheduler_service.models import Event
    from scheduler_service.stores.database import Connection
    from tests.virtual_time import VirtualClock

T = TypeVar("T")

AAPL = 320193
CIKS = (320193, 1045810, 1640147, 9990000001, 9990000002, 9990000003, 9990000005, 9990000004)
LATENCY = 0.05
NEVER = 1_000_000
"""A hop that no life reaches."""
FAST: dict[str, Any] = {"requests_per_second": None, "requests_per_minute": None}
"""Options of a provider without a rate."""


class Call(NamedTuple):
    """A row of the ledger's table of calls."""

    id: int
    resource: str
    provider: str
    state: str
    status: int | None
    reason: str | None
    settled: int


class PlainClient:
    """A provider that means by its statuses what everyone means."""

    provider = "plain"

    def __init__(self, clock: VirtualClock) -> None:
        self._clock = clock

    def check(self, resource: Resource, response: Response) -> None:
        del resource
        check_status(response, self._clock.now())


class Told:
    """A transport that answers what it is told to: a response, or an error to raise, one a request."""

    def __init__(self, *replies: Response | BaseException) -> None:
        self.replies = list(replies)
        self.seen: list[Request] = []

    async def send(self, request: Request, limits: Limits) -> Response:
        del limits
        self.seen.append(request)
        await asyncio.sleep(LATENCY)
        reply = self.replies.pop(0)
        if isinstance(reply, BaseException):
            raise reply
        return reply

    async def close(self) -> None: ...


class KilledOnTheWay:
    """A transport at whose ``at``-th request the process is killed."""

    def __init__(self, inner: Transport, at: int = 1) -> None:
        self._inner = inner
        self._left = at

    async def send(self, request: Request, limits: Limits) -> Response:
        self._left -= 1
        response = await self._inner.send(request, limits)
        if self._left == 0:
            asyncio.get_running_loop().die()  # type: ignore[attr-defined]
            await asyncio.Event().wait()
        return response

    async def close(self) -> None: ...


class House:
    """Gates in the middle of one life of a process."""

    def __init__(
        self,
        folder: Path,
        clock: VirtualClock,
        upstream: SandboxUpstream,
        transport: Transport | None,
        options: dict[str, dict[str, Any]],
        room: Room | None = None,
    ) -> None:
        self.folder = folder
        self.clock = clock
        self.upstream = upstream
        self.events: list[Event] = []
        self.ledger = Ledger(folder / "ledger.sqlite")
        self.pool = ThreadPoolExecutor(1)
        where = urls(BASE)
        self.edgar_options = EdgarClient.Options(**where["edgar"], **options.get("edgar", FAST))
        self.feed_options = FeedClient.Options(**(where["feeds"] | options.get("feeds", FAST)))
        self.edgar = EdgarClient(self.edgar_options, clock)
        self.feeds = FeedClient(self.feed_options, clock)
        self.plain = PlainClient(clock)
        self.paid_options = PaidClient.Options(**options.get("paid", {}))
        self.gates = Gates(
            ledger=self.ledger,
            raw=RawStore(folder / "raw", self.pool, self.off_loop),
            clients={"edgar": self.edgar, "feeds": self.feeds, "plain": self.plain, "paid": PaidClient(clock)},
            options={
                "edgar": self.edgar_options,
                "feeds": self.feed_options,
                "plain": ProviderOptions(**options.get("plain", {})),
                "paid": self.paid_options,
            },
            sandboxed=frozenset(("edgar", "feeds")),
            transport=transport or MemoryTransport(upstream, clock),
            retry=RetryHandler(max_retries=3, base_delay=1.0, clock=clock),
            clock=clock,
            off_loop=self.off_loop,
            publish=self.publish,
            room=room,
        )
        self.lost = 0

    def publish(self, event: Event) -> None:
        self.events.append(event)

    async def off_loop(self, function: Callable[..., T], *args: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(self.pool, partial(function, *args))

    async def tasks(self, count: int, *, force: bool = False) -> list[Task]:
        """New tasks, claimed."""
        now = self.clock.now()

        def unit(conn: Connection) -> list[Task]:
            run = add_run(conn, NewRun(RunOrigin.MANUAL, "news", now, "", force=force), now)
            new = [NewTask(f"S{n}", "feeds", "any", Rank.NORMAL, now) for n in range(count)]
            task_store.add_tasks(conn, run, new, "", last=True, now=now)
            return task_store.claim(conn, "any", now, count, run_id=run.id)

        return await self.ledger.run(unit)

    async def task(self, *, force: bool = False) -> Task:
        return (await self.tasks(1, force=force))[0]

    async def ask(self, resource: Resource, task: Task | None = None) -> Any:
        """The answer with its body as value; a new task asks where none is given."""
        return await self.gates.for_task(task or await self.task())(resource, whole)

    def feed(self, symbol: str = "AAPL") -> Resource:
        return self.feeds.feeds(Symbol(symbol))[0]

    def calls(self) -> list[Call]:
        return calls(self.folder)

    def settled(self) -> list[tuple[str, str | None]]:
        """State and reason of every call, in order; none may be left reserved."""
        assert all(call.settled for call in self.calls())
        return [(call.state, call.reason) for call in self.calls()]

    def uses(self) -> list[tuple[int, int, str]]:
        return rows(self.folder, "SELECT task_id, call_id, how FROM call_use ORDER BY call_id, task_id")

    def spent(self) -> int:
        return spent(self.folder)

    @property
    def asked(self) -> list[str]:
        """The paths the sandbox was asked for."""
        return [seen.path for seen in self.upstream.seen]


@asynccontextmanager
async def house(
    folder: Path,
    clock: VirtualClock,
    upstream: SandboxUpstream,
    *,
    transport: Transport | None = None,
    room: Room | None = None,
    **options: dict[str, Any],
) -> AsyncIterator[House]:
    """One life, from opening the ledger to closing it; ``options`` by provider."""
    it = House(folder, clock, upstream, transport, options, room)
    await it.ledger.open()
    writer = asyncio.create_task(it.ledger.write_forever(), name="ledger writer")
    it.lost = await it.gates.restore()
    try:
        yield it
    finally:
        await it.gates.close()
        it.ledger.stop_writing()
        await writer
        await it.ledger.close()


def sandbox(clock: VirtualClock) -> SandboxUpstream:
    return SandboxUpstream(clock, latency=LATENCY)


def plain(name: str = "thing", *, max_age: int = DAY, revision: str | None = None) -> Resource:
    """A resource of the plain provider."""
    return Resource("plain", f"plain:{name}", Request(f"http://127.0.0.1/{name}"), max_age, revision)


def response(
    status: int = 200, body: bytes = b"body", *, etag: str | None = None, retry_after: str | None = None
) -> Response:
    headers = {"etag": etag, "retry-after": retry_after}
    given = {name: value for name, value in headers.items() if value is not None}
    return Response(status, given, body, "http://127.0.0.1/thing")


def whole(body: bytes) -> bytes:
    """The parser that takes everything."""
    return body


def rows(folder: Path, query: str) -> list[Any]:
    with closing(sqlite3.connect(f"file:{folder / 'ledger.sqlite'}?mode=ro", uri=True)) as conn:
        return conn.execute(query).fetchall()


def calls(folder: Path) -> list[Call]:
    query = "SELECT id, resource_key, provider, state, status, reason, settled_at IS NOT NULL FROM call ORDER BY id"
    return [Call(*row) for row in rows(folder, query)]


def spent(folder: Path) -> int:
    """Calls charged, on all days."""
    return sum(count for (count,) in rows(folder, "SELECT calls FROM spend"))


def gaps(instants: list[Instant]) -> list[int]:
    return [later - earlier for earlier, later in pairwise(instants)]


async def every(*asks: Awaitable[Any]) -> list[Any]:
    """What each of them, all at once, returns or raises."""
    return await asyncio.gather(*asks, return_exceptions=True)
