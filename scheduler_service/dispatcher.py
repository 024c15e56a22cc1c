"""From schedules to tasks: which slots are due, what becomes of them, and the runs and tasks that carry them out.

Level-triggered: ``reconcile`` looks at the ledger's cursor and the time, so that a lost, late, doubled or spurious
wake-up changes nothing. Slots, cursor and run are one transaction; a run's tasks are written in slices and resumed
after a crash.
"""

from __future__ import annotations

import hashlib
import json
from bisect import bisect_right
from collections import Counter
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from scheduler_service.clock import to_iso_seconds
from scheduler_service.executors.local_executor import lane_of
from scheduler_service.executors.reports import run_closed
from scheduler_service.first_fetch import tried
from scheduler_service.models import Event, Reason, RunOrigin, ScheduleOrigin
from scheduler_service.settings.loaded import Schedule
from scheduler_service.settings.model import Tagged
from scheduler_service.slots import Policy, SlotPlan, plan_slots
from scheduler_service.stores import schedule_store, stock_state_store, task_store
from scheduler_service.stores.schedule_store import NewRun, RunRow, ScheduleRow
from scheduler_service.stores.task_store import NewTask, Rank
from scheduler_service.triggers import restore_trigger

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from scheduler_service.clock import Clock, Instant
    from scheduler_service.models import Publish, Symbol
    from scheduler_service.processors.base import Processor
    from scheduler_service.stores.database import Connection, Ledger

TASKS_PER_SLICE = 1_000
EVERYTHING = "*"

_RANKS = {"high": Rank.HIGH, "normal": Rank.NORMAL, "low": Rank.LOW}


@dataclass(frozen=True, slots=True)
class Expansion:
    """What a run expands to, fixed when the run is made; ``symbols`` in sorted order."""

    symbols: tuple[str, ...]
    sources: tuple[str, ...]
    rank: int = Rank.NORMAL
    spread: int = 0
    expires_at: Instant | None = None

    def to_json(self) -> str:
        return json.dumps([self.symbols, self.sources, self.rank, self.spread, self.expires_at])

    @classmethod
    def from_json(cls, text: str) -> Expansion:
        symbols, sources, rank, spread, expires_at = json.loads(text)
        return cls(tuple(symbols), tuple(sources), rank, spread, expires_at)


