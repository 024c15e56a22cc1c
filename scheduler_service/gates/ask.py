"""The only way out of the house: flight( retry( kept -> closed -> budget -> rate -> ONE request -> keep, settle ) ).

One flight per resource: whoever asks for it meanwhile waits for the same answer. The flight belongs to the gates, so
that a caller that gives up does not take the answer from the others. Every HTTP try passes every gate. A kept answer
is parsed as often as need be: a crash or a parser's fault never pays twice.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from scheduler_service.calls import Answer
from scheduler_service.clients.base import shown
from scheduler_service.clock import HOUR
from scheduler_service.errors import Held, ParseError, PermanentClientError, TransientClientError
from scheduler_service.gates.call import AnotherKeyMayDo, Caller
from scheduler_service.gates.flight import Before, Kept, Waiting
from scheduler_service.gates.gate import Gate
from scheduler_service.gates.kept_ask import KeptAsk
from scheduler_service.gates.request import SMALL_BODY, is_good, request_hash
from scheduler_service.models import Event, Reason, RunOrigin
from scheduler_service.stores import call_store, gate_store, task_store

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from scheduler_service.calls import Client, Resource, Transport
    from scheduler_service.clients.retry_handler import RetryHandler
    from scheduler_service.clock import Clock, Instant
    from scheduler_service.gates.room import Room
    from scheduler_service.models import OffLoop, Publish, Task
    from scheduler_service.settings.providers import ProviderOptions
    from scheduler_service.stores.call_store import KeptRow
    from scheduler_service.stores.database import Connection, Ledger
    from scheduler_service.stores.gate_store import GateRow
    from scheduler_service.stores.raw_store import RawStore

T = TypeVar("T")

MOST_LOST = 2
"""A task whose answer was lost this often gives up: an answer is asked again at most once."""
UNREADABLE_FOR = HOUR
"""An answer that nobody can read is not asked for anew sooner, nor left to stand for longer."""
SECONDS_TO_LAND = 5.0
PARSED_ANSWERS = 512


class NotAgain(PermanentClientError):
    """Enough was lost to this task; to another one that may not be so."""


@dataclass(frozen=True, slots=True)
class Asker:
    """Who asks, and what would not do: an answer checked before ``checked_since`` (a person forced it), a body fetched
    before ``fetched_since``. ``urgent``: a person, or a task of high priority.
    """

    task_id: int
    urgent: bool = False
    checked_since: Instant | None = None
    fetched_since: Instant = 0


@dataclass(frozen=True, slots=True)
class _Flight:
    waiting: Waiting
    landing: asyncio.Task[Kept]


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
        room: Room | None = None,
    ) -> None:
        """``room``: for what is answered; None: there is always enough."""
        self._ledger = ledger
        self._raw = raw
        self._sandboxed = sandboxed
        self._retry = retry
        self._clock = clock
        self._off_loop = off_loop
        self._publish = publish
        self._caller = Caller(
            ledger=ledger,
            raw=raw,
            clients=clients,
            sandboxed=sandboxed,
            transport=transport,
            clock=clock,
            off_loop=off_loop,
            publish=publish,
            room=room,
        )
        self._flights: dict[tuple[str, bytes], _Flight] = {}
        self._parsed: OrderedDict[tuple[bytes, object], asyncio.Future[Any]] = OrderedDict()
        self._closing = False
        self.by_provider = {name: Gate(name, options[name], clock) for name in clients}

    async def restore(self) -> int:
        """Takes up what the ledger remembers; returns how many calls a crash lost."""
        now = self._clock.now()
        lost = await self._ledger.run(lambda conn: call_store.mark_lost(conn, now))
        rows, spent, recent = await self._ledger.read(
            lambda conn: (gate_store.gates(conn, now), call_store.spent(conn), gate_store.recent_calls(conn, now))
        )
        for name, gate in self.by_provider.items():
            gate.restore(rows, spent.get(name, {}), recent.get(name, ()))
        return lost

    async def close(self, seconds: float = SECONDS_TO_LAND) -> None:
        """Gives up what only waits, and lets the requests under way come home, so that what was asked is also kept.

        To be called while the ledger still writes; a second time is harmless.
        """
        self._closing = True
        landings = [flight.landing for flight in self._flights.values()]
        for flight in self._flights.values():
            if not flight.waiting.in_the_air:
                flight.landing.cancel()
        if landings:
            _, late = await asyncio.wait(landings, timeout=min(seconds, SECONDS_TO_LAND))
            for landing in late:
                landing.cancel()
        await asyncio.gather(*landings, *self._parsed.values(), return_exceptions=True)

    def for_task(self, task: Task) -> TaskAsk | KeptAsk:
        """The ``Ask`` of one task."""
        if task.origin is RunOrigin.REPARSE:
            return KeptAsk(self._ledger, self._raw, self.parsed)
        return TaskAsk(self, task, self._clock)

    async def kept(self, resource: Resource, asker: Asker) -> Kept:
        """The resource's answer, kept or asked. Raises ``Held``, ``ClientError``, or ``StoreError``."""
        key = (resource.key, request_hash(resource.request))
        while True:
            flight = self._flights.get(key)
            if flight is None:
                return await asyncio.shield(self._start(key, resource, asker).landing)
            self._publish(_event("call.joined", f"joined a call under way for {resource.key}", resource, "DEBUG"))
            await self._caller.join(flight.waiting, asker.task_id)
            try:
                answer = await asyncio.shield(flight.landing)
            except NotAgain:
                continue  # lost to the one who led; whoever joined may still ask
            except Held as held:
                if held.reason is not Reason.BUDGET_EXHAUSTED or flight.waiting.urgent or not asker.urgent:
                    raise
                continue  # what a budget keeps back is for whoever joined
            if self._serves(answer, resource, asker):
                return answer

    async def parsed(self, answer: Kept, parse: Callable[[bytes], T]) -> T:
        """What the parser says of a kept answer. It says it once of the same bytes; large bodies are parsed off the
        loop.
        """
        key = (answer.row.sha256, _known_as(parse))
        future = self._parsed.get(key)
        if future is None:
            future = self._parsed[key] = self._parse(answer.body, parse)
            while len(self._parsed) > PARSED_ANSWERS:
                self._parsed.popitem(last=False)
        self._parsed.move_to_end(key)
        try:
            value: T = future.result() if future.done() else await asyncio.shield(future)
        except Exception:
            self._parsed.pop(key, None)
            raise
        return value

    def _parse(self, body: bytes, parse: Callable[[bytes], Any]) -> asyncio.Future[Any]:
        if len(body) > SMALL_BODY:
            parsing = asyncio.ensure_future(self._off_loop(parse, body))
            parsing.add_done_callback(_retrieve)
            return parsing
        done: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        done.set_result(parse(body))
        return done

    async def forget_refusals(self) -> None:
        """Refused keys and endpoints that were gone may be tried again, and the tasks that wait for them at once: a
        person says that they are fine now. Raises ``StoreError``.
        """
        now = self._clock.now()
        rows: dict[str, dict[str, GateRow]] = {}
        for name, gate in self.by_provider.items():
            refused = gate.keys.forget_refusals(now) if gate.keys is not None else {}
            rows[name] = refused | gate.forget_endpoint_gone(now)

        def unit(conn: Connection) -> None:
            for provider, forgotten in rows.items():
                for name, row in forgotten.items():
                    gate_store.put_gate(conn, provider, name, row)
            task_store.ask_again(conn, now)

        await self._ledger.run(unit)

    def is_sandbox(self, provider: str) -> bool:
        return provider in self._sandboxed

    def _serves(self, answer: Kept, resource: Resource, asker: Asker) -> bool:
        """Whether the answer of a joined flight will do: that the one who led was content says nothing."""
        row = replace(answer.row, mine=False)
        if row.fetched_at < asker.fetched_since:
            return False
        return answer.asked or is_good(row, resource, asker.checked_since, self._clock.now())

    def _start(self, key: tuple[str, bytes], resource: Resource, asker: Asker) -> _Flight:
        waiting = Waiting([asker.task_id], urgent=asker.urgent)
        landing = asyncio.create_task(self._fly(key, resource, waiting, asker), name=f"call {resource.key}")
        landing.add_done_callback(_retrieve)
        self._flights[key] = _Flight(waiting, landing)
        return self._flights[key]

    async def _fly(self, key: tuple[str, bytes], resource: Resource, waiting: Waiting, asker: Asker) -> Kept:
        def on_retry(error: TransientClientError, tries: int, wait: float) -> None:
            if self._closing:
                raise Held("the service stops", Reason.CANCELLED, self._clock.now())
            message = f"try {tries} of {resource.key} failed, the next in {wait:.1f} s: {error}"
            self._publish(_event("call.retried", message, resource, "DEBUG", reason=error.reason))

        try:
            return await self._retry.run(lambda: self._try(resource, waiting, asker), on_retry=on_retry)
        except TransientClientError:
            gate = self.by_provider[resource.provider]
            gate.check_closed(gate.door(resource), resource.endpoint)  # told to come back later: held, not failed
            raise
        finally:
            del self._flights[key]

    async def _try(self, resource: Resource, waiting: Waiting, asker: Asker) -> Kept:
        now = self._clock.now()

        def look(conn: Connection) -> tuple[KeptRow | None, bool, list[Reason]]:
            row = call_store.kept(conn, resource.key, asker.task_id)
            serves = (
                row is not None
                and row.fetched_at >= asker.fetched_since
                and is_good(row, resource, asker.checked_since, now)
            )
            return row, serves, [] if serves else call_store.lost_calls(conn, asker.task_id, resource.key)

        row, serves, lost = await self._ledger.read(look)
        before: Before | None = None
        if row is not None and row.fetched_at >= asker.fetched_since:
            wanted = serves or row.etag or row.last_modified
            body = await self._raw.get(row.call_id, row.body) if wanted else None
            if serves and body is not None:
                return Kept(row, body, row.checked_at, asked=False)
            if body is not None or not wanted:  # else it is damaged, and kept anew
                before = Before(row, body)
        if len(lost) >= MOST_LOST:
            ended = "without an answer" if Reason.LOST in lost else "in failure"
            message = f"{len(lost)} calls of {resource.key} ended {ended} though they may have been charged"
            message += f" ({', '.join(dict.fromkeys(lost))}); it is not asked for again by this task"
            raise NotAgain(message, Reason.LOST if Reason.LOST in lost else lost[-1])
        gate = self.by_provider[resource.provider]
        for _ in range(len(gate.keys) - 1 if gate.keys is not None else 0):
            try:
                async with gate.concurrency:
                    return await self._caller.call(gate, resource, waiting, before)
            except AnotherKeyMayDo:
                continue
        async with gate.concurrency:
            return await self._caller.call(gate, resource, waiting, before)


