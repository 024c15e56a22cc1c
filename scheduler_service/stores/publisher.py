"""Documents on disk: published from commits, checked, and written again when damaged. Asks nobody for anything."""

from __future__ import annotations

import asyncio
import errno
import hashlib
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

import orjson

from scheduler_service.clock import DAY, SECOND, Instant, Micros, to_iso_seconds
from scheduler_service.errors import StoreError
from scheduler_service.models import Event
from scheduler_service.stores import document_store, stock_state_store
from scheduler_service.stores.atomic_files import Signature, check_files, write_files
from scheduler_service.stores.file_names import file_name

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from concurrent.futures import Executor
    from pathlib import Path

    from sqlalchemy import Connection

    from scheduler_service.clock import Clock
    from scheduler_service.models import Publish, StockState
    from scheduler_service.stores.database import Ledger
    from scheduler_service.stores.document_store import DocumentRow, Key, WaitingRow

SCHEMA_VERSION = 1
BATCH = 64
AUDIT_BATCH = 500
LONGEST_DELAY = DAY
"""Whatever waits is published when the service stops."""
AUDIT_EVERY = 60.0
LONGEST_REST = 5.0
REST_AFTER_FAILURE = 5.0
NO_DISK = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS})
"""What fails for one file because of the disk fails for all."""


