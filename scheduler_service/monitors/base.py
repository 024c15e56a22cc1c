"""The path of a monitor, written once: observe, judge by what was told last, write down what has changed."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from scheduler_service.clock import DAY, SECOND, to_iso_seconds
from scheduler_service.errors import StoreError
from scheduler_service.models import Event, Notice
from scheduler_service.stores import monitor_store, notice_store
from scheduler_service.stores.monitor_store import MonitorState

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from scheduler_service.clock import Clock, Instant, Micros
    from scheduler_service.models import Publish
    from scheduler_service.stores.database import Connection, Ledger

S = TypeVar("S")
_LOOKS = "looks"
"""Under which it is kept which monitor cannot look."""

SET_BACK: Micros = DAY
"""By so much a clock may be put right."""


@dataclass(frozen=True, slots=True)
class Change:
    """What is remembered of a subject from now on (None: nothing), and what of it is told."""

    subject: str
    state: MonitorState | None
    notices: tuple[Notice, ...] = ()


class Monitor(Protocol[S]):
    """``name``: under which its states are kept. ``is_timeless``: while it sees the same, it judges the same."""

    name: str
    is_timeless: bool

    def rest(self, now: Instant) -> Micros:
        """How long until it is worth another look."""

    async def observe(self) -> S:
        """How things are; the only part that may wait."""

    def judge(self, before: Mapping[str, MonitorState], seen: S, now: Instant) -> Sequence[Change]:
        """What has changed, by what was told last. Pure, and may be carried out twice."""


class Watch(Generic[S]):
    """One monitor at work. One that fails tells so once, also over restarts, and goes on."""

    def __init__(
        self, monitor: Monitor[S], ledger: Ledger, clock: Clock, publish: Publish, noticed: Callable[[], None]
    ) -> None:
        self._monitor = monitor
        self._ledger = ledger
        self._clock = clock
        self._publish = publish
        self._noticed = noticed
        self._seen_to_work = False
        self._judged: S | None = None
        self.problem: str | None = None
        """Why it could not look the last time."""

    async def look_forever(self) -> None:
        while True:
            with suppress(StoreError):  # the ledger says so itself
                await self._look_or_fail()
            await self._clock.sleep(self._monitor.rest(self._clock.now()) / SECOND)

    async def _look_or_fail(self) -> None:
        try:
            await self.look()
        except StoreError:
            raise
        except Exception as error:
            await self._fail(f"the {self._monitor.name} monitor cannot look: {type(error).__name__}: {error}")
            return
        self.problem = None
        if not self._seen_to_work:
            await self._works()

    async def look(self) -> None:
        """Once. Nothing is written while nothing changes."""
        seen = await self._monitor.observe()
        if self._monitor.is_timeless and seen == self._judged:
            return
        now = self._clock.now()
        name = self._monitor.name
        before = _believable(await self._ledger.read(partial(monitor_store.states, monitor=name)), now)
        if not self._monitor.judge(before, seen, now):
            self._judged = seen
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

    async def _fail(self, problem: str) -> None:
        """Where the ledger cannot be written the log hears of it all the same, once a process."""
        before, self.problem, self._seen_to_work = self.problem, problem, False
        try:
            told = await self._ledger.run(partial(self._note_failure, problem=problem, now=self._clock.now()))
        except StoreError:
            if before is None:
                self._publish(Event("monitor.failed", problem, {"monitor": self._monitor.name}, "ERROR"))
            raise
        if told:
            self._noticed()

    async def _works(self) -> None:
        if await self._ledger.run(partial(self._note_work, now=self._clock.now())):
            self._noticed()
        self._seen_to_work = True

    def _note_failure(self, conn: Connection, problem: str, now: Instant) -> bool:
        name = self._monitor.name
        if name in _believable(monitor_store.states(conn, _LOOKS), now):
            return False
        monitor_store.put(conn, _LOOKS, name, MonitorState("failing", now, now, {}))
        return bool(notice_store.add(conn, [_of_itself(name, "monitor.failed", problem, "ERROR", now)], now))

    def _note_work(self, conn: Connection, now: Instant) -> bool:
        name = self._monitor.name
        if name not in monitor_store.states(conn, _LOOKS):
            return False
        monitor_store.forget(conn, _LOOKS, name)
        said = f"the {name} monitor looks again"
        return bool(notice_store.add(conn, [_of_itself(name, "monitor.works_again", said, "INFO", now)], now))


def _of_itself(monitor: str, event: str, said: str, level: str, now: Instant) -> Notice:
    key = f"{event}:{monitor}@{to_iso_seconds(now)}"
    return Notice(key, event, said, {"monitor": monitor}, level=level, is_alert=True)


def _believable(states: Mapping[str, MonitorState], now: Instant) -> dict[str, MonitorState]:
    """What was told at a time long to come was told by a wrong clock; one that is set back a little repeats nothing."""
    return {subject: state for subject, state in states.items() if state.told_at <= now + SET_BACK}
