"""From a run to its tasks, slice by slice, from where it stands in the ledger: no task twice, whoever else is at it."""

from __future__ import annotations

import hashlib
import json
from bisect import bisect_right
from collections import Counter
from dataclasses import astuple, dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from scheduler_service.executors.local_executor import lane_of
from scheduler_service.executors.reports import run_closed
from scheduler_service.first_fetch import tried
from scheduler_service.models import A_PERSONS, Reason, RunOrigin
from scheduler_service.stores import open_tasks, schedule_store, stock_state_store, task_store
from scheduler_service.stores.task_store import NewTask, Rank

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from scheduler_service.clock import Clock, Instant
    from scheduler_service.models import Publish, Symbol
    from scheduler_service.processors.base import Processor
    from scheduler_service.stores.database import Connection, Ledger
    from scheduler_service.stores.schedule_store import RunRow

TASKS_PER_SLICE = 1_000
MOST_OPEN = 2_000
"""With so many tasks to do, a schedule gets no more of what it catches up with."""
RANKS = {"high": Rank.HIGH, "normal": Rank.NORMAL, "low": Rank.LOW}


@dataclass(frozen=True, slots=True)
class Expansion:
    """What a run expands to, fixed when the run is made; ``symbols`` in sorted order. ``queue``: how many tasks of a
    symbol and source may wait for the one that has not ended; more than one for runs that are caught up with one after
    another. ``retry_of``: the task that its one task tries again.
    """

    symbols: tuple[str, ...]
    sources: tuple[str, ...]
    rank: int = Rank.NORMAL
    spread: int = 0
    expires_at: Instant | None = None
    queue: int = 0
    retry_of: int | None = None

    def to_json(self) -> str:
        return json.dumps(astuple(self))

    @classmethod
    def from_json(cls, text: str) -> Expansion:
        symbols, sources, *rest = json.loads(text)
        return cls(tuple(symbols), tuple(sources), *rest)


@dataclass(frozen=True, slots=True)
class _Slice:
    """What one transaction wrote. ``queued``: (domain, source) of the tasks that wait now."""

    run: RunRow
    closed: bool
    queued: Counter[tuple[str, str]]


