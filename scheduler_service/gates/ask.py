"""The only way out of the house: flight( retry( kept -> closed -> budget -> rate -> ONE request -> keep, settle ) ).

One flight per resource: whoever asks for it meanwhile waits for the same answer. The flight belongs to the gates, so
that a caller that gives up does not take the answer from the others. Every HTTP try passes every gate, is reserved in
the ledger before it leaves and settled after. An answer is kept before it is parsed: a crash or a parser's fault
never pays twice.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import OrderedDict
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from scheduler_service.clock import to_datetime
from scheduler_service.errors import (
    ClientError,
    PermanentClientError,
    RateLimited,
    StoreError,
    TransientClientError,
)
from scheduler_service.gates.gate import Gate
from scheduler_service.gates.request import conditional, is_good, request_hash
from scheduler_service.models import Answer, Event, Reason
from scheduler_service.stores import call_store
from scheduler_service.stores.call_store import CallState, GateRow, KeptRow, NewAnswer, NewCall, Spend, Use

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from scheduler_service.clients.retry_handler import RetryHandler
    from scheduler_service.clock import Clock, Instant
    from scheduler_service.models import Client, OffLoop, Publish, Resource, Response, Task, Transport
    from scheduler_service.settings.providers import ProviderOptions
    from scheduler_service.stores.database import Ledger
    from scheduler_service.stores.raw_store import RawStore

T = TypeVar("T")

MOST_LOST = 2
"""A task whose answer was lost this often gives up: an answer is asked again at most once."""
QUIET_WITHOUT_RETRY_AFTER = 60.0
SMALL_BODY = 64 * 1024
"""Bytes that are parsed faster on the loop than on the way to a thread."""
PARSED_ANSWERS = 8
NOT_MODIFIED = 304


@dataclass(frozen=True, slots=True)
class Kept:
    """An answer as it was kept, unpacked."""

    row: KeptRow
    body: bytes
    checked_at: Instant
    asked: bool


@dataclass(slots=True)
class _Flight:
    tasks: list[int]
    call_id: int | None = None
    landing: asyncio.Task[Kept] = field(init=False)


class Gates:
    """All providers' gates, and the one path through them."""

    def __init__(
        self,
        *,
        ledger: Ledger,
        raw: RawStore,
        clients: Mapping[str, Client],
        options: Mapping[str, ProviderOptions],
        sandboxed: frozenset[str],
        transport: Transport,
        retry: RetryHandler,
        clock: Clock,
        off_loop: OffLoop,
        publish: Publish,
    ) -> None:
        self._ledger = ledger
        self._raw = raw
        self._clients = clients
        self._sandboxed = sandboxed
        self._transport = transport
        self._retry = retry
        self._clock = clock
        self._off_loop = off_loop
        self._publish = publish
        self._flights: dict[tuple[str, bytes, bool], _Flight] = {}
        self._parsed: OrderedDict[tuple[int, Callable[[bytes], Any]], asyncio.Future[Any]] = OrderedDict()
        self.by_provider = {name: Gate(name, options[name], clock) for name in clients}

    async def restore(self) -> int:
        """Takes up what the ledger remembers; returns how many calls a crash lost."""
        now = self._clock.now()
        day = to_datetime(now).date().isoformat()
        lost = await self._ledger.run(lambda conn: call_store.mark_lost(conn, now))
        rows, today, month = await self._ledger.read(
            lambda conn: (
                call_store.gates(conn, now),
                call_store.spend_on(conn, day),
                call_store.spend_in_month(conn, day[:7]),
            )
        )
        for name, gate in self.by_provider.items():
            gate.restore(rows, today.get(name, Spend()), month.get(name, Spend()), day)
        return lost

    async def close(self) -> None:
        """Waits for the flights under way, so that what was asked is also kept."""
        await asyncio.gather(*(flight.landing for flight in self._flights.values()), return_exceptions=True)

    def for_task(self, task: Task) -> TaskAsk:
        """The ``Ask`` of one task."""
        return TaskAsk(self, task)

    async def kept(self, resource: Resource, task: Task) -> Kept:
        """The resource's answer, kept or asked. Raises ``Held`` or ``ClientError``."""
        since = task.due_at if task.force else None
        key = (resource.key, request_hash(resource.request), task.force)
        flight = self._flights.get(key)
        if flight is None:
            flight = _Flight([task.id])
            self._flights[key] = flight
            flight.landing = asyncio.create_task(self._fly(key, flight, resource, since), name=f"call {resource.key}")
            flight.landing.add_done_callback(_retrieve)
        else:
            await self._join(flight, resource, task)
        return await asyncio.shield(flight.landing)

    async def parsed(self, kept: Kept, parse: Callable[[bytes], T]) -> T:
        """What the parser says of a kept answer; large bodies are parsed off the loop, and once for all who ask
        alike.
        """
        key = (kept.row.call_id, parse)
        future = self._parsed.get(key)
        if future is None:
            if len(kept.body) <= SMALL_BODY:
                return parse(kept.body)
            future = asyncio.ensure_future(self._off_loop(parse, kept.body))
            future.add_done_callback(_retrieve)
            self._parsed[key] = future
            while len(self._parsed) > PARSED_ANSWERS:
                self._parsed.popitem(last=False)
        try:
            value: T = await asyncio.shield(future)
        except Exception:
            self._parsed.pop(key, None)
            raise
        return value

    def is_sandbox(self, provider: str) -> bool:
        return provider in self._sandboxed

    async def _join(self, flight: _Flight, resource: Resource, task: Task) -> None:
        self._publish(_event("call.joined", f"joined a call under way for {resource.key}", resource, level="DEBUG"))
        if task.id in flight.tasks:
            return
        flight.tasks.append(task.id)
        call_id = flight.call_id
        if call_id is not None:
            await self._ledger.run(lambda conn: call_store.use(conn, task.id, call_id, Use.JOINED))

    async def _fly(
        self, key: tuple[str, bytes, bool], flight: _Flight, resource: Resource, since: Instant | None
    ) -> Kept:
        def on_retry(error: TransientClientError, tries: int, wait: float) -> None:
            message = f"try {tries} of {resource.key} failed, the next in {wait:.1f} s: {error}"
            self._publish(_event("call.failed", message, resource, level="WARNING", reason=error.reason))

        try:
            return await self._retry.run(lambda: self._try(flight, resource, since), on_retry=on_retry)
        finally:
            del self._flights[key]

    async def _try(self, flight: _Flight, resource: Resource, since: Instant | None) -> Kept:
        leader = flight.tasks[0]
        row, lost = await self._ledger.read(
            lambda conn: (
                call_store.kept(conn, resource.key, leader),
                call_store.lost_calls(conn, leader, resource.key),
            )
        )
        body = await self._raw.get(row.call_id, row.body) if row is not None else None
        if row is not None and body is not None and is_good(row, resource, since, self._clock.now()):
            return Kept(row, body, row.checked_at, asked=False)
        if lost >= MOST_LOST:
            message = f"the answer of {resource.key} was lost {lost} times; it is not asked for again by this task"
            raise PermanentClientError(message, Reason.LOST)
        gate = self.by_provider[resource.provider]
        async with gate.concurrency:
            rate_until = await gate.enter(usd_micros=0)
            call_id = await self._reserve(flight, resource, rate_until)
            before = Kept(row, body, row.checked_at, asked=False) if row is not None and body is not None else None
            return await self._request(gate, call_id, resource, before)

    async def _reserve(self, flight: _Flight, resource: Resource, rate_until: Instant | None) -> int:
        now = self._clock.now()
        day = to_datetime(now).date().isoformat()
        told = len(flight.tasks)
        new = NewCall(resource.key, resource.provider, tuple(flight.tasks), 0, day, rate_until)
        call_id = await self._ledger.run(lambda conn: call_store.reserve(conn, new, now))
        flight.call_id = call_id
        for late in flight.tasks[told:]:  # joined while the reservation was being committed
            await self._ledger.run(partial(call_store.use, task_id=late, call_id=call_id, how=Use.JOINED))
        return call_id

    async def _request(self, gate: Gate, call_id: int, resource: Resource, before: Kept | None) -> Kept:
        started = self._clock.monotonic()
        status: int | None = None
        try:
            response = await self._transport.send(
                conditional(resource.request, before.row if before else None), resource.limits
            )
            status = response.status
            if status == NOT_MODIFIED and before is not None:
                return await self._confirm(call_id, resource, before)
            self._clients[resource.provider].check(resource, response)
        except ClientError as error:
            await self._settle_failed(gate, call_id, error, status)
            raise
        except BaseException:
            await self._settle(call_id, CallState.FAILED, status=status, reason=Reason.CANCELLED)
            raise
        answer = await self._keep(call_id, resource, response)
        took = round((self._clock.monotonic() - started) * 1000)
        message = f"{resource.key}: {status}, {len(response.body)} bytes in {took} ms"
        self._publish(_event("call.completed", message, resource, level="DEBUG", duration_ms=took, cost_usd=0))
        return answer

    async def _keep(self, call_id: int, resource: Resource, response: Response) -> Kept:
        packed = await self._raw.put(call_id, response.body)
        new = NewAnswer(
            url=response.url,
            content_type=response.content_type,
            request_sha256=request_hash(resource.request),
            sandbox=resource.provider in self._sandboxed,
            size=len(response.body),
            sha256=hashlib.sha256(response.body).digest(),
            body=packed,
            revision=resource.revision,
            etag=response.headers.get("etag"),
            last_modified=response.headers.get("last-modified"),
        )
        now = self._clock.now()

        def unit(conn: Any) -> KeptRow | None:
            call_store.keep(conn, call_id, resource.key, new, now)
            call_store.settle(conn, call_id, CallState.KEPT, now, status=response.status, bytes=len(response.body))
            return call_store.kept(conn, resource.key, None)

        row = await self._ledger.run(unit)
        assert row is not None
        return Kept(row, response.body, now, asked=True)

    async def _confirm(self, call_id: int, resource: Resource, before: Kept) -> Kept:
        now = self._clock.now()

        def unit(conn: Any) -> None:
            call_store.confirm(conn, resource.key, resource.revision, now)
            call_store.settle(conn, call_id, CallState.UNCHANGED, now, status=NOT_MODIFIED)

        await self._ledger.run(unit)
        return Kept(before.row, before.body, now, asked=True)

    async def _settle_failed(self, gate: Gate, call_id: int, error: ClientError, status: int | None) -> None:
        closed: GateRow | None = None
        now = self._clock.now()
        if isinstance(error, RateLimited):
            quiet = QUIET_WITHOUT_RETRY_AFTER if error.retry_after is None else error.retry_after
            closed = GateRow(now + round(quiet * 1e6), now, error.reason)
            gate.close_until(closed)
            fields = {"provider": gate.provider, "reason": error.reason}
            message = f"{gate.provider} asks for quiet: no call for {quiet:.0f} s"
            self._publish(Event("call.throttled", message, fields, "WARNING"))
        await self._settle(
            call_id, CallState.FAILED, gate=gate.provider, closed=closed, status=status, reason=error.reason
        )

    async def _settle(
        self, call_id: int, state: CallState, *, gate: str = "", closed: GateRow | None = None, **outcome: object
    ) -> None:
        now = self._clock.now()

        def unit(conn: Any) -> None:
            call_store.settle(conn, call_id, state, now, **outcome)
            if closed is not None:
                call_store.put_gate(conn, gate, call_store.CLOSED, closed)

        try:
            await self._ledger.run(unit)
        except StoreError as error:  # the call stays reserved, which is charged all the same
            self._publish(Event("call.failed", f"call {call_id} could not be settled: {error}", level="WARNING"))


class TaskAsk:
    """``ask`` as one task has it: remembers which answers its outcome is made of."""

    def __init__(self, gates: Gates, task: Task) -> None:
        self._gates = gates
        self._task = task
        self.used: list[int] = []
        self.as_of: Instant = 0

    async def __call__(self, resource: Resource, parse: Callable[[bytes], T]) -> Answer[T]:
        kept = await self._gates.kept(resource, self._task)
        if kept.row.call_id not in self.used:
            self.used.append(kept.row.call_id)
        self.as_of = max(self.as_of, kept.checked_at)
        value = await self._gates.parsed(kept, parse)
        return Answer(
            value, str(kept.row.call_id), kept.row.url, kept.row.fetched_at, kept.row.sandbox, asked=kept.asked
        )


def _event(name: str, message: str, resource: Resource, *, level: str, **fields: object) -> Event:
    return Event(name, message, {"provider": resource.provider, **fields}, level)


def _retrieve(future: asyncio.Future[Any]) -> None:
    """Nobody may be left to look at a flight's error; it was settled and logged where it happened."""
    if not future.cancelled():
        future.exception()
