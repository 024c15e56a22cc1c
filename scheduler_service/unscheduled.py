"""Runs that no slot asks for: what was never fetched, and what a person wants now."""

from __future__ import annotations

from collections import Counter
from functools import partial
from typing import TYPE_CHECKING, Any

from scheduler_service.expansion import Expander, Expansion, not_lacking
from scheduler_service.models import RunOrigin
from scheduler_service.stores import open_tasks, schedule_store
from scheduler_service.stores.schedule_store import NewRun, RunRow
from scheduler_service.stores.task_store import Rank

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from scheduler_service.clock import Clock, Micros
    from scheduler_service.processors.base import Processor
    from scheduler_service.stores.database import Connection, Ledger


class UnscheduledRuns:
    """Due at once, whatever the schedules say."""

    def __init__(
        self, ledger: Ledger, processors: Mapping[str, Processor[Any]], expander: Expander, clock: Clock
    ) -> None:
        self._ledger = ledger
        self._processors = processors
        self._expander = expander
        self._clock = clock

    async def initial(self, covered: Mapping[str, Sequence[str]]) -> Counter[tuple[str, str]]:
        """A run per domain for what was never tried of the symbols that a schedule covers; returns how many tasks that
        makes of each (domain, source).
        """
        counts: Counter[tuple[str, str]] = Counter()
        for domain, symbols in covered.items():
            processor = self._processors[domain]
            done = await self._ledger.read(partial(not_lacking, domain=domain, processor=processor))
            sources = tuple(processor.policies)
            lacking = [(symbol, source) for symbol in symbols for source in sources if (symbol, source) not in done]
            if lacking:
                never = tuple(dict.fromkeys(symbol for symbol, _ in lacking))
                await self._run(RunOrigin.INITIAL, domain, Expansion(never, sources))
                counts.update((domain, source) for _, source in lacking)
        return counts

    async def at_once(
        self,
        origin: RunOrigin,
        domain: str,
        symbols: Sequence[str],
        sources: Sequence[str],
        *,
        force: bool,
        wait: Micros | None = None,
        retry_of: int | None = None,
    ) -> RunRow:
        """What a person asked for, of high priority; ``wait``: what its gate holds for longer is given up."""
        until = None if wait is None else self._clock.now() + wait
        chosen = tuple(sorted(set(symbols)))
        expansion = Expansion(chosen, tuple(sources), Rank.HIGH, expires_at=until, retry_of=retry_of)
        return await self._run(origin, domain, expansion, force=force)

    async def follow_up(self, domain: str, symbol: str) -> None:
        """What was found out of a stock makes it due; asked twice, after a crash, while it waits, that is once."""
        expansion = Expansion((symbol,), tuple(self._processors[domain].policies))
        now = self._clock.now()
        new = NewRun(RunOrigin.FOLLOW_UP, domain, now, expansion.to_json())

        def unit(conn: Connection) -> RunRow | None:
            made = [run for run in schedule_store.unexpanded_runs(conn) if (run.domain, run.plan) == (domain, new.plan)]
            waits = open_tasks.waits_for_follow_up(conn, domain, symbol)
            return None if made or waits else schedule_store.add_run(conn, new, now)

        if (run := await self._ledger.run(unit)) is not None:
            await self._expander.finish(run)

    async def _run(self, origin: RunOrigin, domain: str, expansion: Expansion, *, force: bool = False) -> RunRow:
        now = self._clock.now()
        new = NewRun(origin, domain, now, expansion.to_json(), force=force)
        run, _ = await self._expander.finish(await self._ledger.run(partial(schedule_store.add_run, new=new, now=now)))
        return run