class TaskAsk:
    """``ask`` as one task has it: remembers which answers its outcome is made of."""

    def __init__(self, gates: Gates, task: Task, clock: Clock) -> None:
        self._gates = gates
        self._clock = clock
        self._asker = Asker(task.id, task.urgent, task.due_at if task.force else None)
        self.used: list[int] = []
        self.as_of: Instant = 0

    async def __call__(self, resource: Resource, parse: Callable[[bytes], T]) -> Answer[T]:
        try:
            kept, value = await self._read(resource, parse)
        except ParseError as error:
            raise ParseError(f"{shown(resource.request.url)}: {error}", error.reason) from error
        row = kept.row
        return Answer(value, str(row.call_id), row.url, row.fetched_at, row.sandbox, asked=kept.asked)

    async def _read(self, resource: Resource, parse: Callable[[bytes], T]) -> tuple[Kept, T]:
        kept = await self._take(resource, self._asker)
        try:
            return kept, await self._gates.parsed(kept, parse)
        except ParseError:
            since = self._clock.now() - UNREADABLE_FOR
            if kept.row.mine or kept.received or kept.row.fetched_at >= since:
                raise
        kept = await self._take(resource, replace(self._asker, fetched_since=since))
        return kept, await self._gates.parsed(kept, parse)

    async def _take(self, resource: Resource, asker: Asker) -> Kept:
        kept = await self._gates.kept(resource, asker)
        if kept.row.call_id not in self.used:
            self.used.append(kept.row.call_id)
        self.as_of = max(self.as_of, kept.checked_at)
        return kept


def _event(name: str, message: str, resource: Resource, level: str, **fields: object) -> Event:
    return Event(name, message, {"provider": resource.provider, **fields}, level)


def _known_as(parse: Callable[[bytes], Any]) -> object:
    """The same for two that say the same: a function, or one with the same arguments."""
    if not isinstance(parse, partial):
        return parse
    return (parse.func, parse.args, tuple(sorted(parse.keywords.items())))


def _retrieve(future: asyncio.Future[Any]) -> None:
    """Nobody may be left to look at a flight's error; it was settled and logged where it happened."""
    if not future.cancelled():
        future.exception()