class Dispatcher:
    """Plans for the schedules of one configuration."""

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
    ) -> None:
        known = list(schedules)
        self.schedules = {s.id: s for s in known if s.enabled}
        self._disabled = {s.id for s in known if not s.enabled}
        self.watchlist = {s.symbol: s for s in watchlist}
        self._ledger = ledger
        self._processors = processors
        self._clock = clock
        self._publish = publish
        self._notify = notify
        self.ahead: dict[str, Instant] = {}
        """Schedules whose cursor a wrong clock moved into the future."""

    async def sync(self) -> None:
        """Makes the schedule rows those of the configuration, and ends the waiting tasks that it no longer wants.

        An unchanged schedule keeps its cursor. What became due before a change belongs to the old definition, and is
        accounted for under it first.
        """
        now = self._clock.now()
        for row in (await self._ledger.read(schedule_store.open_schedules)).values():
            wanted = self.schedules.get(row.id)
            if row.origin is not ScheduleOrigin.YAML or (wanted and fingerprint(wanted) == row.fingerprint):
                continue
            gone = Reason.DISABLED if row.id in self._disabled else Reason.REMOVED
            await self._account(row, restore(row.id, row.definition), now, None if wanted else gone)
            if wanted is None:
                await self._ledger.run(partial(schedule_store.close_schedule, schedule_id=row.id, now=now))
        for wanted in self.schedules.values():
            row = ScheduleRow(
                wanted.id, ScheduleOrigin.YAML, wanted.domain, definition(wanted), fingerprint(wanted), now, now
            )
            await self._ledger.run(partial(schedule_store.put_schedule, wanted=row))
        fetched = {(domain, source) for domain, p in self._processors.items() for source in p.policies}
        closed = await self._ledger.run(partial(task_store.skip_unfetched, fetched=fetched, now=now))
        closed += await self._ledger.run(partial(task_store.skip_unwatched, watched=set(self.watchlist), now=now))
        for run in closed:
            self._publish(run_closed(run))

    async def reconcile(self, schedule_id: str) -> None:
        """Accounts for every slot that is due and not accounted for yet."""
        schedule = self.schedules.get(schedule_id)
        row = await self._ledger.read(partial(schedule_store.get_schedule, schedule_id=schedule_id))
        if schedule is not None and row is not None:
            await self._account(row, schedule, self._clock.now())

    async def reconcile_all(self) -> None:
        """The sweep that makes every lost ring harmless, and goes on where the ledger could not be written."""
        await self.resume()
        for schedule_id in list(self.schedules):
            await self.reconcile(schedule_id)

    async def resume(self) -> None:
        """Goes on with the expansions that a crash or a fault of the ledger cut off."""
        for run in await self._ledger.read(schedule_store.unexpanded_runs):
            await self._expand(run)

    async def fetch_never_fetched(self) -> Counter[tuple[str, str]]:
        """An ``initial`` run per domain for what was never tried; returns how many tasks that makes of each (domain,
        source).
        """
        counts: Counter[tuple[str, str]] = Counter()
        for domain, processor in self._processors.items():
            done = await self._ledger.read(partial(_not_lacking, domain=domain, processor=processor))
            sources, covered = tuple(processor.policies), sorted(self._covered(domain))
            lacking = [(s, source) for s in covered for source in sources if (s, source) not in done]
            if lacking:
                never = tuple(dict.fromkeys(symbol for symbol, _ in lacking))
                await self._expand(await self._new_run(RunOrigin.INITIAL, domain, Expansion(never, sources)))
                counts.update((domain, source) for _, source in lacking)
        return counts

    async def fetch(self, domain: str, symbols: Sequence[str], sources: Sequence[str], *, force: bool) -> RunRow:
        """A ``manual`` run: ahead of everything else, and not held back by what the watchlist says."""
        expansion = Expansion(tuple(sorted(set(symbols))), tuple(sources), Rank.HIGH)
        return await self._expand(await self._new_run(RunOrigin.MANUAL, domain, expansion, force=force))

    def next_due(self, schedule_id: str, after: Instant) -> Instant | None:
        schedule = self.schedules.get(schedule_id)
        return None if schedule is None else schedule.trigger.next(after)

    def _covered(self, domain: str) -> set[str]:
        wanted = [s for s in self.schedules.values() if s.domain == domain]
        return {symbol.symbol for symbol in self.watchlist.values() if any(s.selects(symbol) for s in wanted)}

    async def _account(self, row: ScheduleRow, schedule: Schedule, now: Instant, hold: Reason | None = None) -> None:
        self._look_ahead(row, now)
        hold = hold or await self._hold(row, now)
        policy = Policy(schedule.catch_up, schedule.catch_up_window, hold)
        plan = plan_slots(schedule.trigger, policy, row.cursor, now)
        if not plan.slots:
            return
        new_run = None if plan.run_due is None else self._run_of(schedule, plan.run_due)
        recorded, run = await self._ledger.run(
            partial(schedule_store.record_slots, row=row, slots=plan.slots, new_run=new_run, now=now)
        )
        if recorded:
            self._report(schedule, plan, now)
        if run is not None:
            await self._expand(run)

    def _look_ahead(self, row: ScheduleRow, now: Instant) -> None:
        """A cursor in the future was moved there by a clock that was wrong: say so, for nothing runs until then."""
        if row.cursor <= now:
            self.ahead.pop(row.id, None)
        elif self.ahead.get(row.id) != row.cursor:
            self.ahead[row.id] = row.cursor
            message = (
                f"{row.id} is accounted for until {to_iso_seconds(row.cursor)}; the clock was ahead, or has gone back"
            )
            self._publish(Event("clock.jumped", message, {"schedule_id": row.id}, "WARNING"))

    async def _hold(self, row: ScheduleRow, now: Instant) -> Reason | None:
        """Why nothing of this schedule may run now."""
        if row.domain not in self._processors:
            return Reason.PROVIDER_OFF
        pauses = await self._ledger.read(partial(schedule_store.pauses_at, now=now))
        return Reason.PAUSED if any(p.scope in (EVERYTHING, row.id) for p in pauses) else None

    def _run_of(self, schedule: Schedule, due_at: Instant) -> NewRun:
        expansion = Expansion(
            symbols=tuple(sorted(s.symbol for s in self.watchlist.values() if schedule.selects(s))),
            sources=tuple(self._processors[schedule.domain].policies),
            rank=_RANKS[schedule.priority],
            spread=schedule.spread,
            expires_at=schedule.trigger.next(due_at),
        )
        return NewRun(RunOrigin.SCHEDULE, schedule.domain, due_at, expansion.to_json(), schedule_id=schedule.id)

    async def _new_run(self, origin: RunOrigin, domain: str, expansion: Expansion, *, force: bool = False) -> RunRow:
        now = self._clock.now()
        new = NewRun(origin, domain, now, expansion.to_json(), force=force)
        return await self._ledger.run(partial(schedule_store.add_run, new=new, now=now))

    async def _expand(self, run: RunRow) -> RunRow:
        """Writes the run's tasks, slice by slice, from where it stands in the ledger: no task twice, whoever else is
        at it.
        """
        expansion = Expansion.from_json(run.plan) if run.plan is not None else None
        while expansion is not None and run.plan is not None:
            unit = partial(self._write_slice, run_id=run.id, expansion=expansion, now=self._clock.now())
            run, closed = await self._ledger.run(unit)
            self._notify()
            if closed:
                self._publish(run_closed(run))
        return run

    def _write_slice(self, conn: Connection, run_id: int, expansion: Expansion, now: Instant) -> tuple[RunRow, bool]:
        """The run afterwards, and whether this closed it."""
        run = schedule_store.get_run(conn, run_id)
        start = bisect_right(expansion.symbols, run.expanded_upto)
        symbols = expansion.symbols[start : start + max(1, TASKS_PER_SLICE // max(1, len(expansion.sources)))]
        last = start + len(symbols) == len(expansion.symbols)
        overlapping = task_store.open_keys(conn, schedule_id=run.schedule_id) if run.schedule_id else set()
        initial = run.origin is RunOrigin.INITIAL
        done = _not_lacking(conn, run.domain, self._processors.get(run.domain)) if initial else set()
        tasks = [
            self._task(run, expansion, symbol, source, overlaps=(symbol, source) in overlapping)
            for symbol in symbols
            for source in expansion.sources
            if (symbol, source) not in done
        ]
        upto = symbols[-1] if symbols else run.expanded_upto
        task_store.add_tasks(conn, run, tasks, upto, last=last, now=now)
        closed = schedule_store.close_run_if_done(conn, run.id, now)
        return closed or schedule_store.get_run(conn, run.id), closed is not None

    def _task(self, run: RunRow, expansion: Expansion, symbol: str, source: str, *, overlaps: bool) -> NewTask:
        """A task; it ends at once where the configuration of today, or the task before it, leaves nothing to do."""
        processor = self._processors.get(run.domain)
        asked = processor is not None and source in processor.policies
        watched = self.watchlist.get(symbol)
        ended = None
        if not asked:
            ended = Reason.PROVIDER_OFF
        elif watched is None and run.origin is not RunOrigin.MANUAL:
            ended = Reason.NOT_WATCHED
        elif overlaps:
            ended = Reason.OVERLAP
        return NewTask(
            symbol=symbol,
            source=source,
            lane=lane_of(processor, source) if processor is not None and asked else "",
            rank=Rank(min(expansion.rank, _RANKS[watched.priority]) if watched else expansion.rank),
            not_before=run.due_at + offset(run.schedule_id, symbol, expansion.spread),
            expires_at=expansion.expires_at,
            ended=ended,
        )

    def _report(self, schedule: Schedule, plan: SlotPlan, now: Instant) -> None:
        newest = plan.slots[-1]
        fields = {"schedule_id": schedule.id, "domain": schedule.domain, "slot": to_iso_seconds(newest.due_at)}
        if plan.passed:
            reasons = ", ".join(f"{row.slots} {row.outcome}({row.reason})" for row in plan.slots if row.reason)
            message = f"{schedule.id}: slots passed without a run of their own: {reasons}"
            self._publish(Event("slot.closed", message, {**fields, "reason": plan.slots[0].reason}, "WARNING"))
        if plan.run_due is not None:
            late = (now - plan.run_due) / 1e6
            message = f"{schedule.id}: slot {fields['slot']} {newest.outcome}, {late:.1f} s after it was due"
            self._publish(Event("slot.opened", message, fields, "DEBUG"))


def _not_lacking(conn: Connection, domain: str, processor: Processor[Any] | None) -> set[tuple[str, str]]:
    """The (symbol, source) pairs that a start need not fetch, for they were tried or are about to be."""
    policies, required = (processor.policies.values(), processor.required) if processor else ((), ())
    stand_ins = [policy.name for policy in policies if policy.only_when_missing]
    states = stock_state_store.states(conn, domain=domain)
    return tried(states, required, stand_ins) | task_store.open_keys(conn, domain=domain)


def offset(schedule_id: str | None, symbol: str, spread: int) -> int:
    """A symbol's place within the spread: stable over restarts, never drawn again."""
    if not spread:
        return 0
    digest = hashlib.sha256(f"{schedule_id}\0{symbol}".encode()).digest()
    return int.from_bytes(digest[:8], "big") % spread


def definition(schedule: Schedule) -> str:
    """A schedule as the ledger keeps it; ``restore`` reads it back."""
    symbols = sorted(schedule.symbols.tags) if isinstance(schedule.symbols, Tagged) else schedule.symbols
    kind = "tags" if isinstance(schedule.symbols, Tagged) else "symbols"
    return json.dumps(
        {
            "domain": schedule.domain,
            kind: symbols,
            "trigger": schedule.trigger.canonical(),
            "catch_up": schedule.catch_up,
            "catch_up_window": schedule.catch_up_window,
            "overlap": schedule.overlap,
            "spread": schedule.spread,
            "priority": schedule.priority,
        },
        sort_keys=True,
    )


def restore(schedule_id: str, text: str) -> Schedule:
    """The schedule that ``definition`` wrote down."""
    said = json.loads(text)
    symbols = Tagged(tags=frozenset(said["tags"])) if "tags" in said else said["symbols"]
    return Schedule(
        id=schedule_id,
        domain=said["domain"],
        symbols=tuple(symbols) if isinstance(symbols, list) else symbols,
        trigger=restore_trigger(said["trigger"]),
        catch_up=said["catch_up"],
        catch_up_window=said["catch_up_window"],
        overlap=said["overlap"],
        spread=said["spread"],
        priority=said["priority"],
        enabled=True,
    )


def fingerprint(schedule: Schedule) -> str:
    """What decides when a schedule is due: a change of it makes the schedule effective anew."""
    decisive = f"{schedule.domain}\0{schedule.trigger.canonical()}"
    return hashlib.sha256(decisive.encode()).hexdigest()[:32]
