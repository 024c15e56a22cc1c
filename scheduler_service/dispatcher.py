"""From schedules to runs: which slots are due, what becomes of them, and what carries them out.

Level-triggered: ``reconcile`` looks at the ledger's cursor and the time, so that a lost, late, doubled or spurious
wake-up changes nothing. Slots, cursor and runs are one transaction; a run's tasks follow in slices of their own.
"""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from scheduler_service.clock_watch import ClockWatch
from scheduler_service.definitions import as_row, fingerprint, restore
from scheduler_service.errors import StoreError
from scheduler_service.executors.reports import run_closed
from scheduler_service.expansion import Expander
from scheduler_service.models import Reason, RunOrigin, ScheduleOrigin
from scheduler_service.slot_runs import (
    CatchUp,
    as_stretches,
    moved_event,
    runs_of,
    slot_events,
    unreadable_event,
    voided_event,
)
from scheduler_service.slots import Policy, plan_slots
from scheduler_service.stores import pause_store, schedule_store, task_store, unwanted_tasks, wrong_clock
from scheduler_service.stores.pause_store import EVERYTHING, PauseRow
from scheduler_service.stores.schedule_store import NewRun, RunRow, ScheduleRow, Standing
from scheduler_service.triggers import with_calendars
from scheduler_service.unscheduled import UnscheduledRuns
from scheduler_service.windows import Calendars, usual_hours

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from scheduler_service.clock import Clock, Instant, Micros
    from scheduler_service.models import Publish, Symbol
    from scheduler_service.processors.base import Processor
    from scheduler_service.settings.loaded import Schedule
    from scheduler_service.slots import SlotPlan
    from scheduler_service.stores.database import Ledger