class Expander:
    """Makes the tasks of runs."""

    def __init__(
        self,
        *,
        ledger: Ledger,
        watchlist: Mapping[str, Symbol],
        processors: Mapping[str, Processor[Any]],
        clock: Clock,
        publish: Publish,
        notify: Callable[[], None],
    ) -> None:
        self._ledger = ledger
        self._watchlist = watchlist
        self._processors = processors
        self._clock = clock
        self._publish = publish
        self._notify = notify

    async def finish_all(self, runs: Sequence[RunRow]) -> Counter[tuple[str, str]]:
        """Each of them in this order, but those that are caught up with one after another once their turn has come;
        returns the (domain, source) of the tasks of them all.
        """
        found: Counter[tuple[str, str]] = Counter()
        busy: set[str | None] = set()
        for run in runs:
            expansion = Expansion.from_json(run.plan) if run.plan is not None else None
            if expansion is not None and (run.schedule_id in busy or await self._waits(run, expansion)):
                busy.add(run.schedule_id)
                found.update({(run.domain, source): len(expansion.symbols) for source in expansion.sources})
            else:
                found += (await self.finish(run))[1]
        return found

    async def _waits(self, run: RunRow, expansion: Expansion) -> bool:
        """Whether its schedule has enough to do, or an older run to expand first."""
        if expansion.queue <= 1 or run.schedule_id is None:
            return False
        unit = partial(open_tasks.is_behind, schedule_id=run.schedule_id, run_id=run.id, most=MOST_OPEN)
        return await self._ledger.read(unit)

    async def finish(self, run: RunRow) -> tuple[RunRow, Counter[tuple[str, str]]]:
        """Writes the tasks that the run still lacks; returns the run, and the (domain, source) of what it queued."""
        expansion = Expansion.from_json(run.plan) if run.plan is not None else None
        queued: Counter[tuple[str, str]] = Counter()
        while expansion is not None and run.plan is not None:
            unit = partial(self._write_slice, run_id=run.id, expansion=expansion, now=self._clock.now())
            written = await self._ledger.run(unit)
            run, queued = written.run, queued + written.queued
            self._notify()
            if written.closed:
                self._publish(run_closed(run))
        return run, queued

    def _write_slice(self, conn: Connection, run_id: int, expansion: Expansion, now: Instant) -> _Slice:
        run = schedule_store.get_run(conn, run_id)
        start = bisect_right(expansion.symbols, run.expanded_upto)
        symbols = expansion.symbols[start : start + max(1, TASKS_PER_SLICE // max(1, len(expansion.sources)))]
        last = start + len(symbols) == len(expansion.symbols)
        waiting: Counter[tuple[str, str]] = Counter()
        if run.schedule_id is not None:
            waiting = open_tasks.open_keys(conn, schedule_id=run.schedule_id, symbols=symbols)
        initial = run.origin is RunOrigin.INITIAL
        fresh = self._fresh(conn, run, now)
        done = not_lacking(conn, run.domain, self._processors.get(run.domain)) if initial else set()
        tasks = [
            self._task(
                run,
                expansion,
                symbol,
                source,
                overlaps=waiting[symbol, source] > expansion.queue,
                is_fresh=(symbol, source) in fresh,
            )
            for symbol in symbols
            for source in expansion.sources
            if (symbol, source) not in done and (run.origin in A_PERSONS or self._is_served(run.domain, source, symbol))
        ]
        upto = symbols[-1] if symbols else run.expanded_upto
        task_store.add_tasks(conn, run, tasks, upto, last=last, now=now)
        closed = schedule_store.close_run_if_done(conn, run.id, now)
        queued = Counter((run.domain, task.source) for task in tasks if task.ended is None)
        return _Slice(closed or schedule_store.get_run(conn, run.id), closed is not None, queued)

    def _fresh(self, conn: Connection, run: RunRow, now: Instant) -> set[tuple[str, str]]:
        """The (symbol, source) pairs that a slot finds fresh as it is expanded: no worker need look at them again."""
        processor = self._processors.get(run.domain)
        if run.origin is not RunOrigin.SCHEDULE or run.force or processor is None:
            return set()
        states = stock_state_store.states(conn, domain=run.domain)
        return {
            (symbol, source)
            for (symbol, _, source), state in states.items()
            if (watched := self._watchlist.get(symbol)) is not None
            and processor.finds_fresh(source, watched, state, run.due_at, now)
        }

    def _is_served(self, domain: str, source: str, symbol: str) -> bool:
        """False where there is nothing to ask: no task is made to find that out."""
        processor, watched = self._processors.get(domain), self._watchlist.get(symbol)
        return (
            processor is None
            or watched is None
            or source not in processor.policies
            or processor.serves(source, watched)
        )

    def _task(
        self, run: RunRow, expansion: Expansion, symbol: str, source: str, *, overlaps: bool, is_fresh: bool
    ) -> NewTask:
        """A task; it ends at once where the configuration of today, or the tasks before it, leave nothing to do."""
        processor = self._processors.get(run.domain)
        asked = processor is not None and source in processor.policies
        watched = self._watchlist.get(symbol)
        ended = None
        if not asked:
            ended = Reason.PROVIDER_OFF
        elif watched is None and run.origin not in A_PERSONS:
            ended = Reason.NOT_WATCHED
        elif overlaps:
            ended = Reason.OVERLAP
        elif is_fresh:
            ended = Reason.FRESH
        return NewTask(
            symbol=symbol,
            source=source,
            lane=lane_of(processor, source) if processor is not None and asked else "",
            rank=Rank(min(expansion.rank, RANKS[watched.priority]) if watched else expansion.rank),
            not_before=run.due_at + offset(run.schedule_id, symbol, expansion.spread),
            expires_at=expansion.expires_at,
            ended=ended,
            retry_of=expansion.retry_of,
        )


def not_lacking(conn: Connection, domain: str, processor: Processor[Any] | None) -> set[tuple[str, str]]:
    """The (symbol, source) pairs that a start need not fetch, for they were tried or are about to be."""
    policies, required = (processor.policies.values(), processor.required) if processor else ((), ())
    stand_ins = [policy.name for policy in policies if policy.only_when_missing]
    states = stock_state_store.states(conn, domain=domain)
    return tried(states, required, stand_ins) | open_tasks.open_keys(conn, domain=domain).keys()


def offset(schedule_id: str | None, symbol: str, spread: int) -> int:
    """A symbol's place within the spread: the same share of it for ever, over restarts and however long it is."""
    if not spread:
        return 0
    digest = hashlib.sha256(f"{schedule_id}\0{symbol}".encode()).digest()
    return int.from_bytes(digest[:8], "big") * spread >> 64
