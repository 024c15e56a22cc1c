"""What is known of a stock makes it due again: follow-ups around a date, and at once after a filing.

Level-triggered: the wanted follow-ups are read off the documents, whatever was told or missed before, so that doing it
twice changes nothing. It is done at each start, and of a stock whenever a commit changes what its documents want.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any

from loguru import logger

from scheduler_service.clock import DAY
from scheduler_service.errors import StoreError
from scheduler_service.settings.loaded import Schedule
from scheduler_service.stores import document_store
from scheduler_service.stores.file_names import file_name
from scheduler_service.triggers import AtTrigger

if TYPE_CHECKING:
    from collections.abc import Mapping

    from scheduler_service.clock import Clock
    from scheduler_service.dispatcher import Dispatcher
    from scheduler_service.models import FollowUp, Notice
    from scheduler_service.processors.base import Processor
    from scheduler_service.stores.database import Ledger

PREFIX = "follow-up"
REST_AFTER_FAILURE = 5.0


class FollowUps:
    """The follow-ups of every domain that wants some."""

    def __init__(
        self, ledger: Ledger, processors: Mapping[str, Processor[Any]], dispatcher: Dispatcher, clock: Clock
    ) -> None:
        self._ledger = ledger
        self._processors = processors
        self._dispatcher = dispatcher
        self._clock = clock
        self._wake = asyncio.Event()
        self._changed: set[str] = set()
        """Stocks whose documents may want other follow-ups by now."""

    def renew_soon(self, symbol: str) -> None:
        """Its documents want other follow-ups."""
        self._changed.add(symbol)
        self._wake.set()

    async def renew_forever(self) -> None:
        """What cannot be written down now, as the ledger fails or the clock is impossible, is tried again."""
        while True:
            self._wake.clear()
            await self._renew_changed()
            if self._changed:
                await self._clock.sleep(REST_AFTER_FAILURE)
            else:
                await self._wake.wait()

    async def _renew_changed(self) -> None:
        for symbol in sorted(self._changed):
            if self._dispatcher.problem is not None:
                return
            self._changed.discard(symbol)  # what changes meanwhile comes again
            try:
                await self.renew(symbol)
            except StoreError:  # the ledger says so itself
                self._changed.add(symbol)
                return
            except Exception as error:  # what one document wants must not hold up the others
                log = logger.opt(exception=error).bind(event="follow_up.failed", symbol=symbol)
                log.error("The follow-ups of {} could not be planned", symbol)

    async def fetch_again(self, notice: Notice) -> None:
        """Every domain that such a notice makes due, of its symbol."""
        if notice.symbol is None or notice.symbol not in self._dispatcher.watchlist:
            return
        for domain, processor in self._processors.items():
            if notice.event in processor.due_on:
                await self._dispatcher.unscheduled.follow_up(domain, notice.symbol)

    async def renew_all(self) -> None:
        """Of all that is watched; those of stocks that no longer are, or of domains that are gone, are closed.

        While the clock is impossible those of before stay, and it is made up for when it can be believed again.
        """
        if self._dispatcher.problem is not None:
            self._changed.update(self._dispatcher.watchlist)
            return
        for symbol in sorted(self._dispatcher.watchlist):
            await self.renew(symbol)
        watched = {_mark(symbol) for symbol in self._dispatcher.watchlist}
        for schedule_id, schedule in list(self._dispatcher.follow_ups.items()):
            of_symbol = schedule_id.split(":")[1] if schedule_id.startswith(f"{PREFIX}:") else None
            if of_symbol is not None and (of_symbol not in watched or schedule.domain not in self._processors):
                await self._dispatcher.close_follow_up(schedule_id)

    async def renew(self, symbol: str) -> None:
        """Its follow-ups are those that its documents want now."""
        wanted = await self._wanted(symbol)
        mine = f"{PREFIX}:{_mark(symbol)}:"
        for schedule_id, schedule in list(self._dispatcher.follow_ups.items()):
            if schedule_id.startswith(mine) and schedule_id not in wanted:
                await self._dispatcher.close_follow_up(schedule_id)
            elif schedule_id in wanted and schedule.trigger.canonical() == wanted[schedule_id].trigger.canonical():
                del wanted[schedule_id]
        for schedule in wanted.values():
            await self._dispatcher.add_follow_up(schedule)

    async def _wanted(self, symbol: str) -> dict[str, Schedule]:
        now, wanted = self._clock.now(), {}
        for domain, processor in self._processors.items():
            data = await self._ledger.read(partial(document_store.data, domain=domain, symbol=symbol))
            if data is None or symbol not in self._dispatcher.watchlist:
                continue
            try:
                follow_ups = processor.follow_ups(processor.read(data), self._dispatcher.watchlist[symbol])
            except ValueError:  # another version wrote it; the next fetch makes it anew
                log = logger.bind(event="document.unreadable", symbol=symbol, domain=domain)
                log.warning("the {} document of {} cannot be read, and nothing is planned by it", domain, symbol)
                continue
            coming = [one for one in follow_ups if one.due_at > now]
            due = [(one, name) for one in coming for name, p in self._processors.items() if one.event in p.due_on]
            wanted.update({schedule.id: schedule for schedule in (_schedule(one, name, symbol) for one, name in due)})
        return wanted


def _schedule(wanted: FollowUp, domain: str, symbol: str) -> Schedule:
    return Schedule(
        id=f"{PREFIX}:{_mark(symbol)}:{domain}:{wanted.name}",
        domain=domain,
        symbols=(symbol,),
        trigger=AtTrigger(wanted.due_at),
        catch_up="latest",
        catch_up_window=2 * DAY,
        overlap="queue",
        spread=0,
        priority="normal",
        enabled=True,
    )


def _mark(symbol: str) -> str:
    """As its file is called: no two symbols alike, and nothing in it that separates."""
    return file_name(symbol).removesuffix(".json")