def render(row: DocumentRow, states: Mapping[str, StockState], required: Sequence[str], *, sandbox: bool) -> bytes:
    """The file's bytes. ``checked_at`` is of the required source that was checked longest ago; null while one never
    was.
    """
    checks = [states[name].checked_at if name in states else None for name in required]
    known = [check for check in checks if check is not None]
    envelope = {
        "schema_version": SCHEMA_VERSION,
        "domain": row.domain,
        "symbol": row.symbol,
        "sandbox": sandbox,
        "checked_at": _iso(min(known)) if len(known) == len(checks) and known else None,
        "changed_at": _iso(row.changed_at),
        "sources": {
            name: {
                "checked_at": _iso(state.checked_at),
                "changed_at": _iso(state.changed_at),
                "status": state.status,
                "reason": state.reason,
            }
            for name, state in sorted(states.items())
        },
        "data": orjson.loads(row.data),
    }
    return orjson.dumps(envelope, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


def _iso(instant: Instant | None) -> str | None:
    return None if instant is None else to_iso_seconds(instant)


def states_of(conn: Connection, row: DocumentRow) -> dict[str, StockState]:
    """The states of a document's sources."""
    return stock_state_store.states_of(conn, row.symbol, row.domain)


class Publisher:
    """The one writer of the documents folder."""

    def __init__(
        self,
        *,
        folder: Path,
        ledger: Ledger,
        pool: Executor,
        required: Callable[[str, str], Sequence[str]],
        sandbox: bool,
        clock: Clock,
        publish: Publish,
        patience: int = 1,
        durable: bool = True,
    ) -> None:
        """``required``: the sources that make a document of (domain, symbol) fresh. With more ``patience`` it looks
        less often by itself for what nobody told it of. Not ``durable``: what it writes need not survive a power cut.
        """
        self._durable = durable
        self.folder = folder
        self._patience = patience
        self._ledger = ledger
        self._pool = pool
        self._required = required
        self._sandbox = sandbox
        self._clock = clock
        self._publish = publish
        self._wake = asyncio.Event()
        self._writing = asyncio.Lock()
        self._seen: dict[Key, Signature] = {}
        self._stopping = False
        self.problem: str | None = None
        """Why documents cannot be published at the moment."""

    def notify(self) -> None:
        """Something was committed."""
        self._wake.set()

    def stop(self) -> None:
        self._stopping = True
        self._wake.set()

    def path(self, domain: str, symbol: str) -> Path:
        return self.folder / domain / file_name(symbol)

    async def publish_forever(self) -> None:
        """Publishes what is due; looks for damage once a minute. Ends after ``stop``, with everything published."""
        audited = self._clock.monotonic()
        while not self._stopping:
            self._wake.clear()
            try:
                await self.publish_due()
                if self._clock.monotonic() - audited >= AUDIT_EVERY * self._patience:
                    audited = self._clock.monotonic()
                    await self.audit()
                due = await self._ledger.read(document_store.next_publication)
            except StoreError as error:
                self._failed(str(error))
                due = None
            await self._rest(due)
        with suppress(StoreError):
            await self.publish_due(ahead=LONGEST_DELAY)

    async def publish_due(self, ahead: Micros = 0) -> int:
        """Writes every document that is due, or will be soon, in batches; returns how many are on disk. Those that
        cannot be written hold nobody up: they stay due, for the next time.
        """
        total, now = 0, self._clock.now() + ahead
        last: WaitingRow | None = None
        failures: list[tuple[Path, OSError]] = []
        while not any(error.errno in NO_DISK for _, error in failures):
            async with self._writing:
                due = await self._ledger.read(partial(self._render_due, now=now, after=last))
                if not due:
                    break
                more = len(due) == BATCH
                last = due[-1][0]
                files = [(self.path(waiting.row.domain, waiting.row.symbol), body) for waiting, body in due]
                errors = await write_files(files, root=self.folder, durable=self._durable, executor=self._pool)
                written = [(w.row, body) for (w, body), error in zip(due, errors, strict=True) if error is None]
                await self._strike(written)
            total += len(written)
            failures += [(path, error) for (path, _), error in zip(files, errors, strict=True) if error is not None]
            if not more:
                break
        if failures:
            path, error = failures[0]
            self._failed(f"{path} could not be written: {error.strerror}; it is tried again until it can be")
        else:
            self.problem = None
        return total

    async def audit(self) -> int:
        """Compares every published file with what was written; the damaged ones are written again from their rows.

        Returns how many that were. A file is read once, and then only if it was touched.
        """
        damaged = 0
        last: Key = ("", "")
        while True:
            async with self._writing:
                expected = await self._ledger.read(partial(document_store.published, after=last, most=AUDIT_BATCH))
                if not expected:
                    return damaged
                last = next(reversed(expected))
                damaged += await self._repair(expected)

    async def _repair(self, expected: Mapping[Key, bytes]) -> int:
        files = [(self.path(*key), sha256, self._seen.get(key)) for key, sha256 in expected.items()]
        found = dict(zip(expected, await check_files(files, executor=self._pool), strict=True))
        self._seen |= {key: signature for key, signature in found.items() if signature is not None}
        damaged = [key for key, signature in found.items() if signature is None]
        if not damaged:
            return 0
        now = self._clock.now()
        unexpected = await self._ledger.run(partial(document_store.republish, keys=damaged, now=now))
        for domain, symbol in unexpected:
            message = f"{self.path(domain, symbol)} was damaged or gone; it is written again"
            self._publish(Event("document.repaired", message, {"domain": domain, "symbol": symbol}, "WARNING"))
        self.notify()
        return len(unexpected)

    def _render_due(self, conn: Connection, now: Instant, after: WaitingRow | None) -> list[tuple[WaitingRow, bytes]]:
        return [
            (
                w,
                render(
                    w.row, states_of(conn, w.row), self._required(w.row.domain, w.row.symbol), sandbox=self._sandbox
                ),
            )
            for w in document_store.waiting(conn, now, BATCH, after)
        ]

    async def _strike(self, written: list[tuple[DocumentRow, bytes]]) -> None:
        now = self._clock.now()

        def unit(conn: Connection) -> None:
            for row, body in written:
                document_store.strike(conn, row, hashlib.sha256(body).digest(), now)

        if written:
            await self._ledger.run(unit)
        for row, _ in written:
            fields = {"domain": row.domain, "symbol": row.symbol}
            self._publish(Event("document.published", f"{row.domain} of {row.symbol} published", fields, "DEBUG"))

    def _failed(self, message: str) -> None:
        if self.problem is None:
            self._publish(Event("document.failed", message, {"reason": "disk_failed"}, "ERROR"))
        self.problem = message

    async def _rest(self, due: Instant | None) -> None:
        longest = LONGEST_REST * self._patience
        rest = longest if due is None else min(max(0.0, (due - self._clock.now()) / SECOND), longest)
        if self.problem is not None:
            rest = REST_AFTER_FAILURE
        with suppress(TimeoutError):
            async with asyncio.timeout(rest):
                await self._wake.wait()
