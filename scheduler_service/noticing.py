"""From what was noticed to what follows: the strategy log, the reactions, the deliveries. Each survives a crash."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

from loguru import logger

from scheduler_service.clock import SECOND
from scheduler_service.errors import StoreError
from scheduler_service.models import Event
from scheduler_service.stores import notice_store

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from scheduler_service.clock import Clock, Instant
    from scheduler_service.models import Notice, Publish
    from scheduler_service.stores.database import Connection, Ledger
    from scheduler_service.stores.notice_store import NoticeRow
    from scheduler_service.stores.strategy_log_store import StrategyLog

LONGEST_REST = 60.0
REST_AFTER_FAILURE = 5 * SECOND


class NoticeReader:
    """Takes up what was noticed, in its order. ``react`` may be called twice with the same notice, after a crash."""

    def __init__(
        self,
        *,
        ledger: Ledger,
        log: StrategyLog,
        react: Callable[[Notice], Awaitable[None]],
        queue: Callable[[Connection, Sequence[NoticeRow], Instant], None],
        clock: Clock,
        publish: Publish,
        patience: int = 1,
        queued: Callable[[], None] = lambda: None,
    ) -> None:
        """``queue`` writes the deliveries of notices, in the transaction that marks them handled; ``queued`` hears of
        it once that is committed.
        """
        self._queued = queued
        self._ledger = ledger
        self._log = log
        self._react = react
        self._queue = queue
        self._clock = clock
        self._publish = publish
        self._rest = LONGEST_REST * patience
        self._wake = asyncio.Event()
        self._said: set[int] = set()
        self.problem: str | None = None
        """Why the strategy log could not be written the last time."""

    def notify(self) -> None:
        """Something was noticed."""
        self._wake.set()

    async def read_forever(self) -> None:
        while True:
            self._wake.clear()
            failed = False
            try:
                await self.catch_up()
            except StoreError:
                failed = True  # the ledger says so itself
            if failed or self.problem is not None:
                await self._clock.sleep(REST_AFTER_FAILURE / SECOND)
                continue
            with suppress(TimeoutError):
                async with asyncio.timeout(self._rest):
                    await self._wake.wait()

    async def catch_up(self) -> None:
        """Until nothing is left to be handled or, while its disk is well, to be logged."""
        while rows := await self._ledger.read(notice_store.unhandled):
            await self._handle(rows)
        while rows := await self._ledger.read(notice_store.unlogged):
            if not await self._write_down(rows):
                return

    async def _handle(self, rows: Sequence[NoticeRow]) -> None:
        for row in rows:
            self._say(row)
            try:
                await self._react(row.notice)
            except StoreError:
                raise
            except Exception as error:  # what follows from one notice must not hold up the others
                log = logger.opt(exception=error).bind(event="notice.failed", about=row.notice.event)
                log.error("What follows from {} could not be done", row.notice.key)
        await self._ledger.run(partial(self._mark, rows=rows, now=self._clock.now()))
        self._queued()
        self._said.difference_update(row.id for row in rows)

    def _mark(self, conn: Connection, rows: Sequence[NoticeRow], now: Instant) -> None:
        self._queue(conn, rows, now)
        notice_store.note_handled(conn, [row.id for row in rows], now)

    async def _write_down(self, rows: Sequence[NoticeRow]) -> bool:
        try:
            await self._log.append(rows)
        except OSError as error:
            problem = f"the strategy log could not be written: {error.strerror or error}"
            if self.problem != problem:
                self._publish(Event("strategy_log.failed", problem, level="ERROR"))
            self.problem = problem
            return False
        self.problem = None
        ids = [row.id for row in rows]
        await self._ledger.run(partial(notice_store.note_logged, ids=ids, now=self._clock.now()))
        return True

    def _say(self, row: NoticeRow) -> None:
        """Once a process, also where the ledger must be written again."""
        if row.id in self._said:
            return
        self._said.add(row.id)
        told = row.notice
        fields = {"key": told.key} if told.symbol is None else {"key": told.key, "symbol": told.symbol}
        self._publish(Event(told.event, told.message, fields, told.level))
