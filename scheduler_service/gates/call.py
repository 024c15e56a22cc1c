"""One call: through the gate, reserved in the ledger before it leaves, its answer kept before anyone parses it,
settled after, however it ends.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from scheduler_service.calls import FREE, Signer
from scheduler_service.clients.base import shown
from scheduler_service.clients.quota_headers import until_more
from scheduler_service.errors import (
    ClientError,
    Held,
    PermanentClientError,
    RateLimited,
    Refused,
    StoreError,
    TransientClientError,
)
from scheduler_service.gates.failure import (
    after_answer,
    circuit_after,
    cost_of,
    ending,
    is_ambiguous,
    quiet_after,
)
from scheduler_service.gates.flight import Before, Kept, Waiting
from scheduler_service.gates.request import SMALL_BODY, conditional, request_hash, says_the_same
from scheduler_service.models import Event, Reason
from scheduler_service.stores import call_store
from scheduler_service.stores.call_store import CallState, KeptRow, NewAnswer, NewCall, Use
from scheduler_service.stores.gate_store import put_gate

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from scheduler_service.calls import Client, Cost, Request, Resource, Response, Transport
    from scheduler_service.clock import Clock, Instant
    from scheduler_service.gates.failure import Quiet
    from scheduler_service.gates.gate import Entry, Gate
    from scheduler_service.gates.keys import Key
    from scheduler_service.gates.room import Room
    from scheduler_service.models import OffLoop, Publish
    from scheduler_service.stores.database import Connection, Ledger
    from scheduler_service.stores.raw_store import RawStore

NOT_MODIFIED = 304
MOST_AMBIGUOUS = 1
"""Failures of a paid request after which nobody knows whether it was charged."""


class AnotherKeyMayDo(TransientClientError):
    """This key may not, or not now; there is another one."""


@dataclass(slots=True)
class _Try:
    """One call under way. ``left``: its request is on its way. ``cost``: what its answer says that it cost."""

    gate: Gate
    resource: Resource
    waiting: Waiting
    entry: Entry
    call_id: int
    key: Key | None = None
    left: bool = False
    cost: Cost | None = None


class Caller:
    """Carries out calls. One transport, one ledger, all providers."""

    def __init__(
        self,
        *,
        ledger: Ledger,
        raw: RawStore,
        clients: Mapping[str, Client],
        sandboxed: frozenset[str],
        transport: Transport,
        clock: Clock,
        off_loop: OffLoop,
        publish: Publish,
        room: Room | None = None,
    ) -> None:
        self._ledger = ledger
        self._raw = raw
        self._clients = clients
        self._signers = {name: client for name, client in clients.items() if isinstance(client, Signer)}
        self._sandboxed = sandboxed
        self._transport = transport
        self._clock = clock
        self._off_loop = off_loop
        self._publish = publish
        self._room = room
        self._told_of_budget: dict[tuple[str, bool], Instant] = {}

    async def call(self, gate: Gate, resource: Resource, waiting: Waiting, before: Before | None) -> Kept:
        """One HTTP try; ``before`` may make it conditional, and what says the same again is not kept twice.

        Raises ``Held`` when the gate is shut for long, ``ClientError``, and ``StoreError`` when the answer could not be
        kept: it is lost.
        """
        if self._room is not None:
            await self._room.check()
        entry = await self._enter(gate, resource, urgent=waiting.urgent)
        waiting.in_the_air = True
        try:
            known = tuple(waiting.tasks)
            call_id = await self._reserve(gate, entry, resource, known)
            waiting.call_id = call_id
            this = _Try(gate, resource, waiting, entry, call_id)
            try:
                await self._tell(call_id, waiting.tasks[len(known) :])
                await gate.leave(entry)
                return await self._request(this, before)
            except BaseException as error:  # cancelled too: however it ends, it is settled
                await self._settle_failed(this, error)
                if isinstance(error, ClientError) and (other := self._instead(this, error)) is not None:
                    raise other from error
                raise
        finally:
            waiting.in_the_air = False
            gate.exit()

    def _instead(self, this: _Try, error: ClientError) -> ClientError | None:
        """Another key may do at once what this one may not; and an answer that may have been paid for twice is not
        asked for a third time.
        """
        keys = this.gate.keys
        if this.key is not None and isinstance(error, Refused | RateLimited) and keys is not None:
            if keys.has_usable(self._clock.now()):
                return AnotherKeyMayDo(str(error), error.reason, status=error.status, retry_after=0)
        elif this.resource.expected.usd_micros and is_ambiguous(error):
            this.waiting.ambiguous += 1
            if this.waiting.ambiguous > MOST_AMBIGUOUS:
                return PermanentClientError(f"{error}; it may have been charged, and is not asked again", error.reason)
        return None

    async def _enter(self, gate: Gate, resource: Resource, *, urgent: bool) -> Entry:
        try:
            return await gate.enter(resource.expected, gate.door(resource), resource.endpoint, urgent=urgent)
        except Held as held:
            who = (gate.provider, urgent)
            if held.reason is Reason.BUDGET_EXHAUSTED and self._told_of_budget.get(who) != held.until:
                self._told_of_budget[who] = held.until
                fields = {"provider": gate.provider, "reason": held.reason}
                self._publish(Event("provider.budget_exhausted", str(held), fields, "WARNING"))
            raise

    async def join(self, waiting: Waiting, task_id: int) -> None:
        """Says durably that a task waits too. While a reservation is being committed, ``call`` says it."""
        if task_id not in waiting.tasks:
            waiting.tasks.append(task_id)
            call_id = waiting.call_id
            if call_id is not None:
                await self._ledger.run(lambda conn: call_store.use(conn, task_id, call_id, Use.JOINED))

    async def _reserve(self, gate: Gate, entry: Entry, resource: Resource, tasks: tuple[int, ...]) -> int:
        now = self._clock.now()
        new = NewCall(
            resource.key,
            resource.provider,
            tasks,
            entry.expected.usd_micros,
            entry.day,
            entry.rate_until,
            entry.door.rate_row,
            entry.expected.tokens,
        )
        try:
            return await self._ledger.run(lambda conn: call_store.reserve(conn, new, now))
        except BaseException as error:  # cancelled too: a probe that never leaves must not hold up the next
            circuit_after(gate, entry, error, now)
            if isinstance(error, Exception):  # not on cancellation: what is queued is still committed
                gate.give_back(entry)
            raise

    async def _tell(self, call_id: int, late: list[int]) -> None:
        """Those who joined while the reservation was being committed. The call leaves even if this cannot be noted."""
        if not late:
            return

        def unit(conn: Connection) -> None:
            for task_id in late:
                call_store.use(conn, task_id, call_id, Use.JOINED)

        try:
            await self._ledger.run(unit)
        except StoreError as error:
            self._publish(
                Event("ledger.failed", f"call {call_id}: who joined could not be noted: {error}", level="WARNING")
            )

    async def _request(self, this: _Try, before: Before | None) -> Kept:
        started, resource = self._clock.monotonic(), this.resource
        request = conditional(resource.request, before.row if before and before.body is not None else None)
        asked_whether_changed = request != resource.request
        request = self._signed(this, request)
        this.left = True
        response = await self._transport.send(request, resource.limits)
        if response.status == NOT_MODIFIED and before and before.body is not None and asked_whether_changed:
            this.cost = FREE
            answer = await self._confirm(this, before.row, before.body, response)
        else:
            this.cost = await self._checked(resource, response)
            if before and says_the_same(before.row, resource.request, response, shown(response.url)):
                answer = await self._confirm(this, before.row, response.body, response)
            else:
                answer = await self._keep(this, response)
        took = round((self._clock.monotonic() - started) * 1000)
        message = f"{resource.key}: {response.status}, {len(response.body)} bytes in {took} ms"
        usd = (resource.expected if this.cost is None else this.cost).usd_micros / 1e6
        fields = {"provider": resource.provider, "duration_ms": took, "cost_usd": usd}
        self._publish(Event("call.completed", message, fields, "DEBUG"))
        return answer

    async def _checked(self, resource: Resource, response: Response) -> Cost | None:
        """What the client says of the answer; to look into a large one takes longer than others may wait."""
        check = self._clients[resource.provider].check
        if len(response.body) > SMALL_BODY:
            return await self._off_loop(check, resource, response)
        return check(resource, response)

    def _signed(self, this: _Try, request: Request) -> Request:
        """With the key, at the last moment; the key is the one of now, which may not be that of the last try."""
        keys, signer = this.gate.keys, self._signers.get(this.resource.provider)
        if keys is None or signer is None:
            return request
        this.key = keys.take(request.url, self._clock.now())
        return signer.signed(request, this.key.secret)

    async def _keep(self, this: _Try, response: Response) -> Kept:
        resource, call_id = this.resource, this.call_id
        packed = await self._raw.put(call_id, response.body)
        new = NewAnswer(
            url=shown(response.url),
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
        quiet = self._after_answer(this, response, now)

        def unit(conn: Connection) -> None:
            call_store.keep(conn, call_id, resource.provider, resource.key, new, now)
            call_store.settle(conn, call_id, CallState.KEPT, now, status=response.status, size=len(response.body))
            _charge(conn, this, this.cost)
            _remember(conn, this.gate, quiet)

        await self._ledger.run(unit)
        _settled(this, this.cost)
        row = KeptRow(
            call_id=call_id,
            revision=new.revision,
            etag=new.etag,
            last_modified=new.last_modified,
            sha256=new.sha256,
            request_sha256=new.request_sha256,
            url=new.url,
            sandbox=new.sandbox,
            fetched_at=now,
            checked_at=now,
            body=packed,
            mine=False,
        )
        return Kept(row, response.body, now, asked=True, received=True)

    async def _confirm(self, this: _Try, row: KeptRow, body: bytes, response: Response) -> Kept:
        """The upstream says, in whatever way, that what was kept is still so."""
        resource, now, confirmed = this.resource, self._clock.now(), row.call_id
        tasks = tuple(this.waiting.tasks)
        quiet = self._after_answer(this, response, now)

        def unit(conn: Connection) -> None:
            call_store.confirm(conn, resource.key, confirmed, resource.revision, now)
            size = len(response.body) if response.status != NOT_MODIFIED else None
            call_store.settle(conn, this.call_id, CallState.UNCHANGED, now, status=response.status, size=size)
            _charge(conn, this, this.cost)
            _remember(conn, this.gate, quiet)
            for task_id in tasks:  # after a crash they find that it was confirmed for them
                call_store.use(conn, task_id, confirmed, Use.KEPT)

        await self._ledger.run(unit)
        _settled(this, this.cost)
        return Kept(row, body, now, asked=True, received=response.status != NOT_MODIFIED)

    def _after_answer(self, this: _Try, response: Response, now: Instant) -> list[Quiet]:
        gate, entry, left = this.gate, this.entry, until_more(response.headers, now)
        return self._told(*after_answer(gate, entry, this.key, left, now), circuit_after(gate, entry, None, now))

    def _told(self, *quiet: Quiet | None) -> list[Quiet]:
        said = [one for one in quiet if one is not None]
        for one in said:
            self._publish(one.event)
        return said

    async def _settle_failed(self, this: _Try, error: BaseException) -> None:
        gate, call_id, now = this.gate, this.call_id, self._clock.now()
        state, reason = ending(error, left=this.left)
        status = error.status if isinstance(error, ClientError) else None
        cost = cost_of(error, left=this.left) if this.cost is None else this.cost
        if isinstance(error, ClientError):
            level = "DEBUG" if isinstance(error, RateLimited) else "INFO"  # call.throttled says it
            self._publish(Event("call.failed", str(error), {"provider": gate.provider, "reason": error.reason}, level))
        circuit = circuit_after(gate, this.entry, error, now)
        quiet = self._told(quiet_after(gate, this.entry, this.key, error, now), circuit)

        def unit(conn: Connection) -> None:
            if call_store.settle(conn, call_id, state, now, status=status, reason=reason):
                _charge(conn, this, cost)
            _remember(conn, gate, quiet)

        try:
            await self._ledger.run(unit)
        except StoreError as failed:  # the call stays reserved, which is charged, and counts as lost
            self._publish(Event("ledger.failed", f"call {call_id} could not be settled: {failed}", level="WARNING"))
        else:
            _settled(this, cost)


def _remember(conn: Connection, gate: Gate, quiet: Iterable[Quiet]) -> None:
    for one in quiet:
        put_gate(conn, gate.provider, one.name, one.row)


def _charge(conn: Connection, this: _Try, cost: Cost | None) -> None:
    if cost is not None:
        entry = this.entry
        call_store.charge(conn, this.call_id, this.gate.provider, entry.day, entry.expected, cost)


def _settled(this: _Try, cost: Cost | None) -> None:
    """Now that the ledger says so."""
    if cost is not None:
        this.gate.settle(this.entry, cost)