class Dispatcher:
    """Plans for the schedules of one configuration, and for the follow-ups that the ledger keeps."""

    def __init__(
        self,
        *,
        ledger: Ledger,
        schedules: Iterable[Schedule],
        watchlist: Iterable[Symbol],
        processors: Mapping[str, Processor[Any]],
        clock: Clock,
        publish: Publish,
        notify: Callable[[], None],
        calendars: Calendars = usual_hours,
    ) -> None:
        known = list(schedules)
        self.schedules = {s.id: s for s in known if s.enabled}
        self.follow_ups: dict[str, Schedule] = {}
        self.watchlist = {s.symbol: s for s in watchlist}
        self._disabled = {s.id for s in known if not s.enabled}
        self._ledger = ledger
        self._processors = processors
        self._clock = clock
        self._clock_watch = ClockWatch(clock, publish)
        self._publish = publish
        self._notify = notify
        self._calendars = calendars
        self._expander = Expander(
            ledger=ledger, watchlist=self.watchlist, processors=processors, clock=clock, publish=publish, notify=notify
        )
        self.unscheduled = UnscheduledRuns(ledger, processors, self._expander, clock)
        self._caught_up = CatchUp()
        self._sync_waits = False
        self._initial_waits = False

    @property
    def everything(self) -> dict[str, Schedule]:
        """The schedules of the configuration, and the follow-ups."""
        return {**self.follow_ups, **self.schedules}

    @property
    def problem(self) -> str | None:
        """Why nothing is planned at all."""
        return self._clock_watch.problem

    def renew_calendars(self) -> None:
        """From now on every trigger goes by what is known of its exchanges now."""
        self.schedules = {
            schedule_id: replace(schedule, trigger=with_calendars(schedule.trigger, self._calendars))
            for schedule_id, schedule in self.schedules.items()
        }

    async def sync(self) -> None:
        """Makes the schedule rows those of the configuration, and ends the waiting tasks that it no longer wants.

        An unchanged schedule keeps its cursor. What became due before a change belongs to the old definition, and is
        accounted for under it first. Follow-ups stay as they are. While the clock is impossible, nothing is done.
        """
        self._sync_waits = self._clock_watch.is_impossible()
        if self._sync_waits:
            return
        await self._heal()
        now = self._clock.now()
        rows = await self._ledger.read(schedule_store.open_schedules)
        for row in rows.values():
            wanted = self.schedules.get(row.id)
            if row.origin is not ScheduleOrigin.YAML or (wanted and fingerprint(wanted) == row.fingerprint):
                continue
            gone = Reason.DISABLED if row.id in self._disabled else Reason.REMOVED
            former = self._restored(row)
            if former is None:
                self._publish(unreadable_event(row, now))
            else:
                await self._account(former, None if wanted else gone, now)
            if wanted is None:
                await self._ledger.run(partial(schedule_store.close_schedule, schedule_id=row.id, now=now))
        for wanted in self.schedules.values():
            put = as_row(wanted, ScheduleOrigin.YAML, since=now)
            await self._ledger.run(partial(schedule_store.put_schedule, wanted=put))
        await self._read_follow_ups()
        fetched = {(domain, source) for domain, p in self._processors.items() for source in p.policies}
        closed = await self._ledger.run(partial(unwanted_tasks.skip_unfetched, fetched=fetched, now=now))
        closed += await self._ledger.run(partial(unwanted_tasks.skip_unwatched, watched=set(self.watchlist), now=now))
        self._say_closed(closed)

    async def reconcile(self, schedule_id: str) -> None:
        """Accounts for every slot that is due and not accounted for yet."""
        schedule = self.everything.get(schedule_id)
        if schedule is not None and not self._clock_watch.is_impossible():
            await self._account(schedule)

    async def reconcile_all(self) -> None:
        """The sweep that makes every lost ring harmless, and goes on where the ledger could not be written, or the
        clock was impossible.
        """
        if self._clock_watch.is_impossible():
            return
        if self._sync_waits:
            await self.sync()
        if await self._ledger.read(partial(wrong_clock.is_ahead, now=self._clock.now())):
            await self.clock_stepped()
        await self.expand_unfinished()
        now = self._clock.now()  # of a follow-up nothing can be due but its one slot
        for due in [s.id for s in self.everything.values() if s.id in self.schedules or s.trigger.last(0, now)]:
            await self.reconcile(due)
        await self._settle_pauses()
        if self._initial_waits:
            self._initial_waits = False
            await self.fetch_never_fetched()

    async def clock_stepped(self) -> None:
        """What a clock that was ahead has written down is void from now on."""
        if not self._clock_watch.is_impossible():
            await self._ledger.run(partial(wrong_clock.void_deadlines, now=self._clock.now()))
            await self._heal()
            self._notify()

    async def expand_unfinished(self) -> None:
        """Goes on with the expansions that a crash or a fault of the ledger cut off, or whose turn has come."""
        await self._expander.finish_all(await self._ledger.read(schedule_store.unexpanded_runs))

    def take_catch_up(self) -> CatchUp:
        """What was missed and is caught up with, since this was last asked."""
        taken, self._caught_up = self._caught_up, CatchUp()
        return taken

    async def fetch_never_fetched(self) -> Counter[tuple[str, str]]:
        """An ``initial`` run per domain for what was never tried; returns how many tasks that makes of each (domain,
        source).
        """
        if self._clock_watch.is_impossible():
            self._initial_waits = True
            return Counter()
        return await self.unscheduled.initial({domain: sorted(self._covered(domain)) for domain in self._processors})

    async def fetch(
        self,
        domain: str,
        symbols: Sequence[str],
        sources: Sequence[str],
        *,
        force: bool,
        origin: RunOrigin = RunOrigin.MANUAL,
        wait: Micros | None = None,
        retry_of: int | None = None,
    ) -> RunRow:
        """A person's run: of high priority, not held back by what the watchlist says, and never paused. ``wait``: how
        long it waits for gates that are shut. Raises ``SchedulerServiceError`` while the clock is impossible.
        """
        self._clock_watch.refuse_impossible()
        at_once = partial(self.unscheduled.at_once, origin, domain, symbols, sources)
        return await at_once(force=force, wait=wait, retry_of=retry_of)

    async def pause(self, scope: str, until: Instant | None = None, reason: str | None = None) -> None:
        """A schedule, or all (``*``), is left alone from now on: its slots are skipped, its waiting tasks held.

        Raises ``SchedulerServiceError`` while the clock is impossible.
        """
        self._clock_watch.refuse_impossible()
        row = PauseRow(scope, self._clock.now(), until, reason)
        await self._ledger.run(partial(pause_store.put_pause, wanted=row))
        await self._look_again(scope)

    async def resume(self, scope: str) -> bool:
        """Ends a pause; the slots that fell into it are skipped, whenever they are accounted for. False where there was
        none.
        """
        self._clock_watch.refuse_impossible()
        ended = await self._ledger.run(partial(pause_store.end_pause, scope=scope, now=self._clock.now()))
        await self._look_again(scope)
        return ended

    async def add_follow_up(self, wanted: Schedule) -> None:
        """A schedule with a trigger ``{at: ...}`` of its own, which closes itself after its slot. It is due even where
        its time has passed already; one of the same id that is still open is moved to this.
        """
        self._clock_watch.refuse_impossible()
        await self.reconcile(wanted.id)
        now = self._clock.now()
        due = wanted.trigger.last(0, now)
        row = as_row(wanted, ScheduleOrigin.FOLLOW_UP, since=now if due is None else due - 1)
        await self._ledger.run(partial(schedule_store.put_schedule, wanted=row))
        await self._read_follow_ups()
        await self.reconcile(wanted.id)

    async def close_follow_up(self, schedule_id: str) -> bool:
        """It is not wanted any more; what is due by now is carried out. False where there is none that is open."""
        await self.reconcile(schedule_id)
        if self.follow_ups.pop(schedule_id, None) is None:
            return False
        now = self._clock.now()
        await self._ledger.run(partial(schedule_store.close_schedule, schedule_id=schedule_id, now=now))
        return True

    def next_due(self, schedule_id: str, after: Instant) -> Instant | None:
        schedule = self.everything.get(schedule_id)
        return None if schedule is None else schedule.trigger.next(after)

    def _covered(self, domain: str) -> set[str]:
        wanted = [s for s in self.schedules.values() if s.domain == domain]
        return {symbol.symbol for symbol in self.watchlist.values() if any(s.selects(symbol) for s in wanted)}

    async def _look_again(self, scope: str) -> None:
        """What is paused has changed, of a schedule or of all. Where the ledger fails, the sweep goes on."""
        with suppress(StoreError):
            for schedule_id in list(self.everything):
                if scope in (EVERYTHING, schedule_id):
                    await self.reconcile(schedule_id)
            await self._settle_pauses()
        self._notify()

    async def _account(self, schedule: Schedule, hold: Reason | None = None, upto: Instant | None = None) -> None:
        """Until now, or ``upto``. ``hold``: why nothing of it may run any more."""
        more = True
        while more:
            standing = await self._standing(schedule.id)
            now = upto or self._clock.now()  # after the look: nobody has accounted for anything beyond it
            more = standing is not None and await self._account_piece(schedule, standing, hold, now)

    async def _standing(self, schedule_id: str) -> Standing | None:
        look = partial(schedule_store.standing, schedule_id=schedule_id)
        standing = await self._ledger.read(look)
        if standing is not None and standing.row.cursor > self._clock.now():
            await self._heal([standing.row])
            standing = await self._ledger.read(look)
        return standing

    async def _account_piece(self, schedule: Schedule, standing: Standing, hold: Reason | None, now: Instant) -> bool:
        """Whether more is due."""
        row = standing.row
        off = Reason.PROVIDER_OFF if row.domain not in self._processors else None
        policy = Policy(schedule.catch_up, schedule.catch_up_window, hold or off)
        paused = as_stretches(standing.pauses, now)
        plan = plan_slots(schedule.trigger, policy, row.cursor, now, paused=paused, recorded=standing.recorded)
        if plan.upto is None:
            return False
        runs = await self._runs_of(schedule, row.origin, plan, now) if plan.runs else {}
        last = row.origin is ScheduleOrigin.FOLLOW_UP and schedule.trigger.next(plan.upto) is None
        store = partial(schedule_store.record_slots, looked=standing, slots=plan.slots, runs=runs, upto=plan.upto)
        started = await self._ledger.run(partial(store, now=now, last=last))
        if started is None:
            again = await self._standing(row.id)
            return again is not None and again.row == row  # what is paused has changed meanwhile
        if last:
            self.follow_ups.pop(row.id, None)
        for event in slot_events(schedule, plan, now):
            self._publish(event)
        queued = await self._expander.finish_all(started)
        if plan.missed:
            self._caught_up += CatchUp(plan.missed, queued, plan.missed_since)
        return plan.more

    async def _runs_of(
        self, schedule: Schedule, origin: ScheduleOrigin, plan: SlotPlan, now: Instant
    ) -> dict[Instant, NewRun]:
        symbols = sorted(s.symbol for s in self.watchlist.values() if schedule.selects(s))
        if schedule.stalest is not None:
            latest = await self._ledger.read(partial(task_store.newest, domain=schedule.domain))
            symbols.sort(key=lambda symbol: latest.get(symbol, 0))
        sources = tuple(self._processors[schedule.domain].policies)
        return runs_of(schedule, origin, plan, symbols, sources, schedule.trigger.next(now))

    async def _heal(self, rows: Sequence[ScheduleRow] | None = None) -> None:
        """Takes back what was accounted for before it was due, of these schedules or of all; says so once."""
        now = self._clock.now()
        if rows is None:
            moved = await self._ledger.run(partial(pause_store.move_pauses, now=now))
            if moved:
                self._publish(moved_event(moved))
            rows = await self._ledger.read(partial(wrong_clock.schedules_ahead, now=now))
        found = []
        for row in rows:
            former = self._restored(row)
            trigger = None if former is None else former.trigger
            voided = await self._ledger.run(partial(wrong_clock.void_slots, row=row, trigger=trigger, now=now))
            if voided is not None:
                found.append((row, voided))
        if found:
            self._publish(voided_event(found))
            await self._read_follow_ups()

    async def _settle_pauses(self) -> None:
        """Waiting tasks that a pause outlived end, and those go on whose pause is over."""
        now = self._clock.now()
        if await self._ledger.read(partial(unwanted_tasks.is_outlived, now=now)):
            self._say_closed(await self._ledger.run(partial(unwanted_tasks.skip_outlived, now=now)))
        if await self._ledger.read(partial(pause_store.are_over, now=now)):
            await self._ledger.run(partial(pause_store.note_over, now=now))
            self._notify()

    async def _read_follow_ups(self) -> None:
        rows = await self._ledger.read(schedule_store.open_schedules)
        follow_ups = [self._restored(row) for row in rows.values() if row.origin is ScheduleOrigin.FOLLOW_UP]
        self.follow_ups = {schedule.id: schedule for schedule in follow_ups if schedule is not None}

    def _restored(self, row: ScheduleRow) -> Schedule | None:
        return restore(row.id, row.definition, self._calendars)

    def _say_closed(self, closed: Iterable[RunRow]) -> None:
        for run in closed:
            self._publish(run_closed(run))
