"""While something keeps failing, one of the tasks that wait for it finds out whether it works again. The others stand
back until they are told, so that a long outage costs a look now and then, and not one for every task.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

from scheduler_service.errors import CircuitOpen, StoreError
from scheduler_service.models import A_PERSONS
from scheduler_service.stores import task_store

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from scheduler_service.clock import Clock, Instant
    from scheduler_service.errors import Held
    from scheduler_service.models import Event, Task
    from scheduler_service.stores.database import Ledger


class Scouts:
    """Who comes back first."""

    def __init__(self) -> None:
        self._sent: dict[str, Instant] = {}
        """By circuit: until when it was open when one was sent."""

    def comes_back(self, task: Task, held: Held) -> Instant:
        """When a task that is held asks its gate anew. A person waits for no other."""
        if not isinstance(held, CircuitOpen) or task.origin in A_PERSONS:
            return held.until
        if not held.is_tried and self._sent.get(held.circuit) != held.until:
            self._sent[held.circuit] = held.until
            return held.until
        at_the_latest = held.at_the_latest if task.expires_at is None else min(held.at_the_latest, task.expires_at)
        return max(held.until, at_the_latest)


class Waker:
    """Tells those that stood back. Who is not told, for the process ended meanwhile, comes by itself a little later."""

    def __init__(
        self, *, ledger: Ledger, clock: Clock, lanes_of: Callable[[str], Sequence[str]], notify: Callable[[], None]
    ) -> None:
        self._ledger = ledger
        self._clock = clock
        self._lanes_of = lanes_of
        self._notify = notify
        self._work_again: set[str] = set()
        self._all = False
        self._wake = asyncio.Event()

    def works_again(self, event: Event) -> None:
        """Of a provider something works again; of what all of them need, where none is named."""
        if "provider" in event.fields:
            self._work_again.add(str(event.fields["provider"]))
        else:
            self._all = True
        self._wake.set()

    async def wake_forever(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            lanes = sorted(lane for provider in self._work_again for lane in self._lanes_of(provider))
            self._work_again.clear()
            everyone, self._all = self._all, False
            with suppress(StoreError):
                if everyone:
                    await self._ledger.run(partial(task_store.ask_again, now=self._clock.now()))
                await self._ledger.run(partial(task_store.try_again, lanes=lanes, now=self._clock.now()))
            self._notify()
