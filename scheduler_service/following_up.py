"""What is known of a stock makes it due again: follow-ups around a date, and at once after a filing.

Level-triggered: the wanted follow-ups are read off the documents, whatever was told or missed before, so that doing it
twice changes nothing.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from loguru import logger

from scheduler_service.clock import DAY
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


class FollowUps:
    """The follow-ups of every domain that wants some."""

    def __init__(
        self, ledger: Ledger, processors: Mapping[str, Processor[Any]], dispatcher: Dispatcher, clock: Clock
    ) -> None:
        self._ledger = ledger
        self._processors = processors
        self._dispatcher = dispatcher
        self._clock = clock

    async def fetch_again(self, notice: Notice) -> None:
        """Every domain that such a notice makes due, of its symbol."""
        if notice.symbol is None or notice.symbol not in self._dispatcher.watchlist:
            return
        for domain, processor in self._processors.items():
            if notice.event in processor.due_on:
                await self._dispatcher.unscheduled.follow_up(domain, notice.symbol)

    async def renew(self, notice: Notice) -> None:
        """The follow-ups of its symbol are those that its documents want now."""
        if notice.symbol is not None:
            await self._renew(notice.symbol)

    async def renew_all(self) -> None:
        """Of all that is watched; those of stocks that no longer are, or of domains that are gone, are closed.

        While the clock is impossible those of before stay.
        """
        if self._dispatcher.problem is not None:
            return
        for symbol in sorted(self._dispatcher.watchlist):
            await self._renew(symbol)
        watched = {_mark(symbol) for symbol in self._dispatcher.watchlist}
        for schedule_id, schedule in list(self._dispatcher.follow_ups.items()):
            of_symbol = schedule_id.split(":")[1] if schedule_id.startswith(f"{PREFIX}:") else None
            if of_symbol is not None and (of_symbol not in watched or schedule.domain not in self._processors):
                await self._dispatcher.close_follow_up(schedule_id)

    async def _renew(self, symbol: str) -> None:
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
