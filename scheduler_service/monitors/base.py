"""The path of a monitor, written once: observe, judge by what was told last, write down what has changed."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from scheduler_service.clock import DAY, SECOND
from scheduler_service.errors import StoreError
from scheduler_service.models import Event
from scheduler_service.stores import monitor_store, notice_store

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from scheduler_service.clock import Clock, Instant, Micros
    from scheduler_service.models import Notice, Publish
    from scheduler_service.stores.database import Connection, Ledger
    from scheduler_service.stores.monitor_store import MonitorState

S = TypeVar("S")

SET_BACK: Micros = DAY
"""By so much a clock may be put right."""


@dataclass(frozen=True, slots=True)
class Change:
    """What is remembered of a subject from now on (None: nothing), and what of it is told."""

    subject: str
    state: MonitorState | None
    notices: tuple[Notice, ...] = ()


class Monitor(Protocol[S]):
    """``name``: under which its states are kept."""

    name: str

    def rest(self, now: Instant) -> Micros:
        """How long until it is worth another look."""

    async def observe(self) -> S:
        """How things are; the only part that may wait."""

    def judge(self, before: Mapping[str, MonitorState], seen: S, now: Instant) -> Sequence[Change]:
        """What has changed, by what was told last. Pure, and may be carried out twice."""


class Watch(Generic[S]):
    """One monitor at work. One that fails says so once, and goes on."""

    def __init__(
        self, monitor: Monitor[S], ledger: Ledger, clock: Clock, publish: Publish, noticed: Callable[[], None]
    ) -> None:
        self._monitor = monitor
        self._ledger = ledger
        self._clock = clock
        self._publish = publish
        self._noticed = noticed
        self.problem: str | None = None
        """Why it could not look the last time."""

    async def look_forever(self) -> None:
        while True:
            try:
                await self.look()
                self.problem = None
            except StoreError:
                pass  # the ledger says so itself
            except Exception as error:
                self._fail(f"the {self._monitor.name} monitor cannot look: {type(error).__name__}: {error}")
            await self._clock.sleep(self._monitor.rest(self._clock.now()) / SECOND)

    async def look(self) -> None:
        """Once. Nothing is written while nothing changes."""
        seen = await self._monitor.observe()
        now = self._clock.now()
        name = self._monitor.name
        before = _believable(await self._ledger.read(partial(monitor_store.states, monitor=name)), now)
        if not self._monitor.judge(before, seen, now):
            return
        store: Callable[[Connection], bool] = partial(self._store, seen=seen, now=now)
        if await self._ledger.run(store):
            self._noticed()

    def _store(self, conn: Connection, seen: Any, now: Instant) -> bool:
        """Whether something is to be told."""
        name, told = self._monitor.name, False
        before = _believable(monitor_store.states(conn, name), now)
        for change in self._monitor.judge(before, seen, now):
            if change.state is None:
                monitor_store.forget(conn, name, change.subject)
            else:
                monitor_store.put(conn, name, change.subject, change.state)
            told |= bool(notice_store.add(conn, change.notices, now))
        return told

    def _fail(self, problem: str) -> None:
        if self.problem != problem:
            self._publish(Event("monitor.failed", problem, {"monitor": self._monitor.name}, "ERROR"))
        self.problem = problem


def _believable(states: Mapping[str, MonitorState], now: Instant) -> dict[str, MonitorState]:
    """What was told at a time long to come was told by a wrong clock; one that is set back a little repeats nothing."""
    return {subject: state for subject, state in states.items() if state.told_at <= now + SET_BACK}
