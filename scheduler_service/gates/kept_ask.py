"""``ask`` of a task that parses anew what was kept: at any age, under any revision, and nobody is asked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from scheduler_service.calls import Answer
from scheduler_service.clients.base import shown
from scheduler_service.errors import NotKept, ParseError
from scheduler_service.gates.flight import Kept
from scheduler_service.gates.request import request_hash
from scheduler_service.models import Reason
from scheduler_service.stores import call_store

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from scheduler_service.calls import Resource
    from scheduler_service.clock import Instant
    from scheduler_service.stores.database import Ledger
    from scheduler_service.stores.raw_store import RawStore

T = TypeVar("T")


class Parsed(Protocol):
    """What a parser says of an answer; large bodies off the loop."""

    def __call__(self, answer: Kept, parse: Callable[[bytes], T]) -> Awaitable[T]: ...


class KeptAsk:
    """Remembers which answers its task's outcome is made of, as ``TaskAsk`` does."""

    def __init__(self, ledger: Ledger, raw: RawStore, parsed: Parsed) -> None:
        self._ledger = ledger
        self._raw = raw
        self._parsed = parsed
        self.used: list[int] = []
        self.as_of: Instant = 0

    async def __call__(self, resource: Resource, parse: Callable[[bytes], T]) -> Answer[T]:
        """Raises ``NotKept``, ``StoreError``, and ``ParseError`` from ``parse``."""
        kept = await self._kept(resource)
        row = kept.row
        if row.call_id not in self.used:
            self.used.append(row.call_id)
        self.as_of = max(self.as_of, row.checked_at)
        try:
            value: Any = await self._parsed(kept, parse)
        except ParseError as error:
            raise ParseError(f"{shown(resource.request.url)}: {error}", error.reason) from error
        return Answer(value, str(row.call_id), row.url, row.fetched_at, row.sandbox, asked=False)

    async def _kept(self, resource: Resource) -> Kept:
        row = await self._ledger.read(lambda conn: call_store.kept(conn, resource.key, None))
        if row is None:
            raise NotKept(f"no answer of {resource.key} is kept", Reason.NOT_KEPT)
        if row.request_sha256 != request_hash(resource.request):
            message = f"the kept answer of {resource.key} is one to another question than is asked now"
            raise NotKept(message, Reason.NOT_KEPT)
        body = await self._raw.get(row.call_id, row.body)
        if body is None:
            raise NotKept(f"the kept answer of {resource.key} is gone from raw/, or damaged", Reason.NOT_KEPT)
        return Kept(row, body, row.checked_at, asked=False)
