"""One call: through the gate, reserved in the ledger before it leaves, its answer kept before anyone parses it,
settled after, however it ends.
"""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from scheduler_service.clients.base import shown
from scheduler_service.clock import SECOND
from scheduler_service.errors import ClientError, Held, RateLimited, StoreError, TransientClientError
from scheduler_service.gates.request import conditional, request_hash
from scheduler_service.models import Event, Reason
from scheduler_service.stores import call_store
from scheduler_service.stores.call_store import CallState, GateRow, KeptRow, NewAnswer, NewCall, Use

if TYPE_CHECKING:
    from collections.abc import Mapping

    from scheduler_service.calls import Client, Resource, Response, Transport
    from scheduler_service.clock import Clock, Instant
    from scheduler_service.gates.gate import Entry, Gate
    from scheduler_service.models import Publish
    from scheduler_service.stores.database import Connection, Ledger
    from scheduler_service.stores.raw_store import RawStore

QUIET_WITHOUT_RETRY_AFTER = 60.0
NOT_MODIFIED = 304


@dataclass(frozen=True, slots=True)
class Kept:
    """An answer as it was kept, unpacked."""

    row: KeptRow
    body: bytes
    checked_at: Instant
    asked: bool


@dataclass(slots=True)
class Waiting:
    """The tasks that wait for one answer, the one that asked first; more may join at any time. ``call_id`` is the last
    try's, ``in_the_air`` while one is reserved and not settled.
    """

    tasks: list[int]
    call_id: int | None = None
    in_the_air: bool = False


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
        publish: Publish,
    ) -> None:
        self._ledger = ledger
        self._raw = raw
        self._clients = clients
        self._sandboxed = sandboxed
        self._transport = transport
        self._clock = clock
        self._publish = publish

    async def call(self, gate: Gate, resource: Resource, waiting: Waiting, before: Kept | None) -> Kept:
        """One HTTP try; ``before`` makes it conditional.

        Raises ``Held`` when the gate is shut for long, ``ClientError``, and ``StoreError`` when the answer could not be
        kept: it is lost.
        """
        entry = await gate.enter(usd_micros=0)
        waiting.in_the_air = True
        try:
            known = tuple(waiting.tasks)
            call_id = await self._reserve(gate, entry, resource, known)
            waiting.call_id = call_id
            left = False
            try:
                await self._tell(call_id, waiting.tasks[len(known) :])
                await gate.leave()
                left = True
                return await self._request(call_id, resource, waiting, before)
            except BaseException as error:  # cancelled too: however it ends, it is settled
                await self._settle_failed(gate, call_id, error, left=left)
                raise
        finally:
            waiting.in_the_air = False

    async def join(self, waiting: Waiting, task_id: int) -> None:
        """Says durably that a task waits too. While a reservation is being committed, ``call`` says it."""
        if task_id not in waiting.tasks:
            waiting.tasks.append(task_id)
            call_id = waiting.call_id
            if call_id is not None:
                await self._ledger.run(lambda conn: call_store.use(conn, task_id, call_id, Use.JOINED))

    async def _reserve(self, gate: Gate, entry: Entry, resource: Resource, tasks: tuple[int, ...]) -> int:
        now = self._clock.now()
        new = NewCall(resource.key, resource.provider, tasks, entry.usd_micros, entry.day, entry.rate_until)
        try:
            return await self._ledger.run(lambda conn: call_store.reserve(conn, new, now))
        except Exception:  # not on cancellation: what is queued is still committed
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

    async def _request(self, call_id: int, resource: Resource, waiting: Waiting, before: Kept | None) -> Kept:
        started = self._clock.monotonic()
        request = conditional(resource.request, before.row if before else None)
        response = await self._transport.send(request, resource.limits)
        if response.status == NOT_MODIFIED and before is not None and request != resource.request:
            answer = await self._confirm(call_id, resource, waiting, before)
        else:
            self._clients[resource.provider].check(resource, response)
            answer = await self._keep(call_id, resource, response)
        took = round((self._clock.monotonic() - started) * 1000)
        message = f"{resource.key}: {response.status}, {len(response.body)} bytes in {took} ms"
        fields = {"provider": resource.provider, "duration_ms": took, "cost_usd": 0}
        self._publish(Event("call.completed", message, fields, "DEBUG"))
        return answer

    async def _keep(self, call_id: int, resource: Resource, response: Response) -> Kept:
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

        def unit(conn: Connection) -> None:
            call_store.keep(conn, call_id, resource.provider, resource.key, new, now)
            call_store.settle(conn, call_id, CallState.KEPT, now, status=response.status, size=len(response.body))

        await self._ledger.run(unit)
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
        return Kept(row, response.body, now, asked=True)

    async def _confirm(self, call_id: int, resource: Resource, waiting: Waiting, before: Kept) -> Kept:
        now, confirmed, tasks = self._clock.now(), before.row.call_id, tuple(waiting.tasks)

        def unit(conn: Connection) -> None:
            call_store.confirm(conn, resource.key, confirmed, resource.revision, now)
            call_store.settle(conn, call_id, CallState.UNCHANGED, now, status=NOT_MODIFIED)
            for task_id in tasks:  # after a crash they find that it was confirmed for them
                call_store.use(conn, task_id, confirmed, Use.KEPT)

        await self._ledger.run(unit)
        return Kept(before.row, before.body, now, asked=True)

    async def _settle_failed(self, gate: Gate, call_id: int, error: BaseException, *, left: bool) -> None:
        state, reason = _ending(error, left=left)
        status = error.status if isinstance(error, ClientError) else None
        if isinstance(error, ClientError):
            self._publish(Event("call.failed", str(error), {"provider": gate.provider, "reason": error.reason}))
        closed = self._close(gate, error)
        now = self._clock.now()

        def unit(conn: Connection) -> None:
            call_store.settle(conn, call_id, state, now, status=status, reason=reason)
            if closed is not None:
                call_store.put_gate(conn, gate.provider, call_store.CLOSED, closed)

        try:
            await self._ledger.run(unit)
        except StoreError as failed:  # the call stays reserved, which is charged, and counts as lost
            self._publish(Event("ledger.failed", f"call {call_id} could not be settled: {failed}", level="WARNING"))

    def _close(self, gate: Gate, error: BaseException) -> GateRow | None:
        """An upstream that says when to come back is left alone until then, by everyone."""
        if not isinstance(error, TransientClientError):
            return None
        quiet = error.retry_after
        if quiet is None:
            if not isinstance(error, RateLimited):
                return None
            quiet = QUIET_WITHOUT_RETRY_AFTER
        now = self._clock.now()
        fields = {"provider": gate.provider, "reason": error.reason}
        message = f"{gate.provider} is not asked for {quiet:.0f} s: {error}"
        self._publish(Event("call.throttled", message, fields, "WARNING"))
        return gate.close_until(GateRow(now + round(quiet * SECOND), now, error.reason), str(error))


def _ending(error: BaseException, *, left: bool) -> tuple[CallState, Reason]:
    """What a call is settled as; ``left``: its request is on the way, and its answer, if there is one, is lost."""
    match error:
        case ClientError() | Held():
            return CallState.FAILED, error.reason
        case StoreError():
            return CallState.LOST, Reason.DISK_FAILED
        case asyncio.CancelledError():
            return CallState.LOST if left else CallState.FAILED, Reason.CANCELLED
        case _:
            return CallState.FAILED, Reason.INTERNAL_ERROR
